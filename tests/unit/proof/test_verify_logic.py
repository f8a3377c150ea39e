from __future__ import annotations

import io
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from lakehouse_dagster.contract.evolution import SchemaPolicy
from lakehouse_dagster.contract.loader import DEFS_ROOT, load_contract
from lakehouse_dagster.contract.schema import Column, SchemaLock, TableSchema
from lakehouse_dagster.engines.mysql import SourcePosition
from lakehouse_dagster.proof.commands import describe, exit_code, show
from lakehouse_dagster.proof.rowset import Comparison, Kind
from lakehouse_dagster.proof.subject import Projection, Subject
from lakehouse_dagster.proof.verify import (
    MAX_EXAMPLES,
    Example,
    Report,
    Result,
    check_schema,
    choose,
    drift,
    example,
)

PROJECTION = Projection(
    "flights",
    (
        Column(name="origin", mysql_type="char(3)", nullable=False, position=1),
        Column(name="id", mysql_type="int unsigned", nullable=False, position=2),
        Column(name="delay", mysql_type="smallint", nullable=True, position=3),
    ),
    ("id", "origin"),
)


def keys(kind: Kind, count: int) -> dict[bytes, Kind]:
    return {f"{kind}{number:05}".encode(): kind for number in range(count)}


def test_at_most_twenty_keys_are_chosen_and_no_kind_hides_another() -> None:
    chosen = choose(keys("missing", 500) | keys("different", 3) | keys("extra", 100))
    assert len(chosen) == MAX_EXAMPLES == 20
    counts = {kind: list(chosen.values()).count(kind) for kind in ("missing", "different", "extra")}
    assert counts == {"missing": 9, "different": 3, "extra": 8}


def test_fewer_differences_are_all_chosen() -> None:
    found = keys("missing", 2) | keys("extra", 1)
    assert choose(found) == found
    assert choose({}) == {}


def test_a_different_row_names_its_key_and_only_the_columns_that_differ() -> None:
    found = example(PROJECTION, "different", ("EWR", "7", "12"), [("EWR", "7", None)])
    assert found.key == {"id": "7", "origin": "EWR"}
    assert found.columns == {"delay": ("12", None)}
    assert describe(found) == "different: id=7, origin=EWR: delay is NULL, source has 12"


def test_the_wrong_one_of_two_rows_of_a_key_is_shown() -> None:
    found = example(PROJECTION, "different", ("EWR", "7", "1"), [("EWR", "7", "1"), ("EWR", "7", "2")])
    assert found.columns == {"delay": ("1", "2")}


def test_missing_and_extra_rows_are_given_whole() -> None:
    missing = example(PROJECTION, "missing", ("EWR", "7", None), [])
    assert missing.columns == {"origin": ("EWR", None), "id": ("7", None), "delay": (None, None)}
    extra = example(PROJECTION, "extra", None, [("JFK", "8", "0")])
    assert extra.key == {"id": "8", "origin": "JFK"}
    assert extra.columns["delay"] == (None, "0")
    assert describe(extra) == "extra: id=8, origin=JFK"


def test_the_json_form() -> None:
    subject = Subject("couchdb", PROJECTION, "flight_documents")
    different = Result(
        subject,
        Comparison(source_rows=3, rows=2, missing=1, different=1),
        (Example("different", {"id": "7"}, {"delay": ("1", "2")}),),
        newer=1,
    )
    report = Report("flights", SourcePosition("u:1-9", "binlog.000002", 400), (different,), written=True)
    body = report.to_json()
    assert body["equal"] is False
    assert body["source"] == {
        "file": "binlog.000002",
        "pos": 400,
        "gtids": "u:1-9",
        "written_during_comparison": True,
    }
    assert body["tables"] == [
        {
            "table": "flights",
            "place": "couchdb",
            "view": "flight_documents",
            "source_rows": 3,
            "rows": 2,
            "missing": 1,
            "extra": 0,
            "different": 1,
            "newer": 1,
            "examples": [
                {
                    "kind": "different",
                    "key": {"id": "7"},
                    "columns": {"delay": {"source": "1", "place": "2"}},
                }
            ],
        }
    ]


def test_a_report_is_equal_only_if_every_place_is() -> None:
    good = Result(Subject("paimon", PROJECTION), Comparison(1, 1))
    bad = Result(Subject("trino", PROJECTION), Comparison(1, 2, extra=1))
    position = SourcePosition("", "binlog.000001", 4)
    assert Report("p", position, (good,)).equal
    assert not Report("p", position, (good, bad)).equal
    # Nor is one from which a table is missing, though nothing differs.
    less = Report("p", position, (good,), left_out={"planes": "it is stopped: why"})
    assert (less.differs, less.equal) == (False, False)
    assert less.to_json()["left_out"] == {"planes": "it is stopped: why"}
    assert [exit_code(found) for found in (Report("p", position, (good,)), less)] == [0, 2]
    assert exit_code(Report("p", position, (bad,), left_out={"planes": "x"})) == 1
    console = Console(record=True, width=200, file=io.StringIO())
    show(less, console)
    said = console.export_text()
    assert "not compared: planes: it is stopped: why" in said
    assert "not everything was compared" in said


def test_tables_that_cannot_be_compared_are_left_out_with_the_reason() -> None:
    contract = load_contract(DEFS_ROOT / "flights")
    lock = contract.lock
    planes = lock.tables["planes"]
    extra = Column(name="extra", mysql_type="int", nullable=True, position=99)
    more = planes.model_copy(update={"columns": (*planes.columns, extra)})
    live = {name: table for name, table in lock.tables.items() if name != "weather"} | {"planes": more}
    schema = SchemaLock(database=lock.database, tables=live)
    clients: Any = SimpleNamespace(
        reading=SimpleNamespace(mysql=SimpleNamespace(read_schema=lambda database: schema))
    )
    stopped = replace(contract, stopped={"flights": "renamed"})
    found = check_schema(stopped, clients)
    assert list(found) == ["flights", "planes", "weather"]
    assert found["flights"] == "it is stopped: renamed"
    assert "no such table" in found["weather"]
    assert "planes.extra is int, locked as absent" in found["planes"]
    ignoring = contract.pipeline.model_copy(update={"schema_changes": SchemaPolicy(add="ignore")})
    assert list(check_schema(replace(contract, pipeline=ignoring), clients, ["planes", "weather"])) == [
        "weather"
    ]


def test_drift_names_every_change_of_columns_types_and_key() -> None:
    locked = TableSchema(name="t", columns=PROJECTION.columns, primary_key=("id",))
    assert drift(locked, locked) == []
    changed = TableSchema(
        name="t",
        columns=(
            PROJECTION.columns[0].model_copy(update={"mysql_type": "char(4)"}),
            PROJECTION.columns[1],
            Column(name="new", mysql_type="int", nullable=True, position=3),
        ),
        primary_key=("origin", "id"),
    )
    assert drift(locked, changed) == [
        "t has the key (origin, id), locked as (id)",
        "t.delay is absent, locked as smallint",
        "t.new is int, locked as absent",
        "t.origin is char(4), locked as char(3)",
    ]
