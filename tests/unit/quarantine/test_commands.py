"""`lakehouse quarantine`: what it shows, what it asks, and its exit codes."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner, Result

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.errors import EngineUnavailable
from lakehouse_dagster.quarantine import commands
from tests.unit.quarantine.fakes import SHOPS, World, letter


@pytest.fixture(autouse=True)
def known(contract: Contract, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "find_contract", lambda _: contract)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(commands.app, list(arguments))


def bad(offset: int, at: int, **more: object) -> object:
    return letter(offset, topic=SHOPS, at=at, key=b'{"code":"a"}', **more)  # type: ignore[arg-type]


def test_an_empty_quarantine_is_well(world: World) -> None:
    done = run("list", "orders")
    assert done.exit_code == 0
    assert "0 open of 0" in done.output


def test_list_shows_what_waits_and_exits_1(world: World) -> None:
    world.topic = [bad(0, 5, reason="column name: no text", value=b"\x1b[2Jx"), bad(1, 6)]  # type: ignore[list-item]
    done = run("list", "orders")
    assert done.exit_code == 1
    assert f"{SHOPS}:0:5" in done.output
    assert "column name: no text" in done.output
    assert '{"code":"a"}' in done.output
    assert "\x1b[2J" not in done.output
    assert "2 open of 2" in done.output
    assert "1 older ones are not shown" in run("list", "orders", "-n", "1").output


def test_list_as_json_holds_the_bytes(world: World) -> None:
    world.topic = [bad(0, 5, value=b"\xff\x00")]  # type: ignore[list-item]
    body = json.loads(run("list", "orders", "--json").output)
    assert (body["open"], body["total"]) == (1, 1)
    [one] = body["records"]
    assert (one["id"], one["first_bytes"], one["size"]) == (f"{SHOPS}:0:5", "/wA=", 2)
    assert one["decision"] is None


def test_list_of_one_table(world: World) -> None:
    world.topic = [bad(0, 5), letter(1, at=3)]  # type: ignore[list-item]
    assert "1 open of 1" in run("list", "orders", "--table", "shops").output
    done = run("list", "orders", "--table", "nope")
    assert done.exit_code == 2
    assert "has no table nope" in done.output


def test_replay_and_drop_empty_the_quarantine(world: World) -> None:
    world.topic = [bad(0, 5), bad(1, 6)]  # type: ignore[list-item]
    assert run("replay", "orders", f"{SHOPS}:0:5").exit_code == 0
    done = run("drop", "orders", f"{SHOPS}:0:6", "--why", "a test row")
    assert (done.exit_code, "1 record(s) dropped" in done.output) == (0, True)
    assert run("list", "orders").exit_code == 0
    everything = run("list", "orders", "--all").output
    assert "dropped by" in everything
    assert "a test row" in everything
    assert "replayed by" in everything


def test_a_replay_that_fails_names_why_and_exits_1(world: World) -> None:
    world.topic = [letter(0, topic=SHOPS, at=5, key=None)]
    done = run("replay", "orders", "--all")
    assert done.exit_code == 1
    assert "the record has no key" in done.output
    assert "0 record(s) replayed" in done.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("replay", "orders"),
        ("replay", "orders", "--all", "--table", "shops"),
        ("replay", "orders", "nonsense"),
        ("replay", "orders", "a:0:1"),
        ("replay", "orders", "--all", "--repair"),
        ("drop", "orders", "a:0:1"),
        ("drop", "orders", "a:0:1", "--why", " "),
        ("drop", "orders", "--why", "x"),
    ],
)
def test_bad_input_exits_2(world: World, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


def test_an_engine_that_is_away_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(topics: object) -> None:
        raise EngineUnavailable("kafka", "127.0.0.1:1", cause="refused")

    monkeypatch.setattr(world, "_ends", away)
    done = run("list", "orders")
    assert done.exit_code == 1
    assert "lakehouse up kafka" in done.output
