"""The pipeline's marts in a real Doris: ``make doris-test`` with one configured (docs/doris.md).

Without one these tests are left out of a run, which says so at its end; `make doris-test` fails then. They
have been run neither in CI nor on any machine of the project's so far.

They make what the shipped pipeline has in Doris and leave it there, as its setup would. They ask the streams'
engines too: Trino for what the rows should be.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import pymysql
import pytest

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.loader import DEFS_ROOT, load_contract
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.doris import DorisClient
from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.trino import TrinoClient
from lakehouse_dagster.engines.trino_catalogs import pinned
from lakehouse_dagster.render import doris, trino
from tests.doris_marts import portable

pytestmark = [pytest.mark.engine, pytest.mark.doris]

STILL = "zz_doris_real"


def in_doris(contract: Contract) -> Contract:
    """The contract with every mart in Doris that can be there."""
    marts = tuple(
        mart.model_copy(update={"engines": ("trino", "doris")})
        for mart in contract.marts
        if portable(contract, mart.name)
    )
    return dataclasses.replace(contract, marts=marts)


CONTRACT = in_doris(load_contract(DEFS_ROOT / "flights"))
MARTS = [mart.name for mart in CONTRACT.marts]


@pytest.fixture(scope="module")
def doris_client(endpoints: Endpoints) -> Iterator[DorisClient]:
    with Clients(endpoints) as clients:
        clients.doris.apply_setup(doris.setup(CONTRACT), clients.endpoints)
        yield clients.doris


def test_it_is_a_release_that_the_statements_are_for(doris_client: DorisClient) -> None:
    assert "doris-4.1" in doris_client.version().lower()


def test_setup_may_run_again(doris_client: DorisClient, clients: Clients) -> None:
    doris_client.apply_setup(doris.setup(CONTRACT), clients.endpoints)
    shown = {str(value) for row in doris_client.query("SHOW CATALOGS") for value in row.values()}
    assert {doris.PAIMON_CATALOG, doris.ICEBERG_CATALOG} <= shown


@pytest.mark.parametrize("catalog", [doris.PAIMON_CATALOG, doris.ICEBERG_CATALOG])
@pytest.mark.parametrize("table", [table.name for table in CONTRACT.tables])
def test_every_lake_table_is_readable(catalog: str, table: str, doris_client: DorisClient) -> None:
    path = CONTRACT.lake_path(table)
    name = doris.name(catalog, path.database, path.table)
    (row,) = doris_client.query(f"SELECT COUNT(*) AS n, COUNT(DISTINCT `_position`) AS positions FROM {name}")
    assert int(row["n"]) >= 0
    columns = {str(found["Field"]) for found in doris_client.query(f"DESC {name}")}
    assert {column.name for column in CONTRACT.schema(table).columns} <= columns


@pytest.fixture(scope="module")
def still(doris_client: DorisClient, endpoints: Endpoints) -> Iterator[tuple[str, TrinoClient]]:
    """A catalog of Doris's over a branch that nobody moves, and Trino over the same commit."""
    with Clients(endpoints) as clients:
        head = clients.nessie.get_reference("main")
        branch = clients.nessie.create_reference(STILL, head)
        (create,) = [
            text for text in doris.catalogs() if text.startswith("CREATE") and "/iceberg/main" in text
        ]
        create = create.replace(doris.ICEBERG_CATALOG, STILL).replace("/iceberg/main", f"/iceberg/{STILL}")
        try:
            doris_client.apply_setup([create], endpoints)
            with pinned(endpoints, STILL, head) as reader:
                yield STILL, reader
        finally:
            doris_client.execute(f"DROP CATALOG IF EXISTS {doris.name(STILL)}")
            clients.nessie.delete_reference(branch)


