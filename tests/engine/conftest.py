from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.endpoints import Endpoints, PostgresEndpoint
from lakehouse_dagster.engines.postgres import PostgresClient
from lakehouse_dagster.runtime.doris import load_doris
from lakehouse_dagster.runtime.endpoints import POSTGRES_SUPERUSER, load_endpoints
from lakehouse_dagster.runtime.secrets import load_secrets
from lakehouse_dagster.runtime.settings import Settings
from lakehouse_dagster.runtime.submitter import flink_submitter

DORIS = pytest.StashKey[int]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the tests of a real Doris out, and say so, unless one is configured or asked for.

    Doris needs Docker: elsewhere nobody could run them, and a failure would only say that.
    """
    if os.environ.get("LAKEHOUSE_TEST_DORIS") or load_doris(Settings.load()) is not None:
        return
    left_out = [item for item in items if item.get_closest_marker("doris")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
        config.stash[DORIS] = len(left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name what was left out."""
    if count := config.stash.get(DORIS, 0):
        terminalreporter.write_line(
            f"NOT RUN: {count} tests of a real Doris; none is configured (docs/doris.md, `make doris-test`)",
            yellow=True,
        )


@pytest.fixture(scope="session")
def endpoints(instance: Path) -> Endpoints:
    """Addresses of the test instance's engines."""
    assert instance.is_dir()
    return load_endpoints()


@pytest.fixture
def clients(endpoints: Endpoints) -> Iterator[Clients]:
    """Fresh clients of the test instance's engines."""
    with Clients(endpoints, submitter=flink_submitter) as found:
        yield found


@pytest.fixture
def endpoint(instance: Path) -> Iterator[PostgresEndpoint]:
    """An empty database that belongs to Dagster's user."""
    assert instance.is_dir()
    dagster = load_endpoints().postgres
    password = load_secrets(Settings.load().secrets_file).postgres_superuser
    name = f"zz_{uuid.uuid4().hex[:8]}"
    superuser = {"user": POSTGRES_SUPERUSER, "password": password, "database": "postgres"}
    with PostgresClient(dagster.model_copy(update=superuser)) as admin:
        admin.execute(f"CREATE DATABASE {name} OWNER {dagster.user}")
        yield dagster.model_copy(update={"database": name})
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
