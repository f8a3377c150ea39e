"""One actor per stream at a time, over all processes and machines: a PostgreSQL advisory lock.

The lock lives in Dagster's own database, so it is there whenever a run can be. It belongs to a connection: an
actor that is killed releases it at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lakehouse_dagster.engines.endpoints import PostgresEndpoint

PREFIX = "stream/"
"""Before the names of these locks in PostgreSQL, where others are held too."""


@contextmanager
def starter_lock(endpoint: PostgresEndpoint, name: str) -> Iterator[bool]:
    """Hold the lock ``name`` for the time of the block; gives ``False`` without waiting when another holds
    it.

    The lock has a connection of its own, so that it neither ends with a client's nor is shared with one.
    Raises ``EngineUnavailable`` or ``EngineError``.
    """
    from lakehouse_dagster.engines.postgres import PostgresClient

    with PostgresClient(endpoint, application="lakehouse stream actor") as postgres:
        yield postgres.try_lock(f"{PREFIX}{name}")


@contextmanager
def stream_lock(
    endpoint: PostgresEndpoint,
    pipeline: str,
    stream: str,
    *,
    wait: float,
    waiting: Callable[[], None] = lambda: None,
) -> Iterator[bool]:
    """Hold a stream's lock for the time of the block; gives ``False`` when another held it for all of
    ``wait`` seconds. ``waiting`` is called once when it cannot be had at once.
    """
    deadline = time.monotonic() + wait
    told = False
    while True:
        with starter_lock(endpoint, lock_name(pipeline, stream)) as mine:
            if mine or time.monotonic() >= deadline:
                yield mine
                return
        if not told:
            told = True
            waiting()
        time.sleep(1.0)


def lock_name(pipeline: str, stream: str) -> str:
    """Return the name of the lock that whoever acts on a stream holds."""
    return f"{pipeline}/{stream}"
