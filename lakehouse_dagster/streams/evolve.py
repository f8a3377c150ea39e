"""Following the source's schema: seeing what has changed, and carrying out what was decided about it.

``look`` compares the lock in force with the source, reads the statements that the schema-change topic tells,
and asks the policy. ``apply`` makes every place what the verdicts say:

1. what is about to be done is written down (``evolve_store.Order``);
2. the lake's tables and the views are altered, as far as the old jobs can go on writing them;
3. the new lock is put in force (``contract.applied``);
4. the Flink jobs go back to the first record after the statement, and start with the new shape. Publication
   is held back until they have come as far again, so no reader sees a new column that is empty and should not
   be;
5. what only the old jobs needed is taken out of the views;
6. rows that the log does not tell of are read again.

Meanwhile the sensor of the streams upgrades no job: it would start the new shape behind the statement.
Every step looks at what there is and does what is left. Whoever is killed on the way leaves the order behind,
and the next one goes on with it before anything else is decided. One lock in PostgreSQL keeps two apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol

from lakehouse_dagster.contract import applied as overlay
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.ddl import (
    Ddl,
    History,
    Place,
    UnreadableRecord,
    histories,
    read_record,
    shadow_of,
)
from lakehouse_dagster.contract.evolution import Change, Kind, Verdict, decide, diff, target, with_tables
from lakehouse_dagster.contract.schema import SchemaLock, TableSchema
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.render.evolution import (
    cassandra_alteration,
    marts_reading,
    paimon_alteration,
    paimon_script,
    relocked,
    remainder,
)
from lakehouse_dagster.streams.assets import Stream, streams_of
from lakehouse_dagster.streams.decision import Kind as StreamKind
from lakehouse_dagster.streams.evolve_store import Order, SchemaStore
from lakehouse_dagster.streams.lock import stream_lock
from lakehouse_dagster.streams.plan import source_topics

if TYPE_CHECKING:
    from lakehouse_dagster.engines.clients import Clients
    from lakehouse_dagster.streams.act import Outcome

UPGRADED_BY_HAND = "outdated, by hand"
"""The decision about a job that only an operator upgrades."""
LOCK_NAME = "schema"
LOCK_SECONDS = 60.0
"""How long to wait for somebody else who is following the same pipeline's schema."""

Log = Callable[[str], None]


@dataclass(frozen=True)
class Situation:
    """How the source's schema stands to the lock in force, and what is to be done.

    Attributes:
        contract: The contract with the lock in force.
        live: The source's schema: all tables of the database.
        verdicts: By table; tables without changes are left out.
        histories: What is known of their statements.
        doubtful: Tables whose rows may have become others without any change that says so, with the same
            shape as before.
        read_up_to: The last offset of the schema-change topic that was read; -1 when there was none.
        order: What somebody began and did not end.
        uncommitted: Tables whose shape in force is not in the pipeline's folder yet.
        locked_by_hand: Tables that a person has locked anew while their places still have the older shape,
            each with why the places cannot be altered to it.
        passed: Tables that were changed and changed back: records that came in between were read by a shape
            that was not theirs.
    """

    contract: Contract
    live: SchemaLock
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    histories: Mapping[str, History] = field(default_factory=dict)
    doubtful: tuple[str, ...] = ()
    read_up_to: int = -1
    order: Order | None = None
    uncommitted: tuple[str, ...] = ()
    locked_by_hand: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    passed: tuple[str, ...] = ()

    @property
    def to_apply(self) -> tuple[Verdict, ...]:
        """Verdicts that can be carried out now."""
        return tuple(verdict for verdict in self.verdicts.values() if verdict.answer == "apply")

    @property
    def held(self) -> tuple[Verdict, ...]:
        """Verdicts that wait for a person."""
        return tuple(verdict for verdict in self.verdicts.values() if verdict.answer == "hold")

    @property
    def stopped(self) -> dict[str, str]:
        """Tables that must not flow, each with the reason."""
        return {
            verdict.table: "; ".join(verdict.reasons)
            for verdict in self.verdicts.values()
            if verdict.flow == "stopped"
        }


