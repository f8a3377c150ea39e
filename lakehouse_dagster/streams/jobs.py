"""The job ``<pipeline>_start_stream``: one run starts one stream and records it on the stream's asset."""

import dagster as dg

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.clients import ClientSource
from lakehouse_dagster.layers import keys
from lakehouse_dagster.streams.act import Outcome, start_stream
from lakehouse_dagster.streams.assets import stream_of
from lakehouse_dagster.streams.decision import Desired, Verb
from lakehouse_dagster.streams.history import ACTED_TAG, desired_state


class StartStream(dg.Config):
    """Which stream to start and why; by hand only ``stream`` is needed."""

    stream: str
    reason: str = "asked for by hand"
    savepoint: str | None = None
    """Start a Flink job from this checkpoint or savepoint instead of the newest retained one."""


def start_stream_job(contract: Contract) -> dg.JobDefinition:
    """Return the job that starts a stream of ``contract``.

    It looks again before it acts, so running it while the stream runs, or twice at once, changes nothing.
    """

    @dg.op(
        name=f"{contract.name}_start_stream_op",
        description="Starts one stream if it should run and does not.",
        tags={"pipeline": contract.name},
    )
    def start(
        context: dg.OpExecutionContext, config: StartStream, lakehouse: dg.ResourceParam[ClientSource]
    ) -> None:
        stream = stream_of(contract, config.stream)
        context.log.info(f"{stream.engine_name}: {config.reason}")
        desired = desired_state(context.instance, contract.name, stream.name)
        with lakehouse.clients(timeout=15.0) as clients:
            outcome = start_stream(
                contract,
                stream,
                clients,
                log=context.log.info,
                desired=desired,
                savepoint=config.savepoint,
                acting=lambda: context.instance.add_run_tags(context.run_id, {ACTED_TAG: "true"}),
            )
        if outcome.action.acts:
            context.log_event(stream_event(contract, outcome, config.reason))
        elif outcome.action.verb is Verb.WAIT and desired is Desired.RUNNING:
            context.log.warning(f"not started: {outcome.action.reason}")

    @dg.job(
        name=f"{contract.name}_start_stream",
        description=f"Starts a stream of `{contract.name}`: `connector`, `lake` or `serving`.",
        tags={"pipeline": contract.name, "owner": contract.owner},
    )
    def job() -> None:
        start()

    return job


def stream_event(contract: Contract, outcome: Outcome, reason: str) -> dg.AssetMaterialization:
    """Return the record of a start."""
    metadata = {
        "state": outcome.state,
        "reason": reason,
        "action": outcome.action.reason,
        "job_id": outcome.job_id,
        "spec_hash": outcome.spec_hash,
        "checkpoint": outcome.action.savepoint,
    }
    return dg.AssetMaterialization(
        keys.stream(contract.name, outcome.stream),
        description=outcome.action.reason,
        metadata={name: value for name, value in metadata.items() if value is not None},
    )
