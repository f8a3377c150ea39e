"""The canary's parts agree: the table, its lock, and the edges that are written into it."""

from __future__ import annotations

from importlib.resources import files

from lakehouse_dagster.contract.loader import DEFS_ROOT, read_pipeline
from lakehouse_dagster.contract.schema import SchemaLock
from lakehouse_dagster.samples.canary import cases

#: Given by the play itself, or made by the server.
NOT_LISTED = {"id", "c_default", "c_stored", "c_virtual"}


def test_every_column_has_its_edges() -> None:
    locked = SchemaLock.load(DEFS_ROOT / "canary").tables["every_type"].column_names
    assert set(cases.CASES) | NOT_LISTED == set(locked)


def test_the_lock_has_the_tables_columns_in_their_order() -> None:
    text = files("lakehouse_dagster.samples.canary").joinpath("source.sql").read_text(encoding="utf-8")
    lock = SchemaLock.load(DEFS_ROOT / "canary")
    pipeline = read_pipeline(DEFS_ROOT / "canary" / "defs.yaml")
    assert {table.name for table in pipeline.tables} == set(lock.tables)
    for name, schema in lock.tables.items():
        body = text.split(f"CREATE TABLE {name} (\n", 1)[1].split("\n)", 1)[0]
        lines = [line.strip() for line in body.splitlines()]
        names = [line.split()[0] for line in lines if not line.startswith("PRIMARY")]
        assert names == list(schema.column_names)


def test_dates_that_are_in_no_calendar_are_in_columns_of_text() -> None:
    (every_type,) = (
        table
        for table in read_pipeline(DEFS_ROOT / "canary" / "defs.yaml").tables
        if table.name == "every_type"
    )
    impossible = ("0000-", "-00-", "-00'", "-00 ", "02-30")
    found = {
        name
        for name, values in cases.CASES.items()
        if name.startswith(("t_", "z_")) and any(part in value for value in values for part in impossible)
    }
    assert found == set(every_type.as_text)
