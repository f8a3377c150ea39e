"""Two watching sensors per pipeline, which report what the streams and the publisher have done since their
cursor.

A tick is short and never fails: what cannot be read is told as the tick's skip reason with the fix, what can
be read is reported all the same, and the cursor only moves past what was reported. The daemon may be killed
at any moment: a tick begins by bringing its cursor forward over the events that are recorded already
(``layers.recorded``).

To have everything reported once more, an operator resets a sensor's cursor in Dagster's UI. The next tick
then notes where the event log stands and reports nothing, the one after it reports everything: nothing
recorded before the reset holds it back, and a daemon that is killed amid the first report does not repeat it.
"""

import traceback
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import dagster as dg

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.clients import Clients, ClientSource
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.layers import events
from lakehouse_dagster.layers.collect import (
    PROBE_SECONDS,
    TopicOffsets,
    collect_publications,
    collect_tables,
)
from lakehouse_dagster.layers.observe import (
    CursorError,
    LakeCursor,
    TopicCursor,
    TopicNews,
    ViewNews,
    bring_forward,
    lake_news,
    publication_news,
    take,
    topic_news,
    view_news,
)
from lakehouse_dagster.layers.recorded import newest_id, recorded_since

WATCH_SECONDS = 5
"""Least time between two ticks of a watching sensor."""
TIMEOUT_SECONDS = 2.0
"""Deadline of a single request; a tick that met a slow engine simply finds more news next time."""
ENOUGH_EVENTS = 50
"""Pieces of news that a tick reports, about; the next tick goes on. The daemon stores the events of a tick
one by one, at 15 ms or more each in PostgreSQL, before the sensor ticks again.
"""
COUNTERS = 8
"""CouchDB databases that are asked for their size at the same time."""
SHOWN = 20
"""Assets and problems named in a tick's skip reason at most."""

T = TypeVar("T")
C = TypeVar("C", LakeCursor, TopicCursor)


@dataclass(frozen=True)
class Reading(Generic[T]):
    """What one engine said, or why it said nothing."""

    value: T | None = None
    problem: str = ""


def read(question: Callable[[], T]) -> Reading[T]:
    """Ask; an engine's error is an answer too, anything unexpected is told with its place in the code."""
    try:
        return Reading(question())
    except EngineError as error:
        return Reading(problem=str(error))
    except Exception as error:  # a watching sensor must not stop watching the other engines
        place = traceback.extract_tb(error.__traceback__)[-1]
        return Reading(problem=f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})")


@dataclass(frozen=True)
class Found(Generic[C]):
    """What a tick found: the events to record, the cursor to store after them, and what could not be read."""

    events: Sequence[events.AssetEvent]
    cursor: C
    problems: Sequence[str] = ()


Look = Callable[[Clients, Contract, C], Found[C]]
"""Asks the engines what is new since a cursor."""


def lake_watch(contract: Contract) -> dg.SensorDefinition:
    """Return the sensor that reports new snapshots of the lake tables, and publications."""
    description = "Reports every new snapshot of the lake tables and every publication to Nessie."
    return _watch(contract, "lake_watch", description, LakeCursor, look_at_lake)


def topic_watch(contract: Contract) -> dg.SensorDefinition:
    """Return the sensor that reports new messages in the topics, the readers' lag, and what the views have
    taken in.
    """
    description = (
        "Reports new messages of the topics with their readers' lag, and what the views have taken in."
    )
    return _watch(contract, "topic_watch", description, TopicCursor, look_at_topics)


def _watch(
    contract: Contract, name: str, description: str, cursor_type: type[C], look: Look[C]
) -> dg.SensorDefinition:
    @dg.sensor(
        name=f"{contract.name}_{name}",
        description=description,
        minimum_interval_seconds=WATCH_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        tags={"pipeline": contract.name},
    )
    def watch(
        context: dg.SensorEvaluationContext, lakehouse: dg.ResourceParam[ClientSource]
    ) -> dg.SensorResult | dg.SkipReason:
        try:
            cursor = cursor_type.parse(context.cursor)
        except CursorError as error:
            return dg.SkipReason(str(error))
        if cursor.after is None:
            # Nothing is reported before this is stored: a cursor without it cannot tell whether the events in
            # the log are what an operator wants to have once more, or those of a tick that was killed.
            noted = cursor.model_copy(update={"after": newest_id(context.instance)})
            return result([], noted, ["the cursor is new; the next tick reports what there is"])
        recorded = recorded_since(context.instance, contract.name, cursor.after)
        cursor = bring_forward(cursor, recorded.marks).model_copy(update={"after": recorded.upto})
        if not recorded.complete:
            return result([], cursor, ["more events were recorded than one tick reads; the next one goes on"])
        try:
            clients = lakehouse.clients(timeout=TIMEOUT_SECONDS)
        except EngineError as error:
            return dg.SkipReason(str(error))
        with clients:
            found = look(clients, contract, cursor)
        return result(found.events, found.cursor, found.problems)

    return watch


