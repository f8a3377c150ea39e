"""Where each engine answers and with which credentials: the one object every client is built from.

The models know nothing about how the engines were started. The native runtime fills them in
``lakehouse_dagster.runtime.endpoints``; any other deployment can fill them from its own configuration.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr

READER: Final = "reader"
"""Reads data and changes nothing: for people, reports and the platform's own comparisons."""
WRITER: Final = "writer"
"""Writes rows of what exists and makes nothing new: the serving stream's sinks."""
PROBER: Final = "prober"
"""Writes the freshness probe's table in the source and no other."""
FLINK: Final = "flink"
"""Writes the lake's tables and the streams' state: Flink in the object store."""


class _Endpoint(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Login(_Endpoint):
    """The name and the password of one identity; no password where the engine asks for none."""

    name: str
    password: SecretStr | None = None


class _WithIdentities(_Endpoint):
    """An endpoint that can be used as somebody with fewer rights than its own login has."""

    _fields: ClassVar[tuple[str, ...]]
    """The endpoint's fields that hold a login: its name, and its password where the engine has one."""

    identities: Mapping[str, Login] = Field(default_factory=dict)
    """Further logins by identity (``READER`` ...). An installation may leave any of them out."""

    def acting(self, identity: str) -> Self:
        """The same endpoint with the login of ``identity``; as it is where the installation has none."""
        login = self.identities.get(identity)
        if login is None:
            return self
        values = (login.name, login.password)
        update: dict[str, Any] = dict(zip(self._fields, values, strict=False))
        return self.model_copy(update={**update, "identities": {}})


class MySqlEndpoint(_WithIdentities):
    """The source database, with the application's user, who writes it.

    Identities: ``READER`` and ``PROBER``. The one of change capture is known to Kafka Connect alone.
    """

    _fields = ("user", "password")

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


class S3Endpoint(_WithIdentities):
    """The object store: address, the control plane's keys and the one bucket of this installation.

    Identities: ``READER`` and ``FLINK``. Trino's and Nessie's keys are known to these servers alone.
    """

    _fields = ("access_key", "secret_key")

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


class TrinoEndpoint(_WithIdentities):
    """The Trino coordinator and the catalog that reads the lake through Nessie. Identities: ``READER``."""

    _fields = ("user",)

    host: str
    port: int
    user: str
    catalog: str


class CassandraEndpoint(_WithIdentities):
    """The Cassandra node, the role that makes the views, and the keyspace of the serving views.

    Identities: ``READER`` and ``WRITER``.
    """

    _fields = ("username", "password")

    host: str
    port: int
    username: str
    password: SecretStr
    datacenter: str
    keyspace: str


class CouchDbEndpoint(_WithIdentities):
    """The CouchDB server (natively the ``pouchdb-server`` stand-in) and its administrator.

    Identities: ``READER`` and ``WRITER``.
    """

    _fields = ("username", "password")

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

    def acting(self, identity: str) -> Endpoints:
        """The same engines with the login of ``identity`` wherever the installation has it."""
        found = {name: getattr(self, name) for name in type(self).model_fields}
        return self.model_copy(
            update={
                name: endpoint.acting(identity)
                for name, endpoint in found.items()
                if isinstance(endpoint, _WithIdentities)
            }
        )

    def revealed(self) -> dict[str, Any]:
        """Return plain values with the passwords readable, for a consumer that must log in."""
        return {
            name: _revealed(getattr(self, name))
            for name in type(self).model_fields
            if getattr(self, name) is not None
        }

    def to_json(self) -> str:
        """Return ``revealed()`` as one JSON object."""
        return json.dumps(self.revealed(), indent=2)


def _revealed(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, BaseModel):
        return _revealed(dict(value))
    if isinstance(value, Mapping):
        return {key: _revealed(item) for key, item in value.items()}
    return value
