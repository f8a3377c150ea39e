"""One change on its way: what is known of it at every hop, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from lakehouse_dagster.contract.position import decode

NO_CLOCK: Final = "keeps no time of arrival"
"""Note of a place that does not tell when a change got there."""


class Operation(StrEnum):
    """What a change did to its row."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    SNAPSHOT = "snapshot"
    """The row was read as it stood, by the connector's snapshot."""
    REPAIR = "repair"
    """The row was written into the topic anew by a repair."""


@dataclass(frozen=True)
class Change:
    """A change of a row, as its record in the topic tells it.

    Attributes:
        key: Canonical texts of the primary key, by column.
        values: Canonical texts of the row after the change (before it, for a delete).
        position: The source position.
        file: Binary log file. ``pos`` is the event's byte in it, ``row`` the row within the event.
        gtid: None in rows of a snapshot.
        committed_at: When the source committed it; for a row of a snapshot when it was read.
        recorded_at: The record's time in the topic.
    """

    table: str
    key: Mapping[str, str | None]
    values: Mapping[str, str | None]
    operation: Operation
    position: int
    epoch: int
    file: str
    pos: int
    row: int
    gtid: str | None
    committed_at: datetime
    topic: str
    offset: int
    recorded_at: datetime
    partition: int = 0

    @property
    def deletes(self) -> bool:
        """Whether it removed the row."""
        return self.operation is Operation.DELETE

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        at = decode(self.position)
        return {
            "operation": self.operation.value,
            "position": self.position,
            "decoded": {"epoch": at.epoch, "file": at.file_number, "pos": at.pos, "row": at.row},
            "binlog": {"file": self.file, "pos": self.pos, "row": self.row},
            "gtid": self.gtid,
            "committed_at": self.committed_at.isoformat(),
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset,
            "recorded_at": self.recorded_at.isoformat(),
            "values": dict(self.values),
        }


class Arrival(StrEnum):
    """How a hop stands to a change."""

    HERE = "here"
    """It shows the change."""
    PASSED = "passed"
    """It has shown it, and shows a later change of the row now."""
    WAITING = "not yet"
    UNKNOWN = "unknown"
    """It cannot be told (any more); the note says why."""
    FAILED = "failed"
    """The engine could not be asked; the note has its words."""


@dataclass(frozen=True)
class Hop:
    """A place on the way.

    ``at`` is when the change got there by the place's own clock, None where it keeps none; ``facts`` are what
    it shows, ready for JSON.
    """

    place: str
    name: str
    arrival: Arrival
    at: datetime | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Journey:
    """A change and its hops, in the order of the way. ``offsets`` are those of all records of its key that
    were found, ascending: the newest part of the row's history.
    """

    pipeline: str
    change: Change
    hops: tuple[Hop, ...]
    offsets: tuple[int, ...] = ()

    def seconds(self, hop: Hop) -> float | None:
        """Seconds from the commit in the source to a hop; None where no clock tells."""
        return None if hop.at is None else (hop.at - self.change.committed_at).total_seconds()

    @property
    def complete(self) -> bool:
        """Whether every hop shows the change or a later one."""
        return all(hop.arrival in (Arrival.HERE, Arrival.PASSED) for hop in self.hops)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "pipeline": self.pipeline,
            "table": self.change.table,
            "key": dict(self.change.key),
            "change": self.change.to_json(),
            "hops": [
                {
                    "place": hop.place,
                    "name": hop.name,
                    "arrival": hop.arrival.value,
                    "at": hop.at.isoformat() if hop.at else None,
                    "seconds_after_commit": self.seconds(hop),
                    "facts": dict(hop.facts),
                    "note": hop.note or None,
                }
                for hop in self.hops
            ],
            "offsets_of_key": list(self.offsets),
        }
