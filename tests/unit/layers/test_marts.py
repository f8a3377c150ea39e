"""Materializing a mart: the statements that Trino gets, and what is recorded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import dagster as dg
import pytest

from lakehouse_dagster.components.resources import LakehouseResource
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.errors import EngineUnavailable
from lakehouse_dagster.engines.nessie import Reference
from lakehouse_dagster.engines.trino import TrinoResult
from lakehouse_dagster.layers.marts import markdown_table, mart_assets

KEY = dg.AssetKey(["flights", "marts", "delay_by_carrier_hour"])


@dataclass
class World:
    """Trino and Nessie, as far as a refresh uses them."""

    asked: list[str] = field(default_factory=list)
    failures: int = 0
    catalog: str = "lake"
    endpoints: Any = None

    @property
    def trino(self) -> World:
        return self

    @property
    def nessie(self) -> World:
        return self

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None: ...

    def get_reference(self, name: str) -> Reference:
        return Reference(name, "abc123")

    def execute(self, sql: str) -> TrinoResult:
        if self.failures:
            self.failures -= 1
            raise EngineUnavailable("trino", "127.0.0.1:18080", cause="refused")
        self.asked.append(sql)
        return TrinoResult(("carrier", "note"), ("varchar(2)", "varchar"), [("AA", None), ("UA", "a|b")])

    def scalar(self, sql: str) -> Any:
        self.asked.append(sql)
        return 1234


WORLD: list[World] = []


class Source(LakehouseResource):
    def clients(self, *, timeout: float = 10.0) -> Clients:
        return cast(Clients, WORLD[0])


def refresh(contract: Contract, world: World) -> dg.ExecuteInProcessResult:
    WORLD[:] = [world]
    return dg.materialize(
        mart_assets(contract), resources={"lakehouse": Source()}, selection=[KEY], raise_on_error=False
    )


def test_a_mart_is_replaced_and_described(contract: Contract) -> None:
    world = World()
    result = refresh(contract, world)
    assert result.success
    schema, table, sample, count = world.asked
    assert schema.startswith("CREATE SCHEMA IF NOT EXISTS")
    assert table.startswith('CREATE OR REPLACE TABLE "lake"."flights_marts"."delay_by_carrier_hour"')
    assert sample.endswith("LIMIT 10")
    assert "count(*)" in count
    [event] = result.asset_materializations_for_node("flights_mart_delay_by_carrier_hour")
    told = {name: value.value for name, value in event.metadata.items()}
    assert told["dagster/row_count"] == 1234
    assert told["nessie_hash"] == "abc123"
    assert told["preview"] == "| carrier | note |\n|---|---|\n| AA |  |\n| UA | a\\|b |"
    assert float(cast(float, told["seconds"])) >= 0
    columns = cast(dg.TableSchema, told["dagster/column_schema"]).columns
    assert [(column.name, column.type) for column in columns] == [
        ("carrier", "varchar(2)"),
        ("note", "varchar"),
    ]


def test_a_mart_says_what_is_wrong_when_trino_stays_away(contract: Contract) -> None:
    WORLD[:] = [World(failures=1)]
    [asset] = mart_assets(contract)
    with pytest.raises(EngineUnavailable, match="lakehouse up trino"):
        asset(dg.build_asset_context(), lakehouse=Source())
    policy = asset.op.retry_policy
    assert policy is not None
    assert policy.max_retries == 3


def test_markdown_is_safe() -> None:
    assert markdown_table(("a",), [("x\ny",), ("back\\slash",)]) == "| a |\n|---|\n| x y |\n| back\\\\slash |"
