"""PostgreSQL, where Dagster keeps its state and the platform what it remembers of its streams."""

from __future__ import annotations

import hashlib
import select
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg2
from psycopg2.extras import RealDictCursor

from lakehouse_dagster.engines.closing import Closing
from lakehouse_dagster.engines.endpoints import PostgresEndpoint
from lakehouse_dagster.engines.errors import EngineError, EngineUnavailable

#: A transaction left open for longer, by a process that was stopped, is ended by the server with its locks.
_IDLE_TRANSACTION_SECONDS = 60
_QUERY_CANCELED = "57014"
#: The server is shutting down, crashed, or not up yet; it ended an idle transaction.
_GONE = frozenset({"57P01", "57P02", "57P03", "57P05", "25P03"})
#: Said while connecting, where the driver gives no code: these pass, other refusals do not.
_PASSING = ("starting up", "shutting down", "in recovery mode", "too many clients", "slots are reserved")

_VERSIONS = """
CREATE TABLE IF NOT EXISTS lakehouse.schema_version (
    component text PRIMARY KEY,
    version int NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
)
"""
_VERSION = "SELECT version FROM lakehouse.schema_version WHERE component = %s"
_SET_VERSION = """
INSERT INTO lakehouse.schema_version AS v (component, version) VALUES (%s, %s)
ON CONFLICT (component) DO UPDATE SET version = excluded.version, at = now()
WHERE v.version <> excluded.version
"""
# PostgreSQL shows a lock's number in two halves; objsubid 1 says that it was given as one.
_LOCKED = """
SELECT EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND objsubid = 1
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (classid::bigint << 32) | objid::bigint = %s
) AS locked
"""

Arguments = Sequence[Any] | Mapping[str, Any] | None


class Session:
    """Statements over one connection."""

    def __init__(self, client: PostgresClient, connection: Any) -> None:
        self._client = client
        self._connection = connection

    def query(self, sql: str, args: Arguments = None) -> list[dict[str, Any]]:
        """Run a statement and return its rows as dictionaries; times carry UTC."""
        with (
            self._client.translated(self._connection),
            self._connection.cursor(cursor_factory=RealDictCursor) as cursor,
        ):
            cursor.execute(sql, args)
            return [dict(row) for row in cursor.fetchall()]

    def execute(self, sql: str, args: Arguments = None) -> int:
        """Run a statement and return the number of affected rows."""
        with self._client.translated(self._connection), self._connection.cursor() as cursor:
            cursor.execute(sql, args)
            return int(cursor.rowcount)

    def lock(self, name: str) -> None:
        """Take the lock ``name``, waiting for it; it is let go at the end of the transaction."""
        self.query("SELECT pg_advisory_xact_lock(%s)", (lock_number(name),))


