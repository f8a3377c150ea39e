"""The marts' SELECTs as Doris is told them, translated back and run on Trino: the same rows come out.

sqlglot reads the text by Doris's rules (a quotient of integers is a double, NULL comes first, the backslash
escapes), so that Trino computes what Doris is told, as far as sqlglot knows Doris. What Doris itself computes
only a real one can tell: tests/engine/test_doris.py.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
import sqlglot
from sqlglot import exp

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.loader import DEFS_ROOT, discover, load_contract
from lakehouse_dagster.contract.marts import read_mart
from lakehouse_dagster.contract.portable import check_portable
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.trino import TrinoClient
from lakehouse_dagster.engines.trino_catalogs import pinned
from lakehouse_dagster.render import doris, quoting, trino
from tests.conftest import wait_until
from tests.doris_marts import portable

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("flow")]


MARTS = [
    (contract, mart.name)
    for contract in discover(DEFS_ROOT)
    for mart in contract.marts
    if mart in doris.doris_marts(contract) or portable(contract, mart.name)
]
"""The marts that are kept in Doris, and those that could be."""

FLIGHTS = load_contract(DEFS_ROOT / "flights")

QUERIES = {
    "aggregates": """
        SELECT origin, count(*) AS n, count_if(dep_delay > 15) AS late,
               count(*) FILTER (WHERE departed_at IS NULL) AS not_departed,
               sum(dep_delay) FILTER (WHERE dep_delay > 0) AS minutes,
               count(DISTINCT tailnum) FILTER (WHERE dep_delay > 0) AS planes,
               avg(CAST(dep_delay AS double)) AS mean, min(departed_at) AS first, max(carrier) AS last
        FROM lake.flights GROUP BY origin""",
    "quotients": """
        SELECT carrier, CAST(count_if(dep_delay > 15) AS double) / nullif(count(departed_at), 0) AS share,
               sum(distance) * 1e0 / nullif(count_if(dep_delay > 100000), 0) AS by_zero, count(*) % 7 AS rest,
               round(avg(CAST(dep_delay AS double)), 1) AS rounded,
               CAST(round(avg(CAST(dep_delay AS double))) AS bigint) AS whole
        FROM lake.flights GROUP BY carrier""",
    "times": """
        SELECT date_trunc('week', scheduled_departure) AS week, day_of_week(scheduled_departure) AS weekday,
               hour(scheduled_departure) AS hour,
               sum(date_diff('minute', scheduled_departure, departed_at)) AS m,
               min(date_diff('hour', departed_at, scheduled_departure)) AS h,
               max(date_add('month', 1, CAST(scheduled_departure AS date))) AS later,
               min(scheduled_departure + INTERVAL '36' HOUR) AS moved,
               count_if(CAST(scheduled_departure AS date) = DATE '2013-01-01') AS new_year,
               count_if(scheduled_departure < TIMESTAMP '2013-01-01 12:00:00.5') AS forenoon
        FROM lake.flights
        GROUP BY date_trunc('week', scheduled_departure), day_of_week(scheduled_departure),
                 hour(scheduled_departure)""",
    "null_comes_last": """
        SELECT carrier, scheduled_departure, tailnum, dep_delay,
               sum(dep_delay) OVER (PARTITION BY carrier ORDER BY departed_at, flight, origin
                                    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS running,
               row_number() OVER (PARTITION BY carrier ORDER BY dep_delay DESC, flight, origin,
                                  scheduled_departure) AS place,
               lag(dep_delay) OVER (PARTITION BY tailnum ORDER BY departed_at, flight, origin) AS before
        FROM lake.flights WHERE origin = 'LGA'""",
    "text": r"""
        SELECT carrier || '\' || origin AS code, length(carrier) AS n, substr(dest, 2, 2) AS tail,
               coalesce(tailnum, 'it''s none') AS plane, if(dest LIKE 'A%', 'a') AS a,
               tailnum IS DISTINCT FROM 'N14228' AS other, greatest(carrier, origin) AS more
        FROM lake.flights WHERE flight < 300""",
    "sets": """
        WITH late AS (SELECT carrier, 0.5 AS half, count(*) AS n FROM lake.flights WHERE dep_delay > 15
                      GROUP BY carrier)
        SELECT l.carrier, l.n * l.half AS halves, a.name FROM late AS l
        LEFT JOIN lake.airlines AS a ON a.carrier = l.carrier
        WHERE l.n > (SELECT avg(CAST(n AS double)) FROM late)
          AND l.carrier IN (SELECT carrier FROM lake.airlines)
        UNION ALL SELECT carrier, NULL, name FROM lake.airlines WHERE NOT EXISTS
            (SELECT 1 FROM late AS x WHERE x.carrier = airlines.carrier)""",
    "percentiles": """
        SELECT origin, approx_percentile(dep_delay, 0.5) AS median,
               approx_percentile(CAST(dep_delay AS double), 0.9) AS p90
        FROM lake.flights GROUP BY origin""",
}


@pytest.fixture(scope="module")
def reader(endpoints: Endpoints) -> Iterator[TrinoClient]:
    """Trino over one commit of Nessie's, so that nothing changes between two queries."""
    with Clients(endpoints) as clients:
        tables = {table for contract, mart in MARTS for table in contract.mart_tables(mart)}
        wait_until(lambda: all(published(clients, table) for table in tables), "rows to read", 150)
        with pinned(endpoints, "zz_doris_sql", clients.nessie.get_reference("main")) as client:
            yield client


def published(clients: Clients, table: str) -> bool:
    """Whether readers see all rows that a table of the sample has in the source."""
    name = quoting.double(clients.trino.catalog, *FLIGHTS.lake_path(table))
    try:
        seen = clients.trino.scalar(f"SELECT count(*) FROM {name}")
    except EngineError:
        return False  # nothing of it is published yet
    (source,) = clients.mysql.query(f"SELECT count(*) AS n FROM {FLIGHTS.database}.{table}")
    return bool(seen == source["n"] > 0)


def back(in_doris: str) -> str:
    """What Doris is told, in Trino's words."""
    (tree,) = sqlglot.parse(in_doris, read="doris")
    assert tree is not None
    for call in list(tree.find_all(exp.Anonymous)):
        assert call.name.upper() == "PERCENTILE_APPROX", call.sql()
        call.set("this", "approx_percentile")
    return tree.sql(dialect="trino", identify=True)


def compare(contract: Contract, mart: str, reader: TrinoClient) -> list[tuple[Any, ...]]:
    in_trino = trino.mart_select(contract, mart, reader.catalog)
    return same_rows(reader, in_trino, doris.select(contract, mart, reader.catalog))


def same_rows(reader: TrinoClient, in_trino: str, in_doris: str) -> list[tuple[Any, ...]]:
    original = reader.execute(in_trino)
    translated = reader.execute(back(in_doris))
    assert [column.lower() for column in translated.columns] == [c.lower() for c in original.columns]
    expected, found = (sorted(map(plain, answer.rows), key=repr) for answer in (original, translated))
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one == other
    return expected


def plain(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(value_of(value) for value in row)


def value_of(value: Any) -> Any:
    """A value without what is no difference: digits of a decimal, the last ones of a double."""
    match value:
        case Decimal():
            return float(value)
        case float() if not math.isnan(value):
            return float(f"{value:.11g}")
        case datetime():
            return value.isoformat(timespec="microseconds")
        case date():
            return value.isoformat()
        case _:
            return value


@pytest.mark.parametrize(
    ("contract", "mart"), MARTS, ids=[f"{contract.name}-{mart}" for contract, mart in MARTS]
)
def test_a_mart_computes_the_same(contract: Contract, mart: str, reader: TrinoClient) -> None:
    assert compare(contract, mart, reader)


@pytest.mark.parametrize("name", QUERIES)
def test_what_may_be_said_computes_the_same(name: str, reader: TrinoClient) -> None:
    schemas = {table.name: FLIGHTS.schema(table.name) for table in FLIGHTS.tables}
    check_portable(QUERIES[name], "m.sql", schemas)
    mart = FLIGHTS.marts[0].name
    queries = {**FLIGHTS.queries, mart: read_mart(QUERIES[name], "m.sql", schemas)}
    assert compare(dataclasses.replace(FLIGHTS, queries=queries), mart, reader)


def test_what_sqlglot_alone_would_tell_doris_is_seen_to_differ(reader: TrinoClient) -> None:
    table = f'"{reader.catalog}".flights.flights'
    minutes = "date_diff('minute', scheduled_departure, departed_at)"
    sql = f"SELECT carrier, sum({minutes}) AS m FROM {table} GROUP BY carrier"
    (alone,) = sqlglot.transpile(sql, read="trino", write="doris")
    with pytest.raises(AssertionError):
        same_rows(reader, sql, alone)
