from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.loader import discover
from lakehouse_dagster.layers.publication_checks import REPORT_SECONDS, Outcome, tick
from lakehouse_dagster.streams.cursor import StreamCursor

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def flights() -> Contract:
    return next(contract for contract in discover() if contract.name == "flights")


def outcomes(*, drift: bool = True) -> list[Outcome]:
    return [
        Outcome("publishable", True, "every check passes"),
        Outcome("no_drift", drift, "flights: it is gone"),
    ]


def test_a_result_is_reported_when_it_changes_and_every_five_minutes() -> None:
    contract = flights()

    def reported(
        found: list[Outcome], seconds: float, cursor: StreamCursor
    ) -> tuple[list[str], StreamCursor]:
        result = tick(contract, found, NOW + timedelta(seconds=seconds), cursor)
        told = [e for e in result.asset_events or [] if isinstance(e, dg.AssetCheckEvaluation)]
        return [f"{e.check_name} {e.passed}" for e in told], StreamCursor.parse(result.cursor)

    first, cursor = reported(outcomes(), 0, StreamCursor())
    assert first == ["publishable True", "no_drift True"]
    nothing, cursor = reported(outcomes(), 60, cursor)
    assert nothing == []
    changed, cursor = reported(outcomes(drift=False), 120, cursor)
    assert changed == ["no_drift False"]
    again, _ = reported(outcomes(drift=False), REPORT_SECONDS + 1, cursor)
    assert again == ["publishable True"]
