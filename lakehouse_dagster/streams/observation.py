"""What one look at a stream finds, and what looking at a connector and at a Flink job have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.streams.assets import Stream
from lakehouse_dagster.streams.decision import Facts
from lakehouse_dagster.streams.health import Health
from lakehouse_dagster.streams.memory import Memory

if TYPE_CHECKING:
    from lakehouse_dagster.engines.flink import FlinkJob

NO_HEALTH = Health()

_Found = TypeVar("_Found")


@dataclass(frozen=True)
class FoundGap:
    """Changes that a stream can no longer read."""

    tables: tuple[str, ...]
    description: str
    """The same words every time the same gap is seen."""
    partition: str | None = None
    """``topic:number`` of a Flink job's gap."""


@dataclass(frozen=True)
class Observation:
    """One stream at one moment."""

    facts: Facts
    health: Health = NO_HEALTH
    found_gaps: tuple[FoundGap, ...] = ()
    """Gaps seen in the engines right now; those that are only remembered are in ``facts.gap``."""
    living: tuple[FlinkJob, ...] = ()
    running_state: str | None = None
    """State hash of the job that runs."""
    committed: Mapping[str, int] = field(default_factory=dict)
    """Committed offsets of a Flink stream's group, by ``topic:number``."""
    checkpoint_id: int | None = None
    """Number of the newest completed checkpoint of the living job."""


@dataclass
class EngineLook:
    """One look at one stream; ``known`` grows while engines answer."""

    contract: Contract
    stream: Stream
    clients: Clients
    memory: Memory
    known: Facts
    now: datetime
    fresh: bool = False
    """Ask everything anew, where otherwise what was true a minute ago may be believed."""

    def take(self) -> Observation:
        """Ask the engines; raises ``EngineError`` when the stream's own engine cannot be asked."""
        raise NotImplementedError


def asked(question: Callable[[], _Found]) -> tuple[_Found | None, EngineError | None]:
    """Return the answer, or why there is none."""
    try:
        return question(), None
    except EngineError as error:
        return None, error


def with_starts(facts: Facts, memory: Memory) -> Facts:
    """Return ``facts`` with the attempts to start their specification."""
    starts = memory.starts_of(facts.spec)
    return replace(facts, failed_starts=starts.recent, seconds_since_start=starts.seconds_since_last)


def with_gaps(facts: Facts, memory: Memory, found: Sequence[FoundGap]) -> Facts:
    """Return ``facts`` with the gaps that are remembered and those just found."""
    remembered = [gap.description for gap in memory.gaps]
    new = [gap.description for gap in found if gap.description not in remembered]
    return replace(facts, gap="; ".join([*remembered, *new]) or None)
