"""Columns that a contract carries as text: in its schema, not in its lock."""

from __future__ import annotations

from typing import Any

from lakehouse_dagster.contract import load_contract
from lakehouse_dagster.contract.types import mapping
from lakehouse_dagster.render.flink_sql import lake_script
from lakehouse_dagster.render.mysql import source_select
from tests.unit.contract.conftest import Write


def test_the_schema_is_marked_and_the_lock_is_not(write: Write, attributes: dict[str, Any]) -> None:
    attributes["tables"][0]["as_text"] = ["paid_at"]
    contract = load_contract(write(attributes))
    assert mapping(contract.schema("orders").column("paid_at")).kind == "timestamp_text"
    assert mapping(contract.schema("orders").column("placed_at")).kind == "timestamp"
    assert mapping(contract.lock.tables["orders"].column("paid_at")).kind == "timestamp"


def test_every_place_has_it_as_text(write: Write, attributes: dict[str, Any]) -> None:
    attributes["tables"][0]["as_text"] = ["paid_at"]
    contract = load_contract(write(attributes))
    statements = "\n".join(lake_script(contract).statements)
    assert '"paid_at":"timestamp_text"' in statements
    assert "`paid_at` STRING" in statements
    assert "CAST(`paid_at` AS CHAR) AS `paid_at`" in source_select(contract, "orders")
