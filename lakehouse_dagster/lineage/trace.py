"""The journey of one change: every hop is asked what it shows of it, and when that got there.

Clocks: MySQL tells the commit, Kafka when the record was written, Paimon when the snapshot was committed, and
Nessie when the publication was. Cassandra and CouchDB keep the source position with the row and no time of
arrival; that the serving stream is past the record is told by the offset it has committed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from lakehouse_dagster.contract.canonical import canonical
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.model import View
from lakehouse_dagster.contract.names import AUDIT_COLUMNS, SERVING_POSITION
from lakehouse_dagster.contract.types import mapping
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.kafka import Partition
from lakehouse_dagster.engines.nessie import LogEntry, Reference
from lakehouse_dagster.engines.paimon import PaimonSnapshot
from lakehouse_dagster.engines.trino import select
from lakehouse_dagster.engines.trino_catalogs import pinned
from lakehouse_dagster.governance.decision import PREFIX
from lakehouse_dagster.lineage.find_record import MOST_RECORDS, Found, find_change
from lakehouse_dagster.lineage.journey import NO_CLOCK, Arrival, Change, Hop, Journey, Operation
from lakehouse_dagster.proof.places.cassandra import argument as cassandra_argument
from lakehouse_dagster.proof.places.couchdb import document_id
from lakehouse_dagster.proof.places.trino import literal_of
from lakehouse_dagster.proof.subject import Key
from lakehouse_dagster.proof.verify import canonical_rows
from lakehouse_dagster.render import keyed, quoting

SKEW: Final = timedelta(seconds=1)
"""How far the clocks of two engines may differ."""
WINDOWS: Final = (timedelta(minutes=10), timedelta(hours=6), timedelta(days=3650))
"""How long after a change its publication is looked for in Nessie's history, in widening steps."""


class WrongKey(ValueError):  # noqa: N818 - says what the key is
    """A key that is none of the table's; the message says how to write it."""


class NeverSeen(Exception):  # noqa: N818 - an answer, not a mistake
    """No change of that key was found; the message says where was looked."""


def parse_key(contract: Contract, table: str, given: dict[str, Any] | str) -> Key:
    """Canonical texts of a table's primary key, from texts by column (or one text for a key of one column).

    Raises:
        WrongKey: A column is missing, is none of the key's, or the text is no value of its type.
    """
    schema = contract.schema(table)
    names = schema.primary_key
    shape = " ".join(f"--key {name}=..." for name in names)
    if isinstance(given, str):
        if len(names) != 1:
            raise WrongKey(f"{table} has a key of {len(names)} columns: write {shape}")
        given = {names[0]: given}
    if set(given) != set(names):
        raise WrongKey(f"the key of {table} is ({', '.join(names)}): write {shape}")
    key = []
    for name in names:
        column = schema.column(name)
        text = canonical(column, given[name])
        try:
            if text is None or (text.startswith("!") and mapping(column).family != "text"):
                raise ValueError(f"{name}: {given[name]!r} is no value of type {column.mysql_type}")
            keyed.argument(column, text)
        except ValueError as error:
            raise WrongKey(str(error)) from error
        key.append(text)
    return tuple(key)


def trace(
    contract: Contract,
    clients: Clients,
    table: str,
    key: Key,
    *,
    position: int | None = None,
    most: int = MOST_RECORDS,
    report: Callable[[str], None] = lambda _: None,
) -> Journey:
    """The journey of a row's newest change, or of that at a source position.

    Raises:
        NeverSeen: The topic holds no such change.
        EngineUnavailable, EngineError: Kafka cannot be asked. Of the other engines a hop tells it.
    """
    tracer = _Tracer(contract, clients, table, key)
    report("asking Trino for the row")
    published = tracer.published()
    found = find_change(
        contract,
        clients,
        table,
        key,
        position=position,
        since=None if position is not None else published.committed_at,
        most=most,
        report=report,
    )
    if found.change is None:
        raise NeverSeen(_never(contract, table, key, position, found, published))
    return Journey(
        contract.name, found.change, tuple(tracer.hops(found.change, published, report)), tuple(found.offsets)
    )


