"""Records of a repair: the connector's form, made from rows as the proof reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lakehouse_dagster.contract import Column, SchemaLock, TableSchema
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.model import Pipeline, Source, Table, View
from lakehouse_dagster.contract.wire import NoWireForm
from lakehouse_dagster.render.records import At, Row, delete_record, moved_record, row_record

COLUMNS = (("id", "bigint unsigned"), ("shop", "char(4)"), ("day", "date"), ("total", "decimal(10,2)"))
AT = At("binlog.000007", 4711, 1_700_000_000_000_000)
ROW: Row = {"id": "18446744073709551615", "shop": "ä", "day": "2024-02-29", "total": None}


def contract() -> Contract:
    columns = tuple(
        Column(name=name, mysql_type=kind, nullable=name != "id", position=at)
        for at, (name, kind) in enumerate(COLUMNS, start=1)
    )
    table = TableSchema(name="orders", columns=columns, primary_key=("id",))
    board = View(name="board", engine="cassandra", table="orders", columns=("id", "shop", "day"),
                 partition_key=("shop",), clustering_key=("day", "id"))  # fmt: skip
    return Contract(
        folder=Path("/nonexistent"),
        pipeline=Pipeline(
            name="shop",
            owner="team:test",
            source=Source(database="db"),
            tables=(Table(name="orders"),),
            views=(board,),
        ),
        lock=SchemaLock(database="db", tables={"orders": table}),
        queries={},
    )


def body(text: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_delete_says_who_is_gone_and_where() -> None:
    record = delete_record(contract(), "orders", ROW, AT)
    assert record.topic == "shop.db.orders"
    assert record.key == b'{"id":18446744073709551615}'
    assert body(record.value) == {
        "id": 18446744073709551615,
        "shop": "ä",
        "day": "2024-02-29Z",
        "total": None,
        "__deleted": "true",
        "__op": "d",
        "__source_file": "binlog.000007",
        "__source_pos": 4711,
        "__source_row": 0,
        "__source_gtid": None,
        "__source_ts_us": 1_700_000_000_000_000,
        "__source_snapshot": "repair",
        "__before_shop": "ä",
        "__before_day": "2024-02-29Z",
        "__source_epoch": "0",
    }


def test_columns_that_a_view_lacks_are_null() -> None:
    value = body(delete_record(contract(), "orders", {"id": "1", "shop": "a", "day": "2024-01-01"}, AT).value)
    assert value["total"] is None
    assert value["__before_shop"] == "a"


def test_a_row_has_no_before() -> None:
    value = body(row_record(contract(), "orders", {**ROW, "total": "1.50"}, AT).value)
    assert (value["__op"], value["__deleted"], value["total"]) == ("r", "false", "1.50")
    assert value["__before_shop"] is None


def test_a_move_tells_the_place_it_left_and_keeps_what_did_not_change() -> None:
    value = body(moved_record(contract(), "orders", ROW, {"day": "2020-01-01"}, AT).value)
    assert (value["__op"], value["__deleted"]) == ("u", "false")
    assert (value["day"], value["__before_day"]) == ("2024-02-29Z", "2020-01-01Z")
    assert value["shop"] == value["__before_shop"] == "ä"


def test_a_value_that_nothing_can_carry_is_named() -> None:
    with pytest.raises(NoWireForm, match="column id: '!document id x' is no value of type bigint unsigned"):
        delete_record(contract(), "orders", {**ROW, "id": "!document id x"}, AT)
