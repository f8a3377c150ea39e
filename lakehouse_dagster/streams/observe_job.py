"""What is true of a Flink job now: asked of Flink, of Kafka and, before a start, of what it writes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.tcp import knock
from lakehouse_dagster.streams.assets import LAKE, Stream
from lakehouse_dagster.streams.checkpoints import candidates, retained
from lakehouse_dagster.streams.decision import LOOP_SECONDS, State
from lakehouse_dagster.streams.drift import lake_drift
from lakehouse_dagster.streams.health import Health
from lakehouse_dagster.streams.observation import (
    EngineLook,
    FoundGap,
    Observation,
    asked,
    with_gaps,
    with_starts,
)
from lakehouse_dagster.streams.plan import (
    SPEC_PARAMETER,
    STATE_PARAMETER,
    UNKNOWN_SPEC,
    flink_script,
    source_topics,
)

if TYPE_CHECKING:
    from lakehouse_dagster.engines.flink import FlinkJob
    from lakehouse_dagster.engines.kafka import GroupProgress, Partition

DRIFT_SECONDS = 60.0
"""How long the lake tables' schemas are believed to be as they were found."""
_SECOND_LOOK_SECONDS = 1.0


class JobLook(EngineLook):
    """One look at a Flink job."""

    def take(self) -> Observation:
        """Ask Flink and Kafka; raises ``EngineError`` when Flink cannot be asked."""
        if not source_topics(self.contract, self.stream):
            # There is no job without tables: what runs of it is compared with what would run otherwise.
            stopped = "; ".join(f"{table} is stopped: {why}" for table, why in self.contract.stopped.items())
            self.known = replace(self.known, refused=f"no table is left to it: {stopped}")
            self.contract = replace(self.contract, stopped={})
        script = flink_script(self.contract, self.stream)
        self.known = with_starts(replace(self.known, spec=script.spec_hash), self.memory)
        flink = self.clients.flink
        named = [job for job in flink.jobs() if job.name == self.stream.engine_name]
        state, detail, job = job_state(named)
        living = living_jobs(named)
        overview = flink.overview()
        health = Health(
            job_id=job.id if job is not None and job.alive else None,
            checkpoint_interval_seconds=self.contract.pipeline.checkpoint_interval_seconds,
            slots_free=overview.slots_available,
            slots_total=overview.slots_total,
        )
        self.known = replace(self.known, state=state, detail=detail, living=len(living))
        # Before the newest checkpoint is asked for: what is committed then belongs to it or to an older one.
        progress, away = asked(self._progress)
        if progress is not None:
            health = replace(
                health, read=progress.read, available=progress.available, lag_records=progress.lag
            )
        checkpoint_id = running_state = None
        if job is not None and job.alive:
            health, checkpoint_id, running_state = self._alive(job, health)
        elif job is not None and state is State.FAILED:
            self.known = replace(self.known, detail=flink.exception(job.id) or detail)
        facts = self.known
        wanted = not state.alive or facts.looping or (facts.outdated and not facts.upgrade_by_hand)
        missing = str(away) if away is not None else None
        addresses: tuple[str, ...] = ()
        if wanted:
            said, addresses = self._for_a_start(
                script.state_hash, overview.slots_total, overview.slots_available
            )
            missing = missing or said
        found: tuple[FoundGap, ...] = ()
        if progress is not None:
            unstarted = not state.alive and missing is None and not addresses
            found = self._gaps(progress, unstarted)
        facts = with_gaps(replace(facts, missing=missing, checkpoints=addresses), self.memory, found)
        return Observation(
            facts,
            health,
            found,
            living=tuple(living),
            running_state=running_state,
            committed={} if progress is None else {str(at): n for at, n in progress.committed.items()},
            checkpoint_id=checkpoint_id,
        )

    def _alive(self, job: FlinkJob, health: Health) -> tuple[Health, int | None, str | None]:
        """Add what a living job tells of itself."""
        flink = self.clients.flink
        told = job_parameters(self.clients, job)
        running_spec = None if told is None else told.get(SPEC_PARAMETER, UNKNOWN_SPEC)
        checkpoints = flink.checkpoints(job.id)
        now_ms = self.now.timestamp() * 1000
        newest_ms = max(checkpoints.latest_completed_ms or 0, job.start_ms)
        stuck = max(0.0, (now_ms - newest_ms) / 1000)
        restarts, detail = 0, self.known.detail
        # A job that has just completed a checkpoint is well whatever happened before.
        if stuck >= LOOP_SECONDS or not job.running:
            failures = flink.failures(job.id)
            restarts = sum(failure.at_ms > newest_ms for failure in failures)
            if failures and not job.running:
                detail = failures[0].cause or detail
        state = self.known.state
        if state is State.STARTING and restarts:
            state = State.RESTARTING
        self.known = replace(
            self.known,
            state=state,
            detail=detail,
            running_spec=running_spec,
            restarts=restarts,
            seconds_without_progress=stuck,
        )
        age = None
        if checkpoints.latest_completed_ms is not None:
            age = max(0.0, (now_ms - checkpoints.latest_completed_ms) / 1000)
        health = replace(
            health,
            running_spec=running_spec,
            checkpoint=checkpoints.latest_path,
            checkpoint_age_seconds=age,
            restarts=flink.restarts(job.id),
        )
        return health, checkpoints.latest_id, None if told is None else told.get(STATE_PARAMETER)

    def _progress(self) -> GroupProgress:
        return self.clients.kafka.progress(self.stream.engine_name, source_topics(self.contract, self.stream))

    def _for_a_start(
        self, state_hash: str, slots_total: int, slots_available: int
    ) -> tuple[str | None, tuple[str, ...]]:
        """What is not there for a start (with the fix), and the checkpoints it could use."""
        found, away = asked(lambda: retained(self.clients.store, self.stream.engine_name, state_hash))
        if found is None:
            return str(away), ()
        usable = candidates(found, bad=self.memory.bad_checkpoints, floor=self.memory.state_floor)
        free = slots_available if not self.known.state.alive else slots_total
        if free <= 0:
            where = (
                "no TaskManager is registered" if slots_total <= 0 else f"all {slots_total} slots are taken"
            )
            return f"Flink has no slot for the job: {where}; see `lakehouse status`", usable
        return self._away() or self._drift(), usable

    def _away(self) -> str | None:
        """An engine that the job writes and that does not answer, with the fix."""
        try:
            self.clients.submitter  # noqa: B018 - raises when the Flink client is not installed
            if self.stream.name != LAKE:
                engines = {view.engine for view in self.contract.views}
                if "cassandra" in engines:
                    endpoint = self.clients.endpoints.cassandra
                    knock("cassandra", endpoint.host, endpoint.port)
                if "couchdb" in engines:
                    self.clients.couchdb.version()
        except EngineError as error:
            return str(error)
        return None

    def _drift(self) -> str | None:
        if self.stream.name != LAKE:
            return None
        key = (self.clients.endpoints.paimon.warehouse, self.contract.name, self.known.spec)
        at, said = _DRIFT.get(key, (-DRIFT_SECONDS, None))
        if self.fresh or time.monotonic() - at >= DRIFT_SECONDS:
            try:
                said = drifted_lake(self.contract, self.clients)
            except EngineError as error:
                return str(error)
            _DRIFT[key] = (time.monotonic(), said)
        return said

    def _gaps(self, progress: GroupProgress, unstarted: bool) -> tuple[FoundGap, ...]:
        """Gaps in the topics. ``unstarted``: the job is not there and has no checkpoint to start from."""
        found = topic_gaps(self.contract, self.stream, progress)
        known = {gap.description for gap in self.memory.gaps}
        if any(gap.description not in known for gap in found):
            # A gap stops the stream until it is repaired, and a broker that has just come back may for a
            # moment show less than it holds: it is believed when it is seen twice.
            time.sleep(_SECOND_LOOK_SECONDS)
            again, _ = asked(self._progress)
            seen = (
                {gap.description for gap in topic_gaps(self.contract, self.stream, again)} if again else set()
            )
            found = tuple(gap for gap in found if gap.description in seen)
        if unstarted and not found:
            found = self._never_committed(progress)
        return found

    def _never_committed(self, progress: GroupProgress) -> tuple[FoundGap, ...]:
        """The gap of a job that would have to begin with a topic's first record, and that record is gone."""
        cut = [at for at, first in progress.begin.items() if first > 0 and at not in progress.committed]
        if self.stream.name != LAKE or not cut:
            return ()
        filled, _ = asked(lambda: lake_is_filled(self.contract, self.clients))
        if not filled:
            return ()
        return tuple(
            FoundGap(
                (_table(self.contract, at),),
                f"{_table(self.contract, at)}: nothing tells how far the lake has come with {at}, and its "
                f"first records are no longer kept",
                str(at),
            )
            for at in sorted(cut)
        )


