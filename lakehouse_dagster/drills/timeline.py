"""When things happened in one drill, and what follows from it: pure, all times in seconds since the epoch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lakehouse_dagster.streams.memory import Event, EventKind

QUIET_RULES = frozenset({"running", "paused"})
"""Rules of the decision table that say nothing is wrong."""
QUIET_KINDS = frozenset({EventKind.CALM, EventKind.RELEASED, EventKind.DECLARED, EventKind.REPAIRED})
"""Kinds of history rows that are no sign of trouble."""


@dataclass(frozen=True)
class Sign:
    """The platform noticed: when, and who."""

    at: float
    by: str


@dataclass(frozen=True)
class Timeline:
    """The course of one drill.

    ``gone`` is when the process had ended (``None``: no process was to end), ``ended`` when the fault was
    over: the process answered again, or the fault left nothing to wait for. ``repaired`` is when every stream
    ran, and a change committed after ``ended`` had arrived everywhere; ``None`` when that did not happen in
    time.
    """

    injected: float
    gone: float | None = None
    ended: float | None = None
    detected: Sign | None = None
    repaired: float | None = None

    @property
    def detect_seconds(self) -> float | None:
        """From the fault to its first notice."""
        return None if self.detected is None else max(0.0, self.detected.at - self.injected)

    @property
    def away_seconds(self) -> float | None:
        """From the fault to its end; ``None`` when it does not last."""
        if self.ended is None or self.ended <= self.injected:
            return None
        return self.ended - self.injected

    @property
    def repair_seconds(self) -> float | None:
        """From the end of the fault to the repair."""
        if self.repaired is None or self.ended is None:
            return None
        return max(0.0, self.repaired - self.ended)


def is_sign(event: Event) -> bool:
    """Whether a row of the history shows that something is wrong, or that something is done about it."""
    if event.kind == EventKind.DECISION:
        return event.rule not in QUIET_RULES
    return event.kind not in QUIET_KINDS


def first_sign(injected: float, events: Iterable[Event], restarted: Sign | None = None) -> Sign | None:
    """Return who noticed first: a stream's history, or the supervisor that started the process again."""
    signs = [
        Sign(event.at.timestamp(), f"{event.stream}: {event.rule or event.kind}")
        for event in events
        if event.at is not None and event.at.timestamp() >= injected and is_sign(event)
    ]
    if restarted is not None:
        signs.append(restarted)
    return min(signs, key=lambda sign: sign.at, default=None)
