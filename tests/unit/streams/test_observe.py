"""From what engines say to facts."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.connect import ConnectorStatus, TaskStatus
from lakehouse_dagster.engines.flink import FlinkCheckpoints, FlinkFailure, FlinkJob, is_restore_failure
from lakehouse_dagster.engines.kafka import GroupProgress, Partition
from lakehouse_dagster.engines.paimon import PaimonSchema
from lakehouse_dagster.render import paimon
from lakehouse_dagster.streams import observe_job
from lakehouse_dagster.streams.assets import stream_of
from lakehouse_dagster.streams.checkpoints import Retained, candidates
from lakehouse_dagster.streams.decision import State, Verb, decide
from lakehouse_dagster.streams.memory import Gap, Memory, Starts
from lakehouse_dagster.streams.notes import calm, take_note
from lakehouse_dagster.streams.observation import Observation
from lakehouse_dagster.streams.observe import observe
from lakehouse_dagster.streams.observe_connector import connector_state
from lakehouse_dagster.streams.observe_job import job_state, topic_gaps
from lakehouse_dagster.streams.plan import config_hash, connector_config, flink_script, placed
from tests.unit.streams.engines import NOW, UNREADABLE, FakeHolds, FakeStore, World, clients, job, ms

GONE = "transactions g:3-4 of airline were purged from the binary log before the connector had read them"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observe_job, "_SECOND_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(observe_job, "knock", lambda engine, host, port: None)
    observe_job._PARAMETERS.clear()
    observe_job._DRIFT.clear()


def see(contract: Contract, name: str, world: World, **memory: Any) -> Observation:
    found = clients(world, contract)
    return observe(contract, stream_of(contract, name), found, Memory(**memory), busy=False, now=NOW)


def running(contract: Contract, name: str = "lake", **checkpoints: Any) -> World:
    """A world in which a job of the wanted specification runs well."""
    script = flink_script(contract, stream_of(contract, name))
    told = {"lakehouse.spec": script.spec_hash, "lakehouse.state": script.state_hash}
    newest = {"latest_id": 7, "latest_path": "s3://x", "latest_completed_ms": ms(NOW) - 1500, **checkpoints}
    return World(
        jobs=[job(script.name)],
        parameters={"j1": told},
        checkpoints={"j1": FlinkCheckpoints(7, 0, 0, 0, **newest)},
    )


# --- states ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (None, State.ABSENT),
        (ConnectorStatus("c", "RUNNING", (TaskStatus(0, "RUNNING"),)), State.RUNNING),
        (ConnectorStatus("c", "RUNNING", (TaskStatus(0, "FAILED", "Caused by: x: y"),)), State.FAILED),
        (ConnectorStatus("c", "FAILED"), State.FAILED),
        (ConnectorStatus("c", "RUNNING"), State.STARTING),
        (ConnectorStatus("c", "UNASSIGNED"), State.STARTING),
        (ConnectorStatus("c", "RUNNING", (TaskStatus(0, "RESTARTING"),)), State.RESTARTING),
        (ConnectorStatus("c", "PAUSED", (TaskStatus(0, "PAUSED"),)), State.PAUSED),
        (ConnectorStatus("c", "STOPPED"), State.PAUSED),
    ],
)
def test_connector_states(status: ConnectorStatus | None, state: State) -> None:
    assert connector_state(status)[0] is state


@pytest.mark.parametrize(
    ("jobs", "state"),
    [
        ([], State.ABSENT),
        ([job("n")], State.RUNNING),
        ([job("n", "CANCELED"), job("n", "RUNNING")], State.RUNNING),
        ([job("n", "CREATED", id="j2"), job("n", "RUNNING")], State.RUNNING),
        ([job("n", "RESTARTING")], State.RESTARTING),
        ([job("n", "FAILING")], State.RESTARTING),
        ([job("n", "CREATED")], State.STARTING),
        ([job("n", "INITIALIZING")], State.STARTING),
        ([job("n", "CANCELLING")], State.STARTING),
        ([job("n", "CANCELED")], State.ABSENT),
        ([job("n", "FINISHED"), job("n", "FAILED")], State.ABSENT),
        ([job("n", "FAILED"), job("n", "CANCELED")], State.FAILED),
    ],
)
def test_job_states(jobs: list[FlinkJob], state: State) -> None:
    assert job_state(jobs)[0] is state


def test_a_job_that_is_being_cancelled_is_no_double(contract: Contract) -> None:
    world = running(contract)
    world.jobs.append(job("flights-lake", "CANCELLING", id="j0"))
    assert see(contract, "lake", world).facts.living == 1
    world.jobs.append(job("flights-lake", id="j2"))
    seen = see(contract, "lake", world)
    assert seen.facts.living == 2
    assert decide(seen.facts).verb is Verb.CANCEL_EXTRA


# --- a job that runs ------------------------------------------------------------------------------


def test_a_running_job_costs_no_listing_and_has_its_figures(contract: Contract) -> None:
    world = running(contract)
    world.down = {"minio"}  # would be told if it were asked
    world.end = {contract.topic("flights"): 100}
    world.committed = {contract.topic("flights"): 90}
    seen = see(contract, "lake", world)
    assert decide(seen.facts).reason == "running"
    assert seen.facts.missing is None
    assert seen.health.lag_records == 10
    assert (seen.health.read, seen.health.available) == (90, 100)
    assert seen.health.checkpoint_age_seconds == pytest.approx(1.5, abs=0.1)
    assert (seen.health.slots_free, seen.health.slots_total) == (4, 8)
    assert seen.committed == {f"{contract.topic('flights')}:0": 90}
    assert seen.checkpoint_id == 7


def test_another_specification_is_seen_and_one_that_is_not_told_too(contract: Contract) -> None:
    world = running(contract)
    world.parameters["j1"] = {"lakehouse.spec": "old", "lakehouse.state": "older"}
    seen = see(contract, "lake", world)
    assert seen.facts.running_spec == "old"
    assert seen.running_state == "older"
    assert decide(seen.facts).verb is Verb.UPGRADE
    observe_job._PARAMETERS.clear()
    world.parameters["j1"] = {}
    assert decide(see(contract, "lake", world).facts).verb is Verb.UPGRADE
    observe_job._PARAMETERS.clear()
    del world.parameters["j1"]  # a job that is not set up yet cannot tell
    assert decide(see(contract, "lake", world).facts).verb is Verb.NOTHING


def test_a_job_that_is_being_set_up_is_asked_again_what_it_is(contract: Contract) -> None:
    """Right after its submission Flink answers with an empty configuration: no other specification."""
    world = running(contract)
    told, whole = dict(world.parameters["j1"]), world.jobs
    world.parameters["j1"] = {}
    world.jobs = [replace(found, state="INITIALIZING", tasks_running=0) for found in whole]
    assert decide(see(contract, "lake", world).facts).verb is Verb.WAIT
    world.parameters["j1"], world.jobs = told, whole
    facts = see(contract, "lake", world).facts
    assert facts.running_spec == told["lakehouse.spec"]
    assert decide(facts).verb is Verb.NOTHING


def test_restarts_count_since_the_newest_checkpoint(contract: Contract) -> None:
    world = running(contract, latest_completed_ms=ms(NOW) - 70_000)
    old = [FlinkFailure(ms(NOW) - 90_000, "Caused by: long ago")] * 9
    new = [FlinkFailure(ms(NOW) - 1_000 * n, "x\nCaused by: a.b.Boom: now") for n in range(1, 8)]
    world.failures["j1"] = [*new, *old]
    world.jobs = [job("flights-lake", "RESTARTING", age=500)]
    [address] = world.keep(contract, 3)
    facts = see(contract, "lake", world).facts
    assert facts.restarts == 7
    assert facts.detail == "a.b.Boom: now"
    assert facts.looping
    action = decide(facts)
    assert action.verb is Verb.RESTART
    assert action.checkpoints == (address,)


def test_a_job_that_completes_checkpoints_does_not_loop(contract: Contract) -> None:
    world = running(contract)
    world.failures["j1"] = [FlinkFailure(ms(NOW) - 1_000 * n, "x") for n in range(20)]
    assert not see(contract, "lake", world).facts.looping


# --- a job that does not run ----------------------------------------------------------------------


def test_unreachable_engines_are_facts_with_fixes(contract: Contract) -> None:
    for name, engine in (("connector", "connect"), ("lake", "flink"), ("serving", "flink")):
        facts = see(contract, name, World(down={engine})).facts
        assert f"lakehouse up {engine}" in (facts.unreachable or "")
    for name, engine in (
        ("connector", "mysql"),
        ("connector", "kafka"),
        ("lake", "minio"),
        ("lake", "kafka"),
        ("serving", "kafka"),
        ("serving", "couchdb"),
    ):
        facts = see(contract, name, World(down={engine})).facts
        assert facts.unreachable is None
        assert f"lakehouse up {engine}" in (facts.missing or ""), (name, engine)
        assert decide(facts).verb is Verb.WAIT


def test_without_slots_a_job_waits(contract: Contract) -> None:
    facts = see(contract, "lake", World(slots=(0, 0))).facts
    assert "no TaskManager" in (facts.missing or "")
    assert "all 8 slots" in (see(contract, "lake", World(slots=(0, 8))).facts.missing or "")


def test_only_usable_checkpoints_are_offered(contract: Contract) -> None:
    world = World()
    world.keep(contract, 9, written=NOW + timedelta(days=1), state="another-shape")
    [bad] = world.keep(contract, 8, written=NOW)
    [good] = world.keep(contract, 7, written=NOW - timedelta(seconds=10))
    world.keep(contract, 6, written=NOW - timedelta(hours=1))
    seen = see(
        contract,
        "lake",
        world,
        bad_checkpoints=frozenset({bad}),
        state_floor=NOW - timedelta(minutes=1),
    )
    assert seen.facts.checkpoints == (good,)


def test_a_lake_table_of_another_contract_is_not_written_into(contract: Contract) -> None:
    columns = tuple(
        (name, "DECIMAL(9, 5)" if name == "wind_speed" else kind)
        for name, kind in paimon.columns(contract, "weather")
    )
    key = tuple(contract.schema("weather").primary_key)
    schema = PaimonSchema(0, columns, key, options={"bucket": "1"})
    facts = see(contract, "lake", World(lake={"weather": schema})).facts
    assert "weather.wind_speed" in (facts.missing or "")


def test_what_is_remembered_becomes_facts(contract: Contract) -> None:
    spec = flink_script(contract, stream_of(contract, "lake")).spec_hash
    facts = see(
        contract,
        "lake",
        World(),
        starts={spec: Starts(3, 4.0), "other": Starts(9, 1.0)},
        down_since=NOW - timedelta(seconds=20),
        seen_before=True,
    ).facts
    assert (facts.failed_starts, facts.seconds_since_start) == (3, 4.0)
    assert facts.seconds_down == 20
    assert facts.seen_before
    assert decide(facts).rule == "backing off"


# --- gaps -----------------------------------------------------------------------------------------


def test_records_that_were_deleted_before_they_were_read_are_a_gap(contract: Contract) -> None:
    topic = contract.topic("flights")
    world = World(begin={topic: 50}, end={topic: 100}, committed={topic: 40})
    seen = see(contract, "lake", world)
    [gap] = seen.found_gaps
    assert gap.tables == ("flights",)
    assert gap.partition == f"{topic}:0"
    assert decide(seen.facts).verb is Verb.HALT
    # The same gap has the same words although ever more of the topic goes.
    world.begin[topic] = 60
    assert see(contract, "lake", world).found_gaps == (gap,)
    # Read to the end before it was deleted: nothing is lost.
    world.begin[topic] = world.committed[topic] = 100
    assert see(contract, "lake", world).found_gaps == ()


def test_a_topic_that_was_made_anew_is_a_gap(contract: Contract) -> None:
    topic = contract.topic("flights")
    world = World(end={topic: 10}, committed={topic: 40})
    assert "made anew" in (see(contract, "lake", world).facts.gap or "")


def test_a_gap_that_is_gone_at_the_second_look_is_none(
    contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = contract.topic("flights")
    world = World(end={topic: 10}, committed={topic: 40})
    monkeypatch.setattr(
        observe_job,
        "time",
        SimpleNamespace(sleep=lambda _: world.end.update({topic: 40}), monotonic=lambda: 0.0),
    )
    assert see(contract, "lake", world).facts.gap is None


def test_nothing_to_go_by_and_the_first_records_gone_is_a_gap(contract: Contract) -> None:
    topic = contract.topic("flights")
    world = World(begin={topic: 5}, end={topic: 10})
    assert "nothing tells how far" in (see(contract, "lake", world).facts.gap or "")
    world.filled = False  # a lake that is empty may begin with what there is
    assert see(contract, "lake", world).facts.gap is None
    world.filled = True
    world.keep(contract, 1)
    assert see(contract, "lake", world).facts.gap is None


def test_a_remembered_gap_stops_it_until_it_is_repaired(contract: Contract) -> None:
    gap = Gap(1, "flights", "lake", ("flights",), "lost", NOW)
    assert decide(see(contract, "lake", World(), gaps=(gap,)).facts).verb is Verb.HALT
    action = decide(see(contract, "lake", running(contract), gaps=(gap,)).facts)
    assert (action.verb, "lost" in action.reason) == (Verb.NOTHING, True)


@given(
    st.dictionaries(
        st.sampled_from(["flights", "planes", "weather"]),
        st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 120)),
    )
)
def test_a_gap_is_an_offset_outside_what_is_kept(
    contract: Contract, found: dict[str, tuple[int, int, int]]
) -> None:
    at = {table: Partition(contract.topic(table), 0) for table in found}
    progress = GroupProgress(
        {at[table]: committed for table, (_, _, committed) in found.items()},
        {at[table]: begin for table, (begin, _, _) in found.items()},
        {at[table]: begin + more for table, (begin, more, _) in found.items()},
    )
    gaps = topic_gaps(contract, stream_of(contract, "lake"), progress)
    lost = {table for table, (begin, more, done) in found.items() if not begin <= done <= begin + more}
    assert {gap.tables[0] for gap in gaps} == lost


# --- the connector --------------------------------------------------------------------------------


def connected(contract: Contract, **more: Any) -> World:
    world = World(**more)
    name = contract.connector_name
    world.connectors[name] = ConnectorStatus(name, "RUNNING", (TaskStatus(0, "RUNNING"),))
    world.configs[name] = {**connector_config(contract, clients(world, contract).endpoints), "name": name}
    world.offsets = [{"partition": {}, "offset": {"gtids": "g:1-9", "file": "binlog.000002", "pos": 1600}}]
    return world


def test_a_connector_that_runs_as_it_should(contract: Contract) -> None:
    seen = see(contract, "connector", connected(contract))
    assert decide(seen.facts).reason == "running"
    assert seen.facts.running_spec == seen.facts.spec
    assert seen.health.read == seen.health.available is not None


def test_a_changed_configuration_is_outdated(contract: Contract) -> None:
    world = connected(contract)
    world.configs[contract.connector_name]["poll.interval.ms"] = "7"
    assert decide(see(contract, "connector", world).facts).verb is Verb.UPGRADE


def test_the_name_that_connect_adds_is_no_part_of_the_specification() -> None:
    assert config_hash({"a": "1", "name": "x"}) == config_hash({"a": "1"}) != config_hash({"a": "2"})


def test_source_tables_that_are_not_there_yet_are_named(contract: Contract) -> None:
    facts = see(contract, "connector", World(tables=("flights",))).facts
    assert "airline.planes" in (facts.missing or "")
    assert "airline.flights" not in (facts.missing or "")


def test_only_the_first_snapshot_needs_the_tables_as_they_are_locked(contract: Contract) -> None:
    world = connected(contract)
    world.tables = ("flights",)
    world.connectors.clear()
    assert decide(see(contract, "connector", world).facts).verb is Verb.START
    world.offsets = []
    facts = see(contract, "connector", world).facts
    assert "airline.planes" in (facts.missing or "")
    # Connect does not tell the offsets of a connector that it has forgotten.
    known = see(contract, "connector", world, seen_before=True, down_since=NOW - timedelta(minutes=1))
    assert decide(known.facts).verb is Verb.START
    world.configs[contract.connector_name]["poll.interval.ms"] = "7"
    world.connectors = connected(contract).connectors
    assert "airline.planes" in (see(contract, "connector", world, seen_before=True).facts.missing or "")


def test_a_job_without_a_table_that_flows_is_ended(contract: Contract) -> None:
    served = {view.table: "renamed" for view in contract.views}
    stopped = dataclasses.replace(contract, stopped=served)
    world = running(contract, "serving")
    facts = see(stopped, "serving", world).facts
    assert "flights is stopped: renamed" in (facts.refused or "")
    assert decide(facts).verb is Verb.STOP
    world.jobs = []
    assert decide(see(stopped, "serving", world).facts).verb is Verb.HALT
    everything = dataclasses.replace(contract, stopped={table.name: "x" for table in contract.tables})
    assert decide(see(everything, "lake", running(contract)).facts).verb is Verb.STOP


def test_a_stopped_table_is_not_read(contract: Contract) -> None:
    stopped = dataclasses.replace(contract, stopped={"weather": "x"})
    world = running(contract)
    world.end = {contract.topic("weather"): 100, contract.topic("planes"): 7}
    seen = see(stopped, "lake", world)
    assert seen.health.available == 7
    assert decide(seen.facts).verb is Verb.UPGRADE


def test_a_source_in_another_time_zone_is_refused_with_the_fix(contract: Contract) -> None:
    facts = see(contract, "connector", World(zone="Europe/Berlin")).facts
    assert decide(facts).verb is Verb.HALT
    assert "default-time-zone = '+00:00'" in (facts.refused or "")
    assert decide(see(contract, "connector", connected(contract, zone="CET")).facts).verb is Verb.STOP
    assert see(contract, "connector", World(zone="UTC")).facts.refused is None


def test_a_source_that_was_reset_is_refused(contract: Contract) -> None:
    facts = see(contract, "connector", connected(contract, unknown_here="g:7-9")).facts
    assert "g:7-9" in (facts.refused or "")


def test_a_purged_binary_log_is_a_gap_of_a_connector_that_is_down(contract: Contract) -> None:
    world = connected(contract, purged_unread="g:3-4")
    # One that runs is ahead of what it has stored: it may have read them.
    assert see(contract, "connector", world).facts.gap is None
    world.connectors.clear()
    seen = see(contract, "connector", world)
    assert [gap.description for gap in seen.found_gaps] == [GONE]
    assert decide(seen.facts).verb is Verb.HALT


def test_a_worker_that_knows_nothing_yet_is_given_time(contract: Contract) -> None:
    young = {"down_since": NOW - timedelta(seconds=3), "seen_before": True}
    assert decide(see(contract, "connector", World(), **young).facts).rule == "Connect is recovering"
    old = {**young, "down_since": NOW - timedelta(minutes=1)}
    assert decide(see(contract, "connector", World(), **old).facts).verb is Verb.START


# --- choosing checkpoints -------------------------------------------------------------------------

RETAINED = st.lists(
    st.builds(
        Retained,
        address=st.integers(0, 30).map(lambda n: f"s3://lake/chk-{n}"),
        written=st.integers(0, 20).map(lambda s: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=s)),
        number=st.integers(0, 30),
    ),
    unique_by=lambda item: item.address,
)


@given(RETAINED, st.sets(st.integers(0, 30)), st.one_of(st.none(), st.integers(0, 20)))
def test_candidates_are_the_newest_that_may_be_used(
    found: list[Retained], bad_numbers: set[int], floor_second: int | None
) -> None:
    bad = {f"s3://lake/chk-{n}" for n in bad_numbers}
    floor = (
        None if floor_second is None else datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=floor_second)
    )
    chosen = candidates(found, bad=bad, floor=floor)
    by_address = {item.address: item for item in found}
    usable = [i for i in found if i.address not in bad and (floor is None or i.written >= floor)]
    assert len(chosen) == min(5, len(usable))
    assert not set(chosen) & bad
    order = [(by_address[address].written, by_address[address].number) for address in chosen]
    assert order == sorted(order, reverse=True)
    # Nothing that was left out is newer than anything that was chosen.
    left = [(i.written, i.number) for i in usable if i.address not in chosen]
    assert not left or not order or max(left) <= min(order)
    assert chosen == candidates(reversed(found), bad=bad, floor=floor)


def test_a_savepoint_of_the_same_second_comes_before_a_checkpoint(contract: Contract) -> None:
    world = World()
    [checkpoint] = world.keep(contract, 3)
    script = flink_script(contract, stream_of(contract, "lake"))
    saved = f"flink/savepoints/{script.name}/{script.state_hash}/savepoint-abc-123"
    world.objects.append(dataclasses.replace(world.objects[0], key=f"{saved}/_metadata"))
    assert see(contract, "lake", world).facts.checkpoints == (f"s3://lake/{saved}", checkpoint)


def test_a_submitted_script_has_its_folder_and_tells_its_hashes(contract: Contract) -> None:
    script = flink_script(contract, stream_of(contract, "lake"))
    settings = placed(script, "lake").settings
    folder = f"s3://lake/flink/checkpoints/{script.name}/{script.state_hash}"
    assert settings["execution.checkpointing.dir"] == folder
    assert "state.checkpoints.dir" not in settings
    told = settings["pipeline.global-job-parameters"]
    assert told == f"lakehouse.spec:{script.spec_hash},lakehouse.state:{script.state_hash}"


def test_settings_change_the_specification_but_not_the_state(contract: Contract) -> None:
    script = flink_script(contract, stream_of(contract, "lake"))
    slower = dataclasses.replace(
        script, settings={**script.settings, "execution.checkpointing.interval": "9 s"}
    )
    assert slower.spec_hash != script.spec_hash
    assert slower.state_hash == script.state_hash
    wider = dataclasses.replace(script, inserts=(*script.inserts, script.inserts[0]))
    assert wider.state_hash != script.state_hash
    planned = dataclasses.replace(script, settings={**script.settings, "table.optimizer.x": "1"})
    assert planned.state_hash != script.state_hash


# --- failures to restore --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trace", "bad"),
    [
        (UNREADABLE, True),
        ("Caused by: X\n\tat o.StreamTaskStateInitializerImpl.streamOperatorStateContext(X.java:332)", True),
        (UNREADABLE + "\nCaused by: java.net.ConnectException: Connection refused", False),
        (UNREADABLE + "\nSdkClientException: Unable to execute HTTP request: timed out", False),
        (
            UNREADABLE + "\nAmazonS3Exception: Internal Error (Service: Amazon S3; Status Code: 503; ...)",
            False,
        ),
        ("java.lang.IllegalStateException: boom\n\tat some.Sink.write(Sink.java:1)", False),
        ("java.io.EOFException", False),
        ("", False),
    ],
)
def test_only_state_that_cannot_be_read_is_bad(trace: str, bad: bool) -> None:
    assert is_restore_failure(trace) is bad


# --- taking note ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("starts", "since", "age", "lasting"),
    [(1, 31.0, 2.0, True), (1, 29.0, 2.0, False), (0, None, 2.0, False), (1, 31.0, 40.0, False)],
)
def test_a_start_counts_as_a_success_when_it_lasts(
    contract: Contract, starts: int, since: float | None, age: float, lasting: bool
) -> None:
    spec = flink_script(contract, stream_of(contract, "lake")).spec_hash
    world = running(contract, latest_completed_ms=ms(NOW) - int(age * 1000))
    seen = see(contract, "lake", world, starts={spec: Starts(starts, since)})
    assert calm(seen) is lasting


def test_a_new_gap_is_written_down_once(contract: Contract) -> None:
    topic = contract.topic("flights")
    world = World(begin={topic: 50}, end={topic: 100}, committed={topic: 40})
    store, holds, lake = FakeStore(world), FakeHolds(world), stream_of(contract, "lake")
    for _ in range(2):
        memory = store.memory(contract.name, ["lake"])["lake"]
        seen = observe(contract, lake, clients(world, contract), memory, busy=False)
        take_note(contract, lake, seen, memory, store, holds, actor="test")  # type: ignore[arg-type]
    assert world.kinds() == ["gap"]
