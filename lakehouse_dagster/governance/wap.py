"""Write, audit, publish: tables are written on a Nessie branch, checked there, and merged if they are right.

Readers of ``main`` see the old tables or the new ones, never unchecked or half-written ones. The merge is the
only step that touches ``main``, so a crash anywhere leaves it as it was or done; a branch that a dead run
left behind is removed by the next refresh of the same subject.

Nothing here knows what writes: the callbacks get the branch, by name for a writer of its own (Spark, say) and
as a Trino client whose catalog shows it.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from lakehouse_dagster.contract.mart_checks import Severity
from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.engines.errors import ConflictError, EngineError
from lakehouse_dagster.engines.nessie import Key, NessieClient, Reference
from lakehouse_dagster.engines.trino import TrinoClient, literal
from lakehouse_dagster.engines.trino_catalogs import create_catalog, drop_catalog

MAIN: Final = "main"
PREFIX: Final = "wap"
"""First part of the branches' names, ``wap.<subject>.<token>``; names that people give have no dots."""

_RANDOM: Final = r"[0-9a-f]{12}"
_CATALOGS: Final = 4

Written = TypeVar("Written")


@dataclass(frozen=True)
class Audit:
    """How a check turned out. ``columns`` and ``sample`` show some of the ``failing`` rows."""

    name: str
    severity: Severity
    description: str
    failing: int
    columns: tuple[str, ...] = ()
    sample: tuple[tuple[Any, ...], ...] = ()

    @property
    def passed(self) -> bool:
        """Whether no row fails it."""
        return self.failing == 0

    @property
    def blocks(self) -> bool:
        """Whether it keeps what was written from being published."""
        return not self.passed and self.severity == "error"


class AuditFailed(Exception):  # noqa: N818 - what happened; nothing is broken
    """Checks of severity ``error`` have failed, so nothing was published. ``audits`` are all of them."""

    def __init__(self, subject: str, audits: Sequence[Audit]) -> None:
        failed = [f"{audit.name} ({audit.failing} rows)" for audit in audits if audit.blocks]
        super().__init__(f"{subject} was not published: the checks {', '.join(failed)} failed")
        self.audits = tuple(audits)


class PublishConflict(Exception):  # noqa: N818 - as above
    """Somebody else has published the same tables meanwhile, at every attempt."""


@dataclass(frozen=True)
class Branch:
    """A branch to write on: its name, the commit it was made from, and Trino with a catalog over it."""

    name: str
    base: Reference
    trino: TrinoClient


@dataclass(frozen=True)
class Published(Generic[Written]):
    """What was done. ``hash`` is the commit on ``main``, None when nothing had been written."""

    written: Written
    audits: tuple[Audit, ...]
    read: str
    hash: str | None
    attempts: int


