"""Dagster's PostgreSQL storage on connections that are kept.

``dagster-postgres`` opens a connection for every statement, except in the webserver. With a sensor that ticks
every few seconds that was 20 connections a second in an idle instance (a tenth of two cores), each with a new
server process and a handshake that is made to be expensive.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any
from weakref import WeakSet

from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import pg_url_from_config
from sqlalchemy import Engine, create_engine

KEPT = 4
"""Connections that stay open in a process; more are opened when they are needed and closed again."""
MOST = 40
"""Further ones: gRPC and sensor threads ask at the same time."""
RECYCLE_SECONDS = 900


class PooledPostgresStorage(DagsterPostgresStorage):
    """``DagsterPostgresStorage`` whose run, event and schedule storages share the process's connections.

    A connection is tried before it is used, so that a PostgreSQL that was restarted costs no query. The
    webserver replaces the engines by its own, as it does with the original.
    """

    def __init__(
        self,
        postgres_url: str,
        should_autocreate_tables: bool = True,
        inst_data: ConfigurableClassData | None = None,
    ) -> None:
        engine = shared_engine(postgres_url, os.getpid())
        # Dagster makes an instance per sensor tick: the tables were there at the first.
        super().__init__(postgres_url, should_autocreate_tables and engine not in _PREPARED, inst_data)
        if should_autocreate_tables:
            _PREPARED.add(engine)
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            storage._engine = engine

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Any
    ) -> PooledPostgresStorage:
        """Make it from the ``config`` of ``storage: custom:`` in ``dagster.yaml``, that of ``postgres:``."""
        return cls(
            pg_url_from_config(config_value), config_value.get("should_autocreate_tables", True), inst_data
        )


_PREPARED: WeakSet[Engine] = WeakSet()
"""Databases in which this process has made the tables, or seen them."""


@lru_cache(maxsize=8)
def shared_engine(url: str, process: int) -> Engine:
    """Return the engine of this process: a connection must not be used on both sides of a fork."""
    del process
    return create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        pool_size=KEPT,
        max_overflow=MOST,
        pool_pre_ping=True,
        pool_recycle=RECYCLE_SECONDS,
    )
