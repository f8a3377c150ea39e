"""The platform's own probe row does not fill Dagster's history, and no mart is built for it."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.paimon import PaimonTables
from lakehouse_dagster.layers.collect import PROBE_SECONDS, collect_tables
from lakehouse_dagster.layers.observe import (
    Commit,
    LakeCursor,
    SnapshotMark,
    TopicNews,
    TopicStatus,
    ViewNews,
    ViewStatus,
    publication_news,
)
from lakehouse_dagster.layers.sensors import _too_soon

PROBE = "freshness_probe"


def commit(hash: str, **snapshots: int) -> Commit:
    properties = {f"lakehouse.table.{table}.paimon-snapshot": str(n) for table, n in snapshots.items()}
    return Commit(hash, properties={"lakehouse.pipeline": "flights", **properties})


def test_publications_of_the_probe_alone_move_the_cursor_and_are_no_news() -> None:
    first = commit("a", flights=1, freshness_probe=1)
    beats = [commit("b", flights=1, freshness_probe=2), commit("c", flights=1, freshness_probe=3)]
    news, cursor = publication_news(LakeCursor(published="a"), [*reversed(beats), first], probe=PROBE)
    assert news is None
    assert cursor.published == "c"
    change = commit("d", flights=2, freshness_probe=4)
    news, cursor = publication_news(cursor, [change, *reversed(beats), first], probe=PROBE)
    assert news is not None
    assert [item.hash for item in news.commits] == ["d"]
    assert not news.gap


def test_a_change_among_beats_is_reported_with_them() -> None:
    history = [
        commit("d", flights=2, freshness_probe=4),
        commit("c", flights=2, freshness_probe=3),
        commit("b", flights=1, freshness_probe=2),
        commit("a", flights=1, freshness_probe=1),
    ]
    news, _ = publication_news(LakeCursor(published="a"), history, probe=PROBE)
    assert news is not None
    assert [item.hash for item in news.commits] == ["b", "c", "d"]


def test_what_cannot_be_compared_is_reported() -> None:
    history = [commit("b", flights=1, freshness_probe=2)]
    for cursor in (LakeCursor(), LakeCursor(published="gone")):
        news, _ = publication_news(cursor, history, probe=PROBE)
        assert news is not None
        assert news.gap == (cursor.published is not None)
    again = [commit("b", flights=1, freshness_probe=1), commit("a", flights=1, freshness_probe=1)]
    news, _ = publication_news(LakeCursor(published="a"), again, probe=PROBE)
    assert news is not None


def test_topics_and_views_of_the_probe_are_told_about_once_a_minute(contract: Contract) -> None:
    def topic(messages: int, table: str = PROBE, **changes: Any) -> TopicNews:
        return TopicNews(TopicStatus(table, {0: 0}, {0: messages}), {0: (0, messages)}, **changes)

    view = ViewNews(ViewStatus("freshness_by_id", {0: 0}, {0: 11}, 0), {0: (0, 11)})
    assert _too_soon(contract, PROBE, topic(11))
    assert _too_soon(contract, PROBE, view)
    assert not _too_soon(contract, PROBE, topic(12))
    assert not _too_soon(contract, PROBE, topic(1, restarted=True))
    assert not _too_soon(contract, "flights", topic(1, "flights"))


def test_the_probes_lake_table_is_not_even_read_within_a_minute(contract: Contract) -> None:
    asked: list[str] = []

    def since(database: str, table: str, seen: int, *, most: int) -> None:
        asked.append(table)

    paimon = cast(PaimonTables, SimpleNamespace(since=since))
    for age, expected in ((PROBE_SECONDS - 5, False), (PROBE_SECONDS + 5, True)):
        asked.clear()
        committed = int((datetime.now(UTC).timestamp() - age) * 1000)
        mark = SnapshotMark(id=3, committed_ms=committed)
        cursor = LakeCursor(tables={PROBE: mark, "flights": mark})
        collect_tables(paimon, contract, cursor, most=50, seconds=30)
        assert (PROBE in asked) is expected
        assert "flights" in asked
