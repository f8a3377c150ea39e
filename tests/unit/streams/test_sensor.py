"""The streams sensor: what it remembers, asks for and reports, tick by tick."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.errors import ContractError
from lakehouse_dagster.governance import hold
from lakehouse_dagster.streams import landed
from lakehouse_dagster.streams import observe as observing
from lakehouse_dagster.streams import sensor as sensor_module
from lakehouse_dagster.streams.cursor import StreamCursor, Told
from lakehouse_dagster.streams.decision import Desired, State
from lakehouse_dagster.streams.events import description
from lakehouse_dagster.streams.health import Health
from lakehouse_dagster.streams.jobs import (
    PIPELINE_TAG,
    STREAM_TAG,
    reconcile_job,
    reconcile_job_name,
)
from lakehouse_dagster.streams.memory import Declared, Event, EventKind, Memory, Starts
from lakehouse_dagster.streams.observation import FoundGap
from lakehouse_dagster.streams.sensor import CHECK_AGAIN_SECONDS, FIRST_ROWS, streams_sensor
from tests.unit.streams import fakes
from tests.unit.streams.fakes import Source, World

LAKE = dg.AssetKey(["flights", "streams", "lake"])
STREAMS = ["connector", "lake", "serving"]


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(sensor_module, "StreamStore", fakes.FakeStore)
    monkeypatch.setattr(sensor_module, "SampleStore", fakes.FakeSamples)
    monkeypatch.setattr(hold, "HoldStore", fakes.FakeHolds)
    monkeypatch.setattr(landed, "LandedStore", fakes.FakeLanded)
    monkeypatch.setattr(sensor_module, "SchemaStore", fakes.FakeSchemas)
    monkeypatch.setattr(observing, "observe", fakes.observe)
    return fakes.fresh_world()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test(temp_dir=str(tmp_path)) as found:
        yield found


class Daemon:
    """Ticks the sensor and stores what it returns in Dagster's order: events one by one, then the cursor."""

    def __init__(self, contract: Contract, instance: dg.DagsterInstance) -> None:
        self.sensor = streams_sensor(contract, reconcile_job(contract))
        self.instance = instance
        self.cursor: str | None = None

    def tick(self, *, dies_after: int | None = None) -> dg.SensorResult:
        """One tick; killed after having stored ``dies_after`` events if that is given."""
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursor) as context:
            result = self.sensor(context, lakehouse=Source())
        assert isinstance(result, dg.SensorResult)
        for event in (result.asset_events or [])[:dies_after]:
            self.instance.report_runless_asset_event(event)
        if dies_after is None:
            self.cursor = result.cursor
        return result

    def reported(self, asset: dg.AssetKey = LAKE) -> list[int]:
        """Rows of the history that are events of ``asset``, in the order of their storing."""
        records = [
            *self.instance.fetch_observations(asset, limit=1000).records,
            *self.instance.fetch_materializations(asset, limit=1000).records,
        ]
        ordered = sorted(records, key=lambda record: record.storage_id)
        return [int(metadata(record.asset_event)["history_id"]) for record in ordered]  # type: ignore[arg-type]


@pytest.fixture
def daemon(contract: Contract, instance: dg.DagsterInstance) -> Daemon:
    return Daemon(contract, instance)


def metadata(event: Any) -> dict[str, Any]:
    return {name: value.value for name, value in event.metadata.items()}


def asked(result: dg.SensorResult) -> list[str]:
    return [request.tags[STREAM_TAG] for request in result.run_requests or []]


def said(result: dg.SensorResult) -> str:
    return (result.skip_reason.skip_message or "") if result.skip_reason else ""


def row(kind: EventKind, stream: str = "lake", **more: Any) -> Event:
    return Event("flights", stream, kind, **more)


def write(*events: Event) -> None:
    store = fakes.FakeStore(None)
    for event in events:
        store.record(event)


# --- deciding and asking --------------------------------------------------------------------------


def test_a_schema_change_under_way_upgrades_the_jobs_itself(daemon: Daemon, world: World) -> None:
    world.everything(spec="s2")
    assert asked(daemon.tick()) == STREAMS
    world.schema_order = object()
    # Another application of the same change may take long: what is dead is started all the same.
    world.facts["serving"] = {"state": State.ABSENT, "running_spec": None, "living": 0}
    result = daemon.tick()
    assert asked(result) == ["connector", "serving"]


