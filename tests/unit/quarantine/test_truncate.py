"""A TRUNCATE: named by the check, replayed by a repair only, which removes what was there before it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.position import encode
from lakehouse_dagster.engines.mysql import SourcePosition
from lakehouse_dagster.proof.subject import PlaceRow, Subject, subjects
from lakehouse_dagster.quarantine import checks, emptied, offer
from lakehouse_dagster.quarantine.emptied import truncated_at
from lakehouse_dagster.quarantine.model import TRUNCATED, Verdict
from lakehouse_dagster.quarantine.operations import Quarantine, Wanted
from lakehouse_dagster.quarantine.sensor import Cursor, tick
from lakehouse_dagster.render.records import At
from lakehouse_dagster.streams import repair as repair_module
from tests.unit.quarantine.fakes import ORDERS, SHOPS, World, letter

FORMAT = (
    Path(__file__).parents[3]
    / "flink_jobs/connectors/src/main/java/io/lakehouse/flink/record/RecordDeserializationSchema.java"
)
TOLD = {
    "__op": "t",
    "__deleted": "false",
    "__source_file": "binlog.000002",
    "__source_pos": 1600,
    "__source_row": 0,
    "__source_gtid": "u:7",
    "__source_ts_us": 1_700_000_000_000_000,
    "__source_snapshot": "false",
}


def truncate(offset: int, at: int, topic: str = SHOPS, **more: Any) -> Any:
    value = json.dumps(TOLD | more).encode()
    return letter(offset, topic=topic, at=at, key=None, value=value, reason=TRUNCATED)


def shop_row(code: str, file: int, pos: int) -> PlaceRow:
    return PlaceRow((code, code.upper()), encode(0, file, pos, 0))


@pytest.fixture
def quarantine(contract: Contract, world: World) -> Quarantine:
    return Quarantine(contract, world.clients(), "tester", lambda _: None)


@pytest.fixture
def lake(contract: Contract, world: World, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[PlaceRow]]:
    """Rows of lake tables by table; the repair that follows finds nothing to do."""
    found: dict[str, list[PlaceRow]] = {}

    def lake_rows(*given: Any) -> Iterator[tuple[Subject, PlaceRow]]:
        tables = given[2]
        for subject in subjects(contract):
            if subject.place == "paimon" and subject.table in tables:
                for row in found.get(subject.table, ()):
                    yield subject, row

    def repair(*_: object, **__: object) -> Any:
        return SimpleNamespace(deleted=0, moved=0, written=0)

    monkeypatch.setattr(emptied, "lake_rows", lake_rows)
    monkeypatch.setattr(emptied, "RecordWriter", world.writer)
    monkeypatch.setattr(emptied, "wait_for_jobs", world.wait)
    monkeypatch.setattr(repair_module, "repair", repair)
    return found


def test_the_streams_call_it_by_the_same_words() -> None:
    assert f'TRUNCATED = "{TRUNCATED}";' in FORMAT.read_text(encoding="utf-8")


def test_the_check_names_it_and_offers_the_repair(contract: Contract, world: World) -> None:
    world.topic = [truncate(0, 5), *(letter(n, topic=SHOPS, at=n, key=b'{"code":"a"}') for n in range(6, 40))]
    with dg.DagsterInstance.ephemeral() as instance:
        result = tick(contract, world.clients(), instance, Cursor(), 1000.0)
    found = [one for one in result.asset_events or [] if isinstance(one, dg.AssetCheckEvaluation)]
    (failed,) = (one for one in found if not one.passed)
    assert failed.asset_key.path[-1] == "shops"
    assert "shops was truncated in the source" in (failed.description or "")
    offered = str(failed.metadata["replay"].value)
    assert "repair: true" in offered
    assert "lakehouse quarantine replay orders --table shops --repair" in offered


def test_without_one_no_repair_is_offered(contract: Contract, world: World) -> None:
    world.topic = [letter(0, topic=SHOPS, at=5, key=b'{"code":"a"}')]
    assert "repair" not in offer.offer(contract, "shops")
    Quarantine(contract, world.clients(), "tester", lambda _: None).listing()
    store = world.store(None)
    (ward,) = (one for one in checks.wards(contract, store.counts("orders")) if one.counts.open)
    assert not checks.truncated(contract, store, ward)  # type: ignore[arg-type]


def test_it_cannot_be_replayed_as_a_row(quarantine: Quarantine, world: World) -> None:
    world.topic = [truncate(0, 5), letter(1, topic=SHOPS, at=6, key=b'{"code":"a"}')]
    done = quarantine.replay(Wanted(everything=True))
    assert (done.replayed, done.failed) == (1, 1)
    assert "shops was truncated" in done.failures[0].why
    assert "--table shops --repair" in done.failures[0].why


def test_a_repair_removes_what_was_there_before_it(
    quarantine: Quarantine, world: World, lake: dict[str, list[PlaceRow]]
) -> None:
    lake["shops"] = [shop_row("old", 2, 800), shop_row("new", 2, 3200), shop_row("older", 1, 4000)]
    world.topic = [truncate(0, 4, __source_pos=400), truncate(1, 5)]
    done = quarantine.replay(Wanted(tables=("shops",)), repair=True)
    assert (done.replayed, done.written) == (2, 2)
    said = [(topic, body["__op"], body["code"], body["__source_pos"]) for topic, _, body in world.written]
    assert said == [(SHOPS, "d", "old", 1600), (SHOPS, "d", "older", 1600)]
    assert [str(decision.verdict) for _, decision in world.decisions] == [str(Verdict.REPLAYED)] * 2


def test_a_row_leaves_the_views_too(
    quarantine: Quarantine, world: World, lake: dict[str, list[PlaceRow]]
) -> None:
    values = ("1", "s1", "2026-01-01T00:00:00.000000Z", "9.50", None, None)
    lake["orders"] = [PlaceRow(values, encode(0, 1, 160, 0))]
    world.topic = [truncate(0, 5, topic=ORDERS)]
    quarantine.replay(Wanted(tables=("orders",)), repair=True)
    [(_, key, body)] = world.written
    assert (key, body["__before_shop"]) == ({"id": 1}, "s1")


def test_a_place_of_a_binary_log_that_was_reset_says_nothing(
    quarantine: Quarantine, world: World, lake: dict[str, list[PlaceRow]]
) -> None:
    lake["shops"] = [shop_row("kept", 1, 160)]
    world.topic = [truncate(0, 5)]
    world.position = SourcePosition("u:1-2", "binlog.000001", 320)
    done = quarantine.replay(Wanted(tables=("shops",)), repair=True)
    assert (done.replayed, done.written, world.written) == (1, 0, [])


def test_where_it_was_is_told_by_its_record() -> None:
    assert truncated_at(json.dumps(TOLD).encode()) == At("binlog.000002", 1600, 1_700_000_000_000_000)


@pytest.mark.parametrize(
    "raw",
    [
        None,
        b"\xff",
        b"[]",
        json.dumps(TOLD | {"__op": "d"}).encode(),
        json.dumps(TOLD | {"__source_file": "binlog"}).encode(),
        json.dumps(TOLD | {"__source_pos": None}).encode(),
        json.dumps(TOLD | {"__source_pos": 2**40}).encode(),
    ],
)
def test_a_record_that_does_not_tell(raw: bytes | None) -> None:
    assert truncated_at(raw) is None
