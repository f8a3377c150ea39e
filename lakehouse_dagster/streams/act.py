"""Carrying out an action: start or restart one stream, once, whoever else tries at the same moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.flink import script_environment
from lakehouse_dagster.render import cassandra, couchdb
from lakehouse_dagster.render.topics import topics
from lakehouse_dagster.streams.assets import SERVING, Stream
from lakehouse_dagster.streams.decision import Action, Desired, Kind, Verb, decide
from lakehouse_dagster.streams.lock import starter_lock
from lakehouse_dagster.streams.observe import connector_state, job_state, observe
from lakehouse_dagster.streams.plan import connector_config, flink_script, placed

READY_SECONDS = 90.0
"""How long a started stream is watched until its engine says that it runs."""

FASTEST_PER_SECOND = 50_000
"""Records per second: more than a job of one source was seen to read."""

STEP_BACK_INTERVALS = 4
"""Checkpoint intervals that are read again by a job that starts without a checkpoint."""

Log = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What was done to a stream and how it stands now."""

    stream: str
    action: Action
    state: str
    detail: str = ""
    job_id: str | None = None
    spec_hash: str | None = None


def start_stream(
    contract: Contract,
    stream: Stream,
    clients: Clients,
    *,
    log: Log,
    desired: Desired = Desired.RUNNING,
    savepoint: str | None = None,
    acting: Callable[[], None] = lambda: None,
) -> Outcome:
    """Look again, and start the stream if that is still what should be done.

    Safe to be called at any time and any number of times: under a lock the facts are asked anew, and a stream
    that runs or is coming up is left alone. Raises ``EngineError`` when the start fails; nothing is half
    started then, because both Connect and Flink take a whole specification or none. ``savepoint`` takes the
    place of the newest checkpoint; ``acting`` is called once it is sure that something will be started.
    """
    with starter_lock(clients.endpoints.postgres, f"{contract.name}/{stream.name}") as mine:
        if not mine:
            action = Action(Verb.WAIT, "another process is starting this stream right now")
            return Outcome(stream.name, action, "unknown")
        facts = observe(contract, stream, clients, desired=desired)
        action = decide(facts)
        if action.acts and savepoint:
            action = replace(
                action, savepoint=savepoint, reason=f"{action.reason}; asked to start from {savepoint}"
            )
        log(f"{stream.engine_name} is {facts.state}; {action.reason}")
        if not action.acts:
            return Outcome(stream.name, action, str(facts.state), facts.detail)
        acting()
        if stream.kind is Kind.CONNECTOR:
            return _start_connector(contract, stream, clients, action, log)
        return _start_job(contract, stream, clients, action, log)


def _ensure_topics(contract: Contract, clients: Clients, log: Log) -> None:
    report = clients.kafka.ensure_topics(topics(contract))
    if report.created:
        log(f"created topics: {', '.join(report.created)}")
    for difference in report.differences:
        log(f"left as it is: {difference}")


def _start_connector(
    contract: Contract, stream: Stream, clients: Clients, action: Action, log: Log
) -> Outcome:
    _ensure_topics(contract, clients, log)
    name = stream.engine_name
    if clients.connect.put_config(name, connector_config(contract, clients.endpoints)):
        log(f"configured connector {name}")
    if action.verb is Verb.RESTART:
        clients.connect.resume(name)
        clients.connect.restart(name)
        log(f"restarted connector {name} and its tasks")
    state, detail = "unknown", ""
    for _ in _until(READY_SECONDS):
        found, detail = connector_state(clients.connect.status(name))
        state = str(found)
        if state in {"running", "failed"}:
            break
    if state == "failed":
        raise EngineError("connect", f"connector {name} failed after its start: {detail}")
    log(f"connector {name} is {state}")
    return Outcome(stream.name, action, state, detail)


def _start_job(contract: Contract, stream: Stream, clients: Clients, action: Action, log: Log) -> Outcome:
    _ensure_topics(contract, clients, log)
    if stream.name == SERVING:
        _ensure_views(contract, clients, log)
    if not action.savepoint:
        _step_back(contract, stream, clients, log)
    script = flink_script(contract, stream)
    log(f"submitting {script.name}, specification {script.spec_hash}; {action.reason}")
    job_id = clients.submitter.submit(
        placed(script, clients.endpoints.s3.bucket),
        script_environment(clients.endpoints),
        savepoint=action.savepoint,
        log=log,
    )
    state, detail = "unknown", ""
    for _ in _until(READY_SECONDS):
        found, detail, _ = job_state([job for job in clients.flink.jobs() if job.id == job_id])
        state = str(found)
        if state in {"running", "failed"}:
            break
    if state == "failed":
        cause = clients.flink.exception(job_id)
        raise EngineError("flink", f"job {script.name} ({job_id}) failed after its start: {cause or detail}")
    log(f"job {script.name} ({job_id}) is {state}")
    return Outcome(stream.name, action, state, detail, job_id, script.spec_hash)


def _step_back(contract: Contract, stream: Stream, clients: Clients, log: Log) -> None:
    """Move the job's consumer group back a little, because offsets are committed before the tables are.

    Flink commits its offsets to Kafka when a checkpoint is complete, and the sinks commit on the same
    notification: a job killed in between has read records that are in no table. With a checkpoint the sink
    makes up for it, without one only reading them again does. Applying a record twice changes nothing.
    """
    records = STEP_BACK_INTERVALS * contract.pipeline.checkpoint_interval_seconds * FASTEST_PER_SECOND
    for partition, (old, new) in clients.kafka.rewind(stream.engine_name, records).items():
        log(f"{partition.topic}[{partition.partition}]: starts at offset {new:,} instead of {old:,}")


def _ensure_views(contract: Contract, clients: Clients, log: Log) -> None:
    for statement in cassandra.statements(contract):
        clients.cassandra.execute(statement)
    for database in couchdb.databases(contract):
        if clients.couchdb.ensure_database(database.name):
            log(f"created CouchDB database {database.name}")
        for index in database.indexes:
            clients.couchdb.create_index(database.name, index.name, index.fields)


def _until(seconds: float, pause: float = 0.5) -> Iterator[None]:
    """Yield until ``seconds`` have passed, pausing in between."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(pause)
