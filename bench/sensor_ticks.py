"""How long a tick of the watching sensors takes, by number of tables.

    .venv/bin/python -m bench.sensor_ticks [--tables 10 100 200] [--latency-ms 3] [--ticks 5] [--json FILE]

The sensors run as they are, with the real clients, against ``bench.fake_engines`` (an object store, Nessie
and CouchDB that answer over HTTP after a fixed latency; Kafka is an object, because it speaks no HTTP) and an
ephemeral Dagster instance (SQLite in memory). ``--postgres`` uses Dagster's PostgreSQL storage at a given
address instead. A tick's time is what the sensor takes (``evaluate``); storing its events, which the daemon
does one after the other, is told apart (``store``).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import dagster as dg

from bench.fake_engines import FakeEngines, FakeKafka, synthetic_contract
from lakehouse_dagster.components.resources import ClientPool
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.layers.sensors import lake_watch, topic_watch


class FakeSource:
    """Hands out real clients, pooled as in production, of which only Kafka's is a stand-in."""

    def __init__(self, engines: FakeEngines, kafka: FakeKafka) -> None:
        self._endpoints, self._kafka, self._pool = engines.endpoints(), kafka, ClientPool()

    def clients(self, *, timeout: float = 10.0) -> Clients:
        """Return clients for one tick."""
        clients = self._pool.take(self._endpoints, timeout)
        clients.__dict__["kafka"] = self._kafka
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


def measure(contract: Contract, instance: dg.DagsterInstance, latency_ms: float, ticks: int) -> list[Row]:
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
                engines.requests()
                watched.tick()
                asked = engines.requests()
                if watched.events >= row.events:
                    row.requests, row.events = asked, watched.events
                row.evaluate.append(watched.seconds)
                row.cpu.append(watched.cpu_seconds)
                row.store.append(watched.store_seconds)

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
        f"{row.tables:6d}  {row.sensor:12} {row.tick:12} {three(row.evaluate)}  {min(row.cpu):7.3f}  "
        f"{three(row.store)} {row.events:6d}  {asked}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tables", type=int, nargs="+", default=[10, 100, 200])
    parser.add_argument("--latency-ms", type=float, default=3.0)
    parser.add_argument("--ticks", type=int, default=5)
    parser.add_argument("--postgres", help="postgresql://... of a database that may be filled with events")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    head = f"{'tables':>6}  {'sensor':12} {'tick':12} {'evaluate: min  median  max':>26} {'cpu':>7} "
    sys.stdout.write(f"{head}{'store: min  median  max':>25} events  requests\n")
    rows: list[Row] = []
    for tables in given.tables:
        with instance_at(given.postgres) as instance:
            found = measure(synthetic_contract(tables), instance, given.latency_ms, given.ticks)
        rows += found
        sys.stdout.writelines(f"{line(row)}\n" for row in found)
        sys.stdout.flush()
    if given.json:
        given.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
