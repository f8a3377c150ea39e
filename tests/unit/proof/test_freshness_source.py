from __future__ import annotations

from typing import Any, cast

import pytest

from lakehouse_dagster.contract.loader import DEFS_ROOT, load_contract
from lakehouse_dagster.engines.mysql import MySqlClient
from lakehouse_dagster.proof.freshness_source import QUIET_PLACES, create_statement, lock_name, quiet
from lakehouse_dagster.samples.flights.tables import source_statements


def squeezed(statement: str) -> str:
    return "".join(statement.replace("`", "").upper().split())


def test_the_prober_makes_the_table_that_the_sample_makes() -> None:
    contract = load_contract(DEFS_ROOT / "flights")
    (sample,) = [text for text in source_statements() if "freshness_probe" in text]
    made = create_statement(contract, contract.schema("freshness_probe"))
    assert squeezed(made) == squeezed(sample.replace("freshness_probe", "airline.freshness_probe"))


def test_lock_names_fit_mysql() -> None:
    assert len(lock_name("p" * 48, QUIET_PLACES - 1)) <= 64


def test_a_pipeline_without_a_probe_asks_nothing_of_the_source() -> None:
    contract = load_contract(DEFS_ROOT / "flights")
    without = contract.pipeline.model_copy(update={"probe": None})
    quieted = type(contract)(contract.folder, without, contract.lock, contract.queries)

    class Nobody:
        def connect(self, **_: Any) -> Any:
            pytest.fail("asked")

    with quiet(quieted, cast(MySqlClient, Nobody())):
        pass
