"""Making up for lost changes: a re-snapshot, then what a re-snapshot cannot say, then the proof.

A re-snapshot writes every row that the source has. What it cannot tell is which rows are gone; the proof can,
because it compares every place with the source row for row. For each such row a record is written into the
topic (``streams.corrections``), so that the places are still written by the Flink jobs only, and then
everything is compared once more. The gap is closed only when nothing differs.

A repair may be given up or killed at any step and started again: every step looks first at what there is, and
everything that it writes is true at the position at which it is written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.connect import stored_offset
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.kafka_records import RecordWriter
from lakehouse_dagster.proof.verify import Difference, Report, Verifier, places, source_rows
from lakehouse_dagster.render.connector import epoch_of
from lakehouse_dagster.render.records import At, Row
from lakehouse_dagster.streams import act
from lakehouse_dagster.streams.assets import CONNECTOR, Stream, streams_of
from lakehouse_dagster.streams.corrections import Key, corrections, key_of
from lakehouse_dagster.streams.decision import Kind, State
from lakehouse_dagster.streams.memory import Event, EventKind, Gap
from lakehouse_dagster.streams.resnapshot import (
    LOCK_SECONDS,
    Resnapshot,
    connector_lock,
    initial_snapshot,
    resnapshot,
)

if TYPE_CHECKING:
    from lakehouse_dagster.streams.store import StreamStore

REMEMBERED: Final = 50_000
"""Differing rows of one kind, table and place that one round corrects; the next round takes the next ones."""
SETTLE_SECONDS: Final = 1800.0
"""How long changes under way are waited for before each comparison, a new initial snapshot among them."""
PATIENCE: Final = 2
"""Rounds without fewer differences after which a repair gives up."""

Log = Callable[[str], None]


@dataclass(frozen=True)
class Repair:
    """A repair that has succeeded.

    ``resnapshot`` is None when the connector read the whole source anew instead. ``deleted``, ``moved`` and
    ``written`` count the records that were added to topics. ``equal`` tells that no row differed at the end;
    it is False when the source was being written and the only rows that differed were new ones, under way.
    """

    tables: tuple[str, ...]
    resnapshot: Resnapshot | None
    deleted: int
    moved: int
    written: int
    equal: bool
    rounds: int
    gaps_closed: int
    seconds: float

    def __str__(self) -> str:
        read = "the whole source" if self.resnapshot is None else f"{self.resnapshot.rows:,} rows"
        proven = (
            "no row differs"
            if self.equal
            else "none of the rows that had differed differs any more (the source is being written)"
        )
        return (
            f"{', '.join(self.tables)}: read {read} again; wrote {self.deleted:,} lost deletes, "
            f"{self.moved:,} moves and {self.written:,} rows; {proven}; {self.gaps_closed} gap(s) closed "
            f"after {self.seconds:.0f} s"
        )


@dataclass
class _Counts:
    delete: int = 0
    move: int = 0
    write: int = 0
    problems: list[str] = field(default_factory=list)


def repair(
    contract: Contract,
    clients: Clients,
    store: StreamStore,
    *,
    tables: Sequence[str] | None = None,
    log: Log,
    actor: str,
    settle_seconds: float = SETTLE_SECONDS,
) -> Repair:
    """Make every place equal to the source again, and close the gaps.

    ``tables`` are by default those of the open gaps, or all that flow when no gap is open. Streams that stand
    still because of a gap are started. When changes are gone from the binary log, or the contract begins a
    new epoch, the connector's offsets are forgotten and it reads the whole source anew.

    Raises ``EngineError`` with the fix, or with what still differs; the gaps stay open then, and it is safe
    to start again.
    """
    started = time.monotonic()
    known = {table.name for table in contract.tables}
    unknown = sorted(set(tables or ()) - known)
    if unknown:
        raise EngineError(
            "connect",
            f"pipeline {contract.name} has no table {', '.join(unknown)}; it has {', '.join(sorted(known))}",
        )
    renewed = _renew(contract, clients, log) or _beginning(contract, clients)
    _start(contract, clients, log, actor)
    gaps = _gaps(contract, store)
    chosen = tuple(tables or _lost(gaps) or [table.name for table in contract.flowing])
    log(f"repairing {', '.join(chosen)}" + "".join(f"; {gap.stream}: {gap.description}" for gap in gaps))
    read_again = None
    if not renewed:
        read_again = resnapshot(contract, clients, chosen, log=log)
    counts, equal, rounds = _Rounds(contract, clients, chosen, log, settle_seconds).run()
    closed = sum(
        store.close_gaps(contract.name, stream.name, by=actor, tables=chosen)
        for stream in streams_of(contract)
    )
    done = Repair(
        tables=chosen,
        resnapshot=read_again,
        deleted=counts.delete,
        moved=counts.move,
        written=counts.write,
        equal=equal,
        rounds=rounds,
        gaps_closed=closed,
        seconds=time.monotonic() - started,
    )
    store.record(Event(contract.name, CONNECTOR, EventKind.RESNAPSHOT, reason=str(done), actor=actor))
    log(str(done))
    return done


def _gaps(contract: Contract, store: StreamStore) -> list[Gap]:
    memory = store.memory(contract.name, [stream.name for stream in streams_of(contract)])
    return [gap for remembered in memory.values() for gap in remembered.gaps]


def _lost(gaps: Sequence[Gap]) -> list[str]:
    return sorted({table for gap in gaps for table in gap.tables})


# --- changes that are gone from the binary log ----------------------------------------------------


def _renew(contract: Contract, clients: Clients, log: Log) -> bool:
    """Have the connector begin anew if what it has to read next is gone; returns whether that was so."""
    name = contract.connector_name
    lost = _unreadable(contract, clients) or _older_epoch(contract, clients)
    if not lost:
        return False
    log(f"{lost}; the connector forgets its offsets and reads the whole source anew")
    with connector_lock(contract, clients):
        clients.connect.stop_and_wait(name)
        clients.connect.delete_offsets(name)
    # Started by `_start`, as any stream; if this process dies here, by the next repair.
    return True


def _beginning(contract: Contract, clients: Clients) -> bool:
    """Whether the connector has yet to read the whole source: a repair that was given up left it so."""
    offset = stored_offset(clients.connect.offsets(contract.connector_name))
    return not offset or initial_snapshot(offset)


def _unreadable(contract: Contract, clients: Clients) -> str | None:
    read = stored_offset(clients.connect.offsets(contract.connector_name)).get("gtids")
    if not isinstance(read, str):
        return None  # nothing was read yet: it begins with a snapshot anyway
    condition = clients.reading.mysql.condition(read)
    if condition.purged_unread:
        return f"transactions {condition.purged_unread} are gone from the binary log and were not read"
    return None


def _older_epoch(contract: Contract, clients: Clients) -> str | None:
    """Say that a new epoch begins: what was read before it is no place in the source's log any more."""
    name = contract.connector_name
    config = clients.connect.config(name)
    if config is None or not stored_offset(clients.connect.offsets(name)):
        return None
    epoch = epoch_of(config)
    if epoch == contract.epoch:
        return None
    return f"epoch {contract.epoch} of the source begins, and what was read is of epoch {epoch}"


