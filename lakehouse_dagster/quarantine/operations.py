"""What an operator can ask for, the same for jobs and the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.quarantine.model import Place, Quarantined, Verdict
from lakehouse_dagster.quarantine.store import Counts, QuarantineStore

# The modules that act bring the clients of the engines, which loading definitions must not need.
if TYPE_CHECKING:
    from lakehouse_dagster.engines.clients import Clients
    from lakehouse_dagster.quarantine.replay import Replayed

MOST_NAMED = 1_000
"""Records that can be named one by one in a request."""
PAGE = 1_000

Log = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """Which records: those at ``places``, those of ``tables``, or all there are."""

    places: tuple[Place, ...] = ()
    tables: tuple[str, ...] = ()
    everything: bool = False

    @classmethod
    def parse(
        cls,
        contract: Contract,
        records: Sequence[str] = (),
        tables: Sequence[str] = (),
        everything: bool = False,
    ) -> Wanted:
        """Return what was asked for; raises ``ValueError`` when that is not exactly one thing, or unknown."""
        if bool(records) + bool(tables) + everything != 1:
            raise ValueError("say which records: name some, or a table, or all")
        if len(records) > MOST_NAMED:
            raise ValueError(f"at most {MOST_NAMED:,} records can be named at a time")
        check_tables(contract, tables)
        places = tuple(dict.fromkeys(Place.parse(text) for text in records))
        return cls(places, tuple(dict.fromkeys(tables)), everything)

    def topics(self, contract: Contract) -> list[str] | None:
        """Return the topics of the tables; ``None`` when tables do not matter."""
        return [contract.topic(table) for table in self.tables] if self.tables else None


def check_tables(contract: Contract, tables: Sequence[str]) -> None:
    """Raise ``ValueError`` naming the tables there are when one of ``tables`` is not the pipeline's."""
    known = [table.name for table in contract.tables]
    unknown = [name for name in tables if name not in known]
    if unknown:
        raise ValueError(
            f"pipeline {contract.name} has no table {', '.join(unknown)}; it has {', '.join(known)}"
        )


@dataclass(frozen=True)
class Listing:
    """Some records, the newest first, and how many there are of each kind altogether."""

    records: tuple[Quarantined, ...]
    counts: Counts


@dataclass(frozen=True)
class Quarantine:
    """Someone who asks about a pipeline's quarantine: with which clients, under which name, told by ``log``.

    Everything begins with reading the dead letters that are new. Raises ``EngineError`` where an engine
    cannot be used, and ``ValueError`` for a request that cannot be carried out as it is.
    """

    contract: Contract
    clients: Clients
    actor: str
    log: Log

    @property
    def store(self) -> QuarantineStore:
        """What is known."""
        return QuarantineStore(self.clients.postgres)

    def listing(self, *, table: str | None = None, decided: bool = False, limit: int = 100) -> Listing:
        """Return the newest open records (with ``decided`` the decided ones too), of one table or of all."""
        self._sync()
        topics = None if table is None else [self.contract.topic(table)]
        found = self.store.records(
            self.contract.name, topics=topics, only_open=not decided, limit=limit, newest_first=True
        )
        counts = Counts()
        for (topic, _), one in self.store.counts(self.contract.name).items():
            if topics is None or topic in topics:
                counts += one
        return Listing(tuple(found), counts)

    def replay(self, wanted: Wanted, *, repair: bool = False) -> Replayed:
        """Replay records; with ``repair`` by reading whole tables again and comparing every row.

        Records that are named are replayed whatever was decided about them before.
        """
        from lakehouse_dagster.quarantine.replay import Replay, Replayed, replay_by_repair

        self._sync()
        if repair:
            if not wanted.tables:
                raise ValueError("a repair is of whole tables: name them")
            return replay_by_repair(
                self.contract,
                self.clients,
                self.store,
                wanted.tables,
                actor=self.actor,
                log=self.log,
            )
        replay = Replay(self.contract, self.clients, self.store, self.actor, self.log)
        if wanted.places:
            return replay.run(self._named(wanted.places))
        newest = self.store.records(self.contract.name, newest_first=True, limit=1)
        done, after = Replayed(), 0
        while newest and (
            found := self.store.records(
                self.contract.name,
                topics=wanted.topics(self.contract),
                after=after,
                # What is quarantined meanwhile has its turn another time, or this might never end.
                upto=newest[0].id,
                limit=PAGE,
            )
        ):
            done += replay.run(found)
            after = found[-1].id
        return done

    def drop(self, places: Sequence[Place], why: str) -> int:
        """Leave records out for good; returns how many. Their bytes stay in the topic and in the lake."""
        if not why.strip():
            raise ValueError("say why: a record that is dropped is missing in the lake for good")
        self._sync()
        found = self._named(places)
        decided = [one for one in found if one.decision is not None]
        if decided:
            told = decided[0].decision
            assert told is not None
            raise ValueError(
                f"{decided[0].place} is decided already: {told.verdict} by {told.by}; nothing was dropped"
            )
        self.store.decide(self.contract.name, found, Verdict.DROPPED, by=self.actor, why=why.strip())
        return len(found)

    def _named(self, places: Sequence[Place]) -> Sequence[Quarantined]:
        found = self.store.records(self.contract.name, places=places, only_open=False, limit=2 * MOST_NAMED)
        there = {one.place for one in found}
        missing = [str(place) for place in places if place not in there]
        if missing:
            raise ValueError(
                f"not quarantined in {self.contract.name}: {', '.join(missing[:5])}; "
                f"see `lakehouse quarantine list {self.contract.name}`"
            )
        # Of several records at one place, those that are open are meant.
        undecided = {one.place for one in found if one.decision is None}
        return [one for one in found if one.decision is None or one.place not in undecided]

    def _sync(self) -> None:
        from lakehouse_dagster.quarantine.reading import sync

        sync(self.contract, self.clients, self.store)


class NotReplayed(EngineError):  # noqa: N818 - a state of affairs, told to the operator
    """Some records could not be replayed; the text names the first."""

    def __init__(self, done: Replayed) -> None:
        first = "; ".join(str(failure) for failure in done.failures[:5])
        super().__init__("quarantine", f"{done}: {first}")