def write_audit_publish(
    nessie: NessieClient,
    subject: str,
    keys: Sequence[Key],
    *,
    open_catalog: Callable[[str, str], Any],
    write: Callable[[Branch], Written],
    audit: Callable[[Branch], Sequence[Audit]],
    message: str,
    properties: Mapping[str, str],
    attempts: int = 5,
) -> Published[Written]:
    """Let ``write`` fill a branch, and merge it into ``main`` if ``audit`` has nothing against it.

    Args:
        nessie: Where the branches are. ``main`` must have a commit: branches of nothing cannot be merged.
        subject: What is refreshed, such as ``flights.delay_by_carrier_hour``. Only one run at a time may
            refresh a subject (see `refresh_lock`).
        keys: The tables that ``write`` may change; anything else on the branch is an error.
        open_catalog: Context manager that gives a Trino client over a branch (see `branch_catalog`).
        write: Writes the tables on the branch. What it reads there is one version of the lake.
        audit: Checks them.
        message: Of the commit on ``main``.
        properties: Of the commit on ``main``; the commit that was read and the checks passed are added.
        attempts: How often to begin anew when somebody else has changed the same tables meanwhile.

    Raises:
        AuditFailed: A check of severity ``error`` has failed.
        PublishConflict: Somebody else was quicker, each time.
        EngineError: An engine failed; ``main`` is as it was, or (lost answer) the merge was done.
    """
    remove_leftovers(nessie, subject)
    for attempt in range(1, attempts + 1):
        with _branch(nessie, subject) as (name, base):
            with open_catalog(subject, name) as trino:
                branch = Branch(name, base, trino)
                written = write(branch)
                audits = tuple(audit(branch))
            if any(one.blocks for one in audits):
                raise AuditFailed(subject, audits)
            head = nessie.get_reference(name)
            if head.hash == base.hash:
                return Published(written, audits, base.hash, None, attempt)
            _only(keys, nessie, base, head)
            told = {
                **properties,
                "lakehouse.read-hash": base.hash,
                "lakehouse.checks-passed": ", ".join(one.name for one in audits if one.passed),
            }
            with suppress(ConflictError):
                merge = nessie.merge(head, nessie.get_reference(MAIN), message, properties=told)
                if merge.done:
                    return Published(written, audits, base.hash, merge.hash, attempt)
    raise PublishConflict(
        f"{subject}: somebody else published {', '.join('.'.join(key) for key in keys)} meanwhile, "
        f"{attempts} times; nothing was published"
    )


def branch_name(subject: str) -> str:
    """A new name for a branch of a subject."""
    return f"{PREFIX}.{subject}.{uuid.uuid4().hex[:12]}"


def remove_leftovers(nessie: NessieClient, subject: str) -> list[str]:
    """Delete the branches that dead runs of a subject have left; gives their names."""
    pattern = re.compile(rf"{PREFIX}\.{re.escape(subject)}\.{_RANDOM}")
    found = [reference for reference in nessie.references() if pattern.fullmatch(reference.name)]
    for reference in found:
        with suppress(ConflictError):
            nessie.delete_reference(reference)
    return [reference.name for reference in found]


@contextmanager
def _branch(nessie: NessieClient, subject: str) -> Iterator[tuple[str, Reference]]:
    base = nessie.get_reference(MAIN)
    name = nessie.create_reference(branch_name(subject), base).name
    try:
        yield name, base
    finally:
        # What went wrong before is what the caller must hear of; the next refresh removes it.
        with suppress(EngineError):
            nessie.delete_reference(nessie.get_reference(name))


def _only(keys: Sequence[Key], nessie: NessieClient, base: Reference, head: Reference) -> None:
    foreign = sorted(
        {".".join(change.key) for change in nessie.diff(base, head)} - {".".join(k) for k in keys}
    )
    if foreign:
        raise EngineError(
            nessie.engine, f"the branch {head.name} has changes of others: {', '.join(foreign)}"
        )


@contextmanager
def branch_catalog(endpoints: Endpoints, subject: str, branch: str) -> Iterator[TrinoClient]:
    """Give a Trino client whose catalog shows a branch, for the only run that refreshes a subject.

    Trino keeps some MiB of every catalog name that ever was, so a subject has few. The name of a run that
    died is not used at once: whatever it still sends must not reach the new branch.
    """
    trino = TrinoClient(endpoints.trino)
    digest = hashlib.sha256(subject.encode()).hexdigest()[:8]
    names = [f"{endpoints.trino.catalog}_{PREFIX}_{digest}_{number}" for number in range(_CATALOGS)]
    like = literal(f"{endpoints.trino.catalog}_{PREFIX}_{digest}_%")
    left = [row[0] for row in trino.execute(f"SHOW CATALOGS LIKE {like}").rows if row[0] in names]
    for name in left:
        drop_catalog(trino, name)
    name = next((name for name in names if name not in left), names[0])
    create_catalog(endpoints, trino, name, branch)
    try:
        yield TrinoClient(endpoints.trino, catalog=name, timeout=600.0)
    finally:
        with suppress(EngineError):
            drop_catalog(trino, name)
