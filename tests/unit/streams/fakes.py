"""Stand-ins for what the sensor and the jobs reach: the platform's memory, and what is seen of engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from lakehouse_dagster.components.resources import LakehouseResource
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.errors import EngineError, EngineUnavailable
from lakehouse_dagster.streams.assets import Stream
from lakehouse_dagster.streams.decision import Desired, Facts, State
from lakehouse_dagster.streams.health import Health
from lakehouse_dagster.streams.lag import Sample
from lakehouse_dagster.streams.landed import Landed
from lakehouse_dagster.streams.memory import Declared, Event, EventKind, Gap, Memory
from lakehouse_dagster.streams.observation import FoundGap, Observation


@dataclass
class World:
    """What is remembered and what is to be seen."""

    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Per stream, what differs from a healthy one."""
    health: dict[str, Health] = field(default_factory=dict)
    gaps_seen: dict[str, tuple[FoundGap, ...]] = field(default_factory=dict)
    memory: dict[str, Memory] = field(default_factory=dict)
    rows: list[Event] = field(default_factory=list)
    samples: dict[str, tuple[Sample, ...]] = field(default_factory=dict)
    landed: dict[str, Landed] = field(default_factory=dict)
    committed: dict[str, dict[str, int]] = field(default_factory=dict)
    checkpoint_id: int | None = None
    raises: dict[str, Exception] = field(default_factory=dict)
    """What looking at a stream raises."""
    postgres_away: bool = False
    schema_order: object | None = None
    """What somebody has begun to do about the source's schema."""

    def see(self, stream: Stream) -> Observation:
        """What `observe` finds."""
        if stream.name in self.raises:
            raise self.raises[stream.name]
        known = {"state": State.RUNNING, "living": 1, "spec": "s1", "running_spec": "s1"}
        memory = self.memory.get(stream.name, Memory())
        gap = "; ".join(gap.description for gap in memory.gaps) or None
        facts = Facts(
            stream.name,
            stream.kind,
            **{"desired": memory.declared.desired, "gap": gap, **known, **self.facts.get(stream.name, {})},
        )
        health = self.health.get(stream.name, Health(running_spec="s1", read=100, available=100))
        return Observation(
            facts,
            health,
            self.gaps_seen.get(stream.name, ()),
            committed=self.committed.get(stream.name, {}),
            checkpoint_id=self.checkpoint_id,
        )

    def everything(self, **changes: Any) -> None:
        """All streams differ from healthy ones by ``changes``."""
        for stream in ("connector", "lake", "serving"):
            self.facts[stream] = changes

    def kinds(self, stream: str) -> list[str]:
        """Kinds of the rows of a stream's history."""
        return [row.kind for row in self.rows if row.stream == stream]


WORLD = World()
"""The world of the present test; replaced by `fresh_world`."""


def fresh_world() -> World:
    """Forget the last test's world."""
    WORLD.__dict__.clear()
    WORLD.__dict__.update(World().__dict__)
    return WORLD


class FakeStore:
    """`StreamStore` over the world; its real self is tested against PostgreSQL."""

    def __init__(self, postgres: object) -> None:
        if WORLD.postgres_away:
            raise EngineUnavailable("postgres", "127.0.0.1:1", cause="refused")

    def memory(self, pipeline: str, streams: Sequence[str], *, now: object = None) -> dict[str, Memory]:
        found = {}
        for name in streams:
            decisions = [r for r in WORLD.rows if r.stream == name and r.kind == EventKind.DECISION]
            found[name] = replace(WORLD.memory.get(name, Memory()), last=decisions[-1] if decisions else None)
        return found

    def record(self, event: Event) -> int:
        number = WORLD.rows[-1].id + 1 if WORLD.rows else 1
        WORLD.rows.append(replace(event, id=number, at=datetime.now(UTC)))
        return number

    def history(
        self,
        pipeline: str | None = None,
        stream: str | None = None,
        *,
        after: int = 0,
        limit: int = 50,
        newest_first: bool = True,
    ) -> list[Event]:
        rows = [row for row in WORLD.rows if row.id > after and stream in (None, row.stream)]
        return rows[::-1][:limit] if newest_first else rows[:limit]

    def open_gap(self, pipeline: str, stream: str, tables: Sequence[str], description: str) -> Gap:
        gap = Gap(1, pipeline, stream, tuple(tables), description, datetime.now(UTC))
        memory = WORLD.memory.get(stream, Memory())
        WORLD.memory[stream] = replace(memory, gaps=(*memory.gaps, gap))
        self.record(Event(pipeline, stream, EventKind.GAP, reason=description, ok=False))
        return gap

    def declare(self, pipeline: str, stream: str, desired: Desired, *, by: str, reason: str = "") -> None:
        memory = WORLD.memory.get(stream, Memory())
        WORLD.memory[stream] = replace(memory, declared=Declared(desired, by, reason))
        self.record(Event(pipeline, stream, EventKind.DECLARED, verb=desired, reason=reason, actor=by))


class FakeHolds:
    """Nothing is ever held."""

    def __init__(self, postgres: object) -> None: ...

    def held(self, pipeline: str) -> None:
        return None


class FakeSchemas:
    """`SchemaStore` over the world."""

    def __init__(self, postgres: object) -> None: ...

    def under_way(self, pipeline: str) -> object | None:
        return WORLD.schema_order


class FakeSamples:
    """`SampleStore` over the world."""

    def __init__(self, postgres: object) -> None: ...

    def load(self, pipeline: str) -> dict[str, tuple[Sample, ...]]:
        return dict(WORLD.samples)

    def save(self, pipeline: str, samples: Mapping[str, tuple[Sample, ...]]) -> None:
        WORLD.samples.update(samples)


class FakeLanded:
    """`LandedStore` over the world."""

    def __init__(self, postgres: object) -> None: ...

    def load(self, pipeline: str, stream: str) -> Landed:
        return WORLD.landed.get(stream, Landed())

    def save(self, pipeline: str, stream: str, landed: Landed) -> None:
        WORLD.landed[stream] = landed


class Source(LakehouseResource):
    """The resource, with nothing behind it."""

    def clients(self, *, timeout: float = 10.0) -> Clients:
        return FakeClients()  # type: ignore[return-value]


class FakeClients:
    """Clients that lead nowhere: the world is asked instead."""

    postgres = None
    endpoints = SimpleNamespace(flink=SimpleNamespace(url="http://flink"))

    def __enter__(self) -> FakeClients:
        return self

    def __exit__(self, *_: object) -> None: ...


def observe(contract: object, stream: Stream, clients: object, memory: Memory, **_: object) -> Observation:
    """`streams.observe.observe`, of the world."""
    return WORLD.see(stream)


def refused(engine: str) -> EngineError:
    """An engine that says no."""
    return EngineError(engine, "no")
