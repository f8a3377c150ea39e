"""How long a tick of the watching sensors takes, by number of tables.

    .venv/bin/python -m bench.sensor_ticks [--tables 10 100 200] [--latency-ms 3] [--ticks 5] [--json FILE]
        [--memory postgresql://USER:PASSWORD@HOST:PORT/DATABASE] [--only SENSOR ...]

The sensors run as they are, with the real clients, against ``bench.fake_engines`` (an object store, Nessie,
CouchDB, Flink and Kafka Connect that answer over HTTP after a fixed latency; Kafka and MySQL are objects,
because they speak no HTTP) and an ephemeral Dagster instance (SQLite in memory). ``--postgres`` uses
Dagster's PostgreSQL storage at a given address instead. ``streams`` is measured only with ``--memory``: a
real PostgreSQL for what it remembers, whose rows of the pipeline ``bench`` are deleted. A tick's time is what
the sensor takes (``evaluate``); storing its events, which the daemon does one after the other, is told apart
(``store``).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import dagster as dg
from pydantic import SecretStr

from bench.fake_engines import PIPELINE, FakeEngines, FakeKafka, FakeMySql, synthetic_contract
from lakehouse_dagster.components.resources import ClientPool
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.endpoints import Endpoints, PostgresEndpoint
from lakehouse_dagster.engines.postgres import PostgresClient
from lakehouse_dagster.layers.sensors import lake_watch, topic_watch
from lakehouse_dagster.streams import observe_job
from lakehouse_dagster.streams.assets import CONNECTOR, LAKE, SERVING, streams_of
from lakehouse_dagster.streams.decision import Kind
from lakehouse_dagster.streams.jobs import reconcile_job
from lakehouse_dagster.streams.plan import SPEC_PARAMETER, STATE_PARAMETER, connector_config, flink_script
from lakehouse_dagster.streams.sensor import streams_sensor
from lakehouse_dagster.streams.store import StreamStore


class FakeSource:
    """Hands out real clients, pooled as in production, but for the stand-ins given."""

    def __init__(
        self,
        engines: FakeEngines,
        kafka: FakeKafka | None,
        mysql: FakeMySql | None = None,
        *,
        endpoints: Endpoints | None = None,
    ) -> None:
        self._endpoints, self._pool = endpoints or engines.endpoints(), ClientPool()
        given = {"kafka": kafka, "source": mysql}
        self._stand_ins = {name: made for name, made in given.items() if made is not None}

    def clients(self, *, timeout: float = 10.0) -> Clients:
        """Return clients for one tick."""
        clients = self._pool.take(self._endpoints, timeout)
        clients.__dict__.update(self._stand_ins)
        # Nothing is submitted, so the Flink client need not be installed.
        clients._submitter = lambda: cast(Any, None)
        return clients


@dataclass
class Watched:
    """A sensor, the cursor it left behind, and what its ticks cost."""

    sensor: dg.SensorDefinition
    source: FakeSource
    instance: dg.DagsterInstance
    cursor: str | None = None
    events: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    store_seconds: float = 0.0

    def tick(self) -> None:
        """Evaluate once, then store events and cursor as the daemon does."""
        started, cpu = time.perf_counter(), time.process_time()
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursor) as context:
            result = self.sensor(context, lakehouse=self.source)
        evaluated = time.perf_counter()
        self.cpu_seconds = time.process_time() - cpu
        if isinstance(result, dg.SkipReason):
            raise RuntimeError(result.skip_message)
        assert isinstance(result, dg.SensorResult)
        for event in result.asset_events:
            self.instance.report_runless_asset_event(cast(Any, event))
        self.cursor = result.cursor
        self.events = len(result.asset_events)
        self.seconds, self.store_seconds = evaluated - started, time.perf_counter() - evaluated


@dataclass
class Row:
    """One line of the table: a sensor, a kind of tick, and the times in seconds."""

    tables: int
    sensor: str
    tick: str
    evaluate: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    store: list[float] = field(default_factory=list)
    requests: dict[str, int] = field(default_factory=dict)
    events: int = 0
    """Of the tick with most events, as are the requests; fewer than objects where all ran out of time."""

    def tick_once(self, watched: Watched, engines: FakeEngines) -> None:
        """Tick and add what it cost."""
        engines.requests()
        watched.tick()
        asked = engines.requests()
        if watched.events >= self.events:
            self.requests, self.events = asked, watched.events
        self.evaluate.append(watched.seconds)
        self.cpu.append(watched.cpu_seconds)
        self.store.append(watched.store_seconds)


def measure_watchers(
    contract: Contract, instance: dg.DagsterInstance, latency_ms: float, ticks: int
) -> list[Row]:
    """Return the costs of first ticks, of ticks with news of every table, and of ticks without."""
    rows: list[Row] = []
    builders: dict[str, Callable[[Contract], dg.SensorDefinition]] = {
        "lake_watch": lake_watch,
        "topic_watch": topic_watch,
    }
    tables = len(contract.tables)
    with FakeEngines(tables, latency_ms=latency_ms) as engines:
        kafka = FakeKafka(contract, latency_ms)
        for name, build in builders.items():
            watched = Watched(build(contract), FakeSource(engines, kafka), instance)

            def tick(row: Row, *, news: bool, watched: Watched = watched) -> None:
                if news:
                    engines.advance()
                    kafka.advance()
                row.tick_once(watched, engines)

            def settle(row: Row, *, tick: Callable[..., None] = tick, watched: Watched = watched) -> int:
                """Tick until nothing is new; return the number of events."""
                told = watched.events
                while True:
                    tick(row, news=False)
                    told += watched.events
                    if told and not watched.events:
                        return told

            first, news, none = (Row(tables, name, kind) for kind in ("first", "news of all", "no news"))
            told = settle(first)
            for _ in range(ticks):
                tick(news, news=True)
            tick(rest := Row(tables, name, "rest"), news=True)
            settle(rest)
            for _ in range(ticks):
                tick(none, news=False)
            objects = tables + 1 if name == "lake_watch" else tables + len(contract.views)
            if told != objects or none.events:
                raise RuntimeError(f"{name}: told of {told} objects, there are {objects}")
            rows += [first, news, none]
    return rows


# --- the streams ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """How the streams and their engines are while ticks of ``<pipeline>_streams`` are measured."""

    name: str
    down: frozenset[str] = frozenset()
    """Streams that do not run."""
    away: frozenset[str] = frozenset()
    """Engines at whose address nobody listens; where they are named, their clients are real ones."""
    compared: bool = False
    """Every tick compares the lake tables' schemas, as otherwise one a minute does."""
    expected: frozenset[str] = frozenset({"running"})
    """Rules of the table that must have decided, so that what is measured is what was meant."""


