"""Asking the engines for the small statuses that ``layers.observe`` compares with a cursor.

Everything here is read-only and bounded: a tick asks for offsets, hints, one snapshot file and one Iceberg
metadata file per table with news, never for data.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.governance.decision import PREFIX
from lakehouse_dagster.layers.observe import (
    Commit,
    LakeCursor,
    SnapshotMark,
    TableStatus,
    TopicStatus,
    ViewStatus,
)

if TYPE_CHECKING:
    from lakehouse_dagster.engines.kafka import KafkaAdmin, Partition
    from lakehouse_dagster.engines.nessie import NessieClient
    from lakehouse_dagster.engines.paimon import PaimonTables

SETTLE_MS = 10_000
"""A snapshot older than this is reported whether Iceberg readers see it or not."""
COUNTED_SNAPSHOTS = 50
"""Up to this many snapshots since the cursor are read one by one to add up their rows."""
HISTORY = (30, 500)
"""Commits of Nessie's history that are looked at: few usually, more when the cursor's commit is not among
them.
"""


def collect_tables(paimon: PaimonTables, contract: Contract, cursor: LakeCursor) -> list[TableStatus]:
    """Return the status of every lake table that has a snapshot, read in parallel."""
    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="lake-status") as pool:
        statuses = pool.map(
            lambda table: _table(paimon, contract, table.name, cursor.tables.get(table.name)), contract.tables
        )
        return [status for status in statuses if status is not None]


def _table(
    paimon: PaimonTables, contract: Contract, table: str, mark: SnapshotMark | None
) -> TableStatus | None:
    database, name = contract.lake_path(table)
    newest = paimon.latest(database, name)
    if newest is None:
        return None
    committed = milliseconds(newest.committed_at)
    if mark is not None and mark.id == newest.id and mark.committed_ms == committed:
        return TableStatus(table, newest.id, committed, remembered_ms=committed)
    remembered = paimon.snapshot(database, name, mark.id) if mark is not None else None
    iceberg = paimon.iceberg(database, name)
    reported = newest
    if time.time() * 1000 - committed < SETTLE_MS:
        # What Iceberg readers see follows a snapshot by a moment. It is reported up to there, so that rows
        # and position belong to the snapshot they are told with; the rest follows with the next tick.
        seen = mark.id if mark is not None and newest.id >= mark.id else 0
        if iceberg is None or iceberg.snapshot_id <= seen:
            return None
        reported = paimon.snapshot(database, name, iceberg.snapshot_id) or newest
    status = TableStatus(
        table,
        reported.id,
        milliseconds(reported.committed_at),
        remembered_ms=milliseconds(remembered.committed_at) if remembered else None,
        appended=_appended(paimon, database, name, mark.id if mark else 0, reported.id),
    )
    if iceberg is None:
        return status
    bounds = paimon.bounds(iceberg)
    return replace(
        status,
        rows=bounds.rows,
        bytes=bounds.bytes,
        position=bounds.position,
        event_ms=milliseconds(bounds.committed_at) if bounds.committed_at else None,
        readable_id=iceberg.snapshot_id,
        readable_ms=iceberg.last_updated_ms,
    )


def _appended(paimon: PaimonTables, database: str, table: str, after: int, newest: int) -> int | None:
    if not 0 < newest - after <= COUNTED_SNAPSHOTS:
        return None
    snapshots = [s for s in paimon.snapshots_since(database, table, after) if s.id <= newest]
    if len(snapshots) != newest - after:
        return None  # some have expired
    return sum(snapshot.delta_records for snapshot in snapshots if snapshot.kind == "APPEND")


def collect_publications(nessie: NessieClient, contract: Contract, cursor: LakeCursor) -> list[Commit]:
    """Return the pipeline's newest publications, newest first; other commits on the branch are left out."""
    commits: list[Commit] = []
    for limit in HISTORY:
        history = nessie.log("main", limit=limit)
        commits = [
            Commit(entry.hash, entry.message, entry.commit_time, entry.properties)
            for entry in history
            if entry.properties.get(f"{PREFIX}.pipeline") == contract.name
        ]
        if len(history) < limit or any(commit.hash == cursor.published for commit in commits):
            break
    return commits


class TopicOffsets:
    """One reading of all offsets that concern a pipeline: of its topics, and of the groups that read them."""

    def __init__(self, kafka: KafkaAdmin, contract: Contract) -> None:
        self._contract = contract
        topics = [contract.topic(table.name) for table in contract.tables]
        # Committed offsets are read before the ends: a group can then never appear to be ahead of its topic.
        self._committed = {"lake": kafka.committed(contract.lake_job)}
        if contract.views:
            self._committed["serving"] = kafka.committed(contract.serving_job)
        self._begins = kafka.begin_offsets(topics)
        self._ends = kafka.end_offsets(topics)

    def topics(self) -> list[TopicStatus]:
        """Return the status of every topic that exists."""
        return [
            TopicStatus(
                table.name,
                self._of(self._begins, table.name),
                ends,
                {reader: self._lag(reader, table.name) for reader in self._readers(table.name)},
            )
            for table in self._contract.tables
            if (ends := self._of(self._ends, table.name))
        ]

    def views(self, documents: Callable[[str], int | None]) -> list[ViewStatus]:
        """Return the status of every view that something was applied to; ``documents`` counts a CouchDB
        database.
        """
        found = []
        for view in self._contract.views:
            applied = self._of(self._committed.get("serving", {}), view.table)
            if applied:
                found.append(
                    ViewStatus(
                        view.name,
                        self._of(self._begins, view.table),
                        applied,
                        self._lag("serving", view.table),
                        documents(view.name) if view.engine == "couchdb" else None,
                    )
                )
        return found

    def _readers(self, table: str) -> Iterable[str]:
        return [reader for reader in self._committed if reader == "lake" or self._contract.views_of(table)]

    def _lag(self, reader: str, table: str) -> int:
        committed = self._of(self._committed[reader], table)
        begins = self._of(self._begins, table)
        ends = self._of(self._ends, table)
        return sum(max(0, end - max(committed.get(p, 0), begins.get(p, 0))) for p, end in ends.items())

    def _of(self, offsets: dict[Partition, int], table: str) -> dict[int, int]:
        topic = self._contract.topic(table)
        return {place.partition: offset for place, offset in offsets.items() if place.topic == topic}


def milliseconds(moment: datetime) -> int:
    """Return a moment as milliseconds since 1970."""
    return round(moment.timestamp() * 1000)
