"""What a mart may say when it is kept in Doris too."""

from __future__ import annotations

import pytest

from lakehouse_dagster.contract import Column, ContractError, TableSchema
from lakehouse_dagster.contract.marts import read_mart
from lakehouse_dagster.contract.portable import check_portable, kind, typed

COLUMNS = {
    "i": "int",
    "b": "bigint",
    "d": "decimal(10,2)",
    "x": "double",
    "r": "float",
    "s": "varchar(20)",
    "t": "datetime(6)",
    "dt": "date",
    "bo": "bit(1)",
    "raw": "varbinary(20)",
}
TABLE = TableSchema(
    name="f",
    columns=tuple(
        Column(name=name, mysql_type=mysql_type, nullable=name != "i", position=number)
        for number, (name, mysql_type) in enumerate(COLUMNS.items(), start=1)
    ),
    primary_key=("i",),
)
SCHEMAS = {"f": TABLE, "G": TABLE.model_copy(update={"name": "G"})}


def checked(expression: str) -> None:
    sql = f"SELECT {expression} AS c FROM lake.f"
    read_mart(sql, "marts/m.sql", SCHEMAS)
    check_portable(sql, "marts/m.sql", SCHEMAS)


@pytest.mark.parametrize(
    "expression",
    [
        "i + b * 2 - 1",
        "d + d",
        "i * 0.5",
        "x / nullif(i, 0)",
        "x / 2",
        "CAST(i AS double) / nullif(b, 0)",
        "i % 7",
        "sum(i) * 1e0 / nullif(count(*), 0)",
        "sum(d)",
        "avg(i)",
        "avg(CAST(d AS double))",
        "min(t)",
        "max(s)",
        "max(r)",
        "CAST(r AS double) * 2",
        "round(x, 1)",
        "CAST(round(x) AS bigint)",
        "CAST(t AS date)",
        "CAST(dt AS timestamp(6))",
        "CAST(i AS varchar)",
        "DATE '2013-01-01'",
        "TIMESTAMP '2013-01-01 00:00:00.5'",
        "coalesce(s, 'none') || '\\'",
        "CASE WHEN s LIKE 'A%' THEN 1 ELSE 0 END",
        "date_trunc('week', t)",
        "CAST(date_trunc('day', t) AS date)",
        "date_diff('minute', t, t + INTERVAL '1' HOUR)",
        "date_add('month', 1, dt)",
        "day_of_week(dt) + extract(hour FROM t) + minute(t)",
        "count(*) FILTER (WHERE bo)",
        "count_if(i > 1)",
        "approx_percentile(i, 0.5)",
        "row_number() OVER (PARTITION BY s ORDER BY i)",
        "sum(i) OVER (PARTITION BY s ORDER BY t ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)",
        "lag(i) OVER (ORDER BY t)",
        "if(i IS DISTINCT FROM b, 1)",
        "(SELECT max(i) FROM lake.f)",
        "i IN (SELECT i FROM lake.f) AND EXISTS (SELECT 1 FROM lake.f AS o WHERE o.i > 3)",
        "length(s) + greatest(i, b, 3)",
        "substr(s, 1, 2)",
    ],
)  # fmt: skip
def test_what_means_the_same_is_taken(expression: str) -> None:
    checked(expression)


