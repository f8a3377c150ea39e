"""Apply the changes of some days to MySQL, in small transactions and at a chosen pace.

Every transaction also counts its changes in table ``replay_progress``. So the replay can be killed at any
moment and started again: what was committed is not repeated, what was not is gone, and the final table is the
same.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import Cursor
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random_exponential

from lakehouse_dagster.engines.mysql import quote
from lakehouse_dagster.samples.flights.data import FIRST_DAY, LAST_DAY, FlightData
from lakehouse_dagster.samples.flights.events import Kind, Operation, batch_size, operations, stream
from lakehouse_dagster.samples.flights.tables import (
    FLIGHTS,
    PROGRESS,
    ReplayError,
    day_stream,
    read_progress,
)

TICK_SECONDS = 0.25
"""Changes due within this time are applied together when the replay follows a clock."""

_DUPLICATE_KEY = 1062
_TRY_AGAIN = frozenset({1205, 1213})  # lock wait timeout, deadlock


@dataclass(frozen=True)
class Plan:
    """What to replay and how fast.

    `speed` is simulated seconds per real second and `rate` the largest number of changes per second; 0 means
    as fast as possible, for both. Raises ReplayError when a value cannot be.
    """

    first_day: date = FIRST_DAY
    days: int = 1
    seed: int = 2013
    speed: float = 0.0
    rate: float = 0.0

    def __post_init__(self) -> None:
        if not FIRST_DAY <= self.first_day <= LAST_DAY:
            raise ReplayError(f"--day {self.first_day}: the data goes from {FIRST_DAY} to {LAST_DAY}")
        left = (LAST_DAY - self.first_day).days + 1
        if not 1 <= self.days <= left:
            raise ReplayError(f"--days {self.days}: from {self.first_day} on it must be 1 to {left}")
        for option, value in (("--speed", self.speed), ("--rate", self.rate)):
            if not 0 <= value < float("inf"):
                raise ReplayError(f"{option} {value}: it must be 0 (as fast as possible) or more")

    @property
    def dates(self) -> list[date]:
        """The days to replay, in order."""
        return [self.first_day + timedelta(days=number) for number in range(self.days)]


@dataclass(frozen=True)
class Status:
    """How far a running replay is: simulated time (UTC), changes and transactions of this run, seconds."""

    clock: datetime
    changes: int
    transactions: int
    seconds: float

    @property
    def per_second(self) -> float:
        """Changes per second so far."""
        return self.changes / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True)
class Summary:
    """What a run did.

    `resumed` is the number of changes found done already, `unmatched` the number of updates and deletes
    that met no such flight, which means that somebody else changed the table.
    """

    changes: dict[Kind, int]
    transactions: int
    resumed: int
    unmatched: int
    seconds: float

    @property
    def total(self) -> int:
        """All changes of this run."""
        return sum(self.changes.values())

    @property
    def per_second(self) -> float:
        """Changes per second."""
        return self.total / self.seconds if self.seconds > 0 else 0.0


class Pacer:
    """Tells how long to wait before the next change. `now` gives seconds of a clock that never goes back."""

    def __init__(self, speed: float, rate: float, now: Callable[[], float] = time.monotonic) -> None:
        self._speed, self._rate, self._now = speed, rate, now
        self._started = now()
        self._origin: datetime | None = None

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._now() - self._started

    def until_due(self, at: datetime) -> float:
        """Seconds until the simulated clock shows `at`; 0 when it is past or when there is no clock."""
        if not self._speed:
            return 0.0
        if self._origin is None:
            self._origin = at
        return max(0.0, (at - self._origin).total_seconds() / self._speed - self.elapsed)

    def until_allowed(self, done: int) -> float:
        """Seconds until one more change may follow `done` others without exceeding the rate."""
        return max(0.0, done / self._rate - self.elapsed) if self._rate else 0.0

    def limited(self, size: int) -> int:
        """`size`, or less when that many changes at once would be more than half a second's worth."""
        return min(size, max(1, int(self._rate / 2))) if self._rate else size


