from __future__ import annotations

import dagster as dg
import pytest

from lakehouse_dagster.definitions import defs


@pytest.fixture(scope="session")
def definitions() -> dg.Definitions:
    """What Dagster would load, loaded once."""
    return defs()
