"""A loaded, cross-validated contract and the names that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from lakehouse_dagster.contract.marts import MartQuery
from lakehouse_dagster.contract.model import Every, Mart, Pipeline, Table, View
from lakehouse_dagster.contract.names import QUARANTINE_TABLE
from lakehouse_dagster.contract.schema import Column, SchemaLock, TableSchema
from lakehouse_dagster.contract.types import with_texts


class LakePath(NamedTuple):
    """Where a lake table lives: a Paimon database and table, and equally a Nessie and Trino schema and
    table."""

    database: str
    table: str

    def __str__(self) -> str:
        return f"{self.database}.{self.table}"


@dataclass(frozen=True)
class Contract:
    """A pipeline together with its locked schema and its marts' SQL.

    Instances come from :func:`lakehouse_dagster.contract.loader.load_contract`, which has checked that
    every table, column and key named here exists and can be carried. Lookups of names that are not in the
    contract raise KeyError.

    ``lock`` is the one in force, which may be ahead of the folder's
    (:mod:`lakehouse_dagster.contract.applied`). ``stopped`` are tables that must not flow until a person has
    approved how their source has changed, each with the reason. ``marts`` are what the files ``marts/*.sql``
    say of themselves, by name.
    """

    folder: Path
    pipeline: Pipeline
    lock: SchemaLock
    queries: Mapping[str, MartQuery]
    stopped: Mapping[str, str] = field(default_factory=dict)
    marts: tuple[Mart, ...] = ()

    @property
    def name(self) -> str:
        """The pipeline's name: Paimon database, Nessie namespace, Cassandra keyspace, topic prefix."""
        return self.pipeline.name

    @property
    def owner(self) -> str:
        """The pipeline's owner."""
        return self.pipeline.owner

    @property
    def database(self) -> str:
        """The source database."""
        return self.pipeline.source.database

    @property
    def epoch(self) -> int:
        """Epoch of the source's positions, 0..15."""
        return self.pipeline.source.epoch

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables, in the order of the contract."""
        return self.pipeline.tables

    @property
    def views(self) -> tuple[View, ...]:
        """The serving views, in the order of the contract."""
        return self.pipeline.views

    @property
    def flowing(self) -> tuple[Table, ...]:
        """The tables that are not stopped."""
        return tuple(table for table in self.tables if table.name not in self.stopped)

    @property
    def flowing_views(self) -> tuple[View, ...]:
        """The views of tables that are not stopped."""
        return tuple(view for view in self.views if view.table not in self.stopped)

    def table(self, name: str) -> Table:
        """The table of that name."""
        return {table.name: table for table in self.tables}[name]

    def view(self, name: str) -> View:
        """The view of that name."""
        return {view.name: view for view in self.views}[name]

    def mart(self, name: str) -> Mart:
        """The mart of that name."""
        return {mart.name: mart for mart in self.marts}[name]

    def views_of(self, table: str) -> tuple[View, ...]:
        """The views served from a table."""
        return tuple(view for view in self.views if view.table == table)

    def owner_of(self, item: Table | View | Mart) -> str:
        """Owner of a table, view or mart: its own, or the pipeline's."""
        return item.owner or self.owner

    def visible_commits(self, table: str) -> int:
        """After how many commits of the lake job rows of a table become visible to Iceberg readers: 1, or the
        policy's seconds in whole commits."""
        visible = self.table(table).visible or self.pipeline.visible
        if isinstance(visible, Every):
            return max(1, visible.every // self.pipeline.checkpoint_interval_seconds)
        return 1

    def visible_seconds(self, table: str) -> int:
        """How much longer than a commit rows may stay invisible to Iceberg readers by the table's policy, in
        seconds; 0 where every commit shows them."""
        return (self.visible_commits(table) - 1) * self.pipeline.checkpoint_interval_seconds

    # --- schema ---

    def schema(self, table: str) -> TableSchema:
        """The locked schema of a table of the contract, with the key that the contract declares for it if the
        source has none, and with the columns marked that are carried as text.
        """
        declared = self.table(table)
        keyed = self.lock.tables[declared.name].keyed_by(declared.primary_key)
        return with_texts(keyed, declared.as_text)

    def view_columns(self, view: str | View) -> list[Column]:
        """The columns a view serves, in the source's order (all columns when the contract names none)."""
        view = self.view(view) if isinstance(view, str) else view
        schema = self.schema(view.table)
        if view.columns is None:
            return list(schema.columns)
        wanted = set(view.columns)
        return [column for column in schema.columns if column.name in wanted]

    def view_key(self, view: str | View) -> tuple[str, ...]:
        """Key columns of a view: Cassandra's two parts, or the source's primary key for CouchDB."""
        view = self.view(view) if isinstance(view, str) else view
        return view.key if view.engine == "cassandra" else self.schema(view.table).primary_key

    def moving_key_columns(self, view: str | View) -> tuple[str, ...]:
        """Key columns of a view outside the source's primary key: an UPDATE of them moves the row."""
        view = self.view(view) if isinstance(view, str) else view
        primary = set(self.schema(view.table).primary_key)
        return tuple(name for name in self.view_key(view) if name not in primary)

    def before_columns(self, table: str) -> tuple[str, ...]:
        """Columns of a table whose before-image has to travel because a view's key moves with them."""
        moving = {name for view in self.views_of(table) for name in self.moving_key_columns(view)}
        return tuple(column.name for column in self.schema(table).columns if column.name in moving)

    # --- names ---

    def topic(self, table: str) -> str:
        """Topic of a table's changes."""
        return f"{self.name}.{self.database}.{self.table(table).name}"

    @property
    def schema_change_topic(self) -> str:
        """Topic of the source's DDL (Debezium names it by the topic prefix)."""
        return self.name

    @property
    def transaction_topic(self) -> str:
        """Topic of the source's transaction boundaries."""
        return f"{self.name}.transaction"

    @property
    def heartbeat_topic(self) -> str:
        """Topic of the connector's heartbeats."""
        return f"__debezium-heartbeat.{self.name}"

    @property
    def schema_history_topic(self) -> str:
        """Topic in which the connector remembers the source's schema; nobody else reads it."""
        return f"{self.name}.schema-history"

    @property
    def notification_topic(self) -> str:
        """Topic in which the connector tells how its snapshots get on."""
        return f"{self.name}.notifications"

    @property
    def dead_letter_topic(self) -> str:
        """Topic of the records that could not be carried, as they came."""
        return f"{self.name}.dead-letter"

    @property
    def quarantine_path(self) -> LakePath:
        """Where the lake table of the records that could not be carried lives."""
        return LakePath(self.name, QUARANTINE_TABLE)

    @property
    def connector_name(self) -> str:
        """Name of the Kafka Connect connector."""
        return f"{self.name}-mysql"

    @property
    def lake_job(self) -> str:
        """Name of the Flink job that writes the lake; also its consumer group."""
        return f"{self.name}-lake"

    @property
    def serving_job(self) -> str:
        """Name of the Flink job that writes the serving views; also its consumer group."""
        return f"{self.name}-serving"

    @property
    def keyspace(self) -> str:
        """Cassandra keyspace of the pipeline's views."""
        return self.name

    @property
    def marts_schema(self) -> str:
        """Trino schema of the marts."""
        return self.pipeline.marts_schema

    def lake_path(self, table: str) -> LakePath:
        """Where a table lives in the lake."""
        return LakePath(self.name, self.table(table).name)

    # --- marts ---

    def mart_sql(self, mart: str) -> str:
        """The mart's SQL as written, tables named ``lake.<table>``."""
        return self.queries[mart].sql

    def mart_tables(self, mart: str) -> tuple[str, ...]:
        """Source tables a mart reads, sorted."""
        return self.queries[mart].tables
