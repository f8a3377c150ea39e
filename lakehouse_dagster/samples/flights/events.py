"""What the operations system does to table ``flights``: from a day's flights to ordered changes, purely.

A flight is inserted some hours before its departure; part of the late ones get an estimate that moves
``departs_at``; the departure and the landing are updates; a cancelled flight is deleted around the time it
was to leave; a flight that was diverted and never reached its destination departs and never lands.

Everything not in the data (when a flight is entered, who gets an estimate ...) is drawn from a hash of seed
and flight, so the same seed gives the same changes on every machine and in any order of evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from hashlib import blake2b
from typing import Any

from lakehouse_dagster.samples.flights.data import Flight

MAX_BATCH = 20
"""Largest number of changes in one transaction."""

_LEAD_HOURS = (3.0, 12.0)
_ESTIMATE_SHARE = 0.4
_ESTIMATE_FROM_MINUTES = 15
_ESTIMATE_LEAD_MINUTES = (30.0, 90.0)
_CANCEL_MINUTES = (-20.0, 120.0)


class Kind(StrEnum):
    """What happened to a flight."""

    SCHEDULE = "schedule"
    ESTIMATE = "estimate"
    DEPART = "depart"
    LAND = "land"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Operation:
    """One change of one row of table ``flights``.

    `at` is the simulated time in UTC, `day` and `index` are the place in the stream of the flight's day.
    `values` are the columns that change: the whole row for SCHEDULE (an INSERT), none for CANCEL (a DELETE).
    """

    at: datetime
    day: date
    index: int
    kind: Kind
    flight_id: int
    values: Mapping[str, Any]


def operations(flights: Iterable[Flight], seed: int) -> list[Operation]:
    """All changes of one day's flights in the order they happen (ties: by flight)."""
    changes = [change for flight in flights for change in _life(flight, seed)]
    changes.sort(key=lambda change: (change[0], change[2].id))
    return [
        Operation(at, flight.flight_date, index, kind, flight.id, values)
        for index, (at, kind, flight, values) in enumerate(changes)
    ]


def stream(
    days: Iterable[date],
    day_operations: Callable[[date], list[Operation]],
    applied: Mapping[date, int],
) -> Iterator[Operation]:
    """The changes of several days in the order they happen, without those already applied.

    `applied` says how many operations of a day are done. The days overlap: flights of the next day are
    entered before the last ones of this day have landed. Only overlapping days are held in memory.
    """
    waiting: list[Operation] = []
    for day in sorted(days):
        start = earliest(day)
        ready = [operation for operation in waiting if operation.at < start]
        yield from ready
        waiting = waiting[len(ready) :] + day_operations(day)[applied.get(day, 0) :]
        waiting.sort(key=lambda operation: (operation.at, operation.flight_id))
    yield from waiting


def earliest(day: date) -> datetime:
    """A time in UTC before which nothing of `day` happens: New York is four or five hours behind UTC."""
    return datetime(day.year, day.month, day.day) + timedelta(hours=4 - _LEAD_HOURS[1])


def batch_size(seed: int, first: Operation) -> int:
    """How many operations (1 to 20) the transaction takes that begins with `first`."""
    return 1 + int(MAX_BATCH * _draw(seed, "batch", first.flight_id, first.kind))


def apply(rows: dict[int, dict[str, Any]], operation: Operation) -> None:
    """Do to a table in memory (rows by id) what the replay does in MySQL. KeyError when a row is missing."""
    match operation.kind:
        case Kind.SCHEDULE:
            if operation.flight_id in rows:
                raise KeyError(f"flight {operation.flight_id} is there already")
            rows[operation.flight_id] = dict(operation.values)
        case Kind.CANCEL:
            del rows[operation.flight_id]
        case _:
            rows[operation.flight_id].update(operation.values)


_Change = tuple[datetime, Kind, Flight, Mapping[str, Any]]


def _life(flight: Flight, seed: int) -> Iterator[_Change]:
    def between(purpose: str, low: float, high: float) -> float:
        return low + (high - low) * _draw(seed, purpose, flight.id)

    leaves = flight.scheduled_departure
    yield leaves - _seconds(3600 * between("lead", *_LEAD_HOURS)), Kind.SCHEDULE, flight, _schedule(flight)

    late = flight.cancelled or (flight.dep_delay or 0) >= _ESTIMATE_FROM_MINUTES
    if late and _draw(seed, "estimate", flight.id) < _ESTIMATE_SHARE:
        # What the airline expects is less than what comes; of a cancelled flight nobody knows.
        worst = 180 if flight.dep_delay is None else flight.dep_delay
        minutes = max(5, 5 * int(worst * between("minutes", 0.4, 1.0) / 5))
        at = leaves - _seconds(60 * between("notice", *_ESTIMATE_LEAD_MINUTES))
        yield at, Kind.ESTIMATE, flight, {"departs_at": leaves + timedelta(minutes=minutes)}

    if flight.departed_at is None:
        yield leaves + _seconds(60 * between("cancel", *_CANCEL_MINUTES)), Kind.CANCEL, flight, {}
        return
    yield (
        flight.departed_at,
        Kind.DEPART,
        flight,
        {
            "departs_at": flight.departed_at,
            "departed_at": flight.departed_at,
            "dep_delay": flight.dep_delay,
            "status": "departed",
        },
    )
    if flight.arrived_at is not None:
        yield (
            flight.arrived_at,
            Kind.LAND,
            flight,
            {
                "arrived_at": flight.arrived_at,
                "arr_delay": flight.arr_delay,
                "air_time": flight.air_time,
                "status": "landed",
            },
        )


def _schedule(flight: Flight) -> dict[str, Any]:
    """The row as it is entered: the plan is known, the outcome is not."""
    return {
        **flight._asdict(),
        "departs_at": flight.scheduled_departure,
        "departed_at": None,
        "arrived_at": None,
        "dep_delay": None,
        "arr_delay": None,
        "air_time": None,
        "status": "scheduled",
    }


def _draw(seed: int, purpose: str, *key: object) -> float:
    """A number from 0 up to 1 that depends on nothing but its arguments."""
    digest = blake2b(repr((seed, purpose, *map(str, key))).encode(), digest_size=6).digest()
    return int.from_bytes(digest) / 2**48


def _seconds(seconds: float) -> timedelta:
    return timedelta(seconds=round(seconds))
