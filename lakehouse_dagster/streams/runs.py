"""Runs of the reconciling job: asked for by the sensor, under way, or dead without anybody having said so."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.streams.jobs import PIPELINE_TAG, STREAM_TAG, reconcile_job_name
from lakehouse_dagster.streams.survey import Look

STARTING_SECONDS = 60.0
"""A run that was asked for may take so long to begin; only then is another one asked for."""
BEGUN_SECONDS = 15.0
"""And so long from its first step to taking the stream's lock, from which on the stream is busy."""
DEAD_SECONDS = 120.0
"""A run that is this old and does not hold its stream's lock has no process any more."""

_STARTING = (dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING)
_UNFINISHED = [dg.DagsterRunStatus.QUEUED, *_STARTING, dg.DagsterRunStatus.STARTED]
_LONGEST_REASON = 600


@dataclass(frozen=True)
class UnfinishedRun:
    """One run that has not ended; ages in seconds."""

    id: str
    stream: str
    status: dg.DagsterRunStatus
    age: float
    begun: float | None = None
    """Since its first step."""

    @property
    def coming(self) -> bool:
        """Whether it can be expected to act soon."""
        if self.status is dg.DagsterRunStatus.QUEUED:
            return True  # a second one would wait behind it
        if self.status in _STARTING:
            return self.age < STARTING_SECONDS
        return self.begun is None or self.begun < BEGUN_SECONDS

    @property
    def overdue(self) -> bool:
        """Whether it should hold its stream's lock, or have ended."""
        age = self.age if self.status in _STARTING else self.begun
        return self.status is not dg.DagsterRunStatus.QUEUED and age is not None and age > DEAD_SECONDS


def unfinished_runs(instance: dg.DagsterInstance, contract: Contract) -> list[UnfinishedRun]:
    """Return the pipeline's reconciling runs that have not ended."""
    return unfinished_runs_of(instance, reconcile_job_name(contract), {PIPELINE_TAG: contract.name})


def unfinished_runs_of(
    instance: dg.DagsterInstance, job: str, tags: Mapping[str, str] | None = None
) -> list[UnfinishedRun]:
    """Return the runs of a job that have not ended; without a stream's tag their stream is empty."""
    wanted = dg.RunsFilter(job_name=job, tags=dict(tags or {}), statuses=_UNFINISHED)
    now = time.time()
    return [
        UnfinishedRun(
            record.dagster_run.run_id,
            record.dagster_run.tags.get(STREAM_TAG, ""),
            record.dagster_run.status,
            now - record.create_timestamp.timestamp(),
            None if record.start_time is None else now - record.start_time,
        )
        for record in instance.get_run_records(wanted, limit=100)
    ]


def requests(contract: Contract, looks: Sequence[Look], runs: Sequence[UnfinishedRun]) -> list[dg.RunRequest]:
    """Return a request for every stream about which something is to be done and nobody is coming to do it."""
    coming = {run.stream for run in runs if run.coming}
    return [
        reconcile_request(contract, look)
        for look in looks
        if look.action.acts and look.stream.name not in coming
    ]


def reconcile_request(contract: Contract, look: Look) -> dg.RunRequest:
    """Return the request of a run that carries out what was decided; never taken for an earlier one."""
    job = reconcile_job_name(contract)
    name = look.stream.name
    config = {"stream": name, "reason": look.action.reason[:_LONGEST_REASON]}
    return dg.RunRequest(
        run_key=f"{name}-{time.time():.3f}",
        run_config={"ops": {f"{job}_op": {"config": config}}},
        tags={PIPELINE_TAG: contract.name, STREAM_TAG: name, "lakehouse/rule": look.action.rule},
    )


def end_dead_runs(
    instance: dg.DagsterInstance, runs: Sequence[UnfinishedRun], busy: Mapping[str, bool]
) -> list[str]:
    """Have the runs whose process is gone fail, and return their ids.

    Nobody else does: Dagster's launcher cannot tell whether a run's process lives, and each dead one keeps a
    place in the queue of runs. ``busy`` tells by stream whether its lock is held, which a living run does.
    """
    ended = []
    for run in runs:
        # A stream that is not known to be free is not judged.
        if not run.overdue or busy.get(run.stream, True):
            continue
        found = instance.get_run_by_id(run.id)
        if found is not None and not found.is_finished:
            instance.report_run_failed(found, "its process is gone: it holds no lock and reports nothing")
            ended.append(run.id)
    return ended
