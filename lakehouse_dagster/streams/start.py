"""Starting one stream: a connector, or a Flink job from the best state it can use.

A job tries its checkpoints from the newest on. One that cannot be read is remembered as bad and never tried
again; when none is left, the job starts without state where its records have surely landed, a little before
its group's committed offsets, or from the first records that are kept. Whenever the lake's job may read
records again that it has read before, publication is held back first, until the job has come as far as it
once was: nothing comes back from the dead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.errors import ConflictError, EngineError, EngineUnavailable
from lakehouse_dagster.engines.flink import is_restore_failure, script_environment
from lakehouse_dagster.render import cassandra, couchdb
from lakehouse_dagster.render.topics import topics
from lakehouse_dagster.streams import landed
from lakehouse_dagster.streams.assets import LAKE, SERVING, Stream
from lakehouse_dagster.streams.checkpoints import CHECKPOINTS, abandoned, candidates, retained
from lakehouse_dagster.streams.decision import State
from lakehouse_dagster.streams.memory import Event, EventKind
from lakehouse_dagster.streams.observe_connector import connector_state
from lakehouse_dagster.streams.observe_job import job_state, lake_is_filled
from lakehouse_dagster.streams.plan import connector_config, flink_script, placed, source_topics
from lakehouse_dagster.streams.store import StreamStore

READY_SECONDS = 90.0
"""How long a started stream is watched until it runs and, a job, has completed its first checkpoint."""
POLL_SECONDS = 0.3
REBALANCE_SECONDS = 20.0
"""How long Connect may refuse requests because it distributes connectors and tasks among its workers."""

FASTEST_PER_SECOND = 50_000
"""Records per second: more than a job of one source was seen to read."""

STEP_BACK_INTERVALS = 4
"""Checkpoint intervals that are read again by a job that starts without a checkpoint."""

ABANDONED_AGE = timedelta(hours=24)
"""What a job that has ended left is kept so long, whether it could still be used or not."""

CHECKPOINT_MAGIC = bytes.fromhex("4960672d")
"""First bytes of a checkpoint's or savepoint's metadata (Flink 1.20, ``Checkpoints.HEADER_MAGIC_NUMBER``)."""

Log = Callable[[str], None]


class RestoreFailed(EngineError):  # noqa: N818 - says what happened
    """A job could not read the state it was started from."""


@dataclass(frozen=True)
class Started:
    """What came of a start: how the stream is, and whether it is ready."""

    state: str
    ready: bool
    detail: str = ""
    job_id: str | None = None
    checkpoint: str | None = None


# --- connector ------------------------------------------------------------------------------------


def start_connector(
    contract: Contract, stream: Stream, clients: Clients, *, state: State, anew: bool, log: Log
) -> Started:
    """Give the connector its present configuration and wait until it runs.

    ``state`` is what it was found in: stopped, it is resumed; failed, it is restarted with its tasks.
    ``anew`` restarts it in any case. Raises ``EngineError`` when it is refused or fails.
    """
    ensure_topics(contract, clients, log)
    name = stream.engine_name
    changed = clients.connect.put_config(name, connector_config(contract, clients.endpoints))
    if changed:
        log(f"configured connector {name}")
    if state is State.PAUSED:
        _insist(lambda: clients.connect.resume(name))
        log(f"resumed connector {name}")
    elif state is State.FAILED or (anew and not changed):
        _insist(lambda: clients.connect.restart(name))
        log(f"restarted connector {name} and its tasks")
    state, detail = State.ABSENT, ""
    for _ in until(READY_SECONDS, POLL_SECONDS):
        state, detail = connector_state(clients.connect.status(name))
        if state in (State.RUNNING, State.FAILED):
            break
    if state is State.FAILED:
        raise EngineError("connect", f"connector {name} failed after its start: {detail}")
    log(f"connector {name} is {state}")
    return Started(state, state is State.RUNNING, detail)


def _insist(request: Callable[[], None]) -> None:
    """Send a request to Connect, again while it answers that it is just distributing its work anew."""
    for _ in until(REBALANCE_SECONDS, pause=1.0):
        try:
            request()
            return
        except ConflictError:
            continue
    request()


def ensure_topics(contract: Contract, clients: Clients, log: Log) -> None:
    """Create the pipeline's topics that are not there."""
    report = clients.kafka.ensure_topics(topics(contract))
    if report.created:
        log(f"created topics: {', '.join(report.created)}")
    for difference in report.differences:
        log(f"left as it is: {difference}")


# --- Flink jobs -----------------------------------------------------------------------------------


