"""What Dagster's own storage remembers of a stream: starts in progress, recent ones, what is desired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from lakehouse_dagster.streams.decision import CALM_SECONDS, Desired

PIPELINE_TAG = "lakehouse/pipeline"
STREAM_TAG = "lakehouse/stream"
ACTED_TAG = "lakehouse/acted"
"""Set on a run once it really starts something; a run that found nothing to do is no start."""

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dataclass(frozen=True)
class Starts:
    """Runs that start one stream."""

    in_progress: bool = False
    recent: int = 0
    seconds_since_last: float | None = None


def starts_of(
    instance: dg.DagsterInstance,
    pipeline: str,
    stream: str,
    *,
    besides: str = "",
    now: datetime | None = None,
) -> Starts:
    """Return the starts of ``stream`` that Dagster knows of, without the run ``besides``."""
    moment = now or datetime.now(UTC)
    tags = {PIPELINE_TAG: pipeline, STREAM_TAG: stream}
    records = [
        record
        for record in instance.get_run_records(
            dg.RunsFilter(tags=tags, created_after=moment - timedelta(seconds=CALM_SECONDS)), limit=50
        )
        if record.dagster_run.run_id != besides and _tried(record.dagster_run)
    ]
    # An old run that hangs still holds the stream, so the unfinished ones are asked for regardless of their
    # age.
    unfinished = instance.get_runs(dg.RunsFilter(tags=tags, statuses=UNFINISHED), limit=2)
    return Starts(
        in_progress=any(run.run_id != besides for run in unfinished),
        recent=len(records),
        seconds_since_last=_age([record.create_timestamp for record in records], moment),
    )


def _tried(run: dg.DagsterRun) -> bool:
    return ACTED_TAG in run.tags or run.status is dg.DagsterRunStatus.FAILURE


def _age(created: Sequence[datetime], moment: datetime) -> float | None:
    if not created:
        return None
    newest = max(stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC) for stamp in created)
    return max(0.0, (moment - newest).total_seconds())


def desired_state(instance: dg.DagsterInstance, pipeline: str, stream: str) -> Desired:
    """Return what the operator wants of ``stream``; running unless said otherwise."""
    key = _key(pipeline, stream)
    stored = instance.daemon_cursor_storage.get_cursor_values({key}).get(key)
    return Desired(stored) if stored else Desired.RUNNING


def set_desired_state(instance: dg.DagsterInstance, pipeline: str, stream: str, desired: Desired) -> None:
    """Store what the operator wants of ``stream``; it outlives every process of Dagster."""
    instance.daemon_cursor_storage.set_cursor_values({_key(pipeline, stream): desired.value})


def _key(pipeline: str, stream: str) -> str:
    return f"lakehouse/desired/{pipeline}/{stream}"
