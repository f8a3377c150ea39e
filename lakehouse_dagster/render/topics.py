"""The topics of a pipeline. The control plane creates them; neither the broker nor Connect ever does.

A data topic has one partition: order per key is what the lake and the serving views rest on, and a
partition count must never be changed in place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from lakehouse_dagster.contract.contract import Contract

MAX_RECORD_BYTES: Final = 20 * 1024 * 1024
"""Largest record, in bytes: a row with a MEDIUMBLOB of 16 MiB does not fit, one with 14 MiB does (base64)."""

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
        # The connector cannot resume without the whole history.
        _topic(contract.schema_history_topic, retention_ms=_FOREVER),
    )


def _topic(name: str, *, retention_ms: str) -> TopicSpec:
    return TopicSpec(
        name=name,
        config={
            "cleanup.policy": "delete",
            # The producer compresses (lz4); the broker keeps batches as they come.
            "compression.type": "producer",
            "max.message.bytes": str(MAX_RECORD_BYTES),
            "retention.bytes": _FOREVER,
            "retention.ms": retention_ms,
        },
    )
