"""Freshness as Dagster sees it, the command's output, and the metrics."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from rich.console import Console

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.loader import DEFS_ROOT, load_contract
from lakehouse_dagster.contract.model import Probe
from lakehouse_dagster.proof.freshness import Freshness, Minute, probe_places, summarize
from lakehouse_dagster.proof.freshness_checks import REPORT_SECONDS, check_specs, judge, observations, tick
from lakehouse_dagster.proof.freshness_commands import FRESH, STALE, UNKNOWN, table, to_json, verdict
from lakehouse_dagster.streams.cursor import StreamCursor

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def contract() -> Contract:
    return load_contract(DEFS_ROOT / "flights")


@pytest.fixture(scope="module")
def probe(contract: Contract) -> Probe:
    assert contract.pipeline.probe is not None
    return contract.pipeline.probe


def measured(contract: Contract, *, now: datetime = NOW, **changed: dict[str, Any]) -> list[Freshness]:
    """A minute of every place; ``changed`` by place."""
    names = [place.name for place in probe_places(contract)]
    usual = {"seconds": (1.0, 2.0, 3.0), "newest_beat": 9, "newest_at": now - timedelta(seconds=6)}
    rows = [
        Minute(**{"pipeline": "flights", "place": name, "at": now, **usual, **changed.get(name, {})})
        for name in names
    ]
    return summarize(names, [row for row in rows if row.at is not None], now)


def test_every_place_is_judged_twice_on_an_asset_that_exists(contract: Contract, probe: Probe) -> None:
    specs = {(spec.asset_key.to_user_string(), spec.name) for spec in check_specs(contract, probe)}
    assert len(specs) == 12
    judged = judge(contract, probe, measured(contract), NOW)
    assert {(item.asset.to_user_string(), item.check) for item in judged} == specs
    assert all(item.passed for item in judged)


def test_a_slow_place_fails_alone(contract: Contract, probe: Probe) -> None:
    found = measured(contract, couchdb={"seconds": (1.0, 31.0)}, trino={"seconds": (999.0,)})
    failed = {item.name: item for item in judge(contract, probe, found, NOW) if not item.passed}
    assert set(failed) == {
        "flights/views/freshness_documents:freshness_within_slo",
        "flights/publication:freshness_within_slo_in_trino",
    }
    mild, bad = failed.values() if "documents" in next(iter(failed)) else reversed(failed.values())
    assert (mild.severity, bad.severity) == (dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR)


def test_a_place_that_stands_still_fails_both_and_infinity_is_no_metadata(
    contract: Contract, probe: Probe
) -> None:
    stands = {"seconds": (), "waiting": 20, "missed": 12, "behind": 160.0, "problem": "no answer"}
    failed = [
        item
        for item in judge(contract, probe, measured(contract, paimon=stands), NOW)
        if item.asset.path[-2] == "lake"
    ]
    assert [item.passed for item in failed] == [False, False]
    assert "still not readable" in failed[0].said
    assert failed[0].metadata == {"beats": 0, "missed": 12}
    assert "no answer" in failed[1].said
    assert "03:01:25" in failed[1].said


def test_a_silent_prober_is_a_warning_and_a_place_without_beats_says_nothing(
    contract: Contract, probe: Probe
) -> None:
    found = measured(contract, now=NOW)
    late = [
        item
        for item in judge(contract, probe, found, NOW + timedelta(minutes=4))
        if item.check.startswith("event_time")
    ]
    assert len(late) == 6
    assert {(item.passed, item.severe) for item in late} == {(False, False)}
    empty = {"seconds": (), "newest_beat": None, "newest_at": None}
    names = {place.name: empty for place in probe_places(contract)}
    assert judge(contract, probe, measured(contract, **names), NOW) == []


def test_the_sensor_reports_changes_at_once_and_the_rest_every_five_minutes(
    contract: Contract, probe: Probe
) -> None:
    first = tick(contract, probe, measured(contract), NOW, StreamCursor())
    kinds = [type(event).__name__ for event in first.asset_events]
    assert (kinds.count("AssetCheckEvaluation"), kinds.count("AssetObservation")) == (12, 4)
    again = tick(contract, probe, measured(contract), NOW, StreamCursor.parse(first.cursor))
    assert list(again.asset_events) == []
    slow = measured(contract, kafka={"seconds": (40.0,)})
    changed = tick(contract, probe, slow, NOW, StreamCursor.parse(again.cursor))
    (event,) = changed.asset_events
    assert isinstance(event, dg.AssetCheckEvaluation)
    assert (event.check_name, event.passed) == ("freshness_within_slo", False)
    later = NOW + timedelta(seconds=REPORT_SECONDS)
    everything = tick(
        contract, probe, measured(contract, now=later), later, StreamCursor.parse(changed.cursor)
    )
    assert len(everything.asset_events) == 16


def test_figures_are_told_with_the_probes_assets_but_never_with_the_publication(
    contract: Contract, probe: Probe
) -> None:
    told = {
        event.asset_key.to_user_string(): event for event in observations(contract, probe, measured(contract))
    }
    assert set(told) == {
        "flights/topics/freshness_probe",
        "flights/lake/freshness_probe",
        "flights/views/freshness_by_id",
        "flights/views/freshness_documents",
    }
    lake = told["flights/lake/freshness_probe"].metadata
    assert {"paimon_p95_seconds", "nessie_p95_seconds", "trino_max_seconds"} <= set(lake)
    assert lake["paimon_p50_seconds"].value == 2.0


def test_the_exit_code_says_fresh_stale_or_unknown(contract: Contract, probe: Probe) -> None:
    assert verdict(measured(contract), probe) == FRESH
    assert verdict(measured(contract, kafka={"seconds": (31.0,)}), probe) == STALE
    assert verdict(measured(contract, kafka={"seconds": (), "waiting": 1}), probe) == STALE
    assert verdict(measured(contract, kafka={"seconds": ()}), probe) == UNKNOWN


def test_json_can_be_read_by_anybody(contract: Contract, probe: Probe) -> None:
    found = measured(contract, kafka={"seconds": (), "waiting": 1, "missed": 1})
    assert found[0].figures.p50 == math.inf
    text = json.dumps(to_json("flights", probe, found), allow_nan=False)
    shown = json.loads(text)
    assert (shown["pipeline"], shown["slo_seconds"], shown["within_slo"]) == ("flights", 30.0, False)
    kafka, paimon = shown["places"][:2]
    assert (kafka["p95"], kafka["waiting"]) == (None, 1)
    assert (paimon["place"], paimon["beats"], paimon["p50"], paimon["max"]) == ("paimon", 3, 2.0, 3.0)


def test_the_table_names_every_place(contract: Contract, probe: Probe) -> None:
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    found = measured(contract, kafka={"seconds": (), "waiting": 1, "problem": "no topic yet"})
    console.print(table("flights", probe, found, "the last 10 minutes"))
    text = console.export_text()
    for place in ("kafka", "paimon", "nessie", "trino", "cassandra", "couchdb"):
        assert place in text
    assert ">60" in text
    assert "no topic yet" in text
    assert "6 s ago" in text


def test_metrics_are_a_histogram_by_pipeline_and_place() -> None:
    prometheus = pytest.importorskip("prometheus_client")
    from lakehouse_dagster.proof.freshness_metrics import Metrics

    metrics = Metrics()
    metrics.committed("flights")
    metrics.readable("flights", "paimon", 1.2)
    metrics.state("flights", "trino", 7.0, None)
    metrics.missed("flights", "trino", 2)
    said = prometheus.generate_latest(metrics.registry).decode()
    assert (
        'lakehouse_commit_to_readable_seconds_bucket{le="1.5",pipeline="flights",place="paimon"} 1.0' in said
    )
    assert (
        'lakehouse_commit_to_readable_seconds_bucket{le="1.0",pipeline="flights",place="paimon"} 0.0' in said
    )
    assert 'lakehouse_beats_total{pipeline="flights"} 1.0' in said
    assert 'lakehouse_beats_missed_total{pipeline="flights",place="trino"} 2.0' in said
    assert 'lakehouse_behind_seconds{pipeline="flights",place="trino"} 7.0' in said
