"""The facts about one stream and the figures of its health, asked of its engines.

Every engine is asked once, with small requests; an engine that does not answer is a fact, not an error. What
is expensive (listing checkpoints, comparing schemas) is only asked when it can matter: when the stream is not
alive, loops, or runs another specification than it should.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.errors import PositionOverflow
from lakehouse_dagster.contract.position import encode, file_number
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.errors import EngineError, EngineUnavailable
from lakehouse_dagster.streams.assets import LAKE, Stream
from lakehouse_dagster.streams.checkpoints import candidates, retained
from lakehouse_dagster.streams.decision import LOOP_SECONDS, Facts, Kind, State
from lakehouse_dagster.streams.drift import lake_drift, source_drift
from lakehouse_dagster.streams.health import Health
from lakehouse_dagster.streams.memory import Event, EventKind, Memory
from lakehouse_dagster.streams.plan import (
    SPEC_PARAMETER,
    STATE_PARAMETER,
    config_hash,
    connector_config,
    flink_script,
    source_topics,
)

if TYPE_CHECKING:
    from lakehouse_dagster.engines.connect import ConnectorStatus
    from lakehouse_dagster.engines.flink import FlinkJob
    from lakehouse_dagster.engines.kafka import GroupProgress, Partition
    from lakehouse_dagster.engines.mysql import SourceCondition
    from lakehouse_dagster.governance.hold import HoldStore
    from lakehouse_dagster.streams.store import StreamStore

UNKNOWN_SPEC = "unknown"
"""Stands for the specification of a running job that does not tell any."""
CALM_SECONDS = 30.0
"""How long a stream must last after its newest start for that start to count as a success."""
DRIFT_SECONDS = 60.0
"""How long the lake tables' schemas are believed to be as they were found."""
_SECOND_LOOK_SECONDS = 1.0

_Found = TypeVar("_Found")
NO_HEALTH = Health()


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


def observe(
    contract: Contract,
    stream: Stream,
    clients: Clients,
    memory: Memory,
    *,
    busy: bool | None = None,
    fresh: bool = False,
    now: datetime | None = None,
) -> Observation:
    """Return what is true of ``stream`` now. An engine that cannot be asked is a fact too.

    ``busy`` is asked of the store unless it is given (whoever holds the stream's lock knows it). ``fresh``
    asks everything anew, where a sensor may believe what was true a minute ago. Raises ``EngineError`` only
    when the platform's own memory cannot be asked.
    """
    moment = now or datetime.now(UTC)
    if busy is None:
        busy = _store(clients).busy(contract.name, stream.name)
    known = Facts(
        stream.name,
        stream.kind,
        desired=memory.declared.desired,
        busy=busy,
        upgrade_by_hand=contract.pipeline.upgrades == "by_hand",
        seen_before=memory.seen_before,
        seconds_down=memory.seconds_down(moment),
        gap="; ".join(gap.description for gap in memory.gaps) or None,
    )
    if stream.kind is Kind.CONNECTOR:
        look: _Look = _ConnectorLook(contract, stream, clients, memory, known, moment)
    else:
        look = _JobLook(contract, stream, clients, memory, known, moment, fresh)
    try:
        return look.take()
    except EngineUnavailable as error:
        return Observation(replace(look.known, unreachable=str(error)))
    except EngineError as error:
        return Observation(replace(look.known, unreachable=f"{error}; see `lakehouse logs {error.engine}`"))


def _store(clients: Clients) -> StreamStore:
    from lakehouse_dagster.streams.store import StreamStore

    return StreamStore(clients.postgres)


def _asked(question: Callable[[], _Found]) -> tuple[_Found | None, EngineError | None]:
    """Return the answer, or why there is none."""
    try:
        return question(), None
    except EngineError as error:
        return None, error


def _with_starts(facts: Facts, memory: Memory) -> Facts:
    starts = memory.starts_of(facts.spec)
    return replace(facts, failed_starts=starts.recent, seconds_since_start=starts.seconds_since_last)


def _with_gaps(facts: Facts, memory: Memory, found: Sequence[FoundGap]) -> Facts:
    remembered = [gap.description for gap in memory.gaps]
    new = [gap.description for gap in found if gap.description not in remembered]
    return replace(facts, gap="; ".join([*remembered, *new]) or None)


class _Look:
    """One look at one stream; ``known`` grows while engines answer."""

    def __init__(
        self,
        contract: Contract,
        stream: Stream,
        clients: Clients,
        memory: Memory,
        known: Facts,
        now: datetime,
    ) -> None:
        self.contract = contract
        self.stream = stream
        self.clients = clients
        self.memory = memory
        self.known = known
        self.now = now

    def take(self) -> Observation:
        """Ask the engines."""
        raise NotImplementedError


# --- connector ------------------------------------------------------------------------------------


