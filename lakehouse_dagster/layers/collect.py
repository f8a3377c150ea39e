"""Asking the engines for the small statuses that ``layers.observe`` compares with a cursor.

Everything here is read-only and bounded: a tick asks for offsets, for two snapshot files per quiet table, and
for the new snapshots, one Iceberg metadata file and its manifests per table with news, never for data.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.errors import EngineError, EngineUnavailable
from lakehouse_dagster.governance.decision import PREFIX
from lakehouse_dagster.layers.observe import (
    Commit,
    LakeCursor,
    SnapshotMark,
    TableStatus,
    TopicStatus,
    ViewStatus,
    from_turn,
)

if TYPE_CHECKING:
    from lakehouse_dagster.engines.kafka import KafkaAdmin, Partition
    from lakehouse_dagster.engines.nessie import NessieClient
    from lakehouse_dagster.engines.paimon import PaimonSnapshot, PaimonTables, SnapshotsSince

SETTLE_MS = 10_000
"""A snapshot older than this is reported whether Iceberg readers see it or not."""
COUNTED_SNAPSHOTS = 16
"""Up to this many snapshots since the cursor are read one by one to add up their rows."""
HISTORY = (30, 500)
"""Commits of Nessie's history that are looked at: few usually, more when the cursor's commit is not among
them.
"""
READERS = 16
"""Tables that are read at the same time."""
PROBE_SECONDS = 60.0
"""News of the probe's table are told so often at most: its row is written every few seconds by ourselves."""
ENOUGH_SECONDS = 1.0
"""After this long no further table is begun; the next tick begins with it."""


@dataclass(frozen=True)
class Tables:
    """What one reading of the lake found out."""

    statuses: tuple[TableStatus, ...]
    """One per table that was read and has something to report."""
    turn: str | None = None
    """The first table that was not begun, ``None`` when all were read."""
    problems: tuple[str, ...] = ()
    """Tables that could not be read, and why."""


def collect_tables(
    paimon: PaimonTables,
    contract: Contract,
    cursor: LakeCursor,
    *,
    most: int,
    seconds: float = ENOUGH_SECONDS,
) -> Tables:
    """Return the status of the lake tables that have a snapshot, read in parallel from ``cursor.turn`` on.

    No table is begun once ``most`` tables with news are read (those begun by then come on top, fewer than
    ``READERS``), nor after ``seconds``. A table that cannot be read does not hide the others; raises
    ``EngineUnavailable`` when the object store does not answer.
    """
    names = from_turn([table.name for table in contract.tables], cursor.turn)
    enough = time.monotonic() + seconds
    probe = contract.pipeline.probe.table if contract.pipeline.probe else None
    news: list[str] = []

    def ask(name: str) -> tuple[TableStatus | None, str]:
        if len(news) >= most or time.monotonic() > enough:
            return None, _LATE
        mark = cursor.tables.get(name)
        if name == probe and mark and time.time() * 1000 - mark.committed_ms < PROBE_SECONDS * 1000:
            return None, ""
        try:
            status = _table(paimon, contract, name, mark)
        except EngineUnavailable:
            raise
        except EngineError as error:
            return None, str(error)
        if status and (
            mark is None or (status.snapshot_id, status.committed_ms) != (mark.id, mark.committed_ms)
        ):
            news.append(name)
        return status, ""

    with ThreadPoolExecutor(max_workers=READERS, thread_name_prefix="lake-status") as pool:
        answers = dict(zip(names, pool.map(ask, names), strict=True))
    return Tables(
        tuple(status for status, _ in answers.values() if status is not None),
        next((name for name, (_, problem) in answers.items() if problem is _LATE), None),
        tuple(problem for _, problem in answers.values() if problem and problem is not _LATE),
    )


_LATE = "not begun"


