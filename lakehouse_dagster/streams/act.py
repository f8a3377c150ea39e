"""Carrying out what the table of decisions says about one stream, once, whoever else tries just then.

Used alike by runs of Dagster, by the command line and by drills. Everything happens under the stream's lock
and on facts that were asked under it, so two processes never start the same stream twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.flink import FlinkJob
from lakehouse_dagster.engines.kafka import GroupProgress, Partition
from lakehouse_dagster.streams.assets import Stream
from lakehouse_dagster.streams.checkpoints import candidates, retained, savepoint_folder
from lakehouse_dagster.streams.decision import Action, Desired, Facts, Kind, Verb, decide
from lakehouse_dagster.streams.lock import stream_lock
from lakehouse_dagster.streams.memory import Event, EventKind, Memory
from lakehouse_dagster.streams.notes import note_decision, take_note
from lakehouse_dagster.streams.observation import Observation
from lakehouse_dagster.streams.observe import observe
from lakehouse_dagster.streams.observe_job import job_parameters
from lakehouse_dagster.streams.plan import SPEC_PARAMETER, UNKNOWN_SPEC, flink_script, source_topics
from lakehouse_dagster.streams.start import JobStarter, Log, Started, start_connector
from lakehouse_dagster.streams.store import StreamStore
from lakehouse_dagster.streams.survey import Look

WAIT_SECONDS = 150.0
"""How long an operator's command waits for whoever acts on the stream just then."""
SAVEPOINT_SECONDS = 60.0
"""How long a job may take to stop with a savepoint before it is cancelled instead."""


@dataclass(frozen=True)
class Outcome:
    """What was done to a stream and how it stands now."""

    stream: str
    action: Action
    state: str
    detail: str = ""
    job_id: str | None = None
    spec_hash: str | None = None
    checkpoint: str | None = None
    """What a job was started from, or the savepoint that it was stopped with."""
    seconds: float = 0.0


# --- where to rewind to ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Earliest:
    """The first record that is kept, of every partition."""


@dataclass(frozen=True)
class AtTime:
    """The first record written at or after a moment, which has a time zone."""

    moment: datetime


@dataclass(frozen=True)
class AtOffsets:
    """Offsets by ``topic:partition``; partitions that are not named stay where they are."""

    offsets: Mapping[str, int]


RewindTarget = Earliest | AtTime | AtOffsets


# --- what can be asked for ------------------------------------------------------------------------


def reconcile(
    contract: Contract,
    stream: Stream,
    clients: Clients,
    *,
    log: Log,
    actor: str,
    acting: Callable[[], None] = lambda: None,
    savepoint: str | None = None,
    accept_gap: bool = False,
    wait: float = 0.0,
) -> Outcome:
    """Look at the stream anew and do what should be done about it, if anything.

    Safe to be called at any time and any number of times. ``savepoint`` is what a job starts from instead of
    its newest checkpoint, if it starts. ``accept_gap`` starts it in spite of changes that it can no longer
    read. ``wait`` seconds are spent at most until nobody else acts on the stream. ``acting`` is called once
    it is sure that something will be done.

    Raises ``EngineError`` when what was tried failed; the history has it then.
    """
    with _alone(contract, stream, clients, log, wait) as mine:
        if not mine:
            return _busy(stream)
        actor_ = _Actor(contract, stream, clients, log=log, actor=actor)
        return actor_.reconcile(acting=acting, savepoint=savepoint, accept_gap=accept_gap)


def pause(
    contract: Contract, stream: Stream, clients: Clients, *, log: Log, actor: str, reason: str = ""
) -> Outcome:
    """Stop the stream, a job with a savepoint, and leave it stopped until it is resumed."""
    return _declare(contract, stream, clients, Desired.PAUSED, log=log, actor=actor, reason=reason)


def resume(
    contract: Contract, stream: Stream, clients: Clients, *, log: Log, actor: str, reason: str = ""
) -> Outcome:
    """Let the stream run; starts that failed before no longer count."""
    return _declare(contract, stream, clients, Desired.RUNNING, log=log, actor=actor, reason=reason)


def upgrade(contract: Contract, stream: Stream, clients: Clients, *, log: Log, actor: str) -> Outcome:
    """Stop the stream with a savepoint and start the present specification, also when it runs that already.

    A stream that does not run is started as `reconcile` would. Raises ``EngineError`` when that fails.
    """
    with _alone(contract, stream, clients, log, WAIT_SECONDS) as mine:
        if not mine:
            return _busy(stream)
        return _Actor(contract, stream, clients, log=log, actor=actor).upgrade()


