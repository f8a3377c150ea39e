"""What is compared: which columns of which table, under which key, in which place."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from lakehouse_dagster.contract.canonical import canonicalizer
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.schema import Column

PlaceName = Literal["paimon", "trino", "cassandra", "couchdb"]
Key = tuple[str | None, ...]
"""Canonical texts of a projection's key."""
LAKE_PLACES: tuple[PlaceName, ...] = ("paimon", "trino")
PLACES: tuple[PlaceName, ...] = (*LAKE_PLACES, "cassandra", "couchdb")


@dataclass(frozen=True)
class Projection:
    """Columns of a source table and the key that tells its rows apart.

    For a lake table all columns and the primary key, for a view its own columns and key.
    """

    table: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def key_columns(self) -> tuple[Column, ...]:
        """The key's columns, in the key's order."""
        return tuple(self.columns[at] for at in self.key_positions)

    @property
    def key_positions(self) -> tuple[int, ...]:
        """Where the key's columns are among the columns."""
        names = self.names
        return tuple(names.index(name) for name in self.key)

    def canonicalizers(self) -> list[Callable[[object], str | None]]:
        """One function per column that brings a value from any place to its canonical text."""
        return [canonicalizer(column) for column in self.columns]


@dataclass(frozen=True)
class Subject:
    """One comparison: a projection of a source table and where its copy is (`view` None: a lake table)."""

    place: PlaceName
    projection: Projection
    view: str | None = None

    @property
    def table(self) -> str:
        """The source table."""
        return self.projection.table

    @property
    def label(self) -> str:
        """What people call it: the view's name, or the table's."""
        return self.view or self.table


@dataclass(frozen=True)
class PlaceRow:
    """One row of a place: canonical texts in the order of the projection's columns, and its position."""

    values: tuple[str | None, ...]
    position: int | None


class Place(Protocol):
    """A place that can hand out all rows of its subjects, more than once."""

    name: PlaceName

    def prepare(self, subjects: list[Subject]) -> None:
        """Do once what all subjects need; called before the first `rows`."""

    def rows(self, subject: Subject) -> Iterator[PlaceRow]:
        """All rows of the subject. EngineError when its table does not exist or cannot be read."""

    def close(self) -> None:
        """Remove what `prepare` left and close the connections."""


class KeyedPlace(Place, Protocol):
    """A place that can also hand out the rows of some keys."""

    def look_up(self, wanted: Mapping[Subject, Collection[Key]]) -> Iterator[tuple[Subject, PlaceRow]]:
        """The rows under the wanted keys as they are now, and perhaps rows of other keys too."""


def subjects(contract: Contract) -> list[Subject]:
    """Everything a pipeline has to prove: each table in each lake place, and each view in its engine."""
    found = []
    for table in contract.tables:
        schema = contract.schema(table.name)
        projection = Projection(table.name, schema.columns, schema.primary_key)
        found += [Subject(place, projection) for place in LAKE_PLACES]
    for view in contract.views:
        projection = Projection(view.table, tuple(contract.view_columns(view)), contract.view_key(view))
        found.append(Subject(view.engine, projection, view.name))
    return found
