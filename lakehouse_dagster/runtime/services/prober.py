"""The prober: a row updated every few seconds, and how long each place takes to show it."""

from __future__ import annotations

import sys
from importlib.metadata import version as package_version

import httpx

from lakehouse_dagster.runtime.services.base import Instance, NotReady, Program, Rendering, Service
from lakehouse_dagster.runtime.services.control import code_digest
from lakehouse_dagster.runtime.settings import Settings

_BEATS = "lakehouse_beats_total"


class Prober(Service):
    """Measures seconds from commit to readable, place by place."""

    name = "prober"
    title = "Freshness prober"
    # The places it asks may come and go; without these two it has nothing to write to.
    depends = ("mysql", "postgres")
    ports = ("prober",)

    def version(self, settings: Settings) -> str:
        """The version of the Python package."""
        del settings
        return package_version("lakehouse-dagster")

    def program(self, rendering: Rendering) -> Program:
        """Run the prober's module with this interpreter."""
        return Program(
            (sys.executable, "-m", "lakehouse_dagster.proof.freshness_service"),
            directory=rendering.instance.settings.project,
            environment={"LAKEHOUSE_CODE": code_digest()},
            stop_seconds=20,
        )

    def probe(self, instance: Instance, since: float) -> str:
        """``GET /metrics``; without a beat it is ready all the same, the source may not be there yet."""
        del since
        with httpx.Client(base_url=instance.settings.url("prober"), timeout=5, trust_env=False) as client:
            answer = client.get("/metrics")
        if answer.status_code != 200:
            raise NotReady(f"/metrics answers {answer.status_code}")
        beats = sum(
            float(line.rsplit(" ", 1)[1])
            for line in answer.text.splitlines()
            if line.startswith(f"{_BEATS}{{")
        )
        return f"{beats:.0f} beats"