def topic_gaps(contract: Contract, stream: Stream, progress: GroupProgress) -> tuple[FoundGap, ...]:
    """Return the partitions whose next record can no longer be read, or was replaced by another one."""
    found = []
    for at, done in sorted(progress.committed.items()):
        first, end = progress.begin.get(at, 0), progress.end[at]
        if first <= done <= end:
            continue
        table = _table(contract, at)
        # The words hold nothing that changes while the gap stays, so that it stays one gap.
        if done < first:
            said = f"{table}: {at} was deleted from offset {done} on before {stream.name} had read it"
        else:
            said = f"{table}: {at} was emptied or made anew: {stream.name} had read it up to offset {done}"
        found.append(FoundGap((table,), said, str(at)))
    return tuple(found)


def lake_is_filled(contract: Contract, clients: Clients) -> bool:
    """Whether any lake table has a snapshot."""
    paths = [contract.lake_path(table.name) for table in contract.tables]
    return any(clients.paimon.latest(*path) is not None for path in paths)


def drifted_lake(contract: Contract, clients: Clients) -> str | None:
    """Say where existing lake tables differ from the contract, with the fix; ``None`` when nowhere."""
    names = [table.name for table in contract.tables]
    paimon = clients.paimon  # made before the threads, which share it
    with ThreadPoolExecutor(max_workers=16) as pool:
        schemas = pool.map(lambda table: paimon.schema(*contract.lake_path(table)), names)
        found = {table: schema for table, schema in zip(names, schemas, strict=True) if schema is not None}
    said = lake_drift(contract, found)
    if not said:
        return None
    return (
        f"lake tables were made under another contract: {'; '.join(said)}; restore that contract, or delete "
        f"the table's folder below {clients.paimon.warehouse}/{contract.name}.db to have it made anew"
    )


