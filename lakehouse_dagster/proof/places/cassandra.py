"""Rows of a serving view in Cassandra."""

from __future__ import annotations

from collections.abc import Iterator

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.names import SERVING_POSITION
from lakehouse_dagster.engines.cassandra import CassandraClient, identifier
from lakehouse_dagster.proof.subject import PlaceName, PlaceRow, Subject


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
        convert = subject.projection.canonicalizers()
        names = ", ".join(identifier(name) for name in (*subject.projection.names, SERVING_POSITION))
        table = f"{identifier(self._contract.keyspace)}.{identifier(subject.label)}"
        # Identifiers only, and quoted.
        for row in self._client.rows(f"SELECT {names} FROM {table}"):  # noqa: S608
            values = tuple(f(value) for f, value in zip(convert, row, strict=False))
            yield PlaceRow(values, row[-1])

    def close(self) -> None:
        """Nothing to do."""
