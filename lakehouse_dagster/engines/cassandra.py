"""Cassandra over the native protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

from cassandra import DriverException, OperationTimedOut, RequestExecutionException
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import (
    EXEC_PROFILE_DEFAULT,
    Cluster,
    ExecutionProfile,
    NoHostAvailable,
    Session,
)
from cassandra.policies import DCAwareRoundRobinPolicy
from cassandra.protocol import ErrorMessage
from cassandra.query import SimpleStatement

from lakehouse_dagster.engines.closing import Closing
from lakehouse_dagster.engines.endpoints import READER, WRITER, CassandraEndpoint
from lakehouse_dagster.engines.errors import EngineError, EngineUnavailable

PERMISSIONS: Final = MappingProxyType({WRITER: "MODIFY", READER: "SELECT"})
"""What each identity may do in the keyspaces of pipelines. The writer need not read: positions decide."""


def _tuples(_names: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    return [tuple(_millis(value) if isinstance(value, datetime) else value for value in row) for row in rows]


def _millis(moment: datetime) -> datetime:
    """The whole millisecond that Cassandra has: the driver makes seconds as a float of it, which is up to
    30 microseconds off in the year 9999.
    """
    return moment + timedelta(microseconds=round(moment.microsecond, -3) - moment.microsecond)


class CassandraClient(Closing):
    """One session, opened on first use. Rows come back as tuples."""

    engine = "cassandra"

    def __init__(
        self, endpoint: CassandraEndpoint, *, connect_timeout: float = 5.0, timeout: float = 30.0
    ) -> None:
        self.endpoint = endpoint
        self.address = f"{endpoint.host}:{endpoint.port}"
        self._connect_timeout = connect_timeout
        self._timeout = timeout
        self._cluster: Cluster | None = None
        self._session: Session | None = None

    def close(self) -> None:
        """Close the session and its threads."""
        if self._cluster is not None:
            self._cluster.shutdown()
        self._cluster = self._session = None

    def session(self) -> Session:
        """The open session, without a current keyspace."""
        if self._session is None:
            e = self.endpoint
            profile = ExecutionProfile(
                load_balancing_policy=DCAwareRoundRobinPolicy(local_dc=e.datacenter),
                request_timeout=self._timeout,
                row_factory=_tuples,
            )
            self._cluster = Cluster(
                contact_points=[e.host],
                port=e.port,
                auth_provider=PlainTextAuthProvider(e.username, e.password.get_secret_value()),
                execution_profiles={EXEC_PROFILE_DEFAULT: profile},
                protocol_version=5,
                connect_timeout=self._connect_timeout,
                control_connection_timeout=self._connect_timeout,
            )
            with self._translated():
                self._session = self._cluster.connect()
            # The driver writes a decimal parameter as a double, which loses digits.
            self._session.encoder.mapping[Decimal] = str
        return self._session

    def execute(self, cql: str, args: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """Run a statement (`%s` marks) and return all rows."""
        with self._translated():
            return list(self.session().execute(cql, args))

    def rows(
        self, cql: str, args: Sequence[Any] | None = None, *, page: int = 2000
    ) -> Iterator[tuple[Any, ...]]:
        """Run a query and stream its rows page by page."""
        with self._translated():
            yield from self.session().execute(SimpleStatement(cql, fetch_size=page), args)

    def version(self) -> str:
        """The server's release."""
        return str(self.execute("SELECT release_version FROM system.local")[0][0])

    def keyspaces(self) -> list[str]:
        """Names of all keyspaces."""
        return sorted(row[0] for row in self.execute("SELECT keyspace_name FROM system_schema.keyspaces"))

    def tables(self, keyspace: str) -> list[str]:
        """Names of the tables of a keyspace; empty when it does not exist."""
        cql = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s"
        return sorted(row[0] for row in self.execute(cql, (keyspace,)))

    def columns(self, keyspace: str, table: str) -> dict[str, str]:
        """CQL type of each column of a table; empty when it does not exist."""
        cql = (
            "SELECT column_name, type FROM system_schema.columns WHERE keyspace_name = %s AND table_name = %s"
        )
        return {row[0]: row[1] for row in self.execute(cql, (keyspace, table))}

    def admit(self, keyspace: str) -> None:
        """Let the installation's other identities into a keyspace that this one has made."""
        for identity, login in self.endpoint.identities.items():
            what = f"{PERMISSIONS[identity]} ON KEYSPACE {identifier(keyspace)}"
            self.execute(f"GRANT {what} TO {identifier(login.name)}")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except NoHostAvailable as error:
            self.close()
            causes = list(error.errors.values()) if isinstance(error.errors, dict) else []
            text = "; ".join(str(cause) for cause in causes)[:300] or str(error)[:300]
            if "AuthenticationFailed" in text or "Bad credentials" in text:
                raise EngineError(self.engine, f"{self.address} refuses the credentials: {text}") from error
            raise EngineUnavailable(self.engine, self.address, cause=text) from error
        except OperationTimedOut as error:
            self.close()
            raise EngineUnavailable(self.engine, self.address, cause=str(error)) from error
        except (DriverException, RequestExecutionException, ErrorMessage) as error:
            raise EngineError(self.engine, f"{type(error).__name__}: {error}") from error


def identifier(name: str) -> str:
    """An identifier in double quotes (case-sensitive in CQL)."""
    return '"' + name.replace('"', '""') + '"'
