"""Where each engine answers and with which credentials: the one object every client is built from.

The models know nothing about how the engines were started. The native runtime fills them in
``lakehouse_dagster.runtime.endpoints``; any other deployment can fill them from its own configuration.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class _Endpoint(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MySqlEndpoint(_Endpoint):
    """The source database, with the application's user (not the one used for change capture)."""

    host: str
    port: int
    user: str
    password: SecretStr
    database: str


class PostgresEndpoint(_Endpoint):
    """The database server that stores Dagster's own state."""

    host: str
    port: int
    user: str
    password: SecretStr
    database: str


class KafkaEndpoint(_Endpoint):
    """The broker, as the client option ``bootstrap.servers``."""

    bootstrap: str


class ConnectEndpoint(_Endpoint):
    """Kafka Connect's REST address, and where the worker's metrics are read (empty: nowhere)."""

    url: str
    metrics_url: str = ""


class S3Endpoint(_Endpoint):
    """The object store: address, keys and the one bucket of this installation."""

    endpoint: str
    access_key: str
    secret_key: SecretStr
    bucket: str


class PaimonEndpoint(_Endpoint):
    """The warehouse of the Paimon filesystem catalog, as an ``s3://`` address."""

    warehouse: str


class NessieEndpoint(_Endpoint):
    """Nessie's root address; API v2 is at ``/api/v2``, the Iceberg REST catalog at ``/iceberg``."""

    url: str


class FlinkEndpoint(_Endpoint):
    """The JobManager's REST address."""

    url: str


class TrinoEndpoint(_Endpoint):
    """The Trino coordinator and the catalog that reads the lake through Nessie."""

    host: str
    port: int
    user: str
    catalog: str


class CassandraEndpoint(_Endpoint):
    """The Cassandra node, its credentials and the keyspace of the serving views."""

    host: str
    port: int
    username: str
    password: SecretStr
    datacenter: str
    keyspace: str


class CouchDbEndpoint(_Endpoint):
    """The CouchDB server (natively the ``pouchdb-server`` stand-in) and its administrator."""

    url: str
    username: str
    password: SecretStr


class DorisEndpoint(_Endpoint):
    """A Doris frontend's MySQL port, and an administrator.

    ``s3_endpoint`` and ``nessie_url`` are those addresses as Doris reaches them (empty: as we do). Without
    ``reporter_password`` the read-only user is not made.
    """

    host: str
    port: int = 9030
    user: str = "root"
    password: SecretStr = SecretStr("")
    reporter_password: SecretStr | None = None
    replicas: int = Field(default=1, ge=1)
    s3_endpoint: str = ""
    nessie_url: str = ""


class DagsterEndpoint(_Endpoint):
    """The Dagster webserver; GraphQL is at ``/graphql``."""

    url: str


class Endpoints(_Endpoint):
    """All engines of one installation."""

    mysql: MySqlEndpoint
    postgres: PostgresEndpoint
    kafka: KafkaEndpoint
    connect: ConnectEndpoint
    s3: S3Endpoint
    paimon: PaimonEndpoint
    nessie: NessieEndpoint
    flink: FlinkEndpoint
    trino: TrinoEndpoint
    cassandra: CassandraEndpoint
    couchdb: CouchDbEndpoint
    dagster: DagsterEndpoint
    doris: DorisEndpoint | None = None
    """Doris runs in Docker Compose only; None where none is configured."""

    def revealed(self) -> dict[str, Any]:
        """Return plain values with the passwords readable, for a consumer that must log in."""
        return {
            name: {
                key: value.get_secret_value() if isinstance(value, SecretStr) else value
                for key, value in dict(getattr(self, name)).items()
            }
            for name in type(self).model_fields
            if getattr(self, name) is not None
        }

    def to_json(self) -> str:
        """Return ``revealed()`` as one JSON object."""
        return json.dumps(self.revealed(), indent=2)
