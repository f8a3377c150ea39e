"""The real data files, all rows of them."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from lakehouse_dagster.samples.flights.data import (
    FIRST_DAY,
    LAST_DAY,
    NEW_YORK,
    DataError,
    Flight,
    FlightData,
    local_to_utc,
    next_time,
)

YEAR = [FIRST_DAY + timedelta(days=number) for number in range(365)]
#: Every week day and month, and the nights in which the clocks change; all 365 would take ten times as long.
SOME_DAYS = sorted(
    {*YEAR[::10], LAST_DAY, *(date(2013, 3, day) for day in (9, 10)), date(2013, 11, 2), date(2013, 11, 3)}
)


@pytest.fixture(scope="module")
def some(data: FlightData) -> list[tuple[Flight, dict[str, str]]]:
    """Flights with the lines they were made from."""
    return [
        pair
        for day in SOME_DAYS
        for pair in zip(data.flights(day), (row for _, row in data.raw_flights(day)), strict=True)
    ]


def shows(moment: datetime, zone: ZoneInfo) -> str:
    """What local clocks show at `moment`, written as the data writes it (midnight as 2400)."""
    local = moment.replace(tzinfo=UTC).astimezone(zone)
    return str(local.hour * 100 + local.minute or 2400)


def test_reference_tables_have_all_rows_and_unique_keys(data: FlightData) -> None:
    assert len(data.airlines()) == 16
    assert len(data.airports()) == 1458
    assert len(data.planes()) == 3322
    assert len(data.weather()) == 26115
    assert len({row.carrier for row in data.airlines()}) == 16
    assert len({row.faa for row in data.airports()}) == 1458
    assert len({row.tailnum for row in data.planes()}) == 3322
    assert len({(row.origin, row.observed_at) for row in data.weather()}) == 26115


def test_reference_values_are_typed_and_exact(data: FlightData) -> None:
    airports = {row.faa: row for row in data.airports()}
    assert airports["JFK"].name == "John F Kennedy Intl"
    assert airports["JFK"].tzone == "America/New_York"
    assert [faa for faa, row in airports.items() if row.tzone is None] == ["EEN", "LRO", "YAK"]
    planes = {row.tailnum: row for row in data.planes()}
    assert planes["N10156"].year == 2004
    assert planes["N10156"].speed is None
    assert sum(row.year is None for row in planes.values()) == 70
    weather = {(row.origin, row.observed_at): row for row in data.weather()}
    first = weather["EWR", datetime(2013, 1, 1, 6)]
    assert first.temp == Decimal("39.02")
    assert first.pressure == Decimal("1012.0")
    assert first.wind_speed == 10.357019999999999
    assert first.wind_gust is None
    assert sum(row.pressure is None for row in weather.values()) == 2729
    assert sum(row.pressure == 1000 for row in weather.values()) > 0  # written 1e3 in the file


def test_the_two_hours_at_one_o_clock_when_summer_time_ends_are_two_observations(data: FlightData) -> None:
    around = [
        row for row in data.weather() if row.origin == "EWR" and row.observed_at.date() == date(2013, 11, 3)
    ]
    by_hour = {row.observed_at.hour: row.temp for row in around}
    assert by_hour[5] == Decimal("51.98")  # 01:00 EDT
    assert by_hour[6] == Decimal("50.00")  # 01:00 EST
    assert by_hour[7] == Decimal("51.08")  # 02:00 EST


def test_every_flight_of_the_year_once(data: FlightData) -> None:
    numbers, keys, away, cancelled, airborne, late = [], set(), Counter(), 0, 0, 0  # type: ignore[var-annotated]
    for day in YEAR:
        for number, row in data.raw_flights(day):
            assert (row["year"], row["month"], row["day"]) == (str(day.year), str(day.month), str(day.day))
            numbers.append(number)
            keys.add((day, row["carrier"], row["flight"], row["origin"], row["sched_dep_time"]))
            away[row["dest"]] += 1
            cancelled += row["dep_delay"] == "NA"
            airborne += row["dep_delay"] != "NA" and row["arr_time"] == "NA"
            late += row["arr_time"] != "NA" and row["arr_delay"] == "NA"
    assert len(numbers) == 336_776
    assert sorted(numbers) == list(range(1, 336_777))
    assert len(keys) == 336_776
    assert (cancelled, airborne, late) == (8255, 458, 717)
    listed = {airport.faa for airport in data.airports()}
    assert {faa: n for faa, n in away.items() if faa not in listed} == {
        "SJU": 5819,
        "BQN": 896,
        "STT": 522,
        "PSE": 365,
    }
    assert set(away) <= set(data.zones)


def test_departures_agree_with_the_local_times_of_the_data(some: list[tuple[Flight, dict[str, str]]]) -> None:
    for flight, row in some:
        # The data's own hour of the scheduled departure, given in UTC.
        assert f"{flight.scheduled_departure:%Y-%m-%dT%H:00:00Z}" == row["time_hour"]
        assert shows(flight.scheduled_departure, NEW_YORK) == row["sched_dep_time"]
        if flight.departed_at is not None:
            assert shows(flight.departed_at, NEW_YORK) == row["dep_time"]


def test_arrivals_agree_with_the_local_times_of_the_data(
    data: FlightData, some: list[tuple[Flight, dict[str, str]]]
) -> None:
    other = []
    for flight, row in some:
        zone = data.zones[flight.dest]
        assert shows(flight.scheduled_arrival, zone) == row["sched_arr_time"]
        if flight.arrived_at is not None and shows(flight.arrived_at, zone) != row["arr_time"]:
            other.append((flight, row))
    # The only such flight of the year: it landed in Florida just as the clocks went from 02:00 to 03:00, and
    # the data says 02:03, a time that did not exist that night.
    assert [(str(f.flight_date), f.dest, row["arr_time"], f.arrived_at) for f, row in other] == [
        ("2013-03-09", "PBI", "203", datetime(2013, 3, 10, 7, 3))
    ]


def test_no_flight_lands_before_it_left_or_flew_longer_than_it_was_away(
    some: list[tuple[Flight, dict[str, str]]],
) -> None:
    for flight, _ in some:
        planned = flight.scheduled_arrival - flight.scheduled_departure
        assert timedelta(minutes=45) <= planned <= timedelta(hours=12)
        if flight.departed_at is not None and flight.arrived_at is not None:
            away = flight.arrived_at - flight.departed_at
            assert away > timedelta(0)
            if flight.air_time is not None:
                taxi = away - timedelta(minutes=flight.air_time)
                assert timedelta(0) < taxi < timedelta(hours=4)


def test_times_worked_out_by_hand(data: FlightData) -> None:
    january = {flight.id: flight for flight in data.flights(date(2013, 1, 1))}
    # UA 1545 EWR-IAH: 05:15 EST, two minutes late; due 08:19 CST, eleven minutes late.
    united = january[1]
    assert (united.carrier, united.flight, united.dest) == ("UA", 1545, "IAH")
    assert united.scheduled_departure == datetime(2013, 1, 1, 10, 15)
    assert united.departed_at == datetime(2013, 1, 1, 10, 17)
    assert united.scheduled_arrival == datetime(2013, 1, 1, 14, 19)
    assert united.arrived_at == datetime(2013, 1, 1, 14, 30)
    # B6 725 JFK-BQN, which is not among the airports: 05:45 EST, due 10:22 AST (one hour ahead of EST).
    jetblue = next(f for f in january.values() if f.dest == "BQN" and f.scheduled_departure.hour == 10)
    assert (jetblue.carrier, jetblue.flight) == ("B6", 725)
    assert jetblue.scheduled_departure == datetime(2013, 1, 1, 10, 45)
    assert jetblue.scheduled_arrival == datetime(2013, 1, 1, 14, 22)
    assert jetblue.arrived_at == datetime(2013, 1, 1, 14, 4)
    # Overnight and in summer: B6 707 JFK-SJU leaves 23:59 EDT and is due next morning, AST being EDT.
    summer = [
        f for f in data.flights(date(2013, 7, 1)) if f.dest == "SJU" and f.scheduled_departure.minute == 59
    ]
    night = next(f for f in summer if f.scheduled_departure == datetime(2013, 7, 2, 3, 59))
    assert night.flight_date == date(2013, 7, 1)
    assert datetime(2013, 7, 2, 6) < night.scheduled_arrival < datetime(2013, 7, 2, 9)
    # To Honolulu, ten hours behind UTC: leaves 09:00 EST, due 15:40 HST.
    hawaii = next(f for f in data.flights(date(2013, 2, 26)) if f.dest == "HNL" and f.origin == "JFK")
    assert hawaii.scheduled_departure == datetime(2013, 2, 26, 14)
    assert hawaii.scheduled_arrival == datetime(2013, 2, 27, 1, 40)


def test_local_times() -> None:
    assert local_to_utc(date(2013, 1, 1), "2400", NEW_YORK) == datetime(2013, 1, 2, 5)
    assert local_to_utc(date(2013, 7, 1), "1", NEW_YORK) == datetime(2013, 7, 1, 4, 1)
    assert next_time(datetime(2013, 1, 1, 4, 30), "2400", NEW_YORK) == datetime(2013, 1, 1, 5)
    assert next_time(datetime(2013, 1, 1, 5, 0), "2400", NEW_YORK) == datetime(2013, 1, 2, 5)
    # The night with 25 hours.
    assert next_time(datetime(2013, 11, 3, 3), "200", NEW_YORK) == datetime(2013, 11, 3, 7)


def test_a_day_without_flights_is_refused(data: FlightData) -> None:
    with pytest.raises(DataError, match=r"2014-01-01.*2013-01-01 to 2013-12-31"):
        data.flights(LAST_DAY + timedelta(days=1))


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"airlines\.csv"):
        FlightData(tmp_path).airlines()
    with pytest.raises(DataError, match=r"flights\.csv\.zip"):
        FlightData(tmp_path).flights(FIRST_DAY)