class _ConnectorLook(_Look):
    def take(self) -> Observation:
        config = connector_config(self.contract, self.clients.endpoints)
        self.known = _with_starts(replace(self.known, spec=config_hash(config)), self.memory)
        name = self.stream.engine_name
        status = self.clients.connect.status(name)
        state, detail = connector_state(status)
        stored = self.clients.connect.config(name) if status is not None else None
        running_spec = None if stored is None else config_hash(stored)
        no_connectors = status is None and self._none_known()
        self.known = replace(
            self.known,
            state=state,
            detail=detail,
            living=int(state.alive),
            running_spec=running_spec,
            no_connectors=no_connectors,
        )
        # A worker that has forgotten the connector still has its offsets.
        offset, _ = _asked(lambda: _source_offset(self.clients.connect.offsets(name)))
        # The server is asked after the offsets, so what they hold it has executed.
        read = None if offset is None else offset.gtids
        source, away = _asked(lambda: self.clients.source.condition(read))
        missing = refused = None
        found: list[FoundGap] = []
        if source is None:
            missing = str(away)
        else:
            refused = refused_source(self.contract, source)
            if source.purged_unread and not state.alive:
                found.append(_binlog_gap(self.contract, source))
        outdated = running_spec is not None and running_spec != self.known.spec
        if missing is None and (not state.alive or outdated):
            missing = self._missing()
        facts = _with_gaps(replace(self.known, missing=missing, refused=refused), self.memory, found)
        return Observation(facts, self._health(running_spec, offset, source), tuple(found))

    def _none_known(self) -> bool:
        """Whether Connect knows no connector at all."""
        try:
            return not self.clients.connect.connectors()
        except EngineError as error:
            if error.status != 404:
                raise
            # Its web server is up before its interface is: until then nothing is there, not even the list.
            raise EngineUnavailable(
                "connect", self.clients.connect.url, cause="it is still starting"
            ) from error

    def _missing(self) -> str | None:
        """What is not there for a start, with the fix."""
        try:
            said = missing_tables(self.contract, self.clients) or drifted_source(self.contract, self.clients)
        except EngineError as error:
            return str(error)
        if said is not None:
            return said
        _, away = _asked(self.clients.kafka.topics)
        return None if away is None else str(away)

    def _health(
        self, running_spec: str | None, offset: _SourceOffset | None, source: SourceCondition | None
    ) -> Health:
        end = None if source is None else place(self.contract, source.position.file, source.position.pos)
        at = None
        if offset is not None and offset.file is not None:
            at = place(self.contract, offset.file, offset.pos)
            if source is not None and offset.gtids and not source.unread:
                # It has read all there is; a place further on is that of an event of no interest to it.
                at = end
        return Health(running_spec=running_spec, read=at, available=end)


@dataclass(frozen=True)
class _SourceOffset:
    """A connector's stored offset, as far as it tells."""

    gtids: str | None
    file: str | None
    pos: int


def _source_offset(offsets: Sequence[Mapping[str, Mapping[str, object]]]) -> _SourceOffset | None:
    if not offsets:
        return None
    offset = offsets[0].get("offset") or {}
    gtids, file, pos = offset.get("gtids"), offset.get("file"), offset.get("pos")
    return _SourceOffset(
        gtids if isinstance(gtids, str) else None,
        file if isinstance(file, str) else None,
        pos if isinstance(pos, int) else 0,
    )


def place(contract: Contract, file: str, pos: int) -> int | None:
    """Return a place in the binary log as one number that grows along it; ``None`` when it has none."""
    try:
        return encode(contract.epoch, file_number(file), pos, 0)
    except (PositionOverflow, ValueError):
        return None


def refused_source(contract: Contract, source: SourceCondition) -> str | None:
    """Say why the source must not be read although it could be, with the fix; ``None`` when it may."""
    if not source.utc:
        return (
            f"the source's time zone is {source.time_zone}, not UTC: its TIMESTAMP columns would be carried "
            "wrongly; set `default-time-zone = '+00:00'` in the server's configuration, or run "
            "`SET PERSIST time_zone = '+00:00'`, and restart it"
        )
    if source.unknown_here:
        return (
            f"the source was reset or replaced: the connector has read transactions {source.unknown_here} "
            f"that this server never executed; if that was meant, raise `source.epoch` of {contract.name} "
            "and take a new snapshot (docs/pipelines.md, `source.epoch`)"
        )
    return None


def _binlog_gap(contract: Contract, source: SourceCondition) -> FoundGap:
    return FoundGap(
        tuple(table.name for table in contract.tables),
        f"transactions {source.purged_unread} of {contract.database} were purged from the binary log before "
        "the connector had read them",
    )


def connector_state(status: ConnectorStatus | None) -> tuple[State, str]:
    """Reduce Connect's words; a connector is only as well as its worst task."""
    if status is None:
        return State.ABSENT, ""
    if status.failed:
        return State.FAILED, status.error
    if status.running:
        return State.RUNNING, ""
    if status.state in {"PAUSED", "STOPPED"}:
        return State.PAUSED, status.state.lower()
    tasks = ", ".join(f"task {task.id} {task.state}" for task in status.tasks) or "no task yet"
    restarting = status.state == "RESTARTING" or any(task.state == "RESTARTING" for task in status.tasks)
    return (State.RESTARTING if restarting else State.STARTING), f"connector {status.state}, {tasks}"


