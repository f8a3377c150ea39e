"""What the publisher reads of the lake, over a lake that only pretends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lakehouse_dagster.contract.contract import LakePath
from lakehouse_dagster.contract.loader import load_contract
from lakehouse_dagster.engines.paimon import ColumnBounds
from lakehouse_dagster.governance.publisher import Publisher, published
from tests.unit.contract.conftest import Write, orders_attributes, write  # noqa: F401


def test_readers_see_all_tables_and_the_quarantine(write: Write) -> None:  # noqa: F811
    contract = load_contract(write(orders_attributes()))
    assert published(contract) == {
        "orders": LakePath("orders", "orders"),
        "shops": LakePath("orders", "shops"),
        "_quarantine": LakePath("orders", "_quarantine"),
    }


@pytest.mark.parametrize(("table", "column"), [("shops", "_committed_at"), ("_quarantine", "recorded_at")])
def test_the_time_of_a_table_is_that_of_its_own_column(table: str, column: str) -> None:
    asked: list[str] = []

    class Paimon:
        def iceberg(self, database: str, table: str) -> Any:
            return SimpleNamespace(
                version=3,
                location="s3://v3",
                snapshot_id=3,
                schema_id=0,
                spec_id=0,
                sort_order_id=0,
                columns=("_position",),
                table_uuid="u",
                table_location="s3://t",
            )

        def complete(self, *_: object) -> bool:
            return True

        def bounds(self, state: object, *, committed_at: str) -> ColumnBounds:
            asked.append(committed_at)
            return ColumnBounds(None, None, rows=2, bytes=10)

    publisher = object.__new__(Publisher)
    publisher.paimon = Paimon()  # type: ignore[assignment]
    found = publisher.read_version(LakePath("orders", table))
    assert found is not None
    number, version = found
    assert (number, version.table, version.key, version.rows) == (3, table, ("orders", table), 2)
    assert asked == [column]
