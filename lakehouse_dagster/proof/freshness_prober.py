"""The prober: updates every pipeline's probe row all the time and times until each place shows it.

A small process beside the publisher. One thread writes, one thread per place asks, so a place that hangs
holds up no other. What is waited for is asked for in pauses that grow with the wait (``freshness.pause``);
a place that has shown everything is not asked at all. Its figures are Prometheus metrics, and rows in
PostgreSQL once a minute; nothing else depends on it, and it may be stopped at any time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.model import Probe
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.endpoints import PROBER, READER, Endpoints
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.proof.freshness import Beat, Follower, Minute, Place, every_nth, pause, probe_places

if TYPE_CHECKING:
    from lakehouse_dagster.proof.freshness_places import Look

logger = logging.getLogger("lakehouse.prober")

TIMEOUT_SECONDS = 5.0
"""Deadline of a single request."""
MAX_BACKOFF_SECONDS = 5.0
"""A place that cannot be asked is asked again after this long at most."""
KEPT_STILL = "the probe is kept still, rows are being compared"


class Watcher(Protocol):
    """Is told what happens, as it happens (metrics)."""

    def committed(self, pipeline: str) -> None:
        """A beat was committed."""

    def readable(self, pipeline: str, place: str, seconds: float) -> None:
        """A beat became readable at a place."""

    def missed(self, pipeline: str, place: str, beats: int) -> None:
        """Beats were not readable in time at a place."""

    def state(self, pipeline: str, place: str, behind: float, age: float | None) -> None:
        """How old the oldest beat that is waited for is, and the newest readable one."""


class Nobody:
    """A watcher that does nothing."""

    def committed(self, pipeline: str) -> None:
        """Nothing."""

    def readable(self, pipeline: str, place: str, seconds: float) -> None:
        """Nothing."""

    def missed(self, pipeline: str, place: str, beats: int) -> None:
        """Nothing."""

    def state(self, pipeline: str, place: str, behind: float, age: float | None) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Turn:
    """What the thread of a place does next: ask, ``wait`` seconds after its last question, or nothing until
    something changes.
    """

    ask: bool
    wait: float | None = None


class Ledger:
    """The beats of one pipeline and what its places have shown of them; shared by the pipeline's threads.

    ``beats`` counts those that were committed.
    """

    def __init__(
        self, pipeline: str, places: Sequence[Place], every: Callable[[Place], int], watcher: Watcher
    ) -> None:
        self.pipeline = pipeline
        self.places = tuple(places)
        self.changed = threading.Condition()
        self.beats = 0
        self._watcher = watcher
        self._followers = {place.name: Follower(every(place)) for place in places}
        self._problems: dict[str, str] = {place.name: "" for place in places}

    def committed(self, beat: Beat) -> None:
        """A beat was committed: all places are waited for."""
        with self.changed:
            self.beats += 1
            for name, follower in self._followers.items():
                seconds = follower.committed(beat)
                if seconds is not None:
                    self._watcher.readable(self.pipeline, name, seconds)
            self.changed.notify_all()
        self._watcher.committed(self.pipeline)

    def shown(self, place: Place, number: int | None, at: float) -> None:
        """A place answered: it shows that beat (None: it shows none)."""
        with self.changed:
            self._problems[place.name] = "" if number is not None else "it shows no beat yet"
            found = [] if number is None else self._followers[place.name].shown(number, at)
            if found:
                self.changed.notify_all()  # another place may have waited for this one
        for seconds in found:
            self._watcher.readable(self.pipeline, place.name, seconds)

    def failed(self, place: Place, problem: str) -> bool:
        """A place could not be asked; true when that is another problem than before."""
        with self.changed:
            news = self._problems[place.name] != problem
            self._problems[place.name] = problem
            if news:
                self.changed.notify_all()
        return news

    def turn(self, place: Place, now: float) -> Turn:
        """What the thread of a place does next.

        Nothing while it has shown every beat, or while the place before it has not shown one that this place
        lacks. A place that cannot be asked, or shows nothing at all, holds nobody up.
        """
        with self.changed:
            waiting = self._followers[place.name].oldest
            if waiting is None:
                return Turn(ask=False)
            if place.after is not None and not self._problems[place.after]:
                before = self._followers.get(place.after)
                if before is not None and not before.shows(waiting.number):
                    return Turn(ask=False)
            return Turn(ask=True, wait=pause(now - waiting.at))

    def unfinished(self) -> list[str]:
        """Places that do not show every beat yet."""
        with self.changed:
            return [name for name, follower in self._followers.items() if follower.oldest is not None]

    def look(self, now: float, moment: float) -> None:
        """Count what has become late and tell the watcher how the places stand."""
        told = []
        with self.changed:
            for name, follower in self._followers.items():
                missed = follower.look(now)
                oldest, newest = follower.oldest, follower.newest
                behind = 0.0 if oldest is None else max(0.0, now - oldest.at)
                told.append((name, missed, behind, None if newest is None else moment - newest.moment))
        for name, missed, behind, age in told:
            if missed:
                self._watcher.missed(self.pipeline, name, missed)
            self._watcher.state(self.pipeline, name, behind, age)

    def minute(self, now: float, moment: float) -> list[Minute]:
        """What happened at each place since the last call."""
        self.look(now, moment)
        with self.changed:
            tallies = {name: follower.tally(now) for name, follower in self._followers.items()}
            problems = dict(self._problems)
        return [
            Minute(
                pipeline=self.pipeline,
                place=name,
                at=datetime.fromtimestamp(moment, UTC),
                seconds=tally.seconds,
                missed=tally.missed,
                waiting=tally.waiting,
                behind=tally.behind,
                newest_beat=tally.newest.number if tally.newest else None,
                newest_at=datetime.fromtimestamp(tally.newest.moment, UTC) if tally.newest else None,
                problem=problems[name],
            )
            for name, tally in tallies.items()
        ]


class Probing:
    """The threads of one pipeline's probe: one that writes, one per place. Start it, stop it, never reuse it.

    ``every_seconds`` replaces the contract's; without ``sparing`` every beat is followed in every place.
    """

    def __init__(
        self,
        contract: Contract,
        endpoints: Callable[[], Endpoints],
        *,
        watcher: Watcher | None = None,
        every_seconds: float | None = None,
        sparing: bool = True,
    ) -> None:
        probe = contract.pipeline.probe
        if probe is None:
            raise ValueError(f"pipeline {contract.name} names no probe")
        self.contract = contract
        self.probe = probe if every_seconds is None else replace_every(probe, every_seconds)
        self.ledger = Ledger(
            contract.name,
            probe_places(contract),
            lambda place: every_nth(place, self.probe) if sparing else 1,
            watcher or Nobody(),
        )
        self.idle = ""
        """Why nothing is written at the moment; empty while beats are."""
        self._endpoints = endpoints
        self._stop = threading.Event()
        self._rest = threading.Event()
        self._threads = [
            threading.Thread(target=self._write, name=f"{contract.name} source", daemon=True),
            *(
                threading.Thread(
                    target=self._follow, args=(place,), name=f"{contract.name} {place.name}", daemon=True
                )
                for place in self.ledger.places
            ),
        ]

    def start(self) -> None:
        """Start all threads."""
        for thread in self._threads:
            thread.start()

    def rest(self) -> None:
        """Write no more, and go on following what was written."""
        self._rest.set()

    def stop(self, timeout: float = 10.0) -> None:
        """Ask all threads to end and wait for them, so long at most: one may be waiting for an engine."""
        self._rest.set()
        self._stop.set()
        with self.ledger.changed:
            self.ledger.changed.notify_all()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _write(self) -> None:
        from lakehouse_dagster.engines.mysql import MySqlClient
        from lakehouse_dagster.proof.freshness_source import ProbeRow

        row: ProbeRow | None = None
        due = time.monotonic()
        while not self._rest.is_set():
            try:
                if row is None:
                    client = MySqlClient(self._endpoints().mysql.acting(PROBER), read_timeout=TIMEOUT_SECONDS)
                    row = ProbeRow(self.contract, self.probe, client)
                beat = row.beat()
                if beat is not None:
                    self.ledger.committed(beat)
                self._said("" if beat is not None else row.prepare() or KEPT_STILL)
            except EngineError as error:
                self._said(str(error))
            except Exception as error:  # whatever it is, the places go on being watched
                if self._said(repr(error)):
                    logger.exception("%s: unexpected; trying again", self.contract.name)
            # Beats keep their clock: a slow commit does not move the following ones.
            due += self.probe.every_seconds
            due = max(due, time.monotonic())
            self._rest.wait(max(0.0, due - time.monotonic()))
        if row is not None:
            row.close()

    def _said(self, idle: str) -> bool:
        """Remember why nothing is written; true (and a line in the log) when that has changed."""
        if idle == self.idle:
            return False
        self.idle = idle
        logger.info("%s: %s", self.contract.name, idle or "beats")
        return True

    def _follow(self, place: Place) -> None:
        from lakehouse_dagster.proof.freshness_places import look_for

        clients: Clients | None = None
        look: Look | None = None
        backoff = 0.0
        while not self._stop.is_set():
            turn = self.ledger.turn(place, time.monotonic())
            if not turn.ask:
                with self.ledger.changed:
                    # Woken by the next beat; the time is for one that came between the two steps.
                    self.ledger.changed.wait(1.0)
                continue
            try:
                if look is None:
                    clients = Clients(self._endpoints().acting(READER), timeout=TIMEOUT_SECONDS)
                    look = look_for(self.contract, self.probe, place, clients)
                number = look.look()
                self.ledger.shown(place, number, time.monotonic())
                backoff = 0.0
            except Exception as error:
                # An engine that is away, or a mistake of ours: told once, and tried again ever less often.
                if self.ledger.failed(place, str(error) or repr(error)):
                    log = logger.warning if isinstance(error, EngineError) else logger.exception
                    log("%s: %s: %s", self.contract.name, place.name, error)
                if look is not None:
                    _quietly(look.close)
                if clients is not None:
                    _quietly(clients.disconnect)
                look = clients = None
                backoff = min(MAX_BACKOFF_SECONDS, max(0.5, backoff * 2))
            # What waits by itself for news needs no pause.
            waits = look is not None and look.waits
            wait = None if waits else self.ledger.turn(place, time.monotonic()).wait
            self._stop.wait(max(backoff, wait or 0.0))
        if look is not None:
            _quietly(look.close)
        if clients is not None:
            _quietly(clients.disconnect)


def replace_every(probe: Probe, every_seconds: float) -> Probe:
    """The probe with another time between two beats."""
    return probe.model_copy(update={"every_seconds": every_seconds})


def _quietly(close: Callable[[], None]) -> None:
    try:
        close()
    except Exception as error:
        logger.debug("closing: %s", error)