def living_jobs(named: Sequence[FlinkJob]) -> list[FlinkJob]:
    """Return the jobs that live; one that is being cancelled counts only while no other lives."""
    alive = [job for job in named if job.alive]
    return [job for job in alive if job.state != "CANCELLING"] or alive


def job_state(named: Sequence[FlinkJob]) -> tuple[State, str, FlinkJob | None]:
    """Reduce Flink's words about the jobs of one name: a living one counts, else the newest."""
    living = living_jobs(named)
    if living:
        job = next((job for job in living if job.running), living[0])
        if job.running:
            return State.RUNNING, "", job
        state = State.RESTARTING if job.state in {"RESTARTING", "FAILING"} else State.STARTING
        return state, f"job {job.id} is {job.state}", job
    if named and named[0].state == "FAILED":
        return State.FAILED, f"job {named[0].id} FAILED", named[0]
    return State.ABSENT, "", None


def _table(contract: Contract, at: Partition) -> str:
    names = (table.name for table in contract.tables)
    return next((name for name in names if contract.topic(name) == at.topic), at.topic)


def job_parameters(clients: Clients, job: FlinkJob) -> Mapping[str, str] | None:
    """The parameters that a job was submitted with, ``None`` while it cannot tell them yet.

    They never change, so each job is asked until it has told them. One that is being set up has none yet
    (Flink 1.20 answers with an empty configuration), which says nothing about it.
    """
    key = (clients.endpoints.flink.url, job.id)
    if key in _PARAMETERS:
        return _PARAMETERS[key]
    told = clients.flink.parameters(job.id)
    if told is None or (SPEC_PARAMETER not in told and not job.running):
        return None
    if SPEC_PARAMETER in told:
        if len(_PARAMETERS) > 1000:
            _PARAMETERS.clear()
        _PARAMETERS[key] = told
    return told


_PARAMETERS: dict[tuple[str, str], Mapping[str, str]] = {}
_DRIFT: dict[tuple[str, str, str], tuple[float, str | None]] = {}
