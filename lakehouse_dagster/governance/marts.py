"""Refreshing a mart: written on a branch, whole or by partition, checked there, merged."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from typing import Any, Final, TypeVar

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.names import PARTITIONS_SUFFIX
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.nessie import Key, NessieClient
from lakehouse_dagster.engines.postgres import PostgresClient
from lakehouse_dagster.engines.trino import TrinoClient, literal
from lakehouse_dagster.governance import partitions
from lakehouse_dagster.governance.partitions import Basis, Before, Partitions, Plan
from lakehouse_dagster.governance.wap import (
    Audit,
    Branch,
    Published,
    branch_catalog,
    write_audit_publish,
)
from lakehouse_dagster.render import trino as render

SAMPLE_ROWS: Final = 10
PARTITIONS_AT_ONCE: Final = 90
"""Trino's Iceberg writer keeps at most 100 partitions open."""
ROWS_AT_ONCE: Final = 2_000
"""Rows of literals in one statement, whose greatest length is a million characters."""
WAIT_SECONDS: Final = 600.0

Item = TypeVar("Item")
Log = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """What to compute beside what has changed: everything, or the partitions from ``first`` to ``last``."""

    everything: bool = False
    first: date | None = None
    last: date | None = None


@dataclass(frozen=True)
class MartRows:
    """A mart as it was written: how, its number of rows, and some of them with names and types of columns."""

    plan: Plan | None
    rows: int
    columns: tuple[str, ...]
    types: tuple[str, ...]
    sample: tuple[tuple[Any, ...], ...]


def refresh_mart(
    contract: Contract,
    mart: str,
    clients: Clients,
    *,
    run_id: str,
    wanted: Wanted = Wanted(),
    log: Log = lambda _: None,
    wait: float = WAIT_SECONDS,
) -> Published[MartRows]:
    """Compute a mart in Trino from what ``main`` shows now, check it, publish it.

    A partitioned mart is computed anew where its source has changed. Raises what `write_audit_publish` does.
    """
    keys = mart_keys(contract, mart)
    nessie = clients.nessie
    with refresh_lock(clients.endpoints.postgres, f"{contract.name}.{mart}", wait=wait, log=log):
        # Before the branch is made, because branches of an empty main have no common ancestor.
        nessie.ensure_namespace(contract.marts_schema)
        return write_audit_publish(
            nessie,
            f"{contract.name}.{mart}",
            keys,
            open_catalog=partial(branch_catalog, clients.endpoints),
            write=lambda branch: _write(contract, mart, nessie, branch, wanted, log),
            audit=lambda branch: _audit(contract, mart, branch.trino),
            message=f"refresh mart {contract.name}.{mart}",
            properties={
                "lakehouse.mart": f"{contract.name}.{mart}",
                "lakehouse.run-id": run_id,
            },
        )


def mart_keys(contract: Contract, mart: str) -> list[Key]:
    """The tables that a refresh writes: the mart, and of a partitioned one what it was computed from."""
    tables = [mart] if contract.mart(mart).partition is None else [mart, f"{mart}{PARTITIONS_SUFFIX}"]
    return [(contract.marts_schema, table) for table in tables]


@contextmanager
def refresh_lock(endpoint: Any, subject: str, *, wait: float, log: Log) -> Iterator[None]:
    """Let only one run at a time refresh a subject; the lock of one that dies is free at once.

    Raises EngineError when another has held it for all of ``wait`` seconds.
    """
    with PostgresClient(endpoint, application="lakehouse mart") as postgres:
        deadline = time.monotonic() + wait
        told = False
        while not postgres.try_lock(f"mart/{subject}"):
            if time.monotonic() >= deadline:
                raise EngineError("nessie", f"{subject} is being refreshed by another run since {wait:.0f} s")
            if not told:
                log(f"{subject} is being refreshed by another run; waiting for its end")
                told = True
            time.sleep(1.0)
        yield


# --- writing --------------------------------------------------------------------------------------


def _write(
    contract: Contract, mart: str, nessie: NessieClient, branch: Branch, wanted: Wanted, log: Log
) -> MartRows:
    trino = branch.trino
    plan: Plan | None = None
    if contract.mart(mart).partition is None:
        _run(trino, log, render.mart_create(contract, mart, trino.catalog))
    else:
        plan = _write_partitions(contract, mart, nessie, branch, wanted, log)
    # Names come quoted from the contract, never from outside.
    table = render.mart_table(contract, mart, trino.catalog)
    sample = trino.execute(f"SELECT * FROM {table} LIMIT {SAMPLE_ROWS}")  # noqa: S608
    rows = int(trino.scalar(f"SELECT count(*) FROM {table}"))  # noqa: S608
    return MartRows(plan, rows, sample.columns, sample.types, tuple(sample.rows))


