"""What the platform remembers of a stream, as plain values; ``streams.store`` keeps them in PostgreSQL.

Nothing here does input or output, so whatever decides or tests can make these values by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum, auto

from lakehouse_dagster.streams.decision import Desired, State


class EventKind(StrEnum):
    """What a row of the history tells."""

    DECISION = auto()
    """The table of decisions gave another answer than the last time."""
    START = auto()
    """An attempt to start or restart the stream, whether it succeeded or not."""
    STOP = auto()
    UPGRADE = auto()
    """An attempt to put the present specification in the place of an older one."""
    CANCEL = auto()
    DECLARED = auto()
    """An operator said what is wanted of the stream."""
    CALM = auto()
    """The stream has lasted after its newest start: earlier attempts no longer count."""
    BAD_CHECKPOINT = auto()
    GAP = auto()
    """Changes were lost to the stream."""
    REPAIRED = auto()
    """Lost changes were made up for."""
    REWIND = auto()
    HELD = auto()
    """Publication of what the stream writes was held back."""
    RELEASED = auto()
    RESNAPSHOT = auto()


ATTEMPTS = (EventKind.START, EventKind.UPGRADE)
"""Kinds that count as attempts to start."""
FRESH_STARTS = (EventKind.CALM, EventKind.DECLARED)
"""Kinds after which attempts are counted from nought again."""


class Mark(StrEnum):
    """What an event says about the stream's being up, kept with its row so that it is found by an index."""

    RUNNING = auto()
    """A decision that found it running."""
    PAUSED = auto()
    """A decision that found it paused, as wanted."""
    STARTED = auto()
    """It came up, but no decision has found it running yet."""


@dataclass(frozen=True)
class Declared:
    """What an operator wants of one stream, with who said so, why and when."""

    desired: Desired = Desired.RUNNING
    by: str = "default"
    reason: str = ""
    at: datetime | None = None
    """``None`` when nobody has said anything: a stream runs by default."""


@dataclass(frozen=True)
class Event:
    """One row of a stream's history. ``id`` and ``at`` (UTC) are set by the store."""

    pipeline: str
    stream: str
    kind: str
    """One of ``EventKind``."""
    state: str = ""
    """How the engine described the stream (``decision.State``)."""
    verb: str = ""
    rule: str = ""
    reason: str = ""
    checkpoint: str | None = None
    job_id: str | None = None
    spec_hash: str | None = None
    seconds_down: float | None = None
    actor: str = ""
    """Who or what acted: an operator, a run, the sensor."""
    ok: bool = True
    id: int = 0
    at: datetime | None = None

    @property
    def mark(self) -> Mark | None:
        """What the event says about the stream's being up; ``None`` when it says nothing or that it is not.

        A stream that runs under an older specification runs, whatever is to be done about that.
        """
        if self.kind == EventKind.DECISION:
            if self.rule == "paused":
                return Mark.PAUSED
            outdated = self.rule.startswith("outdated") and self.state == State.RUNNING
            return Mark.RUNNING if self.rule == "running" or outdated else None
        if self.kind == EventKind.CALM or (self.kind in ATTEMPTS and self.ok):
            return Mark.STARTED
        return None


@dataclass(frozen=True)
class Starts:
    """Attempts to start one specification since the stream was last calm or an operator spoke."""

    recent: int = 0
    seconds_since_last: float | None = None
    """Age of the newest; ``None`` when there was none."""


NO_STARTS = Starts()


@dataclass(frozen=True)
class Gap:
    """Changes that can no longer be read by a stream, and are not made up for yet."""

    id: int
    pipeline: str
    stream: str
    tables: tuple[str, ...]
    """Source tables that may lack changes."""
    description: str
    detected_at: datetime


@dataclass(frozen=True)
class Memory:
    """Everything remembered of one stream."""

    declared: Declared = Declared()
    last: Event | None = None
    """The newest decision."""
    down_since: datetime | None = None
    """When a decision first found it neither running nor paused since it last was; ``None`` while it is."""
    starts: Mapping[str, Starts] = field(default_factory=dict)
    """Attempts by specification hash."""
    bad_checkpoints: frozenset[str] = frozenset()
    """Checkpoints from which the stream could not be started."""
    state_floor: datetime | None = None
    """Checkpoints written before it are not used."""
    gaps: tuple[Gap, ...] = ()
    """The open ones, oldest first."""
    seen_before: bool = False
    """It was running at some time before."""

    def starts_of(self, spec_hash: str) -> Starts:
        """Return the attempts to start the specification ``spec_hash``."""
        return self.starts.get(spec_hash, NO_STARTS)

    def seconds_down(self, now: datetime) -> float | None:
        """Return how long it has been down at ``now``; ``None`` when it is not."""
        return None if self.down_since is None else max(0.0, (now - self.down_since).total_seconds())
