"""Merging a team's branch into `main`: what it made, after checks on exactly that; never lake tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.errors import ConflictError
from lakehouse_dagster.engines.nessie import Key, Reference
from lakehouse_dagster.governance.versions.freeze import in_paimon
from lakehouse_dagster.governance.versions.pins import shown_at
from lakehouse_dagster.governance.versions.references import (
    CREATED_AT,
    KIND,
    MAIN,
    REQUESTED_BY,
    SOURCE,
    TEAM_OF,
    origin,
    tables_of,
)

if TYPE_CHECKING:
    from lakehouse_dagster.engines.clients import Clients

Content = Mapping[str, Any]
SHOWN_ROWS = 5


@dataclass(frozen=True)
class MergePlan:
    """What a merge brings to `main` and what it leaves out."""

    brought: tuple[Key, ...]
    """Tables that the branch has made, changed or dropped."""
    kept_out: tuple[Key, ...]
    """Lake tables that were changed on the branch: on `main` only Flink writes them."""
    left_out: tuple[Key, ...]
    """Every key that must not be merged, among them what was copied to make the branch."""


@dataclass(frozen=True)
class Check:
    """A check's outcome: ``rows`` are some of those that there should not be."""

    sql: str
    rows: tuple[tuple[Any, ...], ...]
    columns: tuple[str, ...]


@dataclass(frozen=True)
class MergeResult:
    """What was done. ``hash`` is that of `main` afterwards, None where nothing was merged."""

    plan: MergePlan
    checks: tuple[Check, ...]
    conflicts: tuple[Key, ...]
    hash: str | None
    dry_run: bool

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that found rows."""
        return tuple(check for check in self.checks if check.rows)

    @property
    def mergeable(self) -> bool:
        """Whether no check has failed and nothing is in conflict."""
        return not self.failed and not self.conflicts


def plan_merge(
    parent: Mapping[Key, Content],
    made: Mapping[Key, Content],
    head: Mapping[Key, Content],
    lake_schemas: Sequence[str],
) -> MergePlan:
    """Decide which keys a merge brings.

    ``made`` are the branch's contents just after it was made, ``parent`` just before, ``head`` now. A key is
    brought when it differs between ``made`` and ``head`` and is not in the schema of a pipeline's lake.
    """
    changed = {key for key in {*made, *head} if made.get(key) != head.get(key)}
    lake = {key for key in {*made, *head, *parent} if key[0] in lake_schemas}
    touched = {key for key in {*parent, *made} if parent.get(key) != made.get(key)}
    return MergePlan(
        brought=tuple(sorted(changed - lake)),
        kept_out=tuple(sorted(key for key in changed & lake if len(key) > 1)),
        left_out=tuple(sorted(lake | (touched - changed))),
    )


def merge_branch(
    clients: Clients,
    contract: Contract,
    name: str,
    *,
    checks: Sequence[str] = (),
    dry_run: bool = False,
    actor: str,
) -> MergeResult:
    """Run the checks on the branch as it is now and merge exactly that into `main`.

    A check is a query in Trino's SQL, tables as ``schema.table``, that must return no row. Tables that both
    sides have changed are conflicts and nothing is merged; so it is when a check fails. Raises ValueError
    when there is no such branch or it brings nothing, ConflictError when `main` moved in between.
    """
    nessie = clients.nessie
    head = _branch(clients, name)
    plan = _planned(clients, contract, head)
    if not plan.brought:
        why = (
            f"only lake tables were changed on it ({_said(plan.kept_out)}), which only Flink writes on {MAIN}"
            if plan.kept_out
            else "nothing was changed on it"
        )
        raise ValueError(f"branch {name} brings nothing to {MAIN}: {why}")
    outcomes = tuple(run_checks(clients, head, checks))
    message = f"merge {name}: {_said(plan.brought)}"
    main = nessie.get_reference(MAIN)
    properties = {
        KIND: "merge",
        TEAM_OF: contract.name,
        SOURCE: head.pinned,
        REQUESTED_BY: actor,
        CREATED_AT: datetime.now(UTC).isoformat(timespec="seconds"),
        "lakehouse.checks-passed": str(len(outcomes)),
    }
    tried = nessie.merge(head, main, message, dry_run=True, leave_out=plan.left_out)
    result = MergeResult(plan, outcomes, tried.conflicts, None, dry_run)
    if dry_run or not result.mergeable:
        return result
    merged = nessie.merge(head, main, message, properties=properties, leave_out=plan.left_out)
    if merged.conflicts:
        return MergeResult(plan, outcomes, merged.conflicts, None, dry_run)
    if not merged.done:
        raise ConflictError("nessie", f"{name} was not merged into {MAIN}; try again")
    return MergeResult(plan, outcomes, (), merged.hash, dry_run)


def run_checks(clients: Clients, head: Reference, checks: Sequence[str]) -> list[Check]:
    """Run queries over one commit and give some of the rows that each returns."""
    if not checks:
        return []
    done = []
    with shown_at(clients, head) as trino:
        for sql in checks:
            answer = trino.execute(f"SELECT * FROM ({sql.strip().rstrip(';')}) LIMIT {SHOWN_ROWS}")  # noqa: S608
            done.append(Check(sql, tuple(answer.rows), answer.columns))
    return done


def _planned(clients: Clients, contract: Contract, head: Reference) -> MergePlan:
    nessie = clients.nessie
    now = nessie.entries(head)
    made = origin(nessie, head)
    lake = {contract.name} | {
        key[0] for key, table in tables_of(nessie.entries(nessie.get_reference(MAIN))).items()
        if in_paimon(clients, table)
    }  # fmt: skip
    if made is None:
        # Somebody else's: nothing was copied to make it, so where it parted from main is all that matters.
        parted = _parted(clients, head)
        before = nessie.entries(Reference("", parted, "DETACHED"))
        return plan_merge(before, before, now, sorted(lake))
    after = nessie.entries(Reference("", made.hash, "DETACHED"))
    before = nessie.entries(Reference("", made.properties[SOURCE], "DETACHED"))
    return plan_merge(before, after, now, sorted(lake))


def _parted(clients: Clients, head: Reference) -> str:
    """The newest commit of a branch that is on `main` as well."""
    theirs = [entry.hash for entry in clients.nessie.history(head.pinned)]
    mine = {entry.hash for entry in clients.nessie.history(MAIN)}
    found = next((one for one in theirs if one in mine), None)
    if found is None:
        raise ValueError(f"branch {head.name} and {MAIN} have no commit in common, so it cannot be merged")
    return found


def _branch(clients: Clients, name: str) -> Reference:
    found = {reference.name: reference for reference in clients.nessie.references()}
    if name == MAIN or name not in found or found[name].type != "BRANCH":
        branches = ", ".join(sorted(n for n, r in found.items() if r.type == "BRANCH" and n != MAIN))
        raise ValueError(f"there is no branch {name} to merge; branches: {branches or 'none'}")
    return found[name]


def _said(keys: Sequence[Key]) -> str:
    return ", ".join(".".join(key) for key in keys)
