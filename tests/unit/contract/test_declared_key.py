"""Tables without a key in the source: refused with the fix, or told apart by the contract's key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lakehouse_dagster.contract import ContractError, SchemaLock, TableSchema, load_contract
from lakehouse_dagster.render.connector import connector
from lakehouse_dagster.render.flink_sql import lake_script
from lakehouse_dagster.render.paimon import table as paimon_table
from lakehouse_dagster.streams.drift import source_drift
from tests.unit.contract.conftest import columns, orders_lock

Write = Callable[..., Path]
Problems = Callable[..., tuple[ContractError, ...]]
Attributes = dict[str, Any]


@pytest.fixture
def ledger() -> SchemaLock:
    """A table without a key beside the others."""
    lock = orders_lock()
    table = TableSchema(
        name="ledger", columns=columns("account int!", "entry int!", "amount decimal(10,2)", "due date")
    )
    return SchemaLock(database=lock.database, tables={**lock.tables, "ledger": table})


def with_ledger(attributes: Attributes, *key: str) -> Attributes:
    table: dict[str, Any] = {"name": "ledger"} | ({"primary_key": list(key)} if key else {})
    return {**attributes, "tables": [*attributes["tables"], table]}


def test_without_a_key_it_is_refused_and_both_ways_out_are_named(
    problems: Problems, attributes: Attributes, ledger: SchemaLock
) -> None:
    (problem,) = problems(with_ledger(attributes), ledger)
    assert problem.field == "tables[2].name"
    assert "no primary key" in problem.problem
    assert "PRIMARY KEY" in problem.fix
    assert "primary_key" in problem.fix


def test_with_a_declared_key_it_is_copied_like_any_other(
    write: Write, attributes: Attributes, ledger: SchemaLock
) -> None:
    contract = load_contract(write(with_ledger(attributes, "account", "entry"), ledger))
    assert contract.schema("ledger").primary_key == ("account", "entry")
    assert "PRIMARY KEY (`account`, `entry`)" in paimon_table(contract, "ledger")
    assert '["account","entry"]' in "".join(lake_script(contract).statements)
    config = connector(contract, mysql_host="h", mysql_port=1, kafka_bootstrap="k:1").config
    assert config["message.key.columns"] == r"shop\.ledger:account,entry"
    # The lock stays what the source says, so that it is no difference to the source.
    assert source_drift(contract, ledger) == []


def test_the_connector_of_tables_with_keys_is_told_none(write: Write, attributes: Attributes) -> None:
    contract = load_contract(write(attributes))
    config = connector(contract, mysql_host="h", mysql_port=1, kafka_bootstrap="k:1").config
    assert "message.key.columns" not in config


@pytest.mark.parametrize(
    ("key", "field", "said"),
    [
        (("acount",), "tables[2].primary_key[0]", "no column 'acount'"),
        (("account", "due"), "tables[2].primary_key[1]", "'due' may be NULL"),
        (("entry", "entry"), "tables[2].primary_key[1]", "named twice"),
    ],
)
def test_a_declared_key_that_tells_no_rows_apart_is_refused(
    problems: Problems,
    attributes: Attributes,
    ledger: SchemaLock,
    key: tuple[str, ...],
    field: str,
    said: str,
) -> None:
    (problem,) = problems(with_ledger(attributes, *key), ledger)
    assert problem.field == field
    assert said in problem.problem


def test_a_key_of_the_source_is_not_overruled(problems: Problems, attributes: Attributes) -> None:
    attributes["tables"][0]["primary_key"] = ["id"]
    (problem,) = problems(attributes)
    assert problem.field == "tables[0].primary_key"
    assert "has the primary key (id)" in problem.problem


def test_a_view_needs_the_declared_key(
    problems: Problems, attributes: Attributes, ledger: SchemaLock
) -> None:
    changed = with_ledger(attributes, "account", "entry")
    view = {"name": "entries", "engine": "cassandra", "table": "ledger", "partition_key": ["account"]}
    (problem,) = problems({**changed, "views": [*changed["views"], view]}, ledger)
    assert "leaves out entry" in problem.problem
