from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from lakehouse_dagster.contract import Column, SchemaLock, applied
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.ddl import Ddl, History, Place, effects, histories
from lakehouse_dagster.contract.evolution import SchemaPolicy, diff
from lakehouse_dagster.contract.loader import DEFS_ROOT
from lakehouse_dagster.contract.types import mapping
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.render import paimon
from lakehouse_dagster.render.quoting import double
from lakehouse_dagster.streams import act, evolve, evolve_commands, evolve_defs, start
from lakehouse_dagster.streams.assets import Stream, stream_of
from lakehouse_dagster.streams.decision import Action, Verb
from lakehouse_dagster.streams.evolve import Situation, apply, judge, order_of
from lakehouse_dagster.streams.evolve_offsets import Probe, first_after, place_of
from lakehouse_dagster.streams.evolve_store import Order
from tests.unit.streams import engines
from tests.unit.streams.fakes import Source

# --- where the records after a statement begin ----------------------------------------------------


@st.composite
def topics(draw: st.DrawFn) -> list[int | None]:
    """Places of a topic's records: in order, begun again by a connector that was killed; None: others."""
    log = sorted(draw(st.sets(st.integers(1, 60), min_size=1, max_size=25)))
    found: list[int | None] = []
    done = remembered = 0
    for lives in range(draw(st.integers(1, 4))):
        until = len(log) if lives == 3 else draw(st.integers(done, len(log)))
        found += log[remembered:until]
        done = max(done, until)
        remembered = draw(st.integers(remembered, until)) if until >= remembered else remembered
    for _ in range(draw(st.integers(0, 5))):
        found.insert(draw(st.integers(0, len(found))), None)
    return found


@settings(max_examples=400)
@given(topics(), st.integers(0, 61), st.integers(0, 5))
def test_every_change_after_the_statement_is_read_again(found: list[int | None], at: int, begin: int) -> None:
    begin = min(begin, len(found))

    def ask(offset: int, before: int) -> Probe | None:
        for number in range(offset, before):
            if (pos := found[number]) is not None:
                return Probe(number, Place("b.000001", pos))
        return None

    first = first_after(ask, begin, len(found), Place("b.000001", at))
    assert begin <= first <= len(found)
    kept = {pos for pos in found[begin:] if pos is not None and pos >= at}
    assert kept <= {pos for pos in found[first:] if pos is not None}


def test_places_of_records() -> None:
    body = {"__source_file": "b.000002", "__source_pos": 7, "__source_snapshot": "false"}
    assert place_of(json.dumps(body).encode()) == Place("b.000002", 7)
    for other in (
        {**body, "__source_snapshot": "repair"},
        {**body, "__source_file": "b"},
        {**body, "__source_pos": None},
        [],
        None,
    ):
        assert place_of(json.dumps(other).encode()) is None
    assert place_of(None) is None
    assert place_of(b"{") is None


# --- a source that changes ------------------------------------------------------------------------

TABLE = "flights"


def changed(contract: Contract, *, add: str | None = None, drop: str | None = None) -> SchemaLock:
    table = contract.lock.tables[TABLE]
    columns = [column for column in table.columns if column.name != drop]
    if add is not None:
        columns.append(Column(name=add, mysql_type="int", nullable=True, position=len(columns) + 1))
    numbered = tuple(c.model_copy(update={"position": n}) for n, c in enumerate(columns, start=1))
    tables = {**contract.lock.tables, TABLE: table.model_copy(update={"columns": numbered})}
    return contract.lock.model_copy(update={"tables": tables})


def told(contract: Contract, statement: str) -> dict[str, History]:
    ddl = Ddl(7, contract.database, statement, Place("b.000001", 500), None, 1, (TABLE,), effects(statement))
    return histories([ddl], contract.database, [table.name for table in contract.tables])


