"""What a lineage event says, as plain values.

:mod:`lakehouse_dagster.lineage.events` puts it into OpenLineage's form.

Nothing here needs the OpenLineage client, which takes a second to import.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, NamedTuple

from lakehouse_dagster.contract.column_lineage import Derivation


class DatasetName(NamedTuple):
    """How OpenLineage names a dataset: where it is, and what it is called there."""

    namespace: str
    name: str


@dataclass(frozen=True)
class Field:
    """A column of a dataset, with its type in the dataset's engine."""

    name: str
    type: str = ""
    description: str = ""


class FieldOrigin(NamedTuple):
    """A column that another dataset's column comes from, and how."""

    dataset: DatasetName
    field: str
    how: Derivation


@dataclass(frozen=True)
class Catalog:
    """The catalog that a table is found by."""

    framework: str
    type: str
    name: str
    uri: str
    warehouse: str


@dataclass(frozen=True)
class DatasetFacts:
    """A dataset that a run reads or writes, and what is known of it.

    Attributes:
        fields: Its columns in order; empty: not told.
        origins: What each column comes from; empty: not told.
        version: A Paimon snapshot's id, or a Nessie commit's hash.
        also: Other names under which the same data is found.
        rows: Rows that the run has left in it.
        bytes: Their size.
    """

    id: DatasetName
    fields: tuple[Field, ...] = ()
    origins: Mapping[str, tuple[FieldOrigin, ...]] = field(default_factory=dict)
    version: str | None = None
    also: tuple[DatasetName, ...] = ()
    catalog: Catalog | None = None
    storage: str | None = None
    rows: int | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class Job:
    """What runs. ``integration`` is the engine (``FLINK``), ``type`` its word for it (``QUERY``)."""

    name: str
    processing: Literal["BATCH", "STREAMING", "SERVICE"]
    integration: str
    type: str
    description: str = ""
    owner: str = ""
    sql: str = ""
    dialect: str = ""


@dataclass(frozen=True)
class Engine:
    """The program that does the work of a run."""

    name: str
    version: str


@dataclass(frozen=True)
class Parent:
    """The run that has started a run: a Dagster run (``run_id`` is a UUID) and its job's name."""

    run_id: str
    job: str


class State(StrEnum):
    """What an event tells of its run; the values are OpenLineage's."""

    START = "START"
    COMPLETE = "COMPLETE"
    ABORT = "ABORT"
    FAIL = "FAIL"


@dataclass(frozen=True)
class RunFacts:
    """One event of a run. ``at`` is ISO 8601 with a time zone, ``run_id`` a UUID."""

    state: State
    run_id: str
    at: str
    job: Job
    inputs: tuple[DatasetFacts, ...] = ()
    outputs: tuple[DatasetFacts, ...] = ()
    engine: Engine | None = None
    parent: Parent | None = None
    error: str = ""
    asked_by: str = ""
    """Who or what has had it run, in words."""
