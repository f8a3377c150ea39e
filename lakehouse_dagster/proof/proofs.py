"""What a proof says, per table and place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

#: When the scheduled proof of every pipeline begins (UTC).
SCHEDULE: Final = "17 * * * *"
#: Seconds between two scheduled proofs.
SCHEDULE_SECONDS: Final = 3600.0
#: A proof older than so many of its intervals is not fresh.
FRESH_INTERVALS: Final = 2
#: Rows per second that are read from the source at most.
DEFAULT_RATE: Final = 20_000.0
#: Consistent reads of the source at most, the first of all rows and the others of what was still open.
DEFAULT_ROUNDS: Final = 6
#: How long each place is waited for in each round, in seconds.
DEFAULT_TIMEOUT: Final = 300.0


@dataclass(frozen=True)
class Proof:
    """One table compared with its source in one place, up to one position of the source.

    The place holds all the source had at `file`:`pos` (`gtids`), which was at `as_of`, but for the rows
    counted as `missing`, `extra` or `different`, and for the `unsettled` ones: they kept changing while
    they were looked at. `rounds` is how many times the source was read for it, `seconds` how long the whole
    proof took that this is a part of, `source_rows_per_second` how fast the source's rows were read. `ranges`
    is the number of ranges of keys, out of 1024, that were looked into row by row. `examples` name wrong
    rows.
    """

    pipeline: str
    table: str
    place: str
    view: str | None
    file: str
    pos: int
    gtids: str
    as_of: datetime
    source_rows: int
    rows: int
    missing: int = 0
    extra: int = 0
    different: int = 0
    unsettled: int = 0
    rounds: int = 1
    seconds: float = 0.0
    source_rows_per_second: float = 0.0
    ranges: int = 0
    actor: str = ""
    examples: Sequence[Mapping[str, Any]] = field(default=())
    finished_at: datetime | None = None
    id: int | None = None

    @property
    def differences(self) -> int:
        """Wrong rows."""
        return self.missing + self.extra + self.different

    @property
    def complete(self) -> bool:
        """Whether every row was proven."""
        return not (self.differences or self.unsettled)

    @property
    def label(self) -> str:
        """The table, and the view's name where it is one."""
        return f"{self.table} as {self.view}" if self.view else self.table

    @property
    def position(self) -> str:
        """Binary log file and byte."""
        return f"{self.file}:{self.pos}"

    def age(self, now: datetime) -> float:
        """Seconds since the source was as it is compared with."""
        return max(0.0, (now - self.as_of).total_seconds())

    def to_json(self) -> dict[str, Any]:
        """As `lakehouse prove --json` and `lakehouse proofs --json` print it."""
        return {
            "pipeline": self.pipeline,
            "table": self.table,
            "place": self.place,
            "view": self.view,
            "complete": self.complete,
            "complete_up_to": {"file": self.file, "pos": self.pos, "gtids": self.gtids},
            "as_of": self.as_of.isoformat(),
            "finished_at": self.finished_at.isoformat() if self.finished_at else None,
            "source_rows": self.source_rows,
            "rows": self.rows,
            "missing": self.missing,
            "extra": self.extra,
            "different": self.different,
            "unsettled": self.unsettled,
            "rounds": self.rounds,
            "seconds": round(self.seconds, 1),
            "source_rows_per_second": round(self.source_rows_per_second),
            "ranges": self.ranges,
            "actor": self.actor,
            "examples": [dict(example) for example in self.examples],
        }
