"""From facts to acts: observing engines, asking for a start, starting once, recording it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import dagster as dg
import pytest

from lakehouse_dagster.components.resources import LakehouseResource
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.loader import DEFS_ROOT, load_contract
from lakehouse_dagster.contract.schema import SchemaLock
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.connect import ConnectorStatus, TaskStatus
from lakehouse_dagster.engines.errors import EngineError, EngineUnavailable
from lakehouse_dagster.engines.flink import FlinkJob
from lakehouse_dagster.engines.kafka import TopicReport
from lakehouse_dagster.engines.paimon import PaimonSchema
from lakehouse_dagster.engines.s3 import StoredObject
from lakehouse_dagster.render import paimon
from lakehouse_dagster.streams import act
from lakehouse_dagster.streams.assets import stream_of, streams_of
from lakehouse_dagster.streams.checkpoints import newest_checkpoint
from lakehouse_dagster.streams.decision import Desired, State, Verb, decide
from lakehouse_dagster.streams.history import (
    PIPELINE_TAG,
    STREAM_TAG,
    desired_state,
    set_desired_state,
    starts_of,
)
from lakehouse_dagster.streams.jobs import start_stream_job
from lakehouse_dagster.streams.lock import lock_number
from lakehouse_dagster.streams.observe import connector_state, job_state, observe
from lakehouse_dagster.streams.plan import flink_script, placed
from lakehouse_dagster.streams.sensor import streams_sensor

TABLES = ("flights", "airlines", "airports", "planes", "weather")


def job(name: str, state: str = "RUNNING", *, id: str = "j1", start: int = 1) -> FlinkJob:
    return FlinkJob(id, name, state, start, -1, tasks_total=2, tasks_running=2 if state == "RUNNING" else 0)


@dataclass
class World:
    """Fake engines: what they hold, and what was done to them."""

    down: set[str] = field(default_factory=set)
    tables: Sequence[str] = TABLES
    connectors: dict[str, ConnectorStatus] = field(default_factory=dict)
    jobs: list[FlinkJob] = field(default_factory=list)
    objects: list[StoredObject] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    submitted: list[Any] = field(default_factory=list)
    dies_at_once: bool = False
    bucket: str = "lake"
    source_schema: SchemaLock | None = None
    lake_schemas: dict[str, PaimonSchema] = field(default_factory=dict)
    warehouse: str = "s3://lake/paimon"

    def ask(self, engine: str) -> None:
        if engine in self.down:
            raise EngineUnavailable(engine, "127.0.0.1:1", cause="refused")

    # Each attribute stands for one client; the methods of all of them are here, because none collide but
    # `exception`.
    def __getattr__(self, name: str) -> Any:
        if name in {
            "connect",
            "flink",
            "kafka",
            "mysql",
            "store",
            "paimon",
            "cassandra",
            "couchdb",
            "submitter",
            "endpoints",
        }:
            return self
        if name in {"postgres", "s3", "host", "port"}:
            return self
        raise AttributeError(name)

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None: ...

    def query(self, sql: str, args: Sequence[Any]) -> list[dict[str, str]]:
        self.ask("mysql")
        return [{"name": table} for table in self.tables]

    def status(self, name: str) -> ConnectorStatus | None:
        self.ask("connect")
        return self.connectors.get(name)

    def read_schema(self, database: str, tables: Sequence[str]) -> SchemaLock:
        self.ask("mysql")
        return self.source_schema or load_contract(DEFS_ROOT / "flights").lock

    def schema(self, database: str, table: str) -> PaimonSchema | None:
        self.ask("minio")
        return self.lake_schemas.get(table)

    def put_config(self, name: str, config: Mapping[str, str]) -> bool:
        self.done.append(f"put {name}")
        self.connectors.setdefault(name, ConnectorStatus(name, "RUNNING", (TaskStatus(0, "RUNNING"),)))
        return True

    def restart(self, name: str) -> None:
        self.done.append(f"restart {name}")
        self.connectors[name] = ConnectorStatus(name, "RUNNING", (TaskStatus(0, "RUNNING"),))

    def resume(self, name: str) -> None:
        self.done.append(f"resume {name}")

    def all_jobs(self) -> list[FlinkJob]:
        self.ask("flink")
        return self.jobs

    def exception(self, job_id: str) -> str:
        return "java.lang.IllegalStateException: boom"

    def list(self, prefix: str) -> Iterator[StoredObject]:
        self.ask("minio")
        return iter([item for item in self.objects if item.key.startswith(prefix)])

    def ensure_topics(self, wanted: Sequence[Any]) -> TopicReport:
        self.done.append("topics")
        return TopicReport(tuple(topic.name for topic in wanted), ())

    def rewind(self, group: str, records: int) -> dict[Any, tuple[int, int]]:
        self.done.append(f"rewind {group}")
        return {}

    def execute(self, statement: str) -> None:
        self.done.append(statement.split("(")[0].strip())

    def ensure_database(self, name: str) -> bool:
        self.done.append(f"database {name}")
        return True

    def create_index(self, database: str, name: str, fields: Sequence[str]) -> None: ...

    def submit(self, script: Any, secrets: Mapping[str, str], *, savepoint: str | None, log: Any) -> str:
        self.submitted.append((script, savepoint))
        self.jobs.insert(
            0, job(script.name, "FAILED" if self.dies_at_once else "RUNNING", id=f"new{len(self.submitted)}")
        )
        return self.jobs[0].id


class Flink:
    """Flink's client: its `jobs` is a method, which the world's list of the same name would hide."""

    def __init__(self, world: World) -> None:
        self.jobs, self.exception = world.all_jobs, world.exception


def clients(world: World) -> Clients:
    world.__dict__["flink"] = Flink(world)
    return cast(Clients, world)


@pytest.fixture(autouse=True)
def neighbours(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """Neither PostgreSQL nor Connect's addresses are needed here; the lock is tried on the real engine
    elsewhere.
    """
    held = {"free": True}

    @contextmanager
    def lock(endpoint: object, name: str) -> Iterator[bool]:
        yield held["free"]

    monkeypatch.setattr(act, "starter_lock", lock)
    monkeypatch.setattr(act, "connector_config", lambda contract, endpoints: {"connector.class": "x"})
    monkeypatch.setattr(act, "script_environment", lambda endpoints: {})
    monkeypatch.setattr(act, "READY_SECONDS", 2.0)
    return held


def checkpoint(
    contract: Contract, number: int, *, job_id: str = "a" * 32, second: int = 0, kind: str = "checkpoints"
) -> StoredObject:
    script = flink_script(contract, stream_of(contract, "lake"))
    folder = f"flink/{kind}/{script.name}/{script.spec_hash}/{job_id}/chk-{number}"
    return StoredObject(f"{folder}/_metadata", 10, datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC))


# --- observing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (None, State.ABSENT),
        (ConnectorStatus("c", "RUNNING", (TaskStatus(0, "RUNNING"),)), State.RUNNING),
        (ConnectorStatus("c", "RUNNING", (TaskStatus(0, "FAILED", "Caused by: x: y"),)), State.FAILED),
        (ConnectorStatus("c", "FAILED"), State.FAILED),
        (ConnectorStatus("c", "RUNNING"), State.STARTING),
        (ConnectorStatus("c", "UNASSIGNED"), State.STARTING),
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
        ([job("n", "RESTARTING")], State.STARTING),
        ([job("n", "CREATED")], State.STARTING),
        ([job("n", "CANCELED")], State.ABSENT),
        ([job("n", "FINISHED"), job("n", "FAILED")], State.ABSENT),
        ([job("n", "FAILED"), job("n", "CANCELED")], State.FAILED),
    ],
)
def test_job_states(jobs: list[FlinkJob], state: State) -> None:
    assert job_state(jobs)[0] is state


def test_two_living_jobs_of_one_name_are_told() -> None:
    assert "cancel all but one" in job_state([job("n"), job("n", id="j2")])[1]


def test_the_newest_checkpoint_of_the_same_specification_is_found(contract: Contract) -> None:
    lake = stream_of(contract, "lake")
    script = flink_script(contract, lake)
    other = StoredObject(
        f"flink/checkpoints/{script.name}/0000000000000000/x/chk-99/_metadata",
        1,
        datetime(2027, 1, 1, tzinfo=UTC),
    )
    unfinished = StoredObject(
        f"flink/checkpoints/{script.name}/{script.spec_hash}/x/chk-98/part",
        1,
        datetime(2027, 1, 1, tzinfo=UTC),
    )
    world = World(
        objects=[
            checkpoint(contract, 9, job_id="b" * 32, second=1),
            checkpoint(contract, 7, second=5),
            checkpoint(contract, 8, second=5),
            other,
            unfinished,
        ]
    )
    found = newest_checkpoint(cast(Any, world), script.name, script.spec_hash)
    assert found == f"s3://lake/flink/checkpoints/{script.name}/{script.spec_hash}/{'a' * 32}/chk-8"
    assert newest_checkpoint(cast(Any, World()), script.name, script.spec_hash) is None


def test_a_submitted_script_keeps_its_state_in_the_folder_of_its_specification(contract: Contract) -> None:
    script = flink_script(contract, stream_of(contract, "lake"))
    settings = placed(script, "lake").settings
    folder = f"s3://lake/flink/checkpoints/{script.name}/{script.spec_hash}"
    assert settings["execution.checkpointing.dir"] == folder
    assert "state.checkpoints.dir" not in settings
    assert settings["pipeline.name"] == script.name


def test_unreachable_engines_are_facts_with_fixes(contract: Contract) -> None:
    for name, engine in (
        ("connector", "connect"),
        ("connector", "mysql"),
        ("lake", "flink"),
        ("lake", "minio"),
    ):
        facts = observe(contract, stream_of(contract, name), clients(World(down={engine})))
        assert facts.unreachable is not None
        assert f"lakehouse up {engine}" in facts.unreachable


def test_source_tables_that_are_not_there_yet_are_named(contract: Contract) -> None:
    facts = observe(contract, stream_of(contract, "connector"), clients(World(tables=("flights",))))
    assert facts.missing is not None
    assert "airline.planes" in facts.missing
    assert "airline.flights" not in facts.missing


# --- acting ---------------------------------------------------------------------------------------


def start(contract: Contract, name: str, world: World, **more: Any) -> act.Outcome:
    return act.start_stream(
        contract, stream_of(contract, name), clients(world), log=world.done.append, **more
    )


def test_the_connector_is_started_after_its_topics(contract: Contract) -> None:
    world = World()
    outcome = start(contract, "connector", world)
    assert outcome.state == "running"
    assert world.done.index("topics") < world.done.index("put flights-mysql")


def test_a_failed_connector_is_restarted(contract: Contract) -> None:
    failed = ConnectorStatus("flights-mysql", "RUNNING", (TaskStatus(0, "FAILED", "Caused by: gone"),))
    world = World(connectors={"flights-mysql": failed})
    outcome = start(contract, "connector", world)
    assert outcome.action.verb is Verb.RESTART
    assert "restart flights-mysql" in world.done
    assert outcome.state == "running"


def test_starting_a_job_twice_submits_it_once(contract: Contract) -> None:
    world = World()
    first = start(contract, "lake", world)
    again = start(contract, "lake", world)
    assert len(world.submitted) == 1
    assert first.job_id == "new1"
    assert first.spec_hash == flink_script(contract, stream_of(contract, "lake")).spec_hash
    assert again.action.verb is Verb.NOTHING


def test_nothing_is_started_while_another_process_starts_it(
    contract: Contract, neighbours: dict[str, bool]
) -> None:
    neighbours["free"] = False
    world = World()
    assert start(contract, "lake", world).action.verb is Verb.WAIT
    assert world.submitted == []


def test_a_lost_job_continues_from_its_checkpoint(contract: Contract) -> None:
    world = World(objects=[checkpoint(contract, 12)])
    start(contract, "lake", world)
    [(script, savepoint)] = world.submitted
    assert savepoint is not None
    assert savepoint.endswith("/chk-12")
    assert script.settings["execution.checkpointing.dir"] in savepoint


def test_a_savepoint_asked_for_by_hand_is_used(contract: Contract) -> None:
    world = World(objects=[checkpoint(contract, 12)])
    start(contract, "lake", world, savepoint="s3://lake/mine")
    assert world.submitted[0][1] == "s3://lake/mine"


def test_the_places_of_the_views_are_made_before_the_serving_job(contract: Contract) -> None:
    world = World()
    start(contract, "serving", world)
    assert any(step.startswith("CREATE TABLE") for step in world.done)
    assert "database flight_documents" in world.done
    assert [script.name for script, _ in world.submitted] == ["flights-serving"]


def test_a_job_that_dies_at_once_is_an_error_with_flinks_cause(contract: Contract) -> None:
    with pytest.raises(EngineError, match="boom"):
        start(contract, "lake", World(dies_at_once=True))


def test_a_paused_stream_is_left_alone(contract: Contract) -> None:
    world = World()
    assert start(contract, "lake", world, desired=Desired.PAUSED).action.verb is Verb.NOTHING
    assert world.submitted == []


def test_locks_of_different_streams_differ_and_fit_postgresql() -> None:
    numbers = {lock_number(f"flights/{name}") for name in ("connector", "lake", "serving")}
    assert len(numbers) == 3
    assert all(-(2**63) <= number < 2**63 for number in numbers)


# --- through Dagster ------------------------------------------------------------------------------


class Source(LakehouseResource):
    """The resource with fake engines behind it."""

    def clients(self, *, timeout: float = 10.0) -> Clients:
        return clients(WORLD[0])


WORLD: list[World] = []


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test(temp_dir=str(tmp_path)) as found:
        yield found


def tick(contract: Contract, instance: dg.DagsterInstance) -> dg.SensorResult | dg.SkipReason:
    sensor = streams_sensor(contract, start_stream_job(contract))
    with dg.build_sensor_context(instance=instance) as context:
        result = sensor(context, lakehouse=Source())
    assert isinstance(result, dg.SensorResult | dg.SkipReason)
    return result


def test_the_sensor_asks_for_every_missing_stream_once(
    contract: Contract, instance: dg.DagsterInstance
) -> None:
    WORLD[:] = [World()]
    result = tick(contract, instance)
    assert isinstance(result, dg.SensorResult)
    requests = result.run_requests or []
    assert [request.tags[STREAM_TAG] for request in requests] == ["connector", "lake", "serving"]
    assert len({request.run_key for request in requests}) == 3
    again = tick(contract, instance)
    assert isinstance(again, dg.SensorResult)
    keys = {request.run_key for request in again.run_requests or []}
    assert not keys & {request.run_key for request in requests}


def test_no_second_start_is_asked_for_while_one_is_under_way(
    contract: Contract, instance: dg.DagsterInstance
) -> None:
    WORLD[:] = [World()]
    for stream in streams_of(contract):
        run = dg.DagsterRun(
            job_name="flights_start_stream",
            status=dg.DagsterRunStatus.STARTING,
            tags={PIPELINE_TAG: "flights", STREAM_TAG: stream.name},
        )
        instance.add_run(run)
    result = tick(contract, instance)
    assert isinstance(result, dg.SkipReason)
    assert (result.skip_message or "").count("a start is already in progress") == 3


def test_the_sensor_tells_what_is_unreachable_and_starts_the_rest(
    contract: Contract, instance: dg.DagsterInstance
) -> None:
    WORLD[:] = [World(down={"connect"})]
    result = tick(contract, instance)
    assert isinstance(result, dg.SensorResult)
    assert [request.tags[STREAM_TAG] for request in result.run_requests or []] == ["lake", "serving"]
    WORLD[:] = [World(down={"connect", "flink"})]
    result = tick(contract, instance)
    assert isinstance(result, dg.SkipReason)
    assert "lakehouse up connect" in (result.skip_message or "")
    assert "lakehouse up flink" in (result.skip_message or "")


def test_a_requested_run_starts_the_stream_and_records_it(
    contract: Contract, instance: dg.DagsterInstance
) -> None:
    WORLD[:] = [World(objects=[checkpoint(contract, 4)])]
    result = tick(contract, instance)
    assert isinstance(result, dg.SensorResult)
    [request] = [r for r in result.run_requests or [] if r.tags[STREAM_TAG] == "lake"]
    definitions = dg.Definitions(jobs=[start_stream_job(contract)], resources={"lakehouse": Source()})
    done = definitions.resolve_job_def("flights_start_stream").execute_in_process(
        run_config=request.run_config, tags=request.tags, instance=instance
    )
    assert done.success
    event = instance.get_latest_materialization_event(dg.AssetKey(["flights", "streams", "lake"]))
    assert event is not None
    assert event.asset_materialization is not None
    told = {name: value.value for name, value in event.asset_materialization.metadata.items()}
    assert told["state"] == "running"
    assert told["job_id"] == "new1"
    assert str(told["checkpoint"]).endswith("/chk-4")
    assert told["spec_hash"]
    assert told["reason"]
    # The next tick finds it running; the start just made counts for the pause before another one.
    assert starts_of(instance, "flights", "lake").recent == 1


def test_a_stream_that_does_not_stay_up_is_given_longer_and_longer_pauses(
    contract: Contract, instance: dg.DagsterInstance
) -> None:
    WORLD[:] = [World()]
    tags = {PIPELINE_TAG: "flights", STREAM_TAG: "lake"}
    for _ in range(3):
        instance.add_run(dg.DagsterRun("flights_start_stream", status=dg.DagsterRunStatus.FAILURE, tags=tags))
    starts = starts_of(instance, "flights", "lake")
    assert (starts.recent, starts.in_progress) == (3, False)
    assert starts.seconds_since_last is not None
    result = tick(contract, instance)
    assert isinstance(result, dg.SensorResult)
    assert "lake" not in [request.tags[STREAM_TAG] for request in result.run_requests or []]
    later = starts_of(instance, "flights", "lake", now=datetime.now(UTC) + timedelta(hours=1))
    assert later.recent == 0


def test_what_is_desired_is_remembered(instance: dg.DagsterInstance) -> None:
    assert desired_state(instance, "flights", "lake") is Desired.RUNNING
    set_desired_state(instance, "flights", "lake", Desired.PAUSED)
    assert desired_state(instance, "flights", "lake") is Desired.PAUSED
    assert desired_state(instance, "flights", "serving") is Desired.RUNNING
    set_desired_state(instance, "flights", "lake", Desired.RUNNING)
    assert desired_state(instance, "flights", "lake") is Desired.RUNNING


def test_a_lake_table_of_another_contract_is_not_written_into(contract: Contract) -> None:
    columns = tuple(
        (name, "DECIMAL(9, 5)" if name == "wind_speed" else kind)
        for name, kind in paimon.columns(contract, "weather")
    )
    world = World(lake_schemas={"weather": PaimonSchema(0, columns, ("origin", "observed_at"))})
    found = observe(contract, stream_of(contract, "lake"), clients(world))
    assert found.missing is not None
    assert "weather.wind_speed" in found.missing
    assert decide(found).verb is Verb.WAIT
    assert observe(contract, stream_of(contract, "serving"), clients(world)).missing is None


def test_a_source_that_left_its_locked_schema_is_not_captured(contract: Contract) -> None:
    table = contract.schema("airlines")
    narrower = table.model_copy(update={"columns": table.columns[:1]})
    changed = SchemaLock(database=contract.database, tables={**contract.lock.tables, "airlines": narrower})
    found = observe(contract, stream_of(contract, "connector"), clients(World(source_schema=changed)))
    assert found.missing is not None
    assert "airlines.name" in found.missing
    assert "lakehouse lock flights" in found.missing
