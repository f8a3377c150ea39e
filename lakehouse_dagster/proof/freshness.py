"""Freshness: how long a committed change takes until each place can be read with it. Pure; the clock is
given.

A *beat* is one update of the pipeline's probe row, numbered by the row itself. It counts as committed when
the COMMIT returned to the prober, by the prober's own clock; a place shows it when an answer of the place
with this number, or a greater one, has come back, by the same clock of the same process. So no two clocks
are compared. A figure is too small by the time MySQL's answer took (below a millisecond here) and too great
by at most the pause before the question that was answered (``pause``: a tenth of the figure, 0.05 s to 0.5
s).

The row is updated in place, so a place shows its newest beat only: beat n is readable when a beat >= n is.
A beat that is not readable after ``LATE_SECONDS`` is *missed*. It is waited for all the same, and its true
seconds count once it is shown; until then it counts in percentiles as longer than all that are known, so
that a place that stands still looks bad at once instead of quiet.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.model import Probe, View

LATE_SECONDS: Final = 60.0
"""A beat that is not readable after so long is missed."""
MOST_WAITING: Final = 5000
"""Beats that are waited for at a place; the oldest are given up beyond (seven hours of one every 5 s)."""
MOST_SAMPLES: Final = 5000
"""Figures of a place that are kept until they are taken."""
QUICKEST, SLOWEST = 0.05, 0.5
"""Bounds of the pause between two questions, in seconds."""
SHARE: Final = 0.1
"""The pause's share of what has been waited already."""
LATE_PAUSE: Final = 2.0
"""Seconds between two questions about a beat that is missed already."""
TRINO_EVERY_SECONDS: Final = 15.0
"""A query costs Trino a tenth of a processor second: it is asked about a beat so often at most."""

BUCKETS: Final = (0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0)
"""Upper bounds of the histogram's buckets, in seconds; the last bucket has none."""


@dataclass(frozen=True)
class Place:
    """A place the probe row is copied to, in the order of the way.

    ``engine`` is kafka, paimon, nessie, trino, cassandra or couchdb. ``after`` names the place that must
    show a beat before this one can.
    """

    name: str
    engine: str
    view: str | None = None
    after: str | None = None


def probe_places(contract: Contract) -> tuple[Place, ...]:
    """The places of a pipeline's probe; none where the contract names no probe.

    A view is called by its engine, and by its own name too where the engine serves several of the probe's
    table.
    """
    probe = contract.pipeline.probe
    if probe is None:
        return ()
    views = contract.views_of(probe.table)
    engines = [view.engine for view in views]

    def name(view: View) -> str:
        return view.engine if engines.count(view.engine) == 1 else f"{view.engine}:{view.name}"

    return (
        Place("kafka", "kafka"),
        Place("paimon", "paimon"),
        # Asking for what cannot be there yet would only cost the engines processor time.
        Place("nessie", "nessie", after="paimon"),
        Place("trino", "trino", after="nessie"),
        *(Place(name(view), view.engine, view.name) for view in views),
    )


def every_nth(place: Place, probe: Probe) -> int:
    """Every how many beats one is followed in a place: all, but in Trino one each ``TRINO_EVERY_SECONDS``."""
    return math.ceil(TRINO_EVERY_SECONDS / probe.every_seconds) if place.engine == "trino" else 1


@dataclass(frozen=True)
class Beat:
    """One update of the probe row: its number, when its commit returned (``at``: the prober's clock in
    seconds that only move forward, ``moment``: the same in seconds since 1970).
    """

    number: int
    at: float
    moment: float


@dataclass(frozen=True)
class Tally:
    """What happened at a place since the last tally.

    ``seconds`` are those of the beats that became readable, in the order of the beats; ``missed`` counts
    beats that became late, ``waiting`` those that still are; ``behind`` is the age in seconds of the oldest
    beat that is not readable (0: all are); ``newest`` is the newest readable beat that was followed.
    """

    seconds: tuple[float, ...] = ()
    missed: int = 0
    waiting: int = 0
    behind: float = 0.0
    newest: Beat | None = None


