"""A writer that changes tables all the time, from a thread of its own, whatever happens to the server."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager

import pymysql

from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.mysql import MySqlClient

Change = Callable[[random.Random, int], tuple[str, tuple[object, ...]]]
"""One statement and its arguments, made of a random generator and the number of the write."""

_AGAIN = (
    EngineError,
    pymysql.err.OperationalError,
    pymysql.err.InternalError,
    pymysql.err.InterfaceError,
    # A commit whose answer was lost may have happened.
    pymysql.err.IntegrityError,
)


class Restless(threading.Thread):
    """Commits transactions of one to four of ``changes``, ``pause`` seconds apart, until it is stopped.

    When the server is away, or lets it wait too long, it goes on as soon as it can.
    """

    def __init__(
        self, client: MySqlClient, changes: Mapping[str, Change], *, pause: float = 0.02, seed: int = 1
    ) -> None:
        super().__init__(name="restless", daemon=True)
        self._client = client
        self._changes = list(changes.values())
        self._pause = pause
        self._dice = random.Random(seed)
        self._stopped = threading.Event()
        self.transactions = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        """Write until it is stopped."""
        number = 0
        try:
            while not self._stopped.is_set():
                try:
                    with closing(self._client.connect(autocommit=False)) as connection:
                        cursor = connection.cursor()
                        while not self._stopped.wait(self._pause):
                            for _ in range(self._dice.randint(1, 4)):
                                number += 1
                                cursor.execute(*self._dice.choice(self._changes)(self._dice, number))
                            connection.commit()
                            self.transactions += 1
                except _AGAIN:
                    self._stopped.wait(0.3)
        except BaseException as error:
            self.error = error

    def stop(self) -> None:
        """Return when nothing is written any more; raises what ended it before, if anything did."""
        self._stopped.set()
        if self.is_alive():
            self.join(60)
        assert not self.is_alive(), "the writer hangs"
        if self.error is not None:
            raise self.error


@contextmanager
def restless(client: MySqlClient, changes: Mapping[str, Change], *, seed: int) -> Iterator[Restless]:
    """Write while the block lasts; afterwards something must have been written."""
    writer = Restless(client, changes, seed=seed)
    writer.start()
    try:
        yield writer
    finally:
        writer.stop()
    assert writer.transactions > 20, f"only {writer.transactions} transactions were written"
