from __future__ import annotations

import pytest

from lakehouse_dagster.contract.types import UncarryableType, type_mapping


@pytest.mark.parametrize(
    ("mysql_type", "family", "source", "lake", "cassandra", "trino"),
    [
        ("tinyint", "integer", "INT", "INT", "int", "integer"),
        ("tinyint(1)", "integer", "STRING", "INT", "int", "integer"),
        ("tinyint unsigned", "integer", "INT", "INT", "int", "integer"),
        ("smallint unsigned", "integer", "INT", "INT", "int", "integer"),
        ("mediumint", "integer", "INT", "INT", "int", "integer"),
        ("int", "integer", "INT", "INT", "int", "integer"),
        ("int unsigned", "integer", "BIGINT", "BIGINT", "bigint", "bigint"),
        ("int(8) unsigned zerofill", "integer", "BIGINT", "BIGINT", "bigint", "bigint"),
        ("bigint", "integer", "BIGINT", "BIGINT", "bigint", "bigint"),
        ("bigint unsigned", "integer", "DECIMAL(20, 0)", "DECIMAL(20, 0)", "decimal", "decimal(20, 0)"),
        ("year", "integer", "INT", "INT", "int", "integer"),
        ("decimal(10,2)", "decimal", "DECIMAL(10, 2)", "DECIMAL(10, 2)", "decimal", "decimal(10, 2)"),
        (
            "decimal(38,10) unsigned",
            "decimal",
            "DECIMAL(38, 10)",
            "DECIMAL(38, 10)",
            "decimal",
            "decimal(38, 10)",
        ),
        ("decimal(39,0)", "decimal", "STRING", "STRING", "text", "varchar"),
        ("decimal(65,30)", "decimal", "STRING", "STRING", "text", "varchar"),
        ("float", "float", "FLOAT", "FLOAT", "float", "real"),
        ("double", "double", "DOUBLE", "DOUBLE", "double", "double"),
        ("bit(1)", "boolean", "BOOLEAN", "BOOLEAN", "boolean", "boolean"),
        ("bit(10)", "bits", "BYTES", "BYTES", "blob", "varbinary"),
        ("date", "date", "STRING", "DATE", "date", "date"),
        ("datetime", "timestamp", "TIMESTAMP_LTZ(6)", "TIMESTAMP(6)", "timestamp", "timestamp(6)"),
        ("datetime(3)", "timestamp", "TIMESTAMP_LTZ(6)", "TIMESTAMP(6)", "timestamp", "timestamp(6)"),
        ("datetime(4)", "timestamp", "TIMESTAMP_LTZ(6)", "TIMESTAMP(6)", "text", "timestamp(6)"),
        ("timestamp(6)", "timestamp", "TIMESTAMP_LTZ(6)", "TIMESTAMP(6)", "text", "timestamp(6)"),
        ("char(2)", "text", "STRING", "STRING", "text", "varchar"),
        ("longtext", "text", "STRING", "STRING", "text", "varchar"),
        ("enum('a)','b(c','d''e')", "text", "STRING", "STRING", "text", "varchar"),
        ("set('x','y')", "text", "STRING", "STRING", "text", "varchar"),
        ("json", "json", "STRING", "STRING", "text", "varchar"),
        ("varbinary(8)", "bytes", "BYTES", "BYTES", "blob", "varbinary"),
        ("longblob", "bytes", "BYTES", "BYTES", "blob", "varbinary"),
    ],
)
def test_each_type_in_every_place(
    mysql_type: str, family: str, source: str, lake: str, cassandra: str, trino: str
) -> None:
    carried = type_mapping(mysql_type)
    assert (carried.family, carried.flink_source, carried.lake) == (family, source, lake)
    assert (carried.cassandra, carried.trino) == (cassandra, trino)


@pytest.mark.parametrize(
    ("mysql_type", "reason"),
    [
        ("time", "negative or longer than a day"),
        ("time(6)", "negative or longer than a day"),
        ("point", "spatial"),
        ("geomcollection", "spatial"),
        ("vector(3)", "VECTOR"),
        ("enum('a','b,c')", "comma or a backslash"),
        ("enum('a\\\\b')", "comma or a backslash"),
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
