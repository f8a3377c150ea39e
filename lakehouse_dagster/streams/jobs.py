"""The jobs of a pipeline's streams. Each run does one thing to one stream, and fails when that was not done.

What a run did is written into the history by whoever acts (``streams.act``), and the sensor makes an event on
the stream's asset of every row; so runs report no events themselves, and none is told twice.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg

from lakehouse_dagster.contract.applied import current
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.clients import ClientSource
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.layers.one_op_job import one_op_job
from lakehouse_dagster.streams.assets import Stream, stream_of
from lakehouse_dagster.streams.decision import Verb
from lakehouse_dagster.streams.events import RUN_ACTOR
from lakehouse_dagster.streams.job_config import (
    PauseConfig,
    ReconcileConfig,
    ResnapshotConfig,
    ResumeConfig,
    RewindConfig,
    UpgradeConfig,
    check_tables,
    check_topics,
    parse_time,
)
from lakehouse_dagster.streams.operations import NotDone, Operator, rewind_target, told
from lakehouse_dagster.streams.repair_offer import resnapshot_job_name

PIPELINE_TAG = "lakehouse/pipeline"
STREAM_TAG = "lakehouse/stream"
TIMEOUT_SECONDS = 15.0
LONGEST_SECONDS = 1800
"""A run that lasts longer is ended by Dagster: all its steps have deadlines that add up to less."""
LONGEST_SNAPSHOT_SECONDS = 24 * 3600

Context = dg.OpExecutionContext
Lakehouse = dg.ResourceParam[ClientSource]


def stream_jobs(contract: Contract) -> list[dg.JobDefinition]:
    """Return all jobs of the streams of ``contract``."""
    return [
        reconcile_job(contract),
        pause_job(contract),
        resume_job(contract),
        upgrade_job(contract),
        rewind_job(contract),
        resnapshot_job(contract),
    ]


def reconcile_job_name(contract: Contract) -> str:
    """Return the name of the job that the sensor asks for."""
    return f"{contract.name}_reconcile_stream"


def reconcile_job(contract: Contract) -> dg.JobDefinition:
    """Return the job that brings a stream to its declared state.

    It looks again before it acts, so running it while the stream runs, or twice at once, changes nothing.
    """
    name = reconcile_job_name(contract)

    @dg.op(name=f"{name}_op", description="Looks at one stream, decides, and does what was decided.")
    def reconcile(context: Context, config: ReconcileConfig, lakehouse: Lakehouse) -> None:
        stream = _stream(contract, config.stream.value)
        context.log.info(f"{stream.engine_name}: {config.reason}")
        with _operator(contract, context, lakehouse) as operator:
            done = operator.reconcile(stream, savepoint=config.savepoint)
        if done.action.verb in (Verb.WAIT, Verb.HALT):
            context.log.warning(f"nothing was done: {done.action.reason}")
        else:
            context.log.info(told(done))

    return _job(
        contract,
        name,
        "Brings one stream to its declared state now, as the sensor does: starts what should run and does "
        "not, stops what should not, upgrades, ends doubles. Safe at any time; a stream that is well is left "
        "alone.",
        reconcile,
        # Before anything else that waits for a run: everything else needs the streams.
        tags={"dagster/priority": "10"},
    )


def pause_job(contract: Contract) -> dg.JobDefinition:
    """Return the job that stops a stream and keeps it stopped."""
    name = f"{contract.name}_pause_stream"

    @dg.op(name=f"{name}_op", description="Declares one stream paused and stops it.")
    def pause(context: Context, config: PauseConfig, lakehouse: Lakehouse) -> None:
        stream = _stream(contract, config.stream.value)
        with _operator(contract, context, lakehouse) as operator:
            context.log.info(told(operator.pause(stream, config.reason)))

    return _job(
        contract,
        name,
        "Stops one stream (a Flink job with a savepoint) and keeps it stopped, over restarts of everything, "
        "until it is resumed. Nothing is lost: it continues where it stopped, as long as the topics and the "
        "binary log reach back that far.",
        pause,
    )


def resume_job(contract: Contract) -> dg.JobDefinition:
    """Return the job that lets a paused stream run again."""
    name = f"{contract.name}_resume_stream"

    @dg.op(name=f"{name}_op", description="Declares one stream running and starts it.")
    def resume(context: Context, config: ResumeConfig, lakehouse: Lakehouse) -> None:
        stream = _stream(contract, config.stream.value)
        with _operator(contract, context, lakehouse) as operator:
            context.log.info(told(operator.resume(stream)))

    return _job(
        contract,
        name,
        "Runs a paused stream again from where it stopped. Also closes an open circuit breaker: attempts are "
        "counted from nought.",
        resume,
    )


def upgrade_job(contract: Contract) -> dg.JobDefinition:
    """Return the job that starts a stream's present specification."""
    name = f"{contract.name}_upgrade_stream"

    @dg.op(name=f"{name}_op", description="Stops one stream with a savepoint and starts it anew.")
    def upgrade(context: Context, config: UpgradeConfig, lakehouse: Lakehouse) -> None:
        stream = _stream(contract, config.stream.value)
        with _operator(contract, context, lakehouse) as operator:
            context.log.info(told(operator.upgrade(stream)))

    return _job(
        contract,
        name,
        "Stops one stream with a savepoint and starts what the contract says now, also when nothing changed. "
        "For pipelines with `upgrades: by_hand`, and to restart a stream properly.",
        upgrade,
    )


