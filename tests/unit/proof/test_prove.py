"""All rounds of a proof with stand-ins for the engines: what is read when, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.position import encode
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.mysql import SourcePosition
from lakehouse_dagster.proof import prove as module
from lakehouse_dagster.proof.proofs import Proof
from lakehouse_dagster.proof.prove import ProofReport, Prover
from lakehouse_dagster.proof.prove_commands import age_text, exit_code, report_json, standing
from lakehouse_dagster.proof.subject import Key, KeyedPlace, PlaceName, PlaceRow, Subject, subjects
from tests.unit.proof.test_keyed import contract_of

CONTRACT = contract_of(("a", "int"))
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def at(pos: int) -> int:
    """A row's position before byte `pos` of the log."""
    return encode(0, 1, pos - 100, 0)


@dataclass
class World:
    """A source of one table, and what comes after each of its reads."""

    source: dict[str, str] = field(default_factory=dict)
    pos: int = 1000
    arrived: set[str] = field(default_factory=set)
    after_read: list[Callable[[], None]] = field(default_factory=list)
    reads: list[int] = field(default_factory=list)

    @contextmanager
    def snapshot(self, *_: Any, **__: Any) -> Iterator[SimpleNamespace]:
        self.reads.append(self.pos)
        yield SimpleNamespace(
            position=SourcePosition("u:1", "binlog.000001", self.pos), table=dict(self.source)
        )
        if self.after_read:
            self.after_read.pop(0)()

    def write(self, key: str, note: str | None) -> int:
        """Commit; returns the position of the change."""
        self.pos += 1000
        self.arrived.add(key)
        if note is None:
            self.source.pop(key, None)
        else:
            self.source[key] = note
        return at(self.pos)


class FakePlace:
    """Rows of the table in one place."""

    name: PlaceName = "paimon"

    def __init__(self) -> None:
        self.table: dict[str, tuple[str, int]] = {}
        self.looked_up: list[list[Key]] = []
        self.fails = False

    def prepare(self, subjects: list[Subject]) -> None:
        if self.fails:
            raise EngineError("paimon", "is away")

    def rows(self, subject: Subject) -> Iterator[PlaceRow]:
        for key, (note, position) in self.table.items():
            yield PlaceRow((key, note), position)

    def look_up(self, wanted: Mapping[Subject, Collection[Key]]) -> Iterator[tuple[Subject, PlaceRow]]:
        for subject, keys in wanted.items():
            self.looked_up.append(list(keys))
            for row in self.rows(subject):
                yield subject, row

    def close(self) -> None:
        pass


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    found = World(source={str(n): "x" for n in range(100)})

    def read_all(_contract: Contract, snapshot: Any, *_: Any) -> Iterator[list[str | None]]:
        yield from ([key, note] for key, note in snapshot.table.items())

    def read_keys(_c: Contract, snapshot: Any, _t: str, keys: Any, _: Any) -> Iterator[list[str | None]]:
        yield from ([key, snapshot.table[key]] for (key,) in keys if key in snapshot.table)

    class FakeArrivals:
        def __init__(self, *_: Any) -> None:
            found.arrived.clear()

        def up_to_now(self, _table: str) -> Callable[[Key], bool]:
            return lambda key: key[0] in found.arrived

    monkeypatch.setattr(module, "read_all", read_all)
    monkeypatch.setattr(module, "read_keys", read_keys)
    monkeypatch.setattr(module, "Arrivals", FakeArrivals)
    monkeypatch.setattr(module, "check_schema", lambda *_: {})
    monkeypatch.setattr(Prover, "_not_held", lambda *_: None)
    return found


def place_of(world: World) -> FakePlace:
    place = FakePlace()
    place.table = {key: (note, at(world.pos)) for key, note in world.source.items()}
    return place


def run(world: World, place: FakePlace, *, passed: bool = True, rounds: int = 6) -> ProofReport:
    clients = cast(Clients, SimpleNamespace(reading=SimpleNamespace(mysql=world)))

    def wait(*args: Any, **_: Any) -> Iterator[tuple[PlaceName, tuple[str, ...]]]:
        for name in args[3]:
            yield name, () if passed else ("p-lake has 3 records to commit",)

    places: dict[PlaceName, KeyedPlace] = {"paimon": place}
    return Prover(CONTRACT, clients, places, rounds=rounds, wait=wait, actor="a test").run()


def only(report: ProofReport) -> Proof:
    (outcome,) = report.outcomes
    return outcome.proof


def test_a_quiet_table_takes_one_round(world: World) -> None:
    report = run(world, place_of(world))
    proof = only(report)
    assert proof.complete
    assert (proof.source_rows, proof.rows, proof.rounds, proof.ranges) == (100, 100, 1, 0)
    assert (proof.position, proof.actor) == ("binlog.000001:1000", "a test")
    assert world.reads == [1000]
    assert exit_code(report) == 0


