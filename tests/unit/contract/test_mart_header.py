"""What a mart's file says of itself: right headers are read, wrong ones name line, field and fix."""

from __future__ import annotations

from datetime import date

import pytest

from lakehouse_dagster.contract import ContractError, SchemaLock
from lakehouse_dagster.contract.checks import check
from lakehouse_dagster.contract.mart_header import body, read_header
from lakehouse_dagster.contract.marts import MartQuery, read_mart
from lakehouse_dagster.contract.model import Mart, Pipeline

SELECT = "SELECT o.shop, CAST(o.placed_at AS date) AS day, o.total FROM lake.orders AS o"
WHOLE = """\
-- Above the header may stand what is not in it.

-- mart:
--   description: >
--     Sales of a day; "quoted", and -- dashed.
--   owner: team:sales
--   engines: [trino, doris]
--   automation: schedule
--   refresh: "*/5 * * * *"   # every five minutes
--   key: [shop, day]
--
--   partition: day
--   checks:
--     - not_null: [total]
--     - range: {column: day, min: 2013-01-01}
--       severity: warn
--     - name: positive
--       no_rows: SELECT * FROM mart WHERE total < 0

-- Below it, too.
SELECT 1
"""


def read(*header: str, sql: str = SELECT) -> Mart:
    return read_header("sales", "\n".join(["-- mart:", *(f"--   {line}" for line in header), sql]), "m.sql")


def test_a_whole_header() -> None:
    mart = read_header("sales", WHOLE, "m.sql")
    assert mart.description == 'Sales of a day; "quoted", and -- dashed.'
    assert (mart.owner, mart.engines, mart.automation) == ("team:sales", ("trino", "doris"), "schedule")
    assert (mart.refresh, mart.key, mart.partition) == ("*/5 * * * *", ("shop", "day"), "day")
    assert [check.called for check in mart.checks] == ["not_null_total", "range_day", "positive"]
    assert mart.checks[1].severity == "warn"
    assert mart.checks[1].range is not None
    assert mart.checks[1].range.min == date(2013, 1, 1)
    assert body(WHOLE) == (
        "-- Above the header may stand what is not in it.\n\n\n-- Below it, too.\nSELECT 1"
    )


def test_a_mart_without_a_header_has_the_defaults() -> None:
    assert read_header("sales", f"-- What sells.\n{SELECT}", "m.sql") == Mart(name="sales")
    assert body(SELECT) == SELECT


@pytest.mark.parametrize(
    ("header", "field", "line", "said"),
    [
        (("refrsh: x",), "refrsh", 2, "is not a field of a mart's header"),
        (("owner: me",), "owner", 2, "'me' is not allowed"),
        (("name: other",), "name", 2, "that of its file"),
        (("key: [shop]", "engines: [trino, spark]"), "engines[1]", 3, "'trino' or 'doris'"),
        (("automation: sometimes",), "automation", 2, "on_news"),
        (("engines: []",), "engines", 2, "at least 1"),
        (("checks:", "  - {not_null: [a], unique: [b]}"), "checks[0]", 3, "2 kinds"),
        (("checks:", "  - rows: {min: 1}", "  - {severity: warn}"), "checks[1]", 4, "says nothing"),
        (("checks:", "  - no_rows: SELECT 1"), "checks[0]", 3, "has no name"),
        (("checks:", "  - rows: {}"), "checks[0].rows", 3, "neither min nor max"),
        (("checks:", "  - rows: {min: 3, max: 2}"), "checks[0].rows", 3, "greater"),
        (("checks:", "  - range: {column: a, min: 1, max: b}"), "checks[0].range", 3, "different types"),
        (("checks:", "  - accepted: {column: a, values: []}"), "checks[0].accepted.values", 3, "at least 1"),
    ],
)
def test_wrong_fields_are_named_with_their_lines(
    header: tuple[str, ...], field: str, line: int, said: str
) -> None:
    with pytest.raises(ContractError) as caught:
        read(*header)
    (problem,) = caught.value.problems
    assert (problem.file, problem.field, problem.line) == ("m.sql", field, line)
    assert said in problem.problem
    assert problem.fix