def rewind_job(contract: Contract) -> dg.JobDefinition:
    """Return the job that lets a Flink job read again."""
    name = f"{contract.name}_rewind_stream"

    @dg.op(name=f"{name}_op", description="Moves one Flink job's offsets back and starts it from there.")
    def rewind(context: Context, config: RewindConfig, lakehouse: Lakehouse) -> None:
        stream = _stream(contract, config.stream.value)
        time = parse_time(config.time) if config.time else None
        _valid(lambda: check_topics(contract, stream.name, config.offsets))
        with _operator(contract, context, lakehouse) as operator:
            done = operator.rewind(stream, rewind_target(time=time, offsets=config.offsets))
        context.log.info(told(done))

    return _job(
        contract,
        name,
        "Lets a Flink job (`lake` or `serving`) read its topics again from the earliest records, a time or "
        "given offsets. Applying a change twice changes nothing; publication to Nessie is held back until "
        "the lake has caught up, so readers never see older rows come back.",
        rewind,
    )


def resnapshot_job(contract: Contract) -> dg.JobDefinition:
    """Return the job that reads tables from the source again."""
    name = resnapshot_job_name(contract)

    @dg.op(name=f"{name}_op", description="Snapshots tables anew through the running connector.")
    def resnapshot(context: Context, config: ResnapshotConfig, lakehouse: Lakehouse) -> None:
        _valid(lambda: check_tables(contract, config.tables))
        with _operator(contract, context, lakehouse) as operator:
            if config.repair:
                context.log.info(f"repaired: {operator.repair(config.tables)}")
                return
            done = operator.resnapshot(config.tables, config.condition)
        context.log.info(f"{done.rows:,} row(s) of {', '.join(done.tables)} in {done.seconds:.1f} s")
        context.add_output_metadata({"rows": done.rows, "seconds": round(done.seconds, 1)})

    return _job(
        contract,
        name,
        "Reads whole tables, or the rows of a condition, from the source again while changes go on flowing "
        "(Debezium's incremental snapshot). With `repair: true` it makes up for lost changes: it also "
        "removes what was deleted meanwhile, compares every row with the source, and closes the gap when "
        "nothing differs.",
        resnapshot,
        longest_seconds=LONGEST_SNAPSHOT_SECONDS,
    )


def _job(
    contract: Contract,
    name: str,
    description: str,
    op: dg.OpDefinition,
    *,
    tags: dict[str, str] | None = None,
    longest_seconds: int = LONGEST_SECONDS,
) -> dg.JobDefinition:
    own = {PIPELINE_TAG: contract.name, **(tags or {})}
    return one_op_job(contract, name, description, op, longest_seconds=longest_seconds, tags=own)


@contextmanager
def _operator(contract: Contract, context: Context, lakehouse: ClientSource) -> Iterator[Operator]:
    """Give an operator that acts in the name of the run; its failures become the run's, in plain words."""
    try:
        with lakehouse.clients(timeout=TIMEOUT_SECONDS) as clients:
            yield Operator(current(contract), clients, f"{RUN_ACTOR}{context.run_id}", context.log.info)
    except (EngineError, NotDone, ValueError) as error:
        raise dg.Failure(str(error), allow_retries=False) from error


def _stream(contract: Contract, name: str) -> Stream:
    try:
        return stream_of(contract, name)
    except KeyError as error:
        raise dg.Failure(str(error.args[0]), allow_retries=False) from error


def _valid(check: Any) -> None:
    try:
        check()
    except ValueError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
