"""What the prober's threads share, and the threads themselves against places that only pretend."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.loader import DEFS_ROOT, load_contract
from lakehouse_dagster.engines.errors import EngineUnavailable
from lakehouse_dagster.proof import freshness_places, freshness_prober, freshness_source
from lakehouse_dagster.proof.freshness import Beat, Place, pause
from lakehouse_dagster.proof.freshness_places import beat_of
from lakehouse_dagster.proof.freshness_prober import KEPT_STILL, Ledger, Probing

KAFKA = Place("kafka", "kafka")
PAIMON = Place("paimon", "paimon")
NESSIE = Place("nessie", "nessie", after="paimon")


class Told:
    def __init__(self) -> None:
        self.beats = 0
        self.seconds: dict[str, list[float]] = {}
        self.late: dict[str, int] = {}
        self.states: dict[str, tuple[float, float | None]] = {}

    def committed(self, pipeline: str) -> None:
        self.beats += 1

    def readable(self, pipeline: str, place: str, seconds: float) -> None:
        self.seconds.setdefault(place, []).append(seconds)

    def missed(self, pipeline: str, place: str, beats: int) -> None:
        self.late[place] = self.late.get(place, 0) + beats

    def state(self, pipeline: str, place: str, behind: float, age: float | None) -> None:
        self.states[place] = (behind, age)


def ledger(watcher: Told | None = None) -> Ledger:
    return Ledger("flights", (KAFKA, PAIMON, NESSIE), lambda _: 1, watcher or Told())


def test_a_place_is_asked_only_while_something_is_waited_for() -> None:
    book = ledger()
    assert not book.turn(KAFKA, 0.0).ask
    book.committed(Beat(1, 10.0, 10.0))
    assert book.turn(KAFKA, 13.0).ask
    assert book.turn(KAFKA, 13.0).wait == pytest.approx(pause(3.0))
    book.shown(KAFKA, 1, 13.1)
    assert not book.turn(KAFKA, 13.2).ask
    assert book.turn(PAIMON, 13.2).ask


def test_a_place_behind_another_waits_for_it_unless_that_one_cannot_be_asked() -> None:
    book = ledger()
    book.committed(Beat(1, 10.0, 10.0))
    assert not book.turn(NESSIE, 11.0).ask
    book.shown(PAIMON, 1, 12.0)
    assert book.turn(NESSIE, 12.0).ask
    book.shown(NESSIE, 1, 12.5)
    book.committed(Beat(2, 15.0, 15.0))
    assert not book.turn(NESSIE, 16.0).ask
    assert book.failed(PAIMON, "refused")
    assert not book.failed(PAIMON, "refused")
    assert book.turn(NESSIE, 16.0).ask
    book.shown(PAIMON, 1, 17.0)
    assert not book.turn(NESSIE, 17.0).ask


def test_a_place_that_shows_nothing_says_so() -> None:
    book = ledger()
    book.committed(Beat(1, 10.0, 10.0))
    book.shown(PAIMON, None, 11.0)
    rows = {row.place: row for row in book.minute(12.0, 12.0)}
    assert rows["paimon"].problem == "it shows no beat yet"
    assert rows["kafka"].problem == ""


def test_the_watcher_is_told_everything_and_a_still_place_touches_no_other() -> None:
    told = Told()
    book = ledger(told)
    for number in range(1, 20):
        book.committed(Beat(number, 5.0 * number, 5.0 * number))
        book.shown(KAFKA, number, 5.0 * number + 0.3)
    book.look(100.0, 100.0)
    assert told.beats == 19
    assert told.seconds == {"kafka": pytest.approx([0.3] * 19)}
    assert told.late == {"paimon": 8, "nessie": 8}
    assert told.states["kafka"] == (0.0, pytest.approx(5.0))
    assert told.states["paimon"] == (95.0, None)
    rows = {row.place: row for row in book.minute(100.0, 100.0)}
    assert (len(rows["kafka"].seconds), rows["kafka"].missed, rows["kafka"].waiting) == (19, 0, 0)
    assert (rows["paimon"].missed, rows["paimon"].waiting, rows["paimon"].behind) == (8, 8, 95.0)
    assert book.unfinished() == ["paimon", "nessie"]
    assert all(row.missed == 0 for row in book.minute(100.0, 100.0))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b'{"id": 1, "beat": 12, "__op": "u"}', 12),
        (b'{"id": 1, "beat": 12, "__op": "d"}', None),
        (b'{"id": 1, "beat": true}', None),
        (b'{"id": 1}', None),
        (b"not json", None),
        (b"[]", None),
        (None, None),
    ],
)
def test_beats_are_read_from_flattened_records(value: bytes | None, expected: int | None) -> None:
    assert beat_of(value) == expected


# --- the threads ---


class World:
    """A source and places; a change reaches each place after its own time, if it is up."""

    def __init__(self, delays: dict[str, float]) -> None:
        self.delays = delays
        self.down: set[str] = set()
        self.hanging: dict[str, threading.Event] = {}
        self.still = False
        self.beats: list[tuple[int, float]] = []
        self.asked: dict[str, int] = {}

    def write(self) -> Beat | None:
        if self.still:
            return None
        at = time.monotonic()
        self.beats.append((100 + len(self.beats), at))
        return Beat(self.beats[-1][0], at, time.time())

    def shows(self, place: str) -> int | None:
        self.asked[place] = self.asked.get(place, 0) + 1
        if place in self.hanging:
            self.hanging[place].wait(10)
        if place in self.down:
            raise EngineUnavailable(place, "127.0.0.1:1", cause="refused")
        now = time.monotonic()
        return max((n for n, at in self.beats if now - at >= self.delays[place]), default=None)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(
        {"kafka": 0.01, "paimon": 0.1, "nessie": 0.2, "trino": 0.3, "cassandra": 0.05, "couchdb": 0.05}
    )

    class Row:
        def __init__(self, *_: object) -> None: ...

        def beat(self) -> Beat | None:
            return made.write()

        def prepare(self) -> str:
            return ""

        def close(self) -> None: ...

    class Shown:
        waits = False

        def __init__(self, place: Place) -> None:
            self.place = place.name

        def look(self) -> int | None:
            return made.shows(self.place)

        def close(self) -> None: ...

    monkeypatch.setattr(freshness_source, "ProbeRow", Row)
    monkeypatch.setattr(freshness_places, "look_for", lambda contract, probe, place, clients: Shown(place))
    monkeypatch.setattr(freshness_prober, "Clients", lambda endpoints, timeout: _NoClients())
    yield made
    for event in made.hanging.values():
        event.set()


class _NoClients:
    def disconnect(self) -> None: ...


class _Endpoints:
    """The same whoever acts."""

    host, port = "127.0.0.1", 1

    def acting(self, identity: str) -> _Endpoints:
        return self

    def __getattr__(self, name: str) -> Any:
        return self


@pytest.fixture
def probing(world: World) -> Iterator[Callable[[Told], Probing]]:
    contract: Contract = load_contract(DEFS_ROOT / "flights")
    made: list[Probing] = []

    def start(told: Told) -> Probing:
        one = Probing(contract, _Endpoints, watcher=told, every_seconds=1.0, sparing=False)  # type: ignore[arg-type]
        made.append(one)
        one.start()
        return one

    yield start
    for one in made:
        one.stop(1.0)


def until(question: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_every_place_gets_its_own_seconds(world: World, probing: Callable[[Told], Probing]) -> None:
    told = Told()
    probing(told)
    until(lambda: len(told.seconds) == 6 and min(len(found) for found in told.seconds.values()) >= 2)
    for place, delay in world.delays.items():
        assert min(told.seconds[place]) >= delay


def test_a_place_that_hangs_or_is_down_holds_up_no_other(
    world: World, probing: Callable[[Told], Probing]
) -> None:
    world.hanging["cassandra"] = threading.Event()
    world.down.add("couchdb")
    told = Told()
    one = probing(told)
    until(lambda: len(told.seconds.get("trino", ())) >= 2 and len(told.seconds.get("kafka", ())) >= 2)
    assert "cassandra" not in told.seconds
    assert "couchdb" not in told.seconds
    rows = {row.place: row for row in one.ledger.minute(time.monotonic(), time.time())}
    assert "no answer" in rows["couchdb"].problem
    assert rows["kafka"].problem == ""
    world.down.clear()
    world.hanging.pop("cassandra").set()
    until(lambda: bool(told.seconds.get("couchdb")) and bool(told.seconds.get("cassandra")))


def test_while_it_is_kept_still_nobody_is_asked(world: World, probing: Callable[[Told], Probing]) -> None:
    world.still = True
    told = Told()
    one = probing(told)
    until(lambda: one.idle == KEPT_STILL)
    assert world.asked == {}
    world.still = False
    until(lambda: len(told.seconds) == 6)
    assert one.idle == ""
    one.rest()
    until(lambda: not one.ledger.unfinished())
