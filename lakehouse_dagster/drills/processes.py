"""The processes of one supervised service: finding, killing, stopping and continuing them."""

from __future__ import annotations

import signal
import time
from contextlib import suppress

import psutil

from lakehouse_dagster.runtime.errors import RuntimeFailure
from lakehouse_dagster.runtime.services import SERVICES
from lakehouse_dagster.runtime.services.base import Instance
from lakehouse_dagster.runtime.supervision import MARKER, Supervisor

POLL_SECONDS = 0.3


def family(supervisor: Supervisor, service: str) -> list[psutil.Process]:
    """Return the process of a service, then everything that descends from it or carries its mark.

    Raises ``RuntimeFailure`` when the service does not run.
    """
    info = supervisor.info(service)
    if info is None or not info.pid:
        raise RuntimeFailure(f"{service} does not run", f"lakehouse up {service}")
    found: dict[int, psutil.Process] = {}
    with suppress(psutil.NoSuchProcess):
        head = psutil.Process(info.pid)
        found = {item.pid: item for item in (head, *head.children(recursive=True))}
    data = str(supervisor.settings.data)
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            marks = process.environ()
            if marks.get(MARKER) == service and marks.get("LAKEHOUSE_DATA") == data:
                found.setdefault(process.pid, process)
    return list(found.values())


def kill(supervisor: Supervisor, service: str) -> tuple[int, float]:
    """SIGKILL a service with everything below it; return the pid it had and when all of it was gone.

    Times are seconds since the epoch. Raises ``RuntimeFailure`` when something survives for ten seconds.
    """
    processes = family(supervisor, service)
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(processes, timeout=10)
    if alive:
        raise RuntimeFailure(f"{service}: pid {alive[0].pid} survives SIGKILL", "look at it with `ps`")
    return processes[0].pid, time.time()


def pause(supervisor: Supervisor, service: str) -> list[psutil.Process]:
    """SIGSTOP a service with everything below it; return what has to be continued."""
    stopped: list[psutil.Process] = []
    for process in family(supervisor, service):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGSTOP)
            stopped.append(process)
    return stopped


def carry_on(stopped: list[psutil.Process]) -> None:
    """SIGCONT what ``pause`` stopped, children first, as far as it is still there."""
    while stopped:
        with suppress(psutil.NoSuchProcess):
            stopped.pop().send_signal(signal.SIGCONT)


def answers(instance: Instance, supervisor: Supervisor, service: str, *, not_pid: int = 0) -> bool:
    """Whether the service runs, in another process than ``not_pid``, and answers its own probe."""
    try:
        info = supervisor.info(service)
        if info is None or info.pid in (0, not_pid) or info.state not in ("STARTING", "RUNNING"):
            return False
        SERVICES[service].probe(instance, info.started)
    except Exception:  # whatever an engine's client raises means the same here
        return False
    return True


def started_at(supervisor: Supervisor, service: str, not_pid: int) -> float | None:
    """When the process that took the place of ``not_pid`` was started; ``None`` while there is none."""
    info = supervisor.info(service)
    if info is None or info.pid in (0, not_pid):
        return None
    try:
        return float(psutil.Process(info.pid).create_time())
    except psutil.Error:
        return info.started
