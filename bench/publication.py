"""What publication costs: seconds per commit, and how fresh Trino is under each visibility policy.

    python -m bench.publication commits               # 5 and 100 tables
    python -m bench.publication freshness             # every policy at 10,000 and 1,000,000 rows
    python -m bench.publication freshness --rows 1000000 --policy every:30 --seconds 120

Uses the running instance (``LAKEHOUSE_DATA``): a Flink job of its own writes a lake table of its own with the
options that a contract renders, and the publisher's own code publishes it to a Nessie branch of its own.
All is deleted at the end. Freshness is from a row's commit in the lake (its snapshot) to the first answer of
Trino that has the newest row of that snapshot.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table as Grid

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.model import Every, Pipeline, Source, Table
from lakehouse_dagster.contract.schema import Column, SchemaLock, TableSchema
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.endpoints import FLINK
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.flink import script_environment
from lakehouse_dagster.engines.s3 import ObjectStore
from lakehouse_dagster.engines.trino import TrinoClient, identifier
from lakehouse_dagster.engines.trino_catalogs import catalog_name, create_catalog, drop_catalog
from lakehouse_dagster.governance.publisher import Publisher, PublisherState
from lakehouse_dagster.proof.freshness import percentile
from lakehouse_dagster.render import paimon
from lakehouse_dagster.render.flink_sql import FlinkScript
from lakehouse_dagster.runtime.endpoints import load_endpoints
from lakehouse_dagster.runtime.settings import Settings
from lakehouse_dagster.runtime.submitter import flink_submitter

app = typer.Typer(add_completion=False, help=__doc__)
console = Console()

INTERVAL = 2
DAYS = 30
"""Partitions of the partitioned table; what changes is in one of them."""
POLICIES = ("every_commit", "every:30", "partitioned")


@cache
def as_flink(clients: Clients) -> ObjectStore:
    """The object store with the keys of Flink, who alone may write where lake tables are."""
    return ObjectStore(clients.endpoints.s3.acting(FLINK))


def contract(name: str, tables: list[Table]) -> Contract:
    """A contract of tables with a key of two columns."""
    columns = (
        Column(name="day", mysql_type="int", nullable=False, position=1),
        Column(name="id", mysql_type="int", nullable=False, position=2),
        Column(name="carrier", mysql_type="varchar(20)", nullable=True, position=3),
        Column(name="delay", mysql_type="int", nullable=True, position=4),
    )
    shapes = {t.name: TableSchema(name=t.name, columns=columns, primary_key=("day", "id")) for t in tables}
    pipeline = Pipeline(
        name=name,
        owner="team:bench",
        source=Source(database="bench"),
        tables=tuple(tables),
        checkpoint_interval_seconds=INTERVAL,
    )
    return Contract(Path("/nonexistent"), pipeline, SchemaLock(database="bench", tables=shapes), {})


@contextmanager
def own_branch(clients: Clients, name: str) -> Iterator[tuple[str, TrinoClient]]:
    """A branch and a Trino catalog over it."""
    nessie, catalog = clients.nessie, catalog_name(name)
    trino = TrinoClient(clients.endpoints.trino, catalog=catalog)
    nessie.create_reference(name, nessie.get_reference("main"))
    create_catalog(clients.endpoints, trino, catalog, name)
    try:
        yield catalog, trino
    finally:
        drop_catalog(trino, catalog)
        nessie.delete_reference(nessie.get_reference(name))


# --- commits --------------------------------------------------------------------------------------


@app.command()
def commits(
    tables: Annotated[list[int] | None, typer.Option(help="Numbers of tables.")] = None,
    rounds: Annotated[int, typer.Option(help="Publications measured of each.")] = 10,
) -> None:
    """Seconds of one publication round in which every table has news, and of one in which one of them has."""
    grid = Grid(title="Seconds per publication (one Nessie commit)")
    for column in ("tables", "all moved, median", "greatest", "one moved, median", "greatest"):
        grid.add_column(column, justify="right")
    with Clients(load_endpoints(), submitter=flink_submitter) as clients:
        for number in tables or [5, 100]:
            moved_all, moved_one = _commits(clients, number, rounds)
            cells = (median(moved_all), max(moved_all), median(moved_one), max(moved_one))
            grid.add_row(str(number), *(f"{value:.2f}" for value in cells))
    console.print(grid)


def _commits(clients: Clients, number: int, rounds: int) -> tuple[list[float], list[float]]:
    name = f"zz_bench_{uuid.uuid4().hex[:6]}"
    names = [f"t{n}" for n in range(number)]
    mine = contract(name, [Table(name=table) for table in names])
    template = _template(clients)
    state, publisher = PublisherState(), Publisher(clients.endpoints, branch=name)
    moved_all: list[float] = []
    moved_one: list[float] = []
    clients.nessie.create_reference(name, clients.nessie.get_reference("main"))
    try:
        version = 0
        for _ in track(range(rounds + 1), description=f"{number} tables", console=console):
            for some, into in ((names, moved_all), (names[:1], moved_one)):
                version += 1
                with ThreadPoolExecutor(max_workers=16) as pool:
                    list(pool.map(partial(_put, clients, mine, template, version), some))
                done = publisher.publish_once(mine, state)
                assert done is not None
                assert len(done.changed) == len(some)
                into.append(done.seconds)
    finally:
        publisher.close()
        clients.nessie.delete_reference(clients.nessie.get_reference(name))
        as_flink(clients).delete_prefix(f"{clients.paimon.warehouse}/{name}.db/")
    # The first is the one that makes the tables.
    return moved_all[1:], moved_one[1:]


def _template(clients: Clients) -> dict[str, Any]:
    """Metadata of a small published table of the sample pipeline; its manifests are read again and again."""
    state = clients.paimon.iceberg("flights", "airlines")
    if state is None:
        raise EngineError(
            "paimon", "the sample pipeline has no lake table flights.airlines yet; run make demo"
        )
    return state.metadata


def _put(clients: Clients, mine: Contract, template: dict[str, Any], version: int, table: str) -> None:
    location = clients.paimon.location(*mine.lake_path(table))
    body = json.loads(json.dumps(template))
    [snapshot] = [s for s in body["snapshots"] if s["snapshot-id"] == body["current-snapshot-id"]]
    fields = [("day", "int"), ("id", "int"), ("_position", "long"), ("_committed_at", "timestamp")]
    body |= {
        "location": location,
        "table-uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, location)),
        "current-snapshot-id": version,
        "snapshots": [{**snapshot, "snapshot-id": version, "schema-id": 0}],
        "current-schema-id": 0,
        "schemas": [
            {
                "type": "struct",
                "schema-id": 0,
                "fields": [
                    {"id": n, "name": name, "required": False, "type": kind}
                    for n, (name, kind) in enumerate(fields)
                ],
            }
        ],
    }
    store = as_flink(clients)
    store.put(f"{location}/metadata/v{version}.metadata.json", json.dumps(body).encode())
    store.put(f"{location}/metadata/version-hint.text", str(version).encode())


# --- freshness ------------------------------------------------------------------------------------


@app.command()
def freshness(
    rows: Annotated[list[int] | None, typer.Option(help="Rows of the table.")] = None,
    policy: Annotated[list[str] | None, typer.Option(help=", ".join(POLICIES))] = None,
    seconds: Annotated[int, typer.Option(help="How long each is measured, once the table is filled.")] = 90,
    rate: Annotated[int, typer.Option(help="Changes per second while measured.")] = 20,
) -> None:
    """Seconds from commit in the lake to an answer of Trino, and what it costs Flink's TaskManager."""
    began, spent = time.monotonic(), _cpu_seconds()
    time.sleep(20)
    idle = 60 * (_cpu_seconds() - spent) / (time.monotonic() - began)
    grid = Grid(
        title=f"Commit to readable in Trino, {rate} changes/s, commits every {INTERVAL} s; "
        f"the TaskManager took {idle:.1f} CPU s/min before"
    )
    for column in (
        "rows",
        "policy",
        "p50 s",
        "p95 s",
        "commits seen",
        "TaskManager CPU s/min",
        "commits/min",
    ):
        grid.add_column(column, justify="left" if column == "policy" else "right")
    with Clients(load_endpoints(), submitter=flink_submitter) as clients:
        for number in rows or [10_000, 1_000_000]:
            for kind in policy or POLICIES:
                console.print(f"{number:,} rows, {kind} ...")
                grid.add_row(f"{number:,}", kind, *_freshness(clients, number, kind, seconds, rate))
                console.print(grid)


