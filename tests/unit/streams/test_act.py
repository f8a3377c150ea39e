"""Carrying out what was decided, on engines that do as they are told."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.connect import ConnectorStatus, TaskStatus
from lakehouse_dagster.engines.errors import EngineError, EngineUnavailable
from lakehouse_dagster.engines.flink import FlinkCheckpoints, FlinkFailure
from lakehouse_dagster.engines.kafka import GroupProgress, Partition
from lakehouse_dagster.governance import hold
from lakehouse_dagster.streams import act, landed, observe_job, start
from lakehouse_dagster.streams import lock as stream_lock
from lakehouse_dagster.streams.assets import stream_of
from lakehouse_dagster.streams.decision import Desired, Verb
from lakehouse_dagster.streams.memory import Declared, Event, Memory, Starts
from lakehouse_dagster.streams.plan import flink_script
from tests.unit.streams.engines import NOW, FakeHolds, FakeLanded, FakeStore, World, clients, job, ms


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    found = World()

    @contextmanager
    def lock(endpoint: object, name: str) -> Iterator[bool]:
        yield found.lock_free

    monkeypatch.setattr(stream_lock, "starter_lock", lock)
    monkeypatch.setattr(act, "StreamStore", lambda postgres: FakeStore(found))
    monkeypatch.setattr(act, "WAIT_SECONDS", 0.0)
    monkeypatch.setattr(hold, "HoldStore", lambda postgres: FakeHolds(found))
    monkeypatch.setattr(landed, "LandedStore", lambda postgres: FakeLanded(found))
    monkeypatch.setattr(start, "script_environment", lambda endpoints: {})
    monkeypatch.setattr(start, "READY_SECONDS", 0.5)
    monkeypatch.setattr(start, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(observe_job, "_SECOND_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(observe_job, "knock", lambda engine, host, port: None)
    observe_job._PARAMETERS.clear()
    observe_job._DRIFT.clear()
    return found


def run(
    contract: Contract, name: str, world: World, verb: Any = act.reconcile, *args: Any, **more: Any
) -> act.Outcome:
    stream = stream_of(contract, name)
    outcome = verb(
        contract, stream, clients(world, contract), *args, log=world.done.append, actor="test", **more
    )
    assert isinstance(outcome, act.Outcome)
    return outcome


def alive(
    contract: Contract, world: World, *, state: str = "RUNNING", spec: str = "", id: str = "j1"
) -> None:
    """Let a job of the wanted or of another specification be there."""
    script = flink_script(contract, stream_of(contract, "lake"))
    world.jobs.append(job(script.name, state, id=id))
    world.parameters[id] = {
        "lakehouse.spec": spec or script.spec_hash,
        "lakehouse.state": script.state_hash,
    }
    world.checkpoints[id] = FlinkCheckpoints(1, 0, 0, 0, latest_id=1, latest_completed_ms=ms(NOW))


def starts(world: World) -> list[Event]:
    return [event for event in world.events if event.kind in ("start", "upgrade")]


# --- starting -------------------------------------------------------------------------------------


def test_the_connector_is_started_after_its_topics(contract: Contract, world: World) -> None:
    outcome = run(contract, "connector", world)
    assert outcome.state == "running"
    assert world.done.index("topics") < world.done.index("put flights-mysql")
    assert starts(world)[0].ok


def test_a_failed_connector_is_restarted_and_a_changed_one_upgraded(contract: Contract, world: World) -> None:
    name = "flights-mysql"
    world.connectors[name] = ConnectorStatus(name, "RUNNING", (TaskStatus(0, "FAILED", "Caused by: gone"),))
    assert run(contract, "connector", world).action.verb is Verb.RESTART
    assert f"restart {name}" in world.done
    world.configs[name] = {"name": name}
    assert run(contract, "connector", world).action.verb is Verb.UPGRADE
    assert starts(world)[-1].kind == "upgrade"


def test_starting_a_job_twice_submits_it_once(contract: Contract, world: World) -> None:
    first = run(contract, "lake", world)
    again = run(contract, "lake", world)
    assert len(world.submitted) == 1
    assert first.job_id == "new1"
    assert first.spec_hash == flink_script(contract, stream_of(contract, "lake")).spec_hash
    assert again.action.rule == "running"


def test_nothing_is_done_while_another_process_acts(contract: Contract, world: World) -> None:
    world.lock_free = False
    for verb in (act.reconcile, act.upgrade):
        assert run(contract, "lake", world, verb).action.rule == "busy"
    assert world.submitted == []
    assert world.events == []


def test_a_lost_job_continues_from_its_newest_checkpoint(contract: Contract, world: World) -> None:
    newest, _ = world.keep(contract, 11, 12)
    topic = contract.topic("flights")
    world.committed, world.end = {topic: 40}, {topic: 60}
    outcome = run(contract, "lake", world)
    assert [savepoint for _, savepoint in world.submitted] == [newest]
    assert outcome.checkpoint == newest
    assert starts(world)[0].checkpoint == newest
    assert not any(step.startswith("step back") for step in world.done)
    # It may be older than what was committed: publication waits.
    assert world.holds[0][1] == {f"{topic}:0": 40}


def test_publication_waits_before_the_job_is_submitted(contract: Contract, world: World) -> None:
    world.committed = {contract.topic("flights"): 40}
    world.end = {contract.topic("flights"): 40}
    run(contract, "lake", world)
    submitted = next(n for n, step in enumerate(world.done) if step.startswith("submitting"))
    assert world.done.index("hold") < submitted
    assert world.done.index("step back flights-lake") < submitted
    world.holds.clear()
    run(contract, "serving", world)
    assert world.holds == []  # what it writes is not published


def test_an_unreadable_checkpoint_is_passed_over_and_remembered(contract: Contract, world: World) -> None:
    third, second, first = world.keep(contract, 1, 2, 3)
    world.unreadable = {third}
    world.unreadable_in_tasks = {second}
    outcome = run(contract, "lake", world)
    assert [savepoint for _, savepoint in world.submitted] == [third, second, first]
    assert outcome.checkpoint == first
    assert world.memory["lake"].bad_checkpoints == {third, second}
    assert "cancel new2" in world.done  # it would try the same state for ever
    assert len([found for found in world.jobs if found.alive]) == 1
    assert len(starts(world)) == 1


@pytest.mark.parametrize("content", [None, b"", b"garbage"])
def test_metadata_that_is_none_costs_no_start(
    contract: Contract, world: World, content: bytes | None
) -> None:
    second, first = world.keep(contract, 1, 2)
    world.metadata = {second: content}
    outcome = run(contract, "lake", world)
    assert [savepoint for _, savepoint in world.submitted] == [first]
    assert outcome.checkpoint == first
    assert world.memory["lake"].bad_checkpoints == {second}


def test_without_any_readable_checkpoint_the_groups_offsets_are_used(
    contract: Contract, world: World
) -> None:
    world.unreadable = set(world.keep(contract, 1, 2))
    world.committed = {contract.topic("flights"): 1_000_000}
    world.end = dict(world.committed)
    outcome = run(contract, "lake", world)
    assert outcome.checkpoint is None
    assert "step back flights-lake" in world.done
    assert world.committed[contract.topic("flights")] < 1_000_000
    assert outcome.state == "running"


@pytest.mark.parametrize(
    ("landed_at", "starts_at"), [(999_000, 999_000), (1_000_001, 600_000), (None, 600_000)]
)
def test_a_job_without_checkpoint_starts_where_its_records_have_landed(
    contract: Contract, world: World, landed_at: int | None, starts_at: int
) -> None:
    topic = contract.topic("flights")
    world.committed, world.end = {topic: 1_000_000}, {topic: 1_000_000}
    world.landed = {} if landed_at is None else {f"{topic}:0": landed_at}
    run(contract, "lake", world)
    # What is said to have landed beyond what was committed is of an older topic.
    assert world.committed[topic] == starts_at


def test_without_committed_offsets_a_filled_lake_is_held_to_the_ends(
    contract: Contract, world: World
) -> None:
    world.end = {contract.topic("flights"): 70}
    run(contract, "lake", world)
    assert world.holds[0][1] == {f"{contract.topic('flights')}:0": 70}
    world.holds.clear()
    world.jobs.clear()
    world.filled = False
    run(contract, "lake", world)
    assert world.holds == []


def test_while_the_object_store_is_away_no_checkpoint_is_given_up(contract: Contract, world: World) -> None:
    [address] = world.keep(contract, 1)
    world.unreadable = {address}
    found = clients(world, contract)

    def away(location: str) -> bool:
        raise EngineUnavailable("minio", "127.0.0.1:1", cause="refused")

    found.store.exists = away  # type: ignore[method-assign]
    with pytest.raises(EngineUnavailable):
        act.reconcile(contract, stream_of(contract, "lake"), found, log=world.done.append, actor="test")
    assert "lake" not in world.memory or not world.memory["lake"].bad_checkpoints
    assert [event.ok for event in starts(world)] == [False]


def test_a_savepoint_asked_for_by_hand_is_used_or_nothing(contract: Contract, world: World) -> None:
    world.keep(contract, 12)
    run(contract, "lake", world, savepoint="s3://lake/mine")
    assert world.submitted[0][1] == "s3://lake/mine"
    world.jobs.clear()
    world.unreadable = {"s3://lake/mine"}
    with pytest.raises(EngineError):
        run(contract, "lake", world, savepoint="s3://lake/mine")
    assert len(world.submitted) == 2


def test_a_job_that_is_ready_has_what_ended_jobs_left_deleted(contract: Contract, world: World) -> None:
    old = NOW - timedelta(days=3)
    for number in range(7):
        world.keep(contract, number, written=old + timedelta(hours=number), id=f"{number:032x}")
    world.keep(contract, 1, written=old, id="b" * 32, state="another-shape")
    world.keep(contract, 1, written=NOW - timedelta(hours=23), id="c" * 32, state="another-shape")
    world.keep(contract, 1, written=old, id="d" * 32, stream="serving")
    run(contract, "lake", world)
    # Of its own shape the five newest stay.
    left = {item.key.split("/")[4] for item in world.objects}
    assert left == {*(f"{number:032x}" for number in range(2, 7)), "c" * 32, "d" * 32}
    deleted = [number for number, step in enumerate(world.done) if step.startswith("delete ")]
    ready = next(number for number, step in enumerate(world.done) if "has completed a checkpoint" in step)
    assert len(deleted) == 3
    assert min(deleted) > ready


def test_what_cannot_be_deleted_is_no_failure(contract: Contract, world: World) -> None:
    world.keep(contract, 1, written=NOW - timedelta(days=3), state="another-shape")
    found = clients(world, contract)

    def refused(prefix: str) -> int:
        raise EngineError("minio", "AccessDenied: no")

    found.store.delete_prefix = refused  # type: ignore[method-assign]
    stream = stream_of(contract, "lake")
    outcome = act.reconcile(contract, stream, found, log=world.done.append, actor="test")
    assert outcome.state == "running"
    assert [event.ok for event in starts(world)] == [True]
    assert any("AccessDenied" in step for step in world.done)


def test_a_job_that_dies_at_once_is_an_error_with_flinks_cause_and_a_failed_start(
    contract: Contract, world: World
) -> None:
    world.dies = "Caused by: java.lang.IllegalStateException: boom"
    with pytest.raises(EngineError, match="boom"):
        run(contract, "lake", world)
    [event] = starts(world)
    assert not event.ok
    assert "boom" in event.reason


def test_the_places_of_the_views_are_made_before_the_serving_job(contract: Contract, world: World) -> None:
    run(contract, "serving", world)
    assert any(step.startswith("CREATE TABLE") for step in world.done)
    assert "database flight_documents" in world.done
    assert [script.name for script, _ in world.submitted] == ["flights-serving"]


def test_a_looping_job_is_cancelled_first(contract: Contract, world: World) -> None:
    alive(contract, world, state="RESTARTING")
    world.checkpoints["j1"] = FlinkCheckpoints(0, 0, 0, 0)
    world.failures["j1"] = [FlinkFailure(ms(NOW) - n, "Caused by: x") for n in range(10)]
    outcome = run(contract, "lake", world)
    assert outcome.action.verb is Verb.RESTART
    assert world.done.index("cancel j1") < world.done.index(
        "submitting flights-lake without state, from its group's offsets"
    )
    assert [found.id for found in world.jobs if found.alive] == ["new1"]


def test_how_long_it_was_down_is_told(contract: Contract, world: World) -> None:
    world.memory["lake"] = Memory(down_since=datetime.now(UTC))
    run(contract, "lake", world)
    assert starts(world)[0].seconds_down == pytest.approx(0, abs=5)


def test_decisions_are_written_down_once(contract: Contract, world: World) -> None:
    world.down = {"flink"}
    run(contract, "lake", world)
    run(contract, "lake", world)
    assert world.kinds() == ["decision"]


def test_a_start_that_failed_is_not_repeated_at_once(contract: Contract, world: World) -> None:
    spec = flink_script(contract, stream_of(contract, "lake")).spec_hash
    world.memory["lake"] = Memory(starts={spec: Starts(2, 1.0)})
    assert run(contract, "lake", world).action.rule == "backing off"
    assert world.submitted == []


# --- stopping, upgrading --------------------------------------------------------------------------


def test_a_pause_takes_a_savepoint_and_a_resume_uses_it(contract: Contract, world: World) -> None:
    alive(contract, world)
    paused = run(contract, "lake", world, act.pause, reason="maintenance")
    assert paused.action.verb is Verb.STOP
    assert paused.checkpoint is not None
    assert run(contract, "lake", world).action.rule == "paused"
    resumed = run(contract, "lake", world, act.resume)
    assert resumed.checkpoint == paused.checkpoint
    done = [event.kind for event in world.events if event.kind != "decision"]
    assert done == ["declared", "stop", "declared", "start"]


def test_a_job_that_can_take_no_savepoint_is_cancelled(contract: Contract, world: World) -> None:
    alive(contract, world)
    world.savepoint_fails = True
    assert run(contract, "lake", world, act.pause).checkpoint is None
    assert "cancel j1" in world.done


def test_a_connector_is_stopped_and_resumed(contract: Contract, world: World) -> None:
    run(contract, "connector", world)
    run(contract, "connector", world, act.pause)
    assert "stop flights-mysql" in world.done
    assert run(contract, "connector", world).action.rule == "paused"
    run(contract, "connector", world, act.resume)
    assert "resume flights-mysql" in world.done


def test_an_upgrade_goes_on_from_the_savepoint_without_holding_publication(
    contract: Contract, world: World
) -> None:
    alive(contract, world, spec="old")
    world.committed = {contract.topic("flights"): 40}
    world.end = {contract.topic("flights"): 40}
    outcome = run(contract, "lake", world)
    assert outcome.action.verb is Verb.UPGRADE
    assert world.submitted[0][1] == outcome.checkpoint
    assert "/savepoint-j1" in (outcome.checkpoint or "")
    assert world.holds == []
    assert starts(world)[0].kind == "upgrade"


def test_an_upgrade_falls_back_to_the_checkpoints(contract: Contract, world: World) -> None:
    alive(contract, world, spec="old")
    newest, _ = world.keep(contract, 1, 2)
    world.savepoint_fails = True
    assert run(contract, "lake", world).checkpoint == newest
    world.submitted.clear()


def test_state_of_another_shape_is_not_handed_on(contract: Contract, world: World) -> None:
    alive(contract, world, spec="old")
    world.parameters["j1"]["lakehouse.state"] = "other"
    world.keep(contract, 1)  # of the wanted shape, left from an earlier time
    world.committed = {contract.topic("flights"): 1_000_000}
    world.end = dict(world.committed)
    outcome = run(contract, "lake", world)
    assert outcome.checkpoint is None
    assert world.holds
    assert world.memory["lake"].state_floor is not None


def test_an_upgrade_by_hand_is_done_only_when_asked_for(contract: Contract, world: World) -> None:
    careful = dataclasses.replace(
        contract, pipeline=contract.pipeline.model_copy(update={"upgrades": "by_hand"})
    )
    alive(careful, world, spec="old")
    assert run(careful, "lake", world).action.rule == "outdated, by hand"
    assert run(careful, "lake", world, act.upgrade).action.verb is Verb.UPGRADE
    # Asked for once more, the same specification is started anew.
    assert run(careful, "lake", world, act.upgrade).action.verb is Verb.UPGRADE
    assert len(world.submitted) == 2


def test_of_several_jobs_the_wanted_and_oldest_stays(contract: Contract, world: World) -> None:
    alive(contract, world, id="young")
    alive(contract, world, id="old", spec="old")
    alive(contract, world, id="right")
    world.jobs[2] = dataclasses.replace(world.jobs[2], start_ms=1)
    outcome = run(contract, "lake", world)
    assert outcome.action.verb is Verb.CANCEL_EXTRA
    assert outcome.job_id == "right"
    assert [found.id for found in world.jobs if found.alive] == ["right"]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans(), st.integers(0, 3)), min_size=1, max_size=6))
def test_the_job_that_stays_is_the_best_of_them(found: list[tuple[str, bool, int]]) -> None:
    jobs = tuple(
        dataclasses.replace(job("n", "RUNNING" if runs else "RESTARTING", id=f"j{n}"), start_ms=age)
        for n, (_, runs, age) in enumerate(found)
    )
    specs = {f"j{n}": spec for n, (spec, _, _) in enumerate(found)}
    kept = act.keep(jobs, specs, "a")
    if "a" in specs.values():
        assert specs[kept.id] == "a"
    rivals = [other for other in jobs if specs[other.id] == specs[kept.id] and other.running == kept.running]
    assert kept.start_ms == min(other.start_ms for other in rivals)
    assert act.keep(tuple(reversed(jobs)), specs, "a") == kept


# --- gaps and rewinds -----------------------------------------------------------------------------


def test_a_gap_halts_and_an_accepted_one_starts_behind_it(contract: Contract, world: World) -> None:
    topic, other = contract.topic("flights"), contract.topic("planes")
    world.begin, world.end = {topic: 50}, {topic: 100, other: 9}
    world.committed = {topic: 40, other: 9}
    world.keep(contract, 1)
    assert run(contract, "lake", world).action.verb is Verb.HALT
    assert [gap.tables for gap in world.memory["lake"].gaps] == [("flights",)]
    outcome = run(contract, "lake", world, accept_gap=True)
    assert outcome.state == "running"
    # Its state holds the offset that is gone, so it starts without, and for good.
    assert outcome.checkpoint is None
    assert world.memory["lake"].state_floor is not None
    assert world.committed[topic] == 50
    assert world.holds[0][1] == {f"{topic}:0": 40, f"{other}:0": 9}


def test_a_hold_never_waits_for_offsets_a_new_topic_does_not_have(contract: Contract, world: World) -> None:
    topic = contract.topic("flights")
    world.end, world.committed = {topic: 10}, {topic: 40}
    run(contract, "lake", world, accept_gap=True)
    assert world.holds[0][1] == {f"{topic}:0": 10}


def test_a_rewind_sets_offsets_after_the_job_has_ended_and_never_uses_older_state(
    contract: Contract, world: World
) -> None:
    alive(contract, world)
    topic = contract.topic("flights")
    world.begin, world.end, world.committed = {topic: 3}, {topic: 90}, {topic: 80}
    world.keep(contract, 1)
    outcome = run(contract, "lake", world, act.rewind, act.Earliest())
    order = [world.done.index(step) for step in ("hold", "cancel j1", "floor")]
    assert order == sorted(order)
    assert world.committed[topic] == 3
    assert outcome.state == "running"
    assert outcome.checkpoint is None
    assert "rewind" in world.kinds()
    assert world.holds[0][1] == {f"{topic}:0": 80}


def test_a_paused_stream_is_set_back_and_stays_paused(contract: Contract, world: World) -> None:
    topic = contract.topic("flights")
    world.memory["lake"] = Memory(declared=Declared(Desired.PAUSED))
    world.end, world.committed = {topic: 90}, {topic: 80}
    run(contract, "lake", world, act.rewind, act.AtOffsets({f"{topic}:0": 7}))
    assert world.committed[topic] == 7
    assert world.submitted == []


def test_a_rewind_that_is_wrong_changes_nothing(contract: Contract, world: World) -> None:
    alive(contract, world)
    topic = contract.topic("flights")
    world.begin, world.end, world.committed = {topic: 3}, {topic: 90}, {topic: 80}
    for offsets in ({f"{topic}:0": 81}, {f"{topic}:0": 2}, {"nowhere:0": 5}, {"nonsense": 5}):
        with pytest.raises(ValueError, match=r"offset|partition"):
            run(contract, "lake", world, act.rewind, act.AtOffsets(offsets))
    with pytest.raises(ValueError, match="time zone"):
        run(contract, "lake", world, act.rewind, act.AtTime(datetime(2026, 1, 1)))
    with pytest.raises(ValueError, match="older changes"):
        run(contract, "connector", world, act.rewind, act.Earliest())
    assert world.committed == {topic: 80}
    assert [found.id for found in world.jobs if found.alive] == ["j1"]


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(0, 200))
def test_a_rewind_to_a_time_never_goes_ahead(begin: int, read: int, more: int, found: int) -> None:
    at = Partition("t", 0)
    progress = GroupProgress({at: begin + read}, {at: begin}, {at: begin + read + more})
    moment = act.AtTime(datetime(2026, 1, 1, tzinfo=UTC))
    assert act.rewound(moment, progress, {at: found})[at] <= begin + read
    assert act.rewound(act.Earliest(), progress, {}) == {at: begin}
