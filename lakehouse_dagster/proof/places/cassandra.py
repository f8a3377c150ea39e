"""Rows of a serving view in Cassandra."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.names import SERVING_POSITION
from lakehouse_dagster.contract.schema import Column
from lakehouse_dagster.contract.types import mapping
from lakehouse_dagster.engines.cassandra import CassandraClient, identifier
from lakehouse_dagster.proof.subject import Key, PlaceName, PlaceRow, Subject

MOST_LOOKED_UP = 20_000
"""More keys than that are not asked for one by one: the whole view is read."""


class CassandraPlace:
    """Serving views in the pipeline's keyspace."""

    name: PlaceName = "cassandra"

    def __init__(self, contract: Contract, client: CassandraClient) -> None:
        self._contract = contract
        self._client = client

    def prepare(self, subjects: list[Subject]) -> None:
        """Nothing to do."""

    def rows(self, subject: Subject) -> Iterator[PlaceRow]:
        """All rows of the view."""
        yield from self._read(subject, self._select(subject), [None])

    def look_up(self, wanted: Mapping[Subject, Collection[Key]]) -> Iterator[tuple[Subject, PlaceRow]]:
        """The rows of the wanted keys, one by one; all rows where that is cheaper."""
        for subject, keys in wanted.items():
            asked = None if len(keys) > MOST_LOOKED_UP else _arguments(subject, keys)
            if asked is None:
                found = self.rows(subject)
            else:
                where = " AND ".join(f"{identifier(name)} = %s" for name in subject.projection.key)
                found = self._read(subject, f"{self._select(subject)} WHERE {where}", asked)
            for row in found:
                yield subject, row

    def _read(self, subject: Subject, cql: str, asked: Iterable[Sequence[Any] | None]) -> Iterator[PlaceRow]:
        convert = subject.projection.canonicalizers()
        for args in asked:
            for row in self._client.rows(cql, args):
                values = tuple(f(value) for f, value in zip(convert, row, strict=False))
                yield PlaceRow(values, row[-1])

    def _select(self, subject: Subject) -> str:
        names = ", ".join(identifier(name) for name in (*subject.projection.names, SERVING_POSITION))
        # Identifiers only, and quoted.
        return f"SELECT {names} FROM {identifier(self._contract.keyspace)}.{identifier(subject.label)}"  # noqa: S608

    def close(self) -> None:
        """Nothing to do."""


def _arguments(subject: Subject, keys: Iterable[Key]) -> list[Sequence[Any]] | None:
    """The keys as the driver takes them; None when one cannot be asked for."""
    try:
        return [
            [argument(column, text) for column, text in zip(subject.projection.key_columns, key, strict=True)]
            for key in keys
        ]
    except ValueError:
        return None


def argument(column: Column, text: str | None) -> Any:
    """A canonical text as the driver writes it for the column's Cassandra type.

    Raises:
        ValueError: It stands for no value of that type, or the type is none that a key is looked up by.
    """
    if text is None:
        raise ValueError(f"{column.name} is NULL, which no key is")
    carried = mapping(column)
    try:
        match carried.cassandra:
            case "int" | "bigint" | "smallint" | "tinyint" | "varint":
                return int(text)
            case "decimal":
                return Decimal(text)
            case "float" | "double":
                return float(text)
            case "boolean":
                return {"true": True, "false": False}[text]
            case "blob" if carried.family == "bits":
                return int(text).to_bytes(carried.length, "little")
            case "blob":
                return base64.b64decode(text, validate=True)
            case "date":
                return date.fromisoformat(text).isoformat()
            case "timestamp":
                moment = datetime.fromisoformat(text)
                if moment.microsecond % 1000:
                    raise ValueError(text)
                # Cassandra's own literals have milliseconds.
                return f"{text[:23]}Z"
            case "text":
                return text
    except (ArithmeticError, KeyError, OverflowError, ValueError) as error:
        raise ValueError(f"{column.name}: {text[:60]!r} is no value of type {column.mysql_type}") from error
    raise ValueError(f"{column.name}: keys of type {carried.cassandra} are not looked up")
