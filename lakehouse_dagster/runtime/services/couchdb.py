"""CouchDB's native stand-in: ``pouchdb-server``, which speaks the same protocol."""

from __future__ import annotations

import httpx

from lakehouse_dagster.runtime import provision
from lakehouse_dagster.runtime.endpoints import COUCHDB_READER, COUCHDB_USER, COUCHDB_WRITER
from lakehouse_dagster.runtime.services.base import Instance, NotReady, Program, Rendering, Service, quoted


class CouchDb(Service):
    """The document store."""

    name = "couchdb"
    title = "CouchDB (pouchdb-server)"
    ports = ("couchdb",)
    engines = ("couchdb",)
    note = (
        "pouchdb-server stands in for CouchDB, of which no native package exists: "
        "same protocol, other program; Compose runs the real one"
    )

    def program(self, rendering: Rendering) -> Program:
        """Run the server on Node.js, with an administrator, a writer, a reader and no anonymous access."""
        instance = rendering.instance
        data = instance.data("couchdb")
        databases = data / "databases"
        databases.mkdir(mode=0o700, exist_ok=True)
        config = rendering.file(
            "couchdb/config.json",
            "config.json",
            {
                "HOST": quoted(instance.settings.host),
                "PORT": instance.settings.port("couchdb"),
                "USER": quoted(COUCHDB_USER),
                "PASSWORD": quoted(instance.secrets.couchdb.get_secret_value()),
                "LOG_FILE": quoted(str(data / "request.log")),
            },
        )
        guard = rendering.file("couchdb/require-user.js", "require-user.js")
        return Program(
            (
                str(provision.node()),
                "--require",
                str(guard),
                "--max-old-space-size=256",
                str(
                    instance.engine("couchdb") / "node_modules" / "pouchdb-server" / "bin" / "pouchdb-server"
                ),
                "--no-stdout-logs",
                "--no-color",
                "--host",
                instance.settings.host,
                "--port",
                str(instance.settings.port("couchdb")),
                "--dir",
                str(databases),
                "--config",
                str(config),
            ),
            directory=data,
            environment={
                "COUCHDB_USER": COUCHDB_USER,
                "COUCHDB_PASSWORD": instance.secrets.couchdb.get_secret_value(),
                "COUCHDB_WRITER": COUCHDB_WRITER,
                "COUCHDB_WRITER_PASSWORD": instance.secrets.couchdb_writer.get_secret_value(),
                "COUCHDB_READER": COUCHDB_READER,
                "COUCHDB_READER_PASSWORD": instance.secrets.couchdb_reader.get_secret_value(),
            },
        )

    def probe(self, instance: Instance, since: float) -> str:
        """Anonymous requests must be refused, the administrator's answered."""
        del since
        endpoint = instance.endpoints.couchdb
        with httpx.Client(base_url=endpoint.url, timeout=5, trust_env=False) as client:
            if client.get("/_all_dbs").status_code != httpx.codes.UNAUTHORIZED:
                raise NotReady("anonymous requests are not refused")
            answer = client.get(
                "/_all_dbs", auth=(endpoint.username, endpoint.password.get_secret_value())
            ).raise_for_status()
        names = [name for name in answer.json() if not name.startswith("_")]
        return f"{len(names)} database{'' if len(names) == 1 else 's'}"
