"""When marts refresh themselves, evaluated as the automation sensor does, on an ephemeral instance."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from lakehouse_dagster.layers.automation import refresh_on_news

MART = dg.AssetKey("mart")


class Clockwork:
    """A mart over a table and a publication, evaluated every 30 seconds of a clock of its own."""

    def __init__(self) -> None:
        self.fails = False

        @dg.asset(deps=["table", "publication"], automation_condition=refresh_on_news("*/5 * * * *"))
        def mart() -> None:
            if self.fails:
                raise RuntimeError("Trino is away")

        self.mart = mart
        specs = [dg.AssetSpec("table"), dg.AssetSpec("publication", deps=["table"])]
        self.definitions = dg.Definitions(assets=[*specs, mart])
        self.instance = dg.DagsterInstance.ephemeral()
        self.cursor: Any = None
        self.now = datetime(2026, 1, 1, 0, 0, 10, tzinfo=UTC)

    def evaluate(self) -> int:
        """One evaluation, 30 seconds after the last; returns the refreshes asked for."""
        self.now += timedelta(seconds=30)
        result = dg.evaluate_automation_conditions(
            self.definitions, self.instance, cursor=self.cursor, evaluation_time=self.now
        )
        self.cursor = result.cursor
        return result.get_num_requested(MART)

    def evaluations(self, count: int) -> list[int]:
        return [self.evaluate() for _ in range(count)]

    def refreshed(self, count: int) -> int:
        """So many evaluations, each refresh asked for being made; returns how many were asked for."""
        asked = 0
        for _ in range(count):
            if self.evaluate():
                asked += 1
                self.refresh()
        return asked

    def news(self, *keys: str) -> None:
        for key in keys:
            self.instance.report_runless_asset_event(dg.AssetMaterialization(key))

    def refresh(self) -> bool:
        return dg.materialize([self.mart], instance=self.instance, raise_on_error=False).success


@pytest.fixture
def works() -> Clockwork:
    return Clockwork()


def built(works: Clockwork) -> Clockwork:
    works.evaluate()
    works.news("table", "publication")
    assert works.evaluate() == 1
    assert works.refresh()
    works.evaluations(2)
    return works


def test_it_is_built_as_soon_as_all_it_reads_is_there(works: Clockwork) -> None:
    assert works.evaluations(2) == [0, 0]
    works.news("table")
    assert works.evaluations(2) == [0, 0]
    works.news("publication")
    assert works.evaluations(2) == [1, 0]


def test_without_news_it_is_never_refreshed(works: Clockwork) -> None:
    built(works)
    assert sum(works.evaluations(15)) == 0


def test_news_after_a_quiet_time_is_taken_at_once_and_only_once(works: Clockwork) -> None:
    built(works)
    works.evaluations(11)  # ticks of the cron pass
    works.news("table", "publication")
    assert works.evaluate() == 1
    assert works.refresh()
    assert sum(works.evaluations(15)) == 0


def test_a_steady_stream_of_news_refreshes_once_per_cron_tick(works: Clockwork) -> None:
    built(works)
    asked = []
    for _ in range(30):  # a quarter of an hour
        works.news("table", "publication")
        asked.append(works.evaluate())
        if asked[-1]:
            works.refresh()
    assert 3 <= sum(asked) <= 4


def test_news_that_arrives_while_a_refresh_reads_is_not_lost(works: Clockwork) -> None:
    """The stream's last message lands between the refresh's start and its end; then silence."""
    built(works)
    works.evaluations(11)
    works.news("table")
    assert works.evaluate() == 1
    works.news("publication")  # the refresh below may have read before this
    assert works.refresh()
    assert works.refreshed(15) == 1
    assert works.refreshed(15) == 0


def test_a_failed_refresh_is_tried_again_with_the_cron_and_not_in_a_loop(works: Clockwork) -> None:
    built(works)
    works.evaluations(10)
    works.news("table")
    assert works.evaluate() == 1
    works.fails = True
    assert not works.refresh()
    assert works.refreshed(20) == 2  # ten minutes, a tick every five
    works.fails = False
    assert works.refreshed(11) == 1
    assert works.refreshed(15) == 0


def test_a_refresh_by_hand_counts(works: Clockwork) -> None:
    built(works)
    works.evaluations(3)
    works.news("table")
    assert works.refresh()
    # What was new arrived in the same evaluation as the refresh: at most one more, never a stream of them.
    assert works.refreshed(15) <= 1
    assert works.refreshed(15) == 0