# --- looking --------------------------------------------------------------------------------------


def note_statements(contract: Contract, clients: Clients, store: SchemaStore) -> int:
    """Read what is new in the schema-change topic, and remember it; returns the last offset read.

    Raises ``EngineError`` for a record that is not of the form that is expected, naming it.
    """
    from lakehouse_dagster.engines.kafka_records import TopicReader

    following = store.next_offset(contract.name)
    end = max(clients.kafka.end_offsets([contract.schema_change_topic]).values(), default=0)
    if end < following:
        # Another topic has its name now. Changes whose statements went with the old one have to be approved.
        store.forget(contract.name, f"the topic {contract.schema_change_topic} was made anew")
        following = 0
    if end == following:
        return following - 1
    found: list[Ddl] = []
    with TopicReader(clients.endpoints.kafka, contract.schema_change_topic, following) as reader:
        for record in reader.to_end():
            try:
                ddl = read_record(record.value, record.offset)
            except UnreadableRecord as error:
                raise EngineError("kafka", f"{contract.schema_change_topic}: {error}") from error
            if ddl is not None:
                found.append(ddl)
            following = record.offset + 1
    store.note(contract.name, found, following)
    return following - 1


def look(contract: Contract, clients: Clients, store: SchemaStore) -> Situation:
    """Compare the source with the lock in force, and decide; raises ``EngineError`` when that cannot be done.

    Statements are read before the shape: a statement that is not there yet makes its change wait, never the
    other way round.
    """
    read_up_to = note_statements(contract, clients, store)
    live = clients.source.read_schema(contract.database)
    committed = SchemaLock.load(contract.folder)
    names = [table.name for table in contract.tables]
    pending = store.pending(contract.name, names)
    known = {
        table: history
        for table, ddls in pending.items()
        if (history := histories(ddls, contract.database, names).get(table)) is not None
    }
    changes = [
        change
        for change in diff(
            contract.lock, live, names, renames={table: history.renames for table, history in known.items()}
        )
        if change.kind is not Kind.NEW_TABLE or shadow_of(change.table, names) is None
    ]
    changed = {change.table for change in changes}
    situation = Situation(
        contract=contract,
        live=live,
        histories=known,
        doubtful=tuple(
            table
            for table, history in known.items()
            if history.replaced and table in live.tables and table not in changed
        ),
        read_up_to=read_up_to,
        order=store.under_way(contract.name),
        uncommitted=tuple(
            name for name in names if committed.tables.get(name) != contract.lock.tables.get(name)
        ),
        locked_by_hand={
            table: tuple(obstinate(contract, clients, table, history))
            for table, history in known.items()
            if table not in changed and _behind(contract, clients, table, history)
        },
    )
    situation = replace(
        situation,
        passed=tuple(
            table
            for table, history in known.items()
            if table in live.tables
            and table not in changed
            and table not in situation.doubtful
            and table not in situation.locked_by_hand
            and reshaped(history)
        ),
    )
    verdicts = judge(contract, clients, live, changes, known, store.approved(contract.name))
    _settle_equal(contract, store, situation, changed)
    return replace(situation, verdicts={verdict.table: verdict for verdict in verdicts})


_RESHAPES: Final = re.compile(r"\b(MODIFY|CHANGE|CONVERT)\b", re.IGNORECASE)


def reshaped(history: History) -> bool:
    """Whether statements have changed columns, as far as their texts tell; an index is none."""
    return not history.explained or any(
        effect.renames or effect.dropped or effect.added or _RESHAPES.search(ddl.statement)
        for ddl in history.ddls
        for effect in ddl.effects
    )


def _behind(contract: Contract, clients: Clients, table: str, history: History) -> bool:
    """Whether a lake table does not have the shape in force yet."""
    there = clients.paimon.schema(*contract.lake_path(table))
    if there is None:
        return False
    return paimon_alteration(contract, table, there.columns, there.primary_keys, history.renames).needed


