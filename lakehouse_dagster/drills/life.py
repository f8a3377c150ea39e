"""What the drill's writer does to the source: the lives of invented flights, as a pure sequence of changes.

The keys are far from those of the sample's real data, and there are few of them: a flight that has landed
is deleted and its number is used again. So the tables stay small however long a drill lasts, and the same
keys are inserted, moved, updated, deleted and inserted again all the time, which is what finds a change that
is lost, doubled, or applied in the wrong order.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

FLIGHTS = "flights"
WEATHER = "weather"

FIRST_ID = 3_000_000_000
"""Ids from here on are the drill's own; the sample's go to 336,776."""
SLOTS = 400
"""How many flights are alive at most."""
LAST_ID = FIRST_ID + SLOTS - 1

FIRST_HOUR = datetime(2031, 1, 1)
"""Weather from here on is the drill's own; the sample's ends with 2013."""
HOURS = 60

MAX_TRANSACTION = 8
"""Largest number of changes in one transaction."""

_CARRIERS = ("AA", "B6", "DL", "EV", "UA", "US", "WN")
_ORIGINS = ("EWR", "JFK", "LGA")
_DESTINATIONS = ("ATL", "BOS", "LAX", "MIA", "ORD", "SEA")
_DAY = date(2031, 1, 1)

Key = int | tuple[str, datetime]


@dataclass(frozen=True)
class Change:
    """One change of one row.

    ``key`` are the primary key's columns; ``values`` all columns of an INSERT, the changed ones of an UPDATE,
    none of a DELETE.
    """

    table: str
    kind: str
    key: Mapping[str, Any]
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class World:
    """What the source holds of the drill's own rows, and how it goes on."""

    seed: int
    flights: dict[int, str] = field(default_factory=dict)
    """Status of each flight that is there."""
    weather: set[tuple[str, datetime]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)  # noqa: S311 - reproducible on purpose

    def know(self, flights: Mapping[int, str], weather: Iterable[tuple[str, datetime]]) -> None:
        """Take over what the source really holds, after a connection was lost."""
        self.flights = dict(flights)
        self.weather = set(weather)

    def transactions(self) -> Iterator[Sequence[Change]]:
        """Yield transactions without end; each row occurs at most once in a transaction."""
        while True:
            yield self.transaction()

    def transaction(self) -> Sequence[Change]:
        """Return the next transaction and take it for done."""
        size = self._chance.randint(1, MAX_TRANSACTION)
        ids = self._chance.sample(range(FIRST_ID, LAST_ID + 1), size)
        changes = [self._flight(number) for number in ids]
        if self._chance.random() < 0.3:
            changes.append(self._observation())
        return changes

    def _flight(self, number: int) -> Change:
        key = {"id": number}
        draw = self._chance.random()
        match self.flights.get(number):
            case None:
                self.flights[number] = "scheduled"
                return Change(FLIGHTS, "insert", key, {**key, **self._schedule()})
            case "scheduled" if draw < 0.1:
                del self.flights[number]
                return Change(FLIGHTS, "delete", key)
            case "scheduled" if draw < 0.5:
                # Moves the row in the view that is ordered by departure.
                moved = self._departure() + timedelta(minutes=self._chance.randint(15, 300))
                return Change(FLIGHTS, "update", key, {"departs_at": moved})
            case "scheduled":
                self.flights[number] = "departed"
                left, delay = self._departure(), self._chance.randint(-10, 240)
                return Change(
                    FLIGHTS,
                    "update",
                    key,
                    {"departs_at": left, "departed_at": left, "dep_delay": delay, "status": "departed"},
                )
            case "departed":
                self.flights[number] = "landed"
                values = {
                    "arrived_at": self._departure() + timedelta(hours=4),
                    "arr_delay": self._chance.randint(-30, 240),
                    "air_time": self._chance.randint(40, 400),
                    "status": "landed",
                }
                return Change(FLIGHTS, "update", key, values)
        del self.flights[number]
        return Change(FLIGHTS, "delete", key)

    def _departure(self) -> datetime:
        return datetime(_DAY.year, _DAY.month, _DAY.day) + timedelta(minutes=self._chance.randint(0, 1439))

    def _schedule(self) -> dict[str, Any]:
        leaves = self._departure()
        return {
            "carrier": self._chance.choice(_CARRIERS),
            "flight": self._chance.randint(1, 9999),
            "tailnum": f"N{self._chance.randint(100, 999)}DR" if self._chance.random() < 0.9 else None,
            "origin": self._chance.choice(_ORIGINS),
            "dest": self._chance.choice(_DESTINATIONS),
            "flight_date": _DAY,
            "scheduled_departure": leaves,
            "scheduled_arrival": leaves + timedelta(minutes=self._chance.randint(45, 400)),
            "departs_at": leaves,
            "distance": self._chance.randint(100, 2600),
            "status": "scheduled",
        }

    def _observation(self) -> Change:
        origin = self._chance.choice(_ORIGINS)
        at = FIRST_HOUR + timedelta(hours=self._chance.randrange(HOURS))
        key = {"origin": origin, "observed_at": at}
        measured = {
            "temp": f"{self._chance.randint(-500, 9999) / 100:.2f}",
            "wind_speed": self._chance.uniform(0, 60),
            "pressure": f"{self._chance.randint(9700, 10400) / 10:.1f}",
        }
        if (origin, at) not in self.weather:
            self.weather.add((origin, at))
            return Change(WEATHER, "insert", key, {**key, **measured})
        if self._chance.random() < 0.3:
            self.weather.discard((origin, at))
            return Change(WEATHER, "delete", key)
        return Change(WEATHER, "update", key, measured)


def statement(change: Change) -> tuple[str, tuple[Any, ...]]:
    """Return the change as SQL with its arguments. Names come from this module alone."""
    where = " AND ".join(f"{name} = %s" for name in change.key)
    match change.kind:
        case "insert":
            names = ", ".join(change.values)
            marks = ", ".join(["%s"] * len(change.values))
            return f"INSERT INTO {change.table} ({names}) VALUES ({marks})", tuple(change.values.values())  # noqa: S608
        case "update":
            sets = ", ".join(f"{name} = %s" for name in change.values)
            values = (*change.values.values(), *change.key.values())
            return f"UPDATE {change.table} SET {sets} WHERE {where}", values  # noqa: S608
    return f"DELETE FROM {change.table} WHERE {where}", tuple(change.key.values())  # noqa: S608
