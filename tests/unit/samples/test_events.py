"""The changes of some real days, applied in memory."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from functools import cache
from itertools import pairwise
from typing import Any

import pytest

from lakehouse_dagster.samples.flights.data import FIRST_DAY, Flight, FlightData
from lakehouse_dagster.samples.flights.events import (
    MAX_BATCH,
    Kind,
    Operation,
    apply,
    batch_size,
    earliest,
    operations,
    stream,
)

SEED = 2013
DAYS = [FIRST_DAY + timedelta(days=number) for number in range(3)]
#: Also the nights in which the clocks change, and the day of the snow storm with most cancellations.
SOME_DAYS = [
    *DAYS,
    date(2013, 2, 8),
    date(2013, 3, 9),
    date(2013, 3, 10),
    date(2013, 11, 3),
    date(2013, 12, 31),
]


@pytest.fixture(scope="module")
def of_day(data: FlightData) -> Any:
    return cache(lambda day: operations(data.flights(day), SEED))


def final_row(flight: Flight) -> dict[str, Any]:
    status = "landed" if flight.arrived_at is not None else "departed"
    return {**flight._asdict(), "departs_at": flight.departed_at, "status": status}


def by_flight(changes: list[Operation]) -> dict[int, list[Operation]]:
    lives: dict[int, list[Operation]] = {}
    for change in changes:
        lives.setdefault(change.flight_id, []).append(change)
    return lives


@pytest.mark.parametrize("day", SOME_DAYS, ids=str)
def test_a_day_ends_as_the_data_says(data: FlightData, of_day: Any, day: date) -> None:
    rows: dict[int, dict[str, Any]] = {}
    for change in of_day(day):
        apply(rows, change)
    flights = data.flights(day)
    assert rows == {flight.id: final_row(flight) for flight in flights if not flight.cancelled}
    assert len(rows) == len(flights) - sum(flight.cancelled for flight in flights)


def test_three_days_together_end_as_the_data_says(data: FlightData, of_day: Any) -> None:
    rows: dict[int, dict[str, Any]] = {}
    for change in stream(DAYS, of_day, {}):
        apply(rows, change)
    flights = [flight for day in DAYS for flight in data.flights(day)]
    assert len(flights) == 842 + 943 + 914
    assert rows == {flight.id: final_row(flight) for flight in flights if not flight.cancelled}
    assert len(rows) == 2699 - 22


@pytest.mark.parametrize("day", SOME_DAYS, ids=str)
def test_the_life_of_every_flight_is_in_order(data: FlightData, of_day: Any, day: date) -> None:
    changes = of_day(day)
    flights = {flight.id: flight for flight in data.flights(day)}
    assert [change.index for change in changes] == list(range(len(changes)))
    assert all(change.day == day for change in changes)
    assert all(before.at <= after.at for before, after in pairwise(changes))
    assert changes[0].at >= earliest(day)
    lives = by_flight(changes)
    assert lives.keys() == flights.keys()
    for identity, life in lives.items():
        flight = flights[identity]
        assert all(before.at < after.at for before, after in pairwise(life))
        kinds = [change.kind for change in life if change.kind is not Kind.ESTIMATE]
        if flight.cancelled:
            assert kinds == [Kind.SCHEDULE, Kind.CANCEL]
        elif flight.arrived_at is None:
            assert kinds == [Kind.SCHEDULE, Kind.DEPART]
        else:
            assert kinds == [Kind.SCHEDULE, Kind.DEPART, Kind.LAND]
        lead = flight.scheduled_departure - life[0].at
        assert timedelta(hours=3) <= lead <= timedelta(hours=12)


@pytest.mark.parametrize("day", SOME_DAYS, ids=str)
def test_every_change_changes_its_row(of_day: Any, day: date) -> None:
    # MySQL writes no event for an update that changes nothing, and reports no affected row.
    rows: dict[int, dict[str, Any]] = {}
    for change in of_day(day):
        before = dict(rows.get(change.flight_id, {}))
        apply(rows, change)
        assert rows.get(change.flight_id, {}) != before


def test_all_kinds_of_change_happen_and_departures_move(of_day: Any) -> None:
    changes = [change for day in DAYS for change in of_day(day)]
    counts = Counter(change.kind for change in changes)
    assert counts[Kind.SCHEDULE] == 2699
    assert counts[Kind.CANCEL] == 22
    assert counts[Kind.DEPART] == 2677
    assert counts[Kind.LAND] == 2677 - 3  # three were diverted and never came
    assert 100 < counts[Kind.ESTIMATE] < 500
    moved = 0
    for life in by_flight(changes).values():
        planned = [change.values["departs_at"] for change in life if "departs_at" in change.values]
        moved += any(before != after for before, after in pairwise(planned))
        if Kind.ESTIMATE in [change.kind for change in life]:
            assert planned[1] > planned[0]
    assert moved > 2000


def test_the_seed_decides_and_nothing_else(data: FlightData, of_day: Any) -> None:
    day = DAYS[0]
    again = operations(FlightData().flights(day), SEED)
    assert again == of_day(day)
    # The order in which the flights are given does not matter.
    assert operations(reversed(data.flights(day)), SEED) == again
    other = operations(data.flights(day), SEED + 1)
    assert other != again
    # A fixed point: whoever changes the generator breaks replays that are under way, and should know it.
    first = again[0]
    assert (len(again), first.kind, first.flight_id, str(first.at)) == (
        2582,
        "schedule",
        17,
        "2012-12-31 23:00:57",
    )


def test_the_stream_can_be_resumed_after_any_change(of_day: Any) -> None:
    whole = list(stream(DAYS, of_day, {}))
    assert [(change.at, change.flight_id) for change in whole] == sorted(
        (change.at, change.flight_id) for change in whole
    )
    for cut in [*range(0, len(whole), 97), *range(1, 25), len(whole)]:
        applied = Counter(change.day for change in whole[:cut])
        # What is applied of each day is the beginning of that day, so a number says it all.
        assert all(applied[change.day] > change.index for change in whole[:cut])
        assert list(stream(DAYS, of_day, applied)) == whole[cut:]


def test_days_overlap(of_day: Any) -> None:
    order = [change.day for change in stream(DAYS, of_day, {})]
    assert order.index(DAYS[1]) < len(order) - 1 - order[::-1].index(DAYS[0])


def test_transactions_are_small_and_of_all_sizes(of_day: Any) -> None:
    sizes = Counter(batch_size(SEED, change) for change in of_day(DAYS[0]))
    assert set(sizes) == set(range(1, MAX_BATCH + 1))
    assert sizes == Counter(batch_size(SEED, change) for change in of_day(DAYS[0]))
