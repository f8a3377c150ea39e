from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lakehouse_dagster.streams import store_sql
from lakehouse_dagster.streams.decision import RULES, Desired
from lakehouse_dagster.streams.memory import ATTEMPTS, Event, EventKind, Mark, Memory, Starts

DECISION = Event("p", "lake", EventKind.DECISION)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("rule", "state", "mark"),
    [
        ("running", "running", Mark.RUNNING),
        ("paused", "absent", Mark.PAUSED),
        ("outdated", "running", Mark.RUNNING),
        ("outdated, by hand", "running", Mark.RUNNING),
        ("outdated, prerequisite missing", "running", Mark.RUNNING),
        ("outdated", "restarting", None),
        # It can call itself running between two restarts.
        ("crash loop", "running", None),
        ("to be paused", "running", None),
        ("unreachable", "", None),
        ("absent or failed", "absent", None),
    ],
)
def test_a_decision_says_whether_the_stream_is_up(rule: str, state: str, mark: Mark | None) -> None:
    assert replace(DECISION, rule=rule, state=state).mark is mark


def test_the_rules_that_mean_up_are_rules_of_the_table() -> None:
    """A rule renamed in the table would otherwise turn every stream into one that is down."""
    names = {rule.name for rule in RULES}
    assert {"running", "paused", "outdated", "outdated, by hand"} <= names


def test_only_a_start_that_succeeded_says_that_the_stream_came_up() -> None:
    for kind in EventKind:
        if kind is EventKind.DECISION:
            continue
        came_up = Mark.STARTED if kind in {*ATTEMPTS, EventKind.CALM} else None
        assert Event("p", "lake", kind).mark is came_up
        assert Event("p", "lake", kind, ok=False).mark is (Mark.STARTED if kind is EventKind.CALM else None)


def test_nothing_remembered_means_it_should_run_and_never_did() -> None:
    memory = Memory()
    assert memory.declared.desired is Desired.RUNNING
    assert not memory.seen_before
    assert memory.seconds_down(NOW) is None
    assert memory.starts_of("a") == Starts(0, None)


def test_a_memory_answers_for_one_specification_and_one_moment() -> None:
    memory = Memory(down_since=NOW - timedelta(seconds=7), starts={"a": Starts(3, 1.5)})
    assert memory.starts_of("a").recent == 3
    assert memory.starts_of("b").recent == 0
    assert memory.seconds_down(NOW) == 7
    # Clocks of two machines may differ a little.
    assert memory.seconds_down(NOW - timedelta(seconds=9)) == 0


def test_every_condition_that_is_asked_for_has_its_index() -> None:
    """PostgreSQL uses a partial index only for its own condition; the tables are written out for good."""
    tables = " ".join(store_sql.STEPS)
    for condition in ("DECISION", "SETTLED", "SEEN", "ATTEMPT", "FRESH"):
        assert f"WHERE {getattr(store_sql, condition)};" in tables
