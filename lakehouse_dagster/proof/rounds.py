"""Comparing a place with its source while both go on being written: which keys are proven, wrong, or open.

A round begins with a consistent read of the source at a position P. A place is read once it has passed P, and
each key is judged by what the source had at P and what the place had when it was read:

* a place's row with a position after P was written since: **pending**;
* rows of the same values are **equal**, and so are a key that neither has;
* other values under the same key, at a position up to P: **different**;
* a row up to P that the source does not have at P: **extra**;
* a row of the source that the place lacks is **missing** unless a record of the key has arrived in the topic
  since P (it may be the row's delete): then it is pending.

Pending keys are read from the source again at a later P'. What the place had *before* P' was taken is proven
by it if it is the same, wherever the place stands: the place held what the source has at P'. It is wrong for
sure if its position is after P', because nobody can have written what the source had yet to write. All other
keys are read from the place once more when it has passed P', and judged as above.

So no verdict but "pending" depends on luck: a key that is called wrong was wrong, whatever happened
meanwhile, and a key that is called equal held the source's values at one of the positions. Everything here
is pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from lakehouse_dagster.proof.ranges import (
    BUCKETS,
    NO_POSITION,
    RANGES_IN_BUCKET,
    Entry,
    RangedRows,
    range_of,
)
from lakehouse_dagster.proof.rowset import Kind, unpacked

Key = tuple[str | None, ...]
"""Canonical texts of a row's key, in the order of the projection's key."""

Verdict = Literal["equal", "different", "missing", "extra", "pending"]

Touched = Callable[[Key], bool]
"""Whether a record of this key may have arrived in the topic since the round's position."""

REMEMBERED: Final = 10_000
"""Wrong keys of each kind that are remembered by name."""
MOST_PENDING: Final = 200_000
"""Pending keys that are followed; any more are counted as unsettled at once, so that memory is bounded."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a place held under one key: the row's digest (None: no row) and position.

    `more` counts further rows of the same key, which no key may have; the position is the greatest of all.
    """

    values: bytes | None = None
    position: int = NO_POSITION
    more: int = 0

    def with_row(self, values: bytes, position: int) -> Held:
        """With one more row of the key."""
        if self.values is None:
            return Held(values, position, 0)
        return Held(self.values, max(self.position, position), self.more + 1)


NOTHING: Final = Held()


def judge(source: bytes | None, held: Held, limit: int, touched: Callable[[], bool]) -> Verdict:
    """Judge one key of a place that has passed the position.

    Args:
        source: Digest of the source's row at the position, None when it has none.
        held: What the place held.
        limit: The position, encoded.
        touched: Whether a record of the key may have come since; asked only when that decides.
    """
    if held.position > limit:
        return "pending"
    if held.values is None:
        if source is None:
            return "equal"
        return "pending" if touched() else "missing"
    if source is None:
        return "extra"
    return "equal" if held.values == source else "different"


def look_back(source: bytes | None, held: Held, limit: int) -> Verdict:
    """Judge what a place held before the position was taken; the place need not have passed it.

    "pending" says only that it has to be read again.
    """
    if held.position > limit:
        return "extra" if source is None else "different"
    if held.values == source and not held.more:
        return "equal"
    return "pending"