def rewind(
    contract: Contract,
    stream: Stream,
    clients: Clients,
    target: RewindTarget,
    *,
    log: Log,
    actor: str,
) -> Outcome:
    """Let a job read its topics again from ``target`` on, without its state; a paused one when it is resumed.

    Raises ``ValueError`` for the connector, which would write old changes behind newer ones, for a target
    ahead of what the job has committed, which would leave out changes, and for one that is no longer kept.
    """
    if stream.kind is Kind.CONNECTOR:
        raise ValueError(
            "a connector is not set back: it would write older changes behind newer ones; take a new "
            "snapshot of the tables instead (`lakehouse streams resnapshot`)"
        )
    if isinstance(target, AtTime) and target.moment.tzinfo is None:
        raise ValueError(f"{target.moment.isoformat()} has no time zone; write it with one, such as +00:00")
    with _alone(contract, stream, clients, log, WAIT_SECONDS) as mine:
        if not mine:
            return _busy(stream)
        return _Actor(contract, stream, clients, log=log, actor=actor).rewind(target)


def rewound(
    target: RewindTarget, progress: GroupProgress, found: Mapping[Partition, int]
) -> dict[Partition, int]:
    """Return the offsets that a rewind to ``target`` sets; ``found`` are those of an ``AtTime``'s moment.

    Raises ``ValueError`` for offsets that are not kept, were not reached yet, or of unknown partitions.
    """
    if isinstance(target, Earliest):
        return dict(progress.begin)
    if isinstance(target, AtTime):
        # A job that is behind that moment goes on where it is.
        return {at: min(offset, progress.committed.get(at, offset)) for at, offset in found.items()}
    offsets = {}
    for name, offset in target.offsets.items():
        at = Partition.parse(name)
        if at not in progress.end:
            known = ", ".join(map(str, sorted(progress.end)))
            raise ValueError(f"the stream reads no partition {name}; it reads {known}")
        first, last = progress.begin[at], progress.committed.get(at, progress.begin[at])
        if not first <= offset <= last:
            raise ValueError(
                f"{name}: offset {offset} is not between the first kept one, {first}, and {last}, up to "
                "which the stream has read; going ahead of that would leave out changes"
            )
        offsets[at] = offset
    return offsets


def _declare(
    contract: Contract,
    stream: Stream,
    clients: Clients,
    desired: Desired,
    *,
    log: Log,
    actor: str,
    reason: str,
) -> Outcome:
    # First of all, so that whoever acts on the stream just then, or next, heeds it.
    StreamStore(clients.postgres).declare(contract.name, stream.name, desired, by=actor, reason=reason)
    return reconcile(contract, stream, clients, log=log, actor=actor, wait=WAIT_SECONDS)


@contextmanager
def _alone(contract: Contract, stream: Stream, clients: Clients, log: Log, wait: float) -> Iterator[bool]:
    """Hold the stream's lock, if it can be had within ``wait`` seconds."""
    said = f"another process is acting on {stream.engine_name}; waiting for it, up to {wait:.0f} s"
    with stream_lock(
        clients.endpoints.postgres, contract.name, stream.name, wait=wait, waiting=lambda: log(said)
    ) as mine:
        yield mine


def _busy(stream: Stream) -> Outcome:
    return Outcome(stream.name, decide(Facts(stream.name, stream.kind, busy=True)), "unknown")


# --- doing it -------------------------------------------------------------------------------------