def test_a_row_that_changed_once_is_settled_without_reading_the_place_again(world: World) -> None:
    place = place_of(world)
    world.after_read = [lambda: place.table.update({"7": ("new", world.write("7", "new"))})]
    proof = only(run(world, place))
    assert proof.complete
    assert (proof.rounds, place.looked_up) == (2, [])


def test_a_row_that_changed_again_is_read_again_where_it_was_pending(world: World) -> None:
    place = place_of(world)
    world.after_read = [
        lambda: place.table.update({"7": ("new", world.write("7", "new"))}),
    ]
    early = place.rows

    def rows(subject: Subject) -> Iterator[PlaceRow]:
        yield from list(early(subject))
        place.rows = early  # type: ignore[method-assign]
        place.table["7"] = ("newer", world.write("7", "newer"))

    place.rows = rows  # type: ignore[method-assign]
    proof = only(run(world, place))
    assert proof.complete
    assert place.looked_up == [[("7",)]]


def test_a_lost_row_is_missing_and_a_deleted_one_is_not(world: World) -> None:
    place = place_of(world)
    del place.table["5"]

    def delete() -> None:
        world.write("6", None)
        del place.table["6"]

    world.after_read = [delete]
    report = run(world, place)
    proof = only(report)
    assert (proof.missing, proof.extra, proof.different, proof.unsettled) == (1, 0, 0, 0)
    assert [dict(e)["key"] for e in proof.examples] == [{"a": "5"}]
    assert exit_code(report) == 1


def test_wrong_rows_are_named_with_both_values(world: World) -> None:
    place = place_of(world)
    place.table["5"] = ("forged", place.table["5"][1])
    place.table["500"] = ("forged", at(900))
    report = run(world, place)
    (outcome,) = report.outcomes
    assert (outcome.proof.different, outcome.proof.extra) == (1, 1)
    columns = {e.kind: e.columns for e in outcome.examples}
    assert columns["different"] == {"note": ("x", "forged")}
    assert columns["extra"] == {"a": (None, "500"), "note": (None, "forged")}


def test_a_row_that_never_rests_is_unsettled_and_the_rounds_end(world: World) -> None:
    place = place_of(world)
    early = place.rows

    def rows(subject: Subject) -> Iterator[PlaceRow]:
        place.table["7"] = (str(world.pos), world.write("7", str(world.pos)))
        yield from list(early(subject))
        world.write("7", "later")

    place.rows = rows  # type: ignore[method-assign]
    report = run(world, place, rounds=3)
    proof = only(report)
    assert (proof.unsettled, proof.differences, proof.rounds) == (1, 0, 3)
    assert not proof.complete
    assert len(world.reads) == 3
    assert exit_code(report) == 3


def test_a_place_that_does_not_pass_or_fails_is_a_problem_and_no_difference(world: World) -> None:
    report = run(world, place_of(world), passed=False)
    assert report.outcomes == ()
    assert "has not passed binlog.000001:1000: p-lake has 3 records" in report.problems["paimon"]
    assert exit_code(report) == 2
    place = place_of(world)
    place.fails = True
    report = run(world, place)
    assert report.problems == {"paimon": "paimon: is away"}
    assert exit_code(report) == 2
    assert report_json(report)["complete"] is False


def test_a_table_that_is_left_out_is_a_problem(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (table,) = CONTRACT.tables
    monkeypatch.setattr(module, "check_schema", lambda *_: {table.name: "it is stopped: why"})
    with pytest.raises(EngineError, match=r"no table can be compared: .*it is stopped: why"):
        run(world, place_of(world))
    monkeypatch.setattr(module, "check_schema", lambda *_: {"other": "it is stopped: why"})
    report = run(world, place_of(world))
    assert report.problems == {"other": "it is stopped: why"}
    assert exit_code(report) == 2


def test_what_stands_proven_names_also_what_never_was(world: World) -> None:
    proof = only(run(world, place_of(world)))
    now = proof.as_of
    rows = standing(CONTRACT, [proof], [proof], now)
    assert [(row["place"], row["complete"]) for row in rows] == [("paimon", True), ("trino", False)]
    assert rows[0]["complete_age_seconds"] == 0.0
    assert rows[1]["newest"] is None
    assert len(rows) == len(subjects(CONTRACT))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (5.0, "5 s"), (61, "1 min 1 s"), (3700, "1 h 1 min"), (90_000, "1 d 1 h")],
)
def test_ages_as_people_read_them(seconds: float | None, text: str) -> None:
    assert age_text(seconds) == text
