"""Nessie: the versioned catalog, with its versions stored in PostgreSQL."""

from __future__ import annotations

import httpx

from lakehouse_dagster.runtime.endpoints import BUCKET, CATALOG, POSTGRES_NESSIE, S3_NESSIE
from lakehouse_dagster.runtime.ports import HOST
from lakehouse_dagster.runtime.services.base import Instance, NotReady, Program, Rendering, Service, jvm


class Nessie(Service):
    """The catalog server: Nessie's own API and Iceberg REST."""

    name = "nessie"
    title = "Nessie"
    depends = ("postgres", "minio")
    ports = ("nessie", "nessie-management")
    engines = ("nessie", "jdk25")
    start_timeout = 700.0

    def program(self, rendering: Rendering) -> Program:
        """Run the Quarkus application; it reads ``config/application.properties`` in its working folder."""
        instance = rendering.instance
        settings = instance.settings
        rendering.file(
            "nessie/application.properties",
            "config/application.properties",
            {
                "PORT": settings.port("nessie"),
                "MANAGEMENT_PORT": settings.port("nessie-management"),
                "JDBC_URL": f"jdbc:postgresql://{HOST}:{settings.port('postgres')}/{POSTGRES_NESSIE}",
                "JDBC_USER": POSTGRES_NESSIE,
                "JDBC_PASSWORD": instance.secrets.postgres_nessie.get_secret_value(),
                "WAREHOUSE": CATALOG,
                "WAREHOUSE_LOCATION": f"s3://{BUCKET}/warehouse",
                "S3_ENDPOINT": instance.endpoints.s3.endpoint,
                "S3_ACCESS_KEY": S3_NESSIE,
                "S3_SECRET_KEY": instance.secrets.s3_nessie.get_secret_value(),
            },
        )
        return Program(
            jvm(
                instance.java25(),
                heap="192m",
                scratch=rendering.scratch(),
                options=(
                    "-Dquarkus.otel.sdk.disabled=true",
                    "-Djava.util.logging.manager=org.jboss.logmanager.LogManager",
                    "--enable-native-access=ALL-UNNAMED",
                    "--sun-misc-unsafe-memory-access=allow",
                ),
                classpath="",
                main="-jar",
                arguments=(str(instance.engine("nessie") / "nessie-quarkus-runner.jar"),),
            ),
            directory=rendering.folder,
        )

    def probe(self, instance: Instance, since: float) -> str:
        """Both APIs must answer: Nessie's configuration and the Iceberg REST catalog's."""
        del since
        with httpx.Client(base_url=instance.endpoints.nessie.url, timeout=5, trust_env=False) as client:
            config = client.get("/api/v2/config").raise_for_status().json()
            client.get("/iceberg/v1/config", params={"warehouse": CATALOG}).raise_for_status()
        branch = config.get("defaultBranch")
        if branch != "main":
            raise NotReady(f"default branch is {branch!r}, not 'main'")
        return "branch main"
