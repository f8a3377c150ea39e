"""Waiting until what was written into topics is in the lake and the views: the jobs' part of settling."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.proof.settle import Facts, Goal, advance
from lakehouse_dagster.proof.settle import goal as pipeline_goal

POLL_SECONDS: Final = 0.5


def wait_for_jobs(
    contract: Contract,
    clients: Clients,
    tables: Sequence[str],
    *,
    timeout: float,
    report: Callable[[str], None] = lambda _: None,
) -> tuple[str, ...]:
    """Wait until both jobs have read the tables' topics to their present ends and committed what came of it.

    Returns what is still missing after ``timeout`` seconds: an empty tuple means that all has arrived. Nessie
    is not waited for, nor is the connector.
    """
    topics = {contract.topic(table) for table in tables}
    groups = {
        job: mine
        for job, read in pipeline_goal(contract).groups.items()
        if (mine := tuple(topic for topic in read if topic in topics))
    }
    target = Goal(groups, ends=clients.kafka.end_offsets(sorted(topics)))
    deadline = time.monotonic() + timeout
    told: tuple[str, ...] = ()
    while True:
        target, waiting = advance(target, _observe(clients, target))
        if not waiting:
            return ()
        if waiting != told:
            told = waiting
            report("; ".join(waiting))
        if time.monotonic() >= deadline:
            return waiting
        time.sleep(POLL_SECONDS)


def _observe(clients: Clients, target: Goal) -> Facts:
    topics = sorted({topic for read in target.groups.values() for topic in read})
    checkpoints = {}
    for name in target.groups:
        job = clients.flink.find(name)
        if job is not None and job.alive:
            checkpoints[name] = (job.id, clients.flink.checkpoints(job.id).latest_id or 0)
    return Facts(
        missing_gtids="",
        begins=clients.kafka.begin_offsets(topics),
        committed={name: clients.kafka.committed(name) for name in target.groups},
        checkpoints=checkpoints,
    )
