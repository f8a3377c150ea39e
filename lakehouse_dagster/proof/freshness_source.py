"""The probe row in the source: making its table, updating it, keeping it still while rows are compared."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from pymysql.connections import Connection

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.model import Probe
from lakehouse_dagster.contract.schema import TableSchema
from lakehouse_dagster.engines.closing import Closing
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.mysql import MySqlClient
from lakehouse_dagster.proof.freshness import Beat
from lakehouse_dagster.render import quoting

QUIET_PLACES = 4
"""So many may keep a probe still at the same time."""


class ProbeRow(Closing):
    """The one row of a pipeline's probe table. Not thread-safe.

    Raises ``EngineUnavailable`` or ``EngineError``; the next call connects anew.
    """

    def __init__(self, contract: Contract, probe: Probe, client: MySqlClient) -> None:
        self._contract = contract
        self._schema = contract.schema(probe.table)
        self._client = client
        self._connection: Connection[Any] | None = None
        self._locks = [lock_name(contract.name, number) for number in range(QUIET_PLACES)]
        self._ready = False

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None and self._connection.open:
            self._connection.close()
        self._connection = None
        self._ready = False

    def prepare(self) -> str:
        """Make the table and the row where they are missing; returns why nothing can be written yet, or
        nothing.

        The table is made only beside the pipeline's other tables: in a source that does not exist yet there
        is nothing to be fresh.
        """
        tables = {table.name for table in self._contract.tables}
        rows = self._run(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = %s",
            (self._contract.database,),
        )
        missing = tables - {str(row[0]) for row in rows}
        others = missing - {self._schema.name}
        if others:
            return f"the source has no table {', '.join(sorted(others))} yet"
        if missing:
            # Asked first, because CREATE TABLE IF NOT EXISTS goes to the binary log even when it does
            # nothing.
            self._run(create_statement(self._contract, self._schema))
        table = table_name(self._contract, self._schema)
        if not self._run(f"SELECT beat FROM {table} WHERE id = 1"):  # noqa: S608 - quoted identifiers
            if self._quiet():
                return "the probe is kept still"
            # Numbers begin at the present second: a table made anew never goes back below the numbers that
            # places may still show of its predecessor.
            self._run(
                f"INSERT IGNORE INTO {table} (id, beat, written_at)"  # noqa: S608 - quoted identifiers
                " VALUES (1, UNIX_TIMESTAMP(), NOW(6))"
            )
        self._ready = True
        return ""

    def beat(self) -> Beat | None:
        """Update the row in one transaction; None when it is kept still, or is not there (``prepare`` then).

        The commit counts from the moment the server has answered.
        """
        if not self._ready and self.prepare():
            return None
        free = " AND ".join(["IS_FREE_LOCK(%s)"] * len(self._locks))
        # Whoever keeps it still takes the lock first and locks the table for reading afterwards; the update
        # has opened the table when it asks for the lock. So an update is over before the snapshot, or does
        # not happen.
        sql = (
            f"UPDATE {table_name(self._contract, self._schema)}"  # noqa: S608 - quoted identifiers
            f" SET beat = LAST_INSERT_ID(beat + 1), written_at = NOW(6) WHERE id = 1 AND {free}"
        )
        connection = self._open()
        try:
            with self._client.translated(), closing(connection.cursor()) as cursor:
                changed = cursor.execute(sql, self._locks)  # autocommit: the answer is that of the commit
                at, moment = time.monotonic(), time.time()
                number = int(cursor.lastrowid or 0)
        except EngineError:
            self.close()
            raise
        if not changed:
            # Still, or gone with its table: looked for at the next beat.
            self._ready = False
            return None
        return Beat(number, at, moment)

    def _quiet(self) -> bool:
        free = " AND ".join(["IS_FREE_LOCK(%s)"] * len(self._locks))
        return not self._run(f"SELECT {free}", tuple(self._locks))[0][0]

    def _open(self) -> Connection[Any]:
        if self._connection is None or not self._connection.open:
            self._connection = self._client.connect(database=self._contract.database)
        return self._connection

    def _run(self, sql: str, args: tuple[Any, ...] | None = None) -> list[tuple[Any, ...]]:
        connection = self._open()
        try:
            with self._client.translated(), closing(connection.cursor()) as cursor:
                cursor.execute(sql, args)
                return [tuple(row) for row in cursor.fetchall()]
        except EngineError:
            self.close()
            raise


def create_statement(contract: Contract, schema: TableSchema) -> str:
    """CREATE TABLE of the probe's table exactly as it is locked, so that a new lock finds no difference."""
    columns = [
        f"{quoting.mysql(column.name)} {column.mysql_type} NOT NULL COMMENT {quoting.literal(column.comment)}"
        for column in schema.columns
    ]
    key = ", ".join(quoting.mysql(name) for name in schema.primary_key)
    return (
        f"CREATE TABLE IF NOT EXISTS {table_name(contract, schema)}"
        f" ({', '.join(columns)}, PRIMARY KEY ({key}))"
        f" ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COMMENT = {quoting.literal(schema.comment)}"
    )


def table_name(contract: Contract, schema: TableSchema) -> str:
    """The probe's table with its database, quoted."""
    return f"{quoting.mysql(contract.database)}.{quoting.mysql(schema.name)}"


def lock_name(pipeline: str, number: int) -> str:
    """Name of one of the locks in MySQL that keep a pipeline's probe still (at most 64 characters)."""
    return f"freshness.{pipeline}.{number}"


@contextmanager
def quiet(contract: Contract, client: MySqlClient) -> Iterator[None]:
    """Keep the pipeline's probe still for the time of the block; several may at once.

    A comparison of the source with its places would otherwise always find the probe row different, because it
    is written while the places are read. The prober counts nothing as missed meanwhile: there are no beats.
    The locks go with their connection, so a process that is killed holds nothing still. Raises
    ``EngineUnavailable``, or ``EngineError`` when too many keep it still already.
    """
    if contract.pipeline.probe is None:
        yield
        return
    with closing(client.connect(database="")) as connection:
        with client.translated(), closing(connection.cursor()) as cursor:
            for number in range(QUIET_PLACES):
                cursor.execute("SELECT GET_LOCK(%s, 0)", (lock_name(contract.name, number),))
                answer = cursor.fetchone()
                if answer and answer[0] == 1:
                    break
            else:
                raise EngineError(
                    "mysql",
                    f"{QUIET_PLACES} comparisons of {contract.name} are running already; wait for one to end",
                )
        yield
