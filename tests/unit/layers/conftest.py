from __future__ import annotations

import pytest

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.loader import DEFS_ROOT, load_contract


@pytest.fixture(scope="session")
def contract() -> Contract:
    return load_contract(DEFS_ROOT / "flights")
