from __future__ import annotations

import pytest

from lakehouse_dagster.contract import ContractError, SchemaLock
from lakehouse_dagster.contract.marts import MartColumn, read_mart


def read(sql: str, lock: SchemaLock) -> tuple[MartColumn, ...]:
    tables = {name: lock.tables[name] for name in ("orders", "shops")}
    return read_mart(sql, "marts/m.sql", tables).columns


def test_tables_and_columns_are_derived(lock: SchemaLock) -> None:
    sql = """
        -- a comment; with a semicolon
        WITH paid AS (SELECT shop, total, placed_at FROM lake.orders WHERE paid_at IS NOT NULL)
        SELECT s.name, sum(p.total) AS total, count(*) AS n, CAST(max(p.placed_at) AS date) AS newest
        FROM paid p JOIN lake.shops s ON s.code = p.shop
        GROUP BY s.name
        HAVING count(*) > (SELECT 1);
    """
    query = read_mart(sql, "marts/m.sql", {name: lock.tables[name] for name in ("orders", "shops")})
    assert query.tables == ("orders", "shops")
    assert [(column.name, column.type) for column in query.columns] == [
        ("name", "varchar"),
        ("total", "unknown"),
        ("n", "bigint"),
        ("newest", "date"),
    ]


def test_star_and_audit_columns(lock: SchemaLock) -> None:
    assert [column.name for column in read("SELECT * FROM lake.shops", lock)][:2] == ["code", "name"]
    audit = read("SELECT _position, _gtid, _committed_at, _op FROM lake.orders", lock)
    assert [column.type for column in audit] == ["bigint", "varchar", "timestamp(6)", "varchar"]


def test_unions_and_nested_selects(lock: SchemaLock) -> None:
    sql = "SELECT id FROM lake.orders UNION ALL SELECT id FROM (SELECT id FROM lake.orders) AS x"
    assert [column.name for column in read(sql, lock)] == ["id"]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELEC id FROM lake.orders", "does not parse|is not a SELECT"),
        ("SELECT (id FROM lake.orders", "does not parse"),
        ("", "holds 0 statements"),
        ("SELECT id FROM lake.orders; SELECT id FROM lake.orders", "holds 2 statements"),
        ("DELETE FROM lake.orders", "is not a SELECT but DELETE"),
        ("DROP TABLE lake.orders", "is not a SELECT but DROP"),
        ("CREATE TABLE x AS SELECT id FROM lake.orders", "is not a SELECT but CREATE"),
        ("SELECT 1 AS one", "reads no table"),
        ("SELECT id FROM orders", "orders, which is not in the lake"),
        ("SELECT id FROM other.orders", "other.orders, which is not in the lake"),
        ("SELECT id FROM lake.lake.orders", "lake.lake.orders, which is not in the lake"),
        ("SELECT id FROM lake.order", "did you mean orders"),
        ("SELECT id FROM lake.heap", "not a table of this pipeline"),
        (
            "SELECT 1 AS a FROM lake.orders WHERE EXISTS (SELECT 1 FROM system.runtime.nodes)",
            "not in the lake",
        ),
        ("SELECT * FROM TABLE(system.query(query => 'DROP TABLE x'))", "marts/m.sql"),
        ("WITH a AS (SELECT id FROM lake.orders) SELECT b.id FROM b", "b, which is not in the lake"),
        (
            "SELECT x.id FROM (WITH a AS (SELECT id FROM lake.orders) SELECT id FROM a) x, a",
            "a, which is not",
        ),
        ("SELECT totl FROM lake.orders", "did you mean total"),
        ("SELECT o.id FROM lake.shops AS o", "marts/m.sql"),
        ("SELECT count(*) FROM lake.orders", "has no name"),
        ("SELECT id, shop AS id FROM lake.orders", "more than once"),
    ],
)
def test_wrong_marts_are_refused(sql: str, message: str, lock: SchemaLock) -> None:
    with pytest.raises(ContractError, match=message) as caught:
        read(sql, lock)
    assert caught.value.file == "marts/m.sql"
    assert caught.value.fix


def test_the_line_is_named(lock: SchemaLock) -> None:
    with pytest.raises(ContractError) as caught:
        read("SELECT id\nFROM\n  lake.orderz", lock)
    assert caught.value.line == 3
    with pytest.raises(ContractError) as caught:
        read("SELECT\n  id,\n  totl\nFROM lake.orders", lock)
    assert caught.value.line == 3
