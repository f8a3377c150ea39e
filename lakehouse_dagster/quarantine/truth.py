"""What stands for a quarantined record: what the source says of its row, as records that are true.

The record itself is never written again: an older change after a newer one would bring back what is gone. Its
key says which row it is about, the source says how that row is at one exact position, and a record in the
connector's own form says so (``render.records``). It beats what came before and loses to what comes after.

Where a view's key moves with the row, the record alone may know which place the row has left. It is read from
the record where that can be read; else only a comparison of the whole view can tell.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from lakehouse_dagster.contract.canonical import canonical
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.names import WIRE_PREFIX
from lakehouse_dagster.contract.schema import Column
from lakehouse_dagster.contract.types import Family, mapping
from lakehouse_dagster.contract.wire import NoWireForm, to_wire
from lakehouse_dagster.quarantine.model import shown
from lakehouse_dagster.render import quoting
from lakehouse_dagster.render.mysql import source_select
from lakehouse_dagster.render.records import At, Row, WireRecord, delete_record, moved_record, row_record

if TYPE_CHECKING:
    from lakehouse_dagster.engines.mysql import SourceSnapshot

Key = tuple[str, ...]
"""Canonical texts of a primary key."""
Left = Mapping[str, str]
"""A place in the views that a row has left: canonical texts of the columns that move it."""

LOOKED_UP: Final = 200
"""Rows that are asked for by their keys in one statement."""


class Unreadable(ValueError):  # noqa: N818 - names what the record is, like the message
    """The record does not tell what has to be known; the message says what."""


# --- what a record tells ---------------------------------------------------------------------------


def key_of(contract: Contract, table: str, key: bytes | None) -> Key:
    """Return the primary key in a record's key, which is JSON; raises ``Unreadable``."""
    columns = contract.schema(table).primary_key
    if key is None:
        raise Unreadable("the record has no key")
    try:
        body = json.loads(key)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"its key {shown(key)} is no JSON") from error
    if not isinstance(body, dict) or set(body) != set(columns):
        raise Unreadable(f"its key {shown(key)} is not of the columns {', '.join(columns)}")
    schema = contract.schema(table)
    return tuple(_text(schema.column(name), body[name], "its key") for name in columns)


def left_places(contract: Contract, table: str, raw: bytes | None) -> tuple[Left, ...]:
    """Return the places in the views that the record says the row has left; raises ``Unreadable``.

    A table of which no view's key moves has none, whatever the record holds.
    """
    moving = contract.before_columns(table)
    if not moving:
        return ()
    try:
        body: Any = json.loads(raw or b"null")
    except (ValueError, RecursionError) as error:
        raise Unreadable("it is no JSON") from error
    operation = body.get(f"{WIRE_PREFIX}op") if isinstance(body, dict) else None
    if operation in ("c", "r"):
        return ()
    if operation not in ("u", "d"):
        raise Unreadable(f"its operation {operation!r} is not known")
    # A deleted row is carried as it was before.
    prefix = f"{WIRE_PREFIX}before_" if operation == "u" else ""
    schema = contract.schema(table)
    return ({name: _text(schema.column(name), body.get(prefix + name), "it") for name in moving},)


def _text(column: Column, value: object, of: str) -> str:
    """Return the canonical text of a value of the wire; raises ``Unreadable`` for one of another type."""
    text = canonical(column, value)
    # A mark of what could not be converted; a text that looks like it has no quotes around it.
    if text is None or text == f"!{value!r}":
        raise Unreadable(f"{of} has no value of type {column.mysql_type} in column {column.name}")
    try:
        to_wire(column, text)
    except NoWireForm as error:
        raise Unreadable(f"{of}: {error}") from error
    return text


# --- what the source says ----------------------------------------------------------------------------


def _as_it_is(text: str) -> str:
    return text


def _datetime(text: str) -> str:
    return text.removesuffix("Z").replace("T", " ")


_COMPARABLE: Final[dict[Family, Callable[[str], str | int]]] = {
    "integer": int,
    "decimal": _as_it_is,
    "date": _as_it_is,
    "timestamp": _datetime,
    "text": _as_it_is,
}
"""Families whose canonical text makes a value that MySQL finds equal to the column's own, and how.

Others, such as approximate numbers, are not looked up: a row that was not found would be taken for deleted.
"""


def can_be_looked_up(contract: Contract, table: str) -> bool:
    """Whether rows of a table can be found by their key without reading all of it."""
    schema = contract.schema(table)
    return all(mapping(schema.column(name)).family in _COMPARABLE for name in schema.primary_key)


def rows_of(contract: Contract, snapshot: SourceSnapshot, table: str, keys: Sequence[Key]) -> dict[Key, Row]:
    """Return the rows that the source has under ``keys`` at the snapshot.

    They are looked up by their keys where that is exact, else found by reading the whole table. A row is
    taken only under the very key that was asked for: to a collation, other keys may be equal to it.
    """
    wanted = set(keys)
    found: dict[Key, Row] = {}
    schema = contract.schema(table)
    for values in _read(contract, snapshot, table, keys):
        row = {
            column.name: canonical(column, value)
            for column, value in zip(schema.columns, values, strict=True)
        }
        key = tuple(row[name] or "" for name in schema.primary_key)
        if key in wanted:
            found[key] = row
    return found


def _read(
    contract: Contract, snapshot: SourceSnapshot, table: str, keys: Sequence[Key]
) -> Iterator[tuple[Any, ...]]:
    if not can_be_looked_up(contract, table):
        yield from snapshot.rows(source_select(contract, table))
        return
    for start in range(0, len(keys), LOOKED_UP):
        yield from snapshot.rows(*lookup(contract, table, keys[start : start + LOOKED_UP]))


def lookup(contract: Contract, table: str, keys: Sequence[Key]) -> tuple[str, list[str | int]]:
    """Return the statement that reads the rows of ``keys``, and its arguments."""
    schema = contract.schema(table)
    columns = [schema.column(name) for name in schema.primary_key]
    one = "(" + " AND ".join(f"{_doubled(quoting.mysql(column.name))} = %s" for column in columns) + ")"
    select, order = source_select(contract, table).rsplit("\nORDER BY ", 1)
    conditions = " OR ".join([one] * len(keys))
    values = [
        _COMPARABLE[mapping(column).family](text)
        for key in keys
        for column, text in zip(columns, key, strict=True)
    ]
    return f"{_doubled(select)}\nWHERE {conditions}\nORDER BY {_doubled(order)}", values


def _doubled(sql: str) -> str:
    return sql.replace("%", "%%")


def records(
    contract: Contract, table: str, key: Key, row: Row | None, left: Sequence[Left], at: At
) -> list[WireRecord]:
    """Return the records that say how the source's row of ``key`` is at ``at`` (``row`` None: it is gone).

    Raises ``NoWireForm`` naming the column whose value cannot be carried.
    """
    from lakehouse_dagster.streams.corrections import any_value

    if row is not None:
        moved = [place for place in left if any(row[name] != text for name, text in place.items())]
        makers = [partial(moved_record, contract, table, row, place) for place in moved]
        return [make(at) for make in makers] or [row_record(contract, table, row, at)]
    schema = contract.schema(table)
    # A column in the key of a view must have a value there, any value: with a primary key that is gone the
    # view may hold no row at all.
    filled = {name: any_value(schema.column(name)) for name in contract.before_columns(table)}
    gone: Row = filled | dict(zip(schema.primary_key, key, strict=True))
    return [delete_record(contract, table, {**gone, **place}, at) for place in left or ({},)]
