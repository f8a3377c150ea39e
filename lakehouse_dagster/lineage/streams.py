"""Events of the streams: a run is one life of a stream, from a start to its stop or to the next start.

They are made from the rows of the streams' history, so whoever starts or stops a stream is told of once.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.lineage.columns import Dataset, Layer
from lakehouse_dagster.lineage.emitter import Emitter, emitter
from lakehouse_dagster.lineage.facts import dataset_facts
from lakehouse_dagster.lineage.model import DatasetFacts, Engine, Job, RunFacts, State
from lakehouse_dagster.streams.memory import Event, EventKind

if TYPE_CHECKING:
    from lakehouse_dagster.engines.clients import Clients
    from lakehouse_dagster.streams.store import StreamStore

STARTS = (EventKind.START, EventKind.UPGRADE)
LIFE = (*STARTS, EventKind.STOP)
"""Kinds of rows that begin or end a life."""
LOOK_BACK = 300
"""Older rows of a stream among which the start of its life is looked for."""

Carried = tuple[tuple[DatasetFacts, ...], tuple[DatasetFacts, ...]]
"""What a stream reads and what it writes."""


def told(rows: Iterable[Event]) -> list[Event]:
    """Those rows of which there is something to tell."""
    return [row for row in rows if row.kind in LIFE]


def stream_runs(
    contract: Contract,
    endpoints: Endpoints,
    rows: Sequence[Event],
    before: Sequence[Event],
    engines: dict[str, Engine] | None = None,
) -> Iterator[RunFacts]:
    """The events that new rows of the history make.

    Args:
        contract: Of the pipeline.
        endpoints: Of the engines.
        rows: New rows, oldest first.
        before: Older rows of the same streams, in any order: which life a row ends is told by them.
        engines: What runs each stream, by the stream's name.
    """
    lives: dict[str, Event | None] = {}
    carried = cache(lambda stream: stream_datasets(contract, endpoints, stream))
    for row in sorted(before, key=lambda row: row.id):
        lives[row.stream] = _after(lives.get(row.stream), row)
    for row in told(rows):
        life, engine = lives.get(row.stream), (engines or {}).get(row.stream)
        if life is not None and row.kind == EventKind.STOP:
            yield _fact(contract, carried, life, row, State.COMPLETE, engine)
        elif life is not None and row.ok:
            # An upgrade ends a job that ran; any other start finds one that had ended by itself.
            ended = State.COMPLETE if row.kind == EventKind.UPGRADE else State.FAIL
            error = "" if ended is State.COMPLETE else f"started again: {row.reason}"
            yield _fact(contract, carried, life, row, ended, engine, error=error)
        if row.kind in STARTS:
            yield _fact(contract, carried, row, row, State.START, engine)
            if not row.ok:
                yield _fact(contract, carried, row, row, State.FAIL, engine, error=row.reason)
        lives[row.stream] = _after(life, row)


def emit_streams(
    contract: Contract,
    clients: Clients,
    store: StreamStore,
    rows: Sequence[Event],
    *,
    to: Emitter | None = None,
) -> None:
    """Tell of the lives that new rows of the history begin and end. Raises nothing."""
    if not told(rows):
        return

    def facts() -> Iterator[RunFacts]:
        known = {row.id for row in rows}
        before = [
            row
            for stream in sorted({row.stream for row in rows})
            for row in store.history(contract.name, stream, limit=LOOK_BACK)
            if row.id not in known and row.id < max(known)
        ]
        return stream_runs(contract, clients.endpoints, rows, before, _engines(clients))

    (to or emitter()).emit(facts)


def _engines(clients: Clients) -> dict[str, Engine]:
    try:
        flink = Engine("Flink", clients.flink.overview().version)
    except EngineError:
        return {}  # it may well be away when a stream has just been lost
    return {"lake": flink, "serving": flink}


def _after(life: Event | None, row: Event) -> Event | None:
    """The row that began the life that a stream has after a row."""
    if row.kind in STARTS:
        return row if row.ok else life
    return None if row.kind == EventKind.STOP else life


def _fact(
    contract: Contract,
    carried: Callable[[str], Carried],
    life: Event,
    row: Event,
    state: State,
    engine: Engine | None,
    *,
    error: str = "",
) -> RunFacts:
    if row.at is None:
        raise ValueError(f"row {row.id} of the history has no time")
    read, written = carried(life.stream)
    return RunFacts(
        state=state,
        run_id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"stream:{life.pipeline}/{life.stream}/{life.id}")),
        at=row.at.isoformat(),
        job=_job(contract, life.stream),
        inputs=read,
        outputs=written,
        engine=engine,
        error=error,
        asked_by=row.actor,
    )


def stream_datasets(contract: Contract, endpoints: Endpoints, stream: str) -> Carried:
    """What a stream reads and what it writes.

    Raises:
        KeyError: There is no such stream.
    """
    tables = [table.name for table in contract.tables]
    views = [view.name for view in contract.views]
    served = [name for name in tables if contract.views_of(name)]
    read, written = {
        "connector": ([(Layer.SOURCE, n) for n in tables], [(Layer.TOPICS, n) for n in tables]),
        "lake": ([(Layer.TOPICS, n) for n in tables], [(Layer.LAKE, n) for n in tables]),
        "serving": ([(Layer.TOPICS, n) for n in served], [(Layer.VIEWS, n) for n in views]),
    }[stream]

    def facts(of: list[tuple[Layer, str]]) -> tuple[DatasetFacts, ...]:
        return tuple(dataset_facts(contract, endpoints, Dataset(*one)) for one in of)

    return facts(read), facts(written)


_DESCRIPTIONS = {
    "connector": "Reads the source's binary log and writes every change into its table's topic.",
    "lake": "Reads all topics and writes all lake tables, exactly once.",
    "serving": "Reads the views' topics and writes Cassandra and CouchDB at source positions.",
}


def _job(contract: Contract, stream: str) -> Job:
    connector = stream == "connector"
    return Job(
        name=f"{contract.name}.streams.{stream}",
        processing="STREAMING",
        integration="DEBEZIUM" if connector else "FLINK",
        type="CONNECTOR" if connector else "JOB",
        description=_DESCRIPTIONS[stream],
        owner=contract.owner,
    )
