"""What a topic must still say so that every place becomes equal to the source: a pure function.

The proof names rows that differ. They are held against one later snapshot of the source, and for each a
record is made that says what is true at that snapshot's position: the row as it is there, or that it is gone.
Such a record beats everything the places have from before and loses to every change after it, so it is right
whatever happens meanwhile, and saying it twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from lakehouse_dagster.contract.canonical import canonical
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.schema import Column
from lakehouse_dagster.contract.types import Family, mapping
from lakehouse_dagster.contract.wire import NoWireForm
from lakehouse_dagster.proof.verify import Difference
from lakehouse_dagster.render.records import At, Row, WireRecord, delete_record, moved_record, row_record

Key = tuple[str | None, ...]
"""Canonical texts of a primary key."""


@dataclass(frozen=True)
class Correction:
    """A record to write, and what it does: ``delete`` a row, ``move`` it in a view, or ``write`` it anew.

    Without a record it tells in ``problem`` why there can be none.
    """

    record: WireRecord | None
    kind: str
    problem: str = ""


def key_of(contract: Contract, table: str, row: Row) -> Key:
    """The primary key of a row. Every view has its columns."""
    return tuple(row[name] for name in contract.schema(table).primary_key)


def corrections(
    contract: Contract, table: str, differences: Sequence[Difference], truth: Mapping[Key, Row], at: At
) -> Iterator[Correction]:
    """The records for the differing rows of one table.

    Args:
        contract: The pipeline.
        table: The source table.
        differences: Differing rows of this table, in any place.
        truth: The rows that the source has at ``at``, at least those with a key of a differing row.
        at: The position of that snapshot of the source.
    """
    by_key: dict[Key, list[Difference]] = {}
    for difference in differences:
        by_key.setdefault(key_of(contract, table, difference.row), []).append(difference)
    for key, found in by_key.items():
        row = truth.get(key)
        if row is None:
            yield from _gone(contract, table, found, at)
        else:
            yield from _there(contract, table, found, row, at)


def _gone(contract: Contract, table: str, found: Sequence[Difference], at: At) -> Iterator[Correction]:
    # The lake has all columns; a view may have only some.
    whole: Row = next((d.row for d in found if d.subject.view is None), {})
    moving = contract.before_columns(table)
    # A column in the key of another view must have a value there, any value: with a primary key that is gone
    # that view may hold no row at all.
    filled: Row = {name: any_value(contract.schema(table).column(name)) for name in moving}
    said = set()
    for difference in found:
        row = {**filled, **whole, **difference.row}
        place = tuple(row[name] for name in moving)
        if place in said:
            continue
        said.add(place)
        yield _made(partial(delete_record, contract, table, row, at), "delete", difference)


_ANY: Final[dict[Family, str]] = {
    "integer": "0",
    "float": "0.0",
    "double": "0.0",
    "boolean": "false",
    "bits": "0",
    "date": "1970-01-01",
    "timestamp": "1970-01-01T00:00:00.000000Z",
    "time": "0",
    "text": "-",  # Cassandra refuses an empty key
    "json": "0",
    "bytes": "AA==",
}


def any_value(column: Column) -> str:
    """Return the canonical text of some value of a column's type that every engine takes in a key."""
    family = mapping(column).family
    return canonical(column, 0) or "" if family == "decimal" else _ANY[family]


def _there(
    contract: Contract, table: str, found: Sequence[Difference], row: Row, at: At
) -> Iterator[Correction]:
    said = set()
    for difference in found:
        view = difference.subject.view
        if difference.kind != "extra" or view is None:
            continue
        left = {name: difference.row[name] for name in contract.moving_key_columns(view)}
        place = tuple(sorted(left.items()))
        if place in said or all(row[name] == value for name, value in left.items()):
            continue
        said.add(place)
        yield _made(partial(moved_record, contract, table, row, left, at), "move", difference)
    if not said:
        # The record of a move has the whole row too.
        yield _made(partial(row_record, contract, table, row, at), "write", found[0])


def _made(make: Callable[[], WireRecord], kind: str, difference: Difference) -> Correction:
    try:
        return Correction(make(), kind)
    except NoWireForm as error:
        subject = difference.subject
        return Correction(None, kind, f"{subject.place}: {subject.label}: {error}")
