"""The pydantic model of a pipeline: what a user writes under ``attributes:`` in ``defs.yaml``.

Only what can be judged without the source's schema is checked here; everything that needs the locked schema
or the marts' SQL is checked when the contract is loaded (:mod:`lakehouse_dagster.contract.loader`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from lakehouse_dagster.contract.evolution import SchemaPolicy, TableSchemaPolicy
from lakehouse_dagster.contract.mart_checks import MartCheck, Text

IDENTIFIER_PATTERN = r"^[a-z][a-z0-9_]{0,47}$"
"""Names the user chooses. 48 characters is what Cassandra allows for the name of a table."""

OWNER_PATTERN = r"^(team:[A-Za-z0-9_.\- ]+|[^@\s]+@[^@\s]+\.[^@\s]+)$"
"""What Dagster accepts as an owner: ``team:name`` or an e-mail address."""

Identifier = Annotated[str, Field(pattern=IDENTIFIER_PATTERN)]
Owner = Annotated[str, Field(pattern=OWNER_PATTERN)]
ServingEngine = Literal["cassandra", "couchdb"]
MartEngine = Literal["trino", "doris"]
MartAutomation = Literal["on_news", "schedule", "by_hand"]

MARTS_MOVED = "marts_moved"
MARTS_MOVED_PROBLEM = "a mart is not listed here: its file says itself what it is"
MARTS_MOVED_FIX = (
    "remove marts, and begin each marts/NAME.sql with the comment `-- mart:` and the mart's fields below it, "
    'such as `--   refresh: "*/5 * * * *"`'
)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Model):
    """The MySQL database whose changes are captured."""

    database: str = Field(
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$", description="Name of the MySQL database."
    )
    epoch: int = Field(
        default=0,
        ge=0,
        le=15,
        description="Raise by one, on purpose, after the source's binary log was reset or another server "
        "took over: positions of the new epoch are newer than all before.",
    )


class Every(_Model):
    """Rows become visible to Iceberg readers at an interval."""

    every: int = Field(
        ge=1,
        le=86_400,
        description="Seconds; rounded down to whole commits, and at least one.",
    )


Visible = Literal["every_commit"] | Every
"""How often rows that are in the lake become visible to Iceberg readers (Nessie, Trino, Doris)."""


class Table(_Model):
    """A source table that is copied to the lake."""

    name: str = Field(min_length=1, max_length=64, description="Name of the table in the source database.")
    description: str = ""
    owner: Owner | None = Field(default=None, description="Defaults to the pipeline's owner.")
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="Descriptions of columns, by column name. All columns are always copied.",
    )
    primary_key: tuple[str, ...] = Field(
        default=(),
        description="Only for a table without a PRIMARY KEY in the source: the columns that tell its rows "
        "apart. They must be NOT NULL, and no two rows may have the same values in them.",
    )
    as_text: tuple[str, ...] = Field(
        default=(),
        description="Columns of type DATE, DATETIME or TIMESTAMP that hold zero dates, or dates with zero in "
        "parts, which no engine's date can hold: they are carried as the text that MySQL prints.",
    )
    visible: Visible | None = Field(
        default=None,
        description="How often new rows become visible to Iceberg readers, which see fully compacted files "
        "only: every_commit, or {every: SECONDS} for a large table; as the pipeline says if left out.",
    )
    partition_by: tuple[str, ...] = Field(
        default=(),
        description="Columns of the primary key, but not all of it, by which the lake table is partitioned: "
        "a compaction rewrites only the partitions that have changed. Fixed once the lake table exists.",
    )
    buckets: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Into how many buckets the rows of a partition are spread, by the rest of their key. "
        "Fixed once the lake table exists.",
    )
    schema_changes: TableSchemaPolicy | None = Field(
        default=None,
        description="What to do when the table's schema changes, by kind of change; the rest as the pipeline "
        "says.",
    )


class View(_Model):
    """A serving view of one table, kept up to date in a serving engine."""

    name: Identifier = Field(description="Name of the Cassandra table or CouchDB database.")
    engine: ServingEngine
    table: str = Field(description="Name of the source table.")
    description: str = ""
    owner: Owner | None = Field(default=None, description="Defaults to the pipeline's owner.")
    columns: tuple[str, ...] | None = Field(default=None, description="Columns to serve; all if left out.")
    partition_key: tuple[str, ...] = Field(
        default=(), description="Cassandra only: the partition key's columns."
    )
    clustering_key: tuple[str, ...] = Field(default=(), description="Cassandra only: the clustering columns.")

    @property
    def key(self) -> tuple[str, ...]:
        """Cassandra: partition and clustering columns; empty for CouchDB, whose id is the source's key."""
        return self.partition_key + self.clustering_key


