"""The verification: one consistent snapshot of the source against every row of every place."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.evolution import policy_of
from lakehouse_dagster.contract.position import encode, file_number
from lakehouse_dagster.contract.schema import TableSchema
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.mysql import SourcePosition, SourceSnapshot
from lakehouse_dagster.proof.freshness_source import quiet
from lakehouse_dagster.proof.places.cassandra import CassandraPlace
from lakehouse_dagster.proof.places.couchdb import CouchDbPlace
from lakehouse_dagster.proof.places.paimon import PaimonPlace
from lakehouse_dagster.proof.places.trino import TrinoPlace
from lakehouse_dagster.proof.rowset import Comparison, Kind, RowSet, compare, digest
from lakehouse_dagster.proof.settle import settle
from lakehouse_dagster.proof.subject import KeyedPlace, Place, PlaceName, Projection, Subject, subjects
from lakehouse_dagster.render.mysql import source_select

#: Differing rows that are named per table and place.
MAX_EXAMPLES = 20
#: Snapshots taken when the source is written during the comparison.
MAX_ATTEMPTS = 3


@dataclass(frozen=True)
class Example:
    """One differing row: its key, and source and place values of the columns that differ.

    For a missing row all columns are given with the source's values, for an extra one with the place's.
    """

    kind: Kind
    key: Mapping[str, str | None]
    columns: Mapping[str, tuple[str | None, str | None]]

    def to_json(self) -> dict[str, Any]:
        """As printed by `lakehouse verify --json`."""
        columns = {name: {"source": pair[0], "place": pair[1]} for name, pair in self.columns.items()}
        return {"kind": self.kind, "key": dict(self.key), "columns": columns}


@dataclass(frozen=True)
class Difference:
    """One differing row, whole: canonical texts in the order of the projection's columns.

    `values` are the source's for a missing or different row, the place's for an extra one. `position` is the
    place's (None: it has none, or has no such row).
    """

    subject: Subject
    kind: Kind
    values: tuple[str | None, ...]
    position: int | None = None

    @property
    def row(self) -> dict[str, str | None]:
        """The values by column."""
        return dict(zip(self.subject.projection.names, self.values, strict=True))


@dataclass(frozen=True)
class Result:
    """The comparison of one table in one place.

    `newer` counts differing keys of the place whose row carries a position after the snapshot: they were
    written while the comparison ran.
    """

    subject: Subject
    comparison: Comparison
    examples: tuple[Example, ...] = ()
    newer: int = 0

    def to_json(self) -> dict[str, Any]:
        """As printed by `lakehouse verify --json`."""
        return {
            "table": self.subject.table,
            "place": self.subject.place,
            "view": self.subject.view,
            "source_rows": self.comparison.source_rows,
            "rows": self.comparison.rows,
            "missing": self.comparison.missing,
            "extra": self.comparison.extra,
            "different": self.comparison.different,
            "newer": self.newer,
            "examples": [example.to_json() for example in self.examples],
        }


@dataclass(frozen=True)
class Report:
    """A whole verification.

    `position` is the point of the source's binary log that was compared. `unsettled` names what had not
    arrived when waiting ended (empty: all had). `written` tells that the source was still being written
    while the last comparison ran, so differences may be changes under way; `attempts` snapshots were taken.
    `left_out` are tables that were not compared anywhere, each with the reason.
    """

    pipeline: str
    position: SourcePosition
    results: tuple[Result, ...]
    unsettled: tuple[str, ...] = ()
    written: bool = False
    attempts: int = 1
    seconds: float = 0.0
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def differs(self) -> bool:
        """True when any row that was compared differs."""
        return not all(result.comparison.equal for result in self.results)

    @property
    def equal(self) -> bool:
        """True when every table was compared and no row differs anywhere."""
        return not self.differs and not self.left_out

    def to_json(self) -> dict[str, Any]:
        """As printed by `lakehouse verify --json`."""
        return {
            "pipeline": self.pipeline,
            "equal": self.equal,
            "source": {
                "file": self.position.file,
                "pos": self.position.pos,
                "gtids": self.position.gtids,
                "written_during_comparison": self.written,
            },
            "unsettled": list(self.unsettled),
            "left_out": dict(self.left_out),
            "attempts": self.attempts,
            "seconds": round(self.seconds, 1),
            "tables": [result.to_json() for result in self.results],
        }


def places(contract: Contract, clients: Clients) -> dict[PlaceName, KeyedPlace]:
    """All places a pipeline can live in."""
    return {
        "paimon": PaimonPlace(contract, clients.endpoints, clients.submitter, clients.store),
        "trino": TrinoPlace(contract, clients.reading.trino, clients.paimon),
        "cassandra": CassandraPlace(contract, clients.reading.cassandra),
        "couchdb": CouchDbPlace(clients.reading.couchdb),
    }


@dataclass
class Verifier:
    """Compares a pipeline's source with its places. `report` gets a line at every step.

    `wait` is what waits for changes under way, with the arguments of `settle.settle`. `differing`, if given,
    gets every differing row that is remembered, of every attempt; `remembered` bounds their number by table,
    place and kind, and with it the memory that they take.
    """

    contract: Contract
    clients: Clients
    places: Mapping[PlaceName, Place]
    timeout: float = 180.0
    report: Callable[[str], None] = field(default=lambda _: None)
    max_attempts: int = MAX_ATTEMPTS
    wait: Callable[..., tuple[str, ...]] = settle
    differing: Callable[[Difference], None] | None = None
    remembered: int = 10_000

    def run(self) -> Report:
        """Verify; raises EngineError naming the engine when the source or a place cannot be read.

        When rows differ and the source was written meanwhile, it is tried again with a new snapshot, at most
        `max_attempts` times; the last report then says `written`.
        """
        started = time.monotonic()
        left_out = check_schema(self.contract, self.clients)
        for table, why in left_out.items():
            self.report(f"{table} is not compared: {why}")
        tables = [table.name for table in self.contract.tables if table.name not in left_out]
        if not tables:
            raise EngineError("mysql", f"no table can be compared: {_listed(left_out)}")
        # The platform's own row is written all the time; left alone it would differ in every comparison.
        with quiet(self.contract, self.clients.reading.mysql):
            for attempt in range(1, self.max_attempts + 1):
                report = self._attempt(tables)
                if not report.differs or not report.written or attempt == self.max_attempts:
                    break
                self.report(f"the source was written meanwhile; attempt {attempt + 1} of {self.max_attempts}")
        return Report(
            pipeline=report.pipeline,
            position=report.position,
            results=report.results,
            unsettled=report.unsettled,
            written=report.written,
            attempts=attempt,
            seconds=time.monotonic() - started,
            left_out=left_out,
        )

    def _attempt(self, tables: Sequence[str]) -> Report:
        contract = self.contract
        wanted = [subject for subject in subjects(contract) if subject.table in tables]
        with ExitStack() as stack:
            self.report("taking a consistent snapshot of the source")
            snapshot = stack.enter_context(self.clients.reading.mysql.snapshot(contract.database, tables))
            sources = self._read_source(stack, snapshot, wanted)
            self.report("waiting until all of it has arrived everywhere")
            unsettled = self.wait(
                contract, self.clients, snapshot.position.gtids, timeout=self.timeout, report=self.report
            )
            limit = position_limit(contract, snapshot.position)
            results: list[Result] = []
            for name, place in self.places.items():
                mine = [subject for subject in wanted if subject.place == name]
                if not mine:
                    continue
                stack.callback(place.close)
                self.report(f"reading {name}")
                place.prepare(mine)
                for subject in mine:
                    comparison = self._compare(place, subject, sources[subject.projection])
                    examples: tuple[Example, ...] = ()
                    newer = 0
                    if not comparison.equal:
                        examples, newer = self._explain(snapshot, place, subject, comparison, limit)
                    results.append(Result(subject, comparison, examples, newer))
                    self.report(f"{name}: {subject.label}: {comparison.rows} rows compared")
            # Asked last: an unchanged set proves that nothing was written during the whole comparison.
            now = self.clients.reading.mysql.executed_gtids()
            written = bool(self.clients.reading.mysql.missing_gtids(snapshot.position.gtids, now))
        order = {subject: number for number, subject in enumerate(wanted)}
        results.sort(key=lambda result: order[result.subject])
        return Report(contract.name, snapshot.position, tuple(results), unsettled, written)

    def _read_source(
        self, stack: ExitStack, snapshot: SourceSnapshot, wanted: Sequence[Subject]
    ) -> dict[Projection, RowSet]:
        """One pass over each source table fills the row set of every projection of it."""
        sets: dict[Projection, RowSet] = {}
        for subject in wanted:
            if subject.projection not in sets:
                sets[subject.projection] = stack.enter_context(RowSet())
        for table in dict.fromkeys(projection.table for projection in sets):
            count = 0
            mine = [(picker(self.contract, p), s) for p, s in sets.items() if p.table == table]
            for row in source_rows(self.contract, snapshot, table):
                count += 1
                for (columns, keys), rows in mine:
                    rows.add([row[at] for at in keys], [row[at] for at in columns])
            self.report(f"source: {table}: {count} rows")
        return sets

    def _compare(self, place: Place, subject: Subject, source: RowSet) -> Comparison:
        keys = subject.projection.key_positions
        with RowSet() as rows:
            for row in place.rows(subject):
                rows.add([row.values[at] for at in keys], row.values)
            return compare(source, rows, limit=self.remembered)

    def _explain(
        self, snapshot: SourceSnapshot, place: Place, subject: Subject, comparison: Comparison, limit: int
    ) -> tuple[tuple[Example, ...], int]:
        """Read both sides again for the differing keys only: examples, and how many rows are newer."""
        projection = subject.projection
        columns, keys = picker(self.contract, projection)
        chosen = choose(comparison.keys)
        ours: dict[bytes, tuple[str | None, ...]] = {}
        theirs: dict[bytes, list[tuple[str | None, ...]]] = {}
        tell = self.differing
        for row in source_rows(self.contract, snapshot, subject.table):
            at = digest([row[k] for k in keys])
            if at in chosen:
                ours[at] = tuple(row[c] for c in columns)
            kind = comparison.keys.get(at)
            if tell is not None and kind in ("missing", "different"):
                tell(Difference(subject, kind, tuple(row[c] for c in columns)))
        newer = 0
        for found in place.rows(subject):
            at = digest([found.values[k] for k in projection.key_positions])
            kind = comparison.keys.get(at)
            if tell is not None and kind == "extra":
                tell(Difference(subject, kind, found.values, found.position))
            if kind is not None and found.position is not None and found.position > limit:
                newer += 1
            if at in chosen:
                theirs.setdefault(at, []).append(found.values)
        examples = [
            example(projection, kind, ours.get(key), theirs.get(key, []))
            for key, kind in chosen.items()
            if key in ours or key in theirs
        ]
        return tuple(examples), newer


def check_schema(contract: Contract, clients: Clients, tables: Sequence[str] | None = None) -> dict[str, str]:
    """Return which tables (of all by default) cannot be compared, each with the reason: they are stopped,
    gone from the source, or no longer what the contract has locked.

    A column that the policy leaves out is no reason.
    """
    names = [table.name for table in contract.tables] if tables is None else list(tables)
    live = clients.reading.mysql.read_schema(contract.database).tables
    found = {}
    for name in names:
        policy = policy_of(contract.pipeline.schema_changes, contract.table(name).schema_changes)
        if name in contract.stopped:
            found[name] = f"it is stopped: {contract.stopped[name]}"
        elif name not in live:
            found[name] = f"{contract.database} has no such table any more"
        elif changes := drift(contract.lock.tables[name], live[name], ignore_added=policy.add == "ignore"):
            found[name] = (
                "the source is not what the pipeline has locked, so not every column can be compared: "
                f"{'; '.join(changes)}; see `lakehouse schema diff {contract.name}`"
            )
    return found


def _listed(left_out: Mapping[str, str]) -> str:
    return "; ".join(f"{table}: {why}" for table, why in left_out.items())


def drift(locked: TableSchema, live: TableSchema, *, ignore_added: bool = False) -> list[str]:
    """How a source table differs from its lock in columns, types and key; empty when it does not.

    With `ignore_added` a column that the lock does not have is no difference.
    """
    found = []
    old = {column.name: column.mysql_type for column in locked.columns}
    new = {column.name: column.mysql_type for column in live.columns}
    for name in old.keys() if ignore_added else old.keys() | new.keys():
        if old.get(name) != new.get(name):
            was, now = old.get(name, "absent"), new.get(name, "absent")
            found.append(f"{locked.name}.{name} is {now}, locked as {was}")
    if locked.primary_key != live.primary_key:
        was, now = ", ".join(locked.primary_key), ", ".join(live.primary_key)
        found.append(f"{locked.name} has the key ({now}), locked as ({was})")
    return sorted(found)


def choose(keys: Mapping[bytes, Kind], limit: int = MAX_EXAMPLES) -> dict[bytes, Kind]:
    """At most `limit` differing keys, taken in turn from each kind so that none hides the others."""
    kinds: dict[Kind, list[bytes]] = {"different": [], "missing": [], "extra": []}
    for key, kind in keys.items():
        kinds[kind].append(key)
    chosen: dict[bytes, Kind] = {}
    queues = [(kind, iter(sorted(found))) for kind, found in kinds.items()]
    while queues and len(chosen) < limit:
        for entry in list(queues):
            following = next(entry[1], None)
            if following is None:
                queues.remove(entry)
            elif len(chosen) < limit:
                chosen[following] = entry[0]
    return chosen


def example(
    projection: Projection,
    kind: Kind,
    ours: Sequence[str | None] | None,
    theirs: Sequence[Sequence[str | None]],
) -> Example:
    """Name one differing row from the source's values (if it has any) and the place's rows of that key."""
    other = next((row for row in theirs if row != ours), theirs[0] if theirs else None)
    known = ours if ours is not None else other
    assert known is not None, "a differing key is in the source or in the place"
    columns = {}
    for at, name in enumerate(projection.names):
        pair = (ours[at] if ours is not None else None, other[at] if other is not None else None)
        if kind != "different" or pair[0] != pair[1]:
            columns[name] = pair
    key = {name: known[at] for name, at in zip(projection.key, projection.key_positions, strict=True)}
    return Example(kind, key, columns)


def picker(contract: Contract, projection: Projection) -> tuple[list[int], list[int]]:
    """Where a projection's columns and its key's columns are in a row of the whole source table."""
    names = contract.schema(projection.table).column_names
    return [names.index(name) for name in projection.names], [names.index(name) for name in projection.key]


def source_rows(contract: Contract, snapshot: SourceSnapshot, table: str) -> Iterator[list[str | None]]:
    """Rows of a source table in the snapshot, as canonical texts of all columns."""
    yield from canonical_rows(contract, table, snapshot.rows(source_select(contract, table)))


def canonical_rows(
    contract: Contract, table: str, rows: Iterable[Sequence[Any]]
) -> Iterator[list[str | None]]:
    """Rows of all columns as MySQL gives them, as canonical texts."""
    schema = contract.schema(table)
    convert = Projection(table, schema.columns, schema.primary_key).canonicalizers()
    for row in rows:
        yield [f(value) for f, value in zip(convert, row, strict=True)]


def position_limit(contract: Contract, position: SourcePosition) -> int:
    """The encoded position of the snapshot's end: rows after it were written later.

    The connector's initial snapshot gives its rows the position at which they were read, which is this very
    one when nothing was written since; a later row's event lies behind its transaction's first events, so
    its position is greater.
    """
    return encode(contract.epoch, file_number(position.file), position.pos, 0)
