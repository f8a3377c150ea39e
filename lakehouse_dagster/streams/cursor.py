"""What the streams sensor keeps between its ticks: how much of the history is in Dagster's events already,
and the last results of the checks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

VERSION = 1


@dataclass(frozen=True)
class Told:
    """The last result of a check that was reported, and when (seconds since 1970)."""

    passed: bool
    time: int


@dataclass(frozen=True)
class StreamCursor:
    """The sensor's cursor; every part of it can be lost without harm, because Dagster's own records tell what
    was reported.
    """

    history: int | None = None
    """Newest row of the history that is an event; ``None`` before the first tick."""
    checks: Mapping[str, Told] = field(default_factory=dict)
    """By ``<stream>/<check>``."""

    @classmethod
    def parse(cls, text: str | None) -> Self:
        """Return the cursor that ``dump`` wrote; what cannot be understood is taken for no cursor."""
        try:
            document = json.loads(text) if text else {}
            if document.get("version") != VERSION:
                return cls()
            return cls(
                None if document["history"] is None else int(document["history"]),
                {name: Told(bool(passed), int(time)) for name, (passed, time) in document["checks"].items()},
            )
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls()

    def dump(self) -> str:
        """Return the cursor as text, made small because Dagster stores it with every tick."""
        document = {
            "version": VERSION,
            "history": self.history,
            "checks": {name: [int(told.passed), told.time] for name, told in self.checks.items()},
        }
        return json.dumps(document, separators=(",", ":"))
