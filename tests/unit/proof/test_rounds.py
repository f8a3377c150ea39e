"""A source that is written all the time, a place that lags and is tampered with: what is said of it.

The simulation interleaves at random, between any two rows that the proof reads: the source commits, the place
applies the next change, somebody spoils a row of the place.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse_dagster.proof.ranges import NO_POSITION, RangedRows
from lakehouse_dagster.proof.rounds import NOTHING, Held, Key, Reconciliation, collected, judge, look_back
from lakehouse_dagster.proof.rowset import digest

KEYS = [str(number) for number in range(12)]
LIMIT = 100


def values(key: str, value: str) -> bytes:
    return digest([key, value])


# --- one key --------------------------------------------------------------------------------------


def never() -> bool:
    raise AssertionError("not asked")


@pytest.mark.parametrize(
    ("source", "held", "touched", "verdict"),
    [
        (b"a", Held(b"a", 100), never, "equal"),
        (b"a", Held(b"a", NO_POSITION), never, "equal"),
        (b"a", Held(b"b", 100), never, "different"),
        (b"a", Held(b"b", NO_POSITION), never, "different"),
        (b"a", Held(b"b", 101), never, "pending"),
        (b"a", Held(b"a", 101), never, "pending"),
        (None, Held(b"a", 100), never, "extra"),
        (None, Held(b"a", 101), never, "pending"),
        (None, NOTHING, never, "equal"),
        (b"a", NOTHING, lambda: False, "missing"),
        (b"a", NOTHING, lambda: True, "pending"),
    ],
)
def test_one_key(source: bytes | None, held: Held, touched: Callable[[], bool], verdict: str) -> None:
    assert judge(source, held, LIMIT, touched) == verdict


@pytest.mark.parametrize(
    ("source", "held", "verdict"),
    [
        (b"a", Held(b"a", 100), "equal"),
        (None, NOTHING, "equal"),
        (b"a", Held(b"b", 100), "pending"),
        (b"a", NOTHING, "pending"),
        (None, Held(b"a", 50), "pending"),
        (b"a", Held(b"a", 100, more=1), "pending"),
        # The source had not written that position yet when the place had it already.
        (b"a", Held(b"a", 101), "different"),
        (None, Held(b"a", 101), "extra"),
    ],
)
def test_one_key_of_a_place_read_before_the_source(source: bytes | None, held: Held, verdict: str) -> None:
    assert look_back(source, held, LIMIT) == verdict


# --- the simulation -------------------------------------------------------------------------------


@dataclass
class World:
    """A source, its log, and a place that applies it."""

    dice: random.Random
    busy: float
    faults: int = 0
    source: dict[str, str] = field(default_factory=dict)
    log: list[tuple[str, str | None]] = field(default_factory=list)
    place: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    applied: int = 0
    spoilt: dict[str, int] = field(default_factory=dict)
    """By key the length of the log when it was spoilt last."""

    def position(self, index: int) -> int:
        return (index + 1) * 10

    @property
    def limit(self) -> int:
        return len(self.log) * 10

    def write(self) -> None:
        key = self.dice.choice(KEYS)
        value = None if key in self.source and self.dice.random() < 0.4 else self.dice.choice("abc")
        self.log.append((key, value))
        if value is None:
            del self.source[key]
        else:
            self.source[key] = value

    def apply(self) -> None:
        if self.applied < len(self.log):
            key, value = self.log[self.applied]
            self.place.pop(key, None)
            if value is not None:
                self.place[key] = [(value, self.position(self.applied))]
            self.applied += 1

    def spoil(self) -> None:
        key = self.dice.choice(KEYS)
        rows = self.place.get(key)
        at = self.position(self.dice.randrange(self.applied)) if self.applied else 0
        if rows is None:
            self.place[key] = [("spoilt", at)]
        else:
            kind = self.dice.randrange(4)
            if kind == 0:
                del self.place[key]
            elif kind == 1:
                self.place[key] = [("spoilt", rows[0][1])]
            elif kind == 2:
                self.place[key] = [*rows, ("spoilt", at)]
            else:
                # From a future that the source never reaches.
                self.place[key] = [(rows[0][0], 10**9)]
        self.spoilt[key] = len(self.log)

    def pass_time(self) -> None:
        while self.dice.random() < self.busy:
            step = self.dice.random()
            if step < 0.5:
                self.write()
            elif step < 0.95:
                self.apply()
            elif self.faults:
                self.faults -= 1
                self.spoil()

    def pass_position(self, limit: int) -> None:
        while self.applied * 10 < limit:
            self.apply()
            self.pass_time()

    def snapshot(self) -> tuple[dict[str, str], int]:
        return dict(self.source), self.limit

    def read(self, keys: Iterable[str]) -> Iterator[tuple[str, str, int]]:
        for key in keys:
            self.pass_time()
            for value, position in self.place.get(key, []):
                yield key, value, position

    def touched(self, since: int) -> Callable[[Key], bool]:
        keys = {key for key, _ in self.log[since:]}
        return lambda key: key[0] in keys


def prove(world: World, rounds: int, *, calm: bool) -> Reconciliation:
    """All rounds, as the prover does them."""
    state = Reconciliation()
    world.pass_time()
    since = len(world.log)
    world.pass_time()  # the topics' ends are read before the position is taken
    truth, limit = world.snapshot()
    with RangedRows(memory_bytes=256) as source, RangedRows(memory_bytes=256) as rows:
        for key, value in truth.items():
            source.add([key], [key, value])
        world.pass_time()
        world.pass_position(limit)
        for key, value, position in world.read(KEYS):
            rows.add([key], [key, value], position)
        world.pass_time()
        state.first(source, rows, limit, world.touched(since))
    for number in range(2, rounds + 1):
        if not state.pending:
            break
        if calm and number == 3:
            world.busy = 0.0
        since = len(world.log)
        world.pass_time()
        truth, limit = world.snapshot()
        ours = {(k,): values(k, v) for k, v in truth.items() if (k,) in state.pending}
        left = state.look_back(ours, limit)
        if not left:
            continue
        world.pass_position(limit)
        asked = [key[0] or "" for key in left]
        found = [((k,), values(k, v), p) for k, v, p in world.read(asked)]
        world.pass_time()
        state.again(ours, collected(found, state.pending), limit, world.touched(since))
    return state


def made(seed: int, busy: float, faults: int) -> World:
    world = World(random.Random(seed), busy)
    for _ in range(20):
        world.write()
    for _ in range(world.dice.randrange(21)):
        world.apply()
    world.faults = faults
    return world


seeds = st.integers(0, 2**32)
paces = st.sampled_from([0.0, 0.3, 0.6, 0.8])


@settings(max_examples=150, deadline=None)
@given(seeds, paces, st.integers(1, 6))
def test_no_false_alarm_whatever_happens_meanwhile(seed: int, busy: float, rounds: int) -> None:
    state = prove(made(seed, busy, 0), rounds, calm=False)
    assert state.differences == 0
    assert not state.faults


@settings(max_examples=100, deadline=None)
@given(seeds, paces)
def test_it_settles_when_the_source_falls_silent(seed: int, busy: float) -> None:
    state = prove(made(seed, busy, 0), 5, calm=True)
    assert state.unsettled == 0
    assert state.differences == 0


@settings(max_examples=150, deadline=None)
@given(seeds, paces, st.integers(1, 4), st.integers(1, 6))
def test_every_planted_fault_is_found_and_nothing_else(
    seed: int, busy: float, faults: int, rounds: int
) -> None:
    world = made(seed, busy, 0)
    while world.applied < len(world.log) and world.dice.random() < 0.9:
        world.apply()
    for _ in range(faults):
        world.spoil()
    planted = dict(world.spoilt)
    state = prove(world, rounds, calm=False)
    named = {key[0] for key in state.faults}
    assert named <= planted.keys()
    open_ = {key[0] for key in state.pending}
    for key in planted:
        # A later change of the key mends what was spoilt, or keeps it under way; a change that had not been
        # applied yet, or a second spoiling, may have mended it too.
        touched = any(k == key for k, _ in world.log[planted[key] :])
        assert key in named or key in open_ or touched or not _wrong(world, key), (key, state)


def _wrong(world: World, key: str) -> bool:
    """Whether the place is wrong about a key once it has applied everything."""
    while world.applied < len(world.log):
        world.apply()
    value = world.source.get(key)
    held = world.place.get(key, [])
    return [row[0] for row in held] != ([] if value is None else [value]) or any(
        position > world.limit for _, position in held
    )


@settings(max_examples=100, deadline=None)
@given(seeds, st.sampled_from([0.3, 0.6]))
def test_faults_that_come_while_it_runs_never_name_a_right_row(seed: int, busy: float) -> None:
    world = made(seed, busy, 3)
    state = prove(world, 5, calm=False)
    assert {key[0] for key in state.faults} <= world.spoilt.keys()


# --- details --------------------------------------------------------------------------------------


def ranged(rows: Iterable[tuple[str, str, int]]) -> RangedRows:
    found = RangedRows()
    for key, value, position in rows:
        found.add([key], [key, value], position)
    return found


def nobody(_key: Key) -> bool:
    return False


def test_only_ranges_that_differ_are_looked_into() -> None:
    rows = [(str(n), "x", 10) for n in range(5000)]
    state = Reconciliation()
    state.first(ranged(rows), ranged(reversed(rows)), LIMIT, nobody)
    assert (state.differing, state.differences, state.unsettled) == (0, 0, 0)
    spoilt = [("7", "y", 10), *(row for row in rows if row[0] != "7")]
    state = Reconciliation()
    state.first(ranged(rows), ranged(spoilt), LIMIT, nobody)
    assert (state.differing, state.different) == (1, 1)
    assert state.faults == {("7",): "different"}


def test_equal_sums_do_not_hide_a_row_that_was_written_since() -> None:
    state = Reconciliation()
    state.first(ranged([("1", "x", 10)]), ranged([("1", "x", LIMIT + 1)]), LIMIT, nobody)
    assert state.pending == {("1",): Held(values("1", "x"), LIMIT + 1)}
    assert state.differing == 1


def test_an_empty_place_misses_everything_and_memory_stays_bounded() -> None:
    state = Reconciliation(remembered=10, most_pending=20)
    state.first(ranged([(str(n), "x", 10) for n in range(500)]), ranged([]), LIMIT, nobody)
    assert (state.missing, len(state.faults), state.unsettled) == (500, 10, 0)
    state = Reconciliation(remembered=10, most_pending=20)
    state.first(ranged([(str(n), "x", 10) for n in range(500)]), ranged([]), LIMIT, lambda _key: True)
    assert (state.missing, len(state.pending), state.unsettled) == (0, 20, 500)


def test_a_second_row_of_a_key_is_extra_once_the_key_is_settled() -> None:
    state = Reconciliation()
    twice = [("1", "x", 10), ("1", "x", 10), ("2", "x", LIMIT + 5), ("2", "y", 10)]
    state.first(ranged([("1", "x", 10), ("2", "x", 10)]), ranged(twice), LIMIT, nobody)
    assert (state.extra, state.different) == (1, 0)
    assert state.pending == {("2",): Held(values("2", "x"), LIMIT + 5, more=1)}
    truth = {("2",): values("2", "x")}
    assert state.look_back(truth, LIMIT + 10) == [("2",)]
    state.again(truth, dict(state.pending), LIMIT + 10, nobody)
    assert (state.extra, state.unsettled, state.rounds) == (2, 0, 2)


def test_collected_takes_only_what_was_asked_for() -> None:
    rows: list[tuple[Key, bytes, int]] = [(("1",), b"a", 5), (("2",), b"b", 6), (("1",), b"c", 7)]
    assert collected(rows, {("1",): NOTHING, ("3",): NOTHING}) == {("1",): Held(b"a", 7, 1)}
