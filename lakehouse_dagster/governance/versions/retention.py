"""Forgetting what nothing needs any more: references, copies, marts' old files, Paimon's old snapshots.

Mark and sweep: the objects are listed first, then every file is marked that any Nessie reference leads to and
what `main` has shown within the policy's time; the rest goes once nothing has needed it for the grace period.
Paimon's own files are never deleted here: Paimon expires them itself, and is asked to through Flink.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.model import Retention
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.iceberg import MissingFileError, read_tree
from lakehouse_dagster.engines.nessie import IcebergTable, Key, Reference
from lakehouse_dagster.engines.s3 import StoredObject
from lakehouse_dagster.engines.trino import identifier
from lakehouse_dagster.engines.trino_catalogs import catalog_name, drop_catalog
from lakehouse_dagster.governance.publisher import published
from lakehouse_dagster.governance.versions.copies import THREADS, pipeline_folder
from lakehouse_dagster.governance.versions.freeze import catalogs_of, end, existing, in_paimon, listed
from lakehouse_dagster.governance.versions.pins import PIN
from lakehouse_dagster.governance.versions.procedures import delete_tags, expire_snapshots, tags_of
from lakehouse_dagster.governance.versions.references import (
    MAIN,
    PUBLISHER,
    TEMPORARY,
    parse_time,
    tables_of,
)
from lakehouse_dagster.governance.versions.retention_plan import (
    Dated,
    Sweep,
    expired,
    snapshots_to_retain,
    sweep,
)

if TYPE_CHECKING:
    from lakehouse_dagster.engines.clients import Clients

NATIVE = "warehouse/"
"""Key prefix below which Nessie puts native Iceberg tables: ``warehouse/<schema>/<table>_<id>/``."""
MARTS_SUFFIX = "_marts"
_VANISHED = "Failed to list namespaces"

Report = Callable[[str], None]


@dataclass(frozen=True)
class Retained:
    """What a retention has done, or as a dry run would do. Sizes are bytes."""

    dry_run: bool
    references: Mapping[str, str]
    """Branches and tags deleted, each with why."""
    temporary: tuple[str, ...]
    catalogs: tuple[str, ...]
    paimon_tags: tuple[str, ...]
    snapshots: Mapping[str, tuple[int, int]]
    """By lake table the Paimon snapshots before and after."""
    objects_before: int
    bytes_before: int
    deleted: tuple[str, ...]
    deleted_bytes: int
    waiting: int
    """Objects that nothing needs and whose grace period is not over."""
    reachable: int
    trouble: tuple[str, ...]
    """What could not be done; the next retention tries again."""
    seconds: float

    @property
    def objects_after(self) -> int:
        """Objects left."""
        return self.objects_before - len(self.deleted)

    @property
    def bytes_after(self) -> int:
        """Bytes left."""
        return self.bytes_before - self.deleted_bytes


@dataclass
class _Memory:
    """Since when nothing needs what: kept in the object store from one retention to the next."""

    objects: dict[str, datetime] = field(default_factory=dict)
    branches: dict[str, datetime] = field(default_factory=dict)

    @classmethod
    def load(cls, clients: Clients, pipeline: str) -> _Memory:
        raw = clients.store.get(_memory_key(pipeline))
        told = json.loads(raw) if raw else {}
        return cls(*(
            {name: datetime.fromisoformat(at) for name, at in told.get(part, {}).items()}
            for part in ("objects", "branches")
        ))  # fmt: skip

    def save(self, clients: Clients, pipeline: str) -> None:
        told = {
            "objects": {name: at.isoformat() for name, at in self.objects.items()},
            "branches": {name: at.isoformat() for name, at in self.branches.items()},
        }
        clients.store.put(_memory_key(pipeline), json.dumps(told).encode())


def _memory_key(pipeline: str) -> str:
    return f"maintenance/{pipeline}/unreferenced.json"


def retain(
    clients: Clients,
    contract: Contract,
    *,
    policy: Retention | None = None,
    schemas: Sequence[str] | None = None,
    dry_run: bool = False,
    report: Report = lambda _: None,
) -> Retained:
    """Forget what the policy (the contract's by default) lets go. Nothing a reference shows is touched.

    ``schemas`` are those whose native tables are looked at: by default the pipeline's marts, and all schemas
    that are no pipeline's marts. Raises EngineError when an engine cannot be asked what is needed; nothing
    is swept then.
    """
    started, now = time.monotonic(), datetime.now(UTC)
    rule = policy or contract.pipeline.retention
    grace = timedelta(hours=rule.grace_hours)
    memory = _Memory.load(clients, contract.name)
    trouble: list[str] = []

    ended = _end_references(clients, contract, rule, now, dry_run, trouble)
    temporary = _end_temporary(clients, contract, memory, now, grace, dry_run)
    catalogs = _drop_catalogs(clients, dry_run, {catalog_name(name) for name in ended})
    report(f"{len(ended)} reference(s), {len(temporary)} temporary branch(es), {len(catalogs)} catalog(s) go")

    # Listed before anything is marked: what comes later is not in the list and cannot be deleted.
    objects = [
        item for prefix in _prefixes(clients, contract, schemas) for item in clients.store.list(prefix)
    ]
    keep_since = now - timedelta(hours=rule.publications_hours)
    reachable = marked(clients, keep_since, without=ended if dry_run else ())
    plan = sweep(objects, reachable, memory.objects, now, grace)
    report(f"{len(plan.delete):,} of {len(objects):,} object(s) go, {plan.bytes / 1e6:,.1f} MB")
    if not dry_run:
        clients.store.delete(item.key for item in plan.delete)

    snapshots, tags = _paimon(clients, contract, keep_since, dry_run, trouble, set(ended))
    if not dry_run:
        memory.objects = dict(plan.waiting)
        memory.save(clients, contract.name)
    return _told(dry_run, ended, temporary, catalogs, tags, snapshots, objects, plan, trouble, started)


def _told(
    dry_run: bool,
    ended: Mapping[str, str],
    temporary: Sequence[str],
    catalogs: Sequence[str],
    tags: Sequence[str],
    snapshots: Mapping[str, tuple[int, int]],
    objects: Sequence[StoredObject],
    plan: Sweep,
    trouble: Sequence[str],
    started: float,
) -> Retained:
    return Retained(
        dry_run=dry_run,
        references=ended,
        temporary=tuple(temporary),
        catalogs=tuple(catalogs),
        paimon_tags=tuple(tags),
        snapshots=snapshots,
        objects_before=len(objects),
        bytes_before=sum(item.size for item in objects),
        deleted=tuple(item.key for item in plan.delete),
        deleted_bytes=plan.bytes,
        waiting=len(plan.waiting),
        reachable=plan.reachable,
        trouble=tuple(trouble),
        seconds=time.monotonic() - started,
    )


# --- references -----------------------------------------------------------------------------------


def _end_references(
    clients: Clients,
    contract: Contract,
    rule: Retention,
    now: datetime,
    dry_run: bool,
    trouble: list[str],
) -> dict[str, str]:
    tags, branches = (listed(clients, kind, contract.name) for kind in ("tag", "branch"))
    dated = [
        Dated(
            name=one.name,
            is_tag=one.kind == "tag",
            pipeline=one.pipeline,
            last_commit_at=parse_time(one.last_commit_at),
            expires_at=parse_time(one.expires_at),
        )
        for one in (*tags, *branches)
    ]
    idle = None if rule.branches_days is None else timedelta(days=rule.branches_days)
    kinds = {one.name: one.kind for one in (*tags, *branches)}
    ending = expired(dated, contract.name, now, idle)
    for name in list(ending):
        if dry_run:
            continue
        try:
            end(clients, contract, kinds[name], name)
        except (EngineError, ValueError) as error:
            # Somebody has just committed to it, or deleted it.
            trouble.append(f"{name} was not deleted: {error}")
            del ending[name]
    return ending


def _end_temporary(
    clients: Clients,
    contract: Contract,
    memory: _Memory,
    now: datetime,
    grace: timedelta,
    dry_run: bool,
) -> list[str]:
    """Delete branches that whoever was making a tag or a branch has left behind."""
    start = f"{TEMPORARY}{contract.name}-"
    there = [one for one in clients.nessie.references() if one.name.startswith(start)]
    seen = {one.name: memory.branches.get(one.name, now) for one in there}
    ending = [one for one in there if now - seen[one.name] >= grace]
    if not dry_run:
        for one in ending:
            with suppress(EngineError):  # whoever made it is quicker
                clients.nessie.delete_reference(one)
            del seen[one.name]
    memory.branches = seen
    return [one.name for one in ending]


def _drop_catalogs(clients: Clients, dry_run: bool, also: Iterable[str]) -> list[str]:
    """Drop the catalogs of references that are gone, and those a task has left behind.

    A catalog that answers is kept, whatever its name: it shows a reference that there is.
    """
    start = f"{clients.endpoints.trino.catalog}_"
    names = {catalog_name_or(one) for one in clients.nessie.references()}
    gone = []
    for name in sorted(catalogs_of(clients)):
        if not name.startswith(start) or name in names:
            continue
        if name in also or (_is_unused(clients, name) if name.startswith(PIN) else _vanished(clients, name)):
            gone.append(name)
            if not dry_run:
                with suppress(EngineError):
                    drop_catalog(clients.trino, name)
    return gone


def catalog_name_or(reference: Reference) -> str:
    """Name of the catalog of a reference, empty where it can have none."""
    try:
        return catalog_name(reference.name)
    except ValueError:
        return ""


def _vanished(clients: Clients, catalog: str) -> bool:
    """Whether the reference behind a catalog is gone: it cannot be listed, and the lake itself can.

    Trino does not say why it could not list; that may as well be Nessie, which the lake's own catalog tells.
    """
    try:
        clients.trino.execute(f"SHOW SCHEMAS FROM {identifier(catalog)}")
    except EngineError as error:
        if _VANISHED not in error.message:
            return False
        clients.trino.execute(f"SHOW SCHEMAS FROM {identifier(clients.endpoints.trino.catalog)}")
        return True
    return False


def _is_unused(clients: Clients, catalog: str) -> bool:
    """Whether no query over the catalog has run in the last minutes: a task asks one after the other."""
    sql = (
        "SELECT count(*) FROM system.runtime.queries WHERE query LIKE '%\"" + catalog + "\"%' "  # noqa: S608
        "AND query NOT LIKE '%system.runtime.queries%' "
        'AND ("end" IS NULL OR "end" > current_timestamp - INTERVAL \'10\' MINUTE)'
    )
    return not clients.trino.scalar(sql)


# --- files ----------------------------------------------------------------------------------------


def _prefixes(clients: Clients, contract: Contract, schemas: Sequence[str] | None) -> list[str]:
    if schemas is None:
        found = clients.store.folders(NATIVE)
        others = {n for n in found if n.endswith(MARTS_SUFFIX) and n != contract.pipeline.marts_schema}
        schemas = [name for name in found if name not in others]
    return [pipeline_folder(contract.name), *(f"{NATIVE}{schema}/" for schema in schemas)]


def marked(clients: Clients, keep_since: datetime, *, without: Iterable[str] = ()) -> set[str]:
    """Keys of all files that any reference leads to, or that `main` has shown since ``keep_since``.

    Paimon's own are not among them. ``without`` are references to be taken for deleted. Raises EngineError
    when a file cannot be read now; a table whose metadata is gone leads to nothing.
    """
    nessie, left_out = clients.nessie, set(without)
    tables: dict[str, IcebergTable] = {}

    def add(found: Mapping[Key, IcebergTable]) -> None:
        for table in found.values():
            if not in_paimon(clients, table):
                tables[table.metadata_location] = table

    for reference in nessie.references():
        if reference.name in left_out:
            continue
        try:
            add(tables_of(nessie.entries(reference)))
        except EngineError as error:
            if error.status != 404:
                raise
            # Deleted, or moved to another commit, since: whatever it shows now is younger than the list.
            with suppress(ValueError):
                add(tables_of(nessie.entries(existing(clients, reference.name))))
    # Walked as far back as the policy says, however long the history is; the publisher's commits, which are
    # most, name Paimon's files only. The last one looked at is what `main` showed when that time began.
    for entry in nessie.history(MAIN):
        earlier = parse_time(entry.commit_time)
        begins = earlier is not None and earlier < keep_since
        if begins or PUBLISHER not in entry.properties:
            add(tables_of(nessie.entries(Reference(MAIN, entry.hash))))
        if begins:
            break
    with ThreadPoolExecutor(THREADS, thread_name_prefix="mark") as pool:
        found = pool.map(lambda location: _tree_keys(clients, location), tables)
        return {key for keys in found for key in keys}


def _tree_keys(clients: Clients, location: str) -> list[str]:
    try:
        tree = read_tree(location, clients.store.get)
    except MissingFileError:
        # Whatever it led to cannot be read through it; what can be is marked.
        return [clients.store.key(location), *_partly(clients, location)]
    return [clients.store.key(one) for one in tree.locations if one.startswith("s3")]


def _partly(clients: Clients, location: str) -> list[str]:
    try:
        tree = read_tree(location, clients.store.get, current_only=True)
    except MissingFileError:
        return []
    return [clients.store.key(one) for one in tree.locations]


# --- Paimon ---------------------------------------------------------------------------------------


def _paimon(
    clients: Clients,
    contract: Contract,
    keep_since: datetime,
    dry_run: bool,
    trouble: list[str],
    ended: set[str],
) -> tuple[dict[str, tuple[int, int]], list[str]]:
    """Expire old snapshots, and delete Paimon tags whose Nessie tag is gone."""
    nessie, paimon = clients.nessie, clients.paimon
    references = nessie.references()
    keys = [(path.database, path.table) for path in published(contract).values()]
    needed: dict[Key, set[int]] = {}
    for reference in references:
        try:
            shown = nessie.get_tables(keys, reference)
        except EngineError as error:
            if error.status == 404:
                continue  # deleted since
            raise
        for key, table in shown.items():
            if in_paimon(clients, table):
                needed.setdefault(key, set()).add(table.snapshot_id)
    names = {one.name for one in references} - ended
    counts: dict[str, tuple[int, int]] = {}
    retained: dict[Key, int] = {}
    orphans: dict[str, list[Key]] = {}
    for key in keys:
        start = f"{paimon.location(*key)}/snapshot/snapshot-"
        kept = {
            int(number): item.modified
            for item in clients.store.list(start)
            if (number := item.key.rpartition("-")[2]).isdigit()
        }
        retain_ = snapshots_to_retain(kept, needed.get(key, set()), keep_since)
        counts[key[1]] = (len(kept), retain_)
        if retain_ < len(kept):
            retained[key] = retain_
        for name in tags_of(clients, key):
            if name not in names:
                orphans.setdefault(name, []).append(key)
    if not dry_run:
        try:
            expire_snapshots(clients, retained)
            for name, tables in orphans.items():
                delete_tags(clients, name, tables)
        except (EngineError, RuntimeError) as error:
            trouble.append(f"Paimon's snapshots were not expired: {error}")
            return {table: (before, before) for table, (before, _) in counts.items()}, []
    return counts, sorted(orphans)


def retained_json(pipeline: str, done: Retained) -> dict[str, Any]:
    """What `lakehouse retain --json` prints."""
    return {
        "pipeline": pipeline,
        "dry_run": done.dry_run,
        "references": dict(done.references),
        "temporary_branches": list(done.temporary),
        "catalogs": list(done.catalogs),
        "paimon_tags": list(done.paimon_tags),
        "paimon_snapshots": {t: {"before": b, "after": a} for t, (b, a) in done.snapshots.items()},
        "objects": {"before": done.objects_before, "after": done.objects_after, "reachable": done.reachable},
        "bytes": {"before": done.bytes_before, "after": done.bytes_after},
        "deleted": list(done.deleted),
        "waiting": done.waiting,
        "trouble": list(done.trouble),
        "seconds": round(done.seconds, 2),
    }