def _table(
    paimon: PaimonTables, contract: Contract, table: str, mark: SnapshotMark | None
) -> TableStatus | None:
    database, name = contract.lake_path(table)
    since = paimon.since(database, name, mark.id if mark else 0, most=COUNTED_SNAPSHOTS)
    if since is None:
        return None
    newest = since.newest
    committed = milliseconds(newest.committed_at)
    if mark is not None and mark.id == newest.id and mark.committed_ms == committed:
        return TableStatus(table, newest.id, committed, remembered_ms=committed)
    iceberg = paimon.iceberg(database, name, newest=newest.id)
    reported = newest
    if time.time() * 1000 - committed < SETTLE_MS:
        # What Iceberg readers see follows a snapshot by a moment. It is reported up to there, so that rows
        # and position belong to the snapshot they are told with; the rest follows with the next tick.
        seen = mark.id if mark is not None and newest.id >= mark.id else 0
        if iceberg is None or iceberg.snapshot_id <= seen:
            return None
        reported = _known(since, iceberg.snapshot_id) or (
            paimon.snapshot(database, name, iceberg.snapshot_id) or newest
        )
    status = TableStatus(
        table,
        reported.id,
        milliseconds(reported.committed_at),
        remembered_ms=milliseconds(since.seen.committed_at) if since.seen else None,
        appended=_appended(since, mark, reported.id),
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


def _known(since: SnapshotsSince, snapshot_id: int) -> PaimonSnapshot | None:
    return next((s for s in (since.newest, *since.later) if s.id == snapshot_id), None)


def _appended(since: SnapshotsSince, mark: SnapshotMark | None, newest: int) -> int | None:
    """Rows written by the snapshots after the mark's up to ``newest``, where all of them are known."""
    if mark is not None and (
        since.seen is None or milliseconds(since.seen.committed_at) != mark.committed_ms
    ):
        return None  # the table was created anew, or too much has expired
    snapshots = [snapshot for snapshot in since.later if snapshot.id <= newest]
    if not snapshots:
        return None
    return sum(snapshot.delta_records for snapshot in snapshots if snapshot.kind == "APPEND")


@dataclass(frozen=True)
class Publications:
    """The branch's newest commit, and the pipeline's newest publications, newest first."""

    head: str
    commits: tuple[Commit, ...] = ()


def collect_publications(nessie: NessieClient, contract: Contract, cursor: LakeCursor) -> Publications:
    """Return the pipeline's newest publications; other commits on the branch are left out.

    The history, which tells facts of every table with every commit, is read only when the branch has moved.
    """
    head = nessie.get_reference("main").hash
    if head == cursor.head:
        return Publications(head)
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
    return Publications(head, tuple(commits))


class TopicOffsets:
    """One reading of all offsets that concern a pipeline: of its topics, and of the groups that read them."""

    def __init__(self, kafka: KafkaAdmin, contract: Contract) -> None:
        self._contract = contract
        self._topics = {table.name: contract.topic(table.name) for table in contract.tables}
        topics = list(self._topics.values())
        # Committed offsets are read before the ends: a group can then never appear to be ahead of its topic.
        committed = {"lake": kafka.committed(contract.lake_job)}
        if contract.views:
            committed["serving"] = kafka.committed(contract.serving_job)
        self._committed = {reader: _by_topic(offsets) for reader, offsets in committed.items()}
        self._begins = _by_topic(kafka.begin_offsets(topics))
        self._ends = _by_topic(kafka.end_offsets(topics))
        self._served = {view.table for view in contract.views}

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
            applied = self._of(self._committed["serving"], view.table)
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
        return [reader for reader in self._committed if reader == "lake" or table in self._served]

    def _lag(self, reader: str, table: str) -> int:
        committed = self._of(self._committed[reader], table)
        begins = self._of(self._begins, table)
        ends = self._of(self._ends, table)
        return sum(max(0, end - max(committed.get(p, 0), begins.get(p, 0))) for p, end in ends.items())

    def _of(self, offsets: Mapping[str, dict[int, int]], table: str) -> dict[int, int]:
        return offsets.get(self._topics[table], {})


def _by_topic(offsets: Mapping[Partition, int]) -> dict[str, dict[int, int]]:
    """Return offsets per partition of each topic."""
    found: dict[str, dict[int, int]] = {}
    for place, offset in offsets.items():
        found.setdefault(place.topic, {})[place.partition] = offset
    return found


def milliseconds(moment: datetime) -> int:
    """Return a moment as milliseconds since 1970."""
    return round(moment.timestamp() * 1000)
