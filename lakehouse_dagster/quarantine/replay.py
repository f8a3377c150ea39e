"""Replaying: what the source says of the records' rows is written, waited for, and only then decided.

It may be given up or killed at any step and started again: everything that it writes is true at the position
at which it is written, and nothing is decided before it has arrived. Two at a time do no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.wire import NoWireForm
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.kafka_records import RecordWriter
from lakehouse_dagster.quarantine.arrival import wait_for_jobs
from lakehouse_dagster.quarantine.model import Quarantined, Verdict, fingerprint
from lakehouse_dagster.quarantine.reading import raw_values, sync
from lakehouse_dagster.quarantine.store import QuarantineStore
from lakehouse_dagster.quarantine.truth import Key, Left, Unreadable, key_of, left_places, records, rows_of
from lakehouse_dagster.render.records import At

BATCH: Final = 1_000
"""Records that are replayed at a time: their rows are held in memory, and one snapshot of the source serves
them."""
WAIT_SECONDS: Final = 300.0
NAMED: Final = 50
"""Failures that are named."""

Log = Callable[[str], None]


@dataclass(frozen=True)
class Failure:
    """A record that was not replayed, and why; it stays open."""

    record: Quarantined
    why: str

    def __str__(self) -> str:
        return f"{self.record.place}: {self.why}"


@dataclass(frozen=True)
class Replayed:
    """What a replay has done: records decided, records written into topics, and how many could not be
    replayed, of which the first are named.
    """

    replayed: int = 0
    written: int = 0
    failed: int = 0
    failures: tuple[Failure, ...] = ()

    def __add__(self, other: Replayed) -> Replayed:
        return Replayed(
            self.replayed + other.replayed,
            self.written + other.written,
            self.failed + other.failed,
            (*self.failures, *other.failures)[:NAMED],
        )

    def __str__(self) -> str:
        return (
            f"{self.replayed:,} record(s) replayed, {self.written:,} record(s) written into topics, "
            f"{self.failed:,} not replayed"
        )


@dataclass
class _Row:
    """One row of the source and the quarantined records about it."""

    table: str
    key: Key
    about: list[Quarantined] = field(default_factory=list)
    left: set[tuple[tuple[str, str], ...]] = field(default_factory=set)
    written: list[str] = field(default_factory=list)
    """Fingerprints of the records that were written for it."""
    problem: str = ""

    @property
    def places(self) -> list[Left]:
        """The places in the views that it has left."""
        return [dict(place) for place in sorted(self.left)]


@dataclass
class Replay:
    """A replay for one pipeline. ``log`` gets a line for every step."""

    contract: Contract
    clients: Clients
    store: QuarantineStore
    actor: str
    log: Log
    wait_seconds: float = WAIT_SECONDS

    def run(self, found: Sequence[Quarantined]) -> Replayed:
        """Replay the records, ``BATCH`` at a time; raises ``EngineError`` when an engine cannot be used."""
        done = Replayed()
        for start in range(0, len(found), BATCH):
            done += self._batch(found[start : start + BATCH])
        return done

    def _batch(self, found: Sequence[Quarantined]) -> Replayed:
        failures: list[Failure] = []
        rows = self._rows(found, failures)
        at = self._write(rows)
        written = [row for row in rows if row.written]
        late = self._wait(written)
        refused = self._refused(written)
        decided = 0
        for row in rows:
            again = [refused[mark] for mark in row.written if mark in refused]
            if again:
                row.problem = f"what the source has now cannot be carried either: {again[0].reason}"
                self._set_aside(again)
            elif row.written and late:
                row.problem = (
                    f"written, but not seen in the lake after {self.wait_seconds:.0f} s: "
                    f"{'; '.join(late)}; see `lakehouse streams list {self.contract.name}`, and try again"
                )
            if row.problem:
                failures += (Failure(one, row.problem) for one in row.about)
                continue
            self.store.decide(
                self.contract.name, row.about, Verdict.REPLAYED, by=self.actor, proof=self._proof(row, at)
            )
            decided += len(row.about)
        return Replayed(
            decided, sum(len(row.written) for row in rows), len(failures), tuple(failures[:NAMED])
        )

    # --- what they are about ---

    def _rows(self, found: Sequence[Quarantined], failures: list[Failure]) -> list[_Row]:
        tables = {self.contract.topic(table.name): table.name for table in self.contract.tables}
        rows: dict[tuple[str, Key], _Row] = {}
        # By offset of the dead letter; of two with the same one, one is of a topic that was deleted.
        of: dict[int, list[tuple[_Row, Quarantined]]] = {}
        for one in found:
            try:
                if one.malformed or one.topic not in tables:
                    raise Unreadable("it does not tell which table it belongs to")
                table = tables[one.topic]
                if one.truncates:
                    raise Unreadable(
                        f"{table} was truncated: no row of it can be written, and those that it had are "
                        "still in the lake and its views"
                    )
                key = key_of(self.contract, table, one.key)
            except Unreadable as error:
                failures.append(Failure(one, f"{error}; {self._way_out(tables.get(one.topic))}"))
                continue
            row = rows.setdefault((table, key), _Row(table, key))
            row.about.append(one)
            if self.contract.before_columns(table):
                of.setdefault(one.letter, []).append((row, one))
        for row, raw in self._raw(of):
            try:
                row.left |= {
                    tuple(sorted(left.items())) for left in left_places(self.contract, row.table, raw)
                }
            except Unreadable as error:
                self._place_unknown(row, str(error))
        return list(rows.values())

    def _raw(self, of: dict[int, list[tuple[_Row, Quarantined]]]) -> Iterator[tuple[_Row, bytes | None]]:
        """Each row with the whole value of each of its records; one that is gone is the row's problem."""
        missing = {one.id: row for entries in of.values() for row, one in entries}
        for letter, raw in raw_values(self.contract, self.clients, set(of)):
            for row, one in of[letter]:
                if fingerprint(one.key, raw) == one.fingerprint:
                    missing.pop(one.id, None)
                    yield row, raw
        for row in missing.values():
            self._place_unknown(row, "its dead letter is gone")

    def _place_unknown(self, row: _Row, why: str) -> None:
        moving = ", ".join(self.contract.before_columns(row.table))
        row.problem = (
            f"views of {row.table} are keyed by {moving}, and which place in them the row has left only the "
            f"record could tell: {why}; {self._way_out(row.table)}"
        )

    def _way_out(self, table: str | None) -> str:
        name = self.contract.name
        if table is None:
            return (
                f"when `lakehouse verify {name}` is well, drop it: "
                f"`lakehouse quarantine drop {name} ID --why TEXT`"
            )
        return (
            "run `lakehouse quarantine replay "
            f"{name} --table {table} --repair`, which reads the table again and compares every row"
        )

    # --- writing and waiting ---

    def _write(self, rows: Sequence[_Row]) -> At | None:
        by_table: dict[str, list[_Row]] = {}
        for row in rows:
            if not row.problem:
                by_table.setdefault(row.table, []).append(row)
        if not by_table:
            return None
        contract = self.contract
        with (
            self.clients.reading.mysql.snapshot(contract.database, list(by_table)) as snapshot,
            RecordWriter(self.clients.endpoints.kafka) as writer,
        ):
            now = int(datetime.now(UTC).timestamp() * 1_000_000)
            at = At(snapshot.position.file, snapshot.position.pos, now)
            for table, mine in by_table.items():
                truth = rows_of(contract, snapshot, table, [row.key for row in mine])
                for row in mine:
                    try:
                        made = records(contract, table, row.key, truth.get(row.key), row.places, at)
                    except NoWireForm as error:
                        row.problem = f"what the source has now cannot be carried: {error}"
                        continue
                    for record in made:
                        writer.write(record.topic, record.key, record.value)
                        row.written.append(fingerprint(record.key, record.value))
        self.log(f"wrote {writer.written:,} record(s) of {', '.join(by_table)} at {at.file}:{at.pos}")
        return at

    def _wait(self, written: Sequence[_Row]) -> tuple[str, ...]:
        if not written:
            return ()
        tables = sorted({row.table for row in written})
        return wait_for_jobs(self.contract, self.clients, tables, timeout=self.wait_seconds, report=self.log)

    def _refused(self, written: Sequence[_Row]) -> dict[str, Quarantined]:
        """What came back as dead letters, by fingerprint."""
        sync(self.contract, self.clients, self.store)
        marks = [mark for row in written for mark in row.written]
        found = self.store.with_fingerprints(self.contract.name, marks) if marks else []
        return {one.fingerprint: one for one in found}

    def _set_aside(self, again: Iterable[Quarantined]) -> None:
        """A record that a failed replay has made is nobody's business: the one it was made for stays open."""
        self.store.decide(
            self.contract.name,
            list(again),
            Verdict.DROPPED,
            by=self.actor,
            why="written by a replay that failed; the record it was written for stays open",
        )

    def _proof(self, row: _Row, at: At | None) -> str:
        where = f"{at.file}:{at.pos}" if at else ""
        return (
            f"{len(row.written)} record(s) written at {where} for the row ({', '.join(row.key)}) of "
            f"{row.table}, read and committed by {self._jobs(row.table)}"
        )

    def _jobs(self, table: str) -> str:
        jobs = [self.contract.lake_job]
        if self.contract.views_of(table):
            jobs.append(self.contract.serving_job)
        return " and ".join(jobs)


