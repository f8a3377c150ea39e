"""Looking at the whole platform: is it well, and has a change that was just committed arrived everywhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.drills.timeline import Sign, first_sign
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.dagster_api import DagsterApi
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.governance.hold import HoldStore
from lakehouse_dagster.proof.settle import Goal, advance, goal, observe
from lakehouse_dagster.runtime.settings import Settings
from lakehouse_dagster.runtime.status import read_status
from lakehouse_dagster.streams.assets import streams_of
from lakehouse_dagster.streams.decision import Desired, Kind
from lakehouse_dagster.streams.memory import Event
from lakehouse_dagster.streams.store import StreamStore

POLL_SECONDS = 2.0
"""Part of every figure. Looking more often would take the processor from what is measured."""
TELL_SECONDS = 5.0
"""Pause between two lines about what is waited for."""


@dataclass
class Watch:
    """Eyes on one pipeline. ``say`` gets a line when what is waited for changes."""

    settings: Settings
    contract: Contract
    clients: Clients
    say: Callable[[str], None] = field(default=lambda _: None)

    @property
    def store(self) -> StreamStore:
        """The history of the streams."""
        return StreamStore(self.clients.postgres)

    # -- health ----------------------------------------------------------------------------------------------

    def illnesses(self) -> list[str]:
        """Say everything that is not as it should be; empty when all is well."""
        found = [
            f"{row.service} is {row.state}{f' ({row.detail})' if row.detail else ''}"
            for row in read_status(self.settings).rows
            if not row.ready
        ]
        if found:
            return found  # whatever else is wrong may follow from it
        try:
            return self.streams_down() + self._remembered() + self._sensor()
        except EngineError as error:
            self.clients.disconnect()
            return [str(error)]

    def wait_well(self, seconds: float) -> list[str]:
        """Wait until nothing is wrong any more; return what still is after ``seconds``.

        What somebody has to change by hand, a sensor that is switched off, is returned at once.
        """
        deadline = time.monotonic() + seconds
        while found := self.illnesses():
            if time.monotonic() >= deadline or self._sensor_line in found:
                return found
            time.sleep(2)
        return []

    def streams_down(self) -> list[str]:
        """Name the streams that their engines do not call running; EngineError when one cannot be asked."""
        found = []
        for stream in streams_of(self.contract):
            if stream.kind is Kind.CONNECTOR:
                status = self.clients.connect.status(stream.engine_name)
                if status is None or not status.running:
                    found.append(f"{stream.name} is {status.state if status else 'not there'}")
            else:
                alive = self.clients.flink.alive(stream.engine_name)
                if len(alive) != 1 or not alive[0].running:
                    states = ", ".join(job.state for job in alive) or "not there"
                    found.append(f"{stream.name} is {states}")
        return found

    def held(self) -> list[str]:
        """Say why publication is held back, if it is."""
        hold = HoldStore(self.clients.postgres).held(self.contract.name)
        return [] if hold is None else [f"publication is held back: {hold.reason}"]

    def _remembered(self) -> list[str]:
        names = [stream.name for stream in streams_of(self.contract)]
        found = self.held()
        for name, memory in self.store.memory(self.contract.name, names).items():
            if memory.declared.desired is not Desired.RUNNING:
                found.append(f"{name} is declared {memory.declared.desired} by {memory.declared.by}")
            found += [f"{name} has a gap: {gap.description}" for gap in memory.gaps]
        return found

    @property
    def _sensor_line(self) -> str:
        return f"the sensor {self.contract.name}_streams is switched off"

    def _sensor(self) -> list[str]:
        dagster = DagsterApi(self.clients.endpoints.dagster)
        try:
            return [] if dagster.sensor_running(f"{self.contract.name}_streams") else [self._sensor_line]
        finally:
            dagster.close()

    # -- repair ----------------------------------------------------------------------------------------------

    def wait_arrived(self, timeout: float) -> tuple[float | None, tuple[str, ...]]:
        """Wait until every stream runs and everything the source holds *now* has arrived everywhere.

        Writes may go on: what counts is the set of transactions committed at the moment of the call (or as
        soon as MySQL answers). Engines that do not answer are waited for. Returns the time (seconds since the
        epoch) and nothing; or, after ``timeout`` seconds, ``None`` and what is still waited for.
        """
        deadline = time.monotonic() + timeout
        target: Goal = goal(self.contract)
        gtids: str | None = None
        tell_at = time.monotonic() + TELL_SECONDS
        while True:
            try:
                if gtids is None:
                    gtids = self.clients.reading.mysql.executed_gtids()
                target, missing = advance(target, observe(self.contract, self.clients, gtids))
                waiting = missing or (*self.streams_down(), *self.held())
            except EngineError as error:
                # A connection to a server that died is of no use any more.
                self.clients.disconnect()
                waiting = (_first_line(str(error)),)
            if not waiting:
                return time.time(), ()
            now = time.monotonic()
            if now >= tell_at:
                tell_at = now + TELL_SECONDS
                self.say("waiting: " + "; ".join(waiting))
            if now >= deadline:
                return None, waiting
            time.sleep(POLL_SECONDS)

    # -- detection -------------------------------------------------------------------------------------------

    def last_event(self) -> int:
        """Id of the newest row of the pipeline's history, 0 when it has none."""
        newest = self.store.history(self.contract.name, limit=1)
        return newest[0].id if newest else 0

    def events(self, after: int) -> list[Event]:
        """All rows of the history after ``after``, oldest first; none while PostgreSQL does not answer."""
        try:
            return self.store.history(self.contract.name, after=after, limit=1000, newest_first=False)
        except EngineError:
            self.clients.disconnect()
            return []

    def sign(self, injected: float, after: int, restarted: float | None) -> Sign | None:
        """Return who noticed first that something was wrong."""
        supervisor = None if restarted is None else Sign(restarted, "supervisor: started again")
        return first_sign(injected, self.events(after), supervisor)


def _first_line(text: str) -> str:
    return text.splitlines()[0][:300] if text else ""
