"""The rule on which every copy rests: of two changes of a row the one of the greater source position wins.

So it does not matter in which order, how often or how late changes arrive. Stores that remember deletes
(Cassandra, CouchDB) need nothing else; the lake, which forgets them, needs the order of each row's changes.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from lakehouse_dagster.contract.position import encode


class Change(NamedTuple):
    """A change of a row: where the source made it, and the row's value after it (None: it was deleted)."""

    position: int
    key: int
    value: int | None


@st.composite
def histories(draw: st.DrawFn) -> list[Change]:
    """What a server's log tells, in order: files rotate, and after a reset they begin anew in a new epoch."""
    epoch, file, pos, row = 0, 900, 4, 0
    changes = []
    steps = st.tuples(st.integers(0, 9), st.integers(0, 4), st.booleans())
    for number, (step, key, deleted) in enumerate(draw(st.lists(steps, min_size=1, max_size=60))):
        if step == 0 and epoch < 15:
            epoch, file, pos, row = epoch + 1, 1, 4, 0
        elif step <= 2:
            file, pos, row = file + 1, 4, 0
        elif step <= 5:
            row += 1
        else:
            # No event is shorter than its header.
            pos, row = pos + 19 * step, 0
        changes.append(Change(encode(epoch, file, pos, row), key, None if deleted else number))
    return changes


def truth(history: Iterable[Change]) -> dict[int, int]:
    """The source's rows in the end."""
    last = {change.key: change.value for change in history}
    return {key: value for key, value in last.items() if value is not None}


def remembering(arrived: Iterable[Change]) -> dict[int, int]:
    """The rows of a store that keeps the position of a deleted row."""
    held: dict[int, Change] = {}
    for change in arrived:
        if change.key not in held or change.position >= held[change.key].position:
            held[change.key] = change
    return {key: change.value for key, change in held.items() if change.value is not None}


def forgetting(arrived: Iterable[Change]) -> dict[int, int]:
    """The rows of a store that keeps nothing of a deleted row."""
    held: dict[int, Change] = {}
    for change in arrived:
        if change.key in held and change.position < held[change.key].position:
            continue
        if change.value is None:
            held.pop(change.key, None)
        else:
            held[change.key] = change
    return {key: change.value for key, change in held.items() if change.value is not None}


def mixed(history: list[Change], dice: random.Random) -> list[Change]:
    """The changes in another order, in which those of one row keep theirs."""
    keys = [change.key for change in history]
    dice.shuffle(keys)
    waiting = {key: [c for c in history if c.key == key] for key in keys}
    return [waiting[key].pop(0) for key in keys]


@given(histories(), st.randoms(use_true_random=False))
def test_any_order_and_any_number_of_copies_give_the_same_rows(
    history: list[Change], dice: random.Random
) -> None:
    copies = [change for change in history for _ in range(dice.randint(1, 3))]
    dice.shuffle(copies)
    assert remembering(copies) == truth(history)


@given(histories(), st.randoms(use_true_random=False))
def test_replays_and_other_orders_of_the_rows_change_nothing_in_the_lake(
    history: list[Change], dice: random.Random
) -> None:
    replayed = [*history, *mixed(history, dice)]
    assert forgetting(replayed) == truth(history)
    # From anywhere on, as a consumer that goes on a little before where it was.
    assert forgetting([*history, *history[dice.randrange(len(history)) :]]) == truth(history)


@given(histories(), st.randoms(use_true_random=False))
def test_rows_that_are_there_need_no_order_in_the_lake_either(
    history: list[Change], dice: random.Random
) -> None:
    there = truth(history)
    copies = [change for change in history if change.key in there]
    dice.shuffle(copies)
    assert forgetting([*history, *copies]) == there


def test_without_the_order_of_a_row_the_lake_brings_it_back() -> None:
    """Why topics have one partition, and why the proof looks for rows that are too many."""
    history = [Change(encode(0, 1, 100, 0), 1, 7), Change(encode(0, 1, 200, 0), 1, None)]
    assert forgetting([*history, history[0]]) == {1: 7} != truth(history)
    assert remembering([*history, history[0]]) == truth(history) == {}
