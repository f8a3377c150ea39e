"""Dagster's storage on kept connections, on the real PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest
import yaml

from lakehouse_dagster.engines.endpoints import PostgresEndpoint
from lakehouse_dagster.engines.postgres import PostgresClient
from lakehouse_dagster.runtime.dagster_storage import KEPT, PooledPostgresStorage, shared_engine

pytestmark = pytest.mark.engine

THREADS = 12
BACKENDS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


@pytest.fixture
def postgres(endpoint: PostgresEndpoint) -> Iterator[PostgresClient]:
    with PostgresClient(endpoint) as found:
        yield found
    shared_engine.cache_clear()


@pytest.fixture
def home(endpoint: PostgresEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DAGSTER_HOME whose storage is the one of ``compose/dagster/dagster.yaml``."""
    monkeypatch.setenv("ZZ_PASSWORD", endpoint.password.get_secret_value())
    database = {
        "scheme": "postgresql+psycopg2",
        "hostname": endpoint.host,
        "port": endpoint.port,
        "db_name": endpoint.database,
        "username": endpoint.user,
        "password": {"env": "ZZ_PASSWORD"},
    }
    template = Path(__file__).parents[2] / "compose" / "dagster" / "dagster.yaml"
    storage = yaml.safe_load(template.read_text())["storage"]
    storage["custom"]["config"] = {"postgres_db": database}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump({"storage": storage}))
    return tmp_path


def backends(postgres: PostgresClient) -> set[int]:
    return {int(row["pid"]) for row in postgres.query(BACKENDS)}


def test_instances_of_one_process_share_connections(home: Path, postgres: PostgresClient) -> None:
    seen: set[int] = set()
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert instance.get_runs_count() == 0
    # Those that made the tables were opened for it, and may still be on their way out.
    before = backends(postgres)
    for number in range(8):
        with dg.DagsterInstance.from_config(str(home)) as instance:
            instance.report_runless_asset_event(dg.AssetMaterialization(f"asset_{number}"))
            assert len(instance.all_asset_keys()) == number + 1
            assert instance.get_runs() == []
            assert list(instance.all_instigator_state()) == []
        seen |= backends(postgres)
    assert len(seen - before) <= KEPT


def test_many_threads_ask_at_once_and_few_connections_stay(home: Path, postgres: PostgresClient) -> None:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        with ThreadPoolExecutor(THREADS) as pool:
            answers = list(pool.map(lambda _: instance.get_runs_count(), range(20 * THREADS)))
        assert answers == [0] * (20 * THREADS)
        deadline = time.monotonic() + 30
        while len(backends(postgres)) > KEPT:  # a closed session takes a moment to end
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_connections_that_died_cost_no_query(home: Path, postgres: PostgresClient) -> None:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert instance.get_runs_count() == 0
        before = backends(postgres)
        assert before
        for pid in before:
            postgres.query(f"SELECT pg_terminate_backend({pid})")
        assert instance.get_runs_count() == 0
        assert backends(postgres).isdisjoint(before)


def test_tables_are_made_in_an_empty_database_only_once(endpoint: PostgresEndpoint) -> None:
    url = (
        f"postgresql+psycopg2://{endpoint.user}:{endpoint.password.get_secret_value()}"
        f"@{endpoint.host}:{endpoint.port}/{endpoint.database}"
    )
    first = PooledPostgresStorage(url)
    second = PooledPostgresStorage(url)
    assert first.run_storage.get_runs_count() == second.run_storage.get_runs_count() == 0
    shared_engine.cache_clear()