@pytest.mark.parametrize("mart", MARTS)
def test_a_mart_computes_what_trino_computes(
    mart: str, doris_client: DorisClient, still: tuple[str, TrinoClient]
) -> None:
    catalog, reader = still
    expected = reader.execute(trino.mart_select(CONTRACT, mart, reader.catalog)).rows
    found = [tuple(row.values()) for row in doris_client.query(doris.select(CONTRACT, mart, catalog))]
    expected_rows, found_rows = (sorted(map(plain, rows), key=repr) for rows in (expected, found))
    assert len(found_rows) == len(expected_rows)
    names = [column.name for column in CONTRACT.queries[mart].columns]
    approximate = ["approx_percentile" in CONTRACT.mart_sql(mart)] * len(names)
    for one, other in zip(found_rows, expected_rows, strict=True):
        for value, wanted, rough in zip(one, other, approximate, strict=True):
            if isinstance(wanted, float) or (rough and isinstance(wanted, int)):
                tolerance = {"rel_tol": 0.05, "abs_tol": 1.0} if rough else {"rel_tol": 1e-9}
                assert math.isclose(float(value), wanted, **tolerance)
            else:
                assert value == wanted


@pytest.mark.parametrize("mart", MARTS)
def test_a_view_is_made_refreshed_and_full(mart: str, doris_client: DorisClient) -> None:
    said = doris.view(CONTRACT, mart)
    assert doris_client.apply_mart(said).did in {"created", "replaced", "unchanged"}
    assert doris_client.apply_mart(said).did == "unchanged"
    first, second = doris_client.refresh_mart(said), doris_client.refresh_mart(said)
    assert first.task.status == second.task.status == "SUCCESS"
    assert first.task.id != second.task.id
    assert second.rows > 0


def test_a_changed_definition_takes_the_place_of_the_old(doris_client: DorisClient) -> None:
    said = doris.view(CONTRACT, MARTS[0])
    doris_client.apply_mart(said)
    other = dataclasses.replace(
        said,
        fingerprint="f" * 16,
        create=said.create.replace(said.fingerprint, "f" * 16),
        create_next=said.create_next.replace(said.fingerprint, "f" * 16),
    )
    replaced = doris_client.apply_mart(other)
    assert replaced.did == "replaced"
    assert replaced.refreshed is not None
    assert replaced.refreshed.rows > 0
    assert said.view_next not in doris_client.views(said.database)
    assert doris_client.fingerprint(said.database, said.view) == "f" * 16
    assert doris_client.apply_mart(said).did == "replaced"


def test_a_statement_that_doris_refuses_is_an_error(doris_client: DorisClient) -> None:
    with pytest.raises(EngineError, match="zz_none"):
        doris_client.query("SELECT * FROM `internal`.`zz_none`.`zz_none`")


def test_the_reporter_may_read_and_nothing_else(doris_client: DorisClient) -> None:
    endpoint = doris_client.endpoint
    if endpoint.reporter_password is None:
        pytest.fail("configure LAKEHOUSE_DORIS_REPORTER_PASSWORD_FILE, so that the user is made")
    said = doris.view(CONTRACT, MARTS[0])
    doris_client.apply_mart(said)
    reporter = DorisClient(
        endpoint.model_copy(update={"user": doris.REPORTER, "password": endpoint.reporter_password})
    )
    with reporter:
        assert reporter.query(doris.count_query(said.database, said.view))
        for forbidden in (
            f"DROP MATERIALIZED VIEW {doris.name(said.database, said.view)}",
            said.refresh,
            "CREATE DATABASE `zz_forbidden`",
            f"DROP CATALOG {doris.name(doris.PAIMON_CATALOG)}",
            "CREATE USER 'zz_forbidden'@'%'",
        ):
            with pytest.raises(EngineError, match=r"(?i)denied|privilege"):
                reporter.execute(forbidden)


def test_a_wrong_password_is_refused(doris_client: DorisClient) -> None:
    with pytest.raises(pymysql.err.OperationalError):
        pymysql.connect(
            host=doris_client.endpoint.host,
            port=doris_client.endpoint.port,
            user=doris.REPORTER,
            password="no",
        )


def plain(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(
        float(value) if isinstance(value, float) or type(value).__name__ == "Decimal" else value
        for value in row
    )
