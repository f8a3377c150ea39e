"""The decision table: over every combination of what decides, sampled over the rest, and case by case."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse_dagster.streams.decision import (
    ACTING,
    BREAKER_SECONDS,
    BREAKER_STARTS,
    FIRST_DELAY_SECONDS,
    JITTER,
    LONGEST_DELAY_SECONDS,
    LOOP_RESTARTS,
    LOOP_SECONDS,
    RECOVERY_SECONDS,
    RULES,
    Action,
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
OLDER = "s3://lake/flink/checkpoints/flights-lake/abc/chk-6"
AWAY = "flink: no answer; run `lakehouse up flink`"
GAP = "flights.airline.flights[0]: records 100 to 250 are no longer retained"
CLOCK = "the source's clock is not UTC; set `default-time-zone = '+00:00'`"
MAY_ACT_ON_LIVING = {Verb.UPGRADE, Verb.RESTART, Verb.CANCEL_EXTRA, Verb.STOP}

# (failed starts, seconds since the newest of them)
FRESH, BACKING_OFF, RETRY, BROKEN, BROKEN_LONG_AGO = (
    (0, None),
    (1, 3.0),
    (2, 100.0),
    (BREAKER_STARTS, LONGEST_DELAY_SECONDS * (1 + JITTER)),
    (BREAKER_STARTS, BREAKER_SECONDS),
)
# (restarts by the engine, seconds without progress)
CALM, RECENTLY, LOOPING = (0, 3.0), (LOOP_RESTARTS, 5.0), (LOOP_RESTARTS, LOOP_SECONDS)
# (specification that should run, that runs)
UNKNOWN_SPEC, SAME, OLD = ("new", None), ("new", "new"), ("new", "old")
# (Connect knows no connector, the stream ran before, seconds down)
SETTLED, RECOVERING = (False, True, 60.0), (True, True, 1.0)


def combinations() -> Iterator[Facts]:
    """Every combination of what decides, one value for each side of each threshold."""
    for (
        kind,
        desired,
        missing,
        refused,
        gap,
        state,
        twice,
        (spec, running_spec),
        by_hand,
        (failed, since),
        (restarts, stuck),
        checkpoints,
        (no_connectors, seen_before, down),
    ) in product(
        Kind,
        Desired,
        (None, AWAY),
        (None, CLOCK),
        (None, GAP),
        State,
        (False, True),
        (UNKNOWN_SPEC, SAME, OLD),
        (False, True),
        (FRESH, BACKING_OFF, RETRY, BROKEN, BROKEN_LONG_AGO),
        (CALM, RECENTLY, LOOPING),
        ((), (CHECKPOINT, OLDER)),
        (SETTLED, RECOVERING),
    ):
        # Left out because they decide nothing: states and details that cannot occur together.
        if (twice and not state.alive) or (running_spec and not state.alive):
            continue
        if (kind is Kind.CONNECTOR and (restarts or checkpoints)) or (
            kind is Kind.FLINK_JOB and no_connectors
        ):
            continue
        yield Facts(
            "lake",
            kind,
            desired,
            missing=missing,
            refused=refused,
            gap=gap,
            state=state,
            living=2 if twice else int(state.alive),
            spec=spec,
            running_spec=running_spec,
            upgrade_by_hand=by_hand,
            failed_starts=failed,
            seconds_since_start=since,
            restarts=restarts,
            seconds_without_progress=stuck,
            checkpoints=checkpoints,
            no_connectors=no_connectors,
            seen_before=seen_before,
            seconds_down=down,
        )


@cache
def decided() -> tuple[tuple[Facts, Action], ...]:
    return tuple((facts, decide(facts)) for facts in combinations())


@st.composite
def any_facts(draw: st.DrawFn) -> Facts:
    """Facts of all sorts, also such as no engine would tell."""
    # Reasons are sentences of ours: never blank.
    words = st.one_of(st.none(), st.text("abc", min_size=1, max_size=8))
    seconds = st.one_of(st.none(), st.floats(0, 1e7))
    counts = st.integers(0, 10_000)
    return Facts(
        draw(st.sampled_from(["connector", "lake", "serving"])),
        draw(st.sampled_from(Kind)),
        draw(st.sampled_from(Desired)),
        busy=draw(st.booleans()),
        unreachable=draw(words),
        missing=draw(words),
        refused=draw(words),
        gap=draw(words),
        state=draw(st.sampled_from(State)),
        detail=draw(st.text(max_size=5)),
        living=draw(st.integers(0, 4)),
        spec=draw(st.sampled_from("ab")),
        running_spec=draw(st.sampled_from([None, "a", "b"])),
        upgrade_by_hand=draw(st.booleans()),
        failed_starts=draw(counts),
        seconds_since_start=draw(seconds),
        restarts=draw(counts),
        seconds_without_progress=draw(seconds),
        checkpoints=tuple(draw(st.lists(st.text(min_size=1, max_size=5), max_size=3))),
        no_connectors=draw(st.booleans()),
        seen_before=draw(st.booleans()),
        seconds_down=draw(seconds),
    )


def open_circuit(facts: Facts) -> bool:
    since = facts.seconds_since_start
    return facts.failed_starts >= BREAKER_STARTS and since is not None and since < BREAKER_SECONDS


def brings_up(action: Action) -> bool:
    """Whether the action would start something, be it after a stop."""
    return action.verb in (Verb.START, Verb.RESTART, Verb.UPGRADE)


def never_wrong(facts: Facts, action: Action) -> None:
    """What holds for every answer of the table, whatever the facts."""
    dead = not facts.state.alive
    assert action.reason.strip(), facts
    assert action.rule == rule_for(facts).name
    assert action.acts == (action.verb in ACTING)
    assert action.acts == (action.verb not in (Verb.NOTHING, Verb.WAIT, Verb.HALT))
    if facts.busy or facts.unreachable is not None:
        assert not action.acts, facts
    if facts.state.alive:
        assert action.verb is not Verb.START, facts
    if facts.desired is Desired.PAUSED:
        assert not brings_up(action), facts
    if facts.gap is not None:
        assert not brings_up(action), facts
    if facts.refused is not None:
        assert not brings_up(action), facts
    if open_circuit(facts) and (dead or facts.looping or facts.outdated):
        assert not brings_up(action), facts
    if facts.missing is not None and dead:
        assert not brings_up(action), facts
    if facts.living > 1 and not facts.busy and facts.unreachable is None:
        assert action.verb is Verb.CANCEL_EXTRA, facts
    if action.checkpoints:
        assert brings_up(action)
        assert action.checkpoints == facts.checkpoints, "in the order that was observed"


# --- over everything ------------------------------------------------------------------------------


def test_invariants_hold_for_every_combination() -> None:
    assert len(decided()) > 25_000
    for facts, action in decided():
        never_wrong(facts, action)


@settings(max_examples=600, deadline=None)
@given(any_facts())
def test_invariants_hold_for_facts_of_all_sorts(facts: Facts) -> None:
    never_wrong(facts, decide(facts))


@settings(max_examples=200, deadline=None)
@given(any_facts())
def test_the_same_facts_get_the_same_answer(facts: Facts) -> None:
    assert decide(facts) == decide(replace(facts))


def test_while_another_acts_or_the_engine_is_away_nothing_is_done() -> None:
    for facts, _ in decided()[::7]:
        for veiled in (replace(facts, busy=True), replace(facts, unreachable=AWAY)):
            action = decide(veiled)
            assert action.verb is Verb.WAIT
            never_wrong(veiled, action)


def test_every_rule_decides_something() -> None:
    used = {action.rule for _, action in decided()}
    used |= {decide(facts).rule for facts in (of("lake", busy=True), of("lake", unreachable=AWAY))}
    assert used == {rule.name for rule in RULES}
    assert len({rule.name for rule in RULES}) == len(RULES)


def test_every_verb_is_used() -> None:
    assert {action.verb for _, action in decided()} == set(Verb)


def test_living_streams_are_only_acted_upon_by_what_is_meant_for_them() -> None:
    for facts, action in decided():
        if facts.state.alive and action.acts:
            assert action.verb in MAY_ACT_ON_LIVING


def test_a_paused_stream_comes_to_rest() -> None:
    for facts, action in decided():
        if facts.desired is Desired.PAUSED:
            assert action.verb in (Verb.STOP, Verb.NOTHING, Verb.CANCEL_EXTRA)
            if facts.state is State.ABSENT:
                assert action.verb is Verb.NOTHING


def test_a_healthy_stream_is_left_alone() -> None:
    for facts, action in decided():
        healthy = (
            facts.state is State.RUNNING
            and facts.desired is Desired.RUNNING
            and facts.refused is None
            and facts.living == 1
            and not facts.outdated
            and not facts.looping
        )
        if healthy:
            assert action.verb is Verb.NOTHING
            assert action.rule == "running"


def test_a_dead_stream_is_started_when_nothing_speaks_against_it() -> None:
    """The table must not be safe by doing nothing: every obstacle gone, it acts."""
    for facts, action in decided():
        since = facts.seconds_since_start
        obstacle = (
            facts.desired is Desired.PAUSED
            or facts.missing
            or facts.refused
            or facts.gap
            or open_circuit(facts)
            or (since is not None and since < delay(facts.failed_starts, facts.stream))
            or (facts.no_connectors and facts.state is State.ABSENT)
        )
        if not facts.state.alive and not obstacle:
            assert brings_up(action), facts


# --- back-off -------------------------------------------------------------------------------------


def test_the_pause_doubles_and_is_bounded() -> None:
    assert delay(0) == 0
    assert [delay(n) for n in (1, 2, 3)] == [FIRST_DELAY_SECONDS * factor for factor in (1, 2, 4)]
    assert delay(10_000) == LONGEST_DELAY_SECONDS


@given(st.integers(0, 100_000), st.text(max_size=20))
def test_the_pause_never_shrinks_and_its_jitter_is_bounded(starts: int, stream: str) -> None:
    assert delay(starts) <= delay(starts + 1)
    plain, varied = delay(starts), delay(starts, stream)
    assert plain * (1 - JITTER) <= varied <= plain * (1 + JITTER)
    assert varied == delay(starts, stream), "the table has no memory: the same start, the same pause"


def test_streams_that_failed_together_do_not_return_together() -> None:
    assert len({delay(3, stream) for stream in ("connector", "lake", "serving")}) == 3


@given(st.integers(1, BREAKER_STARTS - 1), st.floats(0, 2 * LONGEST_DELAY_SECONDS))
def test_a_start_waits_for_its_pause_and_not_longer(starts: int, since: float) -> None:
    action = decide(of("lake", state=State.FAILED, failed_starts=starts, seconds_since_start=since))
    assert (action.verb is Verb.WAIT) == (since < delay(starts, "lake"))
    if action.verb is Verb.WAIT:
        assert "next attempt in" in action.reason


@given(st.integers(BREAKER_STARTS, 1000), st.floats(0, 2 * BREAKER_SECONDS))
def test_the_circuit_opens_and_lets_one_through_after_a_while(starts: int, since: float) -> None:
    action = decide(of("lake", state=State.FAILED, failed_starts=starts, seconds_since_start=since))
    assert (action.verb is Verb.HALT) == (since < BREAKER_SECONDS)
    if action.verb is Verb.HALT:
        assert "circuit breaker is open" in action.reason
        assert "resume" in action.reason


# --- the cases ------------------------------------------------------------------------------------


def of(name: str, **known: Any) -> Facts:
    """Facts about a Flink job or the connector that ran before and should run."""
    kind = Kind.CONNECTOR if name == "connector" else Kind.FLINK_JOB
    return Facts(name, kind, **{"spec": "new", "seen_before": True, "seconds_down": 40.0, **known})


def test_an_absent_job_continues_from_its_newest_checkpoint() -> None:
    action = decide(of("lake", state=State.ABSENT, checkpoints=(CHECKPOINT, OLDER)))
    assert action.verb is Verb.START
    assert action.checkpoints == (CHECKPOINT, OLDER)
    assert CHECKPOINT in action.reason


def test_an_absent_connector_is_started() -> None:
    action = decide(of("connector", state=State.ABSENT))
    assert action.verb is Verb.START
    assert "stored offsets" in action.reason


def test_a_failed_job_is_started_and_its_cause_told() -> None:
    action = decide(of("lake", state=State.FAILED, detail="OutOfMemoryError: heap"))
    assert action.verb is Verb.START
    assert "OutOfMemoryError: heap" in action.reason


def test_a_job_restarting_in_a_loop_is_taken_out_of_it() -> None:
    looping = of("lake", state=State.RESTARTING, restarts=LOOP_RESTARTS, checkpoints=(CHECKPOINT,))
    stuck = replace(looping, seconds_without_progress=LOOP_SECONDS)
    assert decide(stuck).verb is Verb.RESTART
    assert CHECKPOINT in decide(stuck).reason
    # Flink is given its time first, and a neighbour that is away is waited for.
    assert decide(replace(looping, seconds_without_progress=LOOP_SECONDS - 1)).verb is Verb.WAIT
    assert decide(replace(stuck, missing="minio: no answer")).verb is Verb.WAIT
    # Between two moments of failing it may look well.
    assert decide(replace(stuck, state=State.RUNNING)).verb is Verb.RESTART


def test_a_crash_loop_ends_in_an_open_circuit() -> None:
    looping = of("lake", state=State.RESTARTING, restarts=50, seconds_without_progress=500.0, failed_starts=5)
    assert decide(replace(looping, seconds_since_start=500.0)).rule == "crash loop, circuit open"
    assert (
        decide(replace(looping, failed_starts=2, seconds_since_start=2.0)).rule == "crash loop, backing off"
    )


def test_an_old_specification_is_upgraded() -> None:
    old = of("lake", state=State.RUNNING, living=1, running_spec="old")
    action = decide(old)
    assert action.verb is Verb.UPGRADE
    assert "old" in action.reason
    assert "new" in action.reason
    assert decide(replace(old, running_spec="new")).verb is Verb.NOTHING


def test_an_old_specification_waits_for_an_operator_where_that_is_wanted() -> None:
    action = decide(of("lake", state=State.RUNNING, running_spec="old", upgrade_by_hand=True))
    assert action.verb is Verb.NOTHING
    assert "operator" in action.reason


def test_an_upgrade_waits_for_what_the_new_specification_needs() -> None:
    action = decide(of("lake", state=State.RUNNING, running_spec="old", missing="kafka: no answer"))
    assert action.verb is Verb.WAIT
    assert "kafka: no answer" in action.reason


def test_an_upgrade_that_fails_again_and_again_is_not_tried_at_every_tick() -> None:
    old = of("lake", state=State.RUNNING, running_spec="old", failed_starts=1, seconds_since_start=2.0)
    assert decide(old).rule == "outdated, backing off"
    assert decide(replace(old, seconds_since_start=30.0)).verb is Verb.UPGRADE
    assert decide(replace(old, failed_starts=BREAKER_STARTS)).rule == "outdated, circuit open"


def test_an_upgrade_does_not_begin_while_a_gap_would_keep_it_from_ending() -> None:
    action = decide(of("lake", state=State.RUNNING, running_spec="old", gap=GAP))
    assert action.verb is Verb.HALT
    assert GAP in action.reason


def test_a_job_running_twice_is_reduced_to_one() -> None:
    action = decide(of("lake", state=State.RUNNING, living=2, running_spec="old"))
    assert action.verb is Verb.CANCEL_EXTRA
    assert "2 jobs" in action.reason


@pytest.mark.parametrize("detail", ["task 0: Access denied", "connector: no such class"])
def test_a_failed_connector_or_task_is_restarted(detail: str) -> None:
    action = decide(of("connector", state=State.FAILED, detail=detail))
    assert action.verb is Verb.RESTART
    assert detail in action.reason


def test_a_connector_paused_in_connect_is_resumed() -> None:
    assert decide(of("connector", state=State.PAUSED)).verb is Verb.RESTART
    assert decide(of("connector", state=State.PAUSED, desired=Desired.PAUSED)).verb is Verb.NOTHING


def test_an_empty_list_of_a_connect_that_recovers_is_not_believed_at_once() -> None:
    empty = of("connector", state=State.ABSENT, no_connectors=True, seconds_down=RECOVERY_SECONDS - 1)
    assert decide(empty).verb is Verb.WAIT
    assert decide(replace(empty, seconds_down=None)).verb is Verb.WAIT, "running at the last look"
    assert decide(replace(empty, seconds_down=RECOVERY_SECONDS)).verb is Verb.START
    assert decide(replace(empty, seen_before=False)).verb is Verb.START, "a new installation"
    assert decide(replace(empty, no_connectors=False)).verb is Verb.START, (
        "others are known, this one is gone"
    )


def test_a_jobmanager_that_forgot_its_jobs_gets_them_back_from_their_checkpoints() -> None:
    assert decide(of("lake", unreachable=AWAY)).verb is Verb.WAIT
    back = decide(of("lake", state=State.ABSENT, checkpoints=(CHECKPOINT,)))
    assert (back.verb, back.checkpoints) == (Verb.START, (CHECKPOINT,))


def test_a_lost_taskmanager_is_waited_for() -> None:
    no_slots = "0 free slots: the TaskManager is away; `lakehouse status`"
    action = decide(of("lake", state=State.FAILED, missing=no_slots))
    assert (action.verb, action.reason) == (Verb.WAIT, no_slots)
    # Flink itself brings a living job back on new slots.
    assert decide(of("lake", state=State.RESTARTING, restarts=2)).rule == "coming up"


def test_a_missing_checkpoint_is_made_up_for_by_the_one_before_and_then_by_offsets() -> None:
    """Corrupt and incompatible ones are taken off the list by whoever tried them (streams.act)."""
    assert decide(of("lake", checkpoints=(OLDER,))).checkpoints == (OLDER,)
    action = decide(of("lake", checkpoints=()))
    assert (action.verb, action.checkpoints) == (Verb.START, ())
    assert "committed offsets" in action.reason


@pytest.mark.parametrize("engine", ["minio: no answer", "kafka: no answer"])
def test_object_store_or_kafka_away_is_waited_for(engine: str) -> None:
    for state in (State.ABSENT, State.FAILED, State.RESTARTING):
        action = decide(of("lake", state=state, missing=engine))
        assert action.verb is Verb.WAIT
    assert decide(of("lake", state=State.RUNNING, missing=engine)).verb is Verb.NOTHING


@pytest.mark.parametrize(
    "gap",
    [
        "flights.airline.flights[0]: committed 100, first retained 250",
        "binlog.000007 is purged, the connector stands in it",
    ],
)
@pytest.mark.parametrize("name", ["connector", "lake"])
def test_a_gap_is_named_and_never_jumped(name: str, gap: str) -> None:
    for state in (State.ABSENT, State.FAILED):
        action = decide(of(name, state=state, gap=gap, checkpoints=()))
        assert action.verb is Verb.HALT
        assert gap in action.reason


def test_a_gap_that_is_behind_a_running_stream_is_told_and_leaves_it_running() -> None:
    action = decide(of("lake", state=State.RUNNING, gap=GAP))
    assert action.verb is Verb.NOTHING
    assert GAP in action.reason


def test_a_job_that_crashes_on_a_gap_is_stopped() -> None:
    looping = of("lake", state=State.RESTARTING, restarts=9, seconds_without_progress=90.0, gap=GAP)
    assert decide(looping).verb is Verb.STOP
    assert decide(replace(looping, state=State.ABSENT, restarts=0)).verb is Verb.HALT


def test_a_refused_source_stops_what_runs_and_names_the_fix() -> None:
    action = decide(of("connector", state=State.RUNNING, refused=CLOCK))
    assert (action.verb, action.reason) == (Verb.STOP, CLOCK)
    # A worker that is restarted would start a failed task anew.
    assert decide(of("connector", state=State.FAILED, refused=CLOCK)).verb is Verb.STOP
    for state in (State.PAUSED, State.ABSENT):
        stopped = decide(of("connector", state=state, refused=CLOCK))
        assert (stopped.verb, stopped.reason) == (Verb.HALT, CLOCK)


def test_a_dagster_that_was_restarted_finds_running_streams_and_leaves_them() -> None:
    """No memory of any kind: nothing seen before, no start known, no time."""
    for name in ("connector", "lake", "serving"):
        kind = Kind.CONNECTOR if name == "connector" else Kind.FLINK_JOB
        assert decide(Facts(name, kind, state=State.RUNNING, living=1)).verb is Verb.NOTHING


def test_an_operator_at_the_same_moment_is_given_way() -> None:
    for state in State:
        assert decide(of("lake", state=state, busy=True)).verb is Verb.WAIT


def test_a_paused_stream_is_stopped_and_stays_so() -> None:
    paused = of("lake", desired=Desired.PAUSED, state=State.RUNNING, running_spec="old", gap=GAP)
    assert decide(paused).verb is Verb.STOP
    assert decide(replace(paused, state=State.ABSENT, running_spec=None)).verb is Verb.NOTHING
    failed = of("connector", desired=Desired.PAUSED, state=State.FAILED)
    assert decide(failed).verb is Verb.STOP