def _table(kind: str) -> Table:
    if kind == "partitioned":
        return Table(name="t", partition_by=("day",))
    if kind.startswith("every:"):
        return Table(name="t", visible=Every(every=int(kind.removeprefix("every:"))))
    return Table(name="t")


def _freshness(clients: Clients, rows: int, kind: str, seconds: int, rate: int) -> tuple[str, ...]:
    name = f"zz_bench_{uuid.uuid4().hex[:6]}"
    mine = contract(name, [_table(kind)])
    try:
        with own_branch(clients, name) as (catalog, trino):
            return _measured(clients, mine, catalog, trino, rows, seconds, rate)
    finally:
        for job in clients.flink.jobs():
            if job.name.startswith(name) and job.alive:
                clients.flink.cancel(job.id)
        time.sleep(5)
        as_flink(clients).delete_prefix(f"{clients.paimon.warehouse}/{name}.db/")


def _measured(
    clients: Clients, mine: Contract, catalog: str, trino: TrinoClient, rows: int, seconds: int, rate: int
) -> tuple[str, ...]:
    # All days have as many rows; what changes is of the last.
    _submit(clients, mine, _fill(rows), wait=True)
    _submit(clients, mine, _changes(rows, rate), wait=False)
    samples: list[float] = []
    ended = threading.Event()
    publisher, state = Publisher(clients.endpoints, branch=mine.name), PublisherState()
    published: list[int] = []

    def publish() -> None:
        while not ended.wait(0.6):
            if publisher.publish_once(mine, state, attempts=20) is not None:
                published.append(1)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        with Clients(clients.endpoints) as other:
            _first_answer(trino, catalog, mine)
            time.sleep(15)
            before, jiffies, began = len(published), _cpu_seconds(), time.monotonic()
            _watch(other, mine, catalog, trino, seconds, samples)
            minutes = (time.monotonic() - began) / 60
            spent, done = _cpu_seconds() - jiffies, len(published) - before
    finally:
        ended.set()
        thread.join()
        publisher.close()
    ordered = sorted(samples)
    figures = [f"{percentile(ordered, share):.1f}" if ordered else "none" for share in (0.5, 0.95)]
    return (*figures, str(len(ordered)), f"{spent / minutes:.1f}", f"{done / minutes:.1f}")


