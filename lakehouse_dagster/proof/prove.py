"""The running proof: the source compared with every place while all of them go on being written."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.mysql import SourcePosition, SourceSnapshot
from lakehouse_dagster.governance.hold import HoldStore, said
from lakehouse_dagster.proof.arrived import Arrivals
from lakehouse_dagster.proof.proofs import DEFAULT_RATE, DEFAULT_ROUNDS, DEFAULT_TIMEOUT, Proof
from lakehouse_dagster.proof.ranges import NO_POSITION, RangedRows, RangeSums
from lakehouse_dagster.proof.rounds import MOST_PENDING, NOTHING, Held, Reconciliation
from lakehouse_dagster.proof.rowset import digest
from lakehouse_dagster.proof.settle import wait_each
from lakehouse_dagster.proof.source import LOCK_ATTEMPTS, LOCK_SECONDS, read_all, read_keys
from lakehouse_dagster.proof.subject import (
    Key,
    KeyedPlace,
    PlaceName,
    PlaceRow,
    Projection,
    Subject,
    subjects,
)
from lakehouse_dagster.proof.throttle import Throttle
from lakehouse_dagster.proof.verify import (
    Example,
    check_schema,
    choose,
    example,
    picker,
    places,
    position_limit,
)

MEMORY_BYTES: Final = 128 << 20
"""For digests; half of it for the source, half for the place that is being read."""
LEAST_PENDING: Final = 10_000
"""Keys of each table and place that are followed at least, whatever number of them there are."""

Log = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """One table in one place: the proof, wrong rows by name, and the hashes of its ranges of keys."""

    subject: Subject
    proof: Proof
    examples: tuple[Example, ...]
    source: RangeSums
    place: RangeSums


@dataclass(frozen=True)
class ProofReport:
    """A whole proof. `problems` tells of places, tables, or tables in places, that could not be compared, and
    why.
    """

    pipeline: str
    position: SourcePosition
    as_of: datetime
    outcomes: tuple[Outcome, ...]
    problems: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def differences(self) -> int:
        """Wrong rows everywhere."""
        return sum(outcome.proof.differences for outcome in self.outcomes)

    @property
    def unsettled(self) -> int:
        """Rows everywhere that are neither proven nor wrong."""
        return sum(outcome.proof.unsettled for outcome in self.outcomes)


@dataclass
class _Open:
    """One table in one place while it is being proven."""

    subject: Subject
    state: Reconciliation
    source: RangeSums
    place: RangeSums
    primary: tuple[int, ...]
    """Where the source's primary key is in the projection's key."""

    def primary_key(self, key: Key) -> Key:
        return tuple(key[at] for at in self.primary)


@dataclass
class Prover:
    """Proves a pipeline's places. `report` gets a line at every step.

    Args:
        contract: The pipeline.
        clients: Its engines.
        places: The places to compare; those of `verify.places`, or some of them.
        tables: The source tables; all by default.
        rate: Rows per second read from the source at most; None sets no bound.
        rounds: Consistent reads of the source at most.
        timeout: Seconds that a place is waited for in each round.
        actor: Who has asked for the proof.
        memory_bytes: For digests; beyond it they go to temporary files.
        wait: What waits for the places, with the arguments of `settle.wait_each`.
    """

    contract: Contract
    clients: Clients
    places: Mapping[PlaceName, KeyedPlace]
    tables: Sequence[str] | None = None
    rate: float | None = DEFAULT_RATE
    rounds: int = DEFAULT_ROUNDS
    timeout: float = DEFAULT_TIMEOUT
    report: Log = field(default=lambda _: None)
    actor: str = ""
    memory_bytes: int = MEMORY_BYTES
    wait: Callable[..., Iterator[tuple[PlaceName, tuple[str, ...]]]] = wait_each

    def run(self) -> ProofReport:
        """Prove; a place that fails is told in the report, without the others.

        Raises ``EngineError`` when the source cannot be read or waited for.
        """
        started = time.monotonic()
        names = [table.name for table in self.contract.tables]
        chosen = [name for name in names if self.tables is None or name in self.tables]
        left_out = check_schema(self.contract, self.clients, chosen)
        chosen = [name for name in chosen if name not in left_out]
        if not chosen:
            said = "; ".join(f"{table}: {why}" for table, why in left_out.items())
            raise EngineError("mysql", f"no table can be compared: {said or 'none is chosen'}")
        wanted = [s for s in subjects(self.contract) if s.table in chosen and s.place in self.places]
        throttle = Throttle(self.rate)
        problems: dict[str, str] = dict(left_out)
        with ExitStack() as stack:
            for place in self.places.values():
                stack.callback(place.close)
            arrivals = Arrivals(self.contract, self.clients, chosen)
            with ExitStack() as sets:
                reading = time.monotonic()
                position, as_of, sources = self._read_source(sets, chosen, wanted, throttle)
                rate = throttle.rows / max(time.monotonic() - reading, 1e-9)
                opened = self._first(wanted, sources, position, arrivals, problems)
            self._further(opened, throttle, problems)
            named = self._name(opened, throttle)
        seconds = time.monotonic() - started
        outcomes = []
        for one in opened:
            proof = self._proof(one, named[one.subject], position, as_of, rate, seconds)
            outcomes.append(Outcome(one.subject, proof, named[one.subject], one.source, one.place))
        return ProofReport(self.contract.name, position, as_of, tuple(outcomes), problems, seconds)

    # -- the first round -------------------------------------------------------------------------------------

    def _read_source(
        self, stack: ExitStack, tables: Sequence[str], wanted: Sequence[Subject], throttle: Throttle
    ) -> tuple[SourcePosition, datetime, dict[Projection, RangedRows]]:
        projections = list(dict.fromkeys(subject.projection for subject in wanted))
        share = self.memory_bytes // 2 // max(1, len(projections))
        sets = {p: stack.enter_context(RangedRows(memory_bytes=share)) for p in projections}
        self.report("taking a consistent snapshot of the source")
        with self._snapshot(tables) as snapshot:
            as_of = datetime.now(UTC)
            for table in tables:
                mine = [(picker(self.contract, p), rows) for p, rows in sets.items() if p.table == table]
                count = 0
                for row in read_all(self.contract, snapshot, table, throttle, self.report):
                    count += 1
                    for (columns, keys), rows in mine:
                        rows.add([row[at] for at in keys], [row[at] for at in columns])
                self.report(f"source: {table}: {count:,} rows")
        return snapshot.position, as_of, sets

    def _first(
        self,
        wanted: Sequence[Subject],
        sources: Mapping[Projection, RangedRows],
        position: SourcePosition,
        arrivals: Arrivals,
        problems: dict[str, str],
    ) -> list[_Open]:
        limit = position_limit(self.contract, position)
        most = max(LEAST_PENDING, MOST_PENDING // max(1, len(wanted)))
        opened: dict[Subject, _Open] = {}
        for name in self._passed(position, {subject.place for subject in wanted}, problems):
            place = self.places[name]
            mine = [subject for subject in wanted if subject.place == name]
            self.report(f"reading {name}")
            try:
                place.prepare(mine)
                self._not_held(name)
            except EngineError as error:
                problems[name] = str(error)
                continue
            for subject in mine:
                try:
                    one = self._compare(place, subject, sources[subject.projection], limit, arrivals, most)
                    self._not_held(name)
                except EngineError as error:
                    problems[f"{name}: {subject.label}"] = str(error)
                    continue
                opened[subject] = one
                state = one.state
                self.report(
                    f"{name}: {subject.label}: {state.rows:,} rows compared, {state.differences:,} differ, "
                    f"{state.unsettled:,} changed since"
                )
        return [opened[subject] for subject in wanted if subject in opened]

    def _compare(
        self,
        place: KeyedPlace,
        subject: Subject,
        source: RangedRows,
        limit: int,
        arrivals: Arrivals,
        most: int,
    ) -> _Open:
        keys = subject.projection.key_positions
        key = subject.projection.key
        primary = tuple(key.index(n) for n in self.contract.schema(subject.table).primary_key)
        with RangedRows(memory_bytes=self.memory_bytes // 2) as rows:
            for row in place.rows(subject):
                rows.add([row.values[at] for at in keys], row.values, row.position)
            one = _Open(subject, Reconciliation(most_pending=most), source.sums, rows.sums, primary)
            arrived = arrivals.up_to_now(subject.table)
            one.state.first(source, rows, limit, lambda key: arrived(one.primary_key(key)))
        return one

    def _passed(
        self, position: SourcePosition, names: Collection[PlaceName], problems: dict[str, str]
    ) -> Iterator[PlaceName]:
        """The places in the order in which they pass the position; it is noted what the others lack."""
        self.report(f"waiting until the places have passed {position.file}:{position.pos}")
        ordered = [name for name in self.places if name in names]
        for name, waiting in self.wait(
            self.contract, self.clients, position.gtids, ordered, timeout=self.timeout, report=self.report
        ):
            if waiting:
                problems[name] = f"has not passed {position.file}:{position.pos}: {'; '.join(waiting)}"
            else:
                yield name

    def _not_held(self, name: PlaceName) -> None:
        """Refuse the lake while it reads again what it had: it may show rows that were deleted since."""
        if name == "paimon" and (hold := HoldStore(self.clients.postgres).held(self.contract.name)):
            raise EngineError("paimon", f"the lake is not as new as it was: {said(hold)}")

    # -- further rounds --------------------------------------------------------------------------------------

    def _further(self, opened: Sequence[_Open], throttle: Throttle, problems: dict[str, str]) -> None:
        with ExitStack() as stack:
            stuck: set[PlaceName] = set()
            for number in range(2, self.rounds + 1):
                open_ = [one for one in opened if one.state.pending and one.subject.place not in stuck]
                if not open_:
                    return
                if number == 2:
                    self._keep_still(stack, {one.subject.table for one in open_})
                count = sum(len(one.state.pending) for one in open_)
                self.report(f"round {number}: {count:,} rows that changed since")
                before = dict(problems)
                self._round(open_, throttle, problems)
                # What a place did not reach in this time is not waited for again: its rows stay unsettled.
                stuck |= {one.subject.place for one in open_ if one.subject.place in problems.keys() - before}

    def _round(self, open_: Sequence[_Open], throttle: Throttle, problems: dict[str, str]) -> None:
        tables = list(dict.fromkeys(one.subject.table for one in open_))
        arrivals = Arrivals(self.contract, self.clients, tables)
        truth: dict[Subject, dict[Key, bytes]] = {}
        with self._snapshot(tables) as snapshot:
            position = snapshot.position
            for table in tables:
                mine = [one for one in open_ if one.subject.table == table]
                truth |= self._digests(snapshot, table, mine, throttle)
        limit = position_limit(self.contract, position)
        left: dict[PlaceName, dict[Subject, list[Key]]] = {}
        by_subject = {one.subject: one for one in open_}
        for one in open_:
            if keys := one.state.look_back(truth[one.subject], limit):
                left.setdefault(one.subject.place, {})[one.subject] = keys
        if not left:
            return
        for name in self._passed(position, left.keys(), problems):
            wanted = left[name]
            found: dict[Subject, dict[Key, Held]] = {subject: {} for subject in wanted}
            try:
                for subject, row in self.places[name].look_up(wanted):
                    _note(found[subject], by_subject[subject], row)
                self._not_held(name)
            except EngineError as error:
                problems[name] = str(error)
                continue
            for subject in wanted:
                one = by_subject[subject]
                arrived = arrivals.up_to_now(subject.table)
                one.state.again(
                    truth[subject],
                    found[subject],
                    limit,
                    lambda key, one=one, arrived=arrived: arrived(one.primary_key(key)),  # type: ignore[misc]
                )

    def _digests(
        self, snapshot: SourceSnapshot, table: str, mine: Sequence[_Open], throttle: Throttle
    ) -> dict[Subject, dict[Key, bytes]]:
        """What the source has under the pending keys."""
        keys = dict.fromkeys(one.primary_key(key) for one in mine for key in one.state.pending)
        pickers = {one.subject: picker(self.contract, one.subject.projection) for one in mine}
        found: dict[Subject, dict[Key, bytes]] = {one.subject: {} for one in mine}
        for row in read_keys(self.contract, snapshot, table, keys, throttle):
            for one in mine:
                columns, at_keys = pickers[one.subject]
                key = tuple(row[at] for at in at_keys)
                if key in one.state.pending:
                    found[one.subject][key] = digest([row[at] for at in columns])
        return found

    def _keep_still(self, stack: ExitStack, tables: Collection[str]) -> None:
        """Rest the probe's row, which is written so often that no round would ever settle it."""
        probe = self.contract.pipeline.probe
        if probe is not None and probe.table in tables:
            from lakehouse_dagster.proof.freshness_source import quiet

            stack.enter_context(quiet(self.contract, self.clients.reading.mysql))

    # -- naming what is wrong --------------------------------------------------------------------------------

    def _name(self, opened: Sequence[_Open], throttle: Throttle) -> dict[Subject, tuple[Example, ...]]:
        """Wrong rows by name, with the values that the source and the place have now."""
        named: dict[Subject, tuple[Example, ...]] = {one.subject: () for one in opened}
        chosen: dict[Subject, dict[Key, str]] = {}
        for one in opened:
            digests = {digest(key): key for key in one.state.faults}
            kinds = {digest(key): kind for key, kind in one.state.faults.items()}
            if kinds:
                chosen[one.subject] = {digests[d]: kind for d, kind in choose(kinds).items()}
        if not chosen:
            return named
        self.report("reading the rows that differ")
        ours: dict[Subject, dict[Key, tuple[str | None, ...]]] = {s: {} for s in chosen}
        theirs: dict[Subject, dict[Key, list[tuple[str | None, ...]]]] = {s: {} for s in chosen}
        try:
            self._values(opened, chosen, ours, theirs, throttle)
        except EngineError as error:
            self.report(f"their values cannot be told: {error}")
        for subject, keys in chosen.items():
            names = subject.projection.key
            named[subject] = tuple(
                example(subject.projection, kind, ours[subject].get(key), theirs[subject].get(key, []))  # type: ignore[arg-type]
                if key in ours[subject] or key in theirs[subject]
                else Example(kind, dict(zip(names, key, strict=True)), {})  # type: ignore[arg-type]
                for key, kind in keys.items()
            )
        return named

    def _values(
        self,
        opened: Sequence[_Open],
        chosen: Mapping[Subject, Mapping[Key, str]],
        ours: Mapping[Subject, dict[Key, tuple[str | None, ...]]],
        theirs: Mapping[Subject, dict[Key, list[tuple[str | None, ...]]]],
        throttle: Throttle,
    ) -> None:
        tables = list(dict.fromkeys(subject.table for subject in chosen))
        with self._snapshot(tables) as snapshot:
            for one in (one for one in opened if one.subject in chosen):
                columns, at_keys = picker(self.contract, one.subject.projection)
                keys = [one.primary_key(key) for key in chosen[one.subject]]
                for row in read_keys(self.contract, snapshot, one.subject.table, keys, throttle):
                    key = tuple(row[at] for at in at_keys)
                    if key in chosen[one.subject]:
                        ours[one.subject][key] = tuple(row[at] for at in columns)
        for name, place in self.places.items():
            wanted = {subject: list(keys) for subject, keys in chosen.items() if subject.place == name}
            if not wanted:
                continue
            for subject, found in place.look_up(wanted):
                key = tuple(found.values[at] for at in subject.projection.key_positions)
                if key in chosen[subject]:
                    theirs[subject].setdefault(key, []).append(found.values)

    # -- helpers ---------------------------------------------------------------------------------------------

    @contextmanager
    def _snapshot(self, tables: Sequence[str]) -> Iterator[SourceSnapshot]:
        with self.clients.reading.mysql.snapshot(
            self.contract.database, tables, attempts=LOCK_ATTEMPTS, lock_seconds=LOCK_SECONDS
        ) as snapshot:
            yield snapshot

    def _proof(
        self,
        one: _Open,
        examples: Sequence[Example],
        position: SourcePosition,
        as_of: datetime,
        rate: float,
        seconds: float,
    ) -> Proof:
        state, subject = one.state, one.subject
        return Proof(
            pipeline=self.contract.name,
            table=subject.table,
            place=subject.place,
            view=subject.view,
            file=position.file,
            pos=position.pos,
            gtids=position.gtids,
            as_of=as_of,
            source_rows=state.source_rows,
            rows=state.rows,
            missing=state.missing,
            extra=state.extra,
            different=state.different,
            unsettled=state.unsettled,
            rounds=state.rounds,
            seconds=seconds,
            source_rows_per_second=rate,
            ranges=state.differing,
            actor=self.actor,
            examples=tuple(_short(found) for found in examples),
        )


