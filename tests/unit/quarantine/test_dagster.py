"""What Dagster shows of the quarantine: checks, events once each, and the jobs."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.connect_metrics import ConnectorCounters
from lakehouse_dagster.layers import keys
from lakehouse_dagster.quarantine import checks, sensor
from lakehouse_dagster.quarantine.defs import build_quarantine_defs
from lakehouse_dagster.quarantine.model import Verdict
from lakehouse_dagster.quarantine.sensor import Cursor, tick
from lakehouse_dagster.streams import store as stream_store
from tests.unit.quarantine.fakes import SHOPS, World, letter

NAME = "orders/lake/shops/nothing_quarantined"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def bad(offset: int, at: int, **more: Any) -> Any:
    return letter(offset, topic=SHOPS, at=at, key=b'{"code":"a"}', **more)


def split(result: dg.SensorResult) -> tuple[list[dg.AssetObservation], dict[str, dg.AssetCheckEvaluation]]:
    events = result.asset_events or []
    return (
        [one for one in events if isinstance(one, dg.AssetObservation)],
        {
            f"{one.asset_key.to_user_string()}/{one.check_name}": one
            for one in events
            if isinstance(one, dg.AssetCheckEvaluation)
        },
    )


def test_every_lake_table_has_its_check(contract: Contract) -> None:
    found = {(spec.asset_key.to_user_string(), spec.name) for spec in checks.check_specs(contract)}
    assert found == {
        ("orders/lake/orders", "nothing_quarantined"),
        ("orders/lake/shops", "nothing_quarantined"),
        ("orders/streams/lake", "nothing_quarantined"),
        ("orders/streams/connector", "connector_skips_nothing"),
    }


def test_a_quarantined_record_fails_the_check_until_it_is_decided(
    contract: Contract, world: World, instance: dg.DagsterInstance
) -> None:
    first = tick(contract, world.clients(), instance, Cursor(), 1000.0)
    events, results = split(first)
    assert events == []
    assert {name: one.passed for name, one in results.items()} == {
        "orders/lake/orders/nothing_quarantined": True,
        NAME: True,
        "orders/streams/lake/nothing_quarantined": True,
    }
    world.topic = [bad(0, 5, reason="column name: no | text"), bad(1, 5), bad(2, 6)]
    second = tick(contract, world.clients(), instance, Cursor.parse(first.cursor), 1010.0)
    [event], results = split(second)
    assert event.asset_key == keys.lake("orders", "shops")
    assert event.metadata["quarantined"].value == 2
    assert set(results) == {NAME}
    assert not results[NAME].passed
    assert results[NAME].metadata["open"].value == 2
    assert "no &#124; text" in str(results[NAME].metadata["newest"].value)
    assert "orders_replay_quarantine" in str(results[NAME].metadata["replay"].value)
    third = tick(contract, world.clients(), instance, Cursor.parse(second.cursor), 1020.0)
    assert split(third) == ([], {})
    assert "nothing new" in str(third.skip_reason)
    world.store(None).decide("orders", world.known, Verdict.DROPPED, by="x", why="y")
    fourth = tick(contract, world.clients(), instance, Cursor.parse(third.cursor), 1030.0)
    events, results = split(fourth)
    assert (events, results[NAME].passed) == ([], True)


def test_a_number_that_changes_is_told_though_the_check_fails_on(
    contract: Contract, world: World, instance: dg.DagsterInstance
) -> None:
    world.topic = [bad(0, 5)]
    first = tick(contract, world.clients(), instance, Cursor(), 1000.0)
    world.topic.append(bad(1, 6))
    second = tick(contract, world.clients(), instance, Cursor.parse(first.cursor), 1010.0)
    [event], results = split(second)
    assert event.metadata["quarantined"].value == 1
    assert results[NAME].metadata["open"].value == 2


def test_a_check_is_reported_again_after_a_while(
    contract: Contract, world: World, instance: dg.DagsterInstance
) -> None:
    first = tick(contract, world.clients(), instance, Cursor(), 1000.0)
    _, results = split(tick(contract, world.clients(), instance, Cursor.parse(first.cursor), 1300.0))
    assert len(results) == 3


def test_an_event_is_told_once_though_the_cursor_was_lost(
    contract: Contract, world: World, instance: dg.DagsterInstance
) -> None:
    world.topic = [bad(0, 5)]
    first = tick(contract, world.clients(), instance, Cursor(), 1000.0)
    for event in split(first)[0]:
        instance.report_runless_asset_event(event)
    again = tick(contract, world.clients(), instance, Cursor(), 1010.0)
    assert split(again)[0] == []
    world.topic.append(bad(1, 6))
    [event], _ = split(tick(contract, world.clients(), instance, Cursor(), 1020.0))
    assert event.metadata["quarantined"].value == 1


def test_a_letter_of_no_table_belongs_to_the_stream(
    contract: Contract, world: World, instance: dg.DagsterInstance
) -> None:
    world.topic = [letter(0, headers={"offset": None})]
    [event], results = split(tick(contract, world.clients(), instance, Cursor(), 1000.0))
    assert event.asset_key == keys.stream("orders", "lake")
    failed = results["orders/streams/lake/nothing_quarantined"]
    assert not failed.passed
    assert "malformed dead letter" in (failed.description or "")


def test_what_the_connector_skips_fails_its_check(
    contract: Contract, world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lakehouse_dagster.engines import connect_metrics

    counters = {"orders": ConnectorCounters(filtered=9)}
    monkeypatch.setattr(connect_metrics, "read_counters", lambda url: counters)
    gaps: list[tuple[Any, ...]] = []
    store = SimpleNamespace(open_gap=lambda *told: gaps.append(told))
    monkeypatch.setattr(stream_store, "StreamStore", lambda postgres: store)
    name = "orders/streams/connector/connector_skips_nothing"
    first = tick(contract, world.clients(), instance, Cursor(), 1000.0)
    assert split(first)[1][name].passed
    counters["orders"] = ConnectorCounters(skipped=1)
    assert gaps == []
    second = tick(contract, world.clients(), instance, Cursor.parse(first.cursor), 1010.0)
    results = split(second)[1]
    assert not results[name].passed
    assert "lakehouse streams repair orders" in (results[name].description or "")
    # Remembered once, and beyond the connector's restart.
    assert gaps == [("orders", "connector", ["orders", "shops"], checks.LOST)]
    third = tick(contract, world.clients(), instance, Cursor.parse(second.cursor), 1020.0)
    assert len(gaps) == 1
    counters["orders"] = ConnectorCounters(skipped=1, erroneous=1)
    fourth = tick(contract, world.clients(), instance, Cursor.parse(third.cursor), 1030.0)
    assert len(gaps) == 2
    counters["orders"] = ConnectorCounters()
    fifth = tick(contract, world.clients(), instance, Cursor.parse(fourth.cursor), 1040.0)
    assert split(fifth)[1][name].passed
    assert (len(gaps), Cursor.parse(fifth.cursor).lost) == (2, 0)


def test_the_sensor_skips_when_an_engine_is_away(
    contract: Contract, world: World, instance: dg.DagsterInstance
) -> None:
    from lakehouse_dagster.engines.errors import EngineUnavailable

    def away(topics: object) -> None:
        raise EngineUnavailable("kafka", "127.0.0.1:1", cause="refused")

    world._ends = away  # type: ignore[assignment,method-assign]
    found = sensor.quarantine_sensor(contract)
    context = dg.build_sensor_context(
        instance=instance, cursor='{"version":1}', resources={"lakehouse": world.resource()}
    )
    result = found(context)
    assert "lakehouse up kafka" in str(result.skip_reason)
    assert result.cursor == '{"version":1}'


# --- jobs -----------------------------------------------------------------------------------------


def launch(
    contract: Contract, world: World, instance: dg.DagsterInstance, name: str, config: dict[str, Any]
) -> tuple[bool, str]:
    definitions = dg.Definitions(
        jobs=list(build_quarantine_defs(contract).jobs or []), resources={"lakehouse": world.resource()}
    )
    job = definitions.resolve_job_def(f"orders_{name}")
    done = job.execute_in_process(
        run_config={"ops": {f"orders_{name}_op": {"config": config}}}, instance=instance, raise_on_error=False
    )
    failures = [
        event.step_failure_data.error_display_string for event in done.all_events if event.is_step_failure
    ]
    entries = [entry.user_message for entry in instance.all_logs(done.run_id)]
    return done.success, "\n".join(entries + failures)


def test_the_jobs_do_what_the_commands_do(
    contract: Contract, world: World, instance: dg.DagsterInstance
) -> None:
    world.topic = [bad(0, 5), bad(1, 6)]
    done, said = launch(contract, world, instance, "replay_quarantine", {"records": [f"{SHOPS}:0:5"]})
    assert done, said
    done, said = launch(
        contract, world, instance, "drop_quarantine", {"records": [f"{SHOPS}:0:6"], "why": "a test"}
    )
    assert done, said
    assert [str(decision.verdict) for _, decision in world.decisions] == ["replayed", "dropped"]
    assert world.decisions[0][1].by.startswith("dagster run ")


def test_a_run_fails_when_something_was_not_replayed(
    contract: Contract, world: World, instance: dg.DagsterInstance
) -> None:
    world.topic = [letter(0, topic=SHOPS, at=5, key=None)]
    done, said = launch(contract, world, instance, "replay_quarantine", {"everything": True})
    assert not done
    assert "the record has no key" in said


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("replay_quarantine", {}),
        ("replay_quarantine", {"everything": True, "tables": ["shops"]}),
        ("replay_quarantine", {"everything": True, "repair": True}),
        ("replay_quarantine", {"records": ["nonsense"]}),
        ("replay_quarantine", {"tables": ["nope"]}),
        ("drop_quarantine", {"records": ["a:0:1"], "why": " "}),
        ("drop_quarantine", {"records": [], "why": "x"}),
    ],
)
def test_wrong_requests_are_refused(
    contract: Contract, world: World, instance: dg.DagsterInstance, name: str, config: dict[str, Any]
) -> None:
    done, _ = launch(contract, world, instance, name, config)
    assert not done
    assert world.decisions == []


def test_the_checks_can_be_run_by_hand(
    contract: Contract, world: World, instance: dg.DagsterInstance
) -> None:
    world.topic = [bad(0, 5)]
    specs = [dg.AssetSpec(spec.asset_key) for spec in checks.check_specs(contract)]
    definitions = dg.Definitions(
        assets=list({spec.key: spec for spec in specs}.values()),
        asset_checks=[checks.quarantine_checks(contract)],
        jobs=[dg.define_asset_job("judge", selection=dg.AssetSelection.all_asset_checks())],
        resources={"lakehouse": world.resource()},
    )
    done = definitions.resolve_job_def("judge").execute_in_process(instance=instance)
    found = {
        f"{one.asset_key.to_user_string()}/{one.check_name}": one.passed
        for one in done.get_asset_check_evaluations()
    }
    assert found == {
        "orders/lake/orders/nothing_quarantined": True,
        NAME: False,
        "orders/streams/lake/nothing_quarantined": True,
    }
