"""Stand-ins for the engines that streams are observed in and acted upon: what they hold, what was done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.schema import SchemaLock
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.connect import ConnectorStatus, TaskStatus
from lakehouse_dagster.engines.errors import EngineError, EngineUnavailable
from lakehouse_dagster.engines.flink import FlinkCheckpoints, FlinkFailure, FlinkJob, FlinkOverview
from lakehouse_dagster.engines.kafka import REWOUND, GroupProgress, Partition, TopicReport
from lakehouse_dagster.engines.mysql import SourceCondition, SourcePosition
from lakehouse_dagster.engines.paimon import PaimonSchema
from lakehouse_dagster.engines.s3 import StoredObject
from lakehouse_dagster.streams.assets import stream_of
from lakehouse_dagster.streams.decision import Desired
from lakehouse_dagster.streams.landed import Landed
from lakehouse_dagster.streams.memory import Declared, Event, EventKind, Gap, Memory
from lakehouse_dagster.streams.plan import flink_script
from lakehouse_dagster.streams.start import CHECKPOINT_MAGIC

NOW = datetime.now(UTC)
UNREADABLE = (
    "org.apache.flink.runtime.client.JobInitializationException: Could not start the JobMaster.\n"
    "Caused by: java.io.EOFException\n"
    "\tat org.apache.flink.runtime.checkpoint.Checkpoints.loadCheckpointMetadata(Checkpoints.java:119)\n"
    "\tat org.apache.flink.runtime.checkpoint.CheckpointCoordinator.restoreSavepoint(X.java:1)"
)


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def job(name: str, state: str = "RUNNING", *, id: str = "j1", age: float = 100.0) -> FlinkJob:
    running = 2 if state == "RUNNING" else 0
    return FlinkJob(
        id, name, state, ms(NOW - timedelta(seconds=age)), -1, tasks_total=2, tasks_running=running
    )


@dataclass
class World:
    """What the engines hold, and what was done to them."""

    down: set[str] = field(default_factory=set)
    done: list[str] = field(default_factory=list)
    # Flink
    jobs: list[FlinkJob] = field(default_factory=list)
    parameters: dict[str, dict[str, str]] = field(default_factory=dict)
    checkpoints: dict[str, FlinkCheckpoints] = field(default_factory=dict)
    failures: dict[str, list[FlinkFailure]] = field(default_factory=dict)
    slots: tuple[int, int] = (4, 8)
    submitted: list[tuple[Any, str | None]] = field(default_factory=list)
    unreadable: set[str] = field(default_factory=set)
    """Checkpoints that no job can be set up from."""
    unreadable_in_tasks: set[str] = field(default_factory=set)
    """Checkpoints whose jobs come up and then restart for ever."""
    dies: str = ""
    """The trace with which every job dies right after its start."""
    savepoint_fails: bool = False
    # object store
    objects: list[StoredObject] = field(default_factory=list)
    metadata: dict[str, bytes | None] = field(default_factory=dict)
    """Of the checkpoints whose metadata is not what Flink wrote."""
    lake: dict[str, PaimonSchema] = field(default_factory=dict)
    filled: bool = True
    # Kafka: offsets by topic, all of partition 0
    begin: dict[str, int] = field(default_factory=dict)
    end: dict[str, int] = field(default_factory=dict)
    committed: dict[str, int] = field(default_factory=dict)
    marked: set[str] = field(default_factory=set)
    # Connect and the source
    connectors: dict[str, ConnectorStatus] = field(default_factory=dict)
    configs: dict[str, dict[str, str]] = field(default_factory=dict)
    offsets: list[dict[str, Any]] = field(default_factory=list)
    tables: Sequence[str] | None = None
    zone: str = "+00:00"
    purged_unread: str = ""
    unknown_here: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    """Of those that decide what is in the binary log; a server that knows none is set as it has to be."""
    foreign_keys: list[dict[str, str]] = field(default_factory=list)
    # memory
    memory: dict[str, Memory] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    holds: list[tuple[str, dict[str, int]]] = field(default_factory=list)
    landed: dict[str, int] = field(default_factory=dict)
    lock_free: bool = True

    def ask(self, engine: str) -> None:
        if engine in self.down:
            raise EngineUnavailable(engine, "127.0.0.1:1", cause="refused")

    def kinds(self) -> list[str]:
        return [str(event.kind) for event in self.events]

    def keep(
        self,
        contract: Contract,
        *numbers: int,
        stream: str = "lake",
        written: datetime = NOW,
        state: str = "",
        id: str = "a" * 32,
    ) -> list[str]:
        """Retain checkpoints of the job ``id``; return their addresses, newest first."""
        script = flink_script(contract, stream_of(contract, stream))
        folder = f"flink/checkpoints/{script.name}/{state or script.state_hash}/{id}"
        self.objects += [StoredObject(f"{folder}/chk-{n}/_metadata", 10, written) for n in numbers]
        return [f"s3://lake/{folder}/chk-{n}" for n in sorted(numbers, reverse=True)]


class Flink:
    def __init__(self, world: World) -> None:
        self.world = world

    def jobs(self) -> list[FlinkJob]:
        self.world.ask("flink")
        return list(self.world.jobs)

    def overview(self) -> FlinkOverview:
        free, total = self.world.slots
        return FlinkOverview("1.20.5", int(total > 0), total, free, len(self.world.jobs))

    def parameters(self, job_id: str) -> dict[str, str] | None:
        return self.world.parameters.get(job_id)

    def checkpoints(self, job_id: str) -> FlinkCheckpoints:
        return self.world.checkpoints.get(job_id, FlinkCheckpoints(0, 0, 0, 0))

    def failures(self, job_id: str, *, limit: int = 20) -> list[FlinkFailure]:
        return self.world.failures.get(job_id, [])[:limit]

    def exception(self, job_id: str) -> str:
        found = self.failures(job_id)
        return found[0].cause if found else ""

    def restarts(self, job_id: str) -> int | None:
        return len(self.world.failures.get(job_id, []))

    def cancel(self, job_id: str, *, timeout: float = 60.0) -> None:
        self.world.done.append(f"cancel {job_id}")
        self._end(job_id, "CANCELED")

    def stop_with_savepoint(self, job_id: str, directory: str, *, timeout: float = 60.0) -> str:
        if self.world.savepoint_fails:
            raise EngineError("flink", f"the savepoint of job {job_id} failed: expired")
        self._end(job_id, "FINISHED")
        path = f"{directory}/savepoint-{job_id}"
        self.world.done.append(f"stop {job_id}")
        self.world.objects.append(StoredObject(f"{path.removeprefix('s3://lake/')}/_metadata", 1, NOW))
        return path

    def _end(self, job_id: str, state: str) -> None:
        self.world.jobs = [
            replace(found, state=state, tasks_running=0) if found.id == job_id else found
            for found in self.world.jobs
        ]


class Submitter:
    def __init__(self, world: World) -> None:
        self.world = world

    def submit(self, script: Any, secrets: Mapping[str, str], *, savepoint: str | None, log: Any) -> str:
        world = self.world
        world.ask("flink")
        world.submitted.append((script, savepoint))
        id = f"new{len(world.submitted)}"
        state = "RUNNING"
        if savepoint in world.unreadable:
            world.jobs.insert(0, replace(job(script.name, "FAILED", id=id, age=0), end_ms=ms(NOW) + 10**7))
            world.failures[id] = [FlinkFailure(ms(NOW), UNREADABLE)]
            raise EngineError("flink", "submitting failed (exit code 1): java.io.EOFException")
        if savepoint in world.unreadable_in_tasks:
            state = "RESTARTING"
            trace = (
                "Caused by: gone\n\tat StreamTaskStateInitializerImpl.streamOperatorStateContext(X.java:1)"
            )
            world.failures[id] = [FlinkFailure(ms(NOW), trace)]
        elif world.dies:
            state = "FAILED"
            world.failures[id] = [FlinkFailure(ms(NOW), world.dies)]
        world.jobs.insert(0, job(script.name, state, id=id, age=0))
        told = script.settings["pipeline.global-job-parameters"]
        world.parameters[id] = dict(pair.split(":") for pair in told.split(","))
        world.checkpoints[id] = FlinkCheckpoints(1, 0, 0, 0, latest_id=1, latest_completed_ms=ms(NOW))
        return id


class Kafka:
    def __init__(self, world: World) -> None:
        self.world = world

    def topics(self) -> dict[str, int]:
        self.world.ask("kafka")
        return {}

    def ensure_topics(self, wanted: Sequence[Any]) -> TopicReport:
        self.world.ask("kafka")
        self.world.done.append("topics")
        return TopicReport((), ())

    def progress(self, group: str, topics: Sequence[str]) -> GroupProgress:
        self.world.ask("kafka")
        return GroupProgress(
            {Partition(topic, 0): n for topic, n in self.world.committed.items() if topic in topics},
            {Partition(topic, 0): self.world.begin.get(topic, 0) for topic in topics},
            {Partition(topic, 0): self.world.end.get(topic, 0) for topic in topics},
        )

    def offsets_at(self, topics: Sequence[str], moment: datetime) -> dict[Partition, int]:
        return {Partition(topic, 0): 5 for topic in topics}

    def rewind(
        self, group: str, records: int, known: Mapping[Partition, int]
    ) -> dict[Partition, tuple[int, int]]:
        self.world.done.append(f"step back {group}")
        moved = {}
        for topic, old in self.world.committed.items():
            wanted = known.get(Partition(topic, 0), old - records)
            new = max(self.world.begin.get(topic, 0), wanted)
            if topic not in self.world.marked and new < old:
                moved[Partition(topic, 0)] = (old, new)
        self.set_offsets(group, {at: new for at, (_, new) in moved.items()})
        return moved

    def set_offsets(self, group: str, offsets: Mapping[Partition, int]) -> None:
        for at, offset in offsets.items():
            self.world.committed[at.topic] = offset
            self.world.marked.add(at.topic)
            self.world.done.append(f"{REWOUND}: {at} to {offset}")


class Connect:
    def __init__(self, world: World) -> None:
        self.world = world

    def connectors(self) -> list[str]:
        return list(self.world.connectors)

    def status(self, name: str) -> ConnectorStatus | None:
        self.world.ask("connect")
        return self.world.connectors.get(name)

    def config(self, name: str) -> dict[str, str] | None:
        return self.world.configs.get(name)

    def offsets(self, name: str) -> list[dict[str, Any]]:
        return self.world.offsets

    def put_config(self, name: str, config: Mapping[str, str]) -> bool:
        self.world.done.append(f"put {name}")
        self.world.configs[name] = {**config, "name": name}
        self.world.connectors.setdefault(name, ConnectorStatus(name, "RUNNING", (TaskStatus(0, "RUNNING"),)))
        return True

    def restart(self, name: str) -> None:
        self.world.done.append(f"restart {name}")
        self.world.connectors[name] = ConnectorStatus(name, "RUNNING", (TaskStatus(0, "RUNNING"),))

    def resume(self, name: str) -> None:
        self.world.done.append(f"resume {name}")

    def stop_and_wait(self, name: str) -> None:
        self.world.done.append(f"stop {name}")
        self.world.connectors[name] = ConnectorStatus(name, "STOPPED")


class Source:
    def __init__(self, world: World, contract: Contract) -> None:
        self.world = world
        self.contract = contract

    def query(self, sql: str, args: Sequence[Any]) -> list[dict[str, str]]:
        self.world.ask("mysql")
        if sql.startswith("SHOW GLOBAL VARIABLES"):
            return [{"Variable_name": name, "Value": value} for name, value in self.world.variables.items()]
        if "referential_constraints" in sql:
            return self.world.foreign_keys
        there = self.world.tables
        return [{"name": t.name} for t in self.contract.tables if there is None or t.name in there]

    def read_schema(self, database: str, tables: Sequence[str]) -> SchemaLock:
        return self.contract.lock

    def condition(self, read: str | None = None) -> SourceCondition:
        self.world.ask("mysql")
        position = SourcePosition("g:1-9", "binlog.000002", 1600)
        world = self.world
        return SourceCondition(world.zone, position, "", world.purged_unread, world.unknown_here)


class Objects:
    bucket = "lake"

    def __init__(self, world: World) -> None:
        self.world = world

    def list(self, prefix: str) -> Iterator[StoredObject]:
        self.world.ask("minio")
        return iter([item for item in self.world.objects if item.key.startswith(prefix)])

    def exists(self, location: str) -> bool:
        self.world.ask("minio")
        return True

    def get(self, location: str) -> bytes | None:
        self.world.ask("minio")
        return self.world.metadata.get(location.removesuffix("/_metadata"), CHECKPOINT_MAGIC)

    def delete_prefix(self, prefix: str) -> int:
        kept = [item for item in self.world.objects if not item.key.startswith(prefix)]
        deleted = len(self.world.objects) - len(kept)
        self.world.objects = kept
        self.world.done.append(f"delete {prefix}")
        return deleted


class Paimon:
    warehouse = "s3://lake/paimon"

    def __init__(self, world: World) -> None:
        self.world = world

    def schema(self, database: str, table: str) -> PaimonSchema | None:
        self.world.ask("minio")
        return self.world.lake.get(table)

    def latest(self, database: str, table: str) -> object | None:
        return object() if self.world.filled else None


class FakeStore:
    """`StreamStore` over the world; the real one is tried on PostgreSQL elsewhere."""

    def __init__(self, world: World) -> None:
        self.world = world

    def memory(self, pipeline: str, streams: Sequence[str]) -> dict[str, Memory]:
        return {name: self.world.memory.get(name, Memory()) for name in streams}

    def change(self, stream: str, **changes: Any) -> None:
        self.world.memory[stream] = replace(self.world.memory.get(stream, Memory()), **changes)

    def record(self, event: Event) -> int:
        self.world.events.append(event)
        if event.kind == EventKind.DECISION:
            self.change(event.stream, last=event)
        return len(self.world.events)

    def declare(self, pipeline: str, stream: str, desired: Desired, *, by: str, reason: str = "") -> None:
        self.change(stream, declared=Declared(desired, by, reason))
        self.record(Event(pipeline, stream, EventKind.DECLARED, verb=desired, actor=by))

    def mark_bad(self, pipeline: str, stream: str, checkpoint: str, why: str) -> None:
        known = self.memory(pipeline, [stream])[stream].bad_checkpoints
        self.change(stream, bad_checkpoints=known | {checkpoint})
        self.record(Event(pipeline, stream, EventKind.BAD_CHECKPOINT, checkpoint=checkpoint, reason=why))

    def set_state_floor(self, pipeline: str, stream: str, floor: datetime) -> None:
        self.world.done.append("floor")
        self.change(stream, state_floor=floor)

    def open_gap(self, pipeline: str, stream: str, tables: Sequence[str], description: str) -> Gap:
        gap = Gap(1, pipeline, stream, tuple(tables), description, NOW)
        self.change(stream, gaps=(*self.memory(pipeline, [stream])[stream].gaps, gap))
        self.record(Event(pipeline, stream, EventKind.GAP, reason=description))
        return gap

    def busy(self, pipeline: str, stream: str) -> bool:
        return not self.world.lock_free


class FakeHolds:
    def __init__(self, world: World) -> None:
        self.world = world

    def hold(self, pipeline: str, stream: str, reason: str, targets: Mapping[str, int]) -> None:
        self.world.done.append("hold")
        self.world.holds.append((reason, dict(targets)))

    def held(self, pipeline: str) -> None:
        return None


class FakeLanded:
    def __init__(self, world: World) -> None:
        self.world = world

    def load(self, pipeline: str, stream: str) -> Landed:
        return Landed(self.world.landed)

    def forget(self, pipeline: str, stream: str) -> None:
        self.world.landed = {}


def clients(world: World, contract: Contract) -> Clients:
    """Clients of the world's engines."""
    endpoints = SimpleNamespace(
        postgres=None,
        s3=SimpleNamespace(bucket="lake"),
        flink=SimpleNamespace(url="http://flink"),
        paimon=SimpleNamespace(warehouse="s3://lake/paimon"),
        mysql=SimpleNamespace(host="h", port=1),
        kafka=SimpleNamespace(bootstrap="h:1"),
        cassandra=SimpleNamespace(host="127.0.0.1", port=1),
    )
    views = SimpleNamespace(
        version=lambda: world.ask("couchdb"),
        ensure_database=lambda name: world.done.append(f"database {name}"),
        create_index=lambda database, name, fields: None,
    )
    return cast(
        Clients,
        SimpleNamespace(
            endpoints=endpoints,
            postgres=None,
            flink=Flink(world),
            submitter=Submitter(world),
            kafka=Kafka(world),
            connect=Connect(world),
            source=Source(world, contract),
            store=Objects(world),
            paimon=Paimon(world),
            couchdb=views,
            cassandra=SimpleNamespace(
                execute=lambda statement: world.done.append(statement.split("(")[0]),
                admit=lambda keyspace: world.done.append(f"admit to {keyspace}"),
            ),
        ),
    )
