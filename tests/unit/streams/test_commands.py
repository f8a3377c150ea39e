"""`lakehouse streams`: what it shows, what it asks, and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lakehouse_dagster import cli
from lakehouse_dagster.engines.errors import EngineError, EngineUnavailable
from lakehouse_dagster.streams import act, commands
from lakehouse_dagster.streams import observe as observing
from lakehouse_dagster.streams import repair as repair_module
from lakehouse_dagster.streams import resnapshot as resnapshot_module
from lakehouse_dagster.streams import samples as samples_module
from lakehouse_dagster.streams import store as store_module
from lakehouse_dagster.streams.act import AtOffsets, AtTime, Earliest, Outcome
from lakehouse_dagster.streams.decision import Action, Desired, State, Verb
from lakehouse_dagster.streams.health import Health
from lakehouse_dagster.streams.memory import Declared, Event, EventKind, Memory
from tests.unit.streams import fakes
from tests.unit.streams.fakes import World


@dataclass
class Acts:
    """What was asked of `streams.act`, and what it answers."""

    asked: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    answer: Outcome | Exception = field(
        default_factory=lambda: Outcome("lake", Action(Verb.NOTHING, "running"), "running")
    )

    def of(self, name: str) -> Callable[..., Outcome]:
        def ask(contract: Any, stream: Any, clients: Any, *more: Any, log: Any, **named: Any) -> Outcome:
            self.asked.append((name, stream.name, {**named, **({"target": more[0]} if more else {})}))
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

        return ask


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(commands, "_Source", lambda: fakes.Source())
    monkeypatch.setattr(commands, "StreamStore", fakes.FakeStore)
    monkeypatch.setattr(store_module, "StreamStore", fakes.FakeStore)
    monkeypatch.setattr(samples_module, "SampleStore", fakes.FakeSamples)
    monkeypatch.setattr(observing, "observe", fakes.observe)
    monkeypatch.setenv("COLUMNS", "200")
    return fakes.fresh_world()


@pytest.fixture(autouse=True)
def acts(monkeypatch: pytest.MonkeyPatch) -> Acts:
    found = Acts()
    for name in ("reconcile", "pause", "resume", "upgrade", "rewind"):
        monkeypatch.setattr(act, name, found.of(name))
    return found


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, ["streams", *arguments])


def outcome(verb: Verb, state: str, reason: str = "because", **more: Any) -> Outcome:
    return Outcome("lake", Action(verb, reason), state, **more)


# --- list -----------------------------------------------------------------------------------------


def test_list_shows_every_stream_and_is_content(world: World) -> None:
    done = run("list")
    assert done.exit_code == 0, done.output
    for stream in ("connector", "lake", "serving"):
        assert f"flights/{stream}" in done.output


def test_list_tells_what_does_not_run_and_exits_1(world: World) -> None:
    world.facts["lake"] = {"state": State.FAILED, "detail": "OutOfMemory"}
    world.memory["lake"] = Memory(down_since=datetime.now(UTC) - timedelta(seconds=33))
    done = run("list", "flights")
    assert done.exit_code == 1
    assert "OutOfMemory" in done.output
    assert "33 s" in done.output or "34 s" in done.output


def test_list_json_has_every_figure(world: World) -> None:
    world.health["lake"] = Health(
        job_id="j1",
        running_spec="s1",
        checkpoint="s3://c/chk-1",
        checkpoint_age_seconds=3.14,
        restarts=2,
        read=90,
        available=100,
        lag_records=10,
        slots_free=1,
        slots_total=8,
    )
    world.samples["lake"] = (fakes.Sample(int(datetime.now(UTC).timestamp()) - 20, 90),)
    rows = {row["stream"]: row for row in json.loads(run("list", "--json").stdout)}
    lake = rows["lake"]
    expected = {
        "pipeline": "flights",
        "engine_name": "flights-lake",
        "desired": "running",
        "state": "running",
        "rule": "running",
        "reason": "running",
        "down_seconds": None,
        "checkpoint_age_seconds": 3.1,
        "lag_records": 10,
        "lag_at_least": False,
        "restarts": 2,
        "slots_free": 1,
        "slots_total": 8,
        "running_spec": "s1",
        "bad": False,
    }
    assert {name: lake[name] for name in expected} == expected
    assert 19 <= lake["lag_seconds"] <= 23


def test_a_paused_stream_is_no_failure(world: World) -> None:
    world.facts["lake"] = {"state": State.ABSENT}
    world.memory["lake"] = Memory(
        declared=Declared(Desired.PAUSED, "ann", "tea"), down_since=datetime.now(UTC)
    )
    done = run("list", "--json")
    assert done.exit_code == 0
    lake = next(row for row in json.loads(done.stdout) if row["stream"] == "lake")
    assert (lake["state"], lake["desired"], lake["declared_reason"]) == ("paused", "paused", "tea")
    assert lake["down_since"] is None


def test_what_cannot_be_asked_is_told_and_exits_1(world: World) -> None:
    world.raises["serving"] = EngineUnavailable("flink", "127.0.0.1:1", cause="refused")
    done = run("list", "--json")
    assert done.exit_code == 1
    serving = next(row for row in json.loads(done.stdout) if row["stream"] == "serving")
    assert serving["state"] == "unknown"
    assert "lakehouse up flink" in serving["reason"]


def test_without_postgres_it_fails_with_the_fix(world: World) -> None:
    world.postgres_away = True
    for arguments in (["list"], ["history"]):
        done = run(*arguments)
        assert done.exit_code == 1
        assert "lakehouse up postgres" in done.output


# --- history --------------------------------------------------------------------------------------


def test_history_shows_the_newest_last(world: World) -> None:
    store = fakes.FakeStore(None)
    for number in range(5):
        store.record(Event("flights", "lake", EventKind.STOP, reason=f"stop {number}", actor="ann"))
    store.record(Event("flights", "serving", EventKind.START, reason="boom", seconds_down=12.5, ok=False))
    done = run("history", "flights", "--limit", "3")
    assert done.exit_code == 0
    assert "stop 2" not in done.output
    assert done.output.index("stop 3") < done.output.index("stop 4") < done.output.index("start failed: boom")
    rows = json.loads(run("history", "--stream", "serving", "--json", "flights").stdout)
    assert [(row["kind"], row["ok"], row["seconds_down"]) for row in rows] == [("start", False, 12.5)]


# --- doing things ---------------------------------------------------------------------------------


def test_reconcile_looks_after_all_streams_or_one(acts: Acts) -> None:
    assert run("reconcile", "flights").exit_code == 0
    assert [stream for _, stream, _ in acts.asked] == ["connector", "lake", "serving"]
    acts.asked.clear()
    acts.answer = outcome(Verb.START, "running")
    assert run("reconcile", "flights", "lake", "--savepoint", "s3://mine").exit_code == 0
    [(_, stream, named)] = acts.asked
    assert (stream, named["savepoint"]) == ("lake", "s3://mine")


@pytest.mark.parametrize(
    ("command", "answer", "code"),
    [
        ("reconcile", outcome(Verb.START, "running"), 0),
        ("reconcile", outcome(Verb.HALT, "absent"), 1),
        ("reconcile", outcome(Verb.WAIT, "absent"), 1),
        ("reconcile", outcome(Verb.START, "failed", detail="boom"), 1),
        ("pause", outcome(Verb.STOP, "absent"), 0),
        ("pause", outcome(Verb.WAIT, "running"), 1),
        ("resume", outcome(Verb.START, "running"), 0),
        ("resume", outcome(Verb.HALT, "absent"), 1),
        ("upgrade", outcome(Verb.UPGRADE, "running"), 0),
        ("upgrade", outcome(Verb.NOTHING, "running"), 1),
        ("upgrade", EngineError("flink", "boom"), 1),
    ],
)
def test_exit_codes_tell_whether_it_was_done(
    acts: Acts, command: str, answer: Outcome | Exception, code: int
) -> None:
    acts.answer = answer
    done = run(command, "flights", "lake")
    assert done.exit_code == code, done.output
    words = str(answer) if isinstance(answer, Exception) else answer.detail or answer.action.reason
    assert words in done.output


def test_whoever_asks_is_named(acts: Acts) -> None:
    acts.answer = outcome(Verb.STOP, "absent")
    assert run("pause", "flights", "serving", "--reason", "moving house").exit_code == 0
    [(name, stream, named)] = acts.asked
    assert (name, stream, named["reason"]) == ("pause", "serving", "moving house")
    assert named["actor"].endswith("(lakehouse streams)")


@pytest.mark.parametrize(
    ("arguments", "target"),
    [
        (["--earliest"], Earliest()),
        (["--time", "2026-01-31T12:00:00"], AtTime(datetime(2026, 1, 31, 12, tzinfo=UTC))),
        (
            ["--offset", "flights.airline.flights:0=4", "--offset", "flights.airline.planes:0=5"],
            AtOffsets({"flights.airline.flights:0": 4, "flights.airline.planes:0": 5}),
        ),
    ],
)
def test_a_rewind_goes_where_it_was_told(acts: Acts, arguments: list[str], target: object) -> None:
    acts.answer = outcome(Verb.RESTART, "running")
    done = run("rewind", "flights", "lake", *arguments)
    assert done.exit_code == 0, done.output
    assert acts.asked[0][2]["target"] == target


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["pause", "flightz", "lake"], "there is no pipeline"),
        (["pause", "flights", "lak"], "no stream 'lak'; it has connector, lake, serving"),
        (["history", "flights", "--stream", "lak"], "no stream 'lak'"),
        (["reconcile", "flights", "--savepoint", "s3://x"], "name it"),
        (["rewind", "flights", "lake"], "say where to"),
        (["rewind", "flights", "lake", "--earliest", "--time", "2026-01-01"], "say where to"),
        (["rewind", "flights", "lake", "--time", "noon"], "no ISO 8601 time"),
        (["rewind", "flights", "lake", "--offset", "weather=3"], "topic:partition"),
        (["rewind", "flights", "lake", "--offset", "weather:0=3"], "does not read weather:0"),
        (["resnapshot", "flights", "weather", "--where", " "], "condition is empty"),
        (["resnapshot", "flights", "nothing"], "no table nothing"),
        (["resnapshot", "flights"], "tables"),
        (["repair", "flights", "nothing"], "no table nothing"),
    ],
)
def test_bad_input_exits_2_and_does_nothing(acts: Acts, arguments: list[str], part: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    assert part in " ".join(done.output.split())
    assert acts.asked == []


def test_what_act_refuses_is_bad_input(acts: Acts) -> None:
    acts.answer = ValueError("a connector is not set back")
    done = run("rewind", "flights", "connector", "--earliest")
    assert done.exit_code == 2
    assert "a connector is not set back" in done.output


def test_resnapshot_and_repair(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def resnapshot(contract: Any, clients: Any, tables: Any, *, condition: Any, log: Any, **_: Any) -> Any:
        asked.append((list(tables), condition))
        return resnapshot_module.Resnapshot(tuple(tables), 1234, 5.6)

    def repair(contract: Any, clients: Any, store: Any, *, tables: Any, log: Any, actor: str) -> Any:
        asked.append((tables, actor.endswith("(lakehouse streams)")))
        return "weather: no row differs"

    monkeypatch.setattr(resnapshot_module, "resnapshot", resnapshot)
    monkeypatch.setattr(repair_module, "repair", repair)
    done = run("resnapshot", "flights", "weather", "planes", "--where", "id > 5")
    assert done.exit_code == 0, done.output
    assert "1,234 row(s) of weather, planes in 5.6 s" in done.output
    done = run("repair", "flights")
    assert done.exit_code == 0, done.output
    assert "no row differs" in done.output
    assert asked == [(["weather", "planes"], "id > 5"), (None, True)]
