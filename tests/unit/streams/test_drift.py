from __future__ import annotations

import dataclasses

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.loader import discover
from lakehouse_dagster.contract.schema import SchemaLock
from lakehouse_dagster.engines.paimon import PaimonSchema
from lakehouse_dagster.render import paimon
from lakehouse_dagster.streams.drift import lake_drift, source_drift


def flights() -> Contract:
    return next(contract for contract in discover() if contract.name == "flights")


def made_under(contract: Contract, table: str, **types: str) -> PaimonSchema:
    columns = tuple((name, types.get(name, kind)) for name, kind in paimon.columns(contract, table))
    key = tuple(contract.schema(table).primary_key)
    return PaimonSchema(0, columns, key, options={"bucket": "1"})


def test_a_lake_table_of_the_same_contract_has_no_drift() -> None:
    contract = flights()
    found = {table.name: made_under(contract, table.name) for table in contract.tables}
    assert lake_drift(contract, found) == []
    assert lake_drift(contract, {}) == []  # tables that do not exist yet are no drift


def test_a_column_that_would_lose_digits_is_named_with_both_types() -> None:
    contract = flights()
    said = lake_drift(contract, {"weather": made_under(contract, "weather", wind_speed="DECIMAL(9, 5)")})
    assert said == ["weather.wind_speed: the lake table has DECIMAL(9, 5), the contract says DOUBLE"]


def test_missing_and_extra_columns_and_keys_are_named() -> None:
    contract = flights()
    whole = made_under(contract, "airlines")
    less = dataclasses.replace(
        whole, columns=(*whole.columns[1:], ("nickname", "STRING")), primary_keys=("x",)
    )
    said = " ".join(lake_drift(contract, {"airlines": less}))
    assert "airlines.carrier: the lake table has no such column" in said
    assert "airlines.nickname" in said
    assert "key is ('x',)" in said


def test_source_drift_names_the_column() -> None:
    contract = flights()
    assert source_drift(contract, contract.lock) == []
    table = contract.schema("airlines")
    wider = tuple(
        column.model_copy(update={"mysql_type": "varchar(99)"}) if column.name == "name" else column
        for column in table.columns
    )
    changed = SchemaLock(
        database=contract.database,
        tables={**contract.lock.tables, "airlines": table.model_copy(update={"columns": wider})},
    )
    (said,) = source_drift(contract, changed)
    text = "charset utf8mb4 NOT NULL"
    assert said == f"airlines.name: widen (varchar(64) {text} -> varchar(99) {text})"
    assert source_drift(contract, contract.lock.model_copy(update={"tables": {}})) == []
