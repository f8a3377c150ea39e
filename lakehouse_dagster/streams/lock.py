"""One starter per stream at a time, over all processes and machines: a PostgreSQL advisory lock.

The lock lives in Dagster's own database, so it is there whenever a run can be. It belongs to a connection: a
starter that is killed releases it at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from lakehouse_dagster.engines.endpoints import PostgresEndpoint
from lakehouse_dagster.engines.errors import EngineUnavailable


@contextmanager
def starter_lock(endpoint: PostgresEndpoint, name: str) -> Iterator[bool]:
    """Hold the lock ``name`` for the time of the block; gives ``False`` without waiting when another holds
    it.
    """
    import psycopg2

    try:
        connection = psycopg2.connect(
            host=endpoint.host,
            port=endpoint.port,
            user=endpoint.user,
            password=endpoint.password.get_secret_value(),
            dbname=endpoint.database,
            connect_timeout=5,
            application_name="lakehouse stream starter",
        )
    except psycopg2.OperationalError as error:
        raise EngineUnavailable(
            "postgres", f"{endpoint.host}:{endpoint.port}", cause=str(error).strip()
        ) from error
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", (lock_number(name),))
            row = cursor.fetchone()
        yield bool(row and row[0])
    finally:
        connection.close()


def lock_number(name: str) -> int:
    """Return the signed 64-bit number that stands for ``name``; PostgreSQL names advisory locks by number."""
    digest = hashlib.sha256(f"lakehouse/stream/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