def prove(
    contract: Contract,
    clients: Clients,
    *,
    tables: Sequence[str] | None = None,
    only: Sequence[PlaceName] | None = None,
    rate: float | None = DEFAULT_RATE,
    rounds: int = DEFAULT_ROUNDS,
    timeout: float = DEFAULT_TIMEOUT,
    actor: str = "",
    report: Log = lambda _: None,
) -> ProofReport:
    """Prove, and add the result to the history; one proof of a pipeline at a time.

    Raises ``EngineError`` when another one runs, or when the source or the history cannot be reached.
    """
    from lakehouse_dagster.engines.postgres import PostgresClient
    from lakehouse_dagster.proof.proof_store import ProofStore

    chosen = {n: p for n, p in places(contract, clients).items() if only is None or n in only}
    with PostgresClient(clients.endpoints.postgres, application="lakehouse prove") as lock:
        if not lock.try_lock(f"prove/{contract.name}"):
            raise EngineError("lakehouse", f"another proof of {contract.name} is running; wait for its end")
        done = Prover(
            contract,
            clients,
            chosen,
            tables=tables,
            rate=rate,
            rounds=rounds,
            timeout=timeout,
            report=report,
            actor=actor,
        ).run()
    store = ProofStore(clients.postgres)
    outcomes = tuple(
        Outcome(o.subject, store.record(o.proof, o.source, o.place), o.examples, o.source, o.place)
        for o in done.outcomes
    )
    return ProofReport(done.pipeline, done.position, done.as_of, outcomes, done.problems, done.seconds)


def _note(found: dict[Key, Held], one: _Open, row: PlaceRow) -> None:
    key = tuple(row.values[at] for at in one.subject.projection.key_positions)
    if key in one.state.pending:
        position = NO_POSITION if row.position is None else row.position
        found[key] = found.get(key, NOTHING).with_row(digest(row.values), position)


def _short(found: Example, limit: int = 200) -> dict[str, object]:
    """An example as it is kept: long values cut."""

    def cut(text: str | None) -> str | None:
        return text if text is None or len(text) <= limit else f"{text[:limit]}..."

    body = found.to_json()
    body["key"] = {name: cut(text) for name, text in body["key"].items()}
    body["columns"] = {
        n: {"source": cut(v["source"]), "place": cut(v["place"])} for n, v in body["columns"].items()
    }
    return dict(body)