@pytest.mark.parametrize(
    ("sql", "line", "said"),
    [
        (f"-- mart:\n--   key: [a\n{SELECT}", 3, "not YAML"),
        (f"-- mart:\n--  a: b\n--   refresh: x\n{SELECT}", 3, "not YAML"),
        (f"-- mart:\n-- refresh: x\n{SELECT}", 2, "refresh beside mart"),
        (f"-- mart:\n{SELECT}", 1, "has no fields"),
        (f"{SELECT}\n-- mart:\n--   key: [a]", 2, "below the SQL"),
        (f"--   refresh: x\n{SELECT}", 1, "looks like a header but is none"),
        (f"-- key: [a]\n{SELECT}", 1, "looks like a header but is none"),
    ],
)
def test_a_header_is_not_missed(sql: str, line: int, said: str) -> None:
    with pytest.raises(ContractError, match=said) as caught:
        read_header("sales", sql, "m.sql")
    assert caught.value.line == line


def test_a_name_that_no_mart_can_have() -> None:
    with pytest.raises(ContractError, match="'Sales-2' cannot be the name of a mart"):
        read_header("Sales-2", SELECT, "m.sql")


# --- against the schema ---------------------------------------------------------------------------


def found(lock: SchemaLock, *header: str, sql: str = SELECT, name: str = "sales") -> list[ContractError]:
    pipeline = Pipeline.model_validate(
        {
            "name": "orders",
            "owner": "team:sales",
            "source": {"database": "shop"},
            "tables": [{"name": "orders"}, {"name": "shops"}],
        }
    )
    text = "\n".join(["-- mart:", *(f"--   {line}" for line in header), sql])
    return check(pipeline, lock, {name: text}, "defs.yaml", "f").problems


CHECK = ("checks:", "  - name: own")


@pytest.mark.parametrize(
    ("header", "field", "line", "said"),
    [
        (("key: [shop, daay]",), "key[1]", 2, "did you mean 'day'?"),
        (("key: [shop, shop]",), "key", 2, "named twice"),
        (("partition: dag",), "partition", 2, "did you mean day?"),
        (("partition: shop",), "partition", 2, "not known to be a DATE but varchar"),
        (("checks:", "  - not_null: [shop, x]"), "checks[0].not_null[1]", 3, "not an output column"),
        (("checks:", "  - range: {column: totl, min: 1}"), "checks[0].range.column", 3, "mean 'total'?"),
        ((*CHECK, "    no_rows: SELECT totl FROM mart"), "checks[0].no_rows", 4, "did you mean total?"),
        ((*CHECK, "    no_rows: SELECT * FROM lake.ordrs"), "checks[0].no_rows", 4, "did you mean orders?"),
        ((*CHECK, "    no_rows: SELECT * FROM other"), "checks[0].no_rows", 4, "name mart or lake tables"),
        ((*CHECK, "    no_rows: DELETE FROM mart"), "checks[0].no_rows", 4, "is not a SELECT but DELETE"),
        (("checks:", "  - {name: key, rows: {min: 1}}"), "checks[0].name", 3, "follows from key"),
        (("engines: [trino, trino]",), "engines", 2, "named twice"),
        (("refresh: often",), "refresh", 2, "not a cron expression"),
    ],
)
def test_what_it_promises_must_be_there(
    lock: SchemaLock, header: tuple[str, ...], field: str, line: int, said: str
) -> None:
    (problem,) = found(lock, *header)
    assert (problem.file, problem.field, problem.line) == ("f/marts/sales.sql", field, line)
    assert said in f"{problem.problem}. {problem.fix}"


def test_names_of_checks_are_unique(lock: SchemaLock) -> None:
    twice = found(lock, "checks:", "  - rows: {min: 1}", "  - rows: {max: 9}")
    assert [problem.field for problem in twice] == ["checks[0]", "checks[1]"]


def test_names_that_collide(lock: SchemaLock) -> None:
    assert "also the name of a table" in found(lock, "key: [shop]", name="orders")[0].problem
    assert "ends as the tables do" in found(lock, "key: [shop]", name="a__partitions")[0].problem


def test_a_check_sees_the_mart_and_the_lake(lock: SchemaLock) -> None:
    sql = (
        "WITH m AS (SELECT shop FROM mart) SELECT m.shop FROM m LEFT JOIN lake.shops AS s ON s.code = m.shop "
        "WHERE s.code IS NULL AND NOT EXISTS (SELECT 1 FROM mart AS x WHERE x.day > CURRENT_DATE)"
    )
    assert found(lock, *CHECK, f"    no_rows: {sql}") == []


def test_all_problems_of_a_mart_are_told_at_once(lock: SchemaLock) -> None:
    several = found(lock, "refresh: often", sql="SELECT totl FROM lake.orders")
    assert len(several) == 2


# --- partitions -----------------------------------------------------------------------------------

DAY = "CAST(o.placed_at AS date)"


def parts(lock: SchemaLock, sql: str) -> MartQuery:
    return read_mart(sql, "m.sql", {n: lock.tables[n] for n in ("orders", "shops")}, partition="day")


