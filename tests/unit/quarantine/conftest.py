from __future__ import annotations

import pytest

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.loader import load_contract
from lakehouse_dagster.quarantine import checks, commands, operations, reading, replay, sensor
from lakehouse_dagster.quarantine import store as store_module
from tests.unit.contract.conftest import Write, orders_attributes, write  # noqa: F401
from tests.unit.quarantine import fakes


@pytest.fixture
def contract(write: Write) -> Contract:  # noqa: F811
    """Orders, where a Cassandra view's key moves (``shop``, ``placed_at``), and shops, where none does."""
    return load_contract(write(orders_attributes()))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> fakes.World:
    """Engines that hold what the test puts into them."""
    found = fakes.World()
    monkeypatch.setattr(reading, "letters", found.letters)
    monkeypatch.setattr(replay, "RecordWriter", found.writer)
    monkeypatch.setattr(replay, "wait_for_jobs", found.wait)
    for module in (store_module, operations, checks, sensor):
        monkeypatch.setattr(module, "QuarantineStore", found.store)
    monkeypatch.setattr(commands, "open_clients", found.clients)
    monkeypatch.setenv("COLUMNS", "250")
    return found
