"""Column-level lineage of the sample pipeline, from MySQL to its marts, and as Dagster has it."""

from __future__ import annotations

import dagster as dg
import pytest

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.layers.lake import lake_specs
from lakehouse_dagster.layers.marts import mart_spec
from lakehouse_dagster.layers.topics import topic_specs
from lakehouse_dagster.layers.views import view_specs
from lakehouse_dagster.lineage.columns import Column, ColumnGraph, Dataset, Layer, datasets, origins


@pytest.fixture(scope="module")
def graph(contract: Contract) -> ColumnGraph:
    return ColumnGraph(contract)


def test_a_marts_column_goes_back_to_mysql(graph: ColumnGraph) -> None:
    (share,) = graph.find("delay_by_carrier_hour.share_delayed_over_15_minutes")
    assert {str(column) for column in graph.sources(share)} == {
        "source/flights.dep_delay",
        "source/flights.departed_at",
    }


def test_a_source_column_reaches_views_and_marts(graph: ColumnGraph) -> None:
    at = [Column(Dataset(Layer.SOURCE, "flights"), "dep_delay")]
    reached = set()
    while at:
        made = [origin.column for origin in graph.downstream[at.pop()]]
        at += made
        reached |= {f"{column.dataset.layer}/{column.dataset.name}" for column in made}
    assert {"topics/flights", "lake/flights", "views/flight_documents"} <= reached
    assert "marts/delay_by_carrier_hour" in reached


def test_audit_columns_come_from_the_records_coordinates(graph: ColumnGraph) -> None:
    (position,) = graph.find("lake/flights._position")
    assert {column.name for column in graph.sources(position)} == {
        "__source_epoch",
        "__source_file",
        "__source_pos",
        "__source_row",
    }
    (served,) = graph.find("departures_by_airport.source_position")
    assert list(graph.sources(served)) == list(graph.sources(position))


def test_every_origin_is_a_column_that_there_is(contract: Contract, graph: ColumnGraph) -> None:
    for dataset in datasets(contract):
        for came in origins(contract, dataset).values():
            assert {origin.column for origin in came} <= set(graph.upstream)


def test_dagster_has_the_lineage_on_every_asset_along_the_way(contract: Contract) -> None:
    specs = [
        *topic_specs(contract),
        *lake_specs(contract),
        *view_specs(contract),
        *(mart_spec(contract, mart) for mart in contract.marts),
    ]
    known = {
        spec.key: {column.name for column in spec.metadata["dagster/column_schema"].columns} for spec in specs
    }
    for spec in specs:
        lineage = spec.metadata["dagster/column_lineage"]
        assert isinstance(lineage, dg.TableColumnLineage)
        # Each of its columns is one that the asset shows, and so is each column they come from.
        assert set(lineage.deps_by_column) <= known[spec.key]
        parents = {dep.asset_key for dep in spec.deps}
        for deps in lineage.deps_by_column.values():
            assert deps
            for dep in deps:
                assert dep.asset_key in parents
                assert dep.column_name in known.get(dep.asset_key, {dep.column_name})


def test_people_see_how_a_marts_column_is_computed(contract: Contract) -> None:
    shown = mart_spec(contract, contract.mart("delay_by_carrier_hour")).metadata["columns"].value
    assert "| departed | `COUNT(f.departed_at)` | flights.departed_at |" in shown
    assert "| flights | `COUNT(*)` |  |" in shown