def run_plan(
    connection: Connection[Any],
    data: FlightData,
    plan: Plan,
    report: Callable[[Status], None] = lambda status: None,
    *,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Summary:
    """Apply what is still to be done of the plan's days. `report` is told after each transaction.

    `connection` comes from `tables.session`, and the tables exist. Raises ReplayError when a day was begun
    with another seed, or when the table holds flights that the replay did not put there.
    """
    known = _known_days(connection, plan)
    totals: dict[date, int] = {}

    def day_operations(day: date) -> list[Operation]:
        found = operations(data.flights(day), plan.seed)
        totals[day] = len(found)
        if day in known and known[day].total != len(found):
            raise ReplayError(
                f"{day} was begun by another version of this replay ({known[day].total} changes, now "
                f"{len(found)}); start over with --reset"
            )
        return found

    pacer = Pacer(plan.speed, plan.rate, now)
    applied = {day: progress.applied for day, progress in known.items()}
    writer = _Writer(connection, plan.seed, dict(applied), totals)
    unfinished = [day for day in plan.dates if day not in known or not known[day].finished]
    batch: list[Operation] = []
    size = 0

    def commit() -> None:
        writer.commit(batch)
        report(Status(batch[-1].at, sum(writer.changes.values()), writer.transactions, pacer.elapsed))
        batch.clear()

    for operation in stream(unfinished, day_operations, applied):
        if batch and (len(batch) >= size or pacer.until_due(operation.at) > TICK_SECONDS):
            commit()
        if not batch:
            size = pacer.limited(batch_size(plan.seed, operation))
            wait = max(pacer.until_due(operation.at), pacer.until_allowed(sum(writer.changes.values())))
            if wait > 0:
                sleep(wait)
        batch.append(operation)
    if batch:
        commit()
    resumed = sum(applied.values())
    return Summary(dict(writer.changes), writer.transactions, resumed, writer.unmatched, pacer.elapsed)


@dataclass(frozen=True)
class _DayProgress:
    seed: int
    applied: int
    total: int

    @property
    def finished(self) -> bool:
        return self.applied == self.total


def _known_days(connection: Connection[Any], plan: Plan) -> dict[date, _DayProgress]:
    stored = read_progress(connection, f"{FLIGHTS}:")
    connection.rollback()  # ends the reading transaction
    known = {day: _DayProgress(*stored[day_stream(day)]) for day in plan.dates if day_stream(day) in stored}
    for day, progress in known.items():
        if not progress.finished and progress.seed != plan.seed:
            raise ReplayError(
                f"{day} was begun with --seed {progress.seed}; go on with it, or start over with --reset"
            )
    return known


def _try_again(error: BaseException) -> bool:
    return isinstance(error, pymysql.err.OperationalError) and error.args[0] in _TRY_AGAIN


class _Writer:
    """Applies batches, each in one transaction with its progress."""

    def __init__(
        self, connection: Connection[Any], seed: int, applied: dict[date, int], totals: dict[date, int]
    ) -> None:
        self._connection, self._seed, self._applied, self._totals = connection, seed, applied, totals
        self.changes: Counter[Kind] = Counter()
        self.transactions = 0
        self.unmatched = 0

    def commit(self, batch: Sequence[Operation]) -> None:
        """Apply a batch. After an error nothing of it is in the table."""
        unmatched = self._transaction(batch)
        # Counted only now, so a transaction that was tried twice counts once.
        self._applied.update({operation.day: operation.index + 1 for operation in batch})
        self.changes.update(operation.kind for operation in batch)
        self.transactions += 1
        self.unmatched += unmatched

    @retry(
        retry=retry_if_exception(_try_again),
        stop=stop_after_attempt(8),
        wait=wait_random_exponential(multiplier=0.05, max=2),
        reraise=True,
    )
    def _transaction(self, batch: Sequence[Operation]) -> int:
        try:
            with closing(self._connection.cursor()) as cursor:
                unmatched = sum(
                    _apply(cursor, kind, list(group))
                    for kind, group in groupby(batch, key=lambda operation: operation.kind)
                )
                self._count(cursor, batch)
            self._connection.commit()
        except pymysql.err.IntegrityError as error:
            self._connection.rollback()
            if error.args[0] == _DUPLICATE_KEY:
                raise ReplayError(
                    f"table {FLIGHTS} holds flights that this replay did not insert ({error.args[1]}); "
                    "start over with --reset"
                ) from error
            raise
        except pymysql.err.OperationalError as error:
            if _try_again(error):
                self._connection.rollback()
            raise
        return unmatched

    def _count(self, cursor: Cursor, batch: Sequence[Operation]) -> None:
        for day in sorted({operation.day for operation in batch}):
            reached = max(operation.index for operation in batch if operation.day == day) + 1
            before = self._applied.get(day, 0)
            if before == 0:
                matched = cursor.execute(
                    f"INSERT INTO {PROGRESS} (stream, seed, applied, total) VALUES (%s, %s, %s, %s)",  # noqa: S608
                    (day_stream(day), self._seed, reached, self._totals[day]),
                )
            else:
                matched = cursor.execute(
                    f"UPDATE {PROGRESS} SET applied = %s WHERE stream = %s AND applied = %s AND seed = %s",  # noqa: S608
                    (reached, day_stream(day), before, self._seed),
                )
            if matched != 1:
                self._connection.rollback()
                raise ReplayError(
                    f"the progress of {day} was changed by somebody else; start over with --reset"
                )


def _apply(cursor: Cursor, kind: Kind, group: Sequence[Operation]) -> int:
    """Apply operations of one kind, in their order; return how many met no row."""
    match kind:
        case Kind.SCHEDULE:
            columns = list(group[0].values)
            names = ", ".join(map(quote, columns))
            places = ", ".join(["%s"] * len(columns))
            # pymysql makes one statement of several rows out of this, as an application's bulk insert would.
            cursor.executemany(
                f"INSERT INTO {FLIGHTS} ({names}) VALUES ({places})",  # noqa: S608
                [tuple(operation.values.values()) for operation in group],
            )
            return 0
        case Kind.CANCEL:
            ids = [operation.flight_id for operation in group]
            places = ", ".join(["%s"] * len(ids))
            return len(ids) - cursor.execute(f"DELETE FROM {FLIGHTS} WHERE id IN ({places})", ids)  # noqa: S608
        case _:
            matched = 0
            for operation in group:
                changes = ", ".join(f"{quote(column)} = %s" for column in operation.values)
                matched += cursor.execute(
                    f"UPDATE {FLIGHTS} SET {changes} WHERE id = %s",  # noqa: S608
                    (*operation.values.values(), operation.flight_id),
                )
            return len(group) - matched
