"""MySQL, the source: queries, its schema, and consistent snapshots with their binary log position."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import DictCursor, SSCursor

from lakehouse_dagster.contract.schema import Column, SchemaLock, TableSchema
from lakehouse_dagster.engines.closing import Closing
from lakehouse_dagster.engines.endpoints import MySqlEndpoint
from lakehouse_dagster.engines.errors import EngineError, EngineUnavailable

#: Client errors that mean "nobody there" (cannot connect, gone away, lost connection, unknown host).
_UNREACHABLE = frozenset({2002, 2003, 2005, 2006, 2013, 2055})
_LOCK_WAIT_TIMEOUT = 1205
_UNKNOWN_DATABASE = 1049
_UTC = frozenset(
    {"UTC", "+00:00", "-00:00", "GMT", "ETC/UTC", "ETC/GMT", "UCT", "ETC/UCT", "ZULU", "UNIVERSAL"}
)


@dataclass(frozen=True)
class SourcePosition:
    """Where the binary log stands: the executed GTID set, and file and byte of the next event."""

    gtids: str
    file: str
    pos: int


@dataclass(frozen=True)
class SourceCondition:
    """What decides whether a connector can read this server, all as of one moment.

    Of transactions, as GTID sets: `unread` are executed here and the reader lacks them, `purged_unread` those
    of them that are no longer in the binary log, and `unknown_here` the reader has and this server never
    executed. All are empty where the reader's set was not given. `time_zone` is what the server's clock
    shows: the global time zone, with SYSTEM resolved.
    """

    time_zone: str
    position: SourcePosition
    unread: str = ""
    purged_unread: str = ""
    unknown_here: str = ""

    @property
    def utc(self) -> bool:
        """Whether the server's time zone is UTC."""
        return self.time_zone.upper() in _UTC


class SourceSnapshot:
    """All tables of the source as of one point of its binary log; valid inside `MySqlClient.snapshot`."""

    def __init__(self, client: MySqlClient, connection: Connection[Any], position: SourcePosition) -> None:
        self._client = client
        self._connection = connection
        self.position = position

    def rows(self, select: str, args: Sequence[Any] | None = None) -> Iterator[tuple[Any, ...]]:
        """Stream the rows of a SELECT (values as pymysql decodes them), without holding them in memory.

        With `args` the SELECT has a `%s` for each, and any other per cent sign doubled.
        Finish or close one iterator before starting the next: they share a connection.
        """
        with self._client.translated(), closing(self._connection.cursor(SSCursor)) as cursor:
            cursor.execute(select, args)
            while batch := cursor.fetchmany(2000):
                yield from batch


