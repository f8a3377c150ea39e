"""The sensor ``<pipeline>_streams``: compares what should run with what runs, and asks for the start of what
does not.
"""

from concurrent.futures import ThreadPoolExecutor
from time import time

import dagster as dg

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.clients import ClientSource
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.streams.assets import Stream, streams_of
from lakehouse_dagster.streams.decision import Action, Facts, Verb, decide
from lakehouse_dagster.streams.history import PIPELINE_TAG, STREAM_TAG, desired_state, starts_of
from lakehouse_dagster.streams.observe import observe

TICK_SECONDS = 10
TIMEOUT_SECONDS = 4.0


def streams_sensor(contract: Contract, job: dg.JobDefinition) -> dg.SensorDefinition:
    """Return the sensor that keeps the streams of ``contract`` running by asking for runs of ``job``."""

    @dg.sensor(
        name=f"{contract.name}_streams",
        job=job,
        description="Starts the connector and the Flink jobs when they should run and do not. Never stops "
        "anything.",
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        tags={"pipeline": contract.name},
    )
    def watch(
        context: dg.SensorEvaluationContext, lakehouse: dg.ResourceParam[ClientSource]
    ) -> dg.SensorResult | dg.SkipReason:
        streams = streams_of(contract)
        instance = context.instance
        known = {
            stream.name: (
                desired_state(instance, contract.name, stream.name),
                starts_of(instance, contract.name, stream.name),
            )
            for stream in streams
        }

        def ask(stream: Stream) -> Facts:
            desired, starts = known[stream.name]
            # Clients of its own, because they are not shared between threads.
            with lakehouse.clients(timeout=TIMEOUT_SECONDS) as clients:
                return observe(contract, stream, clients, desired=desired, starts=starts)

        try:
            with ThreadPoolExecutor(max_workers=len(streams)) as pool:
                facts = list(pool.map(ask, streams))
        except EngineError as error:
            return dg.SkipReason(str(error))
        decided = [(stream, decide(fact)) for stream, fact in zip(streams, facts, strict=True)]
        requests = [start_request(contract, stream, action) for stream, action in decided if action.acts]
        if requests:
            return dg.SensorResult(run_requests=requests)
        return dg.SkipReason(summary(decided))

    return watch


def start_request(contract: Contract, stream: Stream, action: Action) -> dg.RunRequest:
    """Return the request of a run that carries out ``action``; it is never taken for an earlier one."""
    return dg.RunRequest(
        run_key=f"{stream.name}-{time():.3f}",
        run_config={
            "ops": {
                f"{contract.name}_start_stream_op": {
                    "config": {"stream": stream.name, "reason": action.reason}
                }
            }
        },
        tags={PIPELINE_TAG: contract.name, STREAM_TAG: stream.name},
    )


def summary(decided: list[tuple[Stream, Action]]) -> str:
    """Return in one line how each stream stands; what waits comes first."""
    waiting = [f"{stream.name}: {action.reason}" for stream, action in decided if action.verb is Verb.WAIT]
    rest = [f"{stream.name}: {action.reason}" for stream, action in decided if action.verb is not Verb.WAIT]
    return "; ".join([*waiting, *rest])