class _Actor:
    """Acts on one stream; whoever has one holds the stream's lock."""

    def __init__(self, contract: Contract, stream: Stream, clients: Clients, *, log: Log, actor: str) -> None:
        self.contract = contract
        self.stream = stream
        self.clients = clients
        self.store = StreamStore(clients.postgres)
        self.log = log
        self.actor = actor
        self.begun = time.monotonic()
        self.starter = JobStarter(contract, stream, clients, self.store, actor=actor, log=log)

    def reconcile(self, *, acting: Callable[[], None], savepoint: str | None, accept_gap: bool) -> Outcome:
        memory, seen = self._look()
        facts = seen.facts
        if accept_gap and facts.gap:
            self.log(f"the gap is accepted: {facts.gap}")
            facts = replace(facts, gap=None)
        action = decide(facts)
        self.log(f"{self.stream.engine_name} is {facts.state}; {action.reason}")
        look = Look(self.stream, memory, facts, action, seen.health, seen)
        note_decision(self.contract, look, self.store, actor=self.actor)
        if not action.acts:
            return self._outcome(action, facts.state, facts.detail, job_id=seen.health.job_id)
        acting()
        partitions = [gap.partition for gap in seen.found_gaps if gap.partition] if accept_gap else []
        match action.verb:
            case Verb.STOP:
                return self._stop(action, seen)
            case Verb.CANCEL_EXTRA:
                return self._cancel_extra(action, seen)
            case Verb.UPGRADE:
                return self._upgrade(action, seen, memory)
            case _:
                return self._start(action, seen, memory, savepoint=savepoint, gaps=partitions)

    def upgrade(self) -> Outcome:
        memory, seen = self._look()
        facts = seen.facts
        if (
            facts.state.alive
            and facts.unreachable is None
            and facts.missing is None
            and facts.refused is None
        ):
            action = Action(Verb.UPGRADE, "asked for by an operator", rule="asked")
            return self._upgrade(action, seen, memory)
        return self.reconcile(acting=lambda: None, savepoint=None, accept_gap=False)

    def rewind(self, target: RewindTarget) -> Outcome:
        memory, seen = self._look()
        for why in (seen.facts.unreachable, seen.facts.refused):
            if why is not None:
                raise EngineError("flink", why)
        kafka, group = self.clients.kafka, self.stream.engine_name
        reads = source_topics(self.contract, self.stream)
        found = kafka.offsets_at(reads, target.moment) if isinstance(target, AtTime) else {}
        rewound(target, kafka.progress(group, reads), found)  # refuses before anything is stopped
        self.starter.hold_back("the lake job was set back by an operator")
        for job in seen.living:
            self.log(f"cancelling job {job.id}")
            self.clients.flink.cancel(job.id)
        # What a job commits while it is being cancelled must not undo what is set here.
        offsets = rewound(target, kafka.progress(group, reads), found)
        # Before the offsets: a start in between would otherwise go on from a checkpoint as if nothing were.
        self.starter.forget_state()
        kafka.set_offsets(group, offsets)
        said = ", ".join(f"{at} to {offset:,}" for at, offset in sorted(offsets.items()))
        self.log(f"set back {said}")
        action = Action(Verb.RESTART, f"set back by an operator: {said}", rule="rewound")
        self._record(EventKind.REWIND, action, seen.facts, reason=said)
        if memory.declared.desired is Desired.PAUSED:
            return self._outcome(action, "absent", "paused; it is read again from there once it is resumed")
        return self._start(action, replace(seen, living=()), memory, savepoint=None, gaps=[])

    # --- verbs ---

    def _start(
        self,
        action: Action,
        seen: Observation,
        memory: Memory,
        *,
        savepoint: str | None,
        gaps: list[str],
        fresh: str | None = None,
        kind: EventKind = EventKind.START,
    ) -> Outcome:
        """Start the stream, after ending what is left of it, and record how that went."""
        try:
            if self.stream.kind is Kind.CONNECTOR:
                started = start_connector(
                    self.contract,
                    self.stream,
                    self.clients,
                    state=seen.facts.state,
                    anew=action.verb in (Verb.RESTART, Verb.UPGRADE),
                    log=self.log,
                )
            else:
                self._end(action, seen)
                checkpoints = action.checkpoints
                if gaps:
                    self.starter.accept_gaps(gaps)
                    checkpoints = ()
                started = self.starter.start(checkpoints, fresh=fresh, only=savepoint)
        except EngineError as error:
            self._record(kind, action, seen.facts, reason=f"{action.reason}: {error}", ok=False)
            raise
        return self._started(action, seen.facts, memory, started, kind)

    def _started(
        self, action: Action, facts: Facts, memory: Memory, started: Started, kind: EventKind
    ) -> Outcome:
        down = memory.seconds_down(datetime.now(UTC))
        reason = action.reason if started.ready else f"{action.reason}: {started.detail or started.state}"
        self._record(
            kind,
            action,
            facts,
            state=started.state,
            reason=reason,
            checkpoint=started.checkpoint,
            job_id=started.job_id,
            seconds_down=down,
            ok=started.ready,
        )
        return self._outcome(
            action,
            started.state,
            started.detail,
            job_id=started.job_id,
            spec_hash=facts.spec,
            checkpoint=started.checkpoint,
        )

    def _upgrade(self, action: Action, seen: Observation, memory: Memory) -> Outcome:
        if self.stream.kind is Kind.CONNECTOR:
            # Connect replaces the configuration and restarts the tasks; the offsets stay.
            return self._start(action, seen, memory, savepoint=None, gaps=[], kind=EventKind.UPGRADE)
        script = flink_script(self.contract, self.stream)
        savepoint = self._stop_jobs(seen)
        addresses: tuple[str, ...] = ()
        if seen.running_state == script.state_hash:
            found = retained(self.clients.store, script.name, script.state_hash)
            addresses = candidates(found, bad=memory.bad_checkpoints, floor=memory.state_floor)
        else:
            self.log("the job's shape has changed: its state is not handed on")
            # State of the new shape, if there is any, is left from an earlier time and far behind.
            self.starter.forget_state()
            savepoint = None
        if savepoint is not None:
            addresses = (savepoint, *(address for address in addresses if address != savepoint))
        return self._start(
            replace(action, checkpoints=addresses),
            replace(seen, living=()),
            memory,
            savepoint=None,
            gaps=[],
            fresh=savepoint,
            kind=EventKind.UPGRADE,
        )

    def _stop(self, action: Action, seen: Observation) -> Outcome:
        if self.stream.kind is Kind.CONNECTOR:
            # A task that is still ending would carry changes that are made after this.
            self.clients.connect.stop_and_wait(self.stream.engine_name)
            self.log(f"stopped connector {self.stream.engine_name}; its offsets stay")
            self._record(EventKind.STOP, action, seen.facts, state="paused")
            return self._outcome(action, "paused")
        savepoint = self._stop_jobs(seen)
        self._record(
            EventKind.STOP,
            action,
            seen.facts,
            state="absent",
            checkpoint=savepoint,
            job_id=seen.health.job_id,
        )
        return self._outcome(action, "absent", job_id=seen.health.job_id, checkpoint=savepoint)

    def _cancel_extra(self, action: Action, seen: Observation) -> Outcome:
        told = {job.id: job_parameters(self.clients, job) or {} for job in seen.living}
        specs = {job_id: found.get(SPEC_PARAMETER, UNKNOWN_SPEC) for job_id, found in told.items()}
        kept = keep(seen.living, specs, seen.facts.spec)
        for job in seen.living:
            if job.id != kept.id:
                self.log(f"cancelling job {job.id}; {kept.id} stays")
                self.clients.flink.cancel(job.id)
                self._record(EventKind.CANCEL, action, seen.facts, job_id=job.id)
        return self._outcome(action, seen.facts.state, job_id=kept.id)

    def _stop_jobs(self, seen: Observation) -> str | None:
        """Stop what is alive of the job; returns the newest savepoint that was taken."""
        savepoint = None
        for job in seen.living:
            savepoint = self._stop_job(job, seen) or savepoint
        return savepoint

    def _stop_job(self, job: FlinkJob, seen: Observation) -> str | None:
        """Stop a job with a savepoint, which is returned; cancel it when that fails."""
        folder = savepoint_folder(
            self.clients.endpoints.s3.bucket, self.stream.engine_name, seen.running_state or UNKNOWN_SPEC
        )
        try:
            savepoint = self.clients.flink.stop_with_savepoint(job.id, folder, timeout=SAVEPOINT_SECONDS)
        except EngineError as error:
            self.log(f"no savepoint of job {job.id} ({error.message}); cancelling it, its checkpoints stay")
            self.clients.flink.cancel(job.id)
            return None
        self.log(f"stopped job {job.id} with {savepoint}")
        return savepoint

    def _end(self, action: Action, seen: Observation) -> None:
        """Cancel what is left alive of the job."""
        for job in seen.living:
            self.log(f"cancelling job {job.id}")
            self.clients.flink.cancel(job.id)
            self._record(EventKind.CANCEL, action, seen.facts, job_id=job.id)

    # --- helpers ---

    def _look(self) -> tuple[Memory, Observation]:
        memory = self.store.memory(self.contract.name, [self.stream.name])[self.stream.name]
        seen = observe(self.contract, self.stream, self.clients, memory, busy=False, fresh=True)
        from lakehouse_dagster.governance.hold import HoldStore

        holds = HoldStore(self.clients.postgres)
        take_note(self.contract, self.stream, seen, memory, self.store, holds, actor=self.actor)
        return memory, seen

    def _record(
        self,
        kind: EventKind,
        action: Action,
        facts: Facts,
        *,
        state: str | None = None,
        reason: str | None = None,
        checkpoint: str | None = None,
        job_id: str | None = None,
        seconds_down: float | None = None,
        ok: bool = True,
    ) -> None:
        self.store.record(
            Event(
                self.contract.name,
                self.stream.name,
                kind,
                state=str(state or facts.state),
                verb=action.verb,
                rule=action.rule,
                reason=reason if reason is not None else action.reason,
                checkpoint=checkpoint,
                job_id=job_id,
                spec_hash=facts.spec,
                seconds_down=seconds_down,
                actor=self.actor,
                ok=ok,
            )
        )

    def _outcome(
        self,
        action: Action,
        state: str,
        detail: str = "",
        *,
        job_id: str | None = None,
        spec_hash: str | None = None,
        checkpoint: str | None = None,
    ) -> Outcome:
        seconds = round(time.monotonic() - self.begun, 1)
        return Outcome(self.stream.name, action, str(state), detail, job_id, spec_hash, checkpoint, seconds)


def keep(living: tuple[FlinkJob, ...], specs: Mapping[str, str], wanted: str) -> FlinkJob:
    """Return which of several living jobs stays: of the wanted specification, running, and the oldest."""
    return min(living, key=lambda job: (specs.get(job.id) != wanted, not job.running, job.start_ms, job.id))
