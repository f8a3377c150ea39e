from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from lakehouse_dagster.engines.kafka import Partition
from lakehouse_dagster.engines.mysql import SourcePosition
from lakehouse_dagster.proof import settle as settle_module
from lakehouse_dagster.proof.settle import (
    FURTHER_CHECKPOINTS,
    Facts,
    Goal,
    advance,
    at_the_end,
    goal,
    place_goal,
)
from tests.unit.proof.test_keyed import contract_of

A, B = Partition("p.db.a", 0), Partition("p.db.b", 0)
GOAL = Goal({"p-lake": ("p.db.a", "p.db.b"), "p-serving": ("p.db.a",)})
SETTLED = Facts(
    missing_gtids="",
    ends={A: 10, B: 0},
    begins={A: 0, B: 0},
    committed={"p-lake": {A: 10}, "p-serving": {A: 10}},
    checkpoints={"p-lake": ("j1", 5), "p-serving": ("j2", 7)},
    lake={"a": 3, "b": 1},
    shown={"a": 3, "b": 1},
)
LATER = replace(
    SETTLED,
    checkpoints={"p-lake": ("j1", 5 + FURTHER_CHECKPOINTS), "p-serving": ("j2", 7 + FURTHER_CHECKPOINTS)},
)


def test_nothing_counts_before_the_connector_has_an_offset() -> None:
    goal, waiting = advance(GOAL, replace(SETTLED, missing_gtids=None, connector_state="not there"))
    assert goal == GOAL
    assert waiting == ("the connector (not there) has not finished its initial snapshot",)


def test_the_transactions_still_to_be_read_are_named() -> None:
    goal, waiting = advance(GOAL, replace(SETTLED, missing_gtids="uuid:7-9"))
    assert goal.ends is None
    assert waiting == ("the connector (RUNNING) has not read uuid:7-9",)


def test_records_not_committed_by_a_group_are_waited_for() -> None:
    facts = replace(SETTLED, committed={"p-lake": {A: 8}, "p-serving": {A: 10}})
    goal, waiting = advance(GOAL, facts)
    assert goal.ends == {A: 10, B: 0}
    assert goal.checkpoints is None
    assert waiting == ("p-lake has 2 records of p.db.a to commit",)


def test_the_ends_are_those_of_the_moment_the_connector_was_through() -> None:
    goal, _ = advance(GOAL, replace(SETTLED, committed={}))
    # The source is written on: the topics grow, the goal does not.
    grown = replace(SETTLED, ends={A: 1000, B: 50}, missing_gtids="uuid:100")
    goal, waiting = advance(goal, grown)
    assert goal.ends == {A: 10, B: 0}
    assert all("checkpoint" in reason for reason in waiting)


def test_a_job_that_does_not_run_is_named() -> None:
    _, waiting = advance(GOAL, replace(SETTLED, checkpoints={"p-lake": ("j1", 5)}))
    assert waiting == ("job p-serving is not running",)


def test_an_empty_topic_is_never_committed_and_not_waited_for() -> None:
    goal, waiting = advance(GOAL, SETTLED)
    assert goal.checkpoints == {"p-lake": ("j1", 7), "p-serving": ("j2", 9)}
    assert "p.db.b" not in " ".join(waiting)


def test_a_topic_whose_records_all_expired_counts_from_its_first_kept_one() -> None:
    facts = replace(SETTLED, begins={A: 10, B: 0}, committed={})
    goal, _ = advance(GOAL, facts)
    assert goal.checkpoints is not None


def test_further_checkpoints_are_waited_for_per_job() -> None:
    goal, waiting = advance(GOAL, SETTLED)
    assert waiting == (
        "job p-lake has to complete checkpoint 7 (now at 5)",
        "job p-serving has to complete checkpoint 9 (now at 7)",
    )
    halfway = replace(SETTLED, checkpoints={"p-lake": ("j1", 7), "p-serving": ("j2", 8)})
    goal, waiting = advance(goal, halfway)
    assert waiting == ("job p-serving has to complete checkpoint 9 (now at 8)",)
    goal, waiting = advance(goal, LATER)
    assert waiting == ()


def test_a_job_that_dies_while_waiting_is_waited_for_again() -> None:
    goal, _ = advance(GOAL, SETTLED)
    goal, waiting = advance(goal, replace(LATER, checkpoints={"p-serving": ("j2", 9)}))
    assert waiting == ("job p-lake has to complete checkpoint 7 (now at 0)",)


def test_a_new_run_of_a_job_starts_its_count_anew() -> None:
    goal, _ = advance(GOAL, SETTLED)
    restarted = replace(LATER, checkpoints={"p-lake": ("j9", 1), "p-serving": ("j2", 9)})
    goal, waiting = advance(goal, restarted)
    assert goal.checkpoints == {"p-lake": ("j9", 3), "p-serving": ("j2", 11)}
    assert len(waiting) == 2


