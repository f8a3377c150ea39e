"""What to publish: pure functions from what the lake offers and what Nessie shows to operations."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from lakehouse_dagster.engines.nessie import IcebergTable, Key, Operation, PutNamespace, PutTable

#: Prefix of the properties the publisher writes into its Nessie commits.
PREFIX = "lakehouse"


@dataclass(frozen=True)
class TableVersion:
    """One version of a lake table, ready to be published.

    `position` and `committed_at` (ISO-8601, UTC) are those of its newest row, None for an empty table;
    `rows` and `bytes` are what a reader gets. `complete` tells that a reader gets all that the lake has:
    Iceberg readers see compacted files only, and the newest commits of a table may not be compacted yet.
    `columns`, `uuid` and `location` are the metadata's own (None: it does not tell).
    """

    table: str
    key: Key
    content: IcebergTable
    paimon_snapshot: int
    position: int | None = None
    committed_at: str | None = None
    rows: int | None = None
    bytes: int | None = None
    complete: bool = True
    columns: tuple[str, ...] = ()
    uuid: str | None = None
    location: str | None = None


@dataclass(frozen=True)
class Decision:
    """Operations of one commit (none: there is nothing to do) and what they concern.

    `foreign` are tables that somebody else moved in Nessie and that have no news: they are left as they are.
    """

    operations: tuple[Operation, ...]
    changed: tuple[str, ...]
    foreign: tuple[str, ...]


def decide(
    wanted: Mapping[str, TableVersion],
    current: Mapping[Key, IcebergTable],
    *,
    namespace: str,
    namespace_exists: bool,
    news: Collection[str] | None = None,
) -> Decision:
    """Decide what one commit has to contain.

    `wanted` is the lake's newest version of each table, `current` what the branch holds. `news` names the
    tables whose version is new to the caller (None: all). A table is put when the branch lacks it, or when
    it has news and the branch holds another version; a table without news that differs was moved by
    somebody on purpose (a rollback, say) and stays until its next change.
    """
    operations: list[Operation] = []
    changed: list[str] = []
    foreign: list[str] = []
    for table, version in wanted.items():
        held = current.get(version.key)
        if held is not None and same_version(held, version.content):
            continue
        if held is not None and news is not None and table not in news:
            foreign.append(table)
            continue
        # An update must carry the content id Nessie gave the key when it was first put.
        content = replace(version.content, id=held.id if held else None)
        operations.append(PutTable(version.key, content))
        changed.append(table)
    if operations and not namespace_exists:
        operations.insert(0, PutNamespace((namespace,)))
    return Decision(tuple(operations), tuple(changed), tuple(foreign))


def same_version(held: IcebergTable, offered: IcebergTable) -> bool:
    """Whether both are the same metadata file and snapshot."""
    return held.metadata_location == offered.metadata_location and held.snapshot_id == offered.snapshot_id


def properties(
    pipeline: str,
    publisher: str,
    wanted: Mapping[str, TableVersion],
    requested_by: str,
    *,
    run_id: str | None = None,
    checks: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Properties of the commit: who asked, which checks were passed (`gate.properties`), and for every table
    of the pipeline (moved or not) what readers now see.
    """
    found = {
        f"{PREFIX}.pipeline": pipeline,
        f"{PREFIX}.publisher": publisher,
        f"{PREFIX}.requested-by": requested_by,
        **({f"{PREFIX}.run-id": run_id} if run_id else {}),
        **{f"{PREFIX}.{name}": value for name, value in (checks or {}).items()},
    }
    for table, version in wanted.items():
        facts = {
            "paimon-snapshot": version.paimon_snapshot,
            "iceberg-snapshot": version.content.snapshot_id,
            "position": version.position,
            "committed-at": version.committed_at,
            "rows": version.rows,
        }
        for name, value in facts.items():
            if value is not None:
                found[f"{PREFIX}.table.{table}.{name}"] = str(value)
    return found


def message(pipeline: str, decision: Decision, wanted: Mapping[str, TableVersion]) -> str:
    """One line for the branch's history."""
    parts = [f"{table}@{wanted[table].paimon_snapshot}" for table in decision.changed]
    return f"publish {pipeline}: {', '.join(parts)}"
