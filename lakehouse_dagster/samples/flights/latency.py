"""How long a committed change of one flight takes until each place answers with it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.engines.errors import EngineError

POLL_SECONDS = 0.25
"""Part of every figure. Asking more often would take the processor from what is measured."""
PIPELINE = "flights"
TABLE = "flights"


@dataclass(frozen=True)
class Latency:
    """Seconds from the source's commit until a place answered with the change, one value per probe."""

    place: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median of the probes, in seconds."""
        return statistics.median(self.seconds)

    @property
    def worst(self) -> float:
        """Slowest probe, in seconds."""
        return max(self.seconds)


def measure(
    endpoints: Endpoints, *, probes: int = 5, timeout: float = 60.0, pause: float = 4.3
) -> list[Latency]:
    """Touch ``probes`` flights one after the other and time until every place shows each of them.

    The probe is a real update (``updated_at`` of an existing flight), so nothing is left behind that the
    application would not write itself. ``timeout`` seconds are allowed per probe; a place that does not show
    the change by then raises ``EngineError``. ``pause`` seconds lie between probes:
    not a multiple of the usual checkpoint interval, so that they do not all meet the same phase of its clock,
    and long enough that the compaction of one probe has ended before the next begins.
    """
    measured: dict[str, list[float]] = {place: [] for place in PLACES}
    with ExitStack() as stack:
        source = stack.enter_context(Clients(endpoints))
        pool = stack.enter_context(ThreadPoolExecutor(max_workers=len(PLACES)))
        # One set of clients per place, because clients are not shared between threads; connected before the
        # clock runs, because what is measured is the platform and not the first login.
        clients = {place: stack.enter_context(Clients(endpoints)) for place in PLACES}
        flights = _some_flights(source, probes)
        for place, look in PLACES.items():
            look(clients[place], flights[0])
        for flight in flights:
            written = _touch(source, flight)
            started = time.monotonic()
            waiting = {
                place: pool.submit(_wait, place, clients[place], flight, written, started + timeout)
                for place in PLACES
            }
            for place, future in waiting.items():
                measured[place].append(future.result() - started)
            time.sleep(pause)
    return [Latency(place, tuple(values)) for place, values in measured.items()]


@dataclass(frozen=True)
class _Flight:
    id: int
    origin: str
    flight_date: object
    departs_at: datetime
    carrier: str
    flight: int


def _some_flights(source: Clients, count: int) -> list[_Flight]:
    rows = source.mysql.query(
        "SELECT id, origin, flight_date, departs_at, carrier, flight FROM flights ORDER BY id DESC LIMIT %s",
        (count,),
    )
    if not rows:
        raise EngineError("mysql", "there are no flights yet: run `lakehouse replay flights` first")
    return [_Flight(**row) for row in rows]


def _touch(source: Clients, flight: _Flight) -> datetime:
    """Update the flight and return the ``updated_at`` that was committed."""
    source.mysql.execute("UPDATE flights SET updated_at = CURRENT_TIMESTAMP(6) WHERE id = %s", (flight.id,))
    row = source.mysql.query("SELECT updated_at FROM flights WHERE id = %s", (flight.id,))[0]
    written: datetime = row["updated_at"]
    return written.replace(tzinfo=UTC)


Look = Callable[[Clients, _Flight], datetime | None]


def _in_paimon(clients: Clients, flight: _Flight) -> datetime | None:
    """Newest commit among the rows of Paimon's own newest metadata, published or not."""
    state = clients.paimon.iceberg(PIPELINE, TABLE)
    return clients.paimon.bounds(state).committed_at if state else None


def _in_trino(clients: Clients, flight: _Flight) -> datetime | None:
    sql = f"SELECT updated_at FROM {TABLE} WHERE id = {int(flight.id)}"  # noqa: S608 - a number
    return _utc(clients.trino.scalar(sql, schema=PIPELINE))


def _in_cassandra(clients: Clients, flight: _Flight) -> datetime | None:
    rows = clients.cassandra.execute(
        "SELECT updated_at FROM flights.departures_by_airport WHERE origin = %s AND flight_date = %s"
        " AND departs_at = %s AND carrier = %s AND flight = %s AND id = %s",
        (flight.origin, flight.flight_date, flight.departs_at, flight.carrier, flight.flight, flight.id),
    )
    return _utc(rows[0][0]) if rows else None


def _in_couchdb(clients: Clients, flight: _Flight) -> datetime | None:
    document = clients.couchdb.doc("flight_documents", str(flight.id))
    return _utc(document["updated_at"]) if document else None


PLACES: dict[str, Look] = {
    "paimon": _in_paimon,
    "trino": _in_trino,
    "cassandra": _in_cassandra,
    "couchdb": _in_couchdb,
}


def _utc(value: object) -> datetime | None:
    if value is None:
        return None
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _wait(place: str, clients: Clients, flight: _Flight, written: datetime, deadline: float) -> float:
    """Ask until the place shows the change; give the monotonic time of the answer."""
    while True:
        seen = PLACES[place](clients, flight)
        now = time.monotonic()
        if seen is not None and seen >= written:
            return now
        if now > deadline:
            raise EngineError(place, f"flight {flight.id} still shows {seen}, expected {written}")
        time.sleep(POLL_SECONDS)
