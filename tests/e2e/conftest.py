"""The sample pipeline, brought to life as a user would: nothing here starts a stream, Dagster does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.demo import wait_for_streams
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.dagster_api import DagsterApi
from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.governance.commands import find_contract
from lakehouse_dagster.runtime.endpoints import load_endpoints
from lakehouse_dagster.runtime.submitter import flink_submitter
from tests.conftest import lakehouse

DAYS = 3


@dataclass(frozen=True)
class Flow:
    """The running sample pipeline with ``DAYS`` days of flights replayed."""

    data: Path
    endpoints: Endpoints
    contract: Contract
    dagster: DagsterApi
    clients: Clients


@pytest.fixture(scope="session")
def flow(instance: Path) -> Iterator[Flow]:
    """The source loaded, the streams started by Dagster's sensor, the days replayed through them."""
    endpoints = load_endpoints()
    dagster = DagsterApi(endpoints.dagster)
    lakehouse("replay", "flights", "--reference-only")
    wait_for_streams(dagster)
    lakehouse("replay", "flights", "--day", "2013-01-01", "--days", str(DAYS))
    with Clients(endpoints, submitter=flink_submitter) as clients:
        yield Flow(instance, endpoints, find_contract("flights"), dagster, clients)


@pytest.fixture(scope="session")
def endpoints(flow: Flow) -> Endpoints:
    """Addresses of the engines in which the sample flows."""
    return flow.endpoints


@pytest.fixture
def clients(flow: Flow) -> Iterator[Clients]:
    """Fresh clients of those engines."""
    with Clients(flow.endpoints, submitter=flink_submitter) as found:
        yield found


def copies(contract: Contract) -> int:
    """In how many places a verification compares: each table in Paimon and in Trino, and each view."""
    return 2 * len(contract.tables) + len(contract.views)


Verify = Callable[[], tuple[int, dict[tuple[str, str], dict[str, Any]]]]


@pytest.fixture
def verify(flow: Flow) -> Verify:
    """Run ``lakehouse verify flights --json``: exit code and results by (table, place)."""

    def run() -> tuple[int, dict[tuple[str, str], dict[str, Any]]]:
        done = lakehouse("verify", "flights", "--json", timeout=600, check=False)
        assert done.returncode in (0, 1), done.stderr
        tables = json.loads(done.stdout)["tables"]
        return done.returncode, {(entry["table"], entry["place"]): entry for entry in tables}

    return run
