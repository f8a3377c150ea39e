"""Keys as each engine is asked for them, and the source read page by page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.model import Pipeline, Source, Table
from lakehouse_dagster.contract.schema import Column, SchemaLock, TableSchema
from lakehouse_dagster.engines.mysql import SourceSnapshot
from lakehouse_dagster.proof.arrived import KeySet
from lakehouse_dagster.proof.places import cassandra, couchdb, trino
from lakehouse_dagster.proof.source import read_all, read_keys
from lakehouse_dagster.proof.subject import Projection, Subject
from lakehouse_dagster.proof.throttle import Throttle
from lakehouse_dagster.render import keyed
from lakehouse_dagster.render.proof import comparable, proof_script


def column(mysql_type: str, name: str = "c", position: int = 1) -> Column:
    return Column(name=name, mysql_type=mysql_type, nullable=False, position=position)


def contract_of(*key: tuple[str, str]) -> Contract:
    """A pipeline of one table `t` with these key columns and a text `note`."""
    columns = tuple(
        column(kind, name, at) for at, (name, kind) in enumerate((*key, ("note", "text")), start=1)
    )
    names = tuple(name for name, _ in key)
    return Contract(
        folder=Path("/nonexistent"),
        pipeline=Pipeline(name="p", owner="team:t", source=Source(database="d"), tables=(Table(name="t"),)),
        lock=SchemaLock(
            database="d", tables={"t": TableSchema(name="t", columns=columns, primary_key=names)}
        ),
        queries={},
    )


@pytest.mark.parametrize(
    ("mysql_type", "text", "mysql", "in_trino", "in_cassandra"),
    [
        ("int unsigned", "4000000000", 4000000000, "CAST('4000000000' AS bigint)", 4000000000),
        ("bigint unsigned", "7", 7, "CAST('7' AS decimal(20, 0))", Decimal(7)),
        ("decimal(8,3)", "-1.500", Decimal("-1.500"), "CAST('-1.500' AS decimal(8, 3))", Decimal("-1.500")),
        ("char(3)", "it's", "it's", "'it''s'", "it's"),
        ("varchar(9)", "!x", "!x", "'!x'", "!x"),
        ("date", "2013-01-01", "2013-01-01", "CAST('2013-01-01' AS date)", "2013-01-01"),
        (
            "datetime(3)",
            "2013-01-01T05:15:00.250000Z",
            "2013-01-01 05:15:00.250000",
            "CAST('2013-01-01 05:15:00.250000' AS timestamp(6))",
            "2013-01-01T05:15:00.250Z",
        ),
        (
            "datetime(6)",
            "2013-01-01T05:15:00.000001Z",
            "2013-01-01 05:15:00.000001",
            "CAST('2013-01-01 05:15:00.000001' AS timestamp(6))",
            "2013-01-01T05:15:00.000001Z",
        ),
        ("varbinary(8)", "AP8=", b"\x00\xff", "X'00ff'", b"\x00\xff"),
        ("bit(1)", "true", 1, "CAST('true' AS boolean)", True),
        ("bit(12)", "2049", 2049, "X'0108'", b"\x01\x08"),
        ("double", "1e-07", 1e-7, "CAST('1e-07' AS double)", 1e-7),
    ],
)
def test_a_key_as_each_engine_takes_it(
    mysql_type: str, text: str, mysql: object, in_trino: str, in_cassandra: object
) -> None:
    assert keyed.argument(column(mysql_type), text) == mysql
    assert trino.literal_of(column(mysql_type), text) == in_trino
    assert cassandra.argument(column(mysql_type), text) == in_cassandra


@pytest.mark.parametrize(
    "mysql_type", ["int", "decimal(8,3)", "date", "datetime", "double", "bit(1)", "bit(9)"]
)
def test_a_text_that_is_no_value_is_not_asked_for(mysql_type: str) -> None:
    for ask in (keyed.argument, trino.literal_of, cassandra.argument):
        for text in ("!'nonsense'", None):
            with pytest.raises(ValueError, match=r"."):
                ask(column(mysql_type), text)


def test_a_time_as_mysql_takes_it() -> None:
    assert keyed.argument(column("time(6)"), "-3661000001") == "-01:01:01.000001"
    assert keyed.argument(column("time"), "3020399000000") == "838:59:59.000000"


def test_document_ids_are_escaped_in_all_values_but_the_last() -> None:
    assert couchdb.document_id(["a:b%", "c:d"]) == "a%3Ab%25:c:d"
    assert couchdb.document_id(["7"]) == "7"


def test_trino_is_asked_for_some_hundred_keys_at_a_time() -> None:
    contract = contract_of(("a", "int"), ("b", "char(3)"))
    schema = contract.schema("t")
    subject = Subject("trino", Projection("t", schema.columns, schema.primary_key))
    keys = [(str(n), "x") for n in range(trino.CHUNK + 1)]
    conditions = trino._conditions(subject, keys)
    assert conditions is not None
    assert len(conditions) == 2
    assert conditions[1] == "(\"a\", \"b\") IN ((CAST('500' AS integer), 'x'))"
    assert trino._conditions(subject, [("!bad", "x")]) is None


def test_flink_joins_only_columns_whose_texts_are_the_same() -> None:
    contract = contract_of(("a", "int"), ("at", "datetime"), ("b", "varchar(9)"))
    assert comparable(contract, "t") == ("a", "b")
    script = proof_script(contract, "s3://lake/proof/x", ["t"], {"t": ("a", "b")})
    assert "FROM `lake`.`p`.`t` AS r" in script.inserts[0]
    assert (
        "JOIN `wanted_t` AS k ON k.`a` = CAST(r.`a` AS STRING) AND k.`b` = CAST(r.`b` AS STRING)"
        in (script.inserts[0])
    )
    assert "CAST(r.`_position` AS STRING)" in script.inserts[0]
    assert any("'path' = 's3://lake/proof/x-keys/t'" in statement for statement in script.statements)
    assert "JOIN" not in proof_script(contract, "s3://lake/proof/x", ["t"]).inserts[0]


# --- pages ----------------------------------------------------------------------------------------


def test_the_page_after_a_key_of_several_columns() -> None:
    contract = contract_of(("a", "int"), ("b", "char(3)"))
    sql, args = keyed.next_page(contract, "t", [7, "x"], 100)
    assert sql == (
        "SELECT `a`, `b`, `note`\nFROM `d`.`t`\n"
        "WHERE `a` >= %s AND (`a` > %s OR (`a` = %s AND (`b` > %s)))\n"
        "ORDER BY `a`, `b`\nLIMIT 100"
    )
    assert args == [7, 7, 7, "x"]
    sql, args = keyed.next_page(contract_of(("a", "int")), "t", [7], 100)
    assert "WHERE `a` > %s\n" in sql
    assert args == [7]


def test_the_rows_of_keys() -> None:
    contract = contract_of(("a", "int"), ("b", "char(3)"))
    sql, args = keyed.by_keys(contract, "t", [[1, "x"], [2, "y"]])
    assert sql.endswith("WHERE (`a`, `b`) IN ((%s, %s), (%s, %s))")
    assert args == [1, "x", 2, "y"]


def test_an_enum_is_not_paged_and_a_date_that_is_none_ends_the_paging() -> None:
    assert keyed.pageable(contract_of(("a", "int unsigned"), ("b", "datetime(6)")), "t")
    assert not keyed.pageable(contract_of(("a", "enum('x','y')")), "t")
    assert keyed.goes_on([1, "x", datetime(2020, 1, 1)])
    assert not keyed.goes_on([1, "0000-00-00 00:00:00"])


class FakeSnapshot:
    """Rows of one table in the order of its key, found by the arguments alone."""

    def __init__(self, rows: Sequence[tuple[Any, ...]], width: int) -> None:
        self.table = sorted(rows)
        self.width = width
        self.statements: list[str] = []

    def rows(self, select: str, args: Sequence[Any] | None = None) -> Iterator[tuple[Any, ...]]:
        self.statements.append(select)
        found = self.table
        if args and " IN (" in select:
            wanted = {tuple(args[at : at + self.width]) for at in range(0, len(args), self.width)}
            found = [row for row in found if row[: self.width] in wanted]
        elif args:
            found = [row for row in found if row[:1] > (args[0],)]
        if "OFFSET" in select:
            found = found[int(select.rsplit(" ", 1)[1]) :]
        elif "LIMIT" in select:
            found = found[: int(select.rsplit(" ", 1)[1])]
        yield from found


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 30])
def test_every_row_is_read_once_and_paid_for(count: int) -> None:
    contract = contract_of(("a", "int"))
    snapshot = FakeSnapshot([(n, f"note {n}") for n in range(count)], 1)
    slept: list[float] = []
    throttle = Throttle(10.0, clock=lambda: 0.0, sleep=slept.append)
    rows = list(read_all(contract, cast(SourceSnapshot, snapshot), "t", throttle))
    assert rows == [[str(n), f"note {n}"] for n in range(count)]
    assert throttle.rows == count
    assert len(snapshot.statements) == count // 10 + 1


def test_what_cannot_be_paged_is_streamed() -> None:
    contract = contract_of(("a", "enum('x','y')"))
    snapshot = FakeSnapshot([("x", "1"), ("y", "2")], 1)
    assert len(list(read_all(contract, cast(SourceSnapshot, snapshot), "t", Throttle(None)))) == 2
    assert "ORDER BY" not in snapshot.statements[0]
    dates = contract_of(("a", "date"))
    snapshot = FakeSnapshot([("0000-00-00", "1"), ("0000-00-00", "2"), ("0000-00-00", "3")], 1)
    rows = list(read_all(dates, cast(SourceSnapshot, snapshot), "t", Throttle(2.0, sleep=lambda _: None)))
    assert len(rows) == 3
    assert snapshot.statements[1].endswith("OFFSET 2")


def test_rows_by_key_leave_out_what_is_no_key() -> None:
    contract = contract_of(("a", "int"))
    snapshot = FakeSnapshot([(n, "x") for n in range(2000)], 1)
    keys = [("!x",), *((str(n),) for n in range(1000, 1700))]
    rows = list(read_keys(contract, cast(SourceSnapshot, snapshot), "t", keys, Throttle(None)))
    assert [row[0] for row in rows] == [str(n) for n in range(1000, 1700)]
    assert len(snapshot.statements) == 2


# --- keys that records came for -------------------------------------------------------------------


def test_keys_of_records_are_brought_to_their_canonical_text() -> None:
    found = KeySet(contract_of(("a", "int"), ("at", "datetime")), "t")
    found.add(b'{"a":7,"at":"2013-01-01T05:15:00Z"}')
    assert ("7", "2013-01-01T05:15:00.000000Z") in found
    assert ("8", "2013-01-01T05:15:00.000000Z") not in found


@pytest.mark.parametrize("key", [None, b"", b"nonsense", b"[1]", b"{}", b'{"a":"x"}', b'{"a":null}'])
def test_a_key_that_is_not_understood_may_be_any(key: bytes | None) -> None:
    found = KeySet(contract_of(("a", "int")), "t")
    found.add(key)
    assert ("1",) in found
    assert found.everything


def test_too_many_keys_are_every_key() -> None:
    found = KeySet(contract_of(("a", "int")), "t", most=3)
    for number in range(3):
        found.add(b'{"a":%d}' % number)
    assert ("9",) not in found
    found.add(b'{"a":3}')
    assert ("9",) in found
