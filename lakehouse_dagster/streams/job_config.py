"""What the jobs of the streams can be asked, typed: wrong requests are refused before anything is done."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum

import dagster as dg
from pydantic import Field, field_validator, model_validator

from lakehouse_dagster.contract.contract import Contract

# Dagster's configuration names the members of an enumeration, not their values: hence the small letters.


class StreamName(Enum):
    """Which stream."""

    connector = "connector"
    lake = "lake"
    serving = "serving"


class JobName(Enum):
    """Which Flink job; the connector writes in the source's order and cannot be sent back."""

    lake = "lake"
    serving = "serving"


class RewindTo(Enum):
    """Where a rewound job reads on."""

    earliest = "earliest"
    """The oldest records that the topics still have."""
    time = "time"
    """The first records that were written at ``time`` or later."""
    offsets = "offsets"
    """Exactly the given ``offsets``; partitions that are not named stay where they are."""


class ReconcileConfig(dg.Config):
    """Bring one stream to its declared state."""

    stream: StreamName = Field(description="Which stream.")
    reason: str = Field(default="asked for by hand", description="Told in the run's log.")
    savepoint: str | None = Field(
        default=None,
        description="Start a Flink job from this checkpoint or savepoint (s3://...) instead of the newest.",
    )


class PauseConfig(dg.Config):
    """Stop one stream and keep it stopped."""

    stream: StreamName = Field(description="Which stream.")
    reason: str = Field(default="", description="Shown wherever the stream is said to be paused.")


class ResumeConfig(dg.Config):
    """Run one stream again."""

    stream: StreamName = Field(description="Which stream.")


class UpgradeConfig(dg.Config):
    """Start one stream anew from a savepoint."""

    stream: StreamName = Field(description="Which stream.")


class RewindConfig(dg.Config):
    """Let one Flink job read again."""

    stream: JobName = Field(description="Which Flink job.")
    to: RewindTo = Field(description="Where it reads on: earliest, time or offsets.")
    time: str | None = Field(
        default=None, description="With `to: time`: ISO 8601, for example 2026-01-31T12:00:00+00:00."
    )
    offsets: dict[str, int] = Field(
        default={}, description="With `to: offsets`: `topic:partition` and the offset to read next."
    )

    @model_validator(mode="after")
    def _fits(self) -> "RewindConfig":
        if self.to is RewindTo.time and self.time is None:
            raise ValueError("`to: time` needs `time`, for example 2026-01-31T12:00:00+00:00")
        if self.to is RewindTo.offsets and not self.offsets:
            raise ValueError("`to: offsets` needs `offsets`, for example {flights.airline.flights:0: 1200}")
        if self.to is not RewindTo.time and self.time is not None:
            raise ValueError("`time` is given, so `to` must be time")
        if self.to is not RewindTo.offsets and self.offsets:
            raise ValueError("`offsets` are given, so `to` must be offsets")
        if self.time is not None:
            parse_time(self.time)
        check_offsets(self.offsets)
        return self


class ResnapshotConfig(dg.Config):
    """Read tables from the source again."""

    tables: list[str] = Field(
        default=[], description="Tables of the source. With `repair` none means: all that lack changes."
    )
    condition: str | None = Field(
        default=None, description="Only rows of which this SQL condition is true, for example `id > 5`."
    )
    repair: bool = Field(
        default=False,
        description="Also remove what was deleted in the source meanwhile, compare every row, and close the "
        "gap when nothing differs.",
    )

    @field_validator("condition")
    @classmethod
    def _not_blank(cls, condition: str | None) -> str | None:
        if condition is not None and not condition.strip():
            raise ValueError("the condition is empty; leave it out to read whole tables")
        return condition

    @model_validator(mode="after")
    def _fits(self) -> "ResnapshotConfig":
        if not self.repair and not self.tables:
            raise ValueError("name at least one table in `tables`")
        if self.repair and self.condition:
            raise ValueError("a repair compares whole tables; leave the condition out")
        return self


def parse_time(text: str) -> datetime:
    """Return the moment of an ISO 8601 text, in UTC where it names no zone.

    Raises ``ValueError`` with an example for anything else, and for moments that have not come.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no ISO 8601 time such as 2026-01-31T12:00:00+00:00") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment > datetime.now(UTC):
        raise ValueError(f"{text} has not come yet; a job can only be sent back")
    return moment


def parse_offset(text: str) -> tuple[str, int]:
    """Return partition and offset of ``topic:partition=N``; raises ``ValueError`` with an example."""
    partition, equals, offset = text.rpartition("=")
    if not equals or not offset.isdecimal():
        raise ValueError(
            f"{text!r} is not of the form topic:partition=N, such as flights.airline.flights:0=42"
        )
    check_offsets({partition: int(offset)})
    return partition, int(offset)


def check_offsets(offsets: Mapping[str, int]) -> None:
    """Raise ``ValueError`` when ``offsets`` are not of the form ``topic:partition`` to a number from 0 on."""
    for partition, offset in offsets.items():
        topic, colon, number = partition.rpartition(":")
        if not (topic and colon and number.isdecimal()):
            raise ValueError(f"{partition!r} is not of the form topic:partition, such as flights.x.y:0")
        if offset < 0:
            raise ValueError(f"offset {offset} of {partition} is negative")


def check_topics(contract: Contract, stream: str, offsets: Mapping[str, int]) -> None:
    """Raise ``ValueError`` naming the topics there are when ``stream`` does not read one of ``offsets``."""
    served = {view.table for view in contract.views}
    read = [
        contract.topic(table.name) for table in contract.tables if stream != "serving" or table.name in served
    ]
    for partition in offsets:
        if partition.rpartition(":")[0] not in read:
            raise ValueError(f"stream {stream} does not read {partition}; it reads {', '.join(read)}")


def check_tables(contract: Contract, tables: Sequence[str]) -> None:
    """Raise ``ValueError`` naming the tables there are when one of ``tables`` is not the pipeline's."""
    known = [table.name for table in contract.tables]
    unknown = [name for name in tables if name not in known]
    if unknown:
        raise ValueError(
            f"pipeline {contract.name} has no table {', '.join(unknown)}; it has {', '.join(known)}"
        )