class Places:
    """Lake tables and views as they are."""

    def __init__(self, contract: Contract) -> None:
        self.lake = {table.name: list(paimon.columns(contract, table.name)) for table in contract.tables}
        self.keys = {table.name: contract.schema(table.name).primary_key for table in contract.tables}
        self.views = {
            view.name: {
                **{c.name: evolve_type(c) for c in contract.view_columns(view)},
                "source_position": "bigint",
            }
            for view in contract.views
            if view.engine == "cassandra"
        }

    def clients(self) -> Any:
        def schema(database: str, table: str) -> Any:
            return SimpleNamespace(columns=tuple(self.lake[table]), primary_keys=self.keys[table])

        return SimpleNamespace(
            paimon=SimpleNamespace(schema=schema),
            cassandra=SimpleNamespace(columns=lambda keyspace, view: self.views.get(view, {})),
        )


def evolve_type(column: Column) -> str:
    return mapping(column).cassandra


def situation(
    contract: Contract, live: SchemaLock, known: dict[str, History], approved: frozenset[str] = frozenset()
) -> Situation:
    names = [table.name for table in contract.tables]
    changes = diff(contract.lock, live, names, renames={name: found.renames for name, found in known.items()})
    verdicts = judge(contract, Places(contract).clients(), live, changes, known, approved)
    return Situation(contract, live, {verdict.table: verdict for verdict in verdicts}, known, read_up_to=7)


@pytest.fixture(autouse=True)
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("LAKEHOUSE_DATA", str(tmp_path))


def without_documents(contract: Contract) -> Contract:
    views = tuple(view for view in contract.views if view.engine != "couchdb")
    return replace(contract, pipeline=contract.pipeline.model_copy(update={"views": views}))


def test_an_added_column_is_applied(contract: Contract) -> None:
    lean = without_documents(contract)
    found = situation(lean, changed(lean, add="gate"), told(lean, f"ALTER TABLE {TABLE} ADD gate INT"))
    assert [verdict.answer for verdict in found.verdicts.values()] == ["apply"]
    order = order_of(found, by="me")
    assert order is not None
    assert (dict(order.tables), dict(order.places)) == ({TABLE: {}}, {TABLE: ("b.000001", 500)})
    assert (order.read_again, order.repair, order.ddl_offset) == ((), (), 7)
    assert Order.parse(json.loads(order.dump())) == order


def test_a_default_is_read_from_the_source(contract: Contract) -> None:
    known = told(contract, f"ALTER TABLE {TABLE} ADD gate INT DEFAULT 5")
    order = order_of(situation(contract, changed(contract, add="gate"), known), by="me")
    assert order is not None
    assert order.read_again == (TABLE,)


def test_a_statement_that_has_not_come_is_waited_for_or_approved(contract: Contract) -> None:
    live = changed(contract, add="gate")
    found = situation(contract, live, {})
    (verdict,) = found.held
    assert "has not told of the statement" in verdict.reasons[-1]
    ids = frozenset(change.id for change in verdict.changes)
    order = order_of(situation(contract, live, {}, ids), by="me")
    assert order is not None
    assert (order.read_again, dict(order.places)) == ((TABLE,), {})


def test_by_hand_means_by_hand(contract: Contract) -> None:
    by_hand = replace(contract, pipeline=contract.pipeline.model_copy(update={"upgrades": "by_hand"}))
    known = told(contract, f"ALTER TABLE {TABLE} ADD gate INT")
    found = situation(by_hand, changed(contract, add="gate"), known)
    assert [verdict.flow for verdict in found.held] == ["old"]


def test_a_mart_that_reads_a_dropped_column_blocks_it(contract: Contract) -> None:
    free = contract.pipeline.model_copy(update={"schema_changes": SchemaPolicy(drop="apply")})
    column = next(
        name
        for name in contract.schema(TABLE).column_names
        if name not in contract.schema(TABLE).primary_key and evolve.marts_reading(contract, TABLE, [name])
    )
    found = situation(
        replace(contract, pipeline=free),
        changed(contract, drop=column),
        told(contract, f"ALTER TABLE {TABLE} DROP {column}"),
    )
    (verdict,) = found.held
    assert any("mart delay_by_carrier_hour" in reason for reason in verdict.reasons)


# --- applying -------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process is gone."""