class Follower:
    """Follows the beats to one place. Not thread-safe."""

    def __init__(self, every: int = 1) -> None:
        self._every = every
        self._count = 0
        self._waiting: deque[Beat] = deque()
        self._late = 0  # so many of those at the front are missed
        self._missed = 0
        self._shown: tuple[int, float] | None = None
        self._newest: Beat | None = None
        self._samples: deque[float] = deque(maxlen=MOST_SAMPLES)

    @property
    def oldest(self) -> Beat | None:
        """The oldest beat that is not readable yet."""
        return self._waiting[0] if self._waiting else None

    @property
    def newest_waiting(self) -> Beat | None:
        """The newest beat that is not readable yet."""
        return self._waiting[-1] if self._waiting else None

    @property
    def newest(self) -> Beat | None:
        """The newest readable beat that was followed."""
        return self._newest

    def shows(self, number: int) -> bool:
        """Whether the place has shown this beat or a later one."""
        return self._shown is not None and self._shown[0] >= number

    def committed(self, beat: Beat) -> float | None:
        """Follow a beat from now on; returns its seconds when the place was quicker than this call."""
        self._count += 1
        if (self._count - 1) % self._every:
            return None
        if self._shown is not None and self._shown[0] >= beat.number:
            return self._readable(beat, self._shown[1])
        self._waiting.append(beat)
        if len(self._waiting) > MOST_WAITING:
            self._waiting.popleft()
            self._late = max(0, self._late - 1)
        return None

    def shown(self, number: int, at: float) -> list[float]:
        """Take down that the place shows beat ``number`` at ``at``; returns the seconds of all beats that
        became readable by that. A place that shows less than before (it is reading again) changes nothing.
        """
        if self._shown is not None and number <= self._shown[0]:
            return []
        self._shown = (number, at)
        found = []
        while self._waiting and self._waiting[0].number <= number:
            found.append(self._readable(self._waiting.popleft(), at))
            self._late = max(0, self._late - 1)
        return found

    def look(self, now: float) -> int:
        """Count the beats that have become late; returns how many did with this call."""
        before = self._late
        while self._late < len(self._waiting) and now - self._waiting[self._late].at >= LATE_SECONDS:
            self._late += 1
        self._missed += self._late - before
        return self._late - before

    def tally(self, now: float) -> Tally:
        """Return what happened since the last tally, and begin the next one."""
        self.look(now)
        oldest = self.oldest
        found = Tally(
            seconds=tuple(self._samples),
            missed=self._missed,
            waiting=self._late,
            behind=0.0 if oldest is None else max(0.0, now - oldest.at),
            newest=self._newest,
        )
        self._samples.clear()
        self._missed = 0
        return found

    def _readable(self, beat: Beat, at: float) -> float:
        seconds = max(0.0, at - beat.at)
        self._samples.append(seconds)
        self._newest = beat
        return seconds


