"""Which partitions of a mart have to be computed anew: the decision alone, no engine.

A mart is kept beside a table of what its partitions were computed from: per partition the number of source
rows and their fingerprint. A row that is deleted, or moves to another partition, changes the fingerprint of
the partition it leaves, which no watermark over the rows that are left could show.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Self

Fingerprint = tuple[int, str]
"""Number of rows and the sum of their hashes."""
Partitions = Mapping[date | None, Fingerprint]

FORMAT = 1
"""Raise when fingerprints are computed in another way: all marts are then computed anew once."""


@dataclass(frozen=True)
class Basis:
    """What a mart was computed from besides the partitions, kept with them.

    Attributes:
        definition: Fingerprint of the mart's SQL and layout.
        others: Fingerprints of the tables that it reads as a whole.
        snapshot: Iceberg snapshot of the mart that it belongs to; another one was written by somebody else.
    """

    definition: str
    others: Mapping[str, Fingerprint]
    snapshot: int | None = None

    def to_json(self) -> str:
        """As text, for the comment of the table of partitions."""
        return json.dumps(
            {
                "format": FORMAT,
                "definition": self.definition,
                "others": {name: list(found) for name, found in self.others.items()},
                "snapshot": self.snapshot,
            },
            sort_keys=True,
        )

    @classmethod
    def from_json(cls, text: str | None) -> Self | None:
        """The reverse of `to_json`; None for anything else, a text of another format among it."""
        try:
            found = json.loads(text or "")
            if found["format"] != FORMAT:
                return None
            others = {name: (int(rows), str(mark)) for name, (rows, mark) in found["others"].items()}
            return cls(str(found["definition"]), others, int(found["snapshot"]))
        except (ValueError, TypeError, KeyError, AttributeError):
            return None


@dataclass(frozen=True)
class Before:
    """The published mart: what it was computed from (None: not known), and its snapshot now."""

    basis: Basis | None
    partitions: Partitions
    snapshot: int | None


@dataclass(frozen=True)
class Plan:
    """What to compute: everything, or some partitions (maybe none), and why."""

    full: bool
    days: tuple[date | None, ...]
    reason: str


def decide(
    before: Before | None,
    now: Basis,
    partitions: Partitions,
    *,
    rebuild: bool = False,
    first: date | None = None,
    last: date | None = None,
) -> Plan:
    """What a refresh has to compute.

    Args:
        before: The published mart; None when there is none.
        now: What it would be computed from now (``snapshot`` is not looked at).
        partitions: The source's partitions now.
        rebuild: Whether everything is to be computed anew in any case.
        first: With ``last``: partitions to compute anew in any case, both ends included.
        last: See ``first``.
    """
    everything = _ordered(partitions)

    def full(reason: str) -> Plan:
        return Plan(True, everything, reason)

    if rebuild:
        return full("asked for")
    if before is None:
        return full("there is no mart yet")
    if before.basis is None:
        return full("it is not known what the mart was computed from")
    if before.basis.definition != now.definition:
        return full("the mart's definition has changed")
    if before.basis.snapshot != before.snapshot:
        return full("somebody else has written the mart")
    changed_tables = sorted(
        name
        for name in {*before.basis.others, *now.others}
        if before.basis.others.get(name) != now.others.get(name)
    )
    if changed_tables:
        return full(f"{', '.join(changed_tables)} changed, which may concern every partition")
    changed = {
        day for day in {*before.partitions, *partitions} if before.partitions.get(day) != partitions.get(day)
    }
    if first is not None or last is not None:
        changed |= {
            day
            for day in {*before.partitions, *partitions}
            if day is not None and (first is None or day >= first) and (last is None or day <= last)
        }
    if changed >= {*before.partitions, *partitions} and changed:
        return full("every partition changed")
    return Plan(False, _ordered(changed), f"{len(changed)} of {len(partitions)} partitions changed")


def definition(*parts: str) -> str:
    """Fingerprint of what defines a mart."""
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:16]


def _ordered(days: Iterable[date | None]) -> tuple[date | None, ...]:
    found = set(days)
    known = sorted(day for day in found if day is not None)
    return (*known, None) if None in found else tuple(known)