def test_a_broken_record_of_what_was_applied_is_told(
    daemon: Daemon, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(contract: Contract) -> Contract:
        raise ContractError("x.json", "", "is broken", "delete it")

    monkeypatch.setattr(sensor_module, "current", broken)
    assert "x.json: is broken" in said(daemon.tick())


def test_a_pipeline_that_is_well_is_left_alone(daemon: Daemon, world: World) -> None:
    result = daemon.tick()
    assert asked(result) == []
    assert said(result) == "connector: running; lake: running; serving: running"


def test_what_does_not_run_is_asked_for_with_its_reason(daemon: Daemon, world: World) -> None:
    world.facts["lake"] = {"state": State.ABSENT, "living": 0, "running_spec": None}
    result = daemon.tick()
    assert asked(result) == ["lake"]
    [request] = result.run_requests or []
    config = request.run_config["ops"]["flights_reconcile_stream_op"]["config"]
    assert config["stream"] == "lake"
    assert "is not there" in config["reason"]
    assert request.tags[PIPELINE_TAG] == "flights"


def test_a_request_is_never_taken_for_an_earlier_one(daemon: Daemon, world: World) -> None:
    world.everything(state=State.ABSENT)
    keys = [request.run_key for _ in range(3) for request in daemon.tick().run_requests or []]
    assert len(set(keys)) == 9


@pytest.mark.parametrize(
    ("status", "age", "expected"),
    [
        (dg.DagsterRunStatus.QUEUED, 5, False),
        (dg.DagsterRunStatus.QUEUED, 500, False),
        (dg.DagsterRunStatus.STARTING, 5, False),
        (dg.DagsterRunStatus.STARTING, 61, True),
        (dg.DagsterRunStatus.NOT_STARTED, 61, True),
        (dg.DagsterRunStatus.STARTED, 5, False),
        # It does not hold the lock, or the stream would be busy.
        (dg.DagsterRunStatus.STARTED, 61, True),
        (dg.DagsterRunStatus.SUCCESS, 5, True),
        (dg.DagsterRunStatus.FAILURE, 5, True),
    ],
)
def test_a_run_that_is_coming_is_waited_for_and_one_that_hangs_is_not(
    daemon: Daemon,
    world: World,
    contract: Contract,
    instance: dg.DagsterInstance,
    status: dg.DagsterRunStatus,
    age: float,
    expected: bool,
) -> None:
    world.facts["lake"] = {"state": State.ABSENT}
    add_run(instance, contract, status, age)
    assert (asked(daemon.tick()) == ["lake"]) == expected


def test_a_dead_run_is_ended_so_that_it_keeps_no_place_in_the_queue(
    daemon: Daemon, world: World, contract: Contract, instance: dg.DagsterInstance
) -> None:
    young = add_run(instance, contract, dg.DagsterRunStatus.STARTED, 100)
    dead = add_run(instance, contract, dg.DagsterRunStatus.STARTED, 130)
    unborn = add_run(instance, contract, dg.DagsterRunStatus.STARTING, 130)
    result = daemon.tick()
    assert dead in said(result)
    assert {run: status_of(instance, run).value for run in (young, dead, unborn)} == {
        young: "STARTED",
        dead: "FAILURE",
        unborn: "FAILURE",
    }


@pytest.mark.parametrize("veil", [{"busy": True}, {"unreachable": "flink: no answer"}])
def test_a_run_that_may_hold_the_lock_is_not_ended(
    daemon: Daemon, world: World, contract: Contract, instance: dg.DagsterInstance, veil: dict[str, Any]
) -> None:
    run = add_run(instance, contract, dg.DagsterRunStatus.STARTED, 1000)
    world.facts["lake"] = veil
    daemon.tick()
    assert status_of(instance, run) is dg.DagsterRunStatus.STARTED


def test_a_stream_that_cannot_be_looked_at_is_told_and_hides_no_other(daemon: Daemon, world: World) -> None:
    world.raises["connector"] = fakes.refused("connect")
    world.raises["serving"] = ZeroDivisionError("a mistake of ours")
    world.facts["lake"] = {"state": State.ABSENT}
    assert asked(daemon.tick()) == ["lake"]
    world.facts.clear()
    told = said(daemon.tick())
    assert "connect: no" in told
    assert "ZeroDivisionError: a mistake of ours" in told
    assert "lake: running" in told


def test_a_stream_whose_engines_hang_does_not_hold_up_the_tick(
    daemon: Daemon, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensor_module, "PATIENCE_SECONDS", 2.0)
    known, end = fakes.observe, threading.Event()

    def slow(contract: object, stream: Any, *more: Any, **options: Any) -> Any:
        if stream.name == "serving":
            end.wait(60)
        return known(contract, stream, *more, **options)

    monkeypatch.setattr(observing, "observe", slow)
    told = said(daemon.tick())
    assert not end.is_set()
    end.set()
    assert "serving: its engines did not answer" in told
    assert "lake: running" in told


def test_without_the_platforms_memory_nothing_is_decided(daemon: Daemon, world: World) -> None:
    daemon.tick()
    before = daemon.cursor
    world.everything(state=State.ABSENT)
    world.postgres_away = True
    result = daemon.tick()
    assert asked(result) == []
    assert "postgres: no answer" in said(result)
    assert result.cursor == before, "what was reported is not forgotten"


# --- remembering ----------------------------------------------------------------------------------


def test_history_grows_only_by_changes(daemon: Daemon, world: World) -> None:
    for _ in range(3):
        daemon.tick()
    assert world.kinds("lake") == ["decision"]
    world.facts["lake"] = {"unreachable": "flink: no answer"}
    for _ in range(3):
        daemon.tick()
    world.facts.clear()
    daemon.tick()
    assert [event.rule for event in world.rows if event.stream == "lake"] == [
        "running",
        "unreachable",
        "running",
    ]


def test_while_somebody_acts_the_sensor_writes_nothing(daemon: Daemon, world: World) -> None:
    daemon.tick()
    world.facts["lake"] = {"busy": True, "state": State.ABSENT}
    daemon.tick()
    assert world.kinds("lake") == ["decision"]


def test_a_decision_tells_state_reason_and_seconds_down(daemon: Daemon, world: World) -> None:
    world.memory["lake"] = Memory(down_since=datetime.now(UTC) - timedelta(seconds=42), seen_before=True)
    world.facts["lake"] = {"state": State.FAILED, "detail": "boom", "checkpoints": ("s3://c/chk-9",)}
    daemon.tick()
    [event] = [event for event in world.rows if event.stream == "lake"]
    assert (event.state, event.verb, event.rule) == ("failed", "start", "absent or failed")
    assert "boom" in event.reason
    assert event.checkpoint == "s3://c/chk-9"
    assert event.seconds_down is not None
    assert 42 <= event.seconds_down < 50


def test_a_start_that_has_lasted_is_written_down_once(daemon: Daemon, world: World) -> None:
    starts = {"failed_starts": 2, "seconds_since_start": 31.0}
    world.facts["lake"] = starts
    world.memory["lake"] = Memory(starts={"s1": Starts(2, 31.0)})
    world.health["lake"] = Health(checkpoint_age_seconds=40.0)
    daemon.tick()
    assert "calm" not in world.kinds("lake"), "no checkpoint since the start"
    world.health["lake"] = Health(checkpoint_age_seconds=3.0)
    daemon.tick()
    assert world.kinds("lake").count("calm") == 1


def test_a_gap_is_opened_once(daemon: Daemon, world: World) -> None:
    found = FoundGap(("weather",), "weather: records 5 to 9 were deleted")
    world.gaps_seen["lake"] = (found,)
    world.facts["lake"] = {"state": State.ABSENT, "gap": found.description}
    for _ in range(3):
        assert asked(daemon.tick()) == []
    assert world.kinds("lake") == ["gap", "decision"]


# --- reporting ------------------------------------------------------------------------------------


def test_every_row_becomes_one_event_whoever_wrote_it(daemon: Daemon, world: World) -> None:
    daemon.tick()
    write(
        row(EventKind.DECLARED, actor="ann (lakehouse streams)", verb="paused"),
        row(EventKind.STOP, actor="dagster run 1234"),
        row(EventKind.START, "serving", ok=False, reason="no slots"),
    )
    daemon.tick()
    daemon.tick()
    assert daemon.reported() == [2, 4, 5]
    assert daemon.reported(dg.AssetKey(["flights", "streams", "serving"])) == [3, 6]


def test_every_row_is_told_to_lineage_once(
    daemon: Daemon, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    monkeypatch.setattr(
        sensor_module,
        "emit_streams",
        lambda _contract, _clients, _store, rows: told.extend(r.id for r in rows),
    )
    daemon.tick()
    write(row(EventKind.STOP), row(EventKind.START))
    daemon.tick()
    daemon.tick()
    assert told == sorted(set(told))
    assert {4, 5} <= set(told)


@pytest.mark.parametrize(
    ("kind", "ok", "made_anew"),
    [
        (EventKind.START, True, True),
        (EventKind.START, False, False),
        (EventKind.UPGRADE, True, True),
        (EventKind.RESNAPSHOT, True, True),
        (EventKind.STOP, True, False),
        (EventKind.DECISION, True, False),
        (EventKind.GAP, False, False),
    ],
)
def test_successful_starts_are_materializations(
    daemon: Daemon, world: World, kind: EventKind, ok: bool, made_anew: bool
) -> None:
    write(row(kind, ok=ok, reason="r"))
    result = daemon.tick()
    [event] = [
        event
        for event in result.asset_events or []
        if not isinstance(event, dg.AssetCheckEvaluation) and metadata(event)["history_id"] == 1
    ]
    assert isinstance(event, dg.AssetMaterialization) == made_anew


def test_an_event_tells_the_whole_row_and_the_newest_the_streams_figures(
    daemon: Daemon, world: World
) -> None:
    daemon.tick()
    world.health["lake"] = Health(
        job_id="j1", checkpoint_age_seconds=3.21, restarts=2, lag_records=7, slots_free=1, slots_total=8
    )
    write(
        row(EventKind.STOP),
        row(
            EventKind.START,
            state="running",
            verb="start",
            rule="absent or failed",
            reason="the job is not there",
            checkpoint="s3://c/chk-3",
            job_id="j1",
            spec_hash="s1",
            seconds_down=17.46,
            actor="dagster run 1b2c",
        ),
    )
    events = [
        event for event in daemon.tick().asset_events or [] if not isinstance(event, dg.AssetCheckEvaluation)
    ]
    older, newer = (metadata(event) for event in events)
    assert "restarts" not in older
    expected = {
        "history_id": 5,
        "kind": "start",
        "state": "running",
        "verb": "start",
        "rule": "absent or failed",
        "reason": "the job is not there",
        "checkpoint": "s3://c/chk-3",
        "job_id": "j1",
        "job": "http://flink/#/job/j1/overview",
        "spec_hash": "s1",
        "seconds_down": 17.5,
        "actor": "dagster run 1b2c",
        "run": "1b2c",
        "checkpoint_age_seconds": 3.2,
        "restarts": 2,
        "lag_records": 7,
        "slots_free": 1,
        "slots_total": 8,
    }
    assert {name: newer.get(name) for name in expected} == expected


@pytest.mark.parametrize("dies_after", range(5))
def test_a_daemon_killed_between_events_and_cursor_reports_nothing_twice(
    daemon: Daemon, world: World, dies_after: int
) -> None:
    daemon.tick()
    write(*(row(kind, stream) for stream in STREAMS for kind in (EventKind.STOP, EventKind.START)))
    # The checks come first among a tick's events; only the rows are counted here.
    daemon.cursor = replace(
        StreamCursor.parse(daemon.cursor),
        checks={name: Told(True, int(time.time())) for name in all_checks()},
    ).dump()
    daemon.tick(dies_after=dies_after)
    daemon.tick(dies_after=0)
    daemon.tick()
    daemon.tick()
    told = sorted(number for stream in STREAMS for number in daemon.reported(stream_key(stream)))
    assert told == [row.id for row in world.rows]


def test_events_that_others_report_do_not_hide_what_was_reported(
    daemon: Daemon, world: World, instance: dg.DagsterInstance
) -> None:
    daemon.tick()
    write(row(EventKind.START))
    daemon.tick(dies_after=100)  # every event is stored, the cursor is not
    instance.report_runless_asset_event(dg.AssetMaterialization(LAKE, description="by hand, in the UI"))
    before = len(daemon.instance.fetch_materializations(LAKE, limit=100).records)
    daemon.tick()
    assert len(daemon.instance.fetch_materializations(LAKE, limit=100).records) == before


def test_an_old_history_is_begun_with_its_end(daemon: Daemon, world: World) -> None:
    write(*(row(EventKind.STOP) for _ in range(50)))
    world.facts["connector"] = world.facts["serving"] = {"busy": True}
    daemon.tick()
    assert daemon.reported() == list(range(51 - FIRST_ROWS + 1, 52))


def test_a_lost_cursor_repeats_nothing(daemon: Daemon, world: World) -> None:
    daemon.tick()
    write(row(EventKind.START))
    daemon.tick()
    before = daemon.reported()
    for lost in (
        None,
        "",
        "{",
        '{"version": 99}',
        '{"version":1}',
        '{"version":1,"history":"x","checks":{}}',
    ):
        daemon.cursor = lost
        daemon.tick()
    assert daemon.reported() == before


def test_a_first_tick_with_nothing_to_tell_begins_at_the_beginning(daemon: Daemon, world: World) -> None:
    world.everything(busy=True)
    daemon.tick()
    write(*(row(EventKind.STOP) for _ in range(FIRST_ROWS + 5)))
    daemon.tick()
    assert len(daemon.reported()) == FIRST_ROWS + 5


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (row(EventKind.DECISION, rule="running", reason="running"), "running"),
        (row(EventKind.DECISION, rule="unreachable", reason="no answer"), "unreachable: no answer"),
        (row(EventKind.DECLARED, verb="paused", reason="tea"), "declared paused: tea"),
        (row(EventKind.START, ok=False, reason="boom"), "start failed: boom"),
        (row(EventKind.BAD_CHECKPOINT, ok=False, reason="EOF"), "bad checkpoint: EOF"),
        (row(EventKind.STOP), "stop"),
    ],
)
def test_a_row_in_one_line(event: Event, text: str) -> None:
    assert description(event) == text


