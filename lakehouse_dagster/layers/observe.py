"""What is new since a cursor: pure functions from (cursor, status of the engines) to (news, new cursor).

A watching sensor reads small statuses (``layers.collect``), asks these functions what is new, and reports one
event per asset with news (``layers.events``). Every snapshot, message and commit is covered by exactly one
piece of news: ranges of successive ticks join without gap and without overlap, however many ticks are skipped
in between. An object that was dropped and created again is noticed where its numbers go back (or its
remembered snapshot is another one), and said aloud in ``restarted``.

Every piece of news has a ``mark``: a cursor of nothing but what the news moves. It is stored with the event,
and ``bring_forward`` takes a cursor over the marks of recorded events, so that a cursor that was lost with a
killed daemon repeats nothing.

Cursors are versioned JSON. A cursor of an unknown version is refused (``CursorError``) instead of being taken
for an empty one, which would repeat everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from lakehouse_dagster.governance.decision import PREFIX


class CursorError(ValueError):
    """A stored cursor that this version cannot read."""


class _Cursor(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    after: int | None = None
    """Id in Dagster's event log up to which recorded events have been taken into account; ``None`` for a
    cursor that has just been reset (or has never been stored).
    """

    @classmethod
    def parse(cls, text: str | None) -> Self:
        """Read a stored cursor; nothing stored is an empty cursor. Raises ``CursorError``."""
        if not text:
            return cls()
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise CursorError(
                f"the stored cursor is not one of version 1 ({error.error_count()} problem(s), "
                f"beginning {text[:40]!r}); "
                f"reset this sensor's cursor in Dagster's UI to report everything once more"
            ) from error

    def dump(self) -> str:
        """Return the JSON to store."""
        return self.model_dump_json()

    def as_mark(self) -> dict[str, Any]:
        """Return what was set, as JSON values."""
        return self.model_dump(mode="json", exclude_unset=True)


C = TypeVar("C", bound=_Cursor)


def bring_forward(cursor: C, marks: Iterable[Mapping[str, Any]]) -> C:
    """Return the cursor as it is after the events with those marks, in the order in which they were stored.

    The last mark of an object wins, even one that goes back: its table or topic was created anew. Marks of
    other sensors, and what is no mark at all, are passed over.
    """
    moved: dict[str, Any] = {}
    for given in marks:
        try:
            mark = type(cursor).model_validate(given)
        except ValidationError:
            continue
        for name in mark.model_fields_set - {"version", "after"}:
            value = getattr(mark, name)
            if isinstance(value, dict):
                moved.setdefault(name, dict(getattr(cursor, name))).update(value)
            else:
                moved[name] = value
    return cursor.model_copy(update=moved)


# --- lake tables ----------------------------------------------------------------------------------


class SnapshotMark(BaseModel):
    """The newest snapshot of a table that has been reported."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: int
    committed_ms: int


class LakeCursor(_Cursor):
    """Newest reported snapshot per lake table, and newest reported commit of the publication."""

    tables: dict[str, SnapshotMark] = {}
    published: str | None = None
    head: str | None = None
    """Commit that the branch pointed at when its history was last read: still there, nothing is new."""
    turn: str | None = None
    """Table that the next tick begins with, where this one could not take all."""


@dataclass(frozen=True)
class TableStatus:
    """A Paimon table as seen now. Times are milliseconds since 1970, sizes are bytes."""

    table: str
    snapshot_id: int
    committed_ms: int
    remembered_ms: int | None = None
    """Commit time of the snapshot that the cursor names, as stored now; ``None`` if it has expired or none is
    named.
    """
    rows: int | None = None
    bytes: int | None = None
    position: int | None = None
    """Greatest source position in the table."""
    event_ms: int | None = None
    """When the source committed the newest row in the table."""
    readable_id: int | None = None
    """Snapshot that Iceberg readers see: the newest fully compacted one."""
    readable_ms: int | None = None
    """When it became readable."""
    appended: int | None = None
    """Rows written by the snapshots since the cursor, deletes included; ``None`` where counting would cost
    too much.
    """


@dataclass(frozen=True)
class LakeNews:
    """Snapshots ``first_id`` to ``last_id`` (both included) of one table."""

    status: TableStatus
    first_id: int
    last_id: int
    restarted: bool = False
    """The table was dropped and created again since the cursor; its snapshots count from 1 once more."""

    @property
    def table(self) -> str:
        """Name of the table."""
        return self.status.table

    @property
    def mark(self) -> LakeCursor:
        """What the news moves."""
        mark = SnapshotMark(id=self.last_id, committed_ms=self.status.committed_ms)
        return LakeCursor(tables={self.table: mark})

    @property
    def count(self) -> int:
        """Number of snapshots covered."""
        return self.last_id - self.first_id + 1

    @property
    def freshness_seconds(self) -> float | None:
        """Age of the newest row, by its commit in the source, when its state became readable."""
        if self.status.event_ms is None or self.status.readable_ms is None:
            return None
        return (self.status.readable_ms - self.status.event_ms) / 1000


