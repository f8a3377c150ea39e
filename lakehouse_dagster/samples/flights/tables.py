"""The source tables: creating them, loading the reference tables, emptying all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import date
from hashlib import blake2b
from importlib.resources import files
from typing import Any

from pymysql.connections import Connection

from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.mysql import MySqlClient, quote
from lakehouse_dagster.samples.flights.data import Airline, Airport, FlightData, Plane, Weather

FLIGHTS = "flights"
PROGRESS = "replay_progress"
REFERENCE: dict[str, tuple[str, ...]] = {
    "airlines": Airline._fields,
    "airports": Airport._fields,
    "planes": Plane._fields,
    "weather": Weather._fields,
}
"""The reference tables in the order they are loaded, with their columns."""

CHUNK = 1000
"""Rows per transaction when loading or emptying a table."""

_NO_SUCH_DATABASE = frozenset({1044, 1049})  # no right to it, or it does not exist
_LOCK_SECONDS = 10


class ReplayError(Exception):
    """The replay cannot go on; the text says why and what to do."""


@contextmanager
def session(client: MySqlClient, database: str) -> Iterator[Connection[Any]]:
    """A connection of its own in UTC and strict mode, that alone replays into `database`.

    Raises EngineUnavailable when MySQL does not answer, ReplayError when the database does not exist or when
    another replay is at work in it.
    """
    try:
        connection = client.connect(database=database, autocommit=False)
    except EngineError as error:
        if error.status in _NO_SUCH_DATABASE:
            raise ReplayError(
                f"user {client.endpoint.user!r} sees no database {database!r} in MySQL at {client.address}; "
                "create it and grant all on it, or name another one with --database"
            ) from error
        raise
    with client.translated(), closing(connection), closing(connection.cursor()) as cursor:
        cursor.execute("SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE'")
        # The lock goes with the connection, so a killed replay leaves none behind once the server notices.
        cursor.execute("SELECT GET_LOCK(%s, %s)", (_lock_name(database), _LOCK_SECONDS))
        answer = cursor.fetchone()
        if not answer or answer[0] != 1:
            raise ReplayError(f"another replay is at work in database {database!r}; wait for it or stop it")
        yield connection


def _lock_name(database: str) -> str:
    # Locks are the server's, not the database's, and their names are limited to 64 characters.
    return f"replay.{blake2b(database.encode(), digest_size=16).hexdigest()}"


def source_statements() -> list[str]:
    """The statements of ``source.sql``, one per table."""
    text = files(__package__).joinpath("source.sql").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    return [statement.strip() for statement in "\n".join(lines).split(";") if statement.strip()]


def create_tables(connection: Connection[Any]) -> list[str]:
    """Create the tables that are missing and return their names."""
    # Asked first, because CREATE TABLE IF NOT EXISTS goes to the binary log even when it does nothing.
    with closing(connection.cursor()) as cursor:
        cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()")
        present = {str(row[0]) for row in cursor.fetchall()}
        created = []
        for statement in source_statements():
            name = statement.removeprefix("CREATE TABLE IF NOT EXISTS ").split(maxsplit=1)[0]
            if name not in present:
                cursor.execute(statement)
                created.append(name)
    return created


def load_reference(
    connection: Connection[Any],
    data: FlightData,
    report: Callable[[str, int, int], None] = lambda table, done, total: None,
) -> int:
    """Load the reference tables, or what is still missing of them, and return the number of rows written.

    What was loaded once is not touched again: changes made to a row since then stay. `report` is told table,
    rows done and rows in all, before the first and after each transaction.
    """
    readers: dict[str, Callable[[], Sequence[tuple[Any, ...]]]] = {
        "airlines": data.airlines,
        "airports": data.airports,
        "planes": data.planes,
        "weather": data.weather,
    }
    known = read_progress(connection, "table:")
    written = 0
    with closing(connection.cursor()) as cursor:
        for table, columns in REFERENCE.items():
            name = f"table:{table}"
            _, applied, total = known.get(name, (0, 0, -1))
            if applied == total:
                report(table, applied, total)
                continue
            rows = readers[table]()
            report(table, applied, len(rows))
            names = ", ".join(map(quote, columns))
            fresh = ", ".join(f"{quote(column)} = fresh.{quote(column)}" for column in columns)
            row_of_values = f"({', '.join(['%s'] * len(columns))})"
            for start in range(applied, len(rows), CHUNK):
                chunk = rows[start : start + CHUNK]
                values = ", ".join(cursor.mogrify(row_of_values, row) for row in chunk)
                # One statement per chunk; rows that somebody else had put there are brought into line.
                cursor.execute(
                    f"INSERT INTO {quote(table)} ({names}) VALUES {values} AS fresh"  # noqa: S608 - escaped
                    f" ON DUPLICATE KEY UPDATE {fresh}"
                )
                cursor.execute(
                    f"REPLACE INTO {PROGRESS} (stream, seed, applied, total) VALUES (%s, 0, %s, %s)",  # noqa: S608
                    (name, start + len(chunk), len(rows)),
                )
                connection.commit()
                written += len(chunk)
                report(table, start + len(chunk), len(rows))
    return written


def read_progress(connection: Connection[Any], prefix: str) -> dict[str, tuple[int, int, int]]:
    """Seed, operations applied and operations in all, of each stream whose name begins with `prefix`."""
    with closing(connection.cursor()) as cursor:
        cursor.execute(
            f"SELECT stream, seed, applied, total FROM {PROGRESS} WHERE stream LIKE %s",  # noqa: S608
            (prefix + "%",),
        )
        return {stream: (seed, applied, total) for stream, seed, applied, total in cursor.fetchall()}


def day_stream(day: date) -> str:
    """Name of a day's flights in the table of progress."""
    return f"{FLIGHTS}:{day}"


def empty_tables(
    connection: Connection[Any], report: Callable[[str, int], None] = lambda table, rows: None
) -> int:
    """Delete all rows of the sample's tables and return how many there were; they stay captured as deletes.

    TRUNCATE would be faster, but it leaves no row in the binary log, so nothing downstream would notice.
    """
    deleted = 0
    with closing(connection.cursor()) as cursor:
        # The progress goes first: after a reset that was cut short, a replay meets rows that are already
        # there and says so, instead of taking a half-empty table for finished.
        for table in (PROGRESS, FLIGHTS, *REFERENCE):
            of_table = 0
            while count := cursor.execute(f"DELETE FROM {quote(table)} LIMIT {CHUNK}"):  # noqa: S608
                connection.commit()
                of_table += count
            if table != PROGRESS:
                deleted += of_table
                report(table, of_table)
    return deleted
