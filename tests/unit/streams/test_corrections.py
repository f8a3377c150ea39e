"""Corrections make every place equal to the source: worked through with a model of what the jobs do.

The model applies records as the rendered SQL does: the lake and each view keep, of each of their keys, what
the record of the greatest position says; a change of a view's key deletes its old place.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse_dagster.contract import Column, SchemaLock, TableSchema
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.model import Pipeline, Source, Table, View
from lakehouse_dagster.contract.wire import to_wire
from lakehouse_dagster.proof.subject import Subject, subjects
from lakehouse_dagster.proof.verify import Difference
from lakehouse_dagster.render.records import At, Row
from lakehouse_dagster.streams.corrections import any_value, corrections

AT = At("binlog.000001", 1000, 0)
COLUMNS = (("id", "int"), ("a", "int"), ("b", "int"), ("note", "varchar(9)"))


def make_contract() -> Contract:
    columns = tuple(
        Column(name=name, mysql_type=kind, nullable=False, position=at)
        for at, (name, kind) in enumerate(COLUMNS, start=1)
    )
    views = (
        View(name="by_a", engine="cassandra", table="t", columns=("id", "a"), partition_key=("a",),
             clustering_key=("id",)),
        View(name="by_b", engine="cassandra", table="t", partition_key=("b",), clustering_key=("id",)),
        View(name="docs", engine="couchdb", table="t"),
    )  # fmt: skip
    return Contract(
        folder=Path("/nonexistent"),
        pipeline=Pipeline(
            name="p", owner="team:test", source=Source(database="db"), tables=(Table(name="t"),), views=views
        ),
        lock=SchemaLock(
            database="db", tables={"t": TableSchema(name="t", columns=columns, primary_key=("id",))}
        ),
        queries={},
    )


CONTRACT = make_contract()
SUBJECTS = [subject for subject in subjects(CONTRACT) if subject.place != "trino"]
Place = dict[tuple[str, ...], dict[str, str]]

rows = st.fixed_dictionaries(
    {name: st.integers(0, 2).map(str) for name, _ in COLUMNS if name != "note"} | {"note": st.just("n")}
)
tables = st.lists(rows, max_size=6).map(lambda found: {row["id"]: row for row in found})


def key(subject: Subject, row: dict[str, str]) -> tuple[str, ...]:
    return tuple(row[name] for name in subject.projection.key)


def shown(subject: Subject, row: dict[str, str]) -> dict[str, str]:
    return {name: row[name] for name in subject.projection.names}


def differences(subject: Subject, source: dict[str, dict[str, str]], place: Place) -> list[Difference]:
    ours = {key(subject, row): shown(subject, row) for row in source.values()}
    found = [
        Difference(subject, "missing", tuple(row.values())) for at, row in ours.items() if at not in place
    ]
    found += [
        Difference(subject, "extra", tuple(row.values())) for at, row in place.items() if at not in ours
    ]
    found += [
        Difference(subject, "different", tuple(row.values()))
        for at, row in ours.items()
        if at in place and place[at] != row
    ]
    return found


def applied(subject: Subject, place: Place, records: Sequence[bytes]) -> Place:
    """All records have one position, greater than any before."""
    done = dict(place)
    touched: dict[tuple[str, ...], dict[str, str] | None] = {}

    def put(at: tuple[str, ...], row: dict[str, str] | None) -> None:
        assert touched.get(at, row) == row, "two truths at one position"
        touched[at] = row
        done.pop(at, None)
        if row is not None:
            done[at] = row

    for record in records:
        value: dict[str, Any] = json.loads(record)
        assert all(value[name] is not None for name in ("id", *CONTRACT.before_columns("t"))), "a sink's key"
        row = {name: str(value[name]) for name, _ in COLUMNS}
        put(key(subject, row), None if value["__deleted"] == "true" else shown(subject, row))
        if subject.view is None or value["__op"] != "u":
            continue
        moving = CONTRACT.moving_key_columns(subject.view)
        if any(value[f"__before_{name}"] != value[name] for name in moving):
            before = row | {name: str(value[f"__before_{name}"]) for name in moving}
            put(key(subject, before), None)
    return done


def streamed(
    subject: Subject, place: Place, source: dict[str, dict[str, str]], later: dict[str, dict[str, str]]
) -> Place:
    """What the changes from ``source`` to ``later`` make of a place: they come by the stream."""
    done = dict(place)
    for name in source.keys() | later.keys():
        old, new = source.get(name), later.get(name)
        if old == new:
            continue
        if old is not None:
            done.pop(key(subject, old), None)
        if new is not None:
            done[key(subject, new)] = shown(subject, new)
    return done


@given(source=tables, later=tables, data=st.data())
def test_whatever_the_places_hold_they_hold_the_sources_rows_after_it(
    source: dict[str, dict[str, str]], later: dict[str, dict[str, str]], data: st.DataObject
) -> None:
    """``source`` is what was compared, ``later`` the snapshot at which the corrections are true."""
    held: dict[Subject, Place] = {}
    found: list[Difference] = []
    for subject in SUBJECTS:
        stale = data.draw(st.lists(rows, max_size=5))
        held[subject] = {key(subject, row): shown(subject, row) for row in stale}
        found += differences(subject, source, held[subject])
    truth: dict[tuple[str | None, ...], Row] = {(name,): row for name, row in later.items()}
    made = list(corrections(CONTRACT, "t", found, truth, AT))
    assert all(one.record is not None and not one.problem for one in made)
    records = [one.record.value for one in made if one.record is not None]
    assert len(set(records)) == len(records), "nothing is said twice"
    for subject in SUBJECTS:
        after = applied(subject, streamed(subject, held[subject], source, later), records)
        assert after == {key(subject, row): shown(subject, row) for row in later.values()}


def test_a_row_that_no_record_can_name_is_told_and_nothing_else_suffers() -> None:
    docs = next(subject for subject in SUBJECTS if subject.view == "docs")
    wrong = Difference(docs, "extra", ("!document id x", "1", "1", "n"))
    right = Difference(docs, "extra", ("1", "1", "1", "n"))
    made = list(corrections(CONTRACT, "t", [wrong, right], {}, AT))
    assert [one.record is not None for one in made] == [False, True]
    assert made[0].problem == "couchdb: docs: column id: '!document id x' is no value of type int"


def test_key_columns_of_other_views_are_never_null() -> None:
    by_a = next(subject for subject in SUBJECTS if subject.view == "by_a")
    (made,) = corrections(CONTRACT, "t", [Difference(by_a, "extra", ("1", "2"))], {}, AT)
    assert made.record is not None
    value = json.loads(made.record.value)
    assert (value["a"], value["b"], value["note"]) == (2, 0, None)


@pytest.mark.parametrize(
    "mysql_type",
    ["int", "bigint unsigned", "decimal(9,3)", "decimal(60,2)", "float", "double", "bit(1)", "bit(9)", "date",
     "datetime(6)", "char(3)", "json", "varbinary(4)", "enum('a')", "year"],
)  # fmt: skip
def test_every_type_has_a_value_that_can_stand_in_a_key(mysql_type: str) -> None:
    column = Column(name="c", mysql_type=mysql_type, nullable=False, position=1)
    assert to_wire(column, any_value(column)) is not None


def test_the_lakes_columns_fill_up_what_a_view_lacks() -> None:
    lake = next(subject for subject in SUBJECTS if subject.view is None)
    by_a = next(subject for subject in SUBJECTS if subject.view == "by_a")
    found = [
        Difference(by_a, "extra", ("1", "2")),
        Difference(lake, "extra", ("1", "2", "0", "n")),
    ]
    (made,) = corrections(CONTRACT, "t", found, {}, AT)
    assert made.kind == "delete"
    assert made.record is not None
    assert json.loads(made.record.value)["note"] == "n"
