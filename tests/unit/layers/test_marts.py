"""Materializing a mart: the statements that Trino gets, its checks, and what is recorded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import dagster as dg
import pytest

from lakehouse_dagster.components.resources import LakehouseResource
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.errors import EngineUnavailable
from lakehouse_dagster.governance import marts as refreshing
from lakehouse_dagster.layers.marts import Refresh, markdown_table, mart_assets
from tests.unit.governance.marts_world import Branches, Queries, clients

NAME = "delay_by_carrier_hour"
KEY = dg.AssetKey(["flights", "marts", NAME])
CHECKS = ["key", "row_count", "range_share_delayed_over_15_minutes", "no_flight_is_lost", "airline_is_known"]


class World:
    def __init__(self) -> None:
        self.branches = Branches()
        self.trino = Queries(self.branches)

    def __enter__(self) -> Any:
        return clients(self.branches)

    def __exit__(self, *_: object) -> None: ...


WORLD: list[World] = []


class Source(LakehouseResource):
    def clients(self, *, timeout: float = 10.0) -> Clients:
        return cast(Clients, WORLD[0])


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    WORLD[:] = [world]

    @contextmanager
    def lock(*_: object, **__: object) -> Iterator[None]:
        yield

    monkeypatch.setattr(refreshing, "refresh_lock", lock)
    monkeypatch.setattr(refreshing, "branch_catalog", world.trino.open)
    return world


def refresh(contract: Contract, **config: Any) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        mart_assets(contract),
        resources={"lakehouse": Source()},
        selection=[KEY],
        raise_on_error=False,
        run_config={"ops": {f"flights_mart_{NAME}": {"config": config}}} if config else None,
    )


def checks(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {found.check_name: found for found in result.get_asset_check_evaluations()}


def test_a_mart_is_replaced_and_described(contract: Contract, world: World) -> None:
    result = refresh(contract)
    assert result.success
    table, sample, count, audit = world.trino.asked
    assert table.startswith(f'CREATE OR REPLACE TABLE "lake_wap"."flights_marts"."{NAME}"')
    assert '"lake_wap"."flights"."flights" AS "f"' in table
    assert sample.endswith("LIMIT 10")
    assert "count(*)" in count
    assert audit.count('"lake_wap"."flights_marts"') == len(CHECKS)
    [event] = result.asset_materializations_for_node(f"flights_mart_{NAME}")
    told = {name: value.value for name, value in event.metadata.items()}
    assert told["dagster/row_count"] == 1234
    assert told["nessie_hash"] == "h0"
    assert told["published_as"] == world.branches.hashes["main"] != "h0"
    assert told["preview"] == "| carrier | note |\n|---|---|\n| AA |  |\n| UA | a\\|b |"
    assert float(cast(float, told["seconds"])) >= 0
    columns = cast(dg.TableSchema, told["dagster/column_schema"]).columns
    assert [(column.name, column.type, column.constraints.nullable) for column in columns] == [
        ("carrier", "varchar(2)", False),
        ("note", "varchar", True),
    ]
    assert {name: found.passed for name, found in checks(result).items()} == dict.fromkeys(CHECKS, True)
    assert world.branches.properties["lakehouse.run-id"] == result.run_id
    assert world.branches.properties["lakehouse.mart"] == f"flights.{NAME}"


def test_a_failed_check_fails_the_run_shows_the_rows_and_publishes_nothing(
    contract: Contract, world: World
) -> None:
    world.trino.failing = {1: 3}
    result = refresh(contract)
    assert not result.success
    assert world.branches.hashes == {"main": "h0"}
    assert not result.asset_materializations_for_node(f"flights_mart_{NAME}")
    found = checks(result)
    assert [name for name, one in found.items() if not one.passed] == ["row_count"]
    assert list(found) == CHECKS
    assert found["row_count"].severity is dg.AssetCheckSeverity.ERROR
    assert found["row_count"].metadata["failing rows"].value == 3
    assert "| UA | a\\|b |" in str(found["row_count"].metadata["sample"].value)
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "row_count (3 rows) failed; readers keep the version before" in str(
        failure.step_failure_data.error
    )


def test_a_warning_is_told_and_published(contract: Contract, world: World) -> None:
    world.trino.failing = {4: 1}
    result = refresh(contract)
    assert result.success
    found = checks(result)["airline_is_known"]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert world.branches.hashes["main"] != "h0"
    assert "airline_is_known" not in world.branches.properties["lakehouse.checks-passed"]


def test_days_are_for_marts_that_have_them(contract: Contract, world: World) -> None:
    assert not refresh(contract, first="2013-01-01").success
    assert not refresh(contract, last="yesterday").success
    assert world.trino.asked == []
    assert refresh(contract, everything=True).success


def test_a_mart_says_what_is_wrong_when_trino_stays_away(
    contract: Contract, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise EngineUnavailable("trino", "127.0.0.1:18080", cause="refused")

    monkeypatch.setattr(refreshing, "branch_catalog", away)
    (asset,) = [asset for asset in mart_assets(contract) if asset.key == KEY]
    with pytest.raises(EngineUnavailable, match="lakehouse up trino"):
        list(asset(dg.build_asset_context(), Refresh(), Source()))
    assert list(world.branches.hashes) == ["main"]
    policy = asset.op.retry_policy
    assert policy is not None
    assert policy.max_retries == 3


def test_automation_launches_a_mart_with_all_its_checks(contract: Contract) -> None:
    """A run that left out a check could not be made: the mart is published by what the checks say."""
    (asset,) = [asset for asset in mart_assets(contract) if asset.key == KEY]
    sources = [dg.AssetSpec(dep.asset_key) for spec in asset.specs for dep in spec.deps]
    definitions = dg.Definitions([asset, *sources], resources={"lakehouse": LakehouseResource()})
    instance = dg.DagsterInstance.ephemeral()
    for source in sources:
        instance.report_runless_asset_event(dg.AssetMaterialization(source.key))
    result = dg.evaluate_automation_conditions(definitions, instance)
    assert result.get_num_requested(KEY) == 1
    together = definitions.resolve_asset_graph().get(KEY).execution_set_entity_keys
    assert together == {KEY, *(dg.AssetCheckKey(KEY, name) for name in CHECKS)}


def test_automation_and_engines_are_as_the_header_says(contract: Contract) -> None:
    first, *others = contract.marts
    changed = [
        first.model_copy(update={"automation": "by_hand"}),
        others[0].model_copy(update={"automation": "schedule", "refresh": "0 4 * * *"}),
        others[1].model_copy(update={"engines": ("doris",)}),
        others[2],
    ]
    assets = mart_assets(replace(contract, marts=tuple(changed)))
    conditions = [asset.automation_conditions_by_key.get(asset.key) for asset in assets]
    assert [condition and condition.get_label() for condition in conditions] == [
        None,
        "refresh by 0 4 * * *",
        f"refresh on news, at most by {others[2].refresh}",
    ]
    assert [asset.key.path[-1] for asset in assets] == [changed[0].name, changed[1].name, changed[3].name]


def test_markdown_is_safe() -> None:
    assert markdown_table(("a",), [("x\ny",), ("back\\slash",)]) == "| a |\n|---|\n| x y |\n| back\\\\slash |"