def _write_partitions(
    contract: Contract, mart: str, nessie: NessieClient, branch: Branch, wanted: Wanted, log: Log
) -> Plan:
    trino, catalog = branch.trino, branch.trino.catalog
    now = Basis(
        definition=partitions.definition(
            render.mart_create(contract, mart), render.partitions_now(contract, mart)
        ),
        others=_others(contract, mart, trino),
    )
    parts: Partitions = {
        day: (int(rows), str(mark))
        for day, rows, mark in trino.execute(render.partitions_now(contract, mart, catalog)).rows
    }
    plan = partitions.decide(
        _before(contract, mart, nessie, branch),
        now,
        parts,
        rebuild=wanted.everything,
        first=wanted.first,
        last=wanted.last,
    )
    log(f"{'everything' if plan.full else 'some partitions'} to compute: {plan.reason}")
    if plan.full:
        _run(trino, log, render.mart_create(contract, mart, catalog))
    elif not plan.days:
        return plan
    else:
        for days in _slices(plan.days, PARTITIONS_AT_ONCE):
            _run(trino, log, render.mart_delete(contract, mart, days, catalog))
    for days in _slices([day for day in plan.days if day in parts], PARTITIONS_AT_ONCE):
        _run(trino, log, render.mart_insert(contract, mart, days, catalog))
    key = mart_keys(contract, mart)[0]
    head = nessie.get_tables([key], nessie.get_reference(branch.name))[key]
    basis = replace(now, snapshot=head.snapshot_id).to_json()
    rows = [(day, *mark) for day, mark in parts.items()] or [(None, 0, "")]
    trino.execute(render.partitions_create(contract, mart, rows[:ROWS_AT_ONCE], basis, catalog))
    for more in _slices(rows[ROWS_AT_ONCE:], ROWS_AT_ONCE):
        trino.execute(render.partitions_insert(contract, mart, more, catalog))
    return plan


def _others(contract: Contract, mart: str, trino: TrinoClient) -> dict[str, tuple[int, str]]:
    sql = render.other_tables_now(contract, mart, trino.catalog)
    return (
        {} if sql is None else {name: (int(rows), str(mark)) for name, rows, mark in trino.execute(sql).rows}
    )


def _before(contract: Contract, mart: str, nessie: NessieClient, branch: Branch) -> Before | None:
    """The mart as it is on the branch, which is as it is published."""
    key, kept = mart_keys(contract, mart)
    found = nessie.get_tables([key, kept], branch.base)
    if key not in found:
        return None
    if kept not in found:
        return Before(None, {}, found[key].snapshot_id)
    trino = branch.trino
    comment = trino.scalar(
        "SELECT comment FROM system.metadata.table_comments"  # noqa: S608
        f" WHERE catalog_name = {literal(trino.catalog)} AND schema_name = {literal(kept[0])}"
        f" AND table_name = {literal(kept[1])}"
    )
    table = render.partitions_table(contract, mart, trino.catalog)
    rows = trino.execute(f"SELECT part, source_rows, fingerprint FROM {table} WHERE source_rows > 0").rows  # noqa: S608
    return Before(
        Basis.from_json(comment),
        {day: (int(count), str(mark)) for day, count, mark in rows},
        found[key].snapshot_id,
    )


def _run(trino: TrinoClient, log: Log, sql: str) -> None:
    log(sql)
    trino.execute(sql)


def _slices(items: Sequence[Item], most: int) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), most):
        yield items[start : start + most]


# --- checking -------------------------------------------------------------------------------------


def _audit(contract: Contract, mart: str, trino: TrinoClient) -> list[Audit]:
    checks = render.mart_checks(contract, mart, trino.catalog)
    if not checks:
        return []
    counts = "\nUNION ALL\n".join(
        f"SELECT {number} AS number, count(*) AS failing FROM (\n{check.sql}\n)"  # noqa: S608
        for number, check in enumerate(checks)
    )
    failing = {int(number): int(found) for number, found in trino.execute(counts).rows}
    found = []
    for number, check in enumerate(checks):
        audit = Audit(check.name, check.severity, check.description, failing[number])
        if not audit.passed:
            some = trino.execute(f"SELECT * FROM (\n{check.sql}\n) LIMIT {SAMPLE_ROWS}")  # noqa: S608
            audit = replace(audit, columns=some.columns, sample=tuple(some.rows))
        found.append(audit)
    return found