def _settle_equal(
    contract: Contract, store: SchemaStore, situation: Situation, changed: Collection[str]
) -> None:
    """Forget statements of tables that are as the lock says: an index was added, for example."""
    changed = {*changed, *situation.doubtful, *situation.locked_by_hand, *situation.passed}
    quiet = [
        table
        for table, history in situation.histories.items()
        if table not in changed and history.ddls and situation.order is None
    ]
    if quiet:
        newest = max(ddl.offset for table in quiet for ddl in situation.histories[table].ddls)
        store.settle(contract.name, newest, quiet)


def judge(
    contract: Contract,
    clients: Clients,
    live: SchemaLock,
    changes: Sequence[Change],
    known: Mapping[str, History],
    approved: frozenset[str],
) -> list[Verdict]:
    """Ask the policy, then what stands in the way of what it would apply, and the policy again."""

    def decided(
        obstacles: Mapping[str, Sequence[str]], blockers: Mapping[str, Sequence[str]]
    ) -> list[Verdict]:
        return decide(
            changes,
            contract.pipeline.schema_changes,
            tables={table.name: table.schema_changes for table in contract.tables},
            approved=approved,
            explained=[table for table, history in known.items() if history.explained],
            keys=_view_keys(contract),
            obstacles=obstacles,
            blockers=blockers,
        )

    first = decided({}, {})
    shapes = new_shapes(contract, live, first)
    if not shapes:
        return first
    changed, blockers = relocked(contract, with_tables(contract.lock, shapes))
    obstacles: dict[str, list[str]] = {}
    for table in shapes:
        if table not in blockers:
            obstacles[table] = to_be_asked(changed, known.get(table))
            in_the_way = obstinate(changed, clients, table, known.get(table))
            if in_the_way:
                blockers[table] = in_the_way
    for verdict in first:
        gone = [change for change in verdict.changes if change.kind in (Kind.DROP, Kind.RENAME)]
        lost = [str(change.old if change.kind is Kind.RENAME else change.column) for change in gone]
        if verdict.table in blockers and lost:
            reading = marts_reading(contract, verdict.table, lost)
            blockers[verdict.table] += [f"mart {m} reads {', '.join(c)}" for m, c in reading.items()]
    return decided(obstacles, blockers)


def to_be_asked(changed: Contract, history: History | None) -> list[str]:
    """Why a table must not become what ``changed`` says without a person's approval."""
    found: list[str] = []
    if changed.pipeline.upgrades == "by_hand":
        found.append("the pipeline says `upgrades: by_hand`")
    if history is None or history.place is None:
        found.append(
            "the connector has not told of the statement yet; approve it to have the table read again "
            "instead of waiting"
        )
    return found


def obstinate(changed: Contract, clients: Clients, table: str, history: History | None) -> list[str]:
    """Why places cannot be altered in place to what ``changed`` says, whoever approves."""
    found: list[str] = []
    renames = {} if history is None else history.renames
    schema = clients.paimon.schema(*changed.lake_path(table))
    if schema is not None:
        found += paimon_alteration(changed, table, schema.columns, schema.primary_keys, renames).obstacles
    for view in changed.views_of(table):
        if view.engine == "cassandra":
            current = clients.cassandra.columns(changed.keyspace, view.name)
            found += cassandra_alteration(changed, view, current).obstacles
    return found


def new_shapes(contract: Contract, live: SchemaLock, verdicts: Sequence[Verdict]) -> dict[str, TableSchema]:
    """The shapes that verdicts to apply lead to, by table."""
    return {
        verdict.table: target(contract.lock.tables[verdict.table], live.tables[verdict.table], verdict)
        for verdict in verdicts
        if verdict.answer == "apply"
        and verdict.table in contract.lock.tables
        and verdict.table in live.tables
    }


def _view_keys(contract: Contract) -> dict[str, set[str]]:
    keys: dict[str, set[str]] = {}
    for view in contract.views:
        keys.setdefault(view.table, set()).update(contract.view_key(view))
    return keys


