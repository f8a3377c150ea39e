"""Paimon's own procedures, called through Flink: tags that keep a snapshot's files, and expiry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lakehouse_dagster.engines.flink import script_environment
from lakehouse_dagster.engines.nessie import Key
from lakehouse_dagster.render import paimon, quoting
from lakehouse_dagster.render.flink_sql import FlinkScript

if TYPE_CHECKING:
    from lakehouse_dagster.engines.clients import Clients

TAG_PREFIX = "lakehouse_"
"""Paimon tags of this project; any other is somebody else's and stays."""


def create_tags(clients: Clients, name: str, snapshots: Mapping[Key, int]) -> None:
    """Tag a snapshot of each table in Paimon, so that its data files stay; EngineError where one is gone."""
    _call(
        clients,
        [
            f"CALL {_SYS}.create_tag(`table` => {_table(key)}, "
            f"tag => {quoting.literal(TAG_PREFIX + name)}, snapshot_id => CAST({snapshot} AS BIGINT))"
            for key, snapshot in snapshots.items()
        ],
    )


def delete_tags(clients: Clients, name: str, tables: Sequence[Key]) -> None:
    """Delete a tag of each table in Paimon; absent ones are no error."""
    _call(
        clients,
        [
            f"CALL {_SYS}.delete_tag(`table` => {_table(key)}, tag => {quoting.literal(TAG_PREFIX + name)})"
            for key in tables
        ],
    )


def expire_snapshots(clients: Clients, retain: Mapping[Key, int]) -> None:
    """Expire all but the newest so many snapshots of each table."""
    _call(
        clients,
        [
            f"CALL {_SYS}.expire_snapshots(`table` => {_table(key)}, retain_max => {count}, "
            f"retain_min => {count})"
            for key, count in retain.items()
        ],
    )


def tags_of(clients: Clients, key: Key) -> list[str]:
    """Names, without our prefix, of the Paimon tags of a table that are this project's."""
    start = f"{clients.paimon.location(*key)}/tag/tag-{TAG_PREFIX}"
    return [item.key.rpartition(f"tag-{TAG_PREFIX}")[2] for item in clients.store.list(start)]


_SYS = f"{quoting.flink(paimon.CATALOG)}.sys"


def _table(key: Key) -> str:
    return quoting.literal(".".join(key))


def _call(clients: Clients, calls: Sequence[str]) -> None:
    if not calls:
        return
    script = FlinkScript(
        name="paimon-procedures",
        settings={"table.dml-sync": "true", "execution.runtime-mode": "BATCH"},
        statements=(paimon.catalog(), *calls),
        inserts=(),
        statements_only=True,
    )
    clients.submitter.execute(script, script_environment(clients.endpoints))
