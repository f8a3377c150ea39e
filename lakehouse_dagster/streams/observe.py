"""The facts about one stream, asked of its engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.errors import EngineError, EngineUnavailable
from lakehouse_dagster.streams.assets import LAKE, Stream
from lakehouse_dagster.streams.checkpoints import newest_checkpoint
from lakehouse_dagster.streams.decision import Desired, Facts, Kind, State
from lakehouse_dagster.streams.drift import lake_drift, source_drift
from lakehouse_dagster.streams.history import Starts
from lakehouse_dagster.streams.plan import flink_script

if TYPE_CHECKING:
    from lakehouse_dagster.engines.connect import ConnectorStatus
    from lakehouse_dagster.engines.flink import FlinkJob

_COMING_UP = frozenset({"CREATED", "INITIALIZING", "RESTARTING", "FAILING", "CANCELLING", "RECONCILING"})


def observe(
    contract: Contract,
    stream: Stream,
    clients: Clients,
    *,
    desired: Desired = Desired.RUNNING,
    starts: Starts = Starts(),  # noqa: B008 - frozen and empty
) -> Facts:
    """Return what is true of ``stream`` now. An engine that cannot be asked is a fact too; nothing is raised
    for it.
    """
    known = Facts(
        stream.name,
        stream.kind,
        desired=desired,
        start_in_progress=starts.in_progress,
        recent_starts=starts.recent,
        seconds_since_start=starts.seconds_since_last,
    )
    if desired is Desired.PAUSED or starts.in_progress:
        return known  # decided already; the engine need not be asked
    try:
        if stream.kind is Kind.CONNECTOR:
            return _connector(contract, stream, clients, known)
        return _flink_job(contract, stream, clients, known)
    except EngineUnavailable as error:
        return replace(known, unreachable=str(error))
    except EngineError as error:
        return replace(known, unreachable=f"{error}; see `lakehouse logs {error.engine}`")


def _connector(contract: Contract, stream: Stream, clients: Clients, known: Facts) -> Facts:
    status = clients.connect.status(stream.engine_name)
    state, detail = connector_state(status)
    missing = None
    if state in (State.ABSENT, State.FAILED):
        missing = missing_tables(contract, clients) or drifted_source(contract, clients)
    return replace(known, state=state, detail=detail, missing=missing)


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
    return State.STARTING, f"connector {status.state}, {tasks}"


def missing_tables(contract: Contract, clients: Clients) -> str | None:
    """Say which source tables do not exist yet, with the fix; ``None`` when all are there."""
    rows = clients.mysql.query(
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
    said = source_drift(contract, clients.mysql.read_schema(contract.database, _names(contract)))
    if not said:
        return None
    return (
        f"the source's schema is not the locked one: {'; '.join(said)}; run `lakehouse lock {contract.name}`"
    )


def drifted_lake(contract: Contract, clients: Clients) -> str | None:
    """Say where existing lake tables differ from the contract, with the fix; ``None`` when nowhere."""
    found = {}
    for table in _names(contract):
        schema = clients.paimon.schema(*contract.lake_path(table))
        if schema is not None:
            found[table] = schema
    said = lake_drift(contract, found)
    if not said:
        return None
    return (
        f"lake tables were made under another contract: {'; '.join(said)}; restore that contract, or delete "
        f"the table's folder below {clients.paimon.warehouse}/{contract.name}.db to have it made anew"
    )


def _names(contract: Contract) -> list[str]:
    return [table.name for table in contract.tables]


def _flink_job(contract: Contract, stream: Stream, clients: Clients, known: Facts) -> Facts:
    named = [job for job in clients.flink.jobs() if job.name == stream.engine_name]
    state, detail, job = job_state(named)
    if state in (State.FAILED, State.STARTING) and job is not None:
        detail = clients.flink.exception(job.id) or detail
    if state in (State.RUNNING, State.STARTING):
        return replace(known, state=state, detail=detail)
    clients.submitter  # noqa: B018 - raises EngineUnavailable when the Flink client is not installed
    checkpoint = newest_checkpoint(
        clients.store, stream.engine_name, flink_script(contract, stream).spec_hash
    )
    missing = drifted_lake(contract, clients) if stream.name == LAKE else None
    return replace(known, state=state, detail=detail, checkpoint=checkpoint, missing=missing)


def job_state(named: Sequence[FlinkJob]) -> tuple[State, str, FlinkJob | None]:
    """Reduce Flink's words about the jobs of one name: a living one counts, else the newest."""
    living = [job for job in named if job.alive]
    if living:
        job = living[0]
        twice = f"{len(living)} jobs of this name are alive; cancel all but one" if len(living) > 1 else ""
        if job.running:
            return State.RUNNING, twice, job
        return State.STARTING, twice or f"job {job.id} is {job.state}", job
    if named and named[0].state == "FAILED":
        return State.FAILED, f"job {named[0].id} FAILED", named[0]
    return State.ABSENT, "", None
