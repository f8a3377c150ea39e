from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.loader import DEFS_ROOT, load_contract
from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.lineage.emitter import Emitter
from lakehouse_dagster.lineage.settings import LineageSettings
from lakehouse_dagster.runtime.endpoints import build_endpoints
from lakehouse_dagster.runtime.secrets import create_secrets
from lakehouse_dagster.runtime.settings import Settings


@pytest.fixture(scope="session")
def contract() -> Contract:
    return load_contract(DEFS_ROOT / "flights")


@pytest.fixture(scope="session")
def endpoints(tmp_path_factory: pytest.TempPathFactory) -> Endpoints:
    return build_endpoints(
        Settings.load({}), create_secrets(tmp_path_factory.mktemp("secrets") / "secrets.json")
    )


@pytest.fixture
def emitter(tmp_path: Path) -> Emitter:
    return Emitter(LineageSettings(tmp_path / "lineage"))


def events(emitter: Emitter) -> list[dict[str, Any]]:
    """What is in the emitter's file."""
    return [json.loads(line) for path in emitter.file.files() for line in path.read_text().splitlines()]