@dataclass
class World:
    contract: Contract
    places: Places
    order: Order | None = None
    ended: list[Order] = field(default_factory=list)
    in_force: SchemaLock | None = None
    jobs: dict[str, dict[str, int]] = field(default_factory=dict)
    shapes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    reread: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    told: list[tuple[str, str, str]] = field(default_factory=list)
    stopped: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By job, the tables that it was started without."""
    rule: str = "rewound"
    complete: bool = True
    steps: int = 0
    kill_at: int | None = None

    def step(self) -> None:
        self.steps += 1
        if self.steps == self.kill_at:
            raise Killed

    # the store

    def begin(self, pipeline: str, order: Order) -> None:
        self.step()
        self.order = order

    def end(self, pipeline: str, order: Order) -> None:
        self.step()
        self.order = None
        self.ended.append(order)

    def tell(self, pipeline: str, kind: str, table: str, what: str, *, by: str) -> None:
        self.told.append((kind, table, what))

    # the hands

    @contextmanager
    def lock(self) -> Iterator[bool]:
        yield True

    def alter_lake(self, contract: Contract, statements: Sequence[str]) -> None:
        for statement in statements:
            self.step()
            words = statement.split("` ", 1)[1].split(" ")
            assert words[0] == "ADD"
            name, kind, after = words[1].strip("`"), words[2], words[4].strip("`")
            columns = self.places.lake[TABLE]
            columns.insert([known for known, _ in columns].index(after) + 1, (name, kind))

    def lake_columns(self, contract: Contract, table: str) -> Any:
        return self.places.lake[table], self.places.keys[table]

    def view_columns(self, contract: Contract, view: str) -> Mapping[str, str]:
        return self.places.views[view]

    def alter_view(self, statement: str) -> None:
        self.step()
        view = next(name for name in self.places.views if double(name) in statement)
        column, kind = statement.rsplit(" ", 2)[1:]
        self.places.views[view][column.strip('"')] = kind

    def put_in_force(self, contract: Contract, lock: SchemaLock, stopped: Mapping[str, str]) -> None:
        self.step()
        # What runs must find the places as its shape says.
        assert dict(self.places.lake[TABLE]) == dict(paimon.columns(replace(contract, lock=lock), TABLE))
        self.in_force = lock

    def offset_of(self, topic: str, place: Place) -> tuple[int, bool]:
        return 40, self.complete

    def go_back(self, contract: Contract, stream: Stream, offsets: Mapping[str, int]) -> Any:
        self.step()
        assert self.in_force is not None
        self.jobs[stream.name] = dict(offsets)
        self.shapes[stream.name] = contract.schema(TABLE).column_names
        self.stopped[stream.name] = tuple(contract.stopped)
        verb = Verb.WAIT if self.rule == "waiting" else Verb.RESTART
        return SimpleNamespace(state="running", action=Action(verb, self.rule, rule=self.rule))

    def read_again(self, contract: Contract, tables: Sequence[str]) -> None:
        self.step()
        self.reread += tables

    def repair(self, contract: Contract, tables: Sequence[str]) -> None:
        self.step()
        self.repaired += tables


def ordered(contract: Contract, statement: str = "INT DEFAULT 5") -> Order:
    known = told(contract, f"ALTER TABLE {TABLE} ADD gate {statement}")
    order = order_of(situation(contract, changed(contract, add="gate"), known), by="me")
    assert order is not None
    return order


def run(world: World, order: Order) -> None:
    apply(world.contract, order, world, world, log=lambda line: None)  # type: ignore[arg-type]


def test_all_steps(contract: Contract) -> None:
    world = World(contract, Places(contract))
    run(world, ordered(contract))
    assert world.in_force == changed(contract, add="gate")
    assert world.jobs["lake"] == {f"{contract.topic(TABLE)}:0": 40}
    assert all(names[-1] == "gate" for names in world.shapes.values())
    assert world.reread == [TABLE]
    assert world.order is None
    assert [order.changes for order in world.ended] == [ordered(contract).changes]


def test_killed_at_any_step_and_gone_on_with(contract: Contract) -> None:
    whole = World(contract, Places(contract))
    run(whole, ordered(contract))
    assert whole.steps > 5
    for step in range(2, whole.steps + 1):
        world = World(contract, Places(contract), kill_at=step)
        with pytest.raises(Killed):
            run(world, ordered(contract))
        assert world.order is not None  # it was written down before anything was done
        run(world, world.order)
        assert (world.in_force, world.jobs, world.places.lake, world.places.views) == (
            whole.in_force, whole.jobs, whole.places.lake, whole.places.views,
        )  # fmt: skip
        assert (set(world.reread), world.order) == ({TABLE}, None)


def test_records_that_are_gone_are_made_up_for_from_the_source(contract: Contract) -> None:
    lean = without_documents(contract)
    world = World(lean, Places(lean), complete=False)
    order = ordered(lean, "INT")
    assert order.read_again == ()
    run(world, order)
    assert (world.reread, world.repaired) == ([], [TABLE])


def test_an_order_that_the_contract_does_not_fit_changes_nothing(contract: Contract) -> None:
    order = replace(ordered(contract), lock=SchemaLock(database=contract.database, tables={}).dump())
    world = World(contract, Places(contract))
    with pytest.raises(EngineError):
        run(world, order)
    assert (world.in_force, world.jobs) == (None, {})


# --- Dagster and the command line -----------------------------------------------------------------


def test_the_definitions_load(contract: Contract) -> None:
    made = evolve_defs.build_evolution_defs(contract)
    dg.Definitions.validate_loadable(
        dg.Definitions.merge(made, dg.Definitions(resources={"lakehouse": object()}))
    )
    assert {job.name for job in made.jobs or ()} == {
        "flights_approve_schema_change", "flights_apply_schema_change",
    }  # fmt: skip


def test_the_check_shows_the_difference(contract: Contract) -> None:
    known = told(contract, f"ALTER TABLE {TABLE} DROP tailnum")
    found = situation(contract, changed(contract, drop="tailnum"), known)
    results = {item.asset_key.path[-1]: item for item in evolve_defs.evaluations(found)}
    assert {name for name, item in results.items() if not item.passed} == {TABLE}
    failed = results[TABLE]
    assert failed.severity is dg.AssetCheckSeverity.ERROR
    assert "flights_approve_schema_change" in (failed.description or "")
    shown = str(failed.metadata["difference"].value)
    assert "drop tailnum" in shown
    assert "DROP tailnum" in shown
    assert "b.000001:500" in shown
    (change,) = found.verdicts[TABLE].changes
    offered = str(failed.metadata["approve"].value)
    assert "/jobs/flights_approve_schema_change/playground/setup?config=" in offered
    assert f"--change {change.id}" in offered
    assert change.id in "\n".join(evolve_commands.lines(found))
    assert evolve_commands.shown(found)["tables"][0]["changes"][0]["id"] == change.id


def test_what_is_as_locked_passes(contract: Contract) -> None:
    found = situation(contract, contract.lock, {})
    assert all(item.passed for item in evolve_defs.evaluations(found))
    assert order_of(found, by="me") is None
    uncommitted = evolve_defs.evaluations(replace(found, uncommitted=(TABLE,)))
    (one,) = [item for item in uncommitted if not item.passed]
    assert (one.asset_key.path[-1], one.severity) == (TABLE, dg.AssetCheckSeverity.WARN)
    assert "lakehouse schema commit flights" in (one.description or "")


def test_rows_in_doubt_fail(contract: Contract) -> None:
    found = replace(situation(contract, contract.lock, {}), doubtful=(TABLE,))
    assert [item.passed for item in evolve_defs.evaluations(found)].count(False) == 1
    order = order_of(found, by="me", repair=found.doubtful)
    assert order is not None
    assert order.repair == (TABLE,)


def test_only_what_is_held_can_be_approved(contract: Contract) -> None:
    known = told(contract, f"ALTER TABLE {TABLE} DROP tailnum")
    found = situation(contract, changed(contract, drop="tailnum"), known)
    (change,) = found.verdicts[TABLE].changes
    assert evolve.Approval().changes(found) == [change]
    assert evolve.Approval("weather").changes(found) == []
    with pytest.raises(ValueError, match=change.id):
        evolve.Approval(None, ("0" * 12,)).changes(found)
    doubtful = replace(found, doubtful=("weather", "planes"))
    assert evolve.Approval().doubtful(doubtful) == ["weather", "planes"]
    assert evolve.Approval("planes").doubtful(doubtful) == ["planes"]
    assert evolve.Approval(None, (change.id,)).doubtful(doubtful) == []


def test_a_stopped_table_is_an_order_of_its_own(contract: Contract) -> None:
    # A column that no mart reads: one that does would hold the approval back.
    known = told(contract, f"ALTER TABLE {TABLE} RENAME COLUMN scheduled_arrival TO due")
    table = contract.lock.tables[TABLE]
    renamed = tuple(
        column.model_copy(update={"name": "due"}) if column.name == "scheduled_arrival" else column
        for column in table.columns
    )
    tables = {**contract.lock.tables, TABLE: table.model_copy(update={"columns": renamed})}
    live = contract.lock.model_copy(update={"tables": tables})
    found = situation(contract, live, known)
    assert found.stopped.keys() == {TABLE}
    order = order_of(found, by="the policy")
    assert order is not None
    assert (order.stopped.keys(), dict(order.tables)) == ({TABLE}, {})
    world = World(contract, Places(contract))
    run(world, order)
    assert world.stopped == {"lake": (TABLE,), "serving": (TABLE,)}
    assert world.in_force == contract.lock
    assert [(kind, table) for kind, table, _ in world.told] == [("stopped", TABLE)]
    # Once it is stopped nothing more has to be done, until it is approved: then it flows again.
    now = replace(contract, stopped=order.stopped)
    assert order_of(replace(found, contract=now), by="the policy") is None
    ids = frozenset(change.id for change in found.verdicts[TABLE].changes)
    approved = order_of(situation(now, live, known, ids), by="me")
    assert approved is not None
    assert (dict(approved.stopped), dict(approved.tables)) == ({}, {TABLE: {"scheduled_arrival": "due"}})
    # Or the source takes its change back: what came in between is read again.
    freed = order_of(situation(now, contract.lock, {}), by="the policy")
    assert freed is not None
    assert (dict(freed.stopped), freed.read_again) == ({}, (TABLE,))


def test_a_job_that_is_not_set_back_leaves_the_order(contract: Contract) -> None:
    world = World(contract, Places(contract), rule="waiting")
    with pytest.raises(EngineError, match="was not set back"):
        run(world, ordered(contract))
    assert world.order is not None


# --- tables that come and go ----------------------------------------------------------------------


def without(contract: Contract, *names: str) -> SchemaLock:
    tables = {name: table for name, table in contract.lock.tables.items() if name not in names}
    return contract.lock.model_copy(update={"tables": tables})


def test_a_dropped_table_is_held_and_approving_it_changes_nothing(contract: Contract) -> None:
    live = without(contract, TABLE)
    found = situation(contract, live, {})
    (verdict,) = found.held
    assert (verdict.table, verdict.flow) == (TABLE, "old")
    assert [item.passed for item in evolve_defs.evaluations(found)].count(False) == 1
    ids = frozenset(change.id for change in verdict.changes)
    seen = situation(contract, live, {}, ids)
    assert (seen.held, order_of(seen, by="me")) == ((), None)
    assert all(item.passed for item in evolve_defs.evaluations(seen))


def test_a_new_table_fails_a_check_where_the_policy_holds_it(contract: Contract) -> None:
    other = contract.lock.tables[TABLE].model_copy(update={"name": "other"})
    live = contract.lock.model_copy(update={"tables": {**contract.lock.tables, "other": other}})
    ignored = evolve_defs.evaluations(situation(contract, live, {}))
    assert all(item.passed for item in ignored)
    policy = contract.pipeline.model_copy(update={"schema_changes": SchemaPolicy(new_table="hold")})
    asking = replace(contract, pipeline=policy)
    found = situation(asking, live, {})
    (failed,) = [item for item in evolve_defs.evaluations(found) if not item.passed]
    assert failed.check_name == "no_unlisted_table"
    assert "other" in (failed.description or "")
    (change,) = found.verdicts["other"].changes
    assert change.id in str(failed.metadata["approve"].value)
    seen = situation(asking, live, {}, frozenset({change.id}))
    assert all(item.passed for item in evolve_defs.evaluations(seen))
    assert order_of(seen, by="me") is None


# --- looking --------------------------------------------------------------------------------------


@dataclass
class Remembered:
    """The store, of statements that were noted before."""

    ddls: list[Ddl] = field(default_factory=list)
    settled: list[str] = field(default_factory=list)
    forgotten: bool = False
    following: int = 0

    def next_offset(self, pipeline: str) -> int:
        return self.following

    def forget(self, pipeline: str, why: str) -> None:
        self.forgotten, self.following = True, 0

    def pending(self, pipeline: str, tables: Sequence[str]) -> dict[str, list[Ddl]]:
        return {table: list(self.ddls) for table in tables}

    def approved(self, pipeline: str) -> frozenset[str]:
        return frozenset()

    def under_way(self, pipeline: str) -> None:
        return None

    def settle(self, pipeline: str, up_to: int, tables: Sequence[str]) -> None:
        self.settled += tables


def looked(
    contract: Contract, live: SchemaLock, store: Remembered, places: Places | None = None
) -> Situation:
    clients = (places or Places(contract)).clients()
    clients.source = SimpleNamespace(read_schema=lambda database: live)
    clients.kafka = SimpleNamespace(end_offsets=lambda topics: {})
    return evolve.look(contract, clients, store)  # type: ignore[arg-type]


def test_only_what_was_approved_counts_as_refused(
    contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = contract.pipeline.model_copy(update={"schema_changes": SchemaPolicy(new_table="hold")})
    asking = replace(contract, pipeline=free)
    column = "dep_delay"  # the mart reads it, and no view's key needs it
    live = changed(asking, drop=column)
    other = contract.lock.tables["weather"].model_copy(update={"name": "other"})
    live = live.model_copy(update={"tables": {**live.tables, "other": other}})

    class Store(Remembered):
        def __init__(self, postgres: object) -> None:
            super().__init__([statement(f"ALTER TABLE {TABLE} DROP {column}")])
            self.ids: dict[str, tuple[str, str]] = {}

        def approve(self, pipeline: str, changes: dict[str, tuple[str, str]], *, by: str) -> None:
            self.ids |= changes

        def approved(self, pipeline: str) -> frozenset[str]:
            return frozenset(self.ids)

    @contextmanager
    def alone(*_: Any, **__: Any) -> Iterator[bool]:
        yield True

    monkeypatch.setattr(evolve, "SchemaStore", Store)
    monkeypatch.setattr(evolve, "stream_lock", alone)
    clients = Places(asking).clients()
    clients.endpoints = SimpleNamespace(postgres=None)
    clients.postgres = None
    clients.source = SimpleNamespace(read_schema=lambda database: live)
    clients.kafka = SimpleNamespace(end_offsets=lambda topics: {})
    seen = evolve.follow(asking, clients, log=print, actor="me", approval=evolve.Approval("other"))
    assert (len(seen.held) > 0, seen.refused) == (True, ())
    stuck = evolve.follow(asking, clients, log=print, actor="me", approval=evolve.Approval(TABLE))
    assert any("mart delay_by_carrier_hour" in reason for reason in stuck.refused)


def statement(text: str, offset: int = 7) -> Ddl:
    return Ddl(offset, "airline", text, Place("b.000001", 500 + offset), None, 1, (TABLE,), effects(text))


def test_an_index_is_forgotten_and_a_topic_made_anew_too(contract: Contract) -> None:
    store = Remembered([statement(f"ALTER TABLE {TABLE} ADD INDEX i (tailnum)")], following=9)
    found = looked(contract, contract.lock, store)
    assert (order_of(found, by="me"), store.settled, store.forgotten) == (None, [TABLE], True)


@pytest.mark.parametrize(
    "texts",
    [
        ("RENAME COLUMN tailnum TO tail", "RENAME COLUMN tail TO tailnum"),
        ("ADD gate INT", "DROP gate"),
        ("MODIFY dep_delay TINYINT", "MODIFY dep_delay SMALLINT"),
    ],
)
def test_what_was_changed_back_is_read_again(contract: Contract, texts: Sequence[str]) -> None:
    store = Remembered([statement(f"ALTER TABLE {TABLE} {text}", n) for n, text in enumerate(texts)])
    found = looked(contract, contract.lock, store)
    assert (found.passed, store.settled) == ((TABLE,), [])
    order = order_of(found, by="the policy")
    assert order is not None
    assert (order.read_again, dict(order.tables), dict(order.places)) == ((TABLE,), {TABLE: {}}, {})


def test_what_a_person_has_locked_is_applied(contract: Contract) -> None:
    old = Places(contract)
    locked = replace(contract, lock=changed(contract, add="gate"))
    store = Remembered([statement(f"ALTER TABLE {TABLE} ADD gate INT")])
    found = looked(locked, locked.lock, store, old)
    assert (dict(found.locked_by_hand), store.settled) == ({TABLE: ()}, [])
    # The folder of this test has the old lock, as if the new one had been applied and not committed.
    assert found.uncommitted == (TABLE,)
    order = order_of(found, by="the policy")
    assert order is not None
    assert (order.read_again, dict(order.places)) == ((TABLE,), {TABLE: ("b.000001", 507)})
    old.lake[TABLE] = [(name, "DATE" if name == "dep_delay" else kind) for name, kind in old.lake[TABLE]]
    stuck = looked(locked, locked.lock, store, old)
    assert order_of(stuck, by="the policy") is None
    (failed,) = [item for item in evolve_defs.evaluations(stuck) if not item.passed]
    assert "dep_delay is DATE in the lake" in (failed.description or "")


def test_a_table_that_was_emptied_is_in_doubt(contract: Contract) -> None:
    found = looked(contract, contract.lock, Remembered([statement(f"TRUNCATE TABLE {TABLE}")]))
    assert (found.doubtful, found.passed) == ((TABLE,), ())
    assert order_of(found, by="the policy") is None


# --- setting jobs back ----------------------------------------------------------------------------


def test_publication_waits_for_all_there_is_and_by_hand_is_no_obstacle(
    contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = contract.topic(TABLE)
    done: list[Any] = []

    def outcome(rule: str) -> Any:
        return SimpleNamespace(state="running", action=Action(Verb.RESTART, "", rule=rule))

    def rewind(contract: Contract, stream: Stream, clients: Any, target: Any, **_: Any) -> Any:
        done.append(target)
        return outcome("rewound")

    monkeypatch.setattr(act, "reconcile", lambda *_, **__: outcome("outdated, by hand"))
    monkeypatch.setattr(act, "upgrade", lambda *_, **__: outcome("asked"))
    monkeypatch.setattr(act, "rewind", rewind)
    monkeypatch.setattr(
        start.JobStarter, "hold_back", lambda self, why, targets: done.append((self.stream.name, targets))
    )
    world = engines.World(end={topic: 90}, committed={topic: 70})
    hands = evolve.RealHands(contract, engines.clients(world, contract), "me", print)
    lake = stream_of(contract, "lake")
    assert hands.go_back(contract, lake, {f"{topic}:0": 40}).action.rule == "rewound"
    assert done == [("lake", {f"{topic}:0": 90}), act.AtOffsets({f"{topic}:0": 40})]
    # A job that is behind the statement stays there.
    hands.go_back(contract, lake, {f"{topic}:0": 80})
    assert done[-1] == act.AtOffsets({f"{topic}:0": 70})
    assert hands.go_back(contract, lake, {}).action.rule == "asked"


def test_what_is_put_in_force_is_in_force_and_can_be_committed(
    contract: Contract, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(DEFS_ROOT / "flights", tmp_path / "defs" / "flights")
    monkeypatch.setattr(evolve_commands, "DEFS_ROOT", tmp_path / "defs")
    mine = replace(contract, folder=tmp_path / "defs" / "flights")
    nobody: Any = None
    hands = evolve.RealHands(mine, nobody, "me", print)
    new = changed(contract, add="gate")
    hands.put_in_force(mine, contract.lock, {})
    assert applied.load("flights") is None, "nothing has changed"
    hands.put_in_force(mine, new, {"weather": "why"})
    now = applied.current(mine)
    assert (now.lock, now.stopped) == (new, {"weather": "why"})
    for said in ("wrote ", "is up to date"):
        done = CliRunner().invoke(evolve_commands.app, ["commit", "flights"])
        assert (done.exit_code, said in done.output) == (0, True), done.output
    assert SchemaLock.load(mine.folder) == new
    assert applied.current(mine).stopped == {"weather": "why"}
    assert CliRunner().invoke(evolve_commands.app, ["commit", "fligths"]).exit_code == 1


# --- the sensor -----------------------------------------------------------------------------------


def test_the_sensor_reports_and_asks_once(contract: Contract, monkeypatch: pytest.MonkeyPatch) -> None:
    known = told(contract, f"ALTER TABLE {TABLE} ADD gate INT")
    seen = [situation(contract, changed(contract, add="gate"), known)]
    held = [False]
    monkeypatch.setattr(evolve_defs, "_look", lambda contract, clients: seen[0])
    busy = SimpleNamespace(busy=lambda pipeline, stream: held[0])
    monkeypatch.setattr(evolve_defs, "StreamStore", lambda postgres: busy)
    job = evolve_defs.apply_job(contract)
    sensor = evolve_defs.schema_sensor(contract, job)

    def tick(instance: dg.DagsterInstance, cursor: str | None) -> dg.SensorResult:
        with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
            result = sensor(context, lakehouse=Source())
        assert isinstance(result, dg.SensorResult)
        return result

    with dg.instance_for_test() as instance:
        held[0] = True
        first = tick(instance, None)
        assert (not first.run_requests, len(first.asset_events)) == (True, len(contract.tables) + 1)
        held[0] = False
        second = tick(instance, first.cursor)
        assert (len(second.run_requests or ()), len(second.asset_events)) == (1, 0)
        assert not tick(instance, second.cursor).run_requests, "it was asked for a moment ago"
        # A run that is coming is enough, and one whose process is gone does not count.
        run = instance.create_run_for_job(job, tags={})
        assert not tick(instance, first.cursor).run_requests
        instance.report_run_canceled(run)
        assert tick(instance, first.cursor).run_requests
        seen[0] = situation(contract, contract.lock, {})
        quiet = tick(instance, second.cursor)
        assert (len(quiet.asset_events), not quiet.run_requests) == (len(contract.tables) + 1, True)

        def away(contract: Contract, clients: Any) -> Situation:
            raise EngineError("mysql", "is away")

        monkeypatch.setattr(evolve_defs, "_look", away)
        silent = tick(instance, quiet.cursor)
        assert (silent.cursor, len(silent.asset_events)) == (quiet.cursor, 0)


# --- the sensor's memory --------------------------------------------------------------------------


def test_results_are_told_when_they_change_or_are_old(contract: Contract) -> None:
    results = evolve_defs.evaluations(situation(contract, contract.lock, {}))
    first = evolve_defs.Cursor.parse("nonsense").telling(results, 1000.0)
    assert first is not None
    assert evolve_defs.Cursor.parse(first.model_dump_json()) == first
    assert first.telling(results, 1200.0) is None
    assert first.telling(results, 1301.0) is not None
    assert first.telling(results[1:], 1001.0) is not None


def test_runs_that_fail_are_asked_for_with_growing_pauses() -> None:
    cursor = evolve_defs.Cursor()
    asked = []
    for now in range(0, 4000, evolve_defs.TICK_SECONDS):
        if (after := cursor.asking("this", float(now))) is not None:
            cursor = after
            asked.append(now)
    pauses = [b - a for a, b in itertools.pairwise(asked)]
    assert pauses == [30, 60, 120, 240, 480, *[600] * (len(pauses) - 5)]
    assert cursor.asking("that", float(asked[-1] + 1)) is not None
    assert cursor.asking(None, 1e9) is None