# --- applying -------------------------------------------------------------------------------------


class Hands(Protocol):
    """What ``apply`` does to engines; tests have their own."""

    def lock(self) -> AbstractContextManager[bool]:
        """Keep all others away; false when somebody else is at it."""

    def alter_lake(self, contract: Contract, statements: Sequence[str]) -> None:
        """Run Flink SQL that alters lake tables."""

    def lake_columns(
        self, contract: Contract, table: str
    ) -> tuple[Sequence[tuple[str, str]], Sequence[str]] | None:
        """Columns and key of a lake table; None when it is not there yet."""

    def view_columns(self, contract: Contract, view: str) -> Mapping[str, str]:
        """Types of a Cassandra view's columns; none when it is not there yet."""

    def alter_view(self, statement: str) -> None:
        """Run one statement in Cassandra."""

    def put_in_force(self, contract: Contract, lock: SchemaLock, stopped: Mapping[str, str]) -> None:
        """Store the new lock and the tables that are stopped."""

    def offset_of(self, topic: str, place: Place) -> tuple[int, bool]:
        """The first record after a place, and whether it is certain that none of them is gone."""

    def go_back(self, contract: Contract, stream: Stream, offsets: Mapping[str, int]) -> Outcome:
        """Start a job with the present specification, from given offsets where there are any."""

    def read_again(self, contract: Contract, tables: Sequence[str]) -> None:
        """Read tables from the source again."""

    def repair(self, contract: Contract, tables: Sequence[str]) -> None:
        """Read tables from the source again, and remove rows that are gone from it."""


def order_of(situation: Situation, *, by: str, repair: Sequence[str] = ()) -> Order | None:
    """What has to be done about a situation; None when nothing has."""
    contract = situation.contract
    verdicts = [verdict for verdict in situation.to_apply if verdict.table in contract.lock.tables]
    shapes = new_shapes(contract, situation.live, verdicts)
    by_hand = [name for name, obstacles in situation.locked_by_hand.items() if not obstacles]
    shapes |= {name: contract.lock.tables[name] for name in by_hand}
    stopped = {name: why for name, why in situation.stopped.items() if name not in shapes}
    # What flows again as it was may have been changed and changed back.
    freed = [
        name
        for name in contract.stopped
        if name not in stopped and name not in shapes and name in situation.live.tables
    ]
    passed = [name for name in dict.fromkeys((*situation.passed, *freed)) if name not in stopped]
    if not shapes and not repair and not passed and stopped.keys() == contract.stopped.keys():
        return None
    lock = with_tables(contract.lock, shapes)
    changed, _ = relocked(contract, lock)
    # What exactly a person has changed is no longer known: all rows of such a table are read again.
    read_again = [*passed, *(name for name in by_hand if not situation.histories[name].replaced)]
    repaired = [*repair, *(name for name in by_hand if situation.histories[name].replaced)]
    for verdict in verdicts:
        history = situation.histories.get(verdict.table)
        left = remainder(changed, verdict.applied, history)
        if left.repair:
            repaired.append(verdict.table)
        elif left.resnapshot or history is None or history.place is None:
            read_again.append(verdict.table)
    tables = {
        name: dict(situation.histories[name].renames) if name in situation.histories else {}
        for name in {*shapes, *repair, *passed}
    }
    return Order(
        lock=lock.dump(),
        stopped=stopped,
        tables=tables,
        places={
            name: (place.file, place.pos)
            for name in shapes
            if (history := situation.histories.get(name)) is not None and (place := history.place) is not None
        },
        read_again=tuple(read_again),
        repair=tuple(dict.fromkeys(repaired)),
        ddl_offset=situation.read_up_to,
        changes=(
            *(str(change) for verdict in verdicts for change in verdict.applied),
            *(f"{name}: locked by hand" for name in by_hand),
            *(f"{name}: changed and changed back" for name in passed),
        ),
        by=by,
    )


