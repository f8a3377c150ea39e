"""The Flink jobs of a pipeline as scripts of SQL: the lake's, and the serving views'.

Addresses and secrets appear only as ``${NAME}``; the submitting program fills them in from its environment
just before it executes a statement. So a rendered script, its hash and a process list hold none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.model import View
from lakehouse_dagster.contract.names import WIRE_PREFIX
from lakehouse_dagster.contract.schema import Column
from lakehouse_dagster.contract.types import TypeMapping, mapping
from lakehouse_dagster.render import paimon, quoting
from lakehouse_dagster.render.topics import MAX_DEAD_LETTER_BYTES

CHECKPOINTS: Final = "s3://lake/flink/checkpoints"
SAVEPOINTS: Final = "s3://lake/flink/savepoints"

_FUNCTION: Final = (
    "CREATE TEMPORARY SYSTEM FUNCTION IF NOT EXISTS source_position "
    "AS 'io.lakehouse.flink.SourcePosition' LANGUAGE JAVA"
)
_DELETED: Final = "`__deleted`"

_CARRIED: Final = "`__error` IS NULL"

#: Fields of a flattened record besides the table's own columns, and their Flink types; and what the format
#: says of a record that it cannot carry.
_EVENT_COLUMNS: Final = (
    ("__op", "STRING"),
    ("__deleted", "BOOLEAN"),
    ("__source_file", "STRING"),
    ("__source_pos", "BIGINT"),
    ("__source_row", "BIGINT"),
    ("__source_gtid", "STRING"),
    ("__source_ts_us", "BIGINT"),
    ("__source_epoch", "INT"),
    ("__error", "STRING"),
    ("__raw", "BYTES"),
)

#: Where a record was found, and its key: only the quarantine asks.
_RECORD_COLUMNS: Final = (
    ("__topic", "STRING METADATA FROM 'topic' VIRTUAL"),
    ("__partition", "INT METADATA FROM 'partition' VIRTUAL"),
    ("__offset", "BIGINT METADATA FROM 'offset' VIRTUAL"),
    ("__timestamp", "TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL"),
    ("__key", "BYTES"),
)


@dataclass(frozen=True)
class FlinkScript:
    """One Flink job.

    Attributes:
        name: Name of the job.
        settings: Flink configuration of the job.
        statements: DDL, to be executed one by one.
        inserts: INSERT statements that run together as one job.
        wait: Whether to wait for the job's end (batch jobs).
        statements_only: Whether there is no job, only what the statements do by themselves.
    """

    name: str
    settings: dict[str, str]
    statements: tuple[str, ...]
    inserts: tuple[str, ...]
    wait: bool = False
    statements_only: bool = False

    def to_json(self) -> str:
        """The script as JSON, keys sorted."""
        content = {
            "name": self.name,
            "settings": self.settings,
            "statements": list(self.statements),
            "inserts": list(self.inserts),
            "wait": self.wait,
            **({"statements_only": True} if self.statements_only else {}),
        }
        return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @property
    def spec_hash(self) -> str:
        """16 hex digits that change whenever anything in the script does."""
        return _digest(self.to_json())

    @property
    def state_hash(self) -> str:
        """16 hex digits that change whenever the shape of the job may.

        Flink finds the state of an operator by an identity that it derives from the plan. State that was
        written under another plan may be taken for the state of another operator without a word: one table's
        offsets for those of another. So state is handed on only between scripts with the same statements,
        the same inserts and the same settings of the planner (``table.*``). How often a sink compacts changes
        no plan.
        """
        planner = {name: value for name, value in self.settings.items() if name.startswith("table.")}
        inserts = [paimon.without_write_options(insert) for insert in self.inserts]
        return _digest(json.dumps([planner, self.statements, inserts], sort_keys=True))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def lake_script(contract: Contract) -> FlinkScript:
    """The job that copies the topic of every table that flows into its lake table."""
    group = contract.lake_job
    tables = [table.name for table in contract.flowing]
    return FlinkScript(
        name=contract.lake_job,
        settings=_streaming_settings(contract, contract.lake_job),
        statements=(
            _FUNCTION,
            paimon.catalog(),
            paimon.database(contract),
            *(paimon.table(contract, table) for table in tables),
            paimon.quarantine(contract),
            *(source_table(contract, table, group, located=True) for table in tables),
            _dead_letters(contract),
        ),
        inserts=(
            *(_lake_insert(contract, table) for table in tables),
            _quarantine_insert(contract, tables),
            _dead_letter_insert(tables),
        ),
    )


def serving_script(contract: Contract) -> FlinkScript | None:
    """The job that keeps the serving views up to date; None when no table that flows has any."""
    views = contract.flowing_views
    if not views:
        return None
    tables = [table.name for table in contract.flowing if contract.views_of(table.name)]
    return FlinkScript(
        name=contract.serving_job,
        settings=_streaming_settings(contract, contract.serving_job),
        statements=(
            _FUNCTION,
            *(source_table(contract, table, contract.serving_job) for table in tables),
            *(_sink_table(contract, view) for view in views),
        ),
        inserts=tuple(_serving_insert(contract, view) for view in views),
    )


def scripts(contract: Contract) -> tuple[FlinkScript, ...]:
    """All streaming jobs of a pipeline."""
    serving = serving_script(contract)
    return (lake_script(contract),) if serving is None else (lake_script(contract), serving)


def source_table(contract: Contract, table: str, group: str, *, located: bool = False) -> str:
    """CREATE TEMPORARY TABLE over a table's topic.

    Both jobs declare the same columns, the before-images too that only views need: what one job cannot carry,
    the other one does not carry either.

    No column is NOT NULL, because all are NULL in a record that cannot be carried; the format itself sees to
    it that a carried record has its key.

    Args:
        contract: The pipeline.
        table: The source table.
        group: Consumer group.
        located: Whether each record's place in the topic and its key are read too.
    """
    schema = contract.schema(table)
    own = {column.name: mapping(column) for column in schema.columns}
    own |= {
        f"{WIRE_PREFIX}before_{name}": mapping(schema.column(name)) for name in contract.before_columns(table)
    }
    columns = [(name, carried.lake) for name, carried in own.items()]
    columns += _EVENT_COLUMNS
    if located:
        columns += _RECORD_COLUMNS
    body = ",\n".join(f"  {quoting.flink(name)} {kind}" for name, kind in columns)
    pairs = [
        ("connector", "kafka"),
        ("topic", contract.topic(table)),
        ("properties.bootstrap.servers", "${KAFKA_BOOTSTRAP}"),
        ("properties.group.id", group),
        ("properties.isolation.level", "read_committed"),
        # Without a checkpoint the job goes on where the group stands, not from the beginning: an older event
        # applied after a later delete would bring the row back.
        ("scan.startup.mode", "group-offsets"),
        ("properties.auto.offset.reset", "earliest"),
        ("format", "lakehouse-record"),
        ("lakehouse-record.columns", _compact({name: carried.kind for name, carried in own.items()})),
        ("lakehouse-record.required", _compact(schema.primary_key)),
    ]
    if located:
        pairs += [
            ("key.format", "raw"),
            ("key.fields", "__key"),
            ("value.fields-include", "EXCEPT_KEY"),
        ]
    return f"CREATE TEMPORARY TABLE {_source(table)} (\n{body}\n) WITH (\n{quoting.options(pairs)}\n)"


def _compact(content: object) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def _streaming_settings(contract: Contract, job: str) -> dict[str, str]:
    interval = contract.pipeline.checkpoint_interval_seconds
    return {
        "pipeline.name": job,
        "execution.runtime-mode": "STREAMING",
        "parallelism.default": "1",
        "execution.checkpointing.interval": f"{interval} s",
        # Where a commit takes longer than the interval, the next would follow at once, and commits would take
        # all there is of processor and object store.
        "execution.checkpointing.min-pause": f"{interval * 750} ms",
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.tolerable-failed-checkpoints": "10",
        "state.checkpoints.dir": CHECKPOINTS,
        "state.checkpoints.num-retained": "3",
        "state.savepoints.dir": SAVEPOINTS,
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "1 s",
        "restart-strategy.exponential-delay.max-backoff": "10 s",
        "table.local-time-zone": "UTC",
        # Order is decided by the source position; Flink must not reorder or materialize anything itself.
        "table.exec.sink.upsert-materialize": "NONE",
    }


def _source(table: str) -> str:
    return quoting.flink(f"source_{table}")


def _serving(view: View) -> str:
    return quoting.flink(f"serving_{view.name}")


def _position() -> str:
    # The record's own epoch, not the contract's: records of older ones may be read again at any time.
    return "source_position(COALESCE(`__source_epoch`, 0), `__source_file`, `__source_pos`, `__source_row`)"


def _committed_at() -> str:
    # TO_TIMESTAMP_LTZ takes milliseconds at best; the missing three digits are put back as text.
    return (
        "CAST(CONCAT(CAST(TO_TIMESTAMP_LTZ(`__source_ts_us` / 1000, 3) AS STRING), "
        "LPAD(CAST(MOD(`__source_ts_us`, 1000) AS STRING), 3, '0')) AS TIMESTAMP(6))"
    )


def _lake_insert(contract: Contract, table: str) -> str:
    values = [quoting.flink(column.name) for column in contract.schema(table).columns]
    values += [
        _position(),
        "`__source_gtid`",
        _committed_at(),
        f"CASE WHEN {_DELETED} THEN '-D' ELSE '+I' END",
    ]
    body = ",\n".join(f"  {value}" for value in values)
    # By name: the lake keeps the order in which its columns came to be.
    names = ", ".join(quoting.flink(name) for name, _ in paimon.columns(contract, table))
    return (
        f"INSERT INTO {paimon.table_name(contract, table)}{paimon.write_options(contract, table)} ({names})\n"
        f"SELECT\n{body}\nFROM {_source(table)}\nWHERE {_CARRIED}"
    )


def _quarantine_insert(contract: Contract, tables: Sequence[str]) -> str:
    names = ("__topic", "__partition", "__offset", "__error", "__key", "__raw")
    body = ",\n".join(f"  {quoting.flink(name)}" for name in names)
    selects = (
        f"SELECT\n{body},\n  CAST(`__timestamp` AS TIMESTAMP(6))\n"
        f"FROM {_source(table)}\nWHERE NOT ({_CARRIED})"
        for table in tables
    )
    return f"INSERT INTO {paimon.quarantine_name(contract)}\n" + "\nUNION ALL\n".join(selects)


def _dead_letters(contract: Contract) -> str:
    pairs = (
        ("connector", "kafka"),
        ("topic", contract.dead_letter_topic),
        ("properties.bootstrap.servers", "${KAFKA_BOOTSTRAP}"),
        ("properties.max.request.size", str(MAX_DEAD_LETTER_BYTES)),
        ("key.format", "raw"),
        ("key.fields", "record_key"),
        ("value.format", "raw"),
        ("value.fields-include", "EXCEPT_KEY"),
        # Written again after a restart, it is the same record by its headers.
        ("sink.delivery-guarantee", "at-least-once"),
    )
    return (
        "CREATE TEMPORARY TABLE `dead_letters` (\n  `record_key` BYTES,\n  `raw` BYTES,\n"
        f"  `headers` MAP<STRING, BYTES> METADATA\n) WITH (\n{quoting.options(pairs)}\n)"
    )


def _dead_letter_insert(tables: Sequence[str]) -> str:
    headers = ", ".join(
        f"'{name}', CAST({value} AS BYTES)"
        for name, value in (
            ("reason", "`__error`"),
            ("topic", "`__topic`"),
            ("partition", "CAST(`__partition` AS STRING)"),
            ("offset", "CAST(`__offset` AS STRING)"),
        )
    )
    selects = (
        f"SELECT\n  `__key`,\n  `__raw`,\n  MAP[{headers}]\nFROM {_source(table)}\nWHERE NOT ({_CARRIED})"
        for table in tables
    )
    return "INSERT INTO `dead_letters`\n" + "\nUNION ALL\n".join(selects)


def _sink_type(view: View, carried: TypeMapping) -> str:
    return carried.serving_cassandra if view.engine == "cassandra" else carried.lake


def _sink_value(view: View, column: Column, name: str | None = None) -> str:
    value = quoting.flink(name or column.name)
    return mapping(column).to_cassandra.replace("{}", value) if view.engine == "cassandra" else value


def _sink_table(contract: Contract, view: View) -> str:
    key = contract.view_key(view)
    lines = [
        f"  {quoting.flink(column.name)} {_sink_type(view, mapping(column))}"
        + (" NOT NULL" if column.name in key else "")
        for column in contract.view_columns(view)
    ]
    lines += ["  `_deleted` BOOLEAN", "  `_position` BIGINT"]
    lines.append(f"  PRIMARY KEY ({', '.join(quoting.flink(name) for name in key)}) NOT ENFORCED")
    pairs: tuple[tuple[str, str], ...]
    if view.engine == "cassandra":
        pairs = (
            ("connector", "cassandra-view"),
            ("hosts", "${CASSANDRA_HOST}"),
            ("port", "${CASSANDRA_PORT}"),
            ("username", "${CASSANDRA_USERNAME}"),
            ("password", "${CASSANDRA_PASSWORD}"),
            ("keyspace", contract.keyspace),
            ("table", view.name),
        )
    else:
        pairs = (
            ("connector", "couchdb"),
            ("url", "${COUCHDB_URL}"),
            ("username", "${COUCHDB_USERNAME}"),
            ("password", "${COUCHDB_PASSWORD}"),
            ("database", view.name),
        )
    body = ",\n".join(lines)
    return f"CREATE TEMPORARY TABLE {_serving(view)} (\n{body}\n) WITH (\n{quoting.options(pairs)}\n)"


def _serving_insert(contract: Contract, view: View) -> str:
    columns = contract.view_columns(view)
    values = [*(_sink_value(view, column) for column in columns), _DELETED, _position()]
    insert = (
        f"INSERT INTO {_serving(view)}\nSELECT\n"
        + ",\n".join(f"  {value}" for value in values)
        + f"\nFROM {_source(view.table)}\nWHERE {_CARRIED}"
    )
    moving = contract.moving_key_columns(view)
    if not moving:
        return insert
    # An UPDATE of a key column moves the row: its old place is deleted at the same position.
    before = [
        _sink_value(view, column, f"__before_{column.name}" if column.name in moving else None)
        if column.name in contract.view_key(view)
        else f"CAST(NULL AS {_sink_type(view, mapping(column))})"
        for column in columns
    ]
    moved = " OR ".join(f"{quoting.flink(f'__before_{name}')} <> {quoting.flink(name)}" for name in moving)
    return (
        f"{insert}\nUNION ALL\nSELECT\n"
        + ",\n".join(f"  {value}" for value in (*before, "TRUE", _position()))
        + f"\nFROM {_source(view.table)}\nWHERE {_CARRIED} AND `__op` = 'u' AND ({moved})"
    )
