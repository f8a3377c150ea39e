"""All clients of one installation, each made when it is first asked for and closed together."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from lakehouse_dagster.engines.closing import Closing
from lakehouse_dagster.engines.endpoints import READER, Endpoints

# The client libraries are heavy (cassandra, boto3, kafka ...): a caller pays only for those it uses.
if TYPE_CHECKING:
    from lakehouse_dagster.engines.cassandra import CassandraClient
    from lakehouse_dagster.engines.connect import ConnectClient
    from lakehouse_dagster.engines.couchdb import CouchDbClient
    from lakehouse_dagster.engines.doris import DorisClient
    from lakehouse_dagster.engines.flink import FlinkRest, FlinkSubmitter
    from lakehouse_dagster.engines.kafka import KafkaAdmin
    from lakehouse_dagster.engines.mysql import MySqlClient
    from lakehouse_dagster.engines.nessie import NessieClient
    from lakehouse_dagster.engines.paimon import PaimonTables
    from lakehouse_dagster.engines.postgres import PostgresClient
    from lakehouse_dagster.engines.s3 import ObjectStore
    from lakehouse_dagster.engines.trino import TrinoClient

_CLOSED = (
    "reading",
    "mysql",
    "source",
    "postgres",
    "kafka",
    "connect",
    "flink",
    "store",
    "nessie",
    "cassandra",
    "couchdb",
    "doris",
)
"""Clients that hold connections."""


class Clients(Closing):
    """Clients of the engines at ``endpoints``; not to be shared between threads.

    ``timeout`` (seconds) bounds each request of the small status calls. ``submitter`` makes what submits
    Flink scripts, which needs to know where the Flink client environment is installed.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        *,
        timeout: float = 10.0,
        submitter: Callable[[], FlinkSubmitter] | None = None,
    ) -> None:
        self.endpoints = endpoints
        self._timeout = timeout
        self._submitter = submitter

    def close(self) -> None:
        """Say that the caller is done with the clients; here that closes them."""
        self.disconnect()

    def disconnect(self) -> None:
        """Close every client that was made; asked for again, a new one is made."""
        for name in _CLOSED:
            client = self.__dict__.pop(name, None)
            if client is not None:
                client.close()
        self.__dict__.pop("paimon", None)

    @cached_property
    def mysql(self) -> MySqlClient:
        """The source database as its application, which writes it; the platform itself only reads."""
        from lakehouse_dagster.engines.mysql import MySqlClient

        return MySqlClient(self.endpoints.mysql)

    @cached_property
    def reading(self) -> Clients:
        """Clients of the same engines with identities that can change nothing there."""
        return Clients(self.endpoints.acting(READER), timeout=self._timeout)

    @cached_property
    def source(self) -> MySqlClient:
        """The source database for small questions, read only, which it must answer within the timeout."""
        from lakehouse_dagster.engines.mysql import MySqlClient

        return MySqlClient(
            self.endpoints.mysql.acting(READER),
            connect_timeout=max(1.0, self._timeout / 4),
            read_timeout=self._timeout,
        )

    @cached_property
    def postgres(self) -> PostgresClient:
        """The database with Dagster's state and the platform's own."""
        from lakehouse_dagster.engines.postgres import PostgresClient

        return PostgresClient(self.endpoints.postgres, timeout=self._timeout)

    @cached_property
    def kafka(self) -> KafkaAdmin:
        """Topics, offsets and consumer groups."""
        from lakehouse_dagster.engines.kafka import KafkaAdmin

        return KafkaAdmin(self.endpoints.kafka, timeout=self._timeout)

    @cached_property
    def connect(self) -> ConnectClient:
        """Connectors."""
        from lakehouse_dagster.engines.connect import ConnectClient

        return ConnectClient(self.endpoints.connect, timeout=self._timeout)

    @cached_property
    def flink(self) -> FlinkRest:
        """Jobs and checkpoints."""
        from lakehouse_dagster.engines.flink import FlinkRest

        return FlinkRest(self.endpoints.flink, timeout=self._timeout)

    @property
    def submitter(self) -> FlinkSubmitter:
        """What submits Flink scripts; raises ``RuntimeError`` where none was given."""
        if self._submitter is None:
            raise RuntimeError("these clients were made without a way to submit Flink scripts")
        return self._submitter()

    @cached_property
    def store(self) -> ObjectStore:
        """The object store."""
        from lakehouse_dagster.engines.s3 import ObjectStore

        return ObjectStore(self.endpoints.s3, timeout=self._timeout)

    @cached_property
    def paimon(self) -> PaimonTables:
        """Snapshots of the lake tables."""
        from lakehouse_dagster.engines.paimon import PaimonTables

        return PaimonTables(self.endpoints.paimon, self.endpoints.s3, store=self.store)

    @cached_property
    def nessie(self) -> NessieClient:
        """The catalog of published versions."""
        from lakehouse_dagster.engines.nessie import NessieClient

        return NessieClient(self.endpoints.nessie, timeout=self._timeout)

    @cached_property
    def trino(self) -> TrinoClient:
        """SQL over the published lake."""
        from lakehouse_dagster.engines.trino import TrinoClient

        return TrinoClient(self.endpoints.trino)

    @cached_property
    def cassandra(self) -> CassandraClient:
        """Serving views in Cassandra."""
        from lakehouse_dagster.engines.cassandra import CassandraClient

        return CassandraClient(self.endpoints.cassandra)

    @cached_property
    def couchdb(self) -> CouchDbClient:
        """Serving views in CouchDB."""
        from lakehouse_dagster.engines.couchdb import CouchDbClient

        return CouchDbClient(self.endpoints.couchdb, timeout=self._timeout)

    @cached_property
    def doris(self) -> DorisClient:
        """Marts in Doris; raises ``EngineUnavailable`` where none is configured."""
        from lakehouse_dagster.engines.doris import DorisClient, unconfigured

        if self.endpoints.doris is None:
            raise unconfigured()
        return DorisClient(self.endpoints.doris)


class ClientSource(Protocol):
    """What hands out clients: a Dagster resource, or a stand-in in tests."""

    def clients(self, *, timeout: float = 10.0) -> Clients:
        """Return new clients, to be closed by the caller.

        Raises ``EngineUnavailable`` when nothing is configured.
        """
