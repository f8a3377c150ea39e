"""Stand-ins for the engines of a quarantine: a dead-letter topic, a source, the topics, the memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from lakehouse_dagster.components.resources import LakehouseResource
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.kafka import Partition
from lakehouse_dagster.engines.kafka_records import Record
from lakehouse_dagster.engines.mysql import SourcePosition
from lakehouse_dagster.quarantine.model import Decision, Place, Quarantined, Verdict
from lakehouse_dagster.quarantine.store import Counts

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
ORDERS = "orders.shop.orders"
SHOPS = "orders.shop.shops"


def letter(
    offset: int,
    *,
    topic: str = ORDERS,
    at: int = 0,
    key: bytes | None = b'{"id":1}',
    value: bytes | None = b"{bad",
    reason: str = "no JSON",
    headers: Mapping[str, bytes | None] | None = None,
) -> Record:
    """A dead letter; ``headers`` put others in the place of the sound ones, or (None) leave them out."""
    sound: dict[str, bytes | None] = {
        "reason": reason.encode(),
        "topic": topic.encode(),
        "partition": b"0",
        "offset": str(at).encode(),
    }
    told = tuple((name, text) for name, text in {**sound, **(headers or {})}.items() if text is not None)
    return Record(offset, key, value, told, int(NOW.timestamp() * 1000) + offset)


class FakeClients(SimpleNamespace):
    """Clients that are never closed."""

    def __enter__(self) -> FakeClients:
        return self

    def __exit__(self, *_: object) -> None: ...


@dataclass
class World:
    """What the engines hold, and what was done to them."""

    topic: list[Record] = field(default_factory=list)
    """The dead letters."""
    begin: int = 0
    source: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    """Rows by table, as MySQL hands them out."""
    asked: list[tuple[str, Any]] = field(default_factory=list)
    """Statements that the source was asked."""
    written: list[tuple[str, dict[str, Any], dict[str, Any]]] = field(default_factory=list)
    """Topic, key and body of what was written."""
    waited: list[tuple[str, ...]] = field(default_factory=list)
    late: tuple[str, ...] = ()
    refuses: Callable[[dict[str, Any]], str | None] = field(default=lambda _: None)
    """Why the lake job does not take a written record."""
    known: list[Quarantined] = field(default_factory=list)
    decisions: list[tuple[Place, Decision]] = field(default_factory=list)
    read: int = 0
    position: SourcePosition = field(default_factory=lambda: SourcePosition("u:1-9", "binlog.000003", 4711))
    """Where the source's binary log stands."""

    # --- the engines, as the code reaches them ---

    def clients(self, **_: object) -> Any:
        kafka = SimpleNamespace(end_offsets=self._ends)
        mysql = SimpleNamespace(snapshot=self._snapshot, position=lambda: self.position)
        connect = SimpleNamespace(metrics_url="")
        endpoints = SimpleNamespace(kafka=None, connect=connect)
        return FakeClients(
            kafka=kafka, reading=SimpleNamespace(mysql=mysql), postgres=None, endpoints=endpoints
        )

    def resource(self) -> LakehouseResource:
        world = self

        class Source(LakehouseResource):
            def clients(self, *, timeout: float = 10.0) -> Clients:
                return world.clients()  # type: ignore[no-any-return]

        return Source()

    def _ends(self, topics: Sequence[str]) -> dict[Partition, int]:
        end = self.topic[-1].offset + 1 if self.topic else self.begin
        return {Partition(topics[0], 0): end} if self.topic or self.begin else {}

    def letters(self, clients: object, topic: str, begin: int) -> Iterator[Record]:
        yield from [one for one in self.topic if one.offset >= begin]

    @contextmanager
    def _snapshot(self, database: str, tables: Sequence[str]) -> Iterator[Any]:
        def rows(select: str, args: Any = None) -> Iterator[tuple[Any, ...]]:
            self.asked.append((select, args))
            [table] = [name for name in self.source if f"`{name}`" in select]
            yield from self.source[table]

        for name in tables:
            self.source.setdefault(name, [])
        yield SimpleNamespace(position=self.position, rows=rows)

    def writer(self, endpoint: object) -> Any:
        world = self

        class Writer:
            written = 0

            def __enter__(self) -> Writer:
                return self

            def __exit__(self, *_: object) -> None: ...

            def write(self, topic: str, key: bytes, value: bytes) -> None:
                self.written += 1
                body = json.loads(value)
                world.written.append((topic, json.loads(key), body))
                why = world.refuses(body)
                if why:
                    offset = world.topic[-1].offset + 1
                    world.topic.append(
                        letter(offset, topic=topic, at=900 + offset, key=key, value=value, reason=why)
                    )

        return Writer()

    def wait(self, contract: object, clients: object, tables: Sequence[str], **_: object) -> tuple[str, ...]:
        self.waited.append(tuple(tables))
        return self.late

    def store(self, postgres: object) -> FakeStore:
        return FakeStore(self)


class FakeStore:
    """`QuarantineStore` over the world; its real self is tested against PostgreSQL."""

    def __init__(self, world: World) -> None:
        self.world = world

    def read_to(self, pipeline: str) -> int:
        return self.world.read

    def add(self, pipeline: str, records: Sequence[Quarantined], *, read_to: int) -> int:
        known = {(one.place, one.fingerprint) for one in self.world.known}
        before = len(self.world.known)
        for one in records:
            if (one.place, one.fingerprint) not in known:
                known.add((one.place, one.fingerprint))
                self.world.known.append(replace(one, id=len(self.world.known) + 1))
        self.world.read = read_to
        return len(self.world.known) - before

    def records(
        self,
        pipeline: str,
        *,
        topics: Sequence[str] | None = None,
        places: Sequence[Place] | None = None,
        only_open: bool = True,
        malformed: bool | None = None,
        reason: str | None = None,
        after: int = 0,
        upto: int | None = None,
        limit: int = 100,
        newest_first: bool = False,
    ) -> list[Quarantined]:
        found = [
            one
            for one in self.world.known
            if (topics is None or one.topic in topics)
            and (places is None or one.place in places)
            and (not only_open or one.decision is None)
            and (malformed is None or one.malformed == malformed)
            and (reason is None or one.reason == reason)
            and one.id > after
            and (upto is None or one.id <= upto)
        ]
        return (found[::-1] if newest_first else found)[:limit]

    def with_fingerprints(self, pipeline: str, fingerprints: Sequence[str]) -> list[Quarantined]:
        return [one for one in self.world.known if one.fingerprint in fingerprints]

    def decide(
        self,
        pipeline: str,
        records: Sequence[Quarantined],
        verdict: Verdict,
        *,
        by: str,
        why: str = "",
        proof: str = "",
    ) -> None:
        made = Decision(verdict, by, NOW, why, proof)
        ids = {one.id for one in records}
        self.world.decisions += [(one.place, made) for one in records]
        self.world.known = [replace(one, decision=made) if one.id in ids else one for one in self.world.known]

    def counts(self, pipeline: str) -> dict[tuple[str, bool], Counts]:
        found: dict[tuple[str, bool], Counts] = {}
        for one in self.world.known:
            name = (one.topic, one.malformed)
            found[name] = found.get(name, Counts()) + Counts(1, int(one.decision is None), one.id)
        return found

    def count_after(self, pipeline: str, topics: Sequence[str], after: int) -> int:
        return sum(one.topic in topics and one.id > after for one in self.world.known)

    def newest_decision(self, pipeline: str) -> int:
        return len(self.world.decisions)