class MySqlClient(Closing):
    """The source database with the application's user. Sessions always speak UTC and utf8mb4."""

    engine = "mysql"

    def __init__(
        self, endpoint: MySqlEndpoint, *, connect_timeout: float = 5.0, read_timeout: float = 300.0
    ) -> None:
        self.endpoint = endpoint
        self.address = f"{endpoint.host}:{endpoint.port}"
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._shared: Connection[Any] | None = None

    def close(self) -> None:
        """Close the connection that `query` and `execute` share."""
        if self._shared is not None and self._shared.open:
            self._shared.close()
        self._shared = None

    def connect(self, *, database: str | None = None, autocommit: bool = True) -> Connection[Any]:
        """Open a new connection in UTC; the caller closes it.

        `database` defaults to the endpoint's. EngineUnavailable when the server does not answer.
        """
        with self.translated():
            return pymysql.connect(
                host=self.endpoint.host,
                port=self.endpoint.port,
                user=self.endpoint.user,
                password=self.endpoint.password.get_secret_value(),
                database=database if database is not None else self.endpoint.database,
                charset="utf8mb4",
                autocommit=autocommit,
                connect_timeout=self._connect_timeout,
                read_timeout=self._read_timeout,
                write_timeout=self._read_timeout,
                init_command="SET time_zone = '+00:00'",
            )

    def query(self, sql: str, args: Sequence[Any] | dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Run a statement and return its rows as dictionaries."""
        with self.translated(), closing(self._connection().cursor(DictCursor)) as cursor:
            cursor.execute(sql, args)
            return list(cursor.fetchall())

    def execute(self, sql: str, args: Sequence[Any] | dict[str, Any] | None = None) -> int:
        """Run a statement (autocommit) and return the number of affected rows."""
        with self.translated(), closing(self._connection().cursor()) as cursor:
            return int(cursor.execute(sql, args))

    def version(self) -> str:
        """The server's version."""
        return str(self.query("SELECT VERSION() AS version")[0]["version"])

    def position(self) -> SourcePosition:
        """Where the binary log stands now (needs REPLICATION CLIENT)."""
        rows = self.query("SHOW BINARY LOG STATUS")
        if not rows:
            raise EngineError(self.engine, "the binary log is off; set log-bin and gtid-mode=ON")
        gtids = self.query("SELECT @@GLOBAL.gtid_executed AS gtids")[0]["gtids"]
        return SourcePosition(normal_gtids(gtids), rows[0]["File"], int(rows[0]["Position"]))

    def executed_gtids(self) -> str:
        """The set of all transactions committed so far."""
        return normal_gtids(self.query("SELECT @@GLOBAL.gtid_executed AS gtids")[0]["gtids"])

    def contains_gtids(self, container: str, contained: str) -> bool:
        """Whether the GTID set `container` holds all of `contained` (judged by the server)."""
        args = (normal_gtids(contained), normal_gtids(container))
        return bool(self.query("SELECT GTID_SUBSET(%s, %s) AS answer", args)[0]["answer"])

    def missing_gtids(self, container: str, wanted: str) -> str:
        """The GTIDs of `wanted` that `container` lacks; empty when it holds all."""
        args = (normal_gtids(wanted), normal_gtids(container))
        return normal_gtids(self.query("SELECT GTID_SUBTRACT(%s, %s) AS answer", args)[0]["answer"])

    def condition(self, read: str | None = None) -> SourceCondition:
        """The server's condition for a reader that has read the GTID set `read`.

        Needs REPLICATION CLIENT.
        """
        known = normal_gtids(read)
        row = self.query(
            "SELECT @@GLOBAL.time_zone AS zone, @@system_time_zone AS system_zone,"
            " @@GLOBAL.gtid_executed AS executed,"
            " GTID_SUBTRACT(@@GLOBAL.gtid_executed, %s) AS unread,"
            " GTID_SUBTRACT(@@GLOBAL.gtid_purged, %s) AS purged_unread,"
            " GTID_SUBTRACT(%s, @@GLOBAL.gtid_executed) AS unknown_here",
            (known, known, known),
        )[0]
        status = self.query("SHOW BINARY LOG STATUS")
        if not status:
            raise EngineError(self.engine, "the binary log is off; set log-bin and gtid-mode=ON")
        zone = str(row["zone"])
        return SourceCondition(
            time_zone=str(row["system_zone"]) if zone.upper() == "SYSTEM" else zone,
            position=SourcePosition(
                normal_gtids(row["executed"]), status[0]["File"], int(status[0]["Position"])
            ),
            unread="" if read is None else normal_gtids(row["unread"]),
            purged_unread="" if read is None else normal_gtids(row["purged_unread"]),
            unknown_here="" if read is None else normal_gtids(row["unknown_here"]),
        )

    def databases(self) -> list[str]:
        """Names of the databases this user sees, system databases left out."""
        hidden = {"information_schema", "mysql", "performance_schema", "sys"}
        names = {row["Database"] for row in self.query("SHOW DATABASES")}
        return sorted(names - hidden)

    def read_schema(self, database: str, tables: Sequence[str] | None = None) -> SchemaLock:
        """Read columns and primary keys of a database's base tables from information_schema.

        With `tables` only those, and EngineError names each that does not exist.
        """
        owners = self.query(
            "SELECT table_name AS name, table_comment AS comment FROM information_schema.tables"
            " WHERE table_schema = %s AND table_type = 'BASE TABLE' ORDER BY table_name",
            (database,),
        )
        comments = {row["name"]: row["comment"] or "" for row in owners}
        if not comments:
            raise EngineError(self.engine, f"database {database!r} does not exist or has no table")
        wanted = list(comments) if tables is None else list(tables)
        absent = [name for name in wanted if name not in comments]
        if absent:
            raise EngineError(
                self.engine,
                f"database {database!r} has no table {', '.join(absent)}; it has {', '.join(comments)}",
            )
        columns: dict[str, list[Column]] = {name: [] for name in wanted}
        for row in self.query(
            "SELECT table_name AS tab, column_name AS name, column_type AS type, is_nullable AS nullable,"
            " ordinal_position AS position, extra AS extra, character_set_name AS charset,"
            " column_comment AS comment FROM information_schema.columns WHERE table_schema = %s"
            " ORDER BY table_name, ordinal_position",
            (database,),
        ):
            if row["tab"] in columns:
                columns[row["tab"]].append(
                    Column(
                        name=row["name"],
                        mysql_type=_text(row["type"]),
                        nullable=row["nullable"] == "YES",
                        position=row["position"],
                        generated="GENERATED"
                        in (row["extra"] or "").upper().replace("DEFAULT_GENERATED", ""),
                        charset=row["charset"],
                        comment=_text(row["comment"] or ""),
                    )
                )
        keys: dict[str, list[str]] = {name: [] for name in wanted}
        for row in self.query(
            "SELECT table_name AS tab, column_name AS name FROM information_schema.statistics"
            " WHERE table_schema = %s AND index_name = 'PRIMARY' ORDER BY table_name, seq_in_index",
            (database,),
        ):
            if row["tab"] in keys:
                keys[row["tab"]].append(row["name"])
        return SchemaLock(
            database=database,
            tables={
                name: TableSchema(
                    name=name,
                    columns=tuple(columns[name]),
                    primary_key=tuple(keys[name]),
                    comment=_text(comments[name]),
                )
                for name in wanted
            },
        )

    @contextmanager
    def snapshot(
        self, database: str, tables: Sequence[str], *, attempts: int = 5, lock_seconds: int = 3
    ) -> Iterator[SourceSnapshot]:
        """All given tables at one point, with the exact position of the binary log at that point.

        The tables are locked for reading for the few milliseconds it takes to open the transaction and
        to read the position. This waits for transactions that still hold them, so every change before
        the position is in the snapshot and none after it. When a transaction holds a table longer than
        `lock_seconds`, the lock is given up (writers would queue behind it) and tried again, `attempts`
        times, then EngineError. Needs LOCK TABLES and REPLICATION CLIENT.
        """
        reader = self.connect(database=database, autocommit=False)
        try:
            position = self._open_snapshot(reader, database, tables, attempts, lock_seconds)
            yield SourceSnapshot(self, reader, position)
        finally:
            reader.close()

    def _open_snapshot(
        self, reader: Connection[Any], database: str, tables: Sequence[str], attempts: int, lock_seconds: int
    ) -> SourcePosition:
        names = ", ".join(f"{quote(database)}.{quote(table)} READ" for table in tables)
        with (
            self.translated(),
            closing(self.connect(database=database)) as locker,
            closing(reader.cursor()) as read,
            closing(locker.cursor(DictCursor)) as lock,
        ):
            read.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            lock.execute("SET SESSION lock_wait_timeout = %s", (lock_seconds,))
            for attempt in range(1, attempts + 1):
                try:
                    lock.execute(f"LOCK TABLES {names}")
                    break
                except pymysql.err.OperationalError as error:
                    if error.args[0] != _LOCK_WAIT_TIMEOUT or attempt == attempts:
                        raise
                    time.sleep(1.0)
            try:
                read.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
                lock.execute("SHOW BINARY LOG STATUS")
                status = lock.fetchone()
                lock.execute("SELECT @@GLOBAL.gtid_executed AS gtids")
                executed = lock.fetchone()
            finally:
                lock.execute("UNLOCK TABLES")
        if not status or executed is None:
            raise EngineError(self.engine, "the binary log is off; set log-bin and gtid-mode=ON")
        return SourcePosition(normal_gtids(executed["gtids"]), status["File"], int(status["Position"]))

    def _connection(self) -> Connection[Any]:
        if self._shared is None or not self._shared.open:
            try:
                self._shared = self.connect()
            except EngineError as error:
                if error.status != _UNKNOWN_DATABASE:
                    raise
                # It may still have to be created, through this very connection.
                self._shared = self.connect(database="")
        return self._shared

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn pymysql's errors raised inside the block into EngineUnavailable or EngineError."""
        try:
            yield
        except pymysql.err.Error as error:
            code = error.args[0] if error.args and isinstance(error.args[0], int) else None
            if code in _UNREACHABLE or isinstance(error, pymysql.err.InterfaceError):
                self.close()
                raise EngineUnavailable(self.engine, self.address, cause=str(error)) from error
            text = error.args[1] if len(error.args) > 1 else str(error)
            raise EngineError(self.engine, f"{text} (error {code})", status=code) from error


def quote(identifier: str) -> str:
    """An identifier in MySQL's backticks."""
    return "`" + identifier.replace("`", "``") + "`"


def normal_gtids(gtids: str | None) -> str:
    """A GTID set without the line breaks the server puts between servers."""
    return "".join((gtids or "").split())


def _text(value: Any) -> str:
    # information_schema hands some text columns out as bytes, depending on the version.
    return value.decode() if isinstance(value, bytes | bytearray) else str(value)
