"""News since a cursor: none missed, none repeated, whatever the rhythm of the ticks."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse_dagster.layers.observe import (
    Commit,
    CursorError,
    LakeCursor,
    TableStatus,
    TopicCursor,
    TopicStatus,
    ViewStatus,
    lake_news,
    publication_news,
    topic_news,
    view_news,
)

TABLES = ("flights", "airlines", "planes")

# One step of a history: a table gets some snapshots, a table is created anew, or a sensor ticks (seeing some
# tables only).
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), st.sampled_from(TABLES), st.integers(1, 40)),
        st.tuples(st.just("recreate"), st.sampled_from(TABLES), st.integers(0, 40)),
        st.tuples(st.just("tick"), st.sets(st.sampled_from(TABLES)), st.just(0)),
    ),
    max_size=60,
)


@given(STEPS)
def test_every_snapshot_is_covered_exactly_once(steps: list[tuple[str, object, int]]) -> None:
    clock = 1_000
    life: dict[str, int] = {}
    snapshots: dict[str, list[int]] = {}  # commit time of snapshot i+1 of the current life
    reported: dict[tuple[str, int], list[int]] = {}
    known: dict[str, int] = {}  # the life of a table that the reports have arrived at
    cursor_text: str | None = None

    def tick(visible: set[str]) -> None:
        nonlocal cursor_text
        cursor = LakeCursor.parse(cursor_text)
        statuses = []
        for table in sorted(visible):
            times = snapshots.get(table)
            if not times:
                continue
            mark = cursor.tables.get(table)
            remembered = times[mark.id - 1] if mark and mark.id <= len(times) else None
            statuses.append(TableStatus(table, len(times), times[-1], remembered_ms=remembered))
        news, cursor = lake_news(cursor, statuses)
        assert len({item.table for item in news}) == len(news)
        for item in news:
            current = life.get(item.table, 0)
            assert item.restarted == (item.table in known and known[item.table] != current)
            known[item.table] = current
            reported.setdefault((item.table, current), []).extend(range(item.first_id, item.last_id + 1))
            assert item.count == item.last_id - item.first_id + 1 > 0
        cursor_text = cursor.dump()

    for kind, what, count in steps:
        clock += 7
        if kind == "tick":
            assert isinstance(what, set)
            tick(what)
            continue
        assert isinstance(what, str)
        if kind == "recreate":
            life[what] = life.get(what, 0) + 1
            snapshots[what] = []
        for _ in range(count):
            clock += 1
            snapshots.setdefault(what, []).append(clock)
    tick(set(TABLES))
    tick(set(TABLES))

    for table, times in snapshots.items():
        # The life that is there now is reported to its end; earlier lives are reported up to some snapshot,
        # without gaps.
        assert reported.get((table, life.get(table, 0)), []) == list(range(1, len(times) + 1))
    for ids in reported.values():
        assert ids == list(range(1, len(ids) + 1))


def test_a_recreated_table_is_said_aloud_even_when_its_ids_overtook_the_cursor() -> None:
    _, cursor = lake_news(LakeCursor(), [TableStatus("flights", 5, 500)])
    [again], cursor = lake_news(cursor, [TableStatus("flights", 9, 9_000, remembered_ms=7_000)])
    assert again.restarted
    assert (again.first_id, again.last_id) == (1, 9)
    [smaller], _ = lake_news(cursor, [TableStatus("flights", 2, 9_500)])
    assert smaller.restarted
    assert (smaller.first_id, smaller.last_id) == (1, 2)


def test_expired_snapshots_leave_no_gap() -> None:
    _, cursor = lake_news(LakeCursor(), [TableStatus("flights", 5, 500)])
    [news], _ = lake_news(cursor, [TableStatus("flights", 5_000, 900_000, remembered_ms=None)])
    assert not news.restarted
    assert (news.first_id, news.last_id, news.count) == (6, 5_000, 4_995)


def test_freshness_is_the_age_of_the_newest_row_when_it_became_readable() -> None:
    [news], _ = lake_news(
        LakeCursor(), [TableStatus("flights", 1, 12_400, readable_ms=12_500, event_ms=10_000)]
    )
    assert news.freshness_seconds == 2.5


@given(st.lists(st.integers(0, 9), max_size=30))
def test_every_publication_is_covered_exactly_once(batches: list[int]) -> None:
    history: list[Commit] = []
    seen: list[str] = []
    text: str | None = None
    for batch in batches:
        for _i in range(batch):
            history.insert(0, Commit(f"h{len(history)}"))
        news, cursor = publication_news(LakeCursor.parse(text), history)
        assert (news is None) == (batch == 0)
        if news:
            assert not news.gap
            seen += [commit.hash for commit in news.commits]
        text = cursor.dump()
    assert seen == [commit.hash for commit in reversed(history)]


def test_a_lost_commit_is_said_aloud() -> None:
    cursor = LakeCursor(published="gone")
    news, cursor = publication_news(cursor, [Commit("b"), Commit("a")])
    assert news is not None
    assert news.gap
    assert [commit.hash for commit in news.commits] == ["a", "b"]
    assert cursor.published == news.newest.hash == "b"


@given(st.lists(st.lists(st.integers(0, 20), min_size=2, max_size=2), max_size=30))
def test_every_message_is_covered_exactly_once(steps: list[list[int]]) -> None:
    ends = {0: 3, 1: 0}
    begins = {0: 3, 1: 0}  # retention has removed the first three messages already
    covered: dict[int, list[int]] = {0: [], 1: []}
    text: str | None = None
    for step in steps:
        for partition, count in enumerate(step):
            ends[partition] += count
        news, cursor = topic_news(TopicCursor.parse(text), [TopicStatus("flights", begins, dict(ends))])
        for item in news:
            assert item.messages == sum(step)
            for partition, (start, end) in item.ranges.items():
                covered[partition] += range(start, end)
        text = cursor.dump()
    assert covered == {p: list(range(begins[p], ends[p])) for p in covered}


def test_a_recreated_topic_is_said_aloud() -> None:
    _, cursor = topic_news(TopicCursor(), [TopicStatus("flights", {0: 0}, {0: 100})])
    [news], _ = topic_news(cursor, [TopicStatus("flights", {0: 0}, {0: 10})])
    assert news.restarted
    assert news.ranges == {0: (0, 10)}


def test_catching_up_is_news_once() -> None:
    _, cursor = topic_news(TopicCursor(), [TopicStatus("flights", {0: 0}, {0: 100}, {"flights-lake": 40})])
    nothing, cursor = topic_news(cursor, [TopicStatus("flights", {0: 0}, {0: 100}, {"flights-lake": 10})])
    assert nothing == []
    [caught_up], cursor = topic_news(cursor, [TopicStatus("flights", {0: 0}, {0: 100}, {"flights-lake": 0})])
    assert caught_up.messages == 0
    assert topic_news(cursor, [TopicStatus("flights", {0: 0}, {0: 100}, {"flights-lake": 0})])[0] == []


def test_views_advance_with_what_is_applied_and_topics_keep_their_marks() -> None:
    _, cursor = topic_news(TopicCursor(), [TopicStatus("flights", {0: 0}, {0: 100})])
    [news], cursor = view_news(
        cursor, [ViewStatus("flight_documents", {0: 0}, {0: 60}, lag=40, documents=55)]
    )
    assert news.ranges == {0: (0, 60)}
    assert cursor.topics["flights"].ends == {0: 100}
    assert view_news(cursor, [ViewStatus("flight_documents", {0: 0}, {0: 60}, lag=40)])[0] == []
    [more], _ = view_news(cursor, [ViewStatus("flight_documents", {0: 0}, {0: 100})])
    assert more.ranges == {0: (60, 100)}


@pytest.mark.parametrize("text", ["nonsense", '{"version": 2}', json.dumps({"version": 1, "extra": 1})])
def test_a_cursor_of_another_version_is_refused(text: str) -> None:
    with pytest.raises(CursorError, match="reset this sensor's cursor"):
        LakeCursor.parse(text)
    with pytest.raises(CursorError, match="reset this sensor's cursor"):
        TopicCursor.parse(text)


def test_no_cursor_is_an_empty_one() -> None:
    assert LakeCursor.parse(None) == LakeCursor.parse("") == LakeCursor()