def _fill(rows: int) -> str:
    return (
        "CREATE TEMPORARY TABLE `gen` (`n` INT) WITH ('connector' = 'datagen', "
        f"'number-of-rows' = '{rows}', 'rows-per-second' = '1000000', 'fields.n.kind' = 'sequence', "
        f"'fields.n.start' = '1', 'fields.n.end' = '{rows}')"
    )


def _changes(rows: int, rate: int) -> str:
    last = rows // DAYS
    return (
        "CREATE TEMPORARY TABLE `gen` (`n` INT) WITH ('connector' = 'datagen', "
        f"'rows-per-second' = '{rate}', 'fields.n.min' = '1', 'fields.n.max' = '{last}')"
    )


def _submit(clients: Clients, mine: Contract, source: str, *, wait: bool) -> None:
    # Filling spreads the keys over all days, changes hit the day 0.
    day, key = (f"MOD(`n`, {DAYS})", "`n`") if wait else ("0", f"`n` * {DAYS}")
    hint = "" if wait else paimon.write_options(mine, "t")
    insert = (
        f"INSERT INTO {paimon.table_name(mine, 't')}{hint} "  # noqa: S608 - names of our own
        "(`day`, `id`, `carrier`, `delay`, `_position`, `_gtid`, `_committed_at`, `_op`) "
        f"SELECT {day}, {key}, 'carrier', `n`, "
        "1000 * UNIX_TIMESTAMP() + EXTRACT(MILLISECOND FROM CURRENT_TIMESTAMP), CAST(NULL AS STRING), "
        "CAST(CURRENT_ROW_TIMESTAMP() AS TIMESTAMP(6)), '+I' FROM `gen`"
    )
    settings = {
        "pipeline.name": mine.name,
        "execution.runtime-mode": "BATCH" if wait else "STREAMING",
        "parallelism.default": "1",
        "execution.checkpointing.interval": f"{INTERVAL} s",
        "execution.checkpointing.min-pause": f"{INTERVAL * 750} ms",
        "table.local-time-zone": "UTC",
        "table.exec.sink.upsert-materialize": "NONE",
    }
    if wait:
        settings.pop("execution.checkpointing.interval")
        settings.pop("execution.checkpointing.min-pause")
    statements = (paimon.catalog(), paimon.database(mine), paimon.table(mine, "t"), source)
    script = FlinkScript(mine.name, settings, statements, (insert,), wait=wait)
    clients.submitter.submit(script, script_environment(clients.endpoints))


def _first_answer(trino: TrinoClient, catalog: str, mine: Contract) -> None:
    deadline = time.monotonic() + 180
    while True:
        try:
            _newest(trino, catalog, mine)
            return
        except EngineError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def _newest(trino: TrinoClient, catalog: str, mine: Contract) -> int:
    where = f"{identifier(catalog)}.{identifier(mine.name)}.t"
    return int(trino.scalar(f"SELECT max(_position) FROM {where} WHERE day = 0") or 0)  # noqa: S608


def _watch(
    clients: Clients, mine: Contract, catalog: str, trino: TrinoClient, seconds: int, samples: list[float]
) -> None:
    """Note when snapshots with rows are committed, and when Trino first shows them."""
    database, table = mine.lake_path("t")
    latest = clients.paimon.latest(database, table)
    seen = latest.id if latest else 0
    waiting: list[tuple[int, float]] = []
    end = time.monotonic() + seconds
    # What was committed until the end is waited for, so that slow answers count.
    while (going := time.monotonic() < end) or (waiting and time.monotonic() < end + 60):
        while going and (snapshot := clients.paimon.snapshot(database, table, seen + 1)) is not None:
            seen = snapshot.id
            greatest = clients.paimon.added_max(database, table, snapshot, "_position")
            if snapshot.kind == "APPEND" and greatest is not None:
                waiting.append((greatest, snapshot.committed_at.timestamp()))
        newest, now = _newest(trino, catalog, mine), time.time()
        samples += [now - at for greatest, at in waiting if greatest <= newest]
        waiting = [item for item in waiting if item[0] > newest]
        time.sleep(0.25)


def _cpu_seconds() -> float:
    """Processor seconds of the instance's TaskManager so far; other jobs of it count too."""
    mine = str(Settings.load().data).encode()
    spent = 0.0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            if b"TaskManagerRunner" in command and mine in command:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                spent += (int(fields[11]) + int(fields[12])) / 100
        except OSError:
            continue
    return spent


if __name__ == "__main__":
    app()
