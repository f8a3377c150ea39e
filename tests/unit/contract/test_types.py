from __future__ import annotations

import pytest

from lakehouse_dagster.contract import Column, TableSchema
from lakehouse_dagster.contract.types import (
    CHARSETS,
    UncarryableType,
    mapping,
    text_mapping,
    type_mapping,
    with_texts,
)


@pytest.mark.parametrize(
    ("mysql_type", "family", "kind", "lake", "cassandra", "trino"),
    [
        ("tinyint", "integer", "integer", "INT", "int", "integer"),
        ("tinyint(1)", "integer", "boolean_integer", "INT", "int", "integer"),
        ("tinyint unsigned", "integer", "integer", "INT", "int", "integer"),
        ("smallint unsigned", "integer", "integer", "INT", "int", "integer"),
        ("mediumint", "integer", "integer", "INT", "int", "integer"),
        ("int", "integer", "integer", "INT", "int", "integer"),
        ("int unsigned", "integer", "integer", "BIGINT", "bigint", "bigint"),
        ("int(8) unsigned zerofill", "integer", "integer", "BIGINT", "bigint", "bigint"),
        ("bigint", "integer", "integer", "BIGINT", "bigint", "bigint"),
        ("bigint unsigned", "integer", "integer", "DECIMAL(20, 0)", "decimal", "decimal(20, 0)"),
        ("year", "integer", "integer", "INT", "int", "integer"),
        ("decimal(10,2)", "decimal", "decimal", "DECIMAL(10, 2)", "decimal", "decimal(10, 2)"),
        (
            "decimal(38,10) unsigned",
            "decimal",
            "decimal",
            "DECIMAL(38, 10)",
            "decimal",
            "decimal(38, 10)",
        ),
        ("decimal(39,0)", "decimal", "decimal_text", "STRING", "text", "varchar"),
        ("decimal(65,30)", "decimal", "decimal_text", "STRING", "text", "varchar"),
        ("float", "float", "float", "FLOAT", "float", "real"),
        ("double", "double", "double", "DOUBLE", "double", "double"),
        ("bit(1)", "boolean", "boolean", "BOOLEAN", "boolean", "boolean"),
        ("bit(10)", "bits", "bits:2", "BYTES", "blob", "varbinary"),
        ("date", "date", "date", "DATE", "date", "date"),
        ("datetime", "timestamp", "timestamp", "TIMESTAMP(6)", "timestamp", "timestamp(6)"),
        ("datetime(3)", "timestamp", "timestamp", "TIMESTAMP(6)", "timestamp", "timestamp(6)"),
        ("datetime(4)", "timestamp", "timestamp", "TIMESTAMP(6)", "text", "timestamp(6)"),
        ("timestamp(6)", "timestamp", "timestamp", "TIMESTAMP(6)", "text", "timestamp(6)"),
        ("char(2)", "text", "text", "STRING", "text", "varchar"),
        ("longtext", "text", "text", "STRING", "text", "varchar"),
        ("enum('a)','b(c','d''e')", "text", "text", "STRING", "text", "varchar"),
        ("enum('a','b,c','d\\\\e')", "text", "text", "STRING", "text", "varchar"),
        ("set('x','y')", "text", "text", "STRING", "text", "varchar"),
        ("json", "json", "json", "STRING", "text", "varchar"),
        ("varbinary(8)", "bytes", "bytes", "BYTES", "blob", "varbinary"),
        ("longblob", "bytes", "bytes", "BYTES", "blob", "varbinary"),
        ("time", "time", "time", "BIGINT", "bigint", "bigint"),
        ("time(6)", "time", "time", "BIGINT", "bigint", "bigint"),
        ("point", "geometry", "geometry", "BYTES", "blob", "varbinary"),
        ("geomcollection", "geometry", "geometry", "BYTES", "blob", "varbinary"),
        ("vector(3)", "vector", "vector", "ARRAY<FLOAT>", "frozen<list<float>>", "array(real)"),
    ],
)
def test_each_type_in_every_place(
    mysql_type: str, family: str, kind: str, lake: str, cassandra: str, trino: str
) -> None:
    carried = type_mapping(mysql_type)
    assert (carried.family, carried.kind, carried.lake) == (family, kind, lake)
    assert (carried.cassandra, carried.trino) == (cassandra, trino)


@pytest.mark.parametrize(
    ("mysql_type", "reason"),
    [
        ("hologram", "not known"),
        ("", "not a MySQL type"),
        ("decimal(a,b)", "not a MySQL type"),
    ],
)
def test_what_cannot_be_carried_is_refused_with_the_reason(mysql_type: str, reason: str) -> None:
    with pytest.raises(UncarryableType, match=reason):
        type_mapping(mysql_type)


def test_lossy_reads_are_avoided() -> None:
    assert type_mapping("float").mysql_read == "CAST({} AS DOUBLE)"
    assert type_mapping("bit(64)").mysql_read == "CAST({} AS UNSIGNED)"
    assert type_mapping("bit(10)").length == 2
    assert type_mapping("double").mysql_read == "{}"


@pytest.mark.parametrize(
    ("mysql_type", "kind"),
    [
        ("date", "date_text"),
        ("datetime", "timestamp_text"),
        ("datetime(6)", "timestamp_text"),
        ("timestamp(3)", "timestamp_text"),
    ],
)
def test_dates_as_text(mysql_type: str, kind: str) -> None:
    carried = text_mapping(mysql_type)
    assert (carried.family, carried.kind, carried.lake) == ("text", kind, "STRING")
    assert (carried.cassandra, carried.trino, carried.couchdb) == ("text", "varchar", "string")
    assert carried.mysql_read == "CAST({} AS CHAR)"


@pytest.mark.parametrize("mysql_type", ["time", "year", "varchar(10)", "int"])
def test_only_dates_can_be_carried_as_text(mysql_type: str) -> None:
    with pytest.raises(UncarryableType, match="only DATE, DATETIME and TIMESTAMP") as told:
        text_mapping(mysql_type)
    assert told.value.fix == "take it out of as_text"


def test_only_the_named_columns_of_a_table_are_text() -> None:
    columns = tuple(
        Column(name=name, mysql_type="date", nullable=True, position=at) for at, name in enumerate("ab", 1)
    )
    table = TableSchema(name="t", columns=columns)
    assert with_texts(table, ()) is table
    marked = with_texts(table, ("b", "unknown"))
    assert [mapping(column).kind for column in marked.columns] == ["date", "date_text"]
    assert marked.column("b").position == 2


@pytest.mark.parametrize("charset", ["gbk", "cp1251", "ucs2", "sjis", "tis620", "geostd8", "gb18030"])
def test_character_sets_that_are_read_otherwise_are_refused(charset: str) -> None:
    column = Column(name="c", mysql_type="varchar(10)", nullable=True, position=1, charset=charset)
    with pytest.raises(UncarryableType, match=f"character set {charset}") as told:
        mapping(column)
    assert "utf8mb4" in told.value.fix


def test_character_sets_that_are_read_as_mysql_reads_them() -> None:
    assert {"ascii", "latin1", "koi8r", "utf8mb4", "utf16le", "utf32"} <= CHARSETS
    column = Column(name="c", mysql_type="varchar(10)", nullable=True, position=1, charset="macroman")
    assert mapping(column).kind == "text"
