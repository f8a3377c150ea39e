"""The Debezium MySQL connector of a pipeline."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.names import EPOCH_FIELD
from lakehouse_dagster.render import connect_plugins
from lakehouse_dagster.render.mysql import snapshot_override
from lakehouse_dagster.render.topics import MAX_RECORD_BYTES

#: Fields of the change event that travel with each flattened row, as ``__op``, ``__source_file`` and so on.
EVENT_FIELDS: Final = (
    "op",
    "source.file",
    "source.pos",
    "source.row",
    "source.gtid",
    "source.ts_us",
    "source.snapshot",
)

_SOURCE: Final = "source."
_TRUNCATE: Final = "truncate"
_EPOCH: Final = "epoch"
_EPOCH_SETTING: Final = f"transforms.{_EPOCH}.static.value"

SNAPSHOT_CHUNK_ROWS: Final = 2048
"""Rows that a re-snapshot reads at a time, and that Connect holds in memory meanwhile."""


@dataclass(frozen=True)
class Connector:
    """A Kafka Connect connector: its name and its configuration (secrets only as ``${env:NAME}``)."""

    name: str
    config: dict[str, str]

    def to_json(self) -> str:
        """Name and configuration as JSON, keys sorted."""
        return json.dumps({"name": self.name, "config": self.config}, indent=2, sort_keys=True) + "\n"


def connector(contract: Contract, *, mysql_host: str, mysql_port: int, kafka_bootstrap: str) -> Connector:
    """Render the connector.

    Args:
        contract: The pipeline.
        mysql_host: Host of the source as Connect reaches it.
        mysql_port: Port of the source.
        kafka_bootstrap: Bootstrap servers for the connector's schema history.
    """
    database = re.escape(contract.database)
    config = {
        "connector.class": connect_plugins.CONNECTOR,
        "tasks.max": "1",
        "topic.prefix": contract.name,
        "database.hostname": mysql_host,
        "database.port": str(mysql_port),
        "database.user": "${env:MYSQL_CDC_USER}",
        "database.password": "${env:MYSQL_CDC_PASSWORD}",
        "database.server.id": str(_server_id(contract)),
        "database.include.list": database,
        "table.include.list": ",".join(rf"{database}\.{re.escape(table.name)}" for table in contract.tables),
        "snapshot.mode": "initial",
        # Nothing is approximated and nothing is dropped in silence: a value or an event that cannot be
        # carried stops the connector, where the default only warns and sends NULL.
        "time.precision.mode": "isostring",
        "decimal.handling.mode": "string",
        "bigint.unsigned.handling.mode": "precise",
        "binary.handling.mode": "base64",
        "event.converting.failure.handling.mode": "fail",
        "event.processing.failure.handling.mode": "fail",
        "inconsistent.schema.handling.mode": "fail",
        # Two-digit years are no business of a copy.
        "enable.time.adjuster": "false",
        "schema.history.internal.skip.unparseable.ddl": "false",
        "errors.tolerance": "none",
        # A TRUNCATE, skipped by default, is told like any change.
        "skipped.operations": "none",
        "tombstones.on.delete": "false",
        "include.schema.changes": "true",
        "provide.transaction.metadata": "true",
        "schema.history.internal.kafka.bootstrap.servers": kafka_bootstrap,
        "schema.history.internal.kafka.topic": contract.schema_history_topic,
        "schema.history.internal.store.only.captured.databases.ddl": "true",
        # An idle source still says that it lives, and a dead one is noticed in seconds (81 s by default).
        "heartbeat.interval.ms": "1000",
        # Re-snapshots of tables beside the stream. Nothing is ever written to the source: its GTIDs mark what
        # a chunk of rows has seen. No channel for signals is open: Debezium reads the first chunk of a
        # signalled snapshot on the signal's thread, beside the one that reads the binary log, and mixes up
        # rows. A re-snapshot is put into the stored offsets instead (streams.resnapshot).
        "read.only": "true",
        "notification.enabled.channels": "sink",
        "notification.sink.topic.name": contract.notification_topic,
        "incremental.snapshot.chunk.size": str(SNAPSHOT_CHUNK_ROWS),
        "connect.keep.alive.interval.ms": "2000",
        "poll.interval.ms": "100",
        "key.converter": "org.apache.kafka.connect.json.JsonConverter",
        "key.converter.schemas.enable": "false",
        "key.converter.decimal.format": "NUMERIC",
        # NULL is NULL: by default it becomes the column's default, now and in the flattening below.
        "key.converter.replace.null.with.default": "false",
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        "value.converter.schemas.enable": "false",
        "value.converter.decimal.format": "NUMERIC",
        "value.converter.replace.null.with.default": "false",
        "producer.override.compression.type": "lz4",
        "producer.override.linger.ms": "20",
        "producer.override.batch.size": "262144",
        "producer.override.max.request.size": str(MAX_RECORD_BYTES),
    }
    config |= _transforms(contract)
    config |= _overrides(contract)
    config |= _texts(contract)
    config |= _keys(contract)
    return Connector(name=contract.connector_name, config=config)


def _server_id(contract: Contract) -> int:
    """A replica id that is stable per pipeline and differs between pipelines."""
    return 100_000 + zlib.crc32(contract.name.encode()) % 1_000_000


def _transforms(contract: Contract) -> dict[str, str]:
    """A TRUNCATE becomes a record, then rows are flattened: once per set of before-images, tables that need
    none share one. Last each record is told its epoch: jobs may read those of an older one again at any time.

    Predicates keep all of it away from the DDL, transaction and heartbeat topics.
    """
    plain = [table.name for table in contract.tables if not contract.before_columns(table.name)]
    groups: list[tuple[str, list[str], tuple[str, ...]]] = [("flatten", plain, ())] if plain else []
    groups += [
        (f"flatten_{table.name}", [table.name], contract.before_columns(table.name))
        for table in contract.tables
        if contract.before_columns(table.name)
    ]
    everything = [table.name for table in contract.tables]
    names = [_TRUNCATE, *(name for name, _, _ in groups), _EPOCH]
    config = {
        "transforms": ",".join(names),
        "predicates": ",".join(names),
        **_predicate(contract, _TRUNCATE, everything),
        f"transforms.{_TRUNCATE}.type": connect_plugins.TRUNCATE_RECORD,
        f"transforms.{_TRUNCATE}.predicate": _TRUNCATE,
        f"transforms.{_TRUNCATE}.source.fields": ",".join(
            name.removeprefix(_SOURCE) for name in EVENT_FIELDS if name.startswith(_SOURCE)
        ),
    }
    for name, tables, before in groups:
        config |= {
            **_predicate(contract, name, tables),
            f"transforms.{name}.type": "io.debezium.transforms.ExtractNewRecordState",
            f"transforms.{name}.predicate": name,
            f"transforms.{name}.delete.tombstone.handling.mode": "rewrite",
            f"transforms.{name}.replace.null.with.default": "false",
            f"transforms.{name}.add.fields": ",".join(
                (*EVENT_FIELDS, *(f"before.{column}" for column in before))
            ),
        }
    return config | {
        **_predicate(contract, _EPOCH, everything),
        f"transforms.{_EPOCH}.type": "org.apache.kafka.connect.transforms.InsertField$Value",
        f"transforms.{_EPOCH}.predicate": _EPOCH,
        f"transforms.{_EPOCH}.replace.null.with.default": "false",
        f"transforms.{_EPOCH}.static.field": EPOCH_FIELD,
        _EPOCH_SETTING: str(contract.epoch),
    }


def epoch_of(config: Mapping[str, str]) -> int:
    """The epoch in which a connector of this configuration reads."""
    text = config.get(_EPOCH_SETTING, "0")
    return int(text) if text.isascii() and text.isdigit() else 0


def _keys(contract: Contract) -> dict[str, str]:
    """The keys of tables that have none in the source."""
    declared = [
        f"{re.escape(contract.database)}\\.{re.escape(table.name)}:{','.join(table.primary_key)}"
        for table in contract.tables
        if table.primary_key
    ]
    return {"message.key.columns": ";".join(declared)} if declared else {}


def _predicate(contract: Contract, name: str, tables: Iterable[str]) -> dict[str, str]:
    return {
        f"predicates.{name}.type": "org.apache.kafka.connect.transforms.predicates.TopicNameMatches",
        f"predicates.{name}.pattern": _any_of(contract.topic(table) for table in tables),
    }


def _overrides(contract: Contract) -> dict[str, str]:
    selects = {table.name: snapshot_override(contract, table.name) for table in contract.tables}
    needed = {name: select for name, select in selects.items() if select is not None}
    if not needed:
        return {}
    key = "snapshot.select.statement.overrides"
    return {
        key: ",".join(f"{contract.database}.{name}" for name in needed),
        **{f"{key}.{contract.database}.{name}": select for name, select in needed.items()},
    }


def _texts(contract: Contract) -> dict[str, str]:
    """The columns of dates that are carried as text."""
    columns = [
        f"{contract.database}.{table.name}.{column}" for table in contract.tables for column in table.as_text
    ]
    if not columns:
        return {}
    return {
        "converters": "exact",
        "exact.type": connect_plugins.TEXT_CONVERTER,
        "exact.text.columns": ",".join(columns),
    }


def _any_of(names: Iterable[str]) -> str:
    return "|".join(re.escape(name) for name in names)