def apply(contract: Contract, order: Order, store: SchemaStore, hands: Hands, *, log: Log) -> Contract:
    """Carry out an order, or go on with one that was begun; returns the contract in its new shape.

    Whoever calls it holds ``hands.lock()`` since before the order was made. Raises ``EngineError``; the order
    stays then, and the same call goes on with it.
    """
    store.begin(contract.name, order)
    lock = SchemaLock.parse(order.lock)
    changed, problems = relocked(contract, lock)
    if problems:
        raise EngineError("dagster", "; ".join(said for found in problems.values() for said in found))
    anew = _alter(changed, order, hands, log)
    hands.put_in_force(changed, lock, order.stopped)
    log(f"the new shape of {', '.join(sorted(order.tables)) or 'no table'} is in force")
    for table, why in order.stopped.items():
        log(f"{table} is stopped: {why}")
        store.tell(contract.name, "stopped", table, why, by=order.by)
    changed = replace(changed, stopped=order.stopped)
    lost = _go_back(changed, order, hands, log)
    for view in changed.views:
        if view.engine == "cassandra" and view.table in order.tables:
            for statement in cassandra_alteration(changed, view, hands.view_columns(changed, view.name)).last:
                log(statement)
                hands.alter_view(statement)
    # Among the records that are gone may have been deletes.
    repaired = list(dict.fromkeys((*order.repair, *lost)))
    again = [name for name in dict.fromkeys((*order.read_again, *anew)) if name not in repaired]
    if again:
        hands.read_again(changed, again)
    if repaired:
        hands.repair(changed, repaired)
    store.end(contract.name, order)
    return changed


def _alter(changed: Contract, order: Order, hands: Hands, log: Log) -> list[str]:
    """Alter all places as far as the old jobs can bear; returns the tables of which a place is not there and
    will be made empty.
    """
    statements: list[str] = []
    anew: list[str] = []
    for table, renames in order.tables.items():
        there = hands.lake_columns(changed, table)
        if there is None:
            anew.append(table)
            continue
        found = paimon_alteration(changed, table, *there, renames)
        if found.obstacles:
            raise EngineError("paimon", "; ".join(found.obstacles))
        statements += found.first
    if statements:
        for statement in statements:
            log(statement)
        hands.alter_lake(changed, statements)
    for view in changed.views:
        if view.engine != "cassandra" or view.table not in order.tables:
            continue
        current = hands.view_columns(changed, view.name)
        if not current:
            anew.append(view.table)
        altered = cassandra_alteration(changed, view, current)
        if altered.obstacles:
            raise EngineError("cassandra", "; ".join(altered.obstacles))
        for statement in altered.first:
            log(statement)
            hands.alter_view(statement)
    return anew


def _go_back(changed: Contract, order: Order, hands: Hands, log: Log) -> list[str]:
    """Start the jobs anew; returns the tables whose records after the statement are no longer all there."""
    offsets: dict[str, int] = {}
    lost: list[str] = []
    for table, (file, pos) in order.places.items():
        topic = changed.topic(table)
        offset, complete = hands.offset_of(topic, Place(file, pos))
        offsets[topic] = offset
        if not complete:
            log(f"{table}: records after {file}:{pos} are no longer kept; it is repaired from the source")
            lost.append(table)
    for stream in streams_of(changed):
        if stream.kind is StreamKind.CONNECTOR:
            continue
        reads = source_topics(changed, stream)
        mine = {f"{topic}:0": offset for topic, offset in offsets.items() if topic in reads}
        outcome = hands.go_back(changed, stream, mine)
        log(f"{stream.engine_name} is {outcome.state}: {outcome.action.reason}")
        if outcome.action.rule == "busy":
            raise EngineError("flink", f"another process is acting on {stream.engine_name}; try again")
        if mine and not outcome.action.acts:
            raise EngineError("flink", f"{stream.engine_name} was not set back: {outcome.action.reason}")
    return lost


