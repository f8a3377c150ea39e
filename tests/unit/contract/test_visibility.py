"""How often rows become visible to Iceberg readers, and how a lake table is laid out."""

from __future__ import annotations

from typing import Any

import pytest

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.errors import ContractError
from lakehouse_dagster.contract.loader import load_contract
from lakehouse_dagster.engines.paimon import PaimonSchema
from lakehouse_dagster.render import paimon
from lakehouse_dagster.render.flink_sql import lake_script
from lakehouse_dagster.streams.drift import lake_drift
from tests.unit.contract.conftest import Write, orders_attributes, write  # noqa: F401


def with_table(number: int = 0, *, pipeline: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    attributes = {**orders_attributes(), **(pipeline or {})}
    tables = [dict(table) for table in attributes["tables"]]
    tables[number] |= changes
    return {**attributes, "tables": tables}


def loaded(write: Write, **changes: Any) -> Contract:  # noqa: F811
    return load_contract(write(with_table(**changes)))


def test_every_commit_is_the_default_and_changes_nothing(write: Write) -> None:  # noqa: F811
    contract = load_contract(write(orders_attributes()))
    assert {contract.visible_seconds(table.name) for table in contract.tables} == {0}
    assert not any("OPTIONS" in insert for insert in lake_script(contract).inserts)


def test_seconds_become_commits_and_a_table_may_say_otherwise(write: Write) -> None:  # noqa: F811
    contract = loaded(write, pipeline={"visible": {"every": 31}}, visible="every_commit")
    assert [contract.visible_commits(table.name) for table in contract.tables] == [1, 15]
    assert contract.visible_seconds(contract.tables[1].name) == 28
    hints = ["'full-compaction.delta-commits' = '15'" in insert for insert in lake_script(contract).inserts]
    assert hints[:2] == [False, True]


def test_less_than_a_commit_is_every_commit(write: Write) -> None:  # noqa: F811
    contract = loaded(write, visible={"every": 1})
    assert contract.visible_commits(contract.tables[0].name) == 1


def test_a_changed_policy_upgrades_the_job_and_keeps_its_state(write: Write) -> None:  # noqa: F811
    scripts = [lake_script(loaded(write, visible=visible)) for visible in ("every_commit", {"every": 60})]
    assert scripts[0].spec_hash != scripts[1].spec_hash
    assert scripts[0].state_hash == scripts[1].state_hash


def test_partitions_and_buckets_are_rendered(write: Write) -> None:  # noqa: F811
    attributes = with_table(buckets=4)
    contract = load_contract(write(attributes))
    table = contract.tables[0].name
    assert "'bucket' = '4'" in paimon.table(contract, table)
    assert "PARTITIONED BY" not in paimon.table(contract, table)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (["nonsense"], "nonsense"),
        (["NOT_KEY"], "is not part of the primary key"),
        (["ALL_KEYS"], "it names the whole primary key"),
    ],
)
def test_wrong_partitions_are_refused_by_name(write: Write, columns: list[str], said: str) -> None:  # noqa: F811
    contract = load_contract(write(orders_attributes()))
    table = contract.tables[0].name
    key = contract.schema(table).primary_key
    others = [name for name in contract.schema(table).column_names if name not in key]
    real = {"NOT_KEY": others[:1], "ALL_KEYS": list(key)}.get(columns[0], columns)
    with pytest.raises(ContractError, match=said) as error:
        load_contract(write(with_table(partition_by=real)))
    assert "partition_by" in str(error.value)


def test_a_table_that_exists_keeps_its_layout(write: Write) -> None:  # noqa: F811
    contract = loaded(write, buckets=2)
    table = contract.tables[0].name
    there = PaimonSchema(
        0,
        paimon.columns(contract, table),
        tuple(contract.schema(table).primary_key),
        partition_keys=("day",),
        options={"bucket": "1"},
    )
    said = lake_drift(contract, {table: there})
    assert said == [
        f"{table}: the lake table is partitioned by day, the contract says partition_by: []",
        f"{table}: the lake table has 1 bucket(s), the contract says buckets: 2",
    ]
