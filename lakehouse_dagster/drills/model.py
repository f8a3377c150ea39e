"""Which drills there are: what each injects, what is expected of the platform, and how long it may take."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum, auto
from types import MappingProxyType

LIMIT_SECONDS = 60.0
"""A stream must be repaired this soon after what it needs is back."""
STALL_SECONDS = 60.0
"""How long a stalled process stands still."""


class Fault(StrEnum):
    """The kinds of fault."""

    KILL = auto()
    STALL = auto()
    CANCEL_JOB = auto()
    DELETE_CONNECTOR = auto()
    CORRUPT_CHECKPOINT = auto()
    DELETE_CHECKPOINTS = auto()
    POISON_SPEC = auto()
    DISK_FULL = auto()
    TIMEZONE = auto()


@dataclass(frozen=True)
class Drill:
    """One drill. ``service`` is the process that goes away, if it is one that does."""

    name: str
    fault: Fault
    injects: str
    expected: str
    service: str | None = None
    limit: float = LIMIT_SECONDS
    """Seconds from the end of the fault to everything being right again."""


KILLED: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "mysql": ("mysql", "writes stop and go on; the connector reads on from its stored offsets"),
        "kafka": ("kafka", "connector and jobs wait and go on; nothing is read twice into a place"),
        "connect": ("connect", "the connector comes up with the worker and reads on from its stored offsets"),
        "jobmanager": (
            "flink-jobmanager",
            "all jobs are forgotten; the sensor starts them again from their newest checkpoints",
        ),
        "taskmanager": ("flink-taskmanager", "Flink restarts the jobs itself as soon as slots are back"),
        "minio": ("minio", "checkpoints and commits fail for a while; the jobs go on"),
        "nessie": ("nessie", "publication stops for a while; the streams do not notice"),
        "postgres": ("postgres", "Dagster, Nessie and the history wait; the streams do not notice"),
        "cassandra": ("cassandra", "the serving job is restarted by Flink until the view can be written"),
        "couchdb": ("couchdb", "the serving job is restarted by Flink until the documents can be written"),
        "trino": ("trino", "queries fail for a while; the streams do not notice"),
        "dagster-daemon": ("dagster-daemon", "sensors pause; the streams go on"),
        "dagster-code": ("dagster-code", "sensors and runs fail for a while; the streams go on"),
        "webserver": ("dagster-webserver", "the UI is away for a while; the streams go on"),
        "publisher": ("publisher", "publication pauses; the streams go on"),
        "flink-client": ("flink-client", "jobs are submitted by clients of their own meanwhile"),
        "prober": ("prober", "freshness is not measured for a while; the streams do not notice"),
    }
)
"""Short names of the services that can be killed, with the services' own and what is expected."""

STALLED = (
    "mysql",
    "kafka",
    "connect",
    "flink-taskmanager",
    "flink-jobmanager",
    "minio",
    "cassandra",
)
"""Services that are stalled."""


def _drills() -> list[Drill]:
    found = [
        Drill(f"kill-{short}", Fault.KILL, f"SIGKILL of `{service}` and all its children", expected, service)
        for short, (service, expected) in KILLED.items()
    ]
    found += [
        Drill(
            f"stall-{service}",
            Fault.STALL,
            f"SIGSTOP of `{service}` for {STALL_SECONDS:.0f} s, then SIGCONT",
            "nothing is started twice; the streams go on or are restarted when it moves again",
            service,
        )
        for service in STALLED
    ]
    found += [
        Drill(
            "cancel-job",
            Fault.CANCEL_JOB,
            "the lake job is cancelled by hand in Flink",
            "the sensor starts it again from its newest checkpoint",
        ),
        Drill(
            "delete-connector",
            Fault.DELETE_CONNECTOR,
            "the connector is deleted by hand in Connect",
            "the sensor creates it again; it reads on from its stored offsets",
        ),
        Drill(
            "corrupt-checkpoint",
            Fault.CORRUPT_CHECKPOINT,
            "`flink-jobmanager` is killed, and the lake job's newest checkpoint is overwritten with garbage "
            "before it is back",
            "the start from it fails, it is marked as bad, and the one before it is used",
            "flink-jobmanager",
            limit=90.0,  # two starts instead of one
        ),
        Drill(
            "delete-checkpoints",
            Fault.DELETE_CHECKPOINTS,
            "the lake job is cancelled and all its checkpoints and savepoints are deleted",
            "it starts a little before its group's committed offsets; publication is held until it has "
            "caught up",
            limit=120.0,  # some hundred thousand records are read again
        ),
        Drill(
            "poison-spec",
            Fault.POISON_SPEC,
            "the serving job is upgraded to a specification that cannot run (a negative checkpoint interval)",
            "its starts fail with growing pauses until the circuit opens; with the good specification it "
            "runs again and catches up",
            limit=240.0,  # more than ten minutes of changes are waiting by then
        ),
        Drill(
            "mysql-timezone",
            Fault.TIMEZONE,
            "MySQL is restarted in time zone +02:00, later in UTC again",
            "the connector is stopped, with the fix in its history; back in UTC it reads on",
            "mysql",
        ),
        Drill(
            "disk-full",
            Fault.DISK_FULL,
            "the data folder's own small file system is filled to 0 bytes free for a minute",
            "engines stop or refuse writes; with space again everything comes back",
            limit=180.0,
        ),
    ]
    return found


DRILLS: Mapping[str, Drill] = MappingProxyType({drill.name: drill for drill in _drills()})
"""Every drill by name, in the order of the documentation."""

OWN_VOLUME = frozenset({"disk-full"})
"""Drills that need a data folder on a small file system of its own."""

EVERYWHERE: tuple[str, ...] = tuple(name for name in DRILLS if name not in OWN_VOLUME)
"""Drills that any instance can do: what ``all`` stands for."""

SOAK_KILLS: tuple[str, ...] = tuple(drill.name for drill in DRILLS.values() if drill.fault is Fault.KILL)
"""What the soak chooses from."""


def soak_choice(seed: int, kills: int, names: Sequence[str] = SOAK_KILLS) -> list[str]:
    """Return ``kills`` drills drawn at random, always the same for the same seed.

    They are dealt like cards: each is drawn once before any is drawn again, so that a short soak leaves out
    as little as it can, and no order is favoured.
    """
    chance = random.Random(seed)  # noqa: S311 - reproducible on purpose
    chosen: list[str] = []
    while len(chosen) < kills:
        deck = list(names)
        chance.shuffle(deck)
        chosen += deck
    return chosen[:kills]


def resolve(names: Sequence[str]) -> list[Drill]:
    """Return the drills of these names, ``all`` standing for every one that any instance can do.

    Raises ``KeyError`` with a message for a name that is none.
    """
    found: list[Drill] = []
    for name in names:
        if name == "all":
            found += [DRILLS[item] for item in EVERYWHERE]
        elif name in DRILLS:
            found.append(DRILLS[name])
        else:
            raise KeyError(f"there is no drill {name!r}; choose from: all, soak, {', '.join(DRILLS)}")
    return found
