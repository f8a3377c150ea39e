"""What a SELECT's columns come from."""

from __future__ import annotations

import pytest

from lakehouse_dagster.contract import ContractError, TableSchema
from lakehouse_dagster.contract.column_lineage import Derivation, select_lineage
from tests.unit.contract.conftest import columns

SCHEMAS = {
    "orders": TableSchema(
        name="orders",
        columns=columns("id int!", "Shop char(4)!", "total decimal(10,2)", "day date"),
        primary_key=("id",),
    ),
    "shops": TableSchema(
        name="shops", columns=columns("code char(4)!", "name varchar(40)!"), primary_key=("code",)
    ),
}
SAME, MADE, MANY = Derivation.IDENTITY, Derivation.TRANSFORMATION, Derivation.AGGREGATION


def found(sql: str) -> dict[str, dict[str, Derivation]]:
    return {
        column.name: {f"{source.table}.{source.column}": how for source, how in column.sources.items()}
        for column in select_lineage(sql, SCHEMAS)
    }


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        pytest.param(
            "SELECT id, total * 2 AS twice, count(*) AS n, 1 AS one FROM lake.orders GROUP BY 1, 2",
            {"id": {"orders.id": SAME}, "twice": {"orders.total": MADE}, "n": {}, "one": {}},
            id="expressions",
        ),
        pytest.param(
            "SELECT * FROM lake.shops",
            {
                "code": {"shops.code": SAME},
                "name": {"shops.name": SAME},
                "_position": {"shops._position": SAME},
                "_gtid": {"shops._gtid": SAME},
                "_committed_at": {"shops._committed_at": SAME},
                "_op": {"shops._op": SAME},
            },
            id="star, with the audit columns",
        ),
        pytest.param(
            "WITH a AS (SELECT shop, sum(total) AS t FROM lake.orders GROUP BY shop), "
            "b AS (SELECT a.*, s.name FROM a JOIN lake.shops s ON s.code = a.shop) "
            "SELECT name, t / 2 AS half FROM b WHERE shop <> 'x'",
            {"name": {"shops.name": SAME}, "half": {"orders.total": MANY}},
            id="through common table expressions and a join; neither ON nor WHERE counts",
        ),
        pytest.param(
            "SELECT shop AS k, total AS v FROM lake.orders UNION ALL SELECT name, 0 FROM lake.shops",
            {"k": {"orders.Shop": SAME, "shops.name": SAME}, "v": {"orders.total": SAME}},
            id="set operation, by place; a column in the source's own spelling",
        ),
        pytest.param(
            "SELECT row_number() OVER (PARTITION BY shop ORDER BY day) AS r, "
            "sum(total) OVER (PARTITION BY shop) AS s FROM lake.orders",
            {
                "r": {"orders.Shop": MADE, "orders.day": MADE},
                "s": {"orders.Shop": MANY, "orders.total": MANY},
            },
            id="window functions",
        ),
        pytest.param(
            "SELECT CASE WHEN total > 5 THEN shop ELSE 'small' END AS c, "
            "(SELECT max(name) FROM lake.shops s WHERE s.code = o.shop) AS m FROM lake.orders o",
            {"c": {"orders.Shop": MADE, "orders.total": MADE}, "m": {"shops.name": MANY}},
            id="a condition counts, a correlated subquery's WHERE does not",
        ),
        pytest.param(
            "WITH RECURSIVE t(n) AS (SELECT id FROM lake.orders UNION ALL SELECT n + 1 FROM t WHERE n < 5) "
            "SELECT n FROM t",
            {"n": {"orders.id": MADE}},
            id="recursive: what comes round has been computed",
        ),
        pytest.param(
            "SELECT x FROM lake.orders CROSS JOIN UNNEST(ARRAY[id, 7]) AS u(x)",
            {"x": {"orders.id": MADE}},
            id="unnest",
        ),
        pytest.param(
            "SELECT code FROM lake.shops JOIN (SELECT shop AS code FROM lake.orders) o USING (code)",
            {"code": {"orders.Shop": MADE, "shops.code": MADE}},
            id="using",
        ),
    ],
)
def test_values_are_followed_to_the_lakes_columns(
    sql: str, expected: dict[str, dict[str, Derivation]]
) -> None:
    assert found(sql) == expected


def test_a_columns_expression_is_told_and_a_stars_column_is_its_name() -> None:
    made = select_lineage("SELECT s.*, upper(s.name) AS loud FROM lake.shops s", SCHEMAS)
    shown = {column.name: column.expression for column in made}
    assert shown["loud"] == "UPPER(s.name)"
    assert shown["code"] == "code"


def test_what_is_no_select_is_refused() -> None:
    with pytest.raises(ContractError, match="is not a SELECT"):
        select_lineage("DELETE FROM lake.orders", SCHEMAS)