def missing_tables(contract: Contract, clients: Clients) -> str | None:
    """Say which source tables do not exist yet, with the fix; ``None`` when all are there."""
    rows = clients.source.query(
        "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = %s",
        (contract.database,),
    )
    there = {str(row["name"]) for row in rows}
    absent = [table.name for table in contract.tables if table.name not in there]
    if not absent:
        return None
    listed = ", ".join(f"{contract.database}.{name}" for name in absent)
    return (
        f"source table(s) {listed} do not exist yet; create and fill them "
        f"(for the sample: `lakehouse replay {contract.name}`)"
    )


def drifted_source(contract: Contract, clients: Clients) -> str | None:
    """Say where the source's schema differs from the locked one, with the fix; ``None`` when nowhere."""
    said = source_drift(contract, clients.source.read_schema(contract.database, _names(contract)))
    if not said:
        return None
    return (
        f"the source's schema is not the locked one: {'; '.join(said)}; run `lakehouse lock {contract.name}`"
    )


# --- Flink jobs -----------------------------------------------------------------------------------


class _JobLook(_Look):
    def __init__(
        self,
        contract: Contract,
        stream: Stream,
        clients: Clients,
        memory: Memory,
        known: Facts,
        now: datetime,
        fresh: bool,
    ) -> None:
        super().__init__(contract, stream, clients, memory, known, now)
        self.fresh = fresh

    def take(self) -> Observation:
        script = flink_script(self.contract, self.stream)
        self.known = _with_starts(replace(self.known, spec=script.spec_hash), self.memory)
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
        progress, away = _asked(self._progress)
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
        facts = _with_gaps(replace(facts, missing=missing, checkpoints=addresses), self.memory, found)
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
        told = _parameters(self.clients, job)
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
        found, away = _asked(lambda: retained(self.clients.store, self.stream.engine_name, state_hash))
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
                    _knock("cassandra", endpoint.host, endpoint.port)
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
            again, _ = _asked(self._progress)
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
        filled, _ = _asked(lambda: lake_is_filled(self.contract, self.clients))
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
        table = _table(contract, at)
        first, end = progress.begin.get(at, 0), progress.end[at]
        # The words hold nothing that changes while the gap stays, so that it stays one gap.
        if done < first:
            said = f"{table}: {at} was deleted from offset {done} on before {stream.name} had read it"
        elif done > end:
            said = f"{table}: {at} was emptied or made anew: {stream.name} had read it up to offset {done}"
        else:
            continue
        found.append(FoundGap((table,), said, str(at)))
    return tuple(found)


def lake_is_filled(contract: Contract, clients: Clients) -> bool:
    """Whether any lake table has a snapshot."""
    return any(clients.paimon.latest(*contract.lake_path(table)) is not None for table in _names(contract))


def drifted_lake(contract: Contract, clients: Clients) -> str | None:
    """Say where existing lake tables differ from the contract, with the fix; ``None`` when nowhere."""
    names = _names(contract)
    paimon = clients.paimon  # made before the threads, which share it
    with ThreadPoolExecutor(max_workers=8) as pool:
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
    """Take down how far the lake job has come with what publication waits for; true when that released it."""
    job_id, checkpoint_id = seen.health.job_id, seen.checkpoint_id
    if job_id is None or checkpoint_id is None or holds.held(contract.name) is None:
        return False
    return holds.advance(contract.name, seen.committed, job_id, checkpoint_id)


def _names(contract: Contract) -> list[str]:
    return [table.name for table in contract.tables]


def _table(contract: Contract, at: Partition) -> str:
    return next((name for name in _names(contract) if contract.topic(name) == at.topic), at.topic)


def _knock(engine: str, host: str, port: int) -> None:
    """Raise ``EngineUnavailable`` when nobody listens."""
    try:
        socket.create_connection((host, port), timeout=2.0).close()
    except OSError as error:
        raise EngineUnavailable(engine, f"{host}:{port}", cause=str(error)) from error


def _parameters(clients: Clients, job: FlinkJob) -> Mapping[str, str] | None:
    """The parameters that a job was submitted with; they never change, so each job is asked once."""
    key = (clients.endpoints.flink.url, job.id)
    if key not in _PARAMETERS:
        told = clients.flink.parameters(job.id)
        if told is None:
            return None
        if len(_PARAMETERS) > 1000:
            _PARAMETERS.clear()
        _PARAMETERS[key] = told
    return _PARAMETERS[key]


_PARAMETERS: dict[tuple[str, str], Mapping[str, str]] = {}
_DRIFT: dict[tuple[str, str, str], tuple[float, str | None]] = {}
