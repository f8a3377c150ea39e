"""What runs, and whether it answers: the rows behind `lakehouse status`."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from lakehouse_dagster.runtime import services
from lakehouse_dagster.runtime.errors import RuntimeFailure
from lakehouse_dagster.runtime.lifecycle import running_instance
from lakehouse_dagster.runtime.services.base import Instance, Service
from lakehouse_dagster.runtime.settings import Settings
from lakehouse_dagster.runtime.supervision import ProcessInfo, Supervisor, orphans


@dataclass(frozen=True)
class Row:
    """One service: ``memory`` is resident bytes including child processes, ``uptime`` seconds."""

    service: str
    engine: str
    version: str
    state: str
    pid: int | None
    port: int | None
    ports: dict[str, int]
    memory: int
    uptime: float | None
    ready: bool
    detail: str
    log: str
    note: str


@dataclass(frozen=True)
class Status:
    """The whole instance; ``memory`` includes the supervisor itself."""

    rows: tuple[Row, ...]
    supervisor_pid: int | None
    memory: int
    absent: dict[str, str]
    unwatched: tuple[int, ...] = ()
    """Processes of this instance that go on without a supervisor, after it was killed."""

    @property
    def ready(self) -> bool:
        """Whether every service answers."""
        return all(row.ready for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """Return plain values: ``memory`` in bytes, ``uptime`` in seconds."""
        return {
            "ready": self.ready,
            "memory": self.memory,
            "supervisor": {"pid": self.supervisor_pid},
            "services": [asdict(row) for row in self.rows],
            "absent": self.absent,
            "unwatched": list(self.unwatched),
        }


def read_status(settings: Settings) -> Status:
    """Ask every service in its own protocol, all at once."""
    supervisor = Supervisor(settings)
    pid = supervisor.pid()
    infos = supervisor.infos() if pid else {}
    try:
        instance = running_instance(settings)
    except RuntimeFailure:
        instance = None
    with ThreadPoolExecutor(4) as pool:
        rows = tuple(
            pool.map(
                lambda service: _row(settings, instance, service, infos.get(service.name)),
                services.SERVICES.values(),
            )
        )
    own = memory_of(pid, children=False) if pid else 0
    unwatched = () if pid else tuple(process.pid for process in orphans(settings))
    return Status(rows, pid, own + sum(row.memory for row in rows), dict(services.ABSENT), unwatched)


def memory_of(pid: int, *, children: bool = True) -> int:
    """Return the resident memory of a process (and its children) in bytes; 0 when it is gone."""
    total = 0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for item in (process, *(process.children(recursive=True) if children else ())):
            with suppress(psutil.Error):
                total += item.memory_info().rss
    return total


def resident_bytes(settings: Settings) -> int:
    """Return the resident memory of the whole instance, its supervisor included, in bytes; asks no engine."""
    pid = Supervisor(settings).pid()
    return memory_of(pid) if pid else 0


def human_bytes(count: int) -> str:
    """Return a size for reading: MiB below one GiB, else GiB."""
    return f"{count / 1024**2:.0f} MiB" if count < 1024**3 else f"{count / 1024**3:.2f} GiB"


def human_seconds(seconds: float | None) -> str:
    """Return a duration for reading, of at most two units."""
    if seconds is None:
        return "-"
    whole = int(seconds)
    units = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))
    parts = []
    for size, unit in units:
        count, whole = divmod(whole, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"


def _row(settings: Settings, instance: Instance | None, service: Service, info: ProcessInfo | None) -> Row:
    alive = info is not None and info.pid > 0
    ready, detail = False, ""
    if instance is not None and info is not None and info.state in ("RUNNING", "STARTING"):
        try:
            detail = service.probe(instance, info.started)
            ready = True
        except Exception as error:  # whatever the engine's client raises means the same here
            detail = f"{type(error).__name__}: {error}".splitlines()[0][:300]
    elif info is not None and info.error:
        detail = info.error
    ports = {name: settings.port(name) for name in service.ports}
    return Row(
        service=service.name,
        engine=service.title,
        version=_version(settings, service),
        state=info.state.lower() if info else "down",
        pid=info.pid if info and alive else None,
        port=next(iter(ports.values()), None),
        ports=ports,
        memory=memory_of(info.pid) if info and alive else 0,
        uptime=max(0.0, time.time() - info.started) if info and alive else None,
        ready=ready,
        detail=detail,
        log=str(settings.logs / f"{service.name}.log"),
        note=service.note,
    )


def _version(settings: Settings, service: Service) -> str:
    try:
        return service.version(settings)
    except Exception:
        return "not installed"
