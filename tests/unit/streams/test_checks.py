"""The checks of the streams: judged from one look, and defined so that people can run them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest
import yaml

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.streams import checks
from lakehouse_dagster.streams import observe as observing
from lakehouse_dagster.streams import samples as samples_module
from lakehouse_dagster.streams import store as store_module
from lakehouse_dagster.streams.assets import stream_of, streams_of
from lakehouse_dagster.streams.checks import Outcome, check_names, outcomes, stream_checks
from lakehouse_dagster.streams.decision import (
    BREAKER_STARTS,
    LOOP_RESTARTS,
    Desired,
    Facts,
    State,
    decide,
)
from lakehouse_dagster.streams.health import Health
from lakehouse_dagster.streams.jobs import stream_jobs
from lakehouse_dagster.streams.lag import Lag
from lakehouse_dagster.streams.memory import Declared, Gap, Memory
from lakehouse_dagster.streams.repair_offer import repair_offer
from lakehouse_dagster.streams.survey import Look
from tests.unit.streams import fakes

WELL = Health(
    checkpoint="s3://c/chk-8",
    checkpoint_age_seconds=4.0,
    checkpoint_interval_seconds=5.0,
    restarts=0,
    lag_records=0,
    slots_free=0,
    slots_total=8,
)


def judged(
    contract: Contract,
    *,
    stream: str = "lake",
    lag: Lag | None = Lag(0.0),  # noqa: B008 - frozen
    health: Health = WELL,
    memory: Memory = Memory(),  # noqa: B008 - frozen
    **facts: Any,
) -> dict[str, Outcome]:
    """Outcomes by check, of a stream that is well but for ``facts``."""
    of = stream_of(contract, stream)
    known: dict[str, Any] = {"state": State.RUNNING, "living": 1, "desired": memory.declared.desired}
    seen = Facts(stream, of.kind, **{**known, **facts})
    look = Look(of, memory, seen, decide(seen), health)
    return {outcome.check: outcome for outcome in outcomes(contract, look, lag)}


def failing(found: dict[str, Outcome]) -> set[str]:
    return {name for name, outcome in found.items() if outcome.known and not outcome.passed}


def test_a_stream_that_is_well_passes_everything(contract: Contract) -> None:
    for stream in streams_of(contract):
        found = judged(contract, stream=stream.name)
        assert failing(found) == set()
        assert all(outcome.known and outcome.said for outcome in found.values())


def test_a_connector_is_not_judged_by_what_it_does_not_have(contract: Contract) -> None:
    assert set(judged(contract, stream="connector")) == {"running", "lag", "no_gap", "circuit"}


def test_what_comes_back_by_itself_is_a_warning_and_what_needs_a_person_an_error(contract: Contract) -> None:
    coming = judged(contract, state=State.RESTARTING)["running"]
    assert (coming.passed, coming.severe) == (False, False)
    dead = judged(contract, state=State.FAILED, detail="boom")["running"]
    assert (dead.passed, dead.severe) == (False, False), "it is about to be started"
    halted = judged(contract, state=State.ABSENT, gap="weather: gone")["running"]
    assert (halted.passed, halted.severe) == (False, True)
    assert "weather: gone" in halted.said


def test_a_paused_stream_passes_and_tells_who_wanted_it(contract: Contract) -> None:
    memory = Memory(declared=Declared(Desired.PAUSED, "ann", "moving house", datetime.now(UTC)))
    found = judged(contract, state=State.ABSENT, memory=memory)
    assert found["running"].passed
    assert found["running"].said == "paused by ann: moving house"
    assert failing(found) == set()


def test_what_cannot_be_asked_is_not_judged_but_for_running(contract: Contract) -> None:
    found = judged(contract, unreachable="flink: no answer", health=Health())
    assert failing(found) == {"running"}
    assert found["running"].said == "flink: no answer"
    assert not any(outcome.known for name, outcome in found.items() if name != "running")
    assert failing(judged(contract, busy=True, state=State.ABSENT)) == set()


@pytest.mark.parametrize(("age", "passed"), [(59.0, True), (61.0, False), (None, None)])
def test_a_checkpoint_may_be_a_minute_old(contract: Contract, age: float | None, passed: bool | None) -> None:
    found = judged(contract, health=Health(checkpoint_age_seconds=age))["checkpoint_age"]
    assert (found.passed if found.known else None) == passed


def test_a_long_interval_allows_old_checkpoints(contract: Contract) -> None:
    health = Health(checkpoint_age_seconds=500.0, checkpoint_interval_seconds=120.0)
    assert judged(contract, health=health)["checkpoint_age"].passed


def test_a_job_that_never_completed_a_checkpoint_is_judged_by_its_age(contract: Contract) -> None:
    found = judged(contract, health=Health(), seconds_without_progress=100.0)["checkpoint_age"]
    assert (found.known, found.passed) == (True, False)


def test_restarts_are_told_with_their_cause(contract: Contract) -> None:
    found = judged(contract, restarts=2, detail="connection reset")["restarts"]
    assert (found.passed, found.severe) == (False, False)
    assert "2 restart(s)" in found.said
    assert "connection reset" in found.said
    looping = judged(contract, restarts=LOOP_RESTARTS, seconds_without_progress=99.0)
    assert looping["restarts"].severe
    assert not looping["running"].passed


@pytest.mark.parametrize(
    ("seconds", "passed", "severe"), [(59.0, True, False), (60.0, False, False), (600.0, False, True)]
)
def test_lag(contract: Contract, seconds: float, passed: bool, severe: bool) -> None:
    found = judged(contract, lag=Lag(seconds))["lag"]
    assert (found.passed, found.severe) == (passed, severe)
    assert not judged(contract, lag=None)["lag"].known


def test_slots_matter_to_a_job_that_does_not_run(contract: Contract) -> None:
    assert judged(contract, state=State.RUNNING)["slots"].passed, "it has its slots"
    assert not judged(contract, state=State.ABSENT)["slots"].passed
    away = Health(slots_free=0, slots_total=0)
    assert not judged(contract, health=away, state=State.RUNNING)["slots"].passed
    assert judged(contract, health=Health(slots_free=1, slots_total=8), state=State.ABSENT)["slots"].passed


def test_an_open_circuit_is_told(contract: Contract) -> None:
    broken = {"failed_starts": BREAKER_STARTS, "seconds_since_start": 400.0}
    found = judged(contract, state=State.FAILED, **broken)["circuit"]
    assert (found.passed, found.severe) == (False, True)
    assert "circuit breaker is open" in found.said
    looping = {"restarts": LOOP_RESTARTS, "seconds_without_progress": 99.0}
    for more in (looping, {"running_spec": "old", "spec": "new"}):
        assert not judged(contract, **broken, **more)["circuit"].passed


def test_a_gap_is_named_with_the_job_that_repairs_it_and_its_configuration(contract: Contract) -> None:
    gap = Gap(
        1, "flights", "lake", ("weather", "flights"), "weather: records 5 to 9 are gone", datetime.now(UTC)
    )
    found = judged(contract, state=State.ABSENT, memory=Memory(gaps=(gap,)), gap=gap.description)["no_gap"]
    assert (found.known, found.passed, found.severe) == (True, False, True)
    assert "weather: records 5 to 9 are gone" in found.said
    assert "flights_resnapshot" in found.said
    markdown = found.metadata["repair"].value
    assert "lakehouse streams repair flights flights weather" in markdown
    config = yaml.safe_load(markdown.split("```yaml\n")[1].split("```")[0])
    assert config == {
        "ops": {"flights_resnapshot_op": {"config": {"repair": True, "tables": ["flights", "weather"]}}}
    }


def test_an_open_gap_is_told_while_the_engine_is_away(contract: Contract) -> None:
    gap = Gap(1, "flights", "lake", ("weather",), "weather: gone", datetime.now(UTC))
    found = judged(contract, unreachable="flink: no answer", memory=Memory(gaps=(gap,)))
    assert failing(found) == {"running", "no_gap"}


@pytest.mark.parametrize("tables", [[], ["weather"]])
def test_the_offered_configuration_is_one_that_the_job_takes(contract: Contract, tables: list[str]) -> None:
    offer = repair_offer(contract, tables)
    [job] = [job for job in stream_jobs(contract) if job.name == offer.job]
    assert dg.validate_run_config(job, yaml.safe_load(offer.run_config))


# --- as Dagster runs them -------------------------------------------------------------------------


def test_the_same_checks_run_by_hand(contract: Contract, monkeypatch: pytest.MonkeyPatch) -> None:
    world = fakes.fresh_world()
    monkeypatch.setattr(store_module, "StreamStore", fakes.FakeStore)
    monkeypatch.setattr(samples_module, "SampleStore", fakes.FakeSamples)
    monkeypatch.setattr(observing, "observe", fakes.observe)
    world.facts["lake"] = {"state": State.FAILED}
    definitions = dg.Definitions(
        asset_checks=[stream_checks(contract)], resources={"lakehouse": fakes.Source()}
    )
    job = definitions.resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        done = job.execute_in_process(instance=instance)
        assert done.success
        found = {f"{e.asset_key.path[-1]}/{e.check_name}": e for e in done.get_asset_check_evaluations()}
        wanted = {f"{s.name}/{name}" for s in streams_of(contract) for name in check_names(s)}
        assert set(found) == wanted
        assert not found["lake/running"].passed
        assert found["serving/running"].passed
        # What there was nothing to judge by is no success, but no alarm either.
        unknown = found["lake/checkpoint_age"]
        assert not unknown.passed
        assert unknown.severity is dg.AssetCheckSeverity.WARN
        assert (unknown.description or "").startswith("not known")


def test_every_check_says_what_it_checks(contract: Contract) -> None:
    for spec in checks.check_specs(contract):
        assert spec.description
