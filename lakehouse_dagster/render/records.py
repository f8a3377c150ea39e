"""Records in the very form in which the connector writes them, made from rows the proof has read.

The Flink jobs cannot tell them from the connector's: a repair changes no table itself, it only says in the
topic what the source's changes would have said.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.names import EPOCH_FIELD, WIRE_PREFIX
from lakehouse_dagster.contract.wire import to_wire

REPAIR: Final = "repair"
"""In ``__source_snapshot``, where Debezium tells rows of a snapshot: where this record comes from."""

Row = Mapping[str, str | None]
"""Canonical texts by column."""


@dataclass(frozen=True)
class At:
    """Where in the source a row was seen: binary log file and byte, and the time in microseconds."""

    file: str
    pos: int
    ts_us: int


@dataclass(frozen=True)
class WireRecord:
    """One record of a data topic, ready to be written."""

    topic: str
    key: bytes
    value: bytes


def row_record(contract: Contract, table: str, row: Row, at: At) -> WireRecord:
    """The row as the source has it at that point, as a snapshot tells it (``__op`` r)."""
    return _record(contract, table, row, "r", at, {})


def moved_record(contract: Contract, table: str, row: Row, before: Row, at: At) -> WireRecord:
    """The row as the source has it, and by ``before`` the place in the views that it has left (``__op`` u).

    ``before`` may lack columns; they count as unchanged.
    """
    return _record(contract, table, row, "u", at, {**row, **before})


def delete_record(contract: Contract, table: str, row: Row, at: At) -> WireRecord:
    """The row that the source no longer has at that point (``__op`` d).

    ``row`` is the old row. It may lack columns that no key needs: they are NULL.
    """
    return _record(contract, table, row, "d", at, row)


def _record(contract: Contract, table: str, row: Row, op: str, at: At, before: Row) -> WireRecord:
    schema = contract.schema(table)
    values: dict[str, Any] = {column.name: to_wire(column, row.get(column.name)) for column in schema.columns}
    body = values | {
        # The flattening writes a text here; Flink reads it as BOOLEAN.
        "__deleted": "true" if op == "d" else "false",
        "__op": op,
        "__source_file": at.file,
        "__source_pos": at.pos,
        "__source_row": 0,
        "__source_gtid": None,
        "__source_ts_us": at.ts_us,
        "__source_snapshot": REPAIR,
    }
    for name in contract.before_columns(table):
        body[f"{WIRE_PREFIX}before_{name}"] = to_wire(schema.column(name), before.get(name))
    # Connect adds it last, and as text.
    body[EPOCH_FIELD] = str(contract.epoch)
    key = {name: values[name] for name in schema.primary_key}
    return WireRecord(contract.topic(table), _json(key), _json(body))


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
