"""What the platform remembers of its streams, kept in schema ``lakehouse`` of Dagster's database.

It is there whenever Dagster can act and outlives every process; it does not depend on Dagster's own tables,
so the command line reads and writes the same memory without Dagster running.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from lakehouse_dagster.streams import store_sql as sql
from lakehouse_dagster.streams.decision import Desired
from lakehouse_dagster.streams.lock import PREFIX, lock_name
from lakehouse_dagster.streams.memory import Declared, Event, EventKind, Gap, Memory, Starts

if TYPE_CHECKING:
    from lakehouse_dagster.engines.postgres import PostgresClient, Session

KEPT = timedelta(days=90)
"""Events and bad checkpoints are forgotten after this time."""
FORGET_EVERY = 500
"""So many events apart the old ones are looked for: seldom enough to cost nothing."""


class StreamStore:
    """Declared states, histories, bad checkpoints and gaps of the streams of all pipelines.

    The tables are made at first use. Times are UTC and by the database's clock. Every method raises
    ``EngineUnavailable`` or ``EngineError``.
    """

    def __init__(self, postgres: PostgresClient) -> None:
        self._postgres = postgres

    def memory(
        self, pipeline: str, streams: Sequence[str], *, now: datetime | None = None
    ) -> dict[str, Memory]:
        """Return what is remembered of each of ``streams``, all as of one moment, with four queries.

        Ages are as of ``now``, by default the database's clock.
        """
        asked = {"pipeline": pipeline, "streams": list(streams)}
        with self._ready().transaction(snapshot=True) as session:
            found = session.query(sql.STREAMS, asked)
            attempts = session.query(sql.ATTEMPTS_OF, asked)
            newest = [row["last_id"] for row in found if row["last_id"] is not None]
            last = session.query(f"{sql.EVENTS} WHERE id = ANY(%s)", (newest,))
            gaps = [_gap(row) for row in session.query(sql.OPEN_GAPS, asked)]
        decisions = {row["stream"]: Event(**row) for row in last}
        return {
            row["name"]: Memory(
                declared=_declared(row),
                last=decisions.get(row["name"]),
                down_since=row["down_since"],
                starts={
                    attempt["spec_hash"]: _starts(attempt, now or row["now"])
                    for attempt in attempts
                    if attempt["stream"] == row["name"]
                },
                bad_checkpoints=frozenset(row["bad_checkpoints"]),
                state_floor=row["state_floor"],
                gaps=tuple(gap for gap in gaps if gap.stream == row["name"]),
                seen_before=row["seen_before"],
            )
            for row in found
        }

    def declare(self, pipeline: str, stream: str, desired: Desired, *, by: str, reason: str = "") -> None:
        """Store what ``by`` wants of a stream; attempts to start it are counted from nought again."""
        with self._writing() as session:
            session.execute(sql.DECLARE, (pipeline, stream, desired.value, by, reason))
            said = Event(pipeline, stream, EventKind.DECLARED, verb=desired.value, reason=reason, actor=by)
            _insert(session, said)

    def record(self, event: Event) -> int:
        """Add ``event`` to the history and return its id.

        Ids grow in the order in which events become visible: whoever has read up to one has missed none
        below it.
        """
        with self._writing() as session:
            return _insert(session, event)

    def history(
        self,
        pipeline: str | None = None,
        stream: str | None = None,
        *,
        after: int = 0,
        limit: int = 50,
        newest_first: bool = True,
    ) -> list[Event]:
        """Return at most ``limit`` events with an id greater than ``after``, of all pipelines and streams
        unless they are named.

        With ``newest_first`` the newest ones, else those that follow ``after``, oldest first.
        """
        wanted = {"pipeline": pipeline, "stream": stream}
        conditions = ["id > %(after)s"]
        conditions += [f"{name} = %({name})s" for name, value in wanted.items() if value is not None]
        rows = self._ready().query(
            f"{sql.EVENTS} WHERE {' AND '.join(conditions)}"
            f" ORDER BY id {'DESC' if newest_first else 'ASC'} LIMIT %(limit)s",
            {**wanted, "after": after, "limit": limit},
        )
        return [Event(**row) for row in rows]

    def mark_bad(self, pipeline: str, stream: str, checkpoint: str, why: str) -> None:
        """Remember that the stream could not be started from ``checkpoint``; the first ``why`` stays."""
        event = Event(pipeline, stream, EventKind.BAD_CHECKPOINT, reason=why, checkpoint=checkpoint, ok=False)
        event = _storable(event)
        with self._writing() as session:
            if session.execute(sql.INSERT_BAD_CHECKPOINT, (pipeline, stream, checkpoint, event.reason)):
                _insert(session, event)

    def set_state_floor(self, pipeline: str, stream: str, floor: datetime) -> None:
        """Let no checkpoint written before ``floor`` be used any more, as after a rewind.

        A floor is never lowered. Raises ``ValueError`` for a time without a zone.
        """
        if floor.tzinfo is None:
            raise ValueError("the time has no zone")
        self._ready().execute(sql.RAISE_FLOOR, (pipeline, stream, floor))

    def open_gap(self, pipeline: str, stream: str, tables: Sequence[str], description: str) -> Gap:
        """Remember that changes of ``tables`` are lost to the stream.

        An open gap of the same description is taken for the same one; further tables are added to it.
        """
        event = _storable(Event(pipeline, stream, EventKind.GAP, reason=description, ok=False))
        with self._writing() as session:
            open_gaps = session.query(sql.OPEN_GAPS, {"pipeline": pipeline, "streams": [stream]})
            same = next((_gap(row) for row in open_gaps if row["description"] == event.reason), None)
            names = sorted({*tables, *(same.tables if same else ())})
            if same is None:
                rows = session.query(sql.INSERT_GAP, (pipeline, stream, names, event.reason))
            elif names != list(same.tables):
                rows = session.query(sql.SET_GAP_TABLES, (names, same.id))
            else:
                return same
            _insert(session, event)
            return _gap(rows[0])

    def close_gaps(self, pipeline: str, stream: str, *, by: str, tables: Sequence[str] | None = None) -> int:
        """Remember that lost changes were made up for, of all tables or of ``tables`` only; returns how many
        gaps were closed.

        A gap of several tables stays open with those that were not named; one that names no table is closed
        only together with all.
        """
        closed = 0
        with self._writing() as session:
            for row in session.query(sql.OPEN_GAPS, {"pipeline": pipeline, "streams": [stream]}):
                gap = _gap(row)
                mended = [name for name in gap.tables if tables is None or name in tables]
                left = [name for name in gap.tables if name not in mended]
                if tables is not None and not mended:
                    continue
                if left:
                    session.execute(sql.SET_GAP_TABLES, (left, gap.id))
                else:
                    session.execute(sql.CLOSE_GAP, (by, gap.id))
                    closed += 1
                said = f"{', '.join(mended) or 'all tables'}: {gap.description}"
                _insert(session, Event(pipeline, stream, EventKind.REPAIRED, reason=said, actor=by))
        return closed

    def busy(self, pipeline: str, stream: str) -> bool:
        """Whether somebody, the caller included, holds the stream's lock (``lock.starter_lock``) now."""
        return self._postgres.is_locked(PREFIX + lock_name(pipeline, stream))

    def _ready(self) -> PostgresClient:
        self._postgres.migrate("streams", sql.STEPS)
        return self._postgres

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        """Open a transaction that may add to the history, one at a time over all processes.

        Ids are drawn before a transaction ends; written side by side, a greater one could be visible before
        a smaller. The lock is taken first, so that nobody waits for it holding rows that another needs.
        """
        with self._ready().transaction() as session:
            session.lock("history")
            yield session