def test_publication_is_waited_for_up_to_the_version_of_that_moment() -> None:
    goal, _ = advance(GOAL, SETTLED)
    goal, waiting = advance(goal, replace(LATER, shown={"a": 2}))
    assert waiting == (
        "Nessie does not show the newest version of a",
        "Nessie does not show the newest version of b",
    )
    # The lake goes on meanwhile; what is shown may be newer than the goal or just it.
    goal, waiting = advance(goal, replace(LATER, lake={"a": 9, "b": 9}, shown={"a": 3, "b": 4}))
    assert goal.lake == {"a": 3, "b": 1}
    assert waiting == ()


def test_settled_stays_settled() -> None:
    goal, _ = advance(GOAL, SETTLED)
    goal, waiting = advance(goal, LATER)
    assert waiting == ()
    assert advance(goal, LATER) == (goal, ())


def test_a_connector_at_the_end_of_the_log_has_read_everything_whatever_its_gtids_say() -> None:
    end = SourcePosition("uuid:1-9", "binlog.000010", 500)
    assert at_the_end({"file": "binlog.000010", "pos": 500, "gtids": "uuid:1-8"}, end)
    assert at_the_end({"file": "binlog.000011", "pos": 4}, end)
    assert not at_the_end({"file": "binlog.000010", "pos": 499}, end)
    assert not at_the_end({"file": "binlog.000009", "pos": 900}, end)
    assert not at_the_end({}, end)


def test_a_hold_is_named_as_what_the_publication_waits_for() -> None:
    goal, _ = advance(GOAL, SETTLED)
    held = replace(LATER, shown={"a": 2, "b": 1}, held="publication of p is held back")
    _, waiting = advance(goal, held)
    assert waiting == ("publication of p is held back", "Nessie does not show the newest version of a")
    # A hold on what is published already keeps nothing back.
    assert advance(goal, replace(LATER, held="publication of p is held back"))[1] == ()


def test_a_version_that_is_not_ours_counts_as_shown_where_its_rows_are_compared() -> None:
    goal, _ = advance(GOAL, SETTLED)
    facts = replace(LATER, shown={"b": 1}, foreign=frozenset({"a"}))
    assert advance(goal, facts)[1] == ("Nessie does not show the newest version of a",)
    assert advance(replace(goal, foreign=True), facts)[1] == ()


def test_the_lake_itself_waits_for_no_publication() -> None:
    goal, _ = advance(replace(GOAL, published=False), SETTLED)
    assert advance(goal, replace(LATER, shown={}))[1] == ()


def test_each_place_is_given_when_it_has_passed_and_the_late_ones_with_their_reasons(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    goals = {
        "paimon": Goal({"p-lake": GOAL.groups["p-lake"]}, published=False),
        "trino": Goal({"p-lake": GOAL.groups["p-lake"]}),
        "cassandra": Goal({"p-serving": GOAL.groups["p-serving"]}, published=False),
    }
    stuck = replace(LATER, checkpoints={**LATER.checkpoints, "p-serving": ("j2", 7)}, shown={"a": 2, "b": 1})
    seen = iter([SETTLED, SETTLED, stuck])
    clock = iter(range(1000))
    monkeypatch.setattr(settle_module, "observe", lambda *_: next(seen, stuck))
    monkeypatch.setattr(settle_module, "place_goal", lambda _, place: goals[place])
    monkeypatch.setattr(settle_module.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(settle_module.time, "sleep", lambda _: None)
    unused: Any = SimpleNamespace(stopped={}, flowing=())
    said: list[str] = []
    given = list(
        settle_module.wait_each(
            unused, unused, "u:1", ["paimon", "trino", "cassandra"], timeout=20, report=said.append
        )
    )
    assert given == [
        ("paimon", ()),
        ("trino", ("Nessie does not show the newest version of a",)),
        ("cassandra", ("job p-serving has to complete checkpoint 9 (now at 7)",)),
    ]
    assert len(said) == 2


def test_a_stopped_table_is_not_waited_for_and_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    contract = contract_of(("a", "int"))
    (table,) = contract.tables
    topic = contract.topic(table.name)
    assert goal(contract).groups[contract.lake_job] == (topic,)
    stopped = replace(contract, stopped={table.name: "a column was renamed"})
    assert goal(stopped).groups == {}
    assert place_goal(stopped, "paimon").groups == {}
    said: list[str] = []
    settled = Facts(missing_gtids="")
    monkeypatch.setattr(settle_module, "observe", lambda *_: settled)
    unused: Any = None
    assert settle_module.settle(stopped, unused, "u:1", timeout=5, report=said.append) == ()
    assert said == [f"{table.name} is stopped and not waited for: a column was renamed"]


def test_a_table_that_becomes_visible_later_says_how_much_later() -> None:
    goal, _ = advance(GOAL, SETTLED)
    waiting_for = replace(LATER, lake={"a": 4, "b": 1}, visible={"a": 58})
    _, waiting = advance(goal, waiting_for)
    assert waiting == (
        "Nessie does not show the newest version of a, whose rows become visible up to 58 s after a commit",
    )