# --- the engines ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class RealHands:
    """``Hands`` on the engines of an installation."""

    contract: Contract
    clients: Clients
    actor: str
    log: Log

    def lock(self) -> AbstractContextManager[bool]:
        """See ``Hands``."""
        return stream_lock(self.clients.endpoints.postgres, self.contract.name, LOCK_NAME, wait=LOCK_SECONDS)

    def alter_lake(self, contract: Contract, statements: Sequence[str]) -> None:
        """See ``Hands``."""
        from lakehouse_dagster.engines.flink import script_environment

        script = paimon_script(contract, statements)
        self.clients.submitter.execute(script, script_environment(self.clients.endpoints), log=self.log)

    def lake_columns(
        self, contract: Contract, table: str
    ) -> tuple[Sequence[tuple[str, str]], Sequence[str]] | None:
        """See ``Hands``."""
        found = self.clients.paimon.schema(*contract.lake_path(table))
        return None if found is None else (found.columns, found.primary_keys)

    def view_columns(self, contract: Contract, view: str) -> Mapping[str, str]:
        """See ``Hands``."""
        return self.clients.cassandra.columns(contract.keyspace, view)

    def alter_view(self, statement: str) -> None:
        """See ``Hands``."""
        self.clients.cassandra.execute(statement)

    def put_in_force(self, contract: Contract, lock: SchemaLock, stopped: Mapping[str, str]) -> None:
        """See ``Hands``."""
        committed = SchemaLock.load(contract.folder)
        present = overlay.load(contract.name)
        now = overlay.in_force(committed, present)
        if (now.lock, dict(now.stopped)) != (lock, dict(stopped)):
            overlay.store(overlay.advanced(contract.name, committed, present, lock, stopped))

    def offset_of(self, topic: str, place: Place) -> tuple[int, bool]:
        """See ``Hands``."""
        from lakehouse_dagster.streams.evolve_offsets import first_after, probe

        begins = self.clients.kafka.begin_offsets([topic])
        ends = self.clients.kafka.end_offsets([topic])
        if not begins or not ends:
            raise EngineError("kafka", f"topic {topic} does not exist")
        begin, end = max(begins.values()), max(ends.values())
        ask = probe(self.clients.endpoints.kafka, topic, self.contract.epoch)
        found = first_after(ask, begin, end, place)
        # The first record that is kept is after the place: nobody knows what stood before it.
        return found, found > begin or begin == 0

    def go_back(self, contract: Contract, stream: Stream, offsets: Mapping[str, int]) -> Outcome:
        """See ``Hands``."""
        from lakehouse_dagster.streams import act

        kafka = self.clients.kafka
        progress = kafka.progress(stream.engine_name, source_topics(contract, stream))
        done = {str(at): offset for at, offset in progress.committed.items()}
        # A job that is behind the statement anyway stays where it is.
        back = {name: min(offset, done[name]) for name, offset in offsets.items() if name in done}
        if not back:
            outcome = act.reconcile(
                contract, stream, self.clients, log=self.log, actor=self.actor, wait=act.WAIT_SECONDS
            )
            if outcome.action.rule != UPGRADED_BY_HAND:
                return outcome
            # A person has asked for it, or rows would be garbled.
            return act.upgrade(contract, stream, self.clients, log=self.log, actor=self.actor)
        ends = {str(at): end for at, end in progress.end.items() if str(at) in back}
        self._hold_back(contract, stream, ends)
        target_ = act.AtOffsets(back)
        try:
            return act.rewind(contract, stream, self.clients, target_, log=self.log, actor=self.actor)
        except ValueError as error:  # a record that was there a moment ago is no longer kept
            raise EngineError("kafka", str(error)) from error

    def _hold_back(self, contract: Contract, stream: Stream, ends: Mapping[str, int]) -> None:
        """Let nothing be published until the lake has all records that there are now: a table that was
        stopped is further behind than what its job had committed.
        """
        from lakehouse_dagster.streams.start import JobStarter
        from lakehouse_dagster.streams.store import StreamStore

        starter = JobStarter(
            contract, stream, self.clients, StreamStore(self.clients.postgres), actor=self.actor, log=self.log
        )
        starter.hold_back("tables get another shape from an earlier record on", ends)

    def read_again(self, contract: Contract, tables: Sequence[str]) -> None:
        """See ``Hands``."""
        from lakehouse_dagster.streams.resnapshot import resnapshot

        resnapshot(contract, self.clients, list(tables), log=self.log)

    def repair(self, contract: Contract, tables: Sequence[str]) -> None:
        """See ``Hands``."""
        from lakehouse_dagster.streams.repair import repair
        from lakehouse_dagster.streams.store import StreamStore

        repair(
            contract,
            self.clients,
            StreamStore(self.clients.postgres),
            tables=list(tables),
            log=self.log,
            actor=self.actor,
        )