@pytest.mark.parametrize(
    ("sql", "columns", "others"),
    [
        (f"SELECT {DAY} AS day, o.total FROM lake.orders o", ("placed_at", "total"), {}),
        (
            f"SELECT {DAY} AS day, s.name, sum(o.total) AS t FROM lake.orders o LEFT JOIN lake.shops s "
            f"ON s.code = o.shop WHERE o.paid_at IS NOT NULL GROUP BY {DAY}, s.name HAVING count(*) > 1",
            ("paid_at", "placed_at", "shop", "total"),
            {"shops": ("code", "name")},
        ),
        (f"SELECT {DAY} AS day, count(*) AS n FROM lake.orders o GROUP BY 1", ("placed_at",), {}),
        (
            f"SELECT {DAY} AS day, rank() OVER (PARTITION BY {DAY}, o.shop ORDER BY o.total) AS r "
            "FROM lake.orders o",
            ("placed_at", "shop", "total"),
            {},
        ),
        (
            f"WITH s AS (SELECT code FROM lake.shops) SELECT {DAY} AS day, s.code, o.id "
            "FROM s JOIN lake.orders o ON o.shop = s.code",
            ("id", "placed_at", "shop"),
            {"shops": ("code",)},
        ),
        (
            f"SELECT {DAY} AS day, o.id FROM lake.orders o WHERE o.shop IN (SELECT code FROM lake.shops)",
            ("id", "placed_at", "shop"),
            {"shops": ("code",)},
        ),
    ],
)
def test_what_can_be_refreshed_by_partition(
    lock: SchemaLock, sql: str, columns: tuple[str, ...], others: dict[str, tuple[str, ...]]
) -> None:
    found = parts(lock, sql).partitioning
    assert found is not None
    assert (found.table, found.columns, found.others) == ("orders", columns, others)
    assert found.expression == 'CAST("placed_at" AS DATE)'


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        (f"SELECT {DAY} AS day, sum(o.total) OVER () AS t FROM lake.orders o", "window .* spans many"),
        (
            f"SELECT {DAY} AS day, lead(o.id) OVER (PARTITION BY o.shop ORDER BY o.id) AS n "
            "FROM lake.orders o",
            "window .* spans many",
        ),
        (f"SELECT {DAY} AS day FROM lake.orders o LIMIT 5", "LIMIT"),
        (
            "SELECT CAST(max(o.placed_at) AS date) AS day FROM lake.orders o GROUP BY o.shop",
            "not computed from one row",
        ),
        (
            f"SELECT {DAY} AS day FROM lake.orders o UNION ALL SELECT {DAY} FROM lake.orders o",
            "set operation",
        ),
        (f"SELECT {DAY} AS day FROM lake.shops s LEFT JOIN lake.orders o ON o.shop = s.code", "outer join"),
        (f"SELECT {DAY} AS day FROM lake.orders o RIGHT JOIN lake.shops s ON o.shop = s.code", "outer join"),
        (
            f"SELECT {DAY} AS day FROM lake.orders o WHERE o.total > (SELECT avg(total) FROM lake.orders)",
            "more than once",
        ),
        (
            f"SELECT {DAY} AS day, count(*) AS n FROM lake.orders o JOIN lake.orders p ON p.shop = o.shop "
            f"GROUP BY {DAY}",
            "more than once",
        ),
        (
            "SELECT t.day FROM (SELECT CAST(placed_at AS date) AS day FROM lake.orders) t",
            "out of a subquery",
        ),
        (
            f"SELECT {DAY} AS day, count(*) AS n FROM lake.orders o GROUP BY ROLLUP ({DAY})",
            "not in GROUP BY",
        ),
        (
            f"SELECT {DAY} AS day, o.id FROM lake.orders o WHERE o.placed_at < now()",
            "another value at every refresh",
        ),
        (f"SELECT {DAY} AS day, random() AS r FROM lake.orders o", "another value at every refresh"),
        (f"SELECT {DAY} AS day FROM lake.orders o TABLESAMPLE BERNOULLI (10)", "sample|SAMPLE"),
        ("SELECT CAST(current_date AS date) AS day FROM lake.orders o", "another value"),
        ("SELECT DATE '2013-01-01' AS day, o.id FROM lake.orders o", "from 0 tables"),
    ],
)
def test_what_cannot_is_refused(lock: SchemaLock, sql: str, why: str) -> None:
    with pytest.raises(ContractError, match=why) as caught:
        parts(lock, sql)
    assert caught.value.field == "partition"
    assert caught.value.fix
