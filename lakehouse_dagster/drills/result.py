"""What came out of one drill, as it is judged, stored and read again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from lakehouse_dagster.drills.model import Drill
from lakehouse_dagster.drills.timeline import Timeline
from lakehouse_dagster.proof.verify import Report


@dataclass(frozen=True)
class Writes:
    """What the writer committed while the drill lasted.

    ``unknown`` counts commits whose answer never came because MySQL went away: they may or may not have
    happened, and the source is the truth about that.
    """

    changes: int = 0
    transactions: int = 0
    unknown: int = 0

    def __sub__(self, before: Self) -> Writes:
        """What was added since ``before``."""
        return Writes(
            self.changes - before.changes,
            self.transactions - before.transactions,
            self.unknown - before.unknown,
        )


@dataclass(frozen=True)
class Difference:
    """Rows of one copy that are not as in the source."""

    missing: int = 0
    extra: int = 0
    different: int = 0


@dataclass(frozen=True)
class Verification:
    """The proof after a drill: differences by ``table/place``, and what had not arrived in time."""

    rows: int
    """Source rows compared, counted once per copy."""
    copies: int
    differences: Mapping[str, Difference] = field(default_factory=dict)
    unsettled: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def equal(self) -> bool:
        """Whether no row differs in any copy."""
        return not self.differences

    @classmethod
    def of(cls, report: Report) -> Self:
        """Condense a report of the proof."""
        return cls(
            rows=sum(result.comparison.source_rows for result in report.results),
            copies=len(report.results),
            differences={
                f"{result.subject.label}/{result.subject.place}": Difference(
                    result.comparison.missing, result.comparison.extra, result.comparison.different
                )
                for result in report.results
                if not result.comparison.equal
            },
            unsettled=report.unsettled,
            seconds=round(report.seconds, 1),
        )

    @property
    def total(self) -> Difference:
        """The sums over all copies."""
        found = self.differences.values()
        return Difference(
            sum(item.missing for item in found),
            sum(item.extra for item in found),
            sum(item.different for item in found),
        )


@dataclass(frozen=True)
class Result:
    """One drill's outcome. Times in seconds; ``None`` where the thing did not happen or cannot.

    ``verification`` is ``None`` for a kill of the soak, which is verified together with others.
    """

    drill: str
    at: str
    detect: float | None
    detected_by: str
    away: float | None
    repair: float | None
    limit: float
    writes: Writes
    verification: Verification | None
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing was found wrong."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """As printed by ``lakehouse drill --json``: fields, whether it passed, sums of differences."""
        total = self.verification.total if self.verification else None
        return {**asdict(self), "passed": self.passed, "total": asdict(total) if total else None}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """Read back what ``to_json`` gave."""
        known = {item.name for item in fields(cls)}
        values = {name: value for name, value in found.items() if name in known}
        values["writes"] = Writes(**values["writes"])
        if (checked := values["verification"]) is not None:
            values["verification"] = Verification(
                **{
                    **checked,
                    "differences": {k: Difference(**v) for k, v in checked["differences"].items()},
                    "unsettled": tuple(checked["unsettled"]),
                }
            )
        values["problems"] = tuple(values["problems"])
        values["notes"] = tuple(values["notes"])
        return cls(**values)


def judge(
    drill: Drill,
    timeline: Timeline,
    writes: Writes,
    verification: Verification | None,
    *,
    problems: Iterable[str] = (),
    notes: Iterable[str] = (),
) -> Result:
    """Say what came out; ``problems`` are those found on the way, to which those of the figures are added."""
    found = list(problems)
    repair = timeline.repair_seconds
    if timeline.ended is None:
        found.append("what was taken away did not come back")
    elif repair is None:
        found.append("not repaired in time")
    elif repair > drill.limit:
        found.append(f"repaired after {repair:.0f} s, allowed are {drill.limit:.0f} s")
    if not writes.changes:
        found.append("nothing was written meanwhile, so nothing is proven")
    if verification is not None:
        found += differences(verification)
    return Result(
        drill=drill.name,
        at=datetime.fromtimestamp(timeline.injected, UTC).isoformat(timespec="seconds"),
        detect=_rounded(timeline.detect_seconds),
        detected_by=timeline.detected.by if timeline.detected else "",
        away=_rounded(timeline.away_seconds),
        repair=_rounded(repair),
        limit=drill.limit,
        writes=writes,
        verification=verification,
        problems=tuple(found),
        notes=tuple(notes),
    )


def differences(verification: Verification) -> list[str]:
    """Say what the proof found wrong; nothing when all is equal and had arrived."""
    found = [
        f"{copy}: {item.missing} missing, {item.extra} extra, {item.different} different"
        for copy, item in verification.differences.items()
    ]
    if verification.unsettled:
        found.append(f"not settled: {'; '.join(verification.unsettled)}")
    return found


def append(path: Path, result: Result) -> None:
    """Add a result to a file of JSON lines."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(result.to_json()) + "\n")


def read(path: Path) -> list[Result]:
    """Return all results of a file of JSON lines, oldest first; none when there is no file."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Result.from_json(json.loads(line)) for line in lines if line.strip()]


def newest(results: Iterable[Result]) -> dict[str, Result]:
    """Return the last result of each drill."""
    return {result.drill: result for result in results}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
