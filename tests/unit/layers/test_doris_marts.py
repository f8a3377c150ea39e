"""Marts in Doris as Dagster has them: definitions, a refresh, and an installation without Doris."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from pydantic import SecretStr

from lakehouse_dagster.components.resources import LakehouseResource
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines import doris as engine
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.endpoints import DorisEndpoint
from lakehouse_dagster.layers.doris_marts import build_doris_defs
from lakehouse_dagster.render import doris
from lakehouse_dagster.runtime.endpoints import build_endpoints
from lakehouse_dagster.runtime.secrets import Secrets
from lakehouse_dagster.runtime.settings import Settings
from tests.doris_double import PASSWORD, DorisDouble, Error, Views

MART = "delay_by_carrier_hour"
KEY = dg.AssetKey(["flights", "doris", MART])

ENDPOINT: list[DorisEndpoint | None] = []


class Lakehouse(LakehouseResource):
    """The platform's resource over an installation whose one engine is the last of ``ENDPOINT``."""

    def clients(self, *, timeout: float = 10.0) -> Clients:
        native = build_endpoints(Settings.load({}), Secrets())
        return Clients(native.model_copy(update={"doris": ENDPOINT[-1]}))


@pytest.fixture
def in_doris(contract: Contract) -> Contract:
    marts = tuple(
        mart.model_copy(update={"engines": ("trino", "doris")})
        for mart in contract.marts
        if mart.name == MART
    )
    return dataclasses.replace(contract, marts=marts)


@pytest.fixture
def views(monkeypatch: pytest.MonkeyPatch) -> Iterator[Views]:
    script = Views(rows={MART: 42})
    init = engine.DorisClient.__init__
    monkeypatch.setattr(
        engine.DorisClient, "__init__", lambda self, endpoint: init(self, endpoint, pause=0.01, grace=0.1)
    )
    with DorisDouble(script).serving() as double:
        ENDPOINT.append(DorisEndpoint(host="127.0.0.1", port=double.port, password=SecretStr(PASSWORD)))
        yield script
        ENDPOINT.pop()


@pytest.fixture
def no_doris() -> Iterator[None]:
    ENDPOINT.append(None)
    yield
    ENDPOINT.pop()


def materialize(contract: Contract, *, raise_on_error: bool = True) -> dg.ExecuteInProcessResult:
    assets = list(build_doris_defs(contract).assets or [])
    return dg.materialize(
        assets,  # type: ignore[arg-type]
        resources={"lakehouse": Lakehouse()},
        raise_on_error=raise_on_error,
    )


def set_up(contract: Contract, *, raise_on_error: bool = True) -> dg.ExecuteInProcessResult:
    defs = dg.Definitions.merge(
        build_doris_defs(contract), dg.Definitions(resources={"lakehouse": Lakehouse()})
    )
    job = defs.resolve_job_def("flights_doris_setup")
    return job.execute_in_process(raise_on_error=raise_on_error)


def failure(result: dg.ExecuteInProcessResult) -> str:
    (event,) = [event for event in result.all_events if event.is_step_failure]
    return str(event.step_failure_data.error)


def test_a_contract_without_doris_has_none_of_it(contract: Contract) -> None:
    marts = tuple(mart.model_copy(update={"engines": ("trino",)}) for mart in contract.marts)
    without = dataclasses.replace(contract, marts=marts)
    defs = build_doris_defs(without)
    assert [*(defs.assets or []), *(defs.jobs or []), *(defs.sensors or [])] == []


def test_an_asset_says_what_it_reads_and_is_refreshed_only_by_a_sensor_that_is_off(
    in_doris: Contract,
) -> None:
    defs = build_doris_defs(in_doris)
    (asset,) = defs.assets or []
    assert isinstance(asset, dg.AssetsDefinition)
    spec = asset.get_asset_spec(KEY)
    assert {dep.asset_key.to_user_string() for dep in spec.deps} == {
        "flights/lake/flights", "flights/lake/airlines",
    }  # fmt: skip
    assert spec.group_name == "flights_marts"
    assert spec.kinds == {"doris", "sql"}
    assert "PERCENTILE_APPROX" in (spec.description or "")
    (sensor,) = defs.sensors or []
    assert isinstance(sensor, dg.AutomationConditionSensorDefinition)
    assert sensor.default_status is dg.DefaultSensorStatus.STOPPED


def test_the_platforms_sensor_leaves_doris_alone(in_doris: Contract) -> None:
    from lakehouse_dagster.definitions import defs

    (sensor,) = [one for one in defs().sensors or [] if one.name == "automation"]
    assert isinstance(sensor, dg.AutomationConditionSensorDefinition)
    ours = dg.Definitions.merge(
        build_doris_defs(in_doris), dg.Definitions(resources={"lakehouse": Lakehouse()})
    )
    graph = ours.resolve_asset_graph()
    assert KEY in graph.get_all_asset_keys()
    assert KEY not in sensor.asset_selection.resolve(graph, allow_missing=True)


def test_a_materialization_makes_the_view_refreshes_it_and_says_so(in_doris: Contract, views: Views) -> None:
    result = materialize(in_doris)
    (event,) = result.asset_materializations_for_node(f"flights_doris_{MART}")
    metadata: dict[str, Any] = {name: value.value for name, value in event.metadata.items()}
    assert metadata["dagster/row_count"] == 42
    assert metadata["task_id"] == "1001"
    assert metadata["definition"] == "created"
    assert metadata["fingerprint"] == doris.view(in_doris, MART).fingerprint
    again = materialize(in_doris).asset_materializations_for_node(f"flights_doris_{MART}")[0]
    assert again.metadata["definition"].value == "unchanged"
    assert again.metadata["task_id"].value == "1002"


def test_a_failed_task_fails_the_run_with_its_message(in_doris: Contract, views: Views) -> None:
    views.lives = lambda number: ("FAILED",)
    result = materialize(in_doris, raise_on_error=False)
    assert not result.success
    assert "memory exceeded" in failure(result)
    assert "flights_doris_setup" in failure(result)


def test_without_doris_a_run_says_that_it_needs_compose(in_doris: Contract, no_doris: None) -> None:
    for result in (materialize(in_doris, raise_on_error=False), set_up(in_doris, raise_on_error=False)):
        assert not result.success
        assert "Docker Compose" in failure(result)
        assert "LAKEHOUSE_DORIS_HOST" in failure(result)
        assert not [event for event in result.all_events if event.is_step_up_for_retry]


def test_setup_makes_everything_and_tells_of_foreign_views(in_doris: Contract, views: Views) -> None:
    views.views["made_by_hand"] = "CREATE MATERIALIZED VIEW ..."
    result = set_up(in_doris)
    (output,) = [event for event in result.all_node_events if event.event_type_value == "STEP_OUTPUT"]
    metadata = {name: value.value for name, value in output.step_output_data.metadata.items()}
    assert metadata["views"] == {MART: "created"}
    assert metadata["foreign_views"] == ["made_by_hand"]
    assert metadata["left_out"] == 3
    assert set(views.views) == {MART, "made_by_hand"}
    assert set_up(in_doris).success


def test_what_doris_refuses_at_setup_is_told(in_doris: Contract, views: Views) -> None:
    views.breaks = [("CREATE ROLE", lambda: Error("Access denied; you need GRANT_PRIV"))]
    assert "you need GRANT_PRIV" in failure(set_up(in_doris, raise_on_error=False))
