"""Rows as Trino reads them, through Nessie's branch main."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.names import AUDIT_COLUMNS
from lakehouse_dagster.contract.schema import Column
from lakehouse_dagster.contract.types import mapping
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.paimon import PaimonTables
from lakehouse_dagster.engines.trino import TrinoClient, identifier, literal, select
from lakehouse_dagster.proof.subject import Key, PlaceName, PlaceRow, Subject

CHUNK = 500
"""Keys asked for in one statement."""
MOST_LOOKED_UP = 5_000
"""More keys than that are not asked for: the whole table is read."""


class TrinoPlace:
    """Lake tables through Trino.

    A table without a first record has no version that could be published: Trino does not know it, and it has
    no rows.
    """

    name: PlaceName = "trino"

    def __init__(self, contract: Contract, client: TrinoClient, paimon: PaimonTables) -> None:
        self._contract = contract
        self._client = client
        self._paimon = paimon

    def prepare(self, subjects: list[Subject]) -> None:
        """Nothing to do."""

    def rows(self, subject: Subject) -> Iterator[PlaceRow]:
        """All rows of the published table."""
        yield from self._read(subject, [None])

    def look_up(self, wanted: Mapping[Subject, Collection[Key]]) -> Iterator[tuple[Subject, PlaceRow]]:
        """The rows of the wanted keys, some hundred at a time; all rows where that is cheaper."""
        for subject, keys in wanted.items():
            conditions = None if len(keys) > MOST_LOOKED_UP else _conditions(subject, list(keys))
            for row in self._read(subject, [None] if conditions is None else conditions):
                yield subject, row

    def _read(self, subject: Subject, conditions: Iterable[str | None]) -> Iterator[PlaceRow]:
        path = self._contract.lake_path(subject.table)
        convert = subject.projection.canonicalizers()
        columns = [*subject.projection.names, AUDIT_COLUMNS[0]]
        sql = select(columns, self._client.catalog, path.database, path.table)
        for condition in conditions:
            try:
                for row in self._client.rows(sql if condition is None else f"{sql} WHERE {condition}"):
                    values = tuple(f(value) for f, value in zip(convert, row, strict=False))
                    yield PlaceRow(values, row[-1])
            except EngineError as error:
                unknown = error.message.startswith(("TABLE_NOT_FOUND", "SCHEMA_NOT_FOUND"))
                if not unknown or self._paimon.latest_id(path.database, path.table) is not None:
                    raise

    def close(self) -> None:
        """Nothing to do."""


def _conditions(subject: Subject, keys: Sequence[Key]) -> list[str] | None:
    """Conditions that pick the keys' rows, some hundred each; None when a key cannot be asked for."""
    columns = subject.projection.key_columns
    names = [identifier(column.name) for column in columns]
    left = names[0] if len(names) == 1 else f"({', '.join(names)})"
    try:
        texts = [[literal_of(c, text) for c, text in zip(columns, key, strict=True)] for key in keys]
    except ValueError:
        return None
    rows = [row[0] if len(row) == 1 else f"({', '.join(row)})" for row in texts]
    return [f"{left} IN ({', '.join(rows[at : at + CHUNK])})" for at in range(0, len(rows), CHUNK)]


def literal_of(column: Column, text: str | None) -> str:
    """A canonical text as an SQL expression of the column's type in Trino.

    Raises:
        ValueError: It stands for no value of that type, or the type is none that a key is looked up by.
    """
    if text is None:
        raise ValueError(f"{column.name} is NULL, which no key is")
    carried = mapping(column)
    if carried.family in {"json", "geometry", "vector"}:
        raise ValueError(f"{column.name}: a {carried.family} is never a key")
    if carried.trino == "varchar":
        return literal(text)
    if text.startswith("!"):
        raise ValueError(f"{column.name}: {text[:60]!r} is no value of type {column.mysql_type}")
    if carried.trino == "varbinary":
        raw = base64.b64decode(text) if carried.family == "bytes" else _bits(text, carried.length)
        return f"X'{raw.hex()}'"
    if carried.family == "timestamp":
        text = text.removesuffix("Z").replace("T", " ")
    return f"CAST({literal(text)} AS {carried.trino})"


def _bits(text: str, length: int) -> bytes:
    try:
        return int(text).to_bytes(length, "little")
    except OverflowError as error:
        raise ValueError(text) from error