def from_turn(names: Sequence[str], turn: str | None) -> list[str]:
    """Return the names in their order, but beginning with ``turn`` (where it is among them)."""
    start = names.index(turn) if turn in names else 0
    return [*names[start:], *names[:start]]


def lake_news(cursor: LakeCursor, statuses: Sequence[TableStatus]) -> tuple[list[LakeNews], LakeCursor]:
    """Return what is new in the lake tables, and the cursor to store once it has been reported.

    Tables without a status (not created yet, or unreadable in this tick) keep their mark.
    """
    marks = dict(cursor.tables)
    news: list[LakeNews] = []
    for status in statuses:
        mark = marks.get(status.table)
        another = (
            status.remembered_ms is not None
            and mark is not None
            and status.remembered_ms != mark.committed_ms
        )
        restarted = mark is not None and (status.snapshot_id < mark.id or another)
        first = 1 if mark is None or restarted else mark.id + 1
        if status.snapshot_id < first:
            continue
        item = LakeNews(status, first, status.snapshot_id, restarted)
        news.append(item)
        marks |= item.mark.tables
    return news, cursor.model_copy(update={"tables": marks})


# --- publication ----------------------------------------------------------------------------------


_TABLE_PROPERTIES = f"{PREFIX}.table."


@dataclass(frozen=True)
class Commit:
    """One publication: a Nessie commit over the pipeline's tables."""

    hash: str
    message: str = ""
    committed_at: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PublicationNews:
    """Publications since the cursor, oldest first; never empty."""

    commits: tuple[Commit, ...]
    gap: bool = False
    """The commit that the cursor names is no longer in the history (branch reassigned, or history cut short).
    """

    @property
    def newest(self) -> Commit:
        """The publication that readers see."""
        return self.commits[-1]

    @property
    def mark(self) -> LakeCursor:
        """What the news moves."""
        return LakeCursor(published=self.newest.hash)


def publication_news(
    cursor: LakeCursor, history: Sequence[Commit], *, probe: str | None = None
) -> tuple[PublicationNews | None, LakeCursor]:
    """Return the publications after the cursor's, given the ``history`` with the newest first, and the new
    cursor.

    Those that moved nothing but the table ``probe`` are no news, only the cursor goes on: the platform itself
    writes it every few seconds, and marts would be built anew for it.
    """
    fresh: list[Commit] = []
    reported: Commit | None = None
    for commit in history:
        if commit.hash == cursor.published:
            reported = commit
            break
        fresh.append(commit)
    if not fresh:
        return None, cursor
    fresh.reverse()
    moved = cursor.model_copy(update={"published": fresh[-1].hash})
    if probe is not None and reported is not None:
        own, others = _tables(reported, probe)
        told = [_tables(commit, probe) for commit in fresh]
        if all(mine != own and rest == others for mine, rest in told):
            return None, moved
    gap = cursor.published is not None and reported is None
    return PublicationNews(tuple(fresh), gap=gap), moved


def _tables(commit: Commit, table: str) -> tuple[dict[str, str], dict[str, str]]:
    """What a publication tells of that table, and of the others."""
    mine = f"{_TABLE_PROPERTIES}{table}."
    told = {name: value for name, value in commit.properties.items() if name.startswith(_TABLE_PROPERTIES)}
    own = {name: value for name, value in told.items() if name.startswith(mine)}
    return own, {name: value for name, value in told.items() if name not in own}


# --- topics and views -----------------------------------------------------------------------------

Offsets = Mapping[int, int]
"""Partition to offset."""


class TopicMark(BaseModel):
    """End offsets of a topic that have been reported, and the lag told with them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ends: dict[int, int] = {}
    lag: int = 0


class ViewMark(BaseModel):
    """Offsets of a view's topic that are applied in the view and have been reported."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    applied: dict[int, int] = {}


class TopicCursor(_Cursor):
    """What has been reported of each topic and of each view."""

    topics: dict[str, TopicMark] = {}
    views: dict[str, ViewMark] = {}
    turn: str | None = None
    """Topic or view (``topics/NAME``, ``views/NAME``) that the next tick begins with, where this one could
    not take all.
    """


@dataclass(frozen=True)
class TopicStatus:
    """A topic as seen now: retained offsets per partition, lag in messages per consumer group."""

    table: str
    begins: Offsets
    ends: Offsets
    lags: Mapping[str, int] = field(default_factory=dict)

    @property
    def lag(self) -> int:
        """The lag of the group that is furthest behind."""
        return max(self.lags.values(), default=0)


