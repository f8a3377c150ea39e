"""The one Dagster resource: the engines of this installation."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import TYPE_CHECKING

import dagster as dg

from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.engines.errors import EngineUnavailable

if TYPE_CHECKING:
    from lakehouse_dagster.engines.flink import FlinkSubmitter


class LakehouseResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Hands out clients of all engines; addresses and credentials are read when needed, not at load time."""

    def clients(self, *, timeout: float = 10.0) -> Clients:
        """Return clients for the caller alone, to be closed when done; a sensor's next tick gets them again.

        Raises ``EngineUnavailable`` when this installation was never started and so has no credentials yet.
        """
        # Late, because the code location must load without the runtime's files.
        from lakehouse_dagster.runtime.endpoints import load_endpoints
        from lakehouse_dagster.runtime.errors import RuntimeFailure

        try:
            endpoints = load_endpoints()
        except RuntimeFailure as failure:
            fix = failure.fix
            raise EngineUnavailable("lakehouse", "its credentials", fix, cause=failure.problem) from failure
        return _POOL.take(endpoints, timeout)


class ClientPool:
    """Idle clients of this process. Making them anew for every tick would cost more than asking does."""

    def __init__(self, most_idle: int = 4) -> None:
        self._most_idle = most_idle
        self._idle: dict[tuple[str, float], list[Clients]] = defaultdict(list)
        self._lock = threading.Lock()

    def take(self, endpoints: Endpoints, timeout: float) -> Clients:
        """Return clients that nobody else uses, connected already if there are idle ones."""
        # The text holds the passwords, so that clients of an instance that was reset are not used again.
        key = (endpoints.to_json(), timeout)
        with self._lock:
            # Whoever asks with other credentials has been reset; the old clients are of no use to anybody.
            for other in [other for other in self._idle if other[0] != key[0]]:
                for clients in self._idle.pop(other):
                    clients.disconnect()
            if self._idle[key]:
                return self._idle[key].pop()
        return _Pooled(self, key, endpoints, timeout)

    def give_back(self, key: tuple[str, float], clients: Clients) -> None:
        """Keep ``clients`` for the next caller, or disconnect them when enough are idle."""
        with self._lock:
            if len(self._idle[key]) < self._most_idle:
                self._idle[key].append(clients)
                return
        clients.disconnect()


class _Pooled(Clients):
    """Clients that return to their pool instead of being disconnected."""

    def __init__(
        self, pool: ClientPool, key: tuple[str, float], endpoints: Endpoints, timeout: float
    ) -> None:
        super().__init__(endpoints, timeout=timeout, submitter=_submitter)
        self._pool = pool
        self._key = key

    def close(self) -> None:
        """Return to the pool."""
        self._pool.give_back(self._key, self)


def _submitter() -> FlinkSubmitter:
    # Late, because the code location must load without the runtime's files.
    from lakehouse_dagster.runtime.submitter import flink_submitter

    return flink_submitter()


_POOL = ClientPool()
