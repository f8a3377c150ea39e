"""The one Dagster resource: the engines of this installation."""

from __future__ import annotations

import dagster as dg

from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.errors import EngineUnavailable
from lakehouse_dagster.streams.submit import flink_submitter


class LakehouseResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Hands out clients of all engines; addresses and credentials are read when they are needed, never at
    load time.
    """

    def clients(self, *, timeout: float = 10.0) -> Clients:
        """Return new clients, to be closed by the caller.

        Raises ``EngineUnavailable`` when this installation was never started and so has no credentials yet.
        """
        # Late, because the code location must load without the runtime's files.
        from lakehouse_dagster.runtime.endpoints import load_endpoints
        from lakehouse_dagster.runtime.errors import RuntimeFailure

        try:
            endpoints = load_endpoints()
        except RuntimeFailure as failure:
            raise EngineUnavailable(
                "lakehouse", "its credentials", failure.fix, cause=failure.problem
            ) from failure
        return Clients(endpoints, timeout=timeout, submitter=flink_submitter)