def replay_by_repair(
    contract: Contract,
    clients: Clients,
    store: QuarantineStore,
    tables: Sequence[str],
    *,
    actor: str,
    log: Log,
) -> Replayed:
    """Read whole tables again, compare every row of every place, and decide about all their records at once.

    The way for records that do not tell which row they are about, a TRUNCATE among them: what was there
    before it is removed first. Raises ``EngineError`` when rows still differ; then nothing is decided.
    Records that are quarantined during the repair stay open.
    """
    from lakehouse_dagster.quarantine.emptied import empty
    from lakehouse_dagster.streams.repair import repair
    from lakehouse_dagster.streams.store import StreamStore

    topics = [contract.topic(table) for table in tables]
    before = store.records(contract.name, topics=topics, newest_first=True, limit=1)
    if not before:
        return Replayed()
    emptied = empty(contract, clients, store, tables, log)
    done = repair(contract, clients, StreamStore(clients.postgres), tables=tables, log=log, actor=actor)
    decided = 0
    # What is decided is open no more, so the next ones come first.
    while found := store.records(contract.name, topics=topics, upto=before[0].id, limit=BATCH):
        store.decide(contract.name, found, Verdict.REPLAYED, by=actor, proof=f"repair: {done}")
        decided += len(found)
    return Replayed(decided, emptied + done.deleted + done.moved + done.written)