# --- what is asked for ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Approval:
    """What a person approves: held changes, all or of one table or by their ids; without ids also that tables
    whose rows are in doubt are repaired.
    """

    table: str | None = None
    ids: tuple[str, ...] = ()

    def changes(self, situation: Situation) -> list[Change]:
        """The changes that are meant; raises ``ValueError`` naming those there are for an id that is none."""
        held = [
            change
            for verdict in situation.held
            for change in verdict.changes
            if self.table in (None, verdict.table)
        ]
        unknown = sorted(set(self.ids) - {change.id for change in held})
        if unknown:
            known = "; ".join(f"{change.id} ({change})" for change in held) or "none"
            raise ValueError(f"no held change has the id {', '.join(unknown)}; there are: {known}")
        return [change for change in held if not self.ids or change.id in self.ids]

    def doubtful(self, situation: Situation) -> list[str]:
        """The tables that are to be repaired."""
        return [table for table in situation.doubtful if not self.ids and self.table in (None, table)]


@dataclass(frozen=True)
class Done:
    """What came of following the schema once."""

    applied: tuple[str, ...] = ()
    """Changes that were applied, in words."""
    held: tuple[str, ...] = ()
    """Why others wait for a person, in words."""
    refused: tuple[str, ...] = ()
    """Why what was approved could not be applied all the same, in words."""


def follow(
    contract: Contract, clients: Clients, *, log: Log, actor: str, approval: Approval | None = None
) -> Done:
    """Look, take down what is approved of what is held, and do what is to be done.

    ``contract`` has the lock in force. Raises ``EngineError``, and ``ValueError`` for an approval of what is
    not held; it is safe to be called again at any time.
    """
    store = SchemaStore(clients.postgres)
    hands = RealHands(contract, clients, actor, log)
    with hands.lock() as mine:
        if not mine:
            raise EngineError(
                "postgres", f"another process has been changing the schema of {contract.name}; try again"
            )
        done: list[str] = []
        begun = store.under_way(contract.name)
        if begun is not None:
            log("going on with what was begun before")
            contract = apply(contract, begun, store, hands, log=log)
            done += begun.changes
        situation = look(contract, clients, store)
        doubtful: Sequence[str] = ()
        chosen: dict[str, tuple[str, str]] = {}
        if approval is not None:
            chosen = {change.id: (change.table, str(change)) for change in approval.changes(situation)}
            doubtful = approval.doubtful(situation)
            store.approve(contract.name, chosen, by=actor)
            situation = look(contract, clients, store)
        order = order_of(situation, by=actor, repair=doubtful)
        if order is not None:
            try:
                apply(contract, order, store, hands, log=log)
            except EngineError as error:
                store.tell(contract.name, "failed", ", ".join(sorted(order.tables)), str(error), by=actor)
                raise
            done += order.changes
    held = [reason for verdict in situation.held for reason in verdict.reasons]
    held += [
        f"{table}: {obstacle}" for table, found in situation.locked_by_hand.items() for obstacle in found
    ]
    refused = [
        reason
        for verdict in situation.held
        if any(change.id in chosen for change in verdict.changes)
        for reason in verdict.reasons
    ]
    return Done(tuple(done), tuple(held), tuple(refused))
