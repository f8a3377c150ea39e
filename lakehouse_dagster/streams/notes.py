"""Writing down what looks at streams show: decisions, gaps, that a start has lasted, how far a hold has come.

The sensor and whoever acts on a stream write the same, so that the history is one whoever looked first.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.streams.assets import LAKE, Stream
from lakehouse_dagster.streams.decision import Kind, State
from lakehouse_dagster.streams.memory import Event, EventKind, Memory
from lakehouse_dagster.streams.observation import Observation

if TYPE_CHECKING:
    from lakehouse_dagster.governance.hold import HoldStore
    from lakehouse_dagster.streams.landed import LandedStore
    from lakehouse_dagster.streams.store import StreamStore
    from lakehouse_dagster.streams.survey import Look

CALM_SECONDS = 30.0
"""How long a stream must last after its newest start for that start to count as a success."""


def calm(observation: Observation) -> bool:
    """Whether the newest start counts as a success: the stream has lasted, and has got somewhere."""
    facts, health = observation.facts, observation.health
    since = facts.seconds_since_start
    if facts.state is not State.RUNNING or facts.failed_starts == 0:
        return False
    if since is None or since < CALM_SECONDS:
        return False
    if facts.kind is Kind.CONNECTOR:
        return True
    age = health.checkpoint_age_seconds
    return age is not None and age < since


def take_note(
    contract: Contract,
    stream: Stream,
    seen: Observation,
    memory: Memory,
    store: StreamStore,
    holds: HoldStore,
    *,
    actor: str,
) -> None:
    """Write down what an observation shows that has to be remembered: new gaps, that the stream has lasted
    since its newest start, and how far it has come with what publication waits for.
    """
    known = {gap.description for gap in memory.gaps}
    for gap in seen.found_gaps:
        if gap.description not in known:
            store.open_gap(contract.name, stream.name, gap.tables, gap.description)
    facts = seen.facts
    told = Event(
        contract.name,
        stream.name,
        EventKind.CALM,
        state=facts.state,
        job_id=seen.health.job_id,
        spec_hash=facts.running_spec,
        actor=actor,
    )
    if calm(seen):
        store.record(replace(told, reason="it has lasted since its newest start"))
    if stream.name == LAKE and advance_hold(contract, seen, holds):
        said = "the lake has come as far again as it once was: publication goes on"
        store.record(replace(told, kind=EventKind.RELEASED, reason=said))


def advance_hold(contract: Contract, seen: Observation, holds: HoldStore) -> bool:
    """Take down how far the lake job has come with what publication waits for; true when that released it.

    A table that is stopped is not waited for: the others would stand still with it, and when it flows again
    publication is held back for it anew.
    """
    job_id, checkpoint_id = seen.health.job_id, seen.checkpoint_id
    if job_id is None or checkpoint_id is None or holds.held(contract.name) is None:
        return False
    stopped = {f"{contract.topic(table)}:0": sys.maxsize for table in contract.stopped}
    return holds.advance(contract.name, {**seen.committed, **stopped}, job_id, checkpoint_id)


def note_landed(contract: Contract, stream: Stream, seen: Observation, store: LandedStore) -> None:
    """Take down how far a Flink job's records have landed."""
    job_id, checkpoint_id = seen.health.job_id, seen.checkpoint_id
    if job_id is None or checkpoint_id is None or not seen.committed:
        return
    known = store.load(contract.name, stream.name)
    now = known.seen(job_id, checkpoint_id, seen.committed)
    if now != known:
        store.save(contract.name, stream.name, now)


def note_decision(
    contract: Contract, look: Look, store: StreamStore, *, actor: str, now: datetime | None = None
) -> None:
    """Write down what was decided, unless the last decision written down is the same."""
    last, action = look.memory.last, look.action
    if last is not None and (last.rule, last.verb) == (action.rule, action.verb.value):
        return
    store.record(
        Event(
            contract.name,
            look.stream.name,
            EventKind.DECISION,
            state="" if look.unknown else look.facts.state.value,
            verb=action.verb.value,
            rule=action.rule,
            reason=action.reason,
            checkpoint=action.checkpoints[0] if action.checkpoints else None,
            job_id=look.health.job_id,
            spec_hash=look.facts.running_spec or look.facts.spec or None,
            seconds_down=look.memory.seconds_down(now or datetime.now(UTC)),
            actor=actor,
        )
    )
