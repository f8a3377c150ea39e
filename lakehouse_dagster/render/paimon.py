"""The lake: Paimon's catalog, database and primary-key tables, as Flink SQL."""

from __future__ import annotations

import re
from typing import Final

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.types import mapping
from lakehouse_dagster.render import quoting

CATALOG: Final = "lake"
"""Name of the Paimon catalog inside Flink scripts."""

AUDIT_COLUMNS: Final = (
    ("_position", "BIGINT"),
    ("_gtid", "STRING"),
    ("_committed_at", "TIMESTAMP(6)"),
    ("_op", "STRING"),
)
"""Columns every lake table carries besides the source's: name and Flink type."""

QUARANTINE_COLUMNS: Final = (
    ("topic", "STRING NOT NULL"),
    ("partition", "INT NOT NULL"),
    ("offset", "BIGINT NOT NULL"),
    ("reason", "STRING"),
    ("record_key", "BYTES"),
    ("raw", "BYTES"),
    ("recorded_at", "TIMESTAMP(6)"),
)
"""Columns of the table of the records that could not be carried; the first three are its key."""

COMPACTION: Final = "full-compaction.delta-commits"
"""After how many commits a writer compacts the buckets it has written in full; tables say 1, and the job that
writes a table says otherwise where the table's policy does (``write_options``)."""

_PUBLISHED_OPTIONS: Final = (
    ("bucket", "1"),
    # Iceberg readers see compacted files only, so every commit is compacted.
    (COMPACTION, "1"),
    ("metadata.iceberg.storage", "table-location"),
    # A reader may still hold an older version that the catalog pointed to a moment ago.
    ("metadata.iceberg.previous-versions-max", "100"),
    # Five minutes of commits, two snapshots each. Every commit's Iceberg metadata lists all of them, and the
    # first commit after an hour's pause drops all that got too old at once: 1,100 took 135 seconds.
    ("snapshot.num-retained.max", "200"),
    # Expiring reads and deletes files one after the other; a commit need not wait for it.
    ("snapshot.expire.execution-mode", "async"),
    # Every commit reads all manifests, and with the usual 30 there are about 15 small ones at any time.
    ("manifest.merge-min-count", "5"),
)

TABLE_OPTIONS: Final = (
    # Of two versions of a row the one with the higher source position wins, whatever the order of arrival.
    ("sequence.field", "_position"),
    ("rowkind.field", "_op"),
    *_PUBLISHED_OPTIONS,
)


def catalog() -> str:
    """CREATE CATALOG for the lake; addresses and keys are placeholders."""
    pairs = (
        ("type", "paimon"),
        ("warehouse", "${PAIMON_WAREHOUSE}"),
        ("s3.endpoint", "${S3_ENDPOINT}"),
        ("s3.access-key", "${S3_ACCESS_KEY}"),
        ("s3.secret-key", "${S3_SECRET_KEY}"),
        ("s3.path.style.access", "true"),
    )
    return f"CREATE CATALOG {quoting.flink(CATALOG)} WITH (\n{quoting.options(pairs)}\n)"


def database(contract: Contract) -> str:
    """CREATE DATABASE for the pipeline's tables."""
    return f"CREATE DATABASE IF NOT EXISTS {quoting.flink(CATALOG, contract.name)}"


def table_name(contract: Contract, table: str) -> str:
    """Quoted full name of a lake table inside Flink scripts."""
    path = contract.lake_path(table)
    return quoting.flink(CATALOG, path.database, path.table)


def quarantine_name(contract: Contract) -> str:
    """Quoted full name of the quarantine's table inside Flink scripts."""
    path = contract.quarantine_path
    return quoting.flink(CATALOG, path.database, path.table)


def quarantine(contract: Contract) -> str:
    """CREATE TABLE of the records that could not be carried; a record read twice is there once."""
    lines = [f"  {quoting.flink(name)} {kind}" for name, kind in QUARANTINE_COLUMNS]
    key = ", ".join(quoting.flink(name) for name, _ in QUARANTINE_COLUMNS[:3])
    lines.append(f"  PRIMARY KEY ({key}) NOT ENFORCED")
    body = ",\n".join(lines)
    return (
        f"CREATE TABLE IF NOT EXISTS {quarantine_name(contract)} (\n{body}\n)"
        f" WITH (\n{quoting.options(_PUBLISHED_OPTIONS)}\n)"
    )


def columns(contract: Contract, table: str) -> tuple[tuple[str, str], ...]:
    """Name and type of every column of a lake table: the source's columns, then the audit columns."""
    schema = contract.schema(table)
    own = (
        (column.name, mapping(column).lake + (" NOT NULL" if column.name in schema.primary_key else ""))
        for column in schema.columns
    )
    return (*own, *AUDIT_COLUMNS)


def table(contract: Contract, table: str) -> str:
    """CREATE TABLE of a lake table: the source's columns, the audit columns and the source's key."""
    schema = contract.schema(table)
    lines = [f"  {quoting.flink(name)} {kind}" for name, kind in columns(contract, table)]
    key = ", ".join(quoting.flink(name) for name in schema.primary_key)
    lines.append(f"  PRIMARY KEY ({key}) NOT ENFORCED")
    body = ",\n".join(lines)
    declared = contract.table(table)
    by = ", ".join(quoting.flink(name) for name in declared.partition_by)
    partitioned = f" PARTITIONED BY ({by})" if by else ""
    options = tuple(
        (name, str(declared.buckets) if name == "bucket" else value) for name, value in TABLE_OPTIONS
    )
    return (
        f"CREATE TABLE IF NOT EXISTS {table_name(contract, table)} (\n{body}\n)"
        f"{partitioned} WITH (\n{quoting.options(options)}\n)"
    )


def write_options(contract: Contract, table: str) -> str:
    """The hint with which the lake job writes a table, with a space before it; empty for the defaults.

    The policy is in the job, not in the table: a table that exists keeps the options it was made with, and so
    does a policy that has changed take effect with the job's upgrade, in either direction.
    """
    commits = contract.visible_commits(table)
    return "" if commits == 1 else f" /*+ OPTIONS('{COMPACTION}' = '{commits}') */"


def without_write_options(insert: str) -> str:
    """The same INSERT without ``write_options``, which change nothing of the job's shape."""
    return _HINT.sub("", insert)


_HINT: Final = re.compile(rf" /\*\+ OPTIONS\('{re.escape(COMPACTION)}' = '\d+'\) \*/")