@dataclass(frozen=True)
class _Published:
    """The row as readers of the branch see it: the commit, and the audit columns (None: no such row)."""

    hash: str | None = None
    position: int | None = None
    committed_at: datetime | None = None
    gtid: str | None = None
    metadata: str | None = None
    problem: str = ""

    @property
    def there(self) -> bool:
        return self.position is not None


class _Tracer:
    def __init__(self, contract: Contract, clients: Clients, table: str, key: Key) -> None:
        self.contract, self.clients, self.table, self.key = contract, clients, table, key
        self.path = contract.lake_path(table)

    def hops(self, change: Change, published: _Published, report: Callable[[str], None]) -> Iterator[Hop]:
        report("asking MySQL")
        yield self._asked("mysql", f"{self.contract.database}.{self.table}", lambda: self._mysql(change))
        yield self._kafka(change)
        report("asking Paimon for its snapshots")
        lake = self._asked("paimon", str(self.path), lambda: self._paimon(change))
        report("looking for the publication in Nessie's history")
        commit = self._asked("nessie", "main", lambda: self._nessie(change, lake))
        if lake.arrival is Arrival.UNKNOWN and commit.arrival in (Arrival.HERE, Arrival.PASSED):
            lake = replace(
                lake,
                arrival=Arrival.HERE,
                facts={**lake.facts, "no_later_than_snapshot": commit.facts["paimon_snapshot"]},
            )
        yield lake
        yield commit
        if commit.arrival is Arrival.HERE and not published.problem:
            # What was read first may be older than the publication that was found just now.
            published = self.published()
        yield self._trino(change, published, commit)
        for view in self.contract.views_of(self.table):
            report(f"asking {view.engine} for {view.name}")
            ask = self._cassandra if view.engine == "cassandra" else self._couchdb
            yield self._asked(view.engine, view.name, lambda ask=ask, view=view: ask(change, view))  # type: ignore[misc]

    def _asked(self, place: str, name: str, ask: Callable[[], Hop]) -> Hop:
        try:
            return ask()
        except EngineError as error:
            return Hop(place, name, Arrival.FAILED, note=str(error))

    # --- source and topic ---

    def _mysql(self, change: Change) -> Hop:
        columns = [self.contract.schema(self.table).column(name) for name in change.key]
        key = [keyed.argument(column, text) for column, text in zip(columns, self.key, strict=True)]
        sql, args = keyed.by_keys(self.contract, self.table, [key])
        rows = [tuple(row.values()) for row in self.clients.mysql.query(sql, args)]
        now = list(canonical_rows(self.contract, self.table, rows))
        names = self.contract.schema(self.table).column_names
        same = bool(now) and dict(zip(names, now[0], strict=True)) == dict(change.values)
        state = "as the change left it" if same else "changed since"
        if not now:
            state = "gone, as the change left it" if change.deletes else "gone since"
        snapshot = change.operation in (Operation.SNAPSHOT, Operation.REPAIR)
        return Hop(
            "mysql",
            f"{self.contract.database}.{self.table}",
            Arrival.HERE if same or (not now and change.deletes) else Arrival.PASSED,
            at=change.committed_at,
            facts={
                "gtid": change.gtid,
                "binlog_file": change.file,
                "binlog_pos": change.pos,
                "binlog_row": change.row,
                "epoch": change.epoch,
                "position": change.position,
                "row_now": state,
            },
            note="the time is when the row was read; which transaction wrote it is not told"
            if snapshot
            else "",
        )

    def _kafka(self, change: Change) -> Hop:
        facts = {"partition": change.partition, "offset": change.offset, "operation": change.operation.value}
        return Hop("kafka", change.topic, Arrival.HERE, at=change.recorded_at, facts=facts)

    # --- the lake ---

    def _paimon(self, change: Change) -> Hop:
        name, place = str(self.path), "paimon"
        paimon, (database, table) = self.clients.paimon, self.path
        ids = paimon.snapshot_ids(database, table)
        if not ids:
            return Hop(place, name, Arrival.WAITING, note="the table has no snapshot yet")
        first = self._first_after(ids, change.recorded_at - SKEW)
        expired = first == 0 and ids[0] > 1
        if not expired:
            for snapshot in self._snapshots(ids[first:]):
                greatest = paimon.added_max(database, table, snapshot, AUDIT_COLUMNS[0])
                if greatest is not None and greatest >= change.position:
                    note = ""
                    if change.operation is Operation.SNAPSHOT:
                        note = "rows of a first snapshot share one position: no earlier than this"
                    facts = {"snapshot": snapshot.id, "kind": snapshot.kind, "greatest_position": greatest}
                    return Hop(place, name, Arrival.HERE, snapshot.committed_at, facts, note)
            newest = paimon.latest_id(database, table)
            return Hop(place, name, Arrival.WAITING, facts={"newest_snapshot": newest})
        return Hop(
            place,
            name,
            Arrival.UNKNOWN,
            facts={"first_kept_snapshot": ids[0]},
            note=f"the snapshots of that time have expired; the first that is kept is {ids[0]}",
        )

    def _first_after(self, ids: list[int], moment: datetime) -> int:
        """Where among the ids the first snapshot is that was committed at or after a moment."""
        low, high = 0, len(ids)
        while low < high:
            middle = (low + high) // 2
            snapshot = self.clients.paimon.snapshot(self.path.database, self.path.table, ids[middle])
            # One that has expired meanwhile was before.
            if snapshot is None or snapshot.committed_at < moment:
                low = middle + 1
            else:
                high = middle
        return low

    def _snapshots(self, ids: list[int]) -> Iterator[PaimonSnapshot]:
        for number in ids:
            snapshot = self.clients.paimon.snapshot(self.path.database, self.path.table, number)
            if snapshot is not None:
                yield snapshot

    # --- what readers see ---

    def _nessie(self, change: Change, lake: Hop) -> Hop:
        least = 0
        if lake.arrival is Arrival.HERE:
            least = int(lake.facts["snapshot"])
            if change.deletes:
                # A deleted row has no position that could be seen: it is gone with the next compaction.
                compacted = self._compacted(least)
                if compacted is None:
                    return Hop("nessie", "main", Arrival.WAITING)
                least = compacted
        elif lake.arrival is not Arrival.UNKNOWN:
            return Hop("nessie", "main", Arrival.WAITING)
        exact = least > 0
        entry = self._first_publication(change, least)
        if entry is None:
            return Hop("nessie", "main", Arrival.WAITING)
        note = ""
        if not exact and change.deletes:
            note = "no later than this: the first publication with a later change of the table"
        facts = {
            "commit": entry.hash,
            "paimon_snapshot": int(entry.properties[self._property("paimon-snapshot")]),
            "position": _whole(entry.properties.get(self._property("position"))),
            "requested_by": entry.properties.get(f"{PREFIX}.requested-by"),
        }
        return Hop("nessie", "main", Arrival.HERE, _moment(entry.commit_time), facts, note)

    def _property(self, name: str) -> str:
        return f"{PREFIX}.table.{self.table}.{name}"

    def _compacted(self, least: int) -> int | None:
        """The first compacted snapshot from ``least`` on."""
        ids = self.clients.paimon.snapshot_ids(*self.path)
        later = self._snapshots([number for number in ids if number >= least])
        return next((snapshot.id for snapshot in later if snapshot.kind == "COMPACT"), None)

    def _gone(self, entry: LogEntry) -> bool:
        """Whether a commit shows the row no longer.

        Nessie gives readers one version of a table for each commit, so a catalog is pinned to it.
        """
        # Few names, because Trino keeps a little of each; two traces at once need different ones.
        name = f"{self.clients.trino.catalog}_trace_{os.getpid() % 4}"
        with pinned(self.clients.endpoints, name, Reference("main", entry.hash)) as trino:
            table = quoting.double(name, *self.path)
            return not trino.execute(f"SELECT 1 FROM {table} WHERE {self._condition()}").rows  # noqa: S608

    def _condition(self) -> str:
        """The row's key in Trino's SQL; ValueError where a column cannot be looked up by."""
        schema = self.contract.schema(self.table)
        return " AND ".join(
            f"{quoting.double(name)} = {literal_of(schema.column(name), text)}"
            for name, text in zip(schema.primary_key, self.key, strict=True)
        )

    def _first_publication(self, change: Change, least: int) -> LogEntry | None:
        """The oldest publication that shows the change, from the history after its record was written."""
        begin = change.recorded_at - SKEW
        for window in WINDOWS:
            showing = []
            for entry in self.clients.nessie.commits_before(begin + window):
                if _moment(entry.commit_time) < begin:
                    break
                if self._shows(entry, change, least):
                    showing.append(entry)
            # A compaction of some files only may leave a deleted row where readers see it.
            oldest_first = reversed(showing)
            first = next((entry for entry in oldest_first if not change.deletes or self._gone(entry)), None)
            if first is not None:
                return first
        return None

    def _shows(self, entry: LogEntry, change: Change, least: int) -> bool:
        told = entry.properties
        if told.get(f"{PREFIX}.pipeline") != self.contract.name:
            return False
        snapshot = _whole(told.get(self._property("paimon-snapshot")))
        if snapshot is None or snapshot < least:
            return False
        position = _whole(told.get(self._property("position")))
        if change.deletes and least:
            return True
        return position is not None and position >= change.position

    def published(self) -> _Published:
        """The row as main shows it; both of one commit, whatever is published meanwhile."""
        nessie, trino = self.clients.nessie, self.clients.trino
        try:
            condition = self._condition()
        except ValueError as error:
            return _Published(problem=str(error))
        sql = select(AUDIT_COLUMNS[:3], trino.catalog, self.path.database, self.path.table)
        key = (self.path.database, self.path.table)
        try:
            while True:
                before = nessie.get_reference()
                shown = nessie.get_tables([key], before).get(key)
                if shown is None:
                    return _Published(before.hash)
                rows = trino.execute(f"{sql} WHERE {condition}").rows
                if nessie.get_tables([key], nessie.get_reference()).get(key) == shown:
                    break
        except EngineError as error:
            return _Published(problem=str(error))
        if not rows:
            return _Published(before.hash, metadata=shown.metadata_location)
        position, gtid, committed_at = rows[0]
        return _Published(before.hash, int(position), _utc(committed_at), gtid, shown.metadata_location)

    def _trino(self, change: Change, published: _Published, commit: Hop) -> Hop:
        name = f"{self.clients.trino.catalog}.{self.path}"
        if published.problem:
            return Hop("trino", name, Arrival.FAILED, note=published.problem)
        facts: dict[str, Any] = {"commit": published.hash, "row": "present" if published.there else "absent"}
        if published.there:
            facts |= {"position": published.position, "gtid": published.gtid}
        arrival = _arrival(change, published.position)
        if not published.there and not change.deletes and commit.arrival is Arrival.HERE:
            arrival = Arrival.PASSED  # it was published, and the row has been deleted since
        return Hop("trino", name, arrival, facts=facts)

    # --- serving ---

    def _served(self, change: Change) -> dict[str, Any]:
        """How far the serving stream has come with the topic."""
        committed = self.clients.kafka.committed(self.contract.serving_job)
        offset = committed.get(Partition(change.topic, change.partition))
        return {"stream_offset": offset, "stream_is_past": offset is not None and offset > change.offset}

    def _cassandra(self, change: Change, view: View) -> Hop:
        served = self._served(change)
        schema = self.contract.schema(self.table)
        names = self.contract.view_key(view)
        try:
            args = [cassandra_argument(schema.column(name), change.values[name]) for name in names]
        except ValueError as error:
            return Hop("cassandra", view.name, Arrival.UNKNOWN, facts=served, note=str(error))
        position = quoting.double(SERVING_POSITION)
        condition = " AND ".join(f"{quoting.double(name)} = %s" for name in names)
        cql = (
            f"SELECT {position}, WRITETIME({position})"  # noqa: S608 - quoted identifiers
            f" FROM {quoting.double(self.contract.keyspace, view.name)} WHERE {condition}"
        )
        rows = self.clients.cassandra.execute(cql, args)
        key = {name: change.values[name] for name in names}
        if not rows:
            facts = {"row": "absent", "key": key, **served}
            note = f"{NO_CLOCK}; a tombstone cannot be read" if change.deletes else NO_CLOCK
            return Hop("cassandra", view.name, _absent(change, served), facts=facts, note=note)
        shown, written = rows[0]
        facts = {"row": "present", "position": shown, "write_time": written, "key": key, **served}
        return Hop("cassandra", view.name, _arrival(change, shown), facts=facts, note=NO_CLOCK)

    def _couchdb(self, change: Change, view: View) -> Hop:
        served = self._served(change)
        doc_id = document_id([change.values[name] for name in self.contract.view_key(view)])
        doc = self.clients.couchdb.newest(view.name, doc_id)
        if doc is None:
            facts = {"id": doc_id, "row": "absent", **served}
            return Hop("couchdb", view.name, _absent(change, served), facts=facts, note=NO_CLOCK)
        deleted, shown = bool(doc.get("_deleted")), _whole(doc.get(SERVING_POSITION))
        facts = {
            "id": doc_id,
            "row": "deleted" if deleted else "present",
            "revision": doc["_rev"],
            "position": shown,
            **served,
        }
        arrival = Arrival.WAITING
        if shown is not None and shown >= change.position:
            arrival = Arrival.HERE if shown == change.position else Arrival.PASSED
        return Hop("couchdb", view.name, arrival, facts=facts, note=NO_CLOCK)


