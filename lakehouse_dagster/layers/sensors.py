"""Two watching sensors per pipeline, which report what the streams and the publisher have done since their
cursor.

A tick is short and never fails: what cannot be read is told as the tick's skip reason with the fix, what can
be read is reported all the same, and the cursor only moves past what was reported.
"""

import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import dagster as dg

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.clients import Clients, ClientSource
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.layers import events
from lakehouse_dagster.layers.collect import TopicOffsets, collect_publications, collect_tables
from lakehouse_dagster.layers.observe import (
    CursorError,
    LakeCursor,
    TopicCursor,
    lake_news,
    publication_news,
    topic_news,
    view_news,
)

WATCH_SECONDS = 5
"""Least time between two ticks of a watching sensor."""
TIMEOUT_SECONDS = 2.0
"""Deadline of a single request; a tick that met a slow engine simply finds more news next time."""

T = TypeVar("T")


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


def lake_watch(contract: Contract) -> dg.SensorDefinition:
    """Return the sensor that reports new snapshots of the lake tables, and publications."""

    @dg.sensor(
        name=f"{contract.name}_lake_watch",
        description="Reports every new snapshot of the lake tables and every publication to Nessie.",
        minimum_interval_seconds=WATCH_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        tags={"pipeline": contract.name},
    )
    def watch(
        context: dg.SensorEvaluationContext, lakehouse: dg.ResourceParam[ClientSource]
    ) -> dg.SensorResult | dg.SkipReason:
        try:
            cursor = LakeCursor.parse(context.cursor)
            clients = lakehouse.clients(timeout=TIMEOUT_SECONDS)
        except (CursorError, EngineError) as error:
            return dg.SkipReason(str(error))
        with clients, ThreadPoolExecutor(max_workers=2) as pool:
            asked_tables = pool.submit(read, lambda: collect_tables(clients.paimon, contract, cursor))
            asked_history = pool.submit(read, lambda: collect_publications(clients.nessie, contract, cursor))
            tables, history = asked_tables.result(), asked_history.result()
        news, cursor = lake_news(cursor, tables.value or [])
        published, cursor = publication_news(cursor, history.value or [])
        found: list[events.AssetEvent] = [events.lake_event(contract.name, item) for item in news]
        if published:
            found.append(events.publication_event(contract.name, published))
        return result(found, cursor.dump(), [tables.problem, history.problem])

    return watch


def topic_watch(contract: Contract) -> dg.SensorDefinition:
    """Return the sensor that reports new messages in the topics, the readers' lag, and what the views have
    taken in.
    """

    @dg.sensor(
        name=f"{contract.name}_topic_watch",
        description="Reports new messages of the topics with their readers' lag, and what the views have "
        "taken in.",
        minimum_interval_seconds=WATCH_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        tags={"pipeline": contract.name},
    )
    def watch(
        context: dg.SensorEvaluationContext, lakehouse: dg.ResourceParam[ClientSource]
    ) -> dg.SensorResult | dg.SkipReason:
        try:
            cursor = TopicCursor.parse(context.cursor)
            clients = lakehouse.clients(timeout=TIMEOUT_SECONDS)
        except (CursorError, EngineError) as error:
            return dg.SkipReason(str(error))
        with clients, ThreadPoolExecutor(max_workers=2) as pool:
            asked_offsets = pool.submit(read, lambda: TopicOffsets(clients.kafka, contract))
            asked_documents = pool.submit(read, lambda: count_documents(clients, contract))
            offsets, documents = asked_offsets.result(), asked_documents.result()
        problems = [offsets.problem, documents.problem]
        if offsets.value is None:
            return result([], cursor.dump(), problems)
        topics, cursor = topic_news(cursor, offsets.value.topics())
        views, cursor = view_news(cursor, offsets.value.views((documents.value or {}).get))
        found: list[events.AssetEvent] = [
            *(events.topic_event(contract.name, contract.topic(item.table), item) for item in topics),
            *(events.view_event(contract.name, item) for item in views),
        ]
        return result(found, cursor.dump(), problems)

    return watch


def count_documents(clients: Clients, contract: Contract) -> dict[str, int]:
    """Return the number of documents per CouchDB view that exists; the engine keeps the count, so asking is
    cheap.
    """
    databases = [view.name for view in contract.views if view.engine == "couchdb"]
    found = {name: clients.couchdb.info(name) for name in databases}
    return {name: info.doc_count for name, info in found.items() if info is not None}


def result(found: Sequence[events.AssetEvent], cursor: str, problems: Sequence[str]) -> dg.SensorResult:
    """Return a tick's result: what was found, and in words what could not be read."""
    names = [event.asset_key.to_user_string() for event in found]
    said = [f"news of {', '.join(names)}" if names else "nothing new"]
    said = [problem for problem in problems if problem] + (said if names or not any(problems) else [])
    # A tick that asks for no run always gives a reason; Dagster shows it, and takes the events and the
    # cursor.
    return dg.SensorResult(
        asset_events=list(found), cursor=cursor, skip_reason=dg.SkipReason("; ".join(said))
    )
