"""The streams as assets: what writes the topics, the lake tables and the views, with its state as live
metadata.
"""

from __future__ import annotations

from dataclasses import dataclass

import dagster as dg

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.layers import keys
from lakehouse_dagster.layers.describe import asset_spec
from lakehouse_dagster.streams.decision import Kind

LAYER = "streams"
CONNECTOR = "connector"
LAKE = "lake"
SERVING = "serving"


@dataclass(frozen=True)
class Stream:
    """A stream of a pipeline; ``engine_name`` is what the connector or Flink job is called in its engine."""

    name: str
    kind: Kind
    engine_name: str


def streams_of(contract: Contract) -> tuple[Stream, ...]:
    """Return the streams that ``contract`` needs, in the order of the data's way."""
    streams = [
        Stream(CONNECTOR, Kind.CONNECTOR, f"{contract.name}-mysql"),
        Stream(LAKE, Kind.FLINK_JOB, f"{contract.name}-lake"),
    ]
    if contract.views:
        streams.append(Stream(SERVING, Kind.FLINK_JOB, f"{contract.name}-serving"))
    return tuple(streams)


def stream_of(contract: Contract, name: str) -> Stream:
    """Return the stream called ``name``; raises ``KeyError`` naming those there are."""
    known = {stream.name: stream for stream in streams_of(contract)}
    if name not in known:
        raise KeyError(f"pipeline {contract.name} has no stream {name!r}; it has {', '.join(known)}")
    return known[name]


_JOBS = ("pause_stream", "resume_stream", "upgrade_stream", "rewind_stream", "resnapshot")

_DESCRIPTIONS = {
    CONNECTOR: "The Debezium connector `{}` in Kafka Connect: reads the source's binary log and writes the "
    "topics.",
    LAKE: "The Flink job `{}`: reads all topics and writes all lake tables, exactly once, one commit per "
    "checkpoint.",
    SERVING: "The Flink job `{}`: reads the views' topics and writes Cassandra and CouchDB at source "
    "positions.",
}


def stream_specs(contract: Contract) -> list[dg.AssetSpec]:
    """Return one external asset per stream.

    Dagster has them started and stopped and tells every decision as an event; it never owns their processes,
    so they outlive it.
    """
    return [
        asset_spec(
            contract,
            LAYER,
            keys.stream(contract.name, stream.name),
            description=_DESCRIPTIONS[stream.name].format(stream.engine_name)
            + f" Kept as declared by the sensor `{contract.name}_streams`: started again after any failure, "
            "from its newest state, with growing pauses; stopped, with the reason told, where going on would "
            "lose or garble changes. By hand: `lakehouse streams`, or the jobs "
            + ", ".join(f"`{contract.name}_{job}`" for job in _JOBS)
            + ".",
            kinds={"kafka", "debezium"} if stream.kind is Kind.CONNECTOR else {"flink", "stream"},
            table_name=stream.engine_name,
        )
        for stream in streams_of(contract)
    ]
