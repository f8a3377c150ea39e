"""The topics of a pipeline. The control plane creates them; neither the broker nor Connect ever does.

A data topic has one partition: order per key is what the lake and the serving views rest on, and a
partition count must never be changed in place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from lakehouse_dagster.contract.contract import Contract

MAX_RECORD_BYTES: Final = 24 * 1024 * 1024
"""Largest record, in bytes: a value of 16 MiB fits, in base64 too, with some columns beside it. A larger one
stops the connector, which says so.
"""

MAX_DEAD_LETTER_BYTES: Final = MAX_RECORD_BYTES + 1024 * 1024
"""Largest record of the dead-letter topic, in bytes: a record as it came, and what was wrong with it."""

_DAY_MS: Final = 24 * 60 * 60 * 1000
_FOREVER: Final = "-1"


@dataclass(frozen=True)
class TopicSpec:
    """A topic as it should be; ``config`` are topic settings such as ``retention.ms``, all as text."""

    name: str
    partitions: int = 1
    replication_factor: int = 1
    config: Mapping[str, str] = field(default_factory=dict)


def data_topic(contract: Contract, table: str) -> TopicSpec:
    """Topic of one table's changes; kept for seven days, so that a lake can be rebuilt from savepoints."""
    return _topic(contract.topic(table), retention_ms=str(7 * _DAY_MS))


def topics(contract: Contract) -> tuple[TopicSpec, ...]:
    """All topics of a pipeline: data, and what the connector needs or tells besides."""
    return (
        *(data_topic(contract, table.name) for table in contract.tables),
        _topic(contract.schema_change_topic, retention_ms=_FOREVER),
        _topic(contract.transaction_topic, retention_ms=str(7 * _DAY_MS)),
        _topic(contract.heartbeat_topic, retention_ms=str(_DAY_MS)),
        _topic(contract.notification_topic, retention_ms=str(7 * _DAY_MS)),
        # Somebody has to decide about each of them.
        _topic(contract.dead_letter_topic, retention_ms=_FOREVER, max_bytes=MAX_DEAD_LETTER_BYTES),
        # The connector cannot resume without the whole history.
        _topic(contract.schema_history_topic, retention_ms=_FOREVER),
    )


def _topic(name: str, *, retention_ms: str, max_bytes: int = MAX_RECORD_BYTES) -> TopicSpec:
    return TopicSpec(
        name=name,
        config={
            "cleanup.policy": "delete",
            # The producer compresses (lz4); the broker keeps batches as they come.
            "compression.type": "producer",
            "max.message.bytes": str(max_bytes),
            "retention.bytes": _FOREVER,
            "retention.ms": retention_ms,
        },
    )
