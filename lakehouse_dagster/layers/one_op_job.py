"""A job of a pipeline that does one thing, in one op."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from lakehouse_dagster.contract.contract import Contract


def one_op_job(
    contract: Contract,
    name: str,
    description: str,
    op: dg.OpDefinition,
    *,
    longest_seconds: int,
    tags: Mapping[str, str] | None = None,
) -> dg.JobDefinition:
    """Return the job. A run that lasts longer than ``longest_seconds`` is ended by Dagster."""

    @dg.job(
        name=name,
        description=description,
        tags={
            "pipeline": contract.name,
            "owner": contract.owner,
            # A run whose process was killed must not take one of the queue's places for ever.
            "dagster/max_runtime": str(longest_seconds),
            **(tags or {}),
        },
    )
    def job() -> None:
        op()

    return job