CASES = (
    Case("all run"),
    Case("lake down", frozenset({LAKE}), expected=frozenset({"running", "absent or failed"})),
    Case(
        "lake compared", frozenset({LAKE}), compared=True, expected=frozenset({"running", "absent or failed"})
    ),
    Case("streams down", frozenset({CONNECTOR, LAKE, SERVING}), expected=frozenset({"absent or failed"})),
    Case(
        "others away",
        frozenset({CONNECTOR, LAKE, SERVING}),
        frozenset({"mysql", "kafka", "minio"}),
        expected=frozenset({"prerequisite missing"}),
    ),
    Case(
        "all away",
        frozenset({CONNECTOR, LAKE, SERVING}),
        frozenset({"mysql", "kafka", "minio", "flink", "connect", "couchdb"}),
        expected=frozenset({"unreachable"}),
    ),
)


def measure_streams(
    contract: Contract, instance: dg.DagsterInstance, latency_ms: float, ticks: int, memory: PostgresEndpoint
) -> list[Row]:
    """Return the costs of ticks of the streams sensor in every case; its first tick, which warms up, is not
    among them.
    """
    rows = []
    with FakeEngines(len(contract.tables), latency_ms=latency_ms) as engines:
        sensor = streams_sensor(contract, reconcile_job(contract))
        for case in CASES:
            endpoints = engines.endpoints(away=case.away).model_copy(update={"postgres": memory})
            kafka = None if "kafka" in case.away else FakeKafka(contract, latency_ms)
            mysql = None if "mysql" in case.away else FakeMySql(contract, latency_ms)
            forget(memory)
            watched = Watched(sensor, FakeSource(engines, kafka, mysql, endpoints=endpoints), instance)
            for row in (
                Row(len(contract.tables), "streams", "warming up"),
                Row(len(contract.tables), "streams", case.name),
            ):
                for _ in range(ticks if row.tick == case.name else 1):
                    engines.say(answers(contract, endpoints, case.down))
                    engines.keep(checkpoints(contract))
                    if case.compared:
                        observe_job._DRIFT.clear()
                    row.tick_once(watched, engines)
            rows.append(row)
            with PostgresClient(memory) as postgres:
                decided = StreamStore(postgres).memory(
                    PIPELINE, [stream.name for stream in streams_of(contract)]
                )
            rules = {found.last.rule for found in decided.values() if found.last}
            if rules != case.expected:
                said = {name: found.last.reason for name, found in decided.items() if found.last}
                raise RuntimeError(f"{case.name}: decided by {sorted(rules)}: {said}")
    return rows


