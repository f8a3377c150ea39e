"""One drill from its beginning to its end, and the soak: many kills under the same writes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lakehouse_dagster.drills.faults import Injected, Site, fault_of
from lakehouse_dagster.drills.model import DRILLS, Drill, soak_choice
from lakehouse_dagster.drills.result import Result, Verification, Writes, append, judge
from lakehouse_dagster.drills.timeline import Timeline
from lakehouse_dagster.drills.watch import Watch
from lakehouse_dagster.drills.writer import Writer, remove_rows, writing
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.governance.commands import find_contract
from lakehouse_dagster.proof.verify import Verifier, places
from lakehouse_dagster.runtime.lifecycle import exclusive, running_instance
from lakehouse_dagster.runtime.settings import Settings
from lakehouse_dagster.runtime.submitter import flink_submitter
from lakehouse_dagster.runtime.supervision import Supervisor

PIPELINE = "flights"
"""The drills write to the sample's source."""
WARM_SECONDS = 3.0
"""Writes before the fault, besides those that were seen to arrive: it is not to meet an idle pipeline."""
WELL_SECONDS = 120.0
"""How long an instance may take to become healthy before it is drilled; it may just have been started."""
REPAIR_SECONDS = 300.0
"""How long a repair is waited for; being slower than the drill's limit is a failure already."""
VERIFY_EVERY = 10
"""Kills of the soak between two verifications."""


class NotHealthyError(Exception):
    """The instance is not in a state to be drilled; the text says what is wrong."""


@dataclass
class Session:
    """What all drills of one command share. ``log`` gets a line for every step."""

    settings: Settings
    rate: float
    """Changes per second that are written meanwhile."""
    seed: int
    """Chooses what is written, and what the soak kills."""
    results: Path
    """File of JSON lines to which every result is added."""
    log: Callable[[str], None]

    @contextmanager
    def open(self, title: str) -> Iterator[Site]:
        """Hold the instance for drills; nobody else starts, stops or drills it meanwhile.

        Raises ``RuntimeFailure`` when another command holds it, or when it was never started.
        """
        instance = running_instance(self.settings)
        contract = find_contract(PIPELINE)
        with (
            exclusive(self.settings, title),
            Clients(instance.endpoints, submitter=flink_submitter) as clients,
        ):
            watch = Watch(self.settings, contract, clients, self.log)
            site = Site(instance, Supervisor(self.settings), contract, watch, self.log)
            try:
                yield site
            except KeyboardInterrupt:
                self._remove_rows(site)
                raise

    def run(self, drill: Drill, site: Site) -> Result:
        """Do one drill: look, write, inject, wait, verify.

        Raises ``NotHealthyError`` before anything is done to an instance that is not well, ``EngineError``
        when the fault could not be injected.
        """
        fault = fault_of(drill, site)
        if refusal := fault.refusal():
            raise NotHealthyError(refusal)
        self._require_well(site)
        with self._writer(site) as writer:
            timeline, writes = self._strike(fault, writer)
        result = self._judge(fault, timeline, writes, verify=True)
        if result.verification is not None and result.verification.equal:
            # What differs is left where it is, to be looked at.
            self._remove_rows(site)
        return result

    def soak(self, kills: int, site: Site) -> Iterator[Result]:
        """Kill ``kills`` times something at random, each time waiting for the repair; verify now and then.

        Yields a result after every kill; one that ends a stretch of ``VERIFY_EVERY`` carries the verification
        of the stretch. Ends early when something does not come back at all.
        """
        self._require_well(site)
        equal = True
        with self._writer(site) as writer:
            for number, name in enumerate(soak_choice(self.seed, kills), 1):
                fault = fault_of(DRILLS[name], site)
                self.log(f"kill {number} of {kills}: {fault.service}")
                timeline, writes = self._strike(fault, writer)
                lost = timeline.repaired is None
                verify = number % VERIFY_EVERY == 0 or number == kills or lost
                if verify:
                    writer.pause()
                result = self._judge(fault, timeline, writes, verify=verify)
                equal = equal and (result.verification is None or result.verification.equal)
                writer.resume()
                yield result
                if lost:
                    return
        if equal:
            self._remove_rows(site)

    def _require_well(self, site: Site) -> None:
        if found := site.watch.wait_well(WELL_SECONDS):
            raise NotHealthyError("; ".join(found))

    @contextmanager
    def _writer(self, site: Site) -> Iterator[Writer]:
        """Write while the block lasts, which begins when writes have been seen to arrive everywhere."""
        with writing(site.instance.endpoints.mysql, rate=self.rate, seed=self.seed) as writer:
            self.log(f"writing {self.rate:.0f} changes per second")
            time.sleep(WARM_SECONDS)
            arrived, waiting = site.watch.wait_arrived(WELL_SECONDS)
            if arrived is None:
                writer.stop()
                self._remove_rows(site)
                raise NotHealthyError(f"writes do not arrive: {'; '.join(waiting)}")
            yield writer

    def _remove_rows(self, site: Site) -> None:
        with suppress(EngineError):  # the next drill takes them over
            self.log(f"removed the drill's {remove_rows(site.instance.endpoints.mysql)} rows")

    def _strike(self, fault: Injected, writer: Writer) -> tuple[Timeline, Writes]:
        """Inject, wait for the end of the fault and for the repair; take the fault back whatever happens."""
        site, course = fault.site, fault.course
        before, after = writer.writes, site.watch.last_event()
        try:
            fault.run()
        finally:
            fault.take_back()
        repaired: float | None = None
        if course.ended is not None:
            repaired, waiting = site.watch.wait_arrived(REPAIR_SECONDS)
            fault.problems += [f"still waiting: {item}" for item in waiting]
        sign = site.watch.sign(course.injected, after, course.restarted)
        timeline = Timeline(course.injected, course.gone, course.ended, sign, repaired)
        if timeline.repair_seconds is not None:
            self.log(f"repaired {timeline.repair_seconds:.1f} s after the fault had ended")
        return timeline, writer.writes - before

    def _judge(self, fault: Injected, timeline: Timeline, writes: Writes, *, verify: bool) -> Result:
        verification: Verification | None = None
        problems = list(fault.problems)
        if verify:
            try:
                verification = self._verify(fault.site)
            except EngineError as error:
                problems.append(f"could not be verified: {error}")
        result = judge(fault.drill, timeline, writes, verification, problems=problems, notes=fault.notes)
        append(self.results, result)
        return result

    def _verify(self, site: Site) -> Verification:
        self.log("verifying every row of every copy")
        clients = site.watch.clients
        clients.disconnect()  # connections from before the fault may be dead
        return Verification.of(
            Verifier(site.contract, clients, places(site.contract, clients), report=self.log).run()
        )