class Mart(_Model):
    """A table computed from lake tables by the one SELECT in ``marts/<name>.sql``.

    What it says of itself stands in the header of that file (`lakehouse_dagster.contract.mart_header`).
    """

    name: Identifier
    description: Text = ""
    owner: Owner | None = Field(default=None, description="Defaults to the pipeline's owner.")
    automation: MartAutomation = Field(
        default="on_news",
        description="on_news: at a tick of refresh, if a table it reads has changed. schedule: at every "
        "tick. by_hand: never by itself.",
    )
    refresh: str = Field(
        default="*/5 * * * *", description="Cron expression (UTC): how often to refresh at most."
    )
    engines: tuple[MartEngine, ...] = Field(
        default=("trino",), min_length=1, description="Where the mart is kept: trino, doris, or both."
    )
    key: tuple[str, ...] = Field(
        default=(), description="Output columns that tell the mart's rows apart; checked to be so."
    )
    partition: str | None = Field(
        default=None,
        description="Output column of type DATE by which the mart is partitioned and refreshed in parts.",
    )
    checks: tuple[MartCheck, ...] = Field(
        default=(), description="What must hold of its rows before they are published."
    )


class Probe(_Model):
    """A table of the source whose one row is updated all the time, to measure how fresh every place is.

    It has the columns ``id`` (an integer, the primary key), ``beat`` BIGINT and ``written_at`` DATETIME(6).
    The prober makes it when it is missing, and writes nothing else in the source.
    """

    table: str = Field(description="Name of the probe table; it must be among tables.")
    every_seconds: float = Field(
        default=5.0, ge=1.0, le=3600.0, description="Seconds between two updates of the probe row."
    )
    slo_seconds: float = Field(
        default=30.0,
        gt=0.0,
        le=86_400.0,
        description="A place is fresh when 95 of 100 updates can be read there within so many seconds.",
    )


class Retention(_Model):
    """How long versions stay readable. Whatever a branch or tag shows is kept for as long as it exists."""

    publications_hours: float = Field(
        default=24.0,
        ge=0.0,
        le=24.0 * 3660,
        description="Marts, and other Iceberg tables, of earlier commits on main stay readable so long, and "
        "Paimon snapshots are kept so long where the table's own options have not expired them before.",
    )
    branches_days: float | None = Field(
        default=30.0,
        ge=0.0,
        le=3660.0,
        description="A branch without a commit for so long is deleted; null: never.",
    )
    grace_hours: float = Field(
        default=24.0,
        ge=0.0,
        le=24.0 * 3660,
        description="A file is deleted when nothing has needed it for so long: the longest query, and the "
        "longest write that has not committed yet, must be shorter.",
    )


class Pipeline(_Model):
    """One pipeline: a source database, the tables to copy and the views to serve.

    Its marts are the files ``marts/*.sql``, which say themselves what they are.
    """

    name: Identifier
    owner: Owner
    description: str = ""
    source: Source
    tables: tuple[Table, ...] = Field(min_length=1)
    views: tuple[View, ...] = ()
    probe: Probe | None = Field(
        default=None, description="What measures the seconds from commit to readable, place by place."
    )
    retention: Retention = Field(
        default=Retention(), description="How long versions of the lake and the marts stay readable."
    )
    checkpoint_interval_seconds: int = Field(
        default=2,
        ge=1,
        le=3600,
        description="How often the streams commit; this is the freshness of the lake.",
    )
    visible: Visible = Field(
        default="every_commit",
        description="How often new rows become visible to Iceberg readers: every_commit, or "
        "{every: SECONDS}; each table may say otherwise.",
    )
    upgrades: Literal["automatic", "by_hand"] = Field(
        default="automatic",
        description="Whether a running stream whose specification has changed is upgraded at once, or only "
        "when an operator asks for it.",
    )
    schema_changes: SchemaPolicy = Field(
        default=SchemaPolicy(),
        description="What to do when the source's schema changes, by kind of change: apply it, hold it until "
        "a person approves, or ignore it.",
    )

    @model_validator(mode="before")
    @classmethod
    def _no_marts(cls, data: Any) -> Any:
        if isinstance(data, dict) and "marts" in data:
            raise PydanticCustomError(MARTS_MOVED, f"marts: {MARTS_MOVED_PROBLEM}. Fix: {MARTS_MOVED_FIX}.")
        return data

    @property
    def marts_schema(self) -> str:
        """Schema of the marts in Trino."""
        return f"{self.name}_marts"
