"""Reading, replaying and dropping, over engines that hold what the test puts into them."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.quarantine import reading
from lakehouse_dagster.quarantine.model import Place, Verdict
from lakehouse_dagster.quarantine.operations import Quarantine, Wanted
from lakehouse_dagster.streams import repair as repair_module
from tests.unit.quarantine.fakes import ORDERS, SHOPS, FakeStore, World, letter

ORDER = (1, "s1", datetime(2026, 1, 1), Decimal("9.50"), None, None)
MOVED = json.dumps(
    {"id": 1, "__op": "u", "total": "x", "__before_shop": "s0", "__before_placed_at": "2026-01-01T00:00:00Z"}
).encode()


def shop(offset: int, at: int, code: str = "a", **more: Any) -> Any:
    return letter(offset, topic=SHOPS, at=at, key=json.dumps({"code": code}).encode(), **more)


@pytest.fixture
def quarantine(contract: Contract, world: World) -> Quarantine:
    return Quarantine(contract, world.clients(), "tester", lambda _: None)


def open_places(world: World) -> list[str]:
    return [str(one.place) for one in world.known if one.decision is None]


# --- reading --------------------------------------------------------------------------------------


def test_letters_that_were_written_twice_are_one_record(quarantine: Quarantine, world: World) -> None:
    world.topic = [shop(0, 5), shop(1, 5), shop(2, 6), shop(3, 5, value=b"another")]
    found = quarantine.listing()
    assert (found.counts.total, found.counts.open) == (3, 3)
    assert [one.place.offset for one in found.records] == [5, 6, 5], "another record at the same place is one"


def test_only_what_is_new_is_read(contract: Contract, world: World) -> None:
    store = FakeStore(world)
    world.topic = [shop(0, 5)]
    assert reading.sync(contract, world.clients(), store) == reading.Synced(1, 1)  # type: ignore[arg-type]
    world.topic.append(shop(1, 6))
    assert reading.sync(contract, world.clients(), store) == reading.Synced(1, 2)  # type: ignore[arg-type]
    assert reading.sync(contract, world.clients(), store) == reading.Synced(0, 2)  # type: ignore[arg-type]


def test_a_topic_made_anew_is_read_from_its_beginning(contract: Contract, world: World) -> None:
    store = FakeStore(world)
    world.topic = [shop(number, number) for number in range(9)]
    reading.sync(contract, world.clients(), store)  # type: ignore[arg-type]
    world.topic = [shop(0, 77)]
    assert reading.sync(contract, world.clients(), store).new == 1  # type: ignore[arg-type]


def test_a_flood_is_read_in_pieces(contract: Contract, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BATCH", 10)
    store = FakeStore(world)
    world.topic = [shop(number, number) for number in range(25)]
    times = iter([0.0, 1.0, 6.0])
    done = reading.sync(contract, world.clients(), store, seconds=5.0, clock=lambda: next(times))  # type: ignore[arg-type]
    assert done == reading.Synced(20, 20, complete=False)
    assert reading.sync(contract, world.clients(), store) == reading.Synced(5, 25)  # type: ignore[arg-type]


def test_no_topic_means_no_records(quarantine: Quarantine) -> None:
    assert quarantine.listing().counts.total == 0


# --- replaying ------------------------------------------------------------------------------------


def test_the_sources_word_is_written_and_never_the_old_record(quarantine: Quarantine, world: World) -> None:
    world.topic = [shop(0, 5, value=b'{"code":"a","name":"old","__op":"c"}')]
    world.source["shops"] = [("a", "new")]
    done = quarantine.replay(Wanted(everything=True))
    assert (done.replayed, done.written, done.failed) == (1, 1, 0)
    [(topic, key, body)] = world.written
    assert (topic, key, body["name"], body["__op"]) == (SHOPS, {"code": "a"}, "new", "r")
    assert world.waited == [("shops",)]
    [(place, decision)] = world.decisions
    assert place == Place(SHOPS, 0, 5)
    assert decision.verdict is Verdict.REPLAYED
    assert "binlog.000003:4711" in decision.proof
    assert "orders-lake" in decision.proof


def test_a_row_that_is_gone_stays_gone(quarantine: Quarantine, world: World) -> None:
    world.topic = [shop(0, 5, value=b'{"code":"a","name":"old","__op":"c"}')]
    assert quarantine.replay(Wanted(everything=True)).replayed == 1
    [(_, _, body)] = world.written
    assert (body["__op"], body["code"]) == ("d", "a")


def test_several_records_of_one_row_need_one_word(quarantine: Quarantine, world: World) -> None:
    world.topic = [shop(0, 5), shop(1, 6), shop(2, 7, "b")]
    world.source["shops"] = [("a", "A"), ("b", "B")]
    done = quarantine.replay(Wanted(everything=True))
    assert (done.replayed, done.written) == (3, 2)
    assert open_places(world) == []


def test_only_what_was_asked_for_is_replayed(quarantine: Quarantine, world: World) -> None:
    world.topic = [shop(0, 5), shop(1, 6, "b"), letter(2, at=1, value=b'{"__op":"c"}')]
    assert quarantine.replay(Wanted(places=(Place(SHOPS, 0, 6),))).replayed == 1
    assert open_places(world) == [f"{SHOPS}:0:5", f"{ORDERS}:0:1"]
    assert quarantine.replay(Wanted(tables=("orders",))).replayed == 1
    assert open_places(world) == [f"{SHOPS}:0:5"]


def test_a_place_in_a_view_that_the_row_has_left_is_vacated(quarantine: Quarantine, world: World) -> None:
    world.topic = [letter(0, at=1, value=MOVED)]
    world.source["orders"] = [ORDER]
    assert quarantine.replay(Wanted(everything=True)).replayed == 1
    [(_, _, body)] = world.written
    assert (body["__op"], body["__before_shop"], body["shop"]) == ("u", "s0", "s1")
    assert "orders-lake and orders-serving" in world.decisions[0][1].proof


def test_an_unknown_place_in_a_view_is_not_guessed(quarantine: Quarantine, world: World) -> None:
    world.topic = [letter(0, at=1, value=b"{bad")]
    done = quarantine.replay(Wanted(everything=True))
    assert (done.replayed, done.failed) == (0, 1)
    assert "shop, placed_at" in done.failures[0].why
    assert "replay orders --table orders --repair" in done.failures[0].why
    assert world.written == []


def test_a_dead_letter_that_is_gone_tells_no_place(quarantine: Quarantine, world: World) -> None:
    world.topic = [letter(0, at=1, value=MOVED), shop(1, 5)]
    quarantine.listing()
    world.topic.pop(0)
    done = quarantine.replay(Wanted(everything=True))
    assert (done.replayed, done.failed) == (1, 1)
    assert "its dead letter is gone" in done.failures[0].why


def test_an_unreadable_key_is_said_to_be_so_and_the_others_go_on(
    quarantine: Quarantine, world: World
) -> None:
    world.topic = [letter(0, topic=SHOPS, at=4, key=b"\xff"), shop(1, 5), letter(2, topic="elsewhere", at=6)]
    done = quarantine.replay(Wanted(everything=True))
    assert (done.replayed, done.failed) == (1, 2)
    assert "is no JSON" in done.failures[0].why
    assert "--table shops --repair" in done.failures[0].why
    assert "does not tell which table" in done.failures[1].why


def test_a_source_row_that_cannot_be_carried_names_its_column(quarantine: Quarantine, world: World) -> None:
    world.topic = [letter(0, at=1, value=b'{"__op":"c"}'), shop(1, 5)]
    world.source["orders"] = [(1, "s1", datetime(2026, 1, 1), "nonsense", None, None)]
    done = quarantine.replay(Wanted(everything=True))
    assert (done.replayed, done.failed) == (1, 1)
    assert "column total" in done.failures[0].why
    assert open_places(world) == [f"{ORDERS}:0:1"]


def test_a_word_that_is_quarantined_itself_fails_the_replay(quarantine: Quarantine, world: World) -> None:
    world.topic = [shop(0, 5), shop(1, 6, "b")]
    world.source["shops"] = [("a", "A"), ("b", "B")]
    world.refuses = lambda body: "column name: too long" if body["code"] == "a" else None
    done = quarantine.replay(Wanted(everything=True))
    assert (done.replayed, done.failed) == (1, 1)
    assert "column name: too long" in done.failures[0].why
    assert open_places(world) == [f"{SHOPS}:0:5"], "the replay's own record is nobody's business"


def test_nothing_is_decided_before_it_has_arrived(quarantine: Quarantine, world: World) -> None:
    world.topic = [shop(0, 5)]
    world.late = ("job orders-lake is not running",)
    done = quarantine.replay(Wanted(everything=True))
    assert (done.replayed, done.failed) == (0, 1)
    assert "job orders-lake is not running" in done.failures[0].why
    assert world.decisions == []
    world.late = ()
    assert quarantine.replay(Wanted(everything=True)).replayed == 1


def test_all_are_replayed_however_many(
    quarantine: Quarantine, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lakehouse_dagster.quarantine import operations, replay

    monkeypatch.setattr(operations, "PAGE", 7)
    monkeypatch.setattr(replay, "BATCH", 3)
    world.topic = [shop(number, number, f"c{number}") for number in range(20)]
    world.topic += [letter(20, topic=SHOPS, at=99, key=None)]
    done = quarantine.replay(Wanted(everything=True))
    assert (done.replayed, done.failed) == (20, 1)


def test_a_repair_decides_what_was_open_before_it(
    quarantine: Quarantine, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.topic = [letter(0, topic=SHOPS, at=4, key=None), letter(1, at=1)]

    class Done:
        deleted, moved, written = 1, 0, 2

        def __str__(self) -> str:
            return "no row differs"

    def repair(contract: Contract, clients: object, store: object, **named: Any) -> Done:
        assert named["tables"] == ("shops",)
        world.topic.append(letter(2, topic=SHOPS, at=50, key=None, value=b"new"))
        quarantine.listing()
        return Done()

    monkeypatch.setattr(repair_module, "repair", repair)
    done = quarantine.replay(Wanted(tables=("shops",)), repair=True)
    assert (done.replayed, done.written) == (1, 3)
    assert open_places(world) == [f"{ORDERS}:0:1", f"{SHOPS}:0:50"]
    assert world.decisions[0][1].proof == "repair: no row differs"
    with pytest.raises(ValueError, match="whole tables"):
        quarantine.replay(Wanted(everything=True), repair=True)


# --- dropping -------------------------------------------------------------------------------------


def test_a_dropped_record_needs_a_reason_and_keeps_it(quarantine: Quarantine, world: World) -> None:
    world.topic = [shop(0, 5), shop(1, 6)]
    place = Place(SHOPS, 0, 5)
    with pytest.raises(ValueError, match="say why"):
        quarantine.drop([place], "  ")
    assert quarantine.drop([place], " a test ") == 1
    assert open_places(world) == [f"{SHOPS}:0:6"]
    assert (world.decisions[0][1].why, world.decisions[0][1].by) == ("a test", "tester")
    with pytest.raises(ValueError, match="decided already: dropped by tester"):
        quarantine.drop([place], "again")
    assert quarantine.replay(Wanted(places=(place,))).replayed == 1, "one may think better of it"


def test_what_is_not_quarantined_cannot_be_decided(quarantine: Quarantine) -> None:
    with pytest.raises(ValueError, match="not quarantined in orders: a:0:1"):
        quarantine.drop([Place("a", 0, 1)], "why")


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"records": ["a:0:1"], "everything": True},
        {"tables": ["orders"], "everything": True},
        {"tables": ["nope"]},
        {"records": ["a"]},
        {"records": ["a:0:1"] * 1001},
    ],
)
def test_a_request_is_for_exactly_one_thing(contract: Contract, asked: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each has its own words
        Wanted.parse(contract, **asked)
