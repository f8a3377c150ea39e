"""What stands for a quarantined record: keys, places that rows have left, and the source's word."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.wire import NoWireForm
from lakehouse_dagster.quarantine.truth import Unreadable, key_of, left_places, lookup, records, rows_of
from lakehouse_dagster.render.records import At

AT = At("binlog.000003", 4711, 1_700_000_000_000_000)
ROW = {
    "id": "1",
    "shop": "s1",
    "placed_at": "2026-01-01T00:00:00.000000Z",
    "total": "9.50",
    "note": None,
    "paid_at": None,
}


def raw(op: str, **more: Any) -> bytes:
    return json.dumps({"id": 1, "__op": op, **more}).encode()


@pytest.mark.parametrize(
    ("table", "key", "found"),
    [("orders", b'{"id":1}', ("1",)), ("shops", '{"code":"!é"}'.encode(), ("!é",))],
)
def test_the_key_is_read_from_the_records_key(
    contract: Contract, table: str, key: bytes, found: tuple[str, ...]
) -> None:
    assert key_of(contract, table, key) == found


@pytest.mark.parametrize(
    ("table", "key", "said"),
    [
        ("orders", None, "has no key"),
        ("orders", b"\xff\xfe", "is no JSON"),
        ("orders", b"17", "not of the columns id"),
        ("orders", b'{"id":1,"more":2}', "not of the columns id"),
        ("orders", b'{"id":null}', "no value of type int in column id"),
        ("orders", b'{"id":"x"}', "no value of type int in column id"),
        ("orders", b'{"id":NaN}', "no value of type int in column id"),
        ("orders", b'{"id":[1]}', "no value of type int in column id"),
        ("shops", b'{"code":5}', "no value of type char(4) in column code"),
    ],
)
def test_a_key_that_cannot_be_read_is_said_to_be_so(
    contract: Contract, table: str, key: bytes | None, said: str
) -> None:
    with pytest.raises(Unreadable) as told:
        key_of(contract, table, key)
    assert said in str(told.value)


def test_places_that_a_row_has_left(contract: Contract) -> None:
    before = {"__before_shop": "s0", "__before_placed_at": "2026-01-01T00:00:00Z"}
    place = {"shop": "s0", "placed_at": "2026-01-01T00:00:00.000000Z"}
    assert left_places(contract, "orders", raw("u", **before)) == (place,)
    assert left_places(contract, "orders", raw("d", shop="s0", placed_at="2026-01-01T00:00:00Z")) == (place,)
    assert left_places(contract, "orders", raw("c", shop="s0")) == ()
    assert left_places(contract, "shops", b"\xff") == (), "no view of it moves"


@pytest.mark.parametrize("value", [b"{bad", b"7", None, raw("x"), raw("t"), raw("u", __before_shop="s0")])
def test_a_record_that_does_not_tell_the_place_it_left(contract: Contract, value: bytes | None) -> None:
    with pytest.raises(Unreadable):
        left_places(contract, "orders", value)


def test_a_row_that_is_there_is_written_as_it_is(contract: Contract) -> None:
    [record] = records(contract, "orders", ("1",), ROW, (), AT)
    body = json.loads(record.value)
    assert (body["__op"], body["__deleted"]) == ("r", "false")
    assert (body["__source_file"], body["__source_pos"]) == ("binlog.000003", 4711)
    assert body["total"] == "9.50"


def test_a_row_that_has_left_a_place_says_so(contract: Contract) -> None:
    here = {"shop": "s1", "placed_at": ROW["placed_at"] or ""}
    elsewhere = {**here, "shop": "s0"}
    [record] = records(contract, "orders", ("1",), ROW, (here, elsewhere), AT)
    body = json.loads(record.value)
    assert (body["__op"], body["__before_shop"], body["shop"]) == ("u", "s0", "s1")


def test_a_row_that_is_gone_is_deleted_from_every_place(contract: Contract) -> None:
    places = tuple({"shop": shop, "placed_at": "2026-01-01T00:00:00.000000Z"} for shop in ("s0", "s1"))
    made = [json.loads(one.value) for one in records(contract, "orders", ("1",), None, places, AT)]
    assert [(body["__op"], body["shop"], body["id"]) for body in made] == [("d", "s0", 1), ("d", "s1", 1)]
    [only] = records(contract, "orders", ("1",), None, (), AT)
    body = json.loads(only.value)
    assert body["shop"], "Cassandra takes no NULL in a key"


def test_a_value_that_cannot_be_carried_is_named(contract: Contract) -> None:
    with pytest.raises(NoWireForm, match="column total"):
        records(contract, "orders", ("1",), {**ROW, "total": "!nonsense"}, (), AT)


def test_rows_are_looked_up_by_their_very_keys(contract: Contract) -> None:
    asked = []

    def rows(select: str, args: Any = None) -> Any:
        asked.append((select, args))
        # The collation finds both; only one is the key that was asked for.
        return iter([("A", "upper"), ("a", "lower")])

    found = rows_of(contract, SimpleNamespace(rows=rows), "shops", [("a",), ("b",)])  # type: ignore[arg-type]
    assert found == {("a",): {"code": "a", "name": "lower"}}
    [(select, args)] = asked
    assert "WHERE (`code` = %s) OR (`code` = %s)" in select
    assert args == ["a", "b"]


def test_what_a_key_is_compared_with(contract: Contract) -> None:
    select, args = lookup(contract, "orders", [("1",), ("2",)])
    assert args == [1, 2]
    assert select.endswith("ORDER BY `id`")


def test_many_keys_are_asked_for_in_several_statements(contract: Contract) -> None:
    values = (1, "s1", datetime(2026, 1, 1), Decimal("9.5"), None, None)
    asked = []

    def rows(select: str, args: Any = None) -> Any:
        asked.append(len(args))
        return iter([values])

    keys = [(str(number),) for number in range(450)]
    found = rows_of(contract, SimpleNamespace(rows=rows), "orders", keys)  # type: ignore[arg-type]
    assert asked == [200, 200, 50]
    assert found == {("1",): ROW}