# --- checks, as the sensor reports them -----------------------------------------------------------


def evaluations(result: dg.SensorResult) -> dict[str, bool]:
    return {
        f"{event.asset_key.path[-1]}/{event.check_name}": event.passed
        for event in result.asset_events or []
        if isinstance(event, dg.AssetCheckEvaluation)
    }


def all_checks() -> list[str]:
    jobs = ["running", "checkpoint_age", "restarts", "lag", "slots", "no_gap", "circuit"]
    return [f"{stream}/{name}" for stream in STREAMS for name in jobs]


def test_checks_are_reported_when_they_change_and_now_and_then(
    daemon: Daemon, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = evaluations(daemon.tick())
    assert first["lake/running"]
    assert first["connector/lag"]
    assert evaluations(daemon.tick()) == {}
    world.facts["lake"] = {"state": State.FAILED}
    assert evaluations(daemon.tick()) == {"lake/running": False}
    world.facts["lake"] = {}
    assert evaluations(daemon.tick()) == {"lake/running": True}
    later = time.time() + CHECK_AGAIN_SECONDS + 1
    monkeypatch.setattr(sensor_module.time, "time", lambda: later)
    assert set(evaluations(daemon.tick())) == set(first)


def test_the_lag_in_seconds_comes_from_earlier_ticks(
    daemon: Daemon, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = time.time()
    monkeypatch.setattr(sensor_module.time, "time", lambda: clock)
    for available in (100, 200, 300):
        world.health["lake"] = Health(read=100, available=available)
        daemon.tick()
        clock += 25
    # What was there 75 s ago has been read, and nothing since.
    world.health["lake"] = Health(read=100, available=400)
    result = daemon.tick()
    assert evaluations(result) == {"lake/lag": False}
    [event] = result.asset_events or []
    assert metadata(event)["lag_seconds"] == pytest.approx(75, abs=1)


def test_a_paused_stream_is_told_as_such(daemon: Daemon, world: World) -> None:
    world.memory["lake"] = Memory(declared=Declared(Desired.PAUSED, "ann", "tea"))
    world.facts["lake"] = {"state": State.ABSENT, "running_spec": None, "living": 0}
    result = daemon.tick()
    assert asked(result) == []
    assert evaluations(result)["lake/running"]
    assert "paused by the operator" in said(result)


# --- helpers --------------------------------------------------------------------------------------


def stream_key(stream: str) -> dg.AssetKey:
    return dg.AssetKey(["flights", "streams", stream])


def status_of(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def add_run(instance: dg.DagsterInstance, contract: Contract, status: dg.DagsterRunStatus, age: float) -> str:
    """Add a reconciling run of the lake that is ``age`` seconds old, and began then if it has begun."""
    import sqlalchemy as sa
    from dagster._core.storage.runs.schema import RunsTable

    run = instance.add_run(
        dg.DagsterRun(
            reconcile_job_name(contract),
            tags={PIPELINE_TAG: "flights", STREAM_TAG: "lake"},
        )
    )
    created = datetime.now(UTC) - timedelta(seconds=age)
    values: dict[str, Any] = {"create_timestamp": created.replace(tzinfo=None), "status": status.value}
    if status in (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE):
        values["start_time"] = created.timestamp()
    storage: Any = instance.run_storage
    with storage.connect() as connection:
        connection.execute(sa.update(RunsTable).where(RunsTable.c.run_id == run.run_id).values(**values))
    return run.run_id


def test_what_has_landed_is_taken_down_for_jobs_only(daemon: Daemon, world: World) -> None:
    world.health = {name: Health(running_spec="s1", job_id="j") for name in STREAMS}
    known = []
    for number, offset in [(7, 10), (8, 20), (9, 30), (11, 40)]:
        world.committed, world.checkpoint_id = {"lake": {"t:0": offset}}, number
        daemon.tick()
        known.append(dict(world.landed["lake"].offsets))
    assert known == [{}, {}, {"t:0": 10}, {"t:0": 30}]
    assert set(world.landed) == {"lake"}