# --- the streams ----------------------------------------------------------------------------------


def _start(contract: Contract, clients: Clients, log: Log, actor: str) -> None:
    for stream in streams_of(contract):
        outcome = act.reconcile(
            contract, stream, clients, log=log, actor=actor, accept_gap=True, wait=LOCK_SECONDS
        )
        if not _up(outcome.state):
            raise EngineError(
                "connect" if stream.kind is Kind.CONNECTOR else "flink",
                f"{stream.engine_name} is {outcome.state} and has to run for a repair: "
                f"{outcome.action.reason}{_resume(contract, stream, outcome)}",
            )


def _up(state: str) -> bool:
    return state in {one.value for one in State if one.alive}


def _resume(contract: Contract, stream: Stream, outcome: act.Outcome) -> str:
    if outcome.action.rule != "paused":
        return ""
    return f"; run `lakehouse streams resume {contract.name} {stream.name}`"


# --- correcting what differs ----------------------------------------------------------------------


class _Rounds:
    """Compare, correct, and compare again."""

    def __init__(
        self, contract: Contract, clients: Clients, tables: Sequence[str], log: Log, settle_seconds: float
    ) -> None:
        self._contract = contract
        self._clients = clients
        self._tables = frozenset(tables)
        self._log = log
        self._settle_seconds = settle_seconds
        self._counts = _Counts()

    def run(self) -> tuple[_Counts, bool, int]:
        """Until nothing differs: what was written, whether it ended equal, and the comparisons it took."""
        before: set[tuple[str, str, Key]] | None = None
        least: int | None = None
        vain = 0
        for number in range(1, 1_000):
            report, found = self._compare(number)
            total = self._total(report)
            if not total:
                return self._counts, True, number
            names = {self._name(difference) for difference in found}
            if before is not None and report.written and not names & before:
                self._log(f"{total:,} rows differ that were equal before: changes under way")
                return self._counts, False, number
            vain = vain + 1 if least is not None and total >= least else 0
            least = total if least is None else min(least, total)
            if vain >= PATIENCE or (not found and total):
                break
            before = names
            self._correct(found)
        differs = next(
            r for r in report.results if not r.comparison.equal and r.subject.table in self._tables
        )
        raise EngineError(differs.subject.place, self._failed(report))

    def _compare(self, number: int) -> tuple[Report, list[Difference]]:
        self._log(f"comparison {number}: the source with every place")
        found: list[Difference] = []

        def note(difference: Difference) -> None:
            # Trino shows the lake's rows, one version later: what is right there follows from the lake.
            if difference.subject.place != "trino" and difference.subject.table in self._tables:
                found.append(difference)

        verifier = Verifier(
            self._contract,
            self._clients,
            places(self._contract, self._clients),
            timeout=self._settle_seconds,
            report=self._log,
            max_attempts=1,
            differing=note,
            remembered=REMEMBERED,
        )
        report = verifier.run()
        if unseen := sorted(self._tables & report.left_out.keys()):
            raise EngineError(
                "mysql",
                "; ".join(f"{table} cannot be compared: {report.left_out[table]}" for table in unseen),
            )
        if report.unsettled:
            raise EngineError(
                "flink",
                f"after {self._settle_seconds:.0f} s changes are still under way: "
                f"{'; '.join(report.unsettled)}; see `lakehouse streams list {self._contract.name}`, and run "
                "the repair again",
            )
        return report, found

    def _total(self, report: Report) -> int:
        return sum(
            result.comparison.missing + result.comparison.extra + result.comparison.different
            for result in report.results
            if result.subject.table in self._tables
        )

    def _name(self, difference: Difference) -> tuple[str, str, Key]:
        row, subject = difference.row, difference.subject
        return (subject.place, subject.label, tuple(row[name] for name in subject.projection.key))

    def _correct(self, found: Sequence[Difference]) -> None:
        """Write what is true of the differing rows at one snapshot of the source."""
        by_table: dict[str, list[Difference]] = {}
        for difference in found:
            by_table.setdefault(difference.subject.table, []).append(difference)
        contract, before = self._contract, _Counts(self._counts.delete, self._counts.move, self._counts.write)
        with (
            self._clients.reading.mysql.snapshot(contract.database, list(by_table)) as snapshot,
            RecordWriter(self._clients.endpoints.kafka) as writer,
        ):
            now = int(datetime.now(UTC).timestamp() * 1_000_000)
            at = At(snapshot.position.file, snapshot.position.pos, now)
            for table, differences in by_table.items():
                wanted = {key_of(contract, table, difference.row) for difference in differences}
                names = contract.schema(table).column_names
                truth: dict[Key, Row] = {}
                for values in source_rows(contract, snapshot, table):
                    row = dict(zip(names, values, strict=True))
                    if (key := key_of(contract, table, row)) in wanted:
                        truth[key] = row
                for correction in corrections(contract, table, differences, truth, at):
                    if correction.record is None:
                        self._problem(correction.problem)
                        continue
                    record = correction.record
                    writer.write(record.topic, record.key, record.value)
                    setattr(self._counts, correction.kind, getattr(self._counts, correction.kind) + 1)
        self._log(
            f"wrote at {at.file}:{at.pos}: {self._counts.delete - before.delete:,} deletes, "
            f"{self._counts.move - before.move:,} moves, {self._counts.write - before.write:,} rows"
        )

    def _problem(self, said: str) -> None:
        if said not in self._counts.problems and len(self._counts.problems) < 5:
            self._counts.problems.append(said)
            self._log(f"cannot be corrected by a record: {said}")

    def _failed(self, report: Report) -> str:
        parts = []
        for result in report.results:
            found = result.comparison
            if result.subject.table in self._tables and not found.equal:
                parts.append(
                    f"{result.subject.place} {result.subject.label}: {found.missing} missing, "
                    f"{found.extra} extra, {found.different} different"
                )
        said = f"rows still differ after the repair: {'; '.join(parts)}"
        if self._counts.problems:
            said += (
                f"; rows that no record can correct, because the pipeline never wrote them: "
                f"{'; '.join(self._counts.problems)}; delete them where they are"
            )
        if report.written:
            said += "; the source was being written: stop the writers for a moment and run the repair again"
        return f"{said}; see `lakehouse verify {self._contract.name}`"
