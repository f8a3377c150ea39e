"""What came of each event that tests make happen to a pipeline: kept as lines of JSON, over all test runs."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lakehouse_dagster.drills.result import Difference, Verification
from lakehouse_dagster.proof.verify import Report

PROJECT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class EventResult:
    """What came of one event: the comparison after it, or in which words the platform has refused it.

    ``size`` is how much of it there was, ``full`` whether it was as large as it is known to hurt, ``test``
    what has made it, ``at`` when (UTC), on which machine and with which commit.
    """

    event: str
    test: str
    size: str = ""
    full: bool = False
    verification: Verification | None = None
    refused: str = ""
    at: str = ""
    commit: str = ""
    machine: str = ""

    @property
    def passed(self) -> bool:
        """Whether everything had arrived and no row differed, or it was refused aloud."""
        if self.verification is None:
            return bool(self.refused)
        return self.verification.equal and not self.verification.unsettled

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> EventResult:
        """Read back one line."""
        values = dict(found)
        if (checked := values["verification"]) is not None:
            differences = {name: Difference(**counts) for name, counts in checked["differences"].items()}
            told = {**checked, "differences": differences, "unsettled": tuple(checked["unsettled"])}
            values["verification"] = Verification(**told)
        return cls(**values)


def compared(event: str, test: str, report: Report, *, size: str = "", full: bool = False) -> EventResult:
    """The result of an event after which everything was compared."""
    return EventResult(event, test, size, full, verification=Verification.of(report))


def _default_path() -> Path:
    folder = os.environ.get("LAKEHOUSE_RESULTS")
    return (Path(folder) if folder else PROJECT / ".lakehouse-results") / "events.jsonl"


@dataclass(frozen=True)
class EventResults:
    """The file of results: ``events.jsonl`` in ``.lakehouse-results`` of the checkout, or in the folder that
    ``LAKEHOUSE_RESULTS`` names. The test instance's resets leave it alone.
    """

    path: Path = field(default_factory=_default_path)

    def add(self, result: EventResult) -> None:
        """Append a result, with time, machine and commit."""
        told = replace(
            result, at=datetime.now(UTC).isoformat(timespec="seconds"), commit=_commit(), machine=_machine()
        )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(told)) + "\n")

    def newest(self) -> list[EventResult]:
        """One result of each event, in the order in which they were first made: the newest of those in full
        size, else the newest.
        """
        if not self.path.exists():
            return []
        found: dict[str, EventResult] = {}
        for line in self.path.read_text(encoding="utf-8").splitlines():
            result = EventResult.from_json(json.loads(line))
            known = found.get(result.event)
            if known is None or result.full or not known.full:
                found[result.event] = result
        return list(found.values())


def _commit() -> str:
    done = subprocess.run(
        ["git", "-C", str(PROJECT), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    return f"{os.cpu_count()} cores, {memory:.0f} GiB of memory, everything on one machine"