def look_at_lake(clients: Clients, contract: Contract, cursor: LakeCursor) -> Found[LakeCursor]:
    """Ask the object store and Nessie, at the same time."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        asked_tables = pool.submit(
            read, lambda: collect_tables(clients.paimon, contract, cursor, most=ENOUGH_EVENTS)
        )
        asked_history = pool.submit(read, lambda: collect_publications(clients.nessie, contract, cursor))
        tables, history = asked_tables.result(), asked_history.result()
    problems = [tables.problem, history.problem]
    found: list[events.AssetEvent] = []
    if tables.value is not None:
        news, cursor = lake_news(cursor, tables.value.statuses)
        cursor = cursor.model_copy(update={"turn": tables.value.turn})
        problems += tables.value.problems
        if tables.value.turn is not None:
            problems.append(f"the next tick goes on with the table {tables.value.turn}")
        found += (events.lake_event(contract.name, item) for item in news)
    if history.value is not None:
        published, cursor = publication_news(
            cursor, history.value.commits, probe=probe.table if (probe := contract.pipeline.probe) else None
        )
        cursor = cursor.model_copy(update={"head": history.value.head})
        if published:
            found.append(events.publication_event(contract.name, published))
    return Found(found, cursor, problems)


def look_at_topics(clients: Clients, contract: Contract, cursor: TopicCursor) -> Found[TopicCursor]:
    """Ask Kafka and CouchDB, at the same time."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        asked_offsets = pool.submit(read, lambda: TopicOffsets(clients.kafka, contract))
        asked_documents = pool.submit(read, lambda: count_documents(clients, contract))
        offsets, documents = asked_offsets.result(), asked_documents.result()
    problems = [offsets.problem, documents.problem]
    if offsets.value is None:
        return Found([], cursor, problems)
    topics, _ = topic_news(cursor, offsets.value.topics())
    views, _ = view_news(cursor, offsets.value.views((documents.value or {}).get))
    topics = [item for item in topics if not _too_soon(contract, item.table, item)]
    views = [item for item in views if not _too_soon(contract, contract.view(item.view).table, item)]
    news, cursor = take(cursor, topics, views, most=ENOUGH_EVENTS)
    if cursor.turn is not None:
        problems.append(f"the next tick goes on with {cursor.turn}")
    found = [
        events.view_event(contract.name, item)
        if isinstance(item, ViewNews)
        else events.topic_event(contract.name, contract.topic(item.table), item)
        for item in news
    ]
    return Found(found, cursor, problems)


def _too_soon(contract: Contract, table: str, item: TopicNews | ViewNews) -> bool:
    """Whether it is news of less than a minute or so of the probe's table, which is written all the time."""
    probe = contract.pipeline.probe
    if probe is None or probe.table != table or item.restarted:
        return False
    return item.messages < PROBE_SECONDS / probe.every_seconds


def count_documents(clients: Clients, contract: Contract) -> dict[str, int]:
    """Return the number of documents per CouchDB view that exists; the engine keeps the count, so asking is
    cheap.
    """
    databases = [view.name for view in contract.views if view.engine == "couchdb"]
    if not databases:
        return {}
    couchdb = clients.couchdb  # made before the threads share it
    with ThreadPoolExecutor(max_workers=min(COUNTERS, len(databases))) as pool:
        found = dict(zip(databases, pool.map(couchdb.info, databases), strict=True))
    return {name: info.doc_count for name, info in found.items() if info is not None}


def result(
    found: Sequence[events.AssetEvent], cursor: LakeCursor | TopicCursor, problems: Iterable[str]
) -> dg.SensorResult:
    """Return a tick's result: what was found, and in words what could not be read."""
    names = [event.asset_key.to_user_string() for event in found]
    said = _first([problem for problem in problems if problem])
    if names:
        said.append(f"news of {', '.join(_first(names))}")
    # A tick that asks for no run always gives a reason; Dagster shows it, and takes the events and the
    # cursor.
    return dg.SensorResult(
        asset_events=list(found),
        cursor=cursor.dump(),
        skip_reason=dg.SkipReason("; ".join(said) or "nothing new"),
    )


def _first(texts: Sequence[str]) -> list[str]:
    """Return the texts, or the first of too many and how many more there are."""
    return [*texts[:SHOWN], *([f"{len(texts) - SHOWN} more"] if len(texts) > SHOWN else [])]