@dataclass
class Reconciliation:
    """One table in one place over all rounds.

    `differing` counts the ranges of keys that had to be looked into row by row in the first round. `faults`
    are wrong keys by name, at most `remembered` of each kind. `pending` are the keys to follow, and
    `unfollowed` counts those beyond `most_pending`.
    """

    remembered: int = REMEMBERED
    most_pending: int = MOST_PENDING
    source_rows: int = 0
    rows: int = 0
    missing: int = 0
    extra: int = 0
    different: int = 0
    unfollowed: int = 0
    differing: int = 0
    rounds: int = 0
    faults: dict[Key, Kind] = field(default_factory=dict)
    pending: dict[Key, Held] = field(default_factory=dict)

    @property
    def unsettled(self) -> int:
        """Keys that are neither proven nor wrong."""
        return len(self.pending) + self.unfollowed

    @property
    def differences(self) -> int:
        """Rows that are wrong."""
        return self.missing + self.extra + self.different

    def first(self, source: RangedRows, place: RangedRows, limit: int, touched: Touched) -> None:
        """The first round: all rows of the source at the position, and all of the place once it has passed
        it.
        """
        self.rounds = 1
        self.source_rows, self.rows = source.rows, place.rows
        ranges = set(source.sums.differing(place.sums))
        ranges |= {number for number in range(BUCKETS * RANGES_IN_BUCKET) if place.newest(number) > limit}
        self.differing = len(ranges)
        for number in sorted({number // RANGES_IN_BUCKET for number in ranges}):
            ours = {e.key: e for e in _within(source.bucket(number), ranges)}
            theirs: dict[bytes, tuple[Held, bytes]] = {}
            for entry in _within(place.bucket(number), ranges):
                held, packed = theirs.get(entry.key, (NOTHING, entry.packed_key))
                theirs[entry.key] = (held.with_row(entry.values, entry.position), packed)
            for digest, (held, packed) in theirs.items():
                mine = ours.pop(digest, None)
                self._judged(packed, None if mine is None else mine.values, held, limit, touched)
            for entry in ours.values():
                self._judged(entry.packed_key, entry.values, NOTHING, limit, touched)

    def look_back(self, source: Mapping[Key, bytes], limit: int) -> list[Key]:
        """Judge the pending keys by the source at a later position, as the place held them before.

        Returns the keys that have to be read from the place once it has passed the position.
        """
        self.rounds += 1
        for key, held in list(self.pending.items()):
            verdict = look_back(source.get(key), held, limit)
            if verdict != "pending":
                del self.pending[key]
                self._count(key, verdict, held)
        return list(self.pending)

    def again(
        self, source: Mapping[Key, bytes], place: Mapping[Key, Held], limit: int, touched: Touched
    ) -> None:
        """Judge the pending keys by what the place held after it had passed the position."""
        for key in list(self.pending):
            held = place.get(key, NOTHING)
            verdict = judge(source.get(key), held, limit, lambda key=key: touched(key))  # type: ignore[misc]
            if verdict == "pending":
                self.pending[key] = held
            else:
                del self.pending[key]
                self._count(key, verdict, held)

    def _judged(self, packed: bytes, source: bytes | None, held: Held, limit: int, touched: Touched) -> None:
        verdict = judge(source, held, limit, lambda: touched(unpacked(packed)))
        if verdict == "equal" and not held.more:
            return
        key = unpacked(packed)
        if verdict == "pending":
            if len(self.pending) >= self.most_pending:
                self.unfollowed += 1
            else:
                self.pending[key] = held
            return
        self._count(key, verdict, held)

    def _count(self, key: Key, verdict: Verdict, held: Held) -> None:
        if verdict == "missing":
            self._fault(key, "missing", 1)
        elif verdict == "different":
            self._fault(key, "different", 1)
        if extra := held.more + (verdict == "extra"):
            self._fault(key, "extra", extra)

    def _fault(self, key: Key, kind: Kind, count: int) -> None:
        before = getattr(self, kind)
        setattr(self, kind, before + count)
        if before < self.remembered:
            self.faults.setdefault(key, kind)


def collected(rows: Iterable[tuple[Key, bytes, int]], wanted: Mapping[Key, Held]) -> dict[Key, Held]:
    """What a place holds under the wanted keys, out of rows (key, digest, position) of any keys."""
    found: dict[Key, Held] = {}
    for key, values, position in rows:
        if key in wanted:
            found[key] = found.get(key, NOTHING).with_row(values, position)
    return found


def _within(entries: Iterator[Entry], ranges: set[int]) -> Iterator[Entry]:
    return (entry for entry in entries if range_of(entry.key) in ranges)