def pause(waited: float) -> float:
    """Seconds until a place is asked again about a beat that has been waited for so long."""
    if waited >= LATE_SECONDS:
        return LATE_PAUSE
    return min(SLOWEST, max(QUICKEST, SHARE * waited))


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` (0 to 1) of the ascending values do not exceed.

    Raises ``ValueError`` for no values.
    """
    if not ordered:
        raise ValueError("there is no percentile of nothing")
    return ordered[max(0, math.ceil(round(share * len(ordered), 9)) - 1)]


def histogram(seconds: Iterable[float]) -> tuple[int, ...]:
    """How many values fall into each bucket (bound included), and last how many exceed all bounds."""
    counts = [0] * (len(BUCKETS) + 1)
    for value in seconds:
        counts[bisect_left(BUCKETS, value)] += 1
    return tuple(counts)


@dataclass(frozen=True)
class Figures:
    """Seconds from commit to readable at one place, over a window; a percentile that beats still waited for
    lie at is infinite. All are None where there was neither a readable beat nor a late one.
    """

    beats: int = 0
    waiting: int = 0
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    greatest: float | None = None


def figures(seconds: Iterable[float], waiting: int = 0) -> Figures:
    """The exact figures of the beats that became readable and of those that are late and still waited for."""
    known = sorted(seconds)
    ordered = [*known, *[math.inf] * waiting]
    if not ordered:
        return Figures()
    p50, p95, p99 = (percentile(ordered, share) for share in (0.50, 0.95, 0.99))
    return Figures(len(known), waiting, p50, p95, p99, ordered[-1])


@dataclass(frozen=True)
class Minute:
    """One stored row: what happened at one place in about a minute, until ``at`` (with a zone).

    ``newest_at`` is the commit time of the newest readable beat. ``problem`` is why the place could not be
    asked at the end, empty when it could.
    """

    pipeline: str
    place: str
    at: datetime
    seconds: tuple[float, ...] = ()
    missed: int = 0
    waiting: int = 0
    behind: float = 0.0
    newest_beat: int | None = None
    newest_at: datetime | None = None
    problem: str = ""


@dataclass(frozen=True)
class Freshness:
    """One place over a window of stored minutes. ``age`` is that of the newest readable beat, in seconds;
    ``told`` is when the prober said so last.
    """

    place: str
    figures: Figures
    missed: int = 0
    behind: float = 0.0
    newest_beat: int | None = None
    newest_at: datetime | None = None
    age: float | None = None
    told: datetime | None = None
    problem: str = ""
    histogram: tuple[int, ...] = field(default=(0,) * (len(BUCKETS) + 1))

    def to_json(self) -> dict[str, Any]:
        """As printed by `lakehouse freshness --json`; an infinite or unknown percentile is null."""
        found = self.figures
        return {
            "place": self.place,
            "beats": found.beats,
            "p50": _finite(found.p50),
            "p95": _finite(found.p95),
            "p99": _finite(found.p99),
            "max": _finite(found.greatest),
            "missed": self.missed,
            "waiting": found.waiting,
            "behind_seconds": round(self.behind, 3),
            "newest_beat": self.newest_beat,
            "newest_at": None if self.newest_at is None else self.newest_at.isoformat(),
            "age_seconds": None if self.age is None else round(self.age, 3),
            "told_at": None if self.told is None else self.told.isoformat(),
            "problem": self.problem,
            "histogram": dict(zip([*map(str, BUCKETS), "+Inf"], self.histogram, strict=True)),
        }


def summarize(
    places: Sequence[str], minutes: Iterable[Minute], now: datetime, *, shown_missing: bool = True
) -> list[Freshness]:
    """Bring stored minutes together, by place in the given order; ``now`` is what ages are counted from.

    A place of which nothing is stored has figures of nothing, or is left out without ``shown_missing``.
    """
    by_place: dict[str, list[Minute]] = {}
    for minute in sorted(minutes, key=lambda minute: minute.at):
        by_place.setdefault(minute.place, []).append(minute)
    found = []
    for place in places:
        rows = by_place.get(place, [])
        if not rows:
            if shown_missing:
                found.append(Freshness(place, Figures()))
            continue
        seconds = [value for row in rows for value in row.seconds]
        last = rows[-1]
        newest = next((row for row in reversed(rows) if row.newest_at is not None), None)
        found.append(
            Freshness(
                place=place,
                figures=figures(seconds, last.waiting),
                missed=sum(row.missed for row in rows),
                behind=last.behind,
                newest_beat=newest.newest_beat if newest else None,
                newest_at=newest.newest_at if newest else None,
                age=(now - newest.newest_at).total_seconds() if newest and newest.newest_at else None,
                told=last.at,
                problem=last.problem,
                histogram=histogram(seconds),
            )
        )
    return found


def by_name(found: Iterable[Freshness]) -> Mapping[str, Freshness]:
    """The same by place."""
    return {item.place: item for item in found}


def _finite(value: float | None) -> float | None:
    return None if value is None or math.isinf(value) else round(value, 3)
