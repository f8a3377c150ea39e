"""Reserved names, and which names of a source can be quoted in every engine."""

from __future__ import annotations

import re
from typing import Final

AUDIT_COLUMNS: Final = ("_position", "_gtid", "_committed_at", "_op")
"""Columns that every lake table carries besides the source's own."""

WIRE_PREFIX: Final = "__"
"""Prefix of the fields that the record's own metadata uses on the wire."""

EPOCH_FIELD: Final = "__source_epoch"
"""Field in which each record tells the epoch in which it was read; a record without it is of epoch 0."""

QUARANTINE_TABLE: Final = "_quarantine"
"""Lake table of the records of a pipeline that could not be carried."""

PARTITIONS_SUFFIX: Final = "__partitions"
"""After the name of a partitioned mart: the table that tells what its partitions were computed from."""

SERVING_POSITION: Final = "source_position"
"""Column or field of a serving view that holds the source position of a row's last change."""

SINK_COLUMNS: Final = ("_deleted", "_position")
"""Columns that a serving sink takes besides the view's own."""

# Topics allow no more than this in a name, and Cassandra, Nessie and Trino names follow from it.
TABLE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*", re.ASCII)

# A dot separates fields in Debezium's add.fields and in CouchDB's selectors; commas and colons separate
# options; a dollar sign begins a placeholder; quotes of any kind and control characters are refused
# everywhere.
COLUMN_NAME: Final = re.compile(r"\w(?:[\w -]*[\w-])?")
MAX_NAME: Final = 64

RESERVED_PIPELINES: Final = frozenset(
    {
        "information_schema",
        "system",
        "system_auth",
        "system_distributed",
        "system_schema",
        "system_traces",
        "system_views",
        "system_virtual_schema",
    }
)
"""Names that Cassandra's keyspaces or Trino's schemas keep for themselves."""


def table_name_problem(name: str) -> str | None:
    """Why a source table's name cannot be carried, or None."""
    if not TABLE_NAME.fullmatch(name) or len(name) > MAX_NAME:
        return "has characters other than letters, digits, _ and - (topics and catalogs cannot name it)"
    if name.lower() == QUARANTINE_TABLE:
        return "is called like the lake table of the records that could not be carried"
    return None


def column_name_problem(name: str) -> str | None:
    """Why a source column's name cannot be carried, or None."""
    lowered = name.lower()
    if lowered in AUDIT_COLUMNS:
        return "collides with an audit column of the lake table"
    if name.startswith(WIRE_PREFIX):
        return f"begins with {WIRE_PREFIX}, which is kept for the record's own metadata"
    if lowered in SINK_COLUMNS:
        return "collides with a column that the serving sinks add"
    if not COLUMN_NAME.fullmatch(name) or len(name) > MAX_NAME:
        return "has characters other than letters, digits, spaces, _ and - (not every engine can quote it)"
    return None
