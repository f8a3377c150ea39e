"""News since a cursor: none missed, none repeated, whatever the rhythm of the ticks."""

from __future__ import annotations

import json
from typing import Any, TypeVar

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
    ViewNews,
    ViewStatus,
    bring_forward,
    lake_news,
    publication_news,
    take,
    topic_news,
    view_news,
)

C = TypeVar("C", LakeCursor, TopicCursor)
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


# One step of a history with crashes: a table gets snapshots (and one publication), is created anew, or a
# sensor ticks and is killed after it has stored that many of its events (None: it lives, stores its cursor).
CRASHES = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), st.sampled_from(TABLES), st.integers(1, 9)),
        st.tuples(st.just("recreate"), st.sampled_from(TABLES), st.integers(1, 9)),
        st.tuples(st.just("tick"), st.just(""), st.one_of(st.none(), st.integers(0, 5))),
    ),
    max_size=50,
)


class Log:
    """Dagster's storage: events are stored one by one, the cursor after them."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.cursor = LakeCursor(after=0).dump()

    def begin(self, kind: type[C]) -> C:
        """The cursor a tick works with."""
        cursor = kind.parse(self.cursor)
        assert cursor.after is not None
        marks = [json.loads(json.dumps(mark)) for mark in self.events[cursor.after :]]
        return bring_forward(cursor, marks).model_copy(update={"after": len(self.events)})

    def store(self, marks: list[dict[str, Any]], cursor: LakeCursor | TopicCursor, killed: int | None) -> int:
        """Store as much as the daemon comes to; returns the number of events."""
        stored = marks[:killed]
        self.events += stored
        if killed is None:
            self.cursor = cursor.dump()
        return len(stored)


@given(CRASHES)
def test_whatever_crashes_every_snapshot_and_commit_is_recorded_exactly_once(
    steps: list[tuple[str, str, int | None]],
) -> None:
    log = Log()
    clock = 1_000
    life: dict[str, int] = {}
    snapshots: dict[str, list[int]] = {}
    history: list[Commit] = []
    recorded: dict[tuple[str, int], list[int]] = {}
    published: list[str] = []

    def tick(killed: int | None) -> None:
        cursor = log.begin(LakeCursor)
        statuses = []
        for table, times in sorted(snapshots.items()):
            mark = cursor.tables.get(table)
            remembered = times[mark.id - 1] if mark and mark.id <= len(times) else None
            statuses.append(TableStatus(table, len(times), times[-1], remembered_ms=remembered))
        news, cursor = lake_news(cursor, statuses)
        commits, cursor = publication_news(cursor, history)
        marks = [item.mark.as_mark() for item in news] + ([commits.mark.as_mark()] if commits else [])
        count = log.store(marks, cursor, killed)
        for item in news[:count]:
            at = recorded.setdefault((item.table, life.get(item.table, 0)), [])
            at += range(item.first_id, item.last_id + 1)
        if commits and count > len(news):
            assert not commits.gap
            published.extend(commit.hash for commit in commits.commits)

    for kind, table, count in steps:
        clock += 7
        if kind == "tick":
            tick(count)
            continue
        assert count is not None
        if kind == "recreate":
            life[table] = life.get(table, 0) + 1
            snapshots[table] = []
        for _ in range(count):
            clock += 1
            snapshots.setdefault(table, []).append(clock)
        history.insert(0, Commit(f"h{len(history)}"))
    tick(None)

    for table, times in snapshots.items():
        assert recorded[(table, life.get(table, 0))] == list(range(1, len(times) + 1))
    for ids in recorded.values():
        assert ids == list(range(1, len(ids) + 1))
    assert published == [commit.hash for commit in reversed(history)]


@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, 3), min_size=4, max_size=4), st.one_of(st.none(), st.integers(0, 5))
        ),
        max_size=25,
    ),
    st.integers(1, 6),
)
def test_whatever_crashes_every_message_is_recorded_exactly_once(
    steps: list[tuple[list[int], int | None]], most: int
) -> None:
    log = Log()
    ends = dict.fromkeys(("a", "b", "c", "d"), 0)
    covered: dict[str, list[int]] = {f"{kind}/{name}": [] for kind in ("topics", "views") for name in ends}

    def tick(killed: int | None) -> int:
        cursor = log.begin(TopicCursor)
        topics, _ = topic_news(cursor, [TopicStatus(name, {0: 0}, {0: end}) for name, end in ends.items()])
        views, _ = view_news(cursor, [ViewStatus(name, {0: 0}, {0: end}) for name, end in ends.items()])
        news, cursor = take(cursor, topics, views, most=most)
        assert len(news) == min(most, len(topics) + len(views))
        count = log.store([item.mark.as_mark() for item in news], cursor, killed)
        for item in news[:count]:
            name = f"views/{item.view}" if isinstance(item, ViewNews) else f"topics/{item.table}"
            covered[name] += range(*item.ranges[0])
        return len(news)

    log.cursor = TopicCursor(after=0).dump()
    for counts, killed in steps:
        for name, count in zip(ends, counts, strict=True):
            ends[name] += count
        tick(killed)
    while tick(None):
        pass
    assert covered == {
        f"{kind}/{n}": list(range(end)) for kind in ("topics", "views") for n, end in ends.items()
    }


def test_with_news_of_everything_each_has_its_turn() -> None:
    cursor, told = TopicCursor(), []
    for ends in range(1, 6):
        statuses = [TopicStatus(name, {0: 0}, {0: ends}) for name in ("a", "b", "c", "d", "e")]
        news, cursor = take(cursor, topic_news(cursor, statuses)[0], [], most=2)
        told += [item.table for item in news if not isinstance(item, ViewNews)]
    assert told == ["a", "b", "c", "d", "e", "a", "b", "c", "d", "e"]


def test_a_mark_that_goes_back_is_that_of_an_object_created_anew() -> None:
    _, cursor = lake_news(LakeCursor(), [TableStatus("flights", 9, 900)])
    [news], _ = lake_news(cursor, [TableStatus("flights", 2, 950)])
    assert bring_forward(cursor, [news.mark.as_mark()]).tables["flights"].id == 2


@pytest.mark.parametrize("mark", [{"tables": 7}, {"topics": {}}, {"something": "else"}, {"version": 2}])
def test_what_is_no_mark_of_this_sensor_moves_nothing(mark: dict[str, Any]) -> None:
    cursor = LakeCursor(after=7, published="a")
    assert bring_forward(cursor, [mark]) == cursor