def answers(contract: Contract, endpoints: Endpoints, down: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return what Flink and Kafka Connect answer when all streams but ``down`` run well."""
    now = int(time.time() * 1000)
    slots = {"taskmanagers": 1, "slots-total": 8, "slots-available": 4, "jobs-running": 2}
    jobs: list[dict[str, Any]] = []
    flink: dict[str, Any] = {
        "/overview": {"flink-version": "1.20.5", **slots},
        "/jobs/overview": {"jobs": jobs},
    }
    connect: dict[str, Any] = {"/connectors": ["another"]}
    for stream in streams_of(contract):
        if stream.name in down:
            continue
        name = stream.engine_name
        if stream.kind is Kind.CONNECTOR:
            path = f"/connectors/{name}"
            task = {"id": 0, "state": "RUNNING", "worker_id": "w"}
            offset = {"gtids": "g:1-9", "file": "binlog.000002", "pos": 1600}
            connect |= {
                "/connectors": [name],
                f"{path}/status": {"name": name, "connector": {"state": "RUNNING"}, "tasks": [task]},
                f"{path}/config": {**connector_config(contract, endpoints), "name": name},
                f"{path}/offsets": {"offsets": [{"partition": {"server": "s"}, "offset": offset}]},
            }
            continue
        script = flink_script(contract, stream)
        # A job's parameters never change, so its name decides its id.
        job = hashlib.sha256(name.encode()).hexdigest()[:32]
        tasks = {"total": len(contract.tables), "running": len(contract.tables)}
        started = {"start-time": now - 100_000, "end-time": -1}
        jobs.append({"jid": job, "name": name, "state": "RUNNING", **started, "tasks": tasks})
        parameters = {SPEC_PARAMETER: script.spec_hash, STATE_PARAMETER: script.state_hash}
        newest = {"id": 7, "external_path": "s3://lake/x/chk-7", "latest_ack_timestamp": now - 1000}
        counts = {"completed": 7, "failed": 0, "in_progress": 0, "restored": 0}
        flink |= {
            f"/jobs/{job}/config": {"execution-config": {"user-config": parameters}},
            f"/jobs/{job}/checkpoints": {"counts": counts, "latest": {"completed": newest}},
            f"/jobs/{job}/exceptions": {"exceptionHistory": {"entries": []}},
            f"/jobs/{job}/metrics": [{"id": "numRestarts", "value": "0"}],
        }
    return {"flink": flink, "connect": connect}


def checkpoints(contract: Contract) -> list[str]:
    """Return what the object store lists of two ended jobs of each Flink stream."""
    scripts = [
        flink_script(contract, stream) for stream in streams_of(contract) if stream.kind is Kind.FLINK_JOB
    ]
    return [
        f"flink/checkpoints/{script.name}/{script.state_hash}/{job:032x}/{name}"
        for script in scripts
        for job in range(2)
        for name in [*(f"chk-{n}/_metadata" for n in range(3)), *(f"shared/{n:036x}" for n in range(20))]
    ]


def forget(memory: PostgresEndpoint) -> None:
    """Delete what is remembered of the pipeline."""
    with PostgresClient(memory) as postgres:
        StreamStore(postgres).memory(PIPELINE, [LAKE])  # makes the tables
        for table in ("stream_event", "stream"):
            postgres.execute(f"DELETE FROM lakehouse.{table} WHERE pipeline = %s", (PIPELINE,))  # noqa: S608


# --- all together ---------------------------------------------------------------------------------


@contextmanager
def instance_at(postgres: str | None) -> Iterator[dg.DagsterInstance]:
    """Return an ephemeral instance, or one that stores in PostgreSQL at that address."""
    if postgres is None:
        with dg.DagsterInstance.ephemeral() as instance:
            yield instance
        return
    with tempfile.TemporaryDirectory() as home:
        storage = {"postgres": {"postgres_url": postgres}}
        (Path(home) / "dagster.yaml").write_text(json.dumps({"storage": storage}), encoding="utf-8")
        with dg.DagsterInstance.from_config(home) as instance:
            yield instance


def line(row: Row) -> str:
    """Return one row of the printed table."""

    def three(values: list[float]) -> str:
        return f"{min(values):7.3f} {statistics.median(values):7.3f} {max(values):7.3f}"

    asked = ", ".join(f"{engine} {count}" for engine, count in sorted(row.requests.items()))
    return (
        f"{row.tables:6d}  {row.sensor:12} {row.tick:13} {three(row.evaluate)}  {min(row.cpu):7.3f}  "
        f"{three(row.store)} {row.events:6d}  {asked}"
    )


def endpoint(url: str) -> PostgresEndpoint:
    """Return the database at ``url``."""
    at = urlsplit(url)
    return PostgresEndpoint(
        host=at.hostname or "127.0.0.1",
        port=at.port or 5432,
        user=unquote(at.username or ""),
        password=SecretStr(unquote(at.password or "")),
        database=at.path.strip("/"),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tables", type=int, nargs="+", default=[10, 100, 200])
    parser.add_argument("--latency-ms", type=float, default=3.0)
    parser.add_argument("--ticks", type=int, default=5)
    parser.add_argument("--postgres", help="postgresql://... of a database that may be filled with events")
    parser.add_argument("--memory", help="postgresql://... for what the streams sensor remembers")
    parser.add_argument("--only", nargs="+", choices=["watchers", "streams"], default=["watchers", "streams"])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    memory = endpoint(given.memory) if given.memory else None
    if memory is None:
        sys.stdout.write("streams: not measured; --memory names a PostgreSQL for it\n")
    else:
        sys.stdout.write(
            f"streams: memory in a real PostgreSQL at {memory.host}:{memory.port}; Kafka, MySQL: objects\n"
        )
    head = f"{'tables':>6}  {'sensor':12} {'tick':13} {'evaluate: min  median  max':>26} {'cpu':>7} "
    sys.stdout.write(f"{head}{'store: min  median  max':>25} events  requests\n")
    rows: list[Row] = []
    for tables in given.tables:
        with instance_at(given.postgres) as instance:
            contract = synthetic_contract(tables)
            found: list[Row] = []
            if "watchers" in given.only:
                found += measure_watchers(contract, instance, given.latency_ms, given.ticks)
            if "streams" in given.only and memory is not None:
                found += measure_streams(contract, instance, given.latency_ms, given.ticks, memory)
        rows += found
        sys.stdout.writelines(f"{line(row)}\n" for row in found)
        sys.stdout.flush()
    if given.json:
        given.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
