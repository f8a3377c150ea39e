from __future__ import annotations

import pytest

from lakehouse_dagster.samples.flights.data import FlightData


@pytest.fixture(scope="session")
def data() -> FlightData:
    """The installed data files, read once."""
    return FlightData()
