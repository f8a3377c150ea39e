"""A source whose binary log does not tell every change is not read."""

from __future__ import annotations

from lakehouse_dagster.contract.contract import Contract
from tests.unit.streams.engines import World
from tests.unit.streams.test_observe import see


def test_a_source_that_logs_everything_is_read(contract: Contract) -> None:
    assert see(contract, "connector", World()).facts.refused is None


def test_a_wrong_setting_is_named(contract: Contract) -> None:
    world = World(variables={"binlog_row_value_options": "PARTIAL_JSON"})
    refused = see(contract, "connector", world).facts.refused
    assert "binlog_row_value_options = PARTIAL_JSON" in (refused or "")


def test_a_key_that_acts_below_the_log_is_named(contract: Contract) -> None:
    key = {
        "child": contract.tables[0].name,
        "name": "k",
        "parent_database": "d",
        "parent": "p",
        "on_delete": "CASCADE",
        "on_update": "NO ACTION",
    }
    world = World(variables={"innodb_native_foreign_keys": "ON"}, foreign_keys=[key])
    assert "foreign key k" in (see(contract, "connector", world).facts.refused or "")