@dataclass(frozen=True)
class TopicNews:
    """Messages ``from`` (included) to ``to`` (excluded) per partition; no message at all when only the lag
    changed.
    """

    status: TopicStatus
    ranges: Mapping[int, tuple[int, int]]
    restarted: bool = False
    """The topic was deleted and created again since the cursor; offsets count from its beginning once more.
    """

    @property
    def table(self) -> str:
        """Name of the source table whose changes the topic carries."""
        return self.status.table

    @property
    def mark(self) -> TopicCursor:
        """What the news moves."""
        mark = TopicMark(ends=dict(self.status.ends), lag=self.status.lag)
        return TopicCursor(topics={self.table: mark})

    @property
    def messages(self) -> int:
        """Number of messages covered."""
        return sum(to - start for start, to in self.ranges.values())


def topic_news(cursor: TopicCursor, statuses: Sequence[TopicStatus]) -> tuple[list[TopicNews], TopicCursor]:
    """Return what is new in the topics, and the cursor to store once it has been reported.

    A topic without new messages whose consumers have caught up since it was last reported is news too
    (without messages), for otherwise the last figure told of a quiet topic would be a lag that is long gone.
    """
    marks = dict(cursor.topics)
    news: list[TopicNews] = []
    for status in statuses:
        mark = marks.get(status.table, TopicMark())
        ranges, restarted = _ranges(mark.ends, status.begins, status.ends)
        caught_up = mark.lag > 0 and status.lag == 0
        if not ranges and not caught_up and not restarted:
            continue
        item = TopicNews(status, ranges, restarted)
        news.append(item)
        marks |= item.mark.topics
    return news, cursor.model_copy(update={"topics": marks})


@dataclass(frozen=True)
class ViewStatus:
    """A serving view as seen now."""

    view: str
    begins: Offsets
    applied: Offsets
    """The serving group's committed offsets on the view's topic: everything before them is in the view."""
    lag: int = 0
    documents: int | None = None
    """Documents (or rows) in the view, where the engine can say so cheaply."""


@dataclass(frozen=True)
class ViewNews:
    """Messages applied to a view, ``from`` (included) to ``to`` (excluded) per partition of its topic."""

    status: ViewStatus
    ranges: Mapping[int, tuple[int, int]]
    restarted: bool = False

    @property
    def view(self) -> str:
        """Name of the view."""
        return self.status.view

    @property
    def mark(self) -> TopicCursor:
        """What the news moves."""
        return TopicCursor(views={self.view: ViewMark(applied=dict(self.status.applied))})

    @property
    def messages(self) -> int:
        """Number of messages covered."""
        return sum(to - start for start, to in self.ranges.values())


def view_news(cursor: TopicCursor, statuses: Sequence[ViewStatus]) -> tuple[list[ViewNews], TopicCursor]:
    """Return what was applied to the views, and the cursor to store once it has been reported."""
    marks = dict(cursor.views)
    news: list[ViewNews] = []
    for status in statuses:
        mark = marks.get(status.view, ViewMark())
        ranges, restarted = _ranges(mark.applied, status.begins, status.applied)
        if not ranges and not restarted:
            continue
        item = ViewNews(status, ranges, restarted)
        news.append(item)
        marks |= item.mark.views
    return news, cursor.model_copy(update={"views": marks})


def take(
    cursor: TopicCursor, topics: Sequence[TopicNews], views: Sequence[ViewNews], *, most: int
) -> tuple[list[TopicNews | ViewNews], TopicCursor]:
    """Return at most ``most`` pieces of the news, and ``cursor`` moved past those only.

    What is left over comes first in the next tick: with news of everything in every tick, each topic and each
    view has its turn.
    """
    news: dict[str, TopicNews | ViewNews] = {f"topics/{item.table}": item for item in topics}
    news |= {f"views/{item.view}": item for item in views}
    # Sorted, so that a turn means the same in a tick that has other news.
    names = sorted(news)
    later = next((name for name in names if cursor.turn is not None and name >= cursor.turn), None)
    names = from_turn(names, later)
    taken = [news[name] for name in names[:most]]
    cursor = bring_forward(cursor, (item.mark.as_mark() for item in taken))
    return taken, cursor.model_copy(update={"turn": names[most] if len(names) > most else None})


def _ranges(seen: Offsets, begins: Offsets, ends: Offsets) -> tuple[dict[int, tuple[int, int]], bool]:
    """Return the non-empty ranges per partition since ``seen``, and whether offsets went back."""
    restarted = any(ends.get(partition, 0) < offset for partition, offset in seen.items())
    known: Offsets = {} if restarted else seen
    ranges: dict[int, tuple[int, int]] = {}
    for partition, end in ends.items():
        start = known.get(partition, begins.get(partition, 0))
        if end > start:
            ranges[partition] = (start, end)
    return ranges, restarted
