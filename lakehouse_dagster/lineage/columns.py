"""Column-level lineage of a pipeline, from the source's columns to those of views and marts; pure.

Every place takes a table's columns as they are, so up to the lake and the views the lineage follows from the
contract; a mart's follows from its SELECT (:mod:`lakehouse_dagster.contract.column_lineage`). The audit
columns come from the coordinates that the connector adds to each record, which no column of the source holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Final, NamedTuple

from lakehouse_dagster.contract.column_lineage import Derivation, SelectColumn, select_lineage
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.names import SERVING_POSITION

COORDINATES: Final = ("__source_epoch", "__source_file", "__source_pos", "__source_row")
"""Fields of a record that make up the source position."""

RECORD_FIELDS: Final = {
    "__deleted": ("string", "'true' where the change deletes the row."),
    "__source_epoch": ("string", "Epoch in which the connector read the change."),
    "__source_file": ("string", "Binary log file of the change."),
    "__source_pos": ("number", "Byte of the change's event in that file."),
    "__source_row": ("number", "Row within the event."),
    "__source_gtid": ("string", "Global transaction id; null in rows of a snapshot."),
    "__source_ts_us": ("number", "When the source committed the change, in microseconds since 1970."),
}
"""Fields that the connector adds to each record and that columns come from: JSON type and meaning."""

AUDIT_ORIGINS: Final[Mapping[str, tuple[str, ...]]] = {
    "_position": COORDINATES,
    "_gtid": ("__source_gtid",),
    "_committed_at": ("__source_ts_us",),
    "_op": ("__deleted",),
}
"""Which fields of a record each audit column of a lake table is made from."""


class Layer(StrEnum):
    """A layer whose datasets have columns; the values are those in the assets' keys."""

    SOURCE = "source"
    TOPICS = "topics"
    LAKE = "lake"
    VIEWS = "views"
    MARTS = "marts"


class Dataset(NamedTuple):
    """A table, topic, view or mart of a pipeline."""

    layer: Layer
    name: str


class Column(NamedTuple):
    """A column of a dataset."""

    dataset: Dataset
    name: str

    def __str__(self) -> str:
        return f"{self.dataset.layer}/{self.dataset.name}.{self.name}"


class Origin(NamedTuple):
    """A column that another one is computed from, and how."""

    column: Column
    how: Derivation


Origins = Mapping[str, tuple[Origin, ...]]
"""What each column of a dataset comes from, in the dataset's order; empty for what comes from no column."""


def datasets(contract: Contract) -> list[Dataset]:
    """Every dataset of a pipeline, each after those it comes from."""
    tables = [table.name for table in contract.tables]
    return [
        *(Dataset(layer, name) for layer in (Layer.SOURCE, Layer.TOPICS, Layer.LAKE) for name in tables),
        *(Dataset(Layer.VIEWS, view.name) for view in contract.views),
        *(Dataset(Layer.MARTS, mart.name) for mart in contract.marts),
    ]


def inputs(contract: Contract, dataset: Dataset) -> tuple[Dataset, ...]:
    """The datasets that one is made from, whether or not a column's value comes from them."""
    match dataset.layer:
        case Layer.SOURCE:
            return ()
        case Layer.TOPICS:
            return (Dataset(Layer.SOURCE, dataset.name),)
        case Layer.LAKE:
            return (Dataset(Layer.TOPICS, dataset.name),)
        case Layer.VIEWS:
            return (Dataset(Layer.TOPICS, contract.view(dataset.name).table),)
        case Layer.MARTS:
            return tuple(Dataset(Layer.LAKE, table) for table in contract.mart_tables(dataset.name))


def origins(contract: Contract, dataset: Dataset) -> Origins:
    """What each column of a dataset comes from.

    Raises:
        KeyError: The pipeline has no such dataset.
    """
    match dataset.layer:
        case Layer.SOURCE:
            return dict.fromkeys(contract.schema(dataset.name).column_names, ())
        case Layer.TOPICS:
            came = Dataset(Layer.SOURCE, dataset.name)
            names = contract.schema(dataset.name).column_names
            return {**_same(came, names), **dict.fromkeys(RECORD_FIELDS, ())}
        case Layer.LAKE:
            came = Dataset(Layer.TOPICS, dataset.name)
            made = {name: _made(came, fields) for name, fields in AUDIT_ORIGINS.items()}
            return {**_same(came, contract.schema(dataset.name).column_names), **made}
        case Layer.VIEWS:
            view = contract.view(dataset.name)
            came = Dataset(Layer.TOPICS, view.table)
            names = tuple(column.name for column in contract.view_columns(view))
            return {**_same(came, names), SERVING_POSITION: _made(came, COORDINATES)}
        case Layer.MARTS:
            return {
                column.name: tuple(
                    Origin(Column(Dataset(Layer.LAKE, source.table), source.column), how)
                    for source, how in column.sources.items()
                )
                for column in mart_columns(contract, dataset.name)
            }


def mart_columns(contract: Contract, mart: str) -> tuple[SelectColumn, ...]:
    """The output columns of a mart, each with its expression and the lake's columns in it."""
    schemas = {table.name: contract.schema(table.name) for table in contract.tables}
    return select_lineage(contract.mart_sql(mart), schemas, f"marts/{mart}.sql")


def _same(came: Dataset, names: tuple[str, ...]) -> Origins:
    return {name: (Origin(Column(came, name), Derivation.IDENTITY),) for name in names}


def _made(came: Dataset, fields: tuple[str, ...]) -> tuple[Origin, ...]:
    how = Derivation.IDENTITY if len(fields) == 1 and fields[0] == "__source_gtid" else None
    return tuple(Origin(Column(came, field), how or Derivation.TRANSFORMATION) for field in fields)


@dataclass(frozen=True)
class ColumnGraph:
    """All columns of a pipeline and what comes from what."""

    contract: Contract

    @cached_property
    def upstream(self) -> Mapping[Column, tuple[Origin, ...]]:
        """What each column comes from, one step back."""
        return {
            Column(dataset, name): came
            for dataset in datasets(self.contract)
            for name, came in origins(self.contract, dataset).items()
        }

    @cached_property
    def downstream(self) -> Mapping[Column, tuple[Origin, ...]]:
        """What comes from each column, one step on; an ``Origin`` here names the column that is made."""
        found: dict[Column, list[Origin]] = {column: [] for column in self.upstream}
        for column, came in self.upstream.items():
            for origin in came:
                found[origin.column].append(Origin(column, origin.how))
        return {column: tuple(made) for column, made in found.items()}

    def find(self, name: str) -> list[Column]:
        """The columns called ``DATASET.COLUMN`` or ``LAYER/DATASET.COLUMN``, in the order of the layers."""
        layer, _, rest = name.rpartition("/")
        return [
            column
            for column in self.upstream
            if f"{column.dataset.name}.{column.name}".lower() == rest.lower()
            and layer in ("", column.dataset.layer)
        ]

    def sources(self, column: Column) -> Iterator[Column]:
        """The columns at the beginning of a column's lineage, each once."""
        seen: set[Column] = set()
        waiting = [column]
        while waiting:
            at = waiting.pop()
            came = self.upstream[at]
            if not came and at not in seen:
                seen.add(at)
                yield at
            waiting += [origin.column for origin in reversed(came) if origin.column not in seen]
