from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.runtime.endpoints import load_endpoints
from lakehouse_dagster.runtime.submitter import flink_submitter


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
