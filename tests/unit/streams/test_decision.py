"""The decision table, over every combination of facts."""

from __future__ import annotations

from itertools import product

import pytest

from lakehouse_dagster.streams.decision import (
    FIRST_DELAY_SECONDS,
    LONGEST_DELAY_SECONDS,
    RULES,
    Desired,
    Facts,
    Kind,
    State,
    Verb,
    decide,
    delay,
    rule_for,
)

CHECKPOINT = "s3://lake/flink/checkpoints/flights-lake/abc/chk-7"


def every_combination() -> list[Facts]:
    return [
        Facts(
            stream="lake",
            kind=kind,
            desired=desired,
            unreachable=unreachable,
            missing=missing,
            state=state,
            detail=detail,
            start_in_progress=starting,
            recent_starts=starts,
            seconds_since_start=since,
            checkpoint=checkpoint,
        )
        for kind, desired, unreachable, missing, state, detail, starting, (
            starts,
            since,
        ), checkpoint in product(
            Kind,
            Desired,
            (None, "flink: no answer; run `lakehouse up flink`"),
            (None, "source table airline.flights does not exist yet; run `lakehouse replay flights`"),
            State,
            ("", "boom"),
            (False, True),
            ((0, None), (1, 3.0), (1, 11.0), (5, 100.0)),
            (None, CHECKPOINT),
        )
    ]


def test_every_combination_is_decided_and_explained() -> None:
    for facts in every_combination():
        action = decide(facts)
        assert action.reason, facts
        if facts.desired is Desired.PAUSED:
            assert action.verb is Verb.NOTHING
        elif facts.start_in_progress or facts.unreachable:
            assert action.verb is Verb.WAIT
        elif facts.state is State.RUNNING:
            assert action.verb is Verb.NOTHING
        elif facts.state is State.STARTING or facts.missing:
            assert action.verb is Verb.WAIT
        elif facts.seconds_since_start is not None and facts.seconds_since_start < delay(facts.recent_starts):
            assert action.verb is Verb.WAIT
            assert "next attempt in" in action.reason
        else:
            assert action.acts


def test_nothing_is_ever_started_twice_or_while_it_runs() -> None:
    for facts in every_combination():
        if facts.start_in_progress or facts.state in (State.RUNNING, State.STARTING):
            assert not decide(facts).acts, facts


def test_every_rule_decides_something() -> None:
    used = {rule_for(facts).name for facts in every_combination()}
    assert used == {rule.name for rule in RULES}


@pytest.mark.parametrize("state", [State.ABSENT, State.FAILED])
def test_a_job_starts_from_its_checkpoint_if_there_is_one(state: State) -> None:
    action = decide(Facts("lake", Kind.FLINK_JOB, state=state, checkpoint=CHECKPOINT))
    assert action.verb is Verb.START
    assert action.savepoint == CHECKPOINT
    assert CHECKPOINT in action.reason


def test_a_job_without_checkpoint_starts_from_the_groups_offsets() -> None:
    action = decide(Facts("lake", Kind.FLINK_JOB, state=State.ABSENT))
    assert action.verb is Verb.START
    assert action.savepoint is None
    assert "committed offsets" in action.reason


def test_an_absent_connector_is_started_and_a_failed_one_restarted() -> None:
    assert decide(Facts("connector", Kind.CONNECTOR)).verb is Verb.START
    failed = decide(Facts("connector", Kind.CONNECTOR, state=State.FAILED, detail="Access denied"))
    assert failed.verb is Verb.RESTART
    assert "Access denied" in failed.reason


def test_unreachable_tells_the_fix() -> None:
    action = decide(Facts("lake", Kind.FLINK_JOB, unreachable="flink: no answer; run `lakehouse up flink`"))
    assert action.verb is Verb.WAIT
    assert "lakehouse up flink" in action.reason


def test_the_delay_doubles_and_is_bounded() -> None:
    assert delay(0) == 0
    assert [delay(n) for n in (1, 2, 3)] == [
        FIRST_DELAY_SECONDS,
        2 * FIRST_DELAY_SECONDS,
        4 * FIRST_DELAY_SECONDS,
    ]
    assert delay(10_000) == LONGEST_DELAY_SECONDS
