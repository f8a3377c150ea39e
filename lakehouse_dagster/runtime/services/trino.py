"""Trino: SQL over the lake, through Nessie's Iceberg REST catalog."""

from __future__ import annotations

from typing import Any

import httpx
import trino

from lakehouse_dagster.runtime.endpoints import CATALOG, S3_TRINO, TRINO_READER, TRINO_USER
from lakehouse_dagster.runtime.services.base import (
    Instance,
    NotReady,
    Program,
    Rendering,
    Service,
    jvm,
    quoted,
    remove_tree,
)

PLUGINS = ("iceberg", "memory", "tpch")


class Trino(Service):
    """Coordinator and worker in one process."""

    name = "trino"
    title = "Trino"
    depends = ("nessie", "minio")
    ports = ("trino",)
    engines = ("trino", "jdk25")
    start_timeout = 900.0

    def program(self, rendering: Rendering) -> Program:
        """Run the server with only the plugins that are used: each one costs memory and start-up time."""
        instance = rendering.instance
        settings = instance.settings
        root = instance.engine("trino")
        plugins = rendering.folder / "plugin"
        plugins.mkdir(mode=0o700, exist_ok=True)
        for name in {*PLUGINS, *(path.name for path in plugins.iterdir())}:
            link, target = plugins / name, root / "plugin" / name
            if name in PLUGINS and link.is_symlink() and link.readlink() == target:
                continue  # a running server may be reading it
            remove_tree(link)
            if name in PLUGINS:
                link.symlink_to(target)
        rendering.file(
            "trino/catalog/lake.properties",
            "etc/catalog/lake.properties",
            {
                "NESSIE_URL": instance.endpoints.nessie.url,
                "WAREHOUSE": CATALOG,
                "S3_ENDPOINT": instance.endpoints.s3.endpoint,
            },
        )
        config = rendering.file(
            "trino/config.properties",
            "etc/config.properties",
            {
                "HOST": settings.host,
                "PORT": settings.port("trino"),
                "PLUGIN_DIR": plugins,
            },
        )
        # Trino reads this name in its working folder.
        rules = rendering.file(
            "trino/rules.json",
            "etc/rules.json",
            {"USER": quoted(TRINO_USER), "READER": quoted(TRINO_READER), "CATALOG": CATALOG},
        )
        rendering.file("trino/access-control.properties", "etc/access-control.properties", {"RULES": rules})
        log = rendering.file("trino/log.properties", "etc/log.properties")
        return Program(
            jvm(
                instance.java25(),
                heap="448m",
                scratch=rendering.scratch(),
                options=(
                    "-XX:-OmitStackTraceInFastThrow",
                    "-XX:ReservedCodeCacheSize=150M",
                    "-XX:+EnableDynamicAgentLoading",
                    "-Djdk.attach.allowAttachSelf=true",
                    "-Djdk.nio.maxCachedBufferSize=2000000",
                    "-Dfile.encoding=UTF-8",
                    "--enable-native-access=ALL-UNNAMED",
                    "--sun-misc-unsafe-memory-access=allow",
                    f"-Dconfig={config}",
                    f"-Dlog.levels-file={log}",
                    "-Dlog.format=text",
                    "-Dlog.enable-console=true",
                ),
                classpath=f"{root}/lib/*",
                main="io.trino.server.TrinoServer",
            ),
            directory=rendering.folder,
            environment={
                "LAKE_S3_ACCESS_KEY": S3_TRINO,
                "LAKE_S3_SECRET_KEY": instance.secrets.s3_trino.get_secret_value(),
            },
        )

    def probe(self, instance: Instance, since: float) -> str:
        """``SELECT 1``, and the lake's catalog must be there."""
        del since
        endpoint = instance.endpoints.trino
        url = instance.settings.url("trino")
        with httpx.Client(base_url=url, timeout=5, trust_env=False) as client:
            # Cheaper to ask than to send a query that is bound to fail.
            if client.get("/v1/info").raise_for_status().json()["starting"]:
                raise NotReady("still starting")
        connection: Any = trino.dbapi.connect(  # type: ignore[no-untyped-call]
            host=endpoint.host,
            port=endpoint.port,
            user=endpoint.user,
            source="lakehouse-status",
            request_timeout=10,
            max_attempts=1,
        )
        try:
            cursor = connection.cursor()
            cursor.execute("SELECT 1")
            cursor.fetchall()
            cursor.execute("SHOW CATALOGS")
            catalogs = {row[0] for row in cursor.fetchall()}
        finally:
            connection.close()
        if endpoint.catalog not in catalogs:
            raise NotReady(f"catalog {endpoint.catalog!r} is missing")
        return f"{len(catalogs)} catalogs"
