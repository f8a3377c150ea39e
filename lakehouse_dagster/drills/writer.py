"""Continuous writes to the sample's tables, from a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from typing import Any

import pymysql
from pymysql.connections import Connection

from lakehouse_dagster.drills.life import (
    FIRST_HOUR,
    FIRST_ID,
    FLIGHTS,
    LAST_ID,
    WEATHER,
    Change,
    World,
    statement,
)
from lakehouse_dagster.drills.result import Writes
from lakehouse_dagster.engines.endpoints import MySqlEndpoint
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.mysql import MySqlClient

RETRY_SECONDS = 0.2
"""Pause before the next attempt to reach MySQL."""
ANSWER_SECONDS = 15.0
"""How long an answer of MySQL is waited for; then the connection is given up."""
CHUNK = 100
"""Rows per transaction when the drill's rows are removed."""


class Writer:
    """Commits ``rate`` changes per second until it is stopped, whatever happens to MySQL meanwhile.

    When MySQL is away it tries again until it is back, and then looks what of its last transaction is there.
    A mistake of the writer itself ends the thread and is raised by ``stop``.
    """

    def __init__(self, endpoint: MySqlEndpoint, *, rate: float, seed: int) -> None:
        self._client = MySqlClient(endpoint, connect_timeout=3.0, read_timeout=ANSWER_SECONDS)
        self._rate = rate
        self._world = World(seed)
        self._stop = threading.Event()
        self._go = threading.Event()
        self._go.set()
        self._idle = threading.Event()
        self._writes = Writes()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="drill-writer", daemon=True)

    @property
    def writes(self) -> Writes:
        """What was committed so far."""
        return self._writes

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def pause(self) -> None:
        """Return when nothing is written any more."""
        self._idle.clear()
        self._go.clear()
        while not self._idle.wait(0.5):
            self._raise()
            if not self._thread.is_alive():
                return

    def resume(self) -> None:
        """Go on after ``pause``."""
        self._go.set()

    def stop(self) -> None:
        """Stop writing; returns when the thread has ended. Raises what ended it before, if anything did."""
        self._stop.set()
        self._go.set()
        if self._thread.is_alive():
            self._thread.join(ANSWER_SECONDS * 2)
        self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    # -- the thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                try:
                    with closing(self._client.connect(autocommit=False)) as connection:
                        self._look(connection)
                        self._write(connection)
                except (
                    EngineError,
                    pymysql.err.OperationalError,
                    pymysql.err.InternalError,
                    pymysql.err.InterfaceError,
                ):
                    self._rest()
                except pymysql.err.IntegrityError:
                    # A transaction whose answer was lost did happen, a moment after we had looked.
                    self._rest()
        except BaseException as error:
            self._error = error
        finally:
            self._idle.set()

    def _rest(self) -> None:
        if not self._go.is_set():
            self._idle.set()
        self._stop.wait(RETRY_SECONDS)

    def _write(self, connection: Connection[Any]) -> None:
        due = time.monotonic()
        for transaction in self._world.transactions():
            while not self._go.is_set():
                self._idle.set()
                self._go.wait(0.5)
            if self._stop.is_set():
                return
            self._commit(connection, transaction)
            # A lost minute is not made up for: that would be a burst no source makes.
            due = max(due + len(transaction) / self._rate, time.monotonic() - 1)
            self._stop.wait(max(0.0, due - time.monotonic()))

    def _commit(self, connection: Connection[Any], transaction: Sequence[Change]) -> None:
        with closing(connection.cursor()) as cursor:
            for change in transaction:
                cursor.execute(*statement(change))
        done = self._writes
        try:
            connection.commit()
        except (pymysql.err.Error, OSError):
            self._writes = replace(done, unknown=done.unknown + 1)
            raise
        self._writes = replace(
            done, changes=done.changes + len(transaction), transactions=done.transactions + 1
        )

    def _look(self, connection: Connection[Any]) -> None:
        with closing(connection.cursor()) as cursor:
            cursor.execute("SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE'")
            cursor.execute(
                f"SELECT id, status FROM {FLIGHTS} WHERE id BETWEEN %s AND %s",  # noqa: S608 - a constant
                (FIRST_ID, LAST_ID),
            )
            flights = {int(number): str(status) for number, status in cursor.fetchall()}
            cursor.execute(
                f"SELECT origin, observed_at FROM {WEATHER} WHERE observed_at >= %s",  # noqa: S608 - a constant
                (FIRST_HOUR,),
            )
            weather = [(str(origin), at) for origin, at in cursor.fetchall()]
        connection.rollback()  # ends the reading transaction
        self._world.know(flights, weather)


@contextmanager
def writing(endpoint: MySqlEndpoint, *, rate: float, seed: int) -> Iterator[Writer]:
    """Write while the block lasts."""
    writer = Writer(endpoint, rate=rate, seed=seed)
    writer.start()
    try:
        yield writer
    except BaseException:
        with suppress(Exception):  # what ended the block is the news
            writer.stop()
        raise
    writer.stop()


def remove_rows(endpoint: MySqlEndpoint) -> int:
    """Delete the drill's own rows, as captured deletes in small transactions; returns how many there were."""
    deleted = 0
    with MySqlClient(endpoint) as client:
        for sql, argument in (
            (f"DELETE FROM {FLIGHTS} WHERE id >= %s AND id <= {LAST_ID} LIMIT {CHUNK}", FIRST_ID),  # noqa: S608
            (f"DELETE FROM {WEATHER} WHERE observed_at >= %s LIMIT {CHUNK}", FIRST_HOUR),  # noqa: S608
        ):
            while count := client.execute(sql, (argument,)):
                deleted += count
    return deleted