def forget(session: Session, age: timedelta) -> int:
    """Delete events and bad checkpoints older than ``age``; returns how many events.

    What ``StreamStore.memory`` tells of a stream that was quiet all that time stays.
    """
    session.execute(sql.FORGET_CHECKPOINTS, (age,))
    return session.execute(sql.FORGET_EVENTS, (age,))


def _insert(session: Session, event: Event) -> int:
    event = _storable(event)
    values = {name: getattr(event, name) for name in sql.STORED}
    mark = event.mark
    rows = session.query(sql.INSERT_EVENT, {**values, "mark": mark.value if mark else None})
    number = int(rows[0]["id"])
    if number % FORGET_EVERY == 0:
        forget(session, KEPT)
    return number


def _storable(event: Event) -> Event:
    """Leave out NUL characters, the only ones that PostgreSQL's text cannot hold: an engine's trace may."""
    return replace(event, reason=event.reason.replace("\0", ""))


def _gap(row: Mapping[str, Any]) -> Gap:
    return Gap(**{**row, "tables": tuple(row["tables"])})


def _declared(row: Mapping[str, Any]) -> Declared:
    if row["desired"] is None:
        return Declared()
    return Declared(Desired(row["desired"]), row["declared_by"], row["declared_reason"], row["declared_at"])


def _starts(row: Mapping[str, Any], now: datetime) -> Starts:
    return Starts(row["recent"], max(0.0, (now - row["newest"]).total_seconds()))
