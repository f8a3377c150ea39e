"""The jobs of the streams: what they may be asked, what they ask, and when a run fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.streams import act
from lakehouse_dagster.streams import resnapshot as resnapshot_module
from lakehouse_dagster.streams import store as store_module
from lakehouse_dagster.streams.act import AtOffsets, AtTime, Earliest, Outcome
from lakehouse_dagster.streams.decision import Action, Verb
from lakehouse_dagster.streams.job_config import check_tables, check_topics, parse_offset, parse_time
from lakehouse_dagster.streams.jobs import stream_jobs
from lakehouse_dagster.streams.runs import reconcile_request
from lakehouse_dagster.streams.survey import look
from tests.unit.streams import fakes
from tests.unit.streams.fakes import World

NAMES = ["reconcile_stream", "pause_stream", "resume_stream", "upgrade_stream", "rewind_stream", "resnapshot"]


@dataclass
class Acts:
    """What was asked of `streams.act`, and what it answers."""

    asked: list[tuple[str, str, dict[str, Any]]]
    answer: Outcome | Exception

    def __call__(self, name: str) -> Any:
        def ask(contract: Contract, stream: Any, clients: Any, *more: Any, log: Any, **named: Any) -> Outcome:
            log(f"{name} of {stream.name}")
            self.asked.append((name, stream.name, {**named, **({"target": more[0]} if more else {})}))
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

        return ask


def outcome(verb: Verb, state: str = "running", reason: str = "because", **more: Any) -> Outcome:
    return Outcome("lake", Action(verb, reason), state, **more)


@pytest.fixture
def acts(monkeypatch: pytest.MonkeyPatch) -> Acts:
    found = Acts([], outcome(Verb.NOTHING))
    for name in ("reconcile", "pause", "resume", "upgrade", "rewind"):
        monkeypatch.setattr(act, name, found(name))
    return found


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(store_module, "StreamStore", fakes.FakeStore)
    return fakes.fresh_world()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


@dataclass
class Runner:
    contract: Contract
    instance: dg.DagsterInstance

    def run(self, name: str, **config: Any) -> tuple[bool, str]:
        """Run a job; gives whether it succeeded, and its whole log."""
        definitions = dg.Definitions(jobs=stream_jobs(self.contract), resources={"lakehouse": fakes.Source()})
        job = definitions.resolve_job_def(f"flights_{name}")
        done = job.execute_in_process(
            run_config={"ops": {f"flights_{name}_op": {"config": config}}},
            instance=self.instance,
            raise_on_error=False,
        )
        entries = self.instance.all_logs(done.run_id)
        failures = [
            event.step_failure_data.error_display_string for event in done.all_events if event.is_step_failure
        ]
        return done.success, "\n".join([entry.user_message for entry in entries] + failures)


@pytest.fixture
def runner(contract: Contract, instance: dg.DagsterInstance) -> Runner:
    return Runner(contract, instance)


# --- what every job tells -------------------------------------------------------------------------


def test_every_job_tells_an_operator_what_it_does(contract: Contract) -> None:
    jobs = {job.name: job for job in stream_jobs(contract)}
    assert list(jobs) == [f"flights_{name}" for name in NAMES]
    for job in jobs.values():
        assert job.description
        assert len(job.description) > 60
        assert job.tags["pipeline"] == "flights"
        assert job.tags["owner"] == contract.owner
        assert int(job.tags["dagster/max_runtime"]) > 0, "a dead run must not keep its place in the queue"


def test_the_sensors_request_is_one_that_the_job_takes(contract: Contract, world: World) -> None:
    from lakehouse_dagster.streams.assets import streams_of

    [job] = [job for job in stream_jobs(contract) if job.name == "flights_reconcile_stream"]
    for stream in streams_of(contract):
        seen = look(contract, stream, fakes.Source(), fakes.Memory(), timeout=1.0)
        assert dg.validate_run_config(job, reconcile_request(contract, seen).run_config)


# --- what is asked --------------------------------------------------------------------------------


def test_reconcile_asks_in_the_runs_name_and_logs(runner: Runner, acts: Acts) -> None:
    acts.answer = outcome(Verb.START, checkpoint="s3://c/chk-4", seconds=12.3)
    done, log = runner.run("reconcile_stream", stream="lake", savepoint="s3://mine")
    assert done
    [(name, stream, named)] = acts.asked
    assert (name, stream, named["savepoint"]) == ("reconcile", "lake", "s3://mine")
    assert named["actor"].startswith("dagster run ")
    assert "reconcile of lake" in log
    assert "start from s3://c/chk-4, now running after 12.3 s: because" in log


def test_a_reconcile_that_finds_nothing_to_do_is_no_failure(runner: Runner, acts: Acts) -> None:
    for verb in (Verb.WAIT, Verb.HALT, Verb.NOTHING):
        acts.answer = outcome(verb, "absent", "kafka: no answer")
        done, log = runner.run("reconcile_stream", stream="lake")
        assert done
        assert "kafka: no answer" in log


@pytest.mark.parametrize("name", NAMES[:4])
def test_an_engines_error_fails_the_run_with_its_words(runner: Runner, acts: Acts, name: str) -> None:
    acts.answer = EngineError("flink", "job flights-lake failed after its start: OutOfMemory")
    done, log = runner.run(name, stream="lake")
    assert not done
    assert "failed after its start: OutOfMemory" in log


@pytest.mark.parametrize(
    ("name", "answer", "done"),
    [
        ("pause_stream", outcome(Verb.STOP, "absent"), True),
        ("pause_stream", outcome(Verb.NOTHING, "absent"), True),
        ("pause_stream", outcome(Verb.WAIT, "running", "connect: no answer"), False),
        ("resume_stream", outcome(Verb.START), True),
        ("resume_stream", outcome(Verb.NOTHING), True),
        ("resume_stream", outcome(Verb.WAIT, "starting"), True),
        ("resume_stream", outcome(Verb.WAIT, "absent", "kafka: no answer"), False),
        ("resume_stream", outcome(Verb.HALT, "absent", "changes are lost"), False),
        ("resume_stream", outcome(Verb.START, "failed", detail="boom"), False),
        ("upgrade_stream", outcome(Verb.UPGRADE), True),
        ("upgrade_stream", outcome(Verb.NOTHING), False),
        ("upgrade_stream", outcome(Verb.WAIT, "running", "minio: no answer"), False),
        ("upgrade_stream", outcome(Verb.UPGRADE, "failed", detail="boom"), False),
        ("reconcile_stream", outcome(Verb.START, "failed", detail="boom"), False),
    ],
)
def test_a_run_fails_when_what_was_asked_was_not_done(
    runner: Runner, acts: Acts, name: str, answer: Outcome, done: bool
) -> None:
    acts.answer = answer
    succeeded, log = runner.run(name, stream="lake")
    assert succeeded == done
    if not done:
        assert (answer.detail or answer.action.reason) in log


def test_a_pause_carries_its_reason(runner: Runner, acts: Acts) -> None:
    acts.answer = outcome(Verb.STOP, "absent")
    assert runner.run("pause_stream", stream="serving", reason="moving house")[0]
    assert acts.asked[0][1:] == ("serving", {"actor": acts.asked[0][2]["actor"], "reason": "moving house"})


@pytest.mark.parametrize(
    ("config", "target"),
    [
        ({"to": "earliest"}, Earliest()),
        ({"to": "time", "time": "2026-01-31T12:00:00+01:00"}, AtTime(datetime(2026, 1, 31, 11, tzinfo=UTC))),
        ({"to": "time", "time": "2026-01-31"}, AtTime(datetime(2026, 1, 31, tzinfo=UTC))),
        (
            {"to": "offsets", "offsets": {"flights.airline.flights:0": 42}},
            AtOffsets({"flights.airline.flights:0": 42}),
        ),
    ],
)
def test_a_rewind_goes_where_it_was_told(
    runner: Runner, acts: Acts, config: dict[str, Any], target: object
) -> None:
    acts.answer = outcome(Verb.RESTART)
    done, log = runner.run("rewind_stream", stream="lake", **config)
    assert done, log
    assert acts.asked[0][2]["target"] == target


@pytest.mark.parametrize(
    ("name", "config", "part"),
    [
        ("pause_stream", {"stream": "lak"}, "stream"),
        ("pause_stream", {}, "stream"),
        ("rewind_stream", {"stream": "connector", "to": "earliest"}, "connector"),
        ("rewind_stream", {"stream": "lake", "to": "newest"}, "newest"),
    ],
)
def test_what_the_configuration_does_not_know_never_starts(
    runner: Runner, acts: Acts, name: str, config: dict[str, Any], part: str
) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError, match=part):
        runner.run(name, **config)
    assert acts.asked == []


@pytest.mark.parametrize(
    ("name", "config", "part"),
    [
        ("rewind_stream", {"to": "time"}, "`to: time` needs `time`"),
        ("rewind_stream", {"to": "time", "time": "yesterday"}, "no ISO 8601 time"),
        ("rewind_stream", {"to": "time", "time": "2999-01-01"}, "has not come yet"),
        ("rewind_stream", {"to": "offsets"}, "needs `offsets`"),
        ("rewind_stream", {"to": "earliest", "time": "2026-01-01"}, "`to` must be time"),
        ("rewind_stream", {"to": "earliest", "offsets": {"t:0": 1}}, "`to` must be offsets"),
        ("rewind_stream", {"to": "offsets", "offsets": {"flights": 1}}, "topic:partition"),
        ("rewind_stream", {"to": "offsets", "offsets": {"flights.airline.flights:0": -1}}, "negative"),
        ("rewind_stream", {"to": "offsets", "offsets": {"other.topic:0": 1}}, "does not read other.topic:0"),
        ("resnapshot", {"tables": ["flightz"]}, "no table flightz"),
        ("resnapshot", {}, "at least one table"),
        ("resnapshot", {"tables": ["flights"], "condition": " "}, "condition is empty"),
        ("resnapshot", {"tables": ["flights"], "repair": True, "condition": "id > 5"}, "leave the condition"),
    ],
)
def test_a_wrong_request_is_refused_in_words(
    runner: Runner, acts: Acts, name: str, config: dict[str, Any], part: str
) -> None:
    if name == "rewind_stream":
        config = {"stream": "lake", **config}
    done, log = runner.run(name, **config)
    assert not done
    assert part in log
    assert acts.asked == []


def test_what_act_refuses_fails_the_run_in_words(runner: Runner, acts: Acts) -> None:
    acts.answer = ValueError("offset 9 is ahead of what was read")
    done, log = runner.run(
        "rewind_stream", stream="lake", to="offsets", offsets={"flights.airline.flights:0": 9}
    )
    assert not done
    assert "offset 9 is ahead of what was read" in log


# --- re-snapshots ---------------------------------------------------------------------------------


def test_a_resnapshot_is_done_and_written_down(
    runner: Runner, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def resnapshot(contract: Any, clients: Any, tables: Any, *, condition: Any, log: Any, **_: Any) -> Any:
        asked.append((list(tables), condition))
        return resnapshot_module.Resnapshot(tuple(tables), 1234, 5.6)

    monkeypatch.setattr(resnapshot_module, "resnapshot", resnapshot)
    done, log = runner.run("resnapshot", tables=["weather"], condition="hour = 5")
    assert done, log
    assert asked == [(["weather"], "hour = 5")]
    assert "1,234 row(s) of weather in 5.6 s" in log
    [event] = world.rows
    assert (event.kind, event.stream, event.ok) == ("resnapshot", "connector", True)
    assert "weather where hour = 5: 1,234 row(s)" in event.reason


def test_a_resnapshot_that_fails_is_written_down_too(
    runner: Runner, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resnapshot(*_: Any, **__: Any) -> Any:
        raise EngineError("connect", "the signal was not answered")

    monkeypatch.setattr(resnapshot_module, "resnapshot", resnapshot)
    done, log = runner.run("resnapshot", tables=["weather"])
    assert not done
    assert "the signal was not answered" in log
    assert [(event.kind, event.ok) for event in world.rows] == [("resnapshot", False)]


# --- reading what people write --------------------------------------------------------------------


def test_times_without_a_zone_are_utc() -> None:
    assert parse_time("2026-01-31T12:00:00") == datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize("text", ["t:0", "t=5", "t:x=5", "t:0=-5", "t:0=", "=5", ":0=5"])
def test_offsets_that_are_none_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="such as"):
        parse_offset(text)


def test_offsets() -> None:
    assert parse_offset("flights.airline.flights:0=42") == ("flights.airline.flights:0", 42)


def test_topics_and_tables_are_the_pipelines(contract: Contract) -> None:
    check_topics(contract, "lake", {f"{contract.topic('weather')}:0": 1})
    with pytest.raises(ValueError, match="it reads"):
        check_topics(contract, "serving", {f"{contract.topic('weather')}:0": 1})
    check_tables(contract, ["weather"])
    with pytest.raises(ValueError, match="it has flights"):
        check_tables(contract, ["nothing"])
