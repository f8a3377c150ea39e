"""Rows as Trino reads them, through Nessie's branch main."""

from __future__ import annotations

from collections.abc import Iterator

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.names import AUDIT_COLUMNS
from lakehouse_dagster.engines.trino import TrinoClient, select
from lakehouse_dagster.proof.subject import PlaceName, PlaceRow, Subject


class TrinoPlace:
    """Lake tables through Trino."""

    name: PlaceName = "trino"

    def __init__(self, contract: Contract, client: TrinoClient) -> None:
        self._contract = contract
        self._client = client

    def prepare(self, subjects: list[Subject]) -> None:
        """Nothing to do."""

    def rows(self, subject: Subject) -> Iterator[PlaceRow]:
        """All rows of the published table."""
        path = self._contract.lake_path(subject.table)
        convert = subject.projection.canonicalizers()
        columns = [*subject.projection.names, AUDIT_COLUMNS[0]]
        sql = select(columns, self._client.catalog, path.database, path.table)
        for row in self._client.rows(sql):
            values = tuple(f(value) for f, value in zip(convert, row, strict=False))
            yield PlaceRow(values, row[-1])

    def close(self) -> None:
        """Nothing to do."""