def _arrival(change: Change, shown: int | None) -> Arrival:
    """By the position that a place shows with the row; None when it has no such row."""
    if shown is None:
        return Arrival.HERE if change.deletes else Arrival.WAITING
    if shown == change.position and not change.deletes:
        return Arrival.HERE
    return Arrival.PASSED if shown > change.position else Arrival.WAITING


def _absent(change: Change, served: dict[str, Any]) -> Arrival:
    """Of a row that a view has not, when the stream has come past its record."""
    if not served["stream_is_past"]:
        return Arrival.WAITING
    return Arrival.HERE if change.deletes else Arrival.PASSED


def _whole(value: object) -> int | None:
    # CouchDB's stand-in keeps numbers above 2^53 as text, Nessie's properties are texts.
    return None if value is None else int(str(value))


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _never(
    contract: Contract, table: str, key: Key, position: int | None, found: Found, published: _Published
) -> str:
    names = contract.schema(table).primary_key
    shown = ", ".join(f"{name}={text}" for name, text in zip(names, key, strict=True))
    what = f"no change of {table} ({shown})" + (f" at position {position}" if position is not None else "")
    where = f"in {contract.topic(table)}: {found.read:,} records were read"
    if not found.whole:
        return f"{what} among the newest records {where}; read more with --most"
    if published.there and position is None:
        at = published.committed_at
        return (
            f"{what} {where}, all that are kept. The row is in the lake at position {published.position}, "
            f"committed {at.isoformat() if at else '?'}: its record has expired"
        )
    return (
        f"{what} {where}, all that are kept: the key was never seen, or not for as long as records are kept"
    )