class JobStarter:
    """Starts one Flink job of a pipeline."""

    def __init__(
        self,
        contract: Contract,
        stream: Stream,
        clients: Clients,
        store: StreamStore,
        *,
        actor: str,
        log: Log,
    ) -> None:
        self.contract = contract
        self.stream = stream
        self.clients = clients
        self.store = store
        self.actor = actor
        self.log = log

    def start(
        self, checkpoints: tuple[str, ...], *, fresh: str | None = None, only: str | None = None
    ) -> Started:
        """Start the job from the first of ``checkpoints`` that it can read, else from its group's offsets.

        ``fresh`` was made by the job that was stopped just now: nothing is read again from there. With
        ``only`` the job starts from there or not at all. Raises ``EngineError`` when it does not come up.
        """
        ensure_topics(self.contract, self.clients, self.log)
        if self.stream.name == SERVING:
            self._ensure_views()
        if only is not None:
            self.hold_back(f"the lake job starts from {only}, as it was asked to")
            return self._start_from(only)
        held = False
        for address in checkpoints:
            if address != fresh and not held:
                # Whether the newest one that is there is the newest that was made, nobody can tell.
                self.hold_back("the lake job restarts from a checkpoint that may not be its newest")
                held = True
            try:
                self._require_metadata(address)
                return self._start_from(address)
            except RestoreFailed as failure:
                # While the object store does not answer, nothing is known about what it holds.
                self.clients.store.exists(f"{address}/_metadata")
                self.log(f"{address} cannot be used: {failure.message}; it will not be tried again")
                self.store.mark_bad(self.contract.name, self.stream.name, address, failure.message)
        self.step_back()
        return self._start_from(None)

    def hold_back(self, why: str, targets: Mapping[str, int] | None = None) -> None:
        """Hold back publication until the lake job has committed ``targets`` again, by default what its group
        has committed now. Nothing for a job that writes no lake tables.
        """
        if self.stream.name != LAKE:
            return
        if targets is None:
            progress = self.clients.kafka.progress(
                self.stream.engine_name, source_topics(self.contract, self.stream)
            )
            # A topic that was made anew may never reach what was committed of the old one.
            targets = {str(at): min(done, progress.end[at]) for at, done in progress.committed.items()}
        if not targets:
            return
        from lakehouse_dagster.governance.hold import HoldStore

        HoldStore(self.clients.postgres).hold(self.contract.name, self.stream.name, why, targets)
        self.log(f"publication is held back until the lake has come as far again: {why}")
        self.store.record(
            Event(self.contract.name, self.stream.name, EventKind.HELD, reason=why, actor=self.actor)
        )

    def step_back(self) -> None:
        """Move the job's consumer group back a little, because offsets are committed before the tables are.

        Flink commits its offsets to Kafka when a checkpoint is complete, and the sinks commit on the same
        notification: a job killed in between has read records that are in no table. With a checkpoint the
        sink makes up for it, without one only reading them again does. Applying a record twice changes
        nothing. The sensor knows what has surely landed (``streams.landed``); where it does not, as many
        records are read again as a job can have read in some checkpoint intervals.
        """
        kafka, group = self.clients.kafka, self.stream.engine_name
        progress = kafka.progress(group, source_topics(self.contract, self.stream))
        if progress.committed:
            self.hold_back("the lake job starts without a checkpoint, a little before what it had committed")
        elif self.stream.name == LAKE and lake_is_filled(self.contract, self.clients):
            self.hold_back(
                "the lake job starts without a checkpoint and without committed offsets, from the first "
                "records that are kept",
                {str(at): end for at, end in progress.end.items() if end > progress.begin.get(at, 0)},
            )
        records = (
            STEP_BACK_INTERVALS * self.contract.pipeline.checkpoint_interval_seconds * FASTEST_PER_SECOND
        )
        known_offsets = self._landed().load(self.contract.name, self.stream.name).offsets
        # What landed of a topic that was made anew since says nothing of the new one.
        known = {
            at: known_offsets[str(at)]
            for at, committed in progress.committed.items()
            if known_offsets.get(str(at), committed + 1) <= committed
        }
        for at, (old, new) in kafka.rewind(group, records, known).items():
            self.log(f"{at.topic}[{at.partition}]: starts at offset {new:,} instead of {old:,}")

    def _landed(self) -> landed.LandedStore:
        return landed.LandedStore(self.clients.postgres)

    def forget_state(self) -> None:
        """Let no checkpoint written up to now be used any more, nor what is known to have landed."""
        self.store.set_state_floor(self.contract.name, self.stream.name, datetime.now(UTC))
        self._landed().forget(self.contract.name, self.stream.name)

    def accept_gaps(self, partitions: Collection[str]) -> None:
        """Let ``partitions`` (``topic:number``) go on with their first kept record, and the others a little
        before what was committed; older state is not used again, because it holds the offsets that are gone.
        """
        kafka, group = self.clients.kafka, self.stream.engine_name
        progress = kafka.progress(group, source_topics(self.contract, self.stream))
        self.forget_state()
        self.step_back()
        kafka.set_offsets(group, {at: first for at, first in progress.begin.items() if str(at) in partitions})
        self.log(
            f"accepted the gap of {', '.join(sorted(partitions))}: they go on with the first kept record"
        )

    def _require_metadata(self, address: str) -> None:
        """Raise ``RestoreFailed`` for metadata that is no such thing: a look costs less than a start."""
        content = self.clients.store.get(f"{address}/_metadata")
        if content is None:
            raise RestoreFailed("flink", "its _metadata is not there")
        if not content.startswith(CHECKPOINT_MAGIC):
            raise RestoreFailed("flink", "its _metadata does not begin as Flink writes it")

    def _start_from(self, address: str | None) -> Started:
        script = placed(flink_script(self.contract, self.stream), self.clients.endpoints.s3.bucket)
        origin = f"from {address}" if address else "without state, from its group's offsets"
        self.log(f"submitting {script.name} {origin}")
        begun, begun_ms = time.monotonic(), time.time() * 1000
        try:
            job_id = self.clients.submitter.submit(
                script, script_environment(self.clients.endpoints), savepoint=address, log=self.log
            )
        except EngineError as error:
            if address is not None and is_restore_failure(self._trace(script.name, begun_ms)):
                raise RestoreFailed("flink", error.message) from error
            raise
        self.log(f"submitted {script.name} as {job_id} in {time.monotonic() - begun:.1f} s")
        started = self._watch(script.name, job_id, address, begun)
        if started.ready:
            # Flink writes the first checkpoint after a start in full into the job's own folder (its default),
            # so from now on the job needs nothing of what it was started from.
            self._prune(script.name, script.state_hash, job_id)
        return started

    def _prune(self, name: str, state_hash: str, job_id: str) -> None:
        """Delete what ended jobs of this name left, but for what a later start may use. Never fails."""
        try:
            memory = self.store.memory(self.contract.name, [self.stream.name])[self.stream.name]
            objects = self.clients.store
            usable = retained(objects, name, state_hash)
            folders = abandoned(
                objects.list(f"{CHECKPOINTS}/{name}/"),
                kept=candidates(usable, bad=memory.bad_checkpoints, floor=memory.state_floor),
                running=job_id,
                before=datetime.now(UTC) - ABANDONED_AGE,
            )
            for folder in folders:
                self.log(f"deleted {objects.delete_prefix(folder)} object(s) of an ended job below {folder}")
        except EngineError as error:
            self.log(f"checkpoints of ended jobs stay for now: {error}")

    def _trace(self, name: str, since_ms: float) -> str:
        """The trace of a job that failed while it was set up; Flink keeps it, the client got no id."""
        failed = [job for job in self.clients.flink.jobs() if job.name == name and job.state == "FAILED"]
        # Times are by the JobManager's clock, which may be a little behind.
        recent = [job for job in failed if job.end_ms >= since_ms - 1000]
        failures = self.clients.flink.failures(recent[0].id, limit=1) if recent else []
        return failures[0].trace if failures else ""

    def _watch(self, name: str, job_id: str, address: str | None, begun: float) -> Started:
        """Wait until the job runs and has completed a checkpoint."""
        flink = self.clients.flink
        said, detail, state = "", "", State.STARTING
        for _ in until(READY_SECONDS, POLL_SECONDS):
            try:
                state, detail, job = job_state([job for job in flink.jobs() if job.id == job_id])
            except EngineUnavailable as error:
                detail = str(error)
                continue
            if job is None:
                raise EngineError("flink", f"job {name} ({job_id}) has gone right after its start")
            if state is not State.RUNNING:
                self._raise_failure(name, job_id, address, ended=not job.alive)
            completed = flink.checkpoints(job_id).completed if state is State.RUNNING else 0
            if completed:
                self.log(
                    f"{name} ({job_id}) runs and has completed a checkpoint, "
                    f"{time.monotonic() - begun:.1f} s after its submission began"
                )
                return Started(state, True, "", job_id, address)
            now = "is running, no checkpoint yet" if state is State.RUNNING else detail or f"is {state}"
            if now != said:
                said = now
                self.log(f"{name} ({job_id}): {now}")
        detail = detail or "it runs, but has completed no checkpoint yet"
        self.log(f"{name} ({job_id}) is not ready after {READY_SECONDS:.0f} s: {detail}")
        return Started(state, False, detail, job_id, address)

    def _raise_failure(self, name: str, job_id: str, address: str | None, *, ended: bool) -> None:
        """Raise what keeps the job from coming up, unless Flink may still get over it by itself."""
        failures = self.clients.flink.failures(job_id, limit=3)
        if address is not None:
            unreadable = next((item for item in failures if is_restore_failure(item.trace)), None)
            if unreadable is not None:
                # It would try the same state again and again.
                self.clients.flink.cancel(job_id)
                raise RestoreFailed("flink", unreadable.cause)
        if ended:
            cause = failures[0].cause if failures else "no cause given"
            raise EngineError("flink", f"job {name} ({job_id}) failed after its start: {cause}")

    def _ensure_views(self) -> None:
        statements = cassandra.statements(self.contract)
        for statement in statements:
            self.clients.cassandra.execute(statement)
        if statements:
            self.clients.cassandra.admit(self.contract.keyspace)
        for database in couchdb.databases(self.contract):
            if self.clients.couchdb.ensure_database(database.name):
                self.log(f"created CouchDB database {database.name}")
            for index in database.indexes:
                self.clients.couchdb.create_index(database.name, index.name, index.fields)


def until(seconds: float, pause: float) -> Iterator[None]:
    """Yield until ``seconds`` have passed, pausing in between."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(pause)