@pytest.mark.parametrize(
    ("expression", "why", "fix"),
    [
        ("i / 2", "cuts the quotient", "CAST(f.i AS double)"),
        ("i / 0.5", "quotient of decimals", "AS double"),
        ("d / 3", "quotient of decimals", "AS double"),
        ("x / i", "zero gives NULL", "nullif(divisor, 0)"),
        ("x / 0", "zero gives NULL", "nullif"),
        ("x / nullif(i, 1)", "zero gives NULL", "nullif"),
        ("i % b", "NULL there", "nullif"),
        ("x % 2", "integers", "integers"),
        ("approx_percentile(i, 0.5) / 2", "cuts the quotient", "AS double"),
        ("minute(t) / 2", "cuts the quotient", "AS double"),
        ("sum(0.5 * i) / 2", "quotient of decimals", "AS double"),
        ("avg(d)", "mean of decimals", "avg(CAST(f.d AS double))"),
        ("sum(r)", "real", "AS double"),
        ("r * 2", "real", "AS double"),
        ("r > 0.1", "real", "AS double"),
        ("max(bo)", "ordered alike", "numbers"),
        ("CAST(x AS bigint)", "Trino rounds, Doris cuts", "round(...)"),
        ("CAST(x / 2 AS integer)", "Trino rounds", "round(...)"),
        ("CAST(s AS integer)", "NULL there", "keep the text"),
        ("TRY_CAST(s AS integer)", "not known", "arithmetic"),
        ("CAST('12' AS date)", "NULL there", "keep the text"),
        ("CAST(t AS timestamp)", "precision", "timestamp(6)"),
        ("CAST(t AS timestamp(0))", "precision", "timestamp(6)"),
        ("CAST(x AS decimal(10, 2))", "other rules", "double"),
        ("CAST(x AS varchar)", "other rules", "double"),
        ("CAST(t AS varchar)", "other rules", "double"),
        ("CAST(i AS varchar(2))", "cuts otherwise", "varchar"),
        ("round(x, i)", "constant", "number"),
        ("s LIKE 'a\\_%'", "backslash", "without backslashes"),
        ("s LIKE 'a!_%' ESCAPE '!'", "not known", "arithmetic"),
        ("s LIKE s", "backslash", "constant"),
        ("lower(s)", "not known", "arithmetic"),
        ("trim(s)", "not known", "arithmetic"),
        ("substr(s, -2)", "positions", "from 1"),
        ("date_diff('month', t, t)", "different lengths", "second, minute, hour or day"),
        ("t - t", "plain number", "date_diff"),
        ("date_trunc('day', CAST(s AS timestamp(6)))", "NULL there", "keep the text"),
        ("date_add('day', CAST(x AS bigint), dt)", "Trino rounds", "round"),
        ("week(t)", "not known", "arithmetic"),
        ("extract(dow FROM t)", "of the week", "day_of_week"),
        ("current_timestamp > t", "not known", "arithmetic"),
        ("now() > t", "not known", "arithmetic"),
        ("at_timezone(t, 'UTC')", "not known", "arithmetic"),
        ("date_format(t, '%Y')", "not known", "arithmetic"),
        ("stddev(x)", "not known", "arithmetic"),
        ("corr(x, x)", "not known", "arithmetic"),
        ("approx_distinct(i)", "not known", "arithmetic"),
        ("approx_percentile(i, ARRAY[0.5, 0.9])", "constant share", "0.5"),
        ("max_by(i, b)", "not known", "arithmetic"),
        ("array_agg(i)", "not known", "arithmetic"),
        ("arbitrary(i)", "not known", "arithmetic"),
        ("bool_or(bo)", "not known", "arithmetic"),
        ("random() > 0.5", "not known", "arithmetic"),
        ("no_such_function(i)", "not known", "arithmetic"),
        ("raw", "materialized view", "leave the column out"),
        ("first_value(i) IGNORE NULLS OVER (ORDER BY t)", "not known", "arithmetic"),
        ("sum(DISTINCT x) FILTER (WHERE bo) / i", "zero gives NULL", "nullif"),
    ],
)
def test_what_means_something_else_is_refused(expression: str, why: str, fix: str) -> None:
    with pytest.raises(ContractError) as caught:
        checked(expression)
    (problem,) = [one for one in caught.value.problems if why in one.problem and fix in one.fix]
    assert problem.file == "marts/m.sql"
    assert "Doris" in problem.problem
    assert "take doris out of its engines" in problem.fix


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("SELECT i AS c FROM lake.f LIMIT 3", "engine's choice"),
        ("SELECT i AS c FROM lake.f TABLESAMPLE BERNOULLI (10)", "not known"),
        ("SELECT f.i AS c FROM lake.f CROSS JOIN UNNEST(ARRAY[1]) AS u (n)", "not known"),
        ("SELECT s AS c, count(*) AS n FROM lake.f GROUP BY GROUPING SETS ((s), ())", "not known"),
        ("SELECT s AS c, count(*) AS n FROM lake.f GROUP BY ROLLUP (s)", "not known"),
        ("SELECT i AS c FROM lake.f EXCEPT ALL SELECT i FROM lake.f", "no ALL"),
        ('SELECT i AS "größe" FROM lake.f', "column's name"),
        ("SELECT i AS mv_count FROM lake.f", "column's name"),
    ],
)
def test_queries_that_are_are_none_for_doris(sql: str, why: str) -> None:
    read_mart(sql, "marts/m.sql", SCHEMAS)
    with pytest.raises(ContractError, match=why):
        check_portable(sql, "marts/m.sql", SCHEMAS)


def test_the_rows_of_a_group_are_never_none() -> None:
    grouped = "SELECT s AS c, sum(x) / count(*) AS share FROM lake.f GROUP BY s"
    check_portable(grouped, "marts/m.sql", SCHEMAS)
    for sql in (
        "SELECT sum(x) / count(*) AS share FROM lake.f",
        "SELECT s AS c, sum(x) / count(i) AS share FROM lake.f GROUP BY s",
    ):
        with pytest.raises(ContractError, match="zero gives NULL"):
            check_portable(sql, "marts/m.sql", SCHEMAS)


def test_all_problems_are_told_with_their_lines() -> None:
    sql = "SELECT\n  i / 2 AS a,\n  avg(d) AS b\nFROM lake.f\nGROUP BY i"
    with pytest.raises(ContractError) as caught:
        check_portable(sql, "marts/m.sql", SCHEMAS)
    assert [problem.line for problem in caught.value.problems] == [2, 3]


def test_types_that_decide_are_trinos_through_subqueries() -> None:
    sql = """
        WITH a AS (SELECT approx_percentile(i, 0.5) AS p, 0.5 AS half, date_trunc('day', t) AS day FROM lake.f
                   GROUP BY date_trunc('day', t))
        SELECT p, half, day, p * half AS product FROM a
    """
    query = typed(sql, "marts/m.sql", SCHEMAS)
    assert [kind(column) for column in query.selects] == ["integer", "decimal", "timestamp", "decimal"]
