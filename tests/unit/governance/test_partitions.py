"""Which partitions are computed anew: never fewer than have changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse_dagster.governance.partitions import Basis, Before, decide

DAYS = [date(2013, 1, day) for day in range(1, 6)]
NOW = Basis("d", {"airports": (3, "a")})
OLD = {DAYS[0]: (10, "x"), DAYS[1]: (20, "y")}
BEFORE = Before(replace(NOW, snapshot=7), OLD, 7)

days = st.sampled_from([*DAYS, None])
states = st.dictionaries(days, st.tuples(st.integers(1, 3), st.sampled_from("abc")))


def test_nothing_changed() -> None:
    plan = decide(BEFORE, NOW, OLD)
    assert (plan.full, plan.days) == (False, ())


@pytest.mark.parametrize(
    ("now", "days"),
    [
        ({**OLD, DAYS[2]: (1, "z")}, (DAYS[2],)),  # a new day
        ({**OLD, DAYS[1]: (20, "z")}, (DAYS[1],)),  # a row was updated
        ({**OLD, DAYS[1]: (19, "z")}, (DAYS[1],)),  # a row was deleted
        ({DAYS[0]: (10, "x")}, (DAYS[1],)),  # all rows of a day were
        ({**OLD, None: (1, "z")}, (None,)),
    ],
)
def test_what_changed_is_computed(now: dict[date | None, tuple[int, str]], days: tuple[date | None]) -> None:
    plan = decide(BEFORE, NOW, now)
    assert (plan.full, plan.days) == (False, days)


@pytest.mark.parametrize(
    ("before", "now", "why"),
    [
        (None, NOW, "no mart yet"),
        (replace(BEFORE, basis=None), NOW, "not known"),
        (BEFORE, replace(NOW, definition="e"), "definition"),
        (BEFORE, replace(NOW, others={"airports": (3, "b")}), "airports changed"),
        (BEFORE, replace(NOW, others={}), "airports changed"),
        (replace(BEFORE, snapshot=8), NOW, "somebody else has written"),
    ],
)
def test_everything_is_computed_where_the_parts_are_not_enough(
    before: Before | None, now: Basis, why: str
) -> None:
    plan = decide(before, now, OLD)
    assert plan.full
    assert plan.days == (DAYS[0], DAYS[1])
    assert why in plan.reason


def test_a_range_of_days_and_everything_can_be_asked_for() -> None:
    many = dict.fromkeys(DAYS, (1, "x"))
    before = Before(replace(NOW, snapshot=7), many, 7)
    assert decide(before, NOW, many, first=DAYS[1], last=DAYS[2]).days == (DAYS[1], DAYS[2])
    assert decide(before, NOW, many, first=DAYS[3]).days == (DAYS[3], DAYS[4])
    assert decide(before, NOW, many, rebuild=True).full


@given(states, states)
def test_no_change_is_missed(
    old: Mapping[date | None, tuple[int, str]], new: Mapping[date | None, tuple[int, str]]
) -> None:
    plan = decide(Before(replace(NOW, snapshot=7), old, 7), NOW, new)
    if not plan.full:
        assert {
            **{d: new[d] for d in plan.days if d in new},
            **{d: s for d, s in old.items() if d not in plan.days},
        } == new


@pytest.mark.parametrize(
    "text", [None, "", "{}", "[]", "null", '{"format": 1}', '{"format": 0}', "A comment."]
)
def test_only_its_own_text_is_a_basis(text: str | None) -> None:
    assert Basis.from_json(text) is None
    kept = replace(NOW, snapshot=7)
    assert Basis.from_json(kept.to_json()) == kept
