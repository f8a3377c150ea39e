"""The faults: how each is injected, how its end is waited for, and how it is taken back whatever happens."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import psutil

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.drills import processes
from lakehouse_dagster.drills.model import STALL_SECONDS, Drill, Fault
from lakehouse_dagster.drills.watch import Watch
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.runtime.services.base import Instance
from lakehouse_dagster.runtime.supervision import Supervisor

AWAY_SECONDS = 300.0
"""How long a killed process may stay away before the drill gives up."""


@dataclass
class Site:
    """Where a drill takes place. ``log`` gets a line for every step."""

    instance: Instance
    supervisor: Supervisor
    contract: Contract
    watch: Watch
    log: Callable[[str], None] = field(default=lambda _: None)


@dataclass
class Course:
    """What a fault did, in seconds since the epoch: see ``timeline.Timeline``."""

    injected: float = 0.0
    gone: float | None = None
    ended: float | None = None
    restarted: float | None = None
    """When the supervisor started the process again."""


class Injected(ABC):
    """One fault. ``run`` injects it and returns when it is over; ``take_back`` undoes what is left of it."""

    def __init__(self, drill: Drill, site: Site) -> None:
        self.drill = drill
        self.site = site
        self.course = Course()
        self.problems: list[str] = []
        """What was expected of the platform while the fault lasted and did not happen."""
        self.notes: list[str] = []
        """What else is worth telling."""

    def refusal(self) -> str | None:
        """Say why the fault must not be injected here; ``None`` when it may."""
        return None

    @abstractmethod
    def run(self) -> None:
        """Inject, fill ``course``, and return when the fault is over (``ended`` is set) or never will be.

        Raises ``EngineError`` or ``RuntimeFailure`` when the fault could not be injected.
        """

    def take_back(self) -> None:  # noqa: B027 - most faults leave nothing
        """Undo what the fault left; called always, also after an interrupt, and more than once."""

    @property
    def service(self) -> str:
        """The service that goes away."""
        assert self.drill.service is not None, f"{self.drill.name} names no service"
        return self.drill.service

    def kill_and_wait(self, service: str) -> None:
        """Kill the service and wait until another process of it answers; fills ``course``."""
        site = self.site
        site.log(f"killing {service}")
        pid, self.course.gone = processes.kill(site.supervisor, service)
        self.wait_for_another(service, pid)

    def wait_for_another(self, service: str, pid: int) -> None:
        """Wait until a process other than ``pid`` answers for the service; fills ``course``."""
        site = self.site
        deadline = time.monotonic() + AWAY_SECONDS
        while not processes.answers(site.instance, site.supervisor, service, not_pid=pid):
            if time.monotonic() > deadline:
                return
            time.sleep(processes.POLL_SECONDS)
        self.course.ended = time.time()
        self.course.restarted = processes.started_at(site.supervisor, service, pid)
        away = self.course.ended - (self.course.gone or self.course.ended)
        site.log(f"{service} answers again after {away:.1f} s")


class Kill(Injected):
    """SIGKILL of a service and all its children."""

    def run(self) -> None:
        """Kill, and wait for the new process."""
        self.course.injected = time.time()
        self.kill_and_wait(self.service)


class Stall(Injected):
    """SIGSTOP of a service and all its children for a while, then SIGCONT."""

    _stopped: list[psutil.Process]

    def run(self) -> None:
        """Stop, wait, go on. Over when it moves again: how soon it answers is part of the repair."""
        site = self.site
        self.course.injected = time.time()
        self._stopped = processes.pause(site.supervisor, self.service)
        site.log(f"{self.service} stands still ({len(self._stopped)} processes)")
        head = self._stopped[0].pid
        time.sleep(STALL_SECONDS)
        self.take_back()
        self.course.ended = time.time()
        site.log(f"{self.service} moves again")
        self.course.restarted = processes.started_at(site.supervisor, self.service, head)

    def take_back(self) -> None:
        """Let everything move again."""
        processes.carry_on(getattr(self, "_stopped", []))


class CancelJob(Injected):
    """The lake job is cancelled in Flink."""

    def run(self) -> None:
        """Cancel. Nothing is away that would have to come back, so the repair counts from here."""
        self.course.injected = self.course.ended = time.time()
        job = cancel_lake_job(self.site)
        self.site.log(f"cancelled job {job}")


class DeleteConnector(Injected):
    """The connector is deleted in Connect."""

    def run(self) -> None:
        """Delete. Nothing is away that would have to come back, so the repair counts from here."""
        name = self.site.contract.connector_name
        self.course.injected = self.course.ended = time.time()
        self.site.watch.clients.connect.delete(name)
        self.site.log(f"deleted connector {name}")


def cancel_lake_job(site: Site) -> str:
    """Cancel the living lake job and return its id; raises ``EngineError`` when there is none."""
    flink = site.watch.clients.flink
    job = flink.find(site.contract.lake_job)
    if job is None or not job.alive:
        raise EngineError("flink", f"job {site.contract.lake_job} does not run")
    flink.cancel(job.id)
    return job.id


PLAIN: Mapping[Fault, type[Injected]] = MappingProxyType(
    {
        Fault.KILL: Kill,
        Fault.STALL: Stall,
        Fault.CANCEL_JOB: CancelJob,
        Fault.DELETE_CONNECTOR: DeleteConnector,
    }
)
"""The faults of this module by their kind."""


def fault_of(drill: Drill, site: Site) -> Injected:
    """Return what injects the drill's fault."""
    if drill.fault in PLAIN:
        return PLAIN[drill.fault](drill, site)
    # Late, because the special faults build upon this module.
    from lakehouse_dagster.drills.special import SPECIAL

    return SPECIAL[drill.fault](drill, site)
