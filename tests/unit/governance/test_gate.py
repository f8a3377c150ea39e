from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.loader import load_contract
from lakehouse_dagster.engines.nessie import IcebergTable
from lakehouse_dagster.governance import gate
from lakehouse_dagster.governance.decision import TableVersion, properties
from lakehouse_dagster.governance.gate import Failure, PublicationRefusedError
from tests.unit.contract.conftest import Write, orders_attributes, write  # noqa: F401

FOLDER = "s3://lake/paimon/orders.db/shops"


@pytest.fixture
def contract(write: Write) -> Contract:  # noqa: F811
    return load_contract(write(orders_attributes()))


def version(contract: Contract, number: int, **changes: Any) -> TableVersion:
    columns = (*contract.schema("shops").column_names, "_position", "_gtid", "_committed_at", "_op")
    found = TableVersion(
        "shops",
        ("orders", "shops"),
        IcebergTable(f"{FOLDER}/metadata/v{number}.metadata.json", number, 0),
        paimon_snapshot=number,
        position=100,
        rows=5,
        columns=columns,
        uuid="the first",
        location=FOLDER,
    )
    return replace(found, **changes)


def failed(contract: Contract, wanted: TableVersion, shown: TableVersion | None = None) -> list[Failure]:
    before = {} if shown is None else {"shops": shown}
    return gate.examine(contract, {"shops": wanted}, before, {"shops": FOLDER})


def test_the_next_version_passes_whatever_rows_it_has(contract: Contract) -> None:
    # A TRUNCATE, or the delete of the newest row: neither can be told from a loss.
    fewer = version(contract, 9, rows=0, position=None)
    assert failed(contract, fewer, version(contract, 8)) == []
    assert failed(contract, fewer) == []


def test_a_table_that_went_back_is_refused_with_both_snapshots(contract: Contract) -> None:
    (found,) = failed(contract, version(contract, 7), version(contract, 8))
    assert found.check == "order"
    assert "snapshot 7" in found.said
    assert "readers see 8" in found.said


def test_a_table_that_was_made_anew_counts_from_one_again(contract: Contract) -> None:
    assert failed(contract, version(contract, 1, uuid="the second"), version(contract, 8)) == []
    assert failed(contract, version(contract, 1, uuid=None), version(contract, 8)) == []


def test_a_key_or_position_that_is_missing_is_refused(contract: Contract) -> None:
    key = contract.schema("shops").primary_key
    whole = version(contract, 9)
    for name in (*key, "_position"):
        left = tuple(column for column in whole.columns if column != name)
        found = failed(contract, replace(whole, columns=left))
        assert [failure.check for failure in found] == ["schema"]
        assert name in found[0].said


def test_a_column_that_readers_have_and_the_contract_promises_must_not_go(contract: Contract) -> None:
    whole = version(contract, 9)
    [name, *_] = [
        c for c in contract.schema("shops").column_names if c not in contract.schema("shops").primary_key
    ]
    less = replace(whole, columns=tuple(column for column in whole.columns if column != name))
    assert [failure.check for failure in failed(contract, less, version(contract, 8))] == ["schema"]
    # A job that has not been upgraded yet: readers never had it.
    assert failed(contract, less, replace(less, paimon_snapshot=8)) == []


def test_metadata_of_another_table_or_snapshot_is_refused(contract: Contract) -> None:
    other = version(contract, 9, location="s3://lake/paimon/orders.db/orders")
    assert [failure.check for failure in failed(contract, other)] == ["identity"]
    assert [failure.check for failure in failed(contract, version(contract, 9, paimon_snapshot=8))] == [
        "identity"
    ]


def test_a_commit_says_what_was_checked_and_what_was_waived(contract: Contract) -> None:
    checks = gate.properties([])
    assert checks == {"checks": "hold, metadata, identity, schema, order"}
    found = properties("orders", "host:1", {}, "dagster run 7", run_id="7", checks=checks)
    assert found["lakehouse.checks"] == "hold, metadata, identity, schema, order"
    assert found["lakehouse.run-id"] == "7"
    waived = gate.properties([Failure("order", "shops", "it went back")])
    assert waived["checks"] == "hold, metadata, identity, schema"
    assert waived["checks-waived"] == "shops: it went back (check order)"


def test_a_refusal_names_table_and_check() -> None:
    error = PublicationRefusedError("orders", [Failure("order", "shops", "it went back")])
    assert "publication of orders is refused: shops: it went back (check order)" in str(error)
