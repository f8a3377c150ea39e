"""Writing the canary: each round inserts, updates and deletes rows with every edge of every type."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from lakehouse_dagster.samples.canary import cases

if TYPE_CHECKING:
    from pymysql.connections import Connection

    from lakehouse_dagster.engines.mysql import MySqlClient

DATABASE: Final = "canary"
KEPT_ROUNDS: Final = 3
"""Rounds whose rows stay; the rows of older ones are deleted."""


@dataclass(frozen=True)
class Round:
    """What one round wrote."""

    number: int
    inserted: int
    updated: int
    deleted: int


def play(client: MySqlClient) -> Round:
    """Create what is missing and write one round: each statement a transaction of its own.

    The first half of the new rows stays as inserted, the second half is updated to other edges; a key of each
    of the other tables is moved, deleted and inserted again.

    Raises ``EngineError`` when the source cannot be written.
    """
    with _connected(client) as connection:
        _create(connection)
        with closing(connection.cursor()) as cursor:
            cursor.execute("SELECT COALESCE(MAX(id), 0) FROM every_type")
            newest = int(cursor.fetchone()[0])
            number = newest // _STRIDE + 1
            first = number * _STRIDE
            inserted = _run(cursor, cases.statements(first))
            half = cases.rows() // 2
            updated = _run(cursor, list(cases.updates(first))[half:])
            deleted = cursor.execute(
                "DELETE FROM every_type WHERE id < %s", (first - KEPT_ROUNDS * _STRIDE + _STRIDE,)
            )
            inserted += _keys(cursor)
    return Round(number, inserted, updated, int(deleted))


_STRIDE: Final = 1000
"""Ids of a round begin at its number times this."""


def _create(connection: Connection[Any]) -> None:
    text = files(__package__).joinpath("source.sql").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    with closing(connection.cursor()) as cursor:
        # Asked first, because CREATE ... IF NOT EXISTS goes to the binary log even when it does nothing.
        cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()")
        present = {str(row[0]) for row in cursor.fetchall()}
        for statement in "\n".join(lines).split(";\n"):
            name = statement.strip().removeprefix("CREATE TABLE ").split(maxsplit=1)
            if name and name[0] not in present:
                cursor.execute(statement)


def _keys(cursor: Any) -> int:
    """Delete and insert the rows with awkward keys; one of each table gets another key and its own again."""
    for table, names, found in (
        ("keys_of_two", "first, second, note", cases.TWO_KEYS),
        ("keys_of_text", "name, note", cases.TEXT_KEYS),
        ("keys_folded", "name, note", cases.FOLDED_KEYS),
        ("keys_of_time", "at, note", cases.TIME_KEYS),
    ):
        cursor.execute(f"DELETE FROM {table}")  # noqa: S608 - constants
        _run(cursor, (f"INSERT INTO {table} ({names}) VALUES ({', '.join(row)})" for row in found))  # noqa: S608
    cursor.execute("UPDATE keys_of_two SET first = 42 WHERE first = 0 AND second = x''")
    cursor.execute("UPDATE keys_of_text SET name = 'moved' WHERE name = 'a'")
    # The same keys to MySQL, other keys to everybody else.
    cursor.execute("UPDATE keys_folded SET name = 'NAME' WHERE name = 'name'")
    cursor.execute("UPDATE keys_folded SET name = 'blank' WHERE name = 'blank'")
    cursor.execute("UPDATE keys_of_time SET at = '-24:00:00.5' WHERE at = '24:00:00.5'")
    return sum(map(len, (cases.TWO_KEYS, cases.TEXT_KEYS, cases.FOLDED_KEYS, cases.TIME_KEYS)))


def _run(cursor: Any, statements: Iterator[str] | list[str]) -> int:
    return sum(cursor.execute(statement) for statement in statements)


@contextmanager
def _connected(client: MySqlClient) -> Iterator[Connection[Any]]:
    with client.translated(), closing(client.connect(database=DATABASE, autocommit=True)) as connection:
        with closing(connection.cursor()) as cursor:
            # All that MySQL can be made to hold, dates that are none too, but nothing that it would bend.
            cursor.execute(
                "SET SESSION time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,ALLOW_INVALID_DATES'"
            )
        yield connection