class PostgresClient(Closing):
    """The database that Dagster uses, with Dagster's user; not to be shared between threads.

    Connects at the first statement, and again after the connection was lost. A statement during which it is
    lost is not repeated, because it may have been carried out: that is an ``EngineUnavailable``. ``timeout``
    (seconds) bounds the connecting and each statement; the server lists the connection as ``application``.
    """

    engine = "postgres"

    def __init__(
        self, endpoint: PostgresEndpoint, *, timeout: float = 10.0, application: str = "lakehouse"
    ) -> None:
        self.endpoint = endpoint
        self._application = application
        self.address = f"{endpoint.host}:{endpoint.port}"
        self._timeout = timeout
        self._shared: Any = None
        self._in_transaction = False
        self._migrated: set[str] = set()

    def close(self) -> None:
        """Close the shared connection; the next statement opens a new one."""
        if self._shared is not None:
            self._shared.close()
        self._shared = None
        # Whatever ended the connection may have put another database in the place of this one.
        self._migrated.clear()

    def connect(self) -> Any:
        """Open a new connection in autocommit mode and UTC; the caller closes it.

        Raises ``EngineUnavailable`` when the server does not answer or is not up yet, and ``EngineError``
        when it refuses the user or the database.
        """
        options = {
            "timezone": "UTC",
            "statement_timeout": f"{self._timeout:g}s",
            "idle_in_transaction_session_timeout": f"{_IDLE_TRANSACTION_SECONDS}s",
            # What engines say of their failures is kept, whatever this process's locale can express.
            "client_encoding": "UTF8",
        }
        try:
            connection = psycopg2.connect(
                host=self.endpoint.host,
                port=self.endpoint.port,
                user=self.endpoint.user,
                password=self.endpoint.password.get_secret_value(),
                dbname=self.endpoint.database,
                # libpq takes anything below two seconds for two seconds.
                connect_timeout=max(2, round(self._timeout)),
                application_name=self._application,
                options=" ".join(f"-c {name}={value}" for name, value in options.items()),
                # A server that vanished with its machine is noticed, instead of being waited for.
                keepalives_idle=10,
                keepalives_interval=5,
                keepalives_count=3,
                tcp_user_timeout=int((self._timeout + 5) * 1000),
            )
        except psycopg2.OperationalError as error:
            said = str(error).strip()
            if "FATAL" in said and not any(word in said for word in _PASSING):
                raise EngineError(self.engine, said) from error
            raise EngineUnavailable(self.engine, self.address, cause=said) from error
        connection.autocommit = True
        return connection

    def query(self, sql: str, args: Arguments = None) -> list[dict[str, Any]]:
        """Run a statement and return its rows as dictionaries; times carry UTC."""
        return self._session().query(sql, args)

    def execute(self, sql: str, args: Arguments = None) -> int:
        """Run a statement (committed at once) and return the number of affected rows."""
        return self._session().execute(sql, args)

    def try_lock(self, name: str) -> bool:
        """Take the lock ``name`` for as long as the connection lasts, unless somebody else has it."""
        return bool(self.query("SELECT pg_try_advisory_lock(%s) AS mine", (lock_number(name),))[0]["mine"])

    def is_locked(self, name: str) -> bool:
        """Whether somebody, the caller included, has the lock ``name`` now."""
        return bool(self.query(_LOCKED, (lock_number(name),))[0]["locked"])

    @contextmanager
    def transaction(self, *, snapshot: bool = False) -> Iterator[Session]:
        """Run the statements of the given session as one: all take effect at the end of the block, or none.

        With ``snapshot`` they only read, and all see the database as of one moment. The client itself takes
        no statements inside the block, and it does not nest (``RuntimeError``).
        """
        session = self._session()
        connection = self._shared
        session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY" if snapshot else "BEGIN")
        self._in_transaction = True
        try:
            yield session
            session.execute("COMMIT")
        except BaseException:
            if not connection.closed:
                try:
                    session.execute("ROLLBACK")
                except EngineError:
                    # What went wrong first is what the caller is told; the server rolls back by itself.
                    self.close()
            raise
        finally:
            self._in_transaction = False

    def migrate(self, component: str, steps: Sequence[str]) -> None:
        """Bring the tables of ``component`` in schema ``lakehouse`` up to date: run what is new of ``steps``.

        ``steps`` are the statements from the beginning on and only ever get longer; how many have run is kept
        in ``lakehouse.schema_version``. Several processes may do this at once. Asked again over the same
        connection it does nothing. Raises ``EngineError`` when the tables were made by a newer release.
        """
        session = self._session()
        if component in self._migrated:
            return
        there = session.query("SELECT to_regclass(%s) IS NOT NULL AS yes", ("lakehouse.schema_version",))
        if not there[0]["yes"] or _version(session, component) != len(steps):
            with self.transaction() as migration:
                migration.lock("schema")
                migration.execute("CREATE SCHEMA IF NOT EXISTS lakehouse")
                migration.execute(_VERSIONS)
                # Read under the lock: somebody else may have been quicker.
                version = _version(migration, component)
                if version > len(steps):
                    raise EngineError(
                        self.engine,
                        f"the tables of {component} in schema lakehouse are of version {version}, made by a "
                        f"newer release than this one, which knows {len(steps)}; use that release",
                    )
                for step in steps[version:]:
                    migration.execute(step)
                migration.execute(_SET_VERSION, (component, len(steps)))
        self._migrated.add(component)

    def _session(self) -> Session:
        if self._in_transaction:
            raise RuntimeError("inside a transaction, statements go to its session")
        if self._shared is not None and not self._healthy():
            self.close()
        if self._shared is None:
            self._shared = self.connect()
        return Session(self, self._shared)

    def _healthy(self) -> bool:
        """Whether the shared connection still stands, found out without asking the server.

        The server has nothing to say to an idle connection but that it ends it, by words or by closing it.
        """
        if self._shared.closed:
            return False
        try:
            watch = select.poll()
            watch.register(self._shared.fileno(), select.POLLIN)
            return not watch.poll(0)
        except (OSError, psycopg2.Error):
            return False

    @contextmanager
    def translated(self, connection: Any) -> Iterator[None]:
        """Turn psycopg2's errors raised inside the block into ``EngineUnavailable`` or ``EngineError``."""
        try:
            yield
        except psycopg2.Error as error:
            code = error.pgcode
            said = " ".join(str(error).split())
            if connection.closed or code in _GONE or isinstance(error, psycopg2.InterfaceError):
                if connection is self._shared:
                    self.close()
                raise EngineUnavailable(self.engine, self.address, cause=said) from error
            if code == _QUERY_CANCELED:
                raise EngineUnavailable(
                    self.engine, self.address, cause=f"no result within {self._timeout:g} s"
                ) from error
            raise EngineError(self.engine, f"{said} (SQLSTATE {code})") from error


def _version(session: Session, component: str) -> int:
    rows = session.query(_VERSION, (component,))
    return int(rows[0]["version"]) if rows else 0


def lock_number(name: str) -> int:
    """Return the signed 64-bit number that stands for ``name``; PostgreSQL names advisory locks by number."""
    digest = hashlib.sha256(f"lakehouse/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
