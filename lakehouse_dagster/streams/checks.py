"""The checks of the streams' assets: evaluated by the sensor, and by hand as a job."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from lakehouse_dagster.contract.applied import current
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.errors import ContractError
from lakehouse_dagster.engines.clients import ClientSource
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.layers import keys
from lakehouse_dagster.streams.assets import Stream, streams_of
from lakehouse_dagster.streams.decision import LOOP_RESTARTS, Desired, Kind, State
from lakehouse_dagster.streams.events import Vital, known
from lakehouse_dagster.streams.lag import Lag
from lakehouse_dagster.streams.repair_offer import repair_offer
from lakehouse_dagster.streams.samples import present_lags
from lakehouse_dagster.streams.survey import Look, survey

OVERDUE_INTERVALS = 5
"""A checkpoint may be this many intervals old, and at least ``OVERDUE_SECONDS``."""
OVERDUE_SECONDS = 60.0
LAG_WARN_SECONDS = 60.0
LAG_ERROR_SECONDS = 600.0
OPEN_CIRCUITS = frozenset({"circuit open", "crash loop, circuit open", "outdated, circuit open"})

DESCRIPTIONS = {
    "running": "The stream runs, or an operator has paused it.",
    "checkpoint_age": f"Its newest checkpoint is at most {OVERDUE_INTERVALS} checkpoint intervals old.",
    "restarts": "Flink has not had to restart the job since its newest checkpoint.",
    "lag": f"It is less than {LAG_WARN_SECONDS:.0f} s behind what it reads.",
    "slots": "Flink has the slots that the job needs.",
    "no_gap": "No change is lost to it; if one is, the check names it and the job that repairs it.",
    "circuit": "It is not given up after several starts that did not last.",
}
_OF_JOBS_ONLY = frozenset({"checkpoint_age", "restarts", "slots"})


@dataclass(frozen=True)
class Outcome:
    """The result of one check; ``known`` is false when there was nothing to judge by."""

    stream: Stream
    check: str
    passed: bool
    said: str
    severe: bool = True
    metadata: Mapping[str, Any] = field(default_factory=dict)
    known: bool = True

    @property
    def name(self) -> str:
        """``<stream>/<check>``."""
        return f"{self.stream.name}/{self.check}"


def check_names(stream: Stream) -> tuple[str, ...]:
    """Return the names of the checks of ``stream``."""
    if stream.kind is Kind.FLINK_JOB:
        return tuple(DESCRIPTIONS)
    return tuple(name for name in DESCRIPTIONS if name not in _OF_JOBS_ONLY)


def outcomes(contract: Contract, look: Look, lag: Lag | None) -> list[Outcome]:
    """Judge one look at a stream."""
    judges = {
        "running": lambda: _running(look),
        "checkpoint_age": lambda: _checkpoint_age(contract, look),
        "restarts": lambda: _restarts(look),
        "lag": lambda: _lag(look, lag),
        "slots": lambda: _slots(look),
        "no_gap": lambda: _no_gap(contract, look),
        "circuit": lambda: _circuit(look),
    }
    return [judges[name]() for name in check_names(look.stream)]


def _unknown(look: Look, check: str, why: str = "") -> Outcome:
    said = f"not known: {why or look.action.reason}"
    return Outcome(look.stream, check, False, said, severe=False, known=False)


def _running(look: Look) -> Outcome:
    said, state = look.action.reason, look.facts.state
    metadata = known(
        {
            "state": None if look.unknown else str(state),
            "rule": look.action.rule,
            "down_since": dg.MetadataValue.timestamp(look.memory.down_since.timestamp())
            if look.memory.down_since
            else None,
            **Vital(look.health).metadata(),
        }
    )
    if look.facts.busy:
        return _unknown(look, "running")
    if look.facts.unreachable is not None:
        return Outcome(look.stream, "running", False, said, severe=False, metadata=metadata)
    if look.action.rule == "paused":
        declared = look.memory.declared
        said = f"paused by {declared.by}" + (f": {declared.reason}" if declared.reason else "")
        return Outcome(look.stream, "running", True, said, metadata=metadata)
    passed = state is State.RUNNING and not look.facts.looping
    # What the engine or the sensor will bring up by itself is a warning.
    severe = not (state.alive or look.action.acts)
    return Outcome(look.stream, "running", passed, said, severe=severe, metadata=metadata)


def _checkpoint_age(contract: Contract, look: Look) -> Outcome:
    age = look.health.checkpoint_age_seconds
    if look.facts.desired is Desired.PAUSED or look.unknown or look.facts.state is not State.RUNNING:
        return _unknown(look, "checkpoint_age", "" if look.unknown else f"the job is {look.facts.state}")
    stuck = look.facts.seconds_without_progress
    if age is None and stuck is None:
        return _unknown(look, "checkpoint_age", "no checkpoint has been completed yet")
    interval = look.health.checkpoint_interval_seconds or contract.pipeline.checkpoint_interval_seconds
    limit = max(OVERDUE_SECONDS, OVERDUE_INTERVALS * interval)
    oldest = age if age is not None else stuck or 0.0
    said = f"{oldest:.0f} s since the newest checkpoint, at most {limit:.0f} s is well"
    metadata = known(
        {"checkpoint_age_seconds": round(oldest, 1), "newest_checkpoint": look.health.checkpoint}
    )
    return Outcome(look.stream, "checkpoint_age", oldest <= limit, said, metadata=metadata)


def _restarts(look: Look) -> Outcome:
    if look.unknown or not look.facts.state.alive:
        return _unknown(look, "restarts", "" if look.unknown else f"the job is {look.facts.state}")
    restarts = look.facts.restarts
    said = f"{restarts} restart(s) since its newest checkpoint"
    if restarts and look.facts.detail:
        said += f": {look.facts.detail}"
    metadata = known({"restarts": look.health.restarts, "restarts_since_checkpoint": restarts})
    severe = restarts >= LOOP_RESTARTS
    return Outcome(look.stream, "restarts", restarts == 0, said, severe=severe, metadata=metadata)


def _lag(look: Look, lag: Lag | None) -> Outcome:
    if lag is None or look.unknown:
        return _unknown(look, "lag", "" if look.unknown else "its positions are not known")
    said = f"{lag} behind"
    if look.health.lag_records is not None:
        said += f", {look.health.lag_records:,} record(s)"
    metadata = known({"lag_seconds": round(lag.seconds, 1), "lag_records": look.health.lag_records})
    severe = lag.seconds >= LAG_ERROR_SECONDS
    return Outcome(look.stream, "lag", lag.seconds < LAG_WARN_SECONDS, said, severe=severe, metadata=metadata)


def _slots(look: Look) -> Outcome:
    free, total = look.health.slots_free, look.health.slots_total
    if look.facts.desired is Desired.PAUSED:
        return _unknown(look, "slots", "a paused job needs none")
    if free is None or total is None or look.unknown:
        return _unknown(look, "slots", "" if look.unknown else "Flink did not tell")
    passed = total > 0 and (free > 0 or look.facts.state is State.RUNNING)
    said = f"{free} of {total} slot(s) free"
    if not passed:
        said += "; `lakehouse status` tells about the TaskManager"
    metadata = {"slots_free": free, "slots_total": total}
    return Outcome(look.stream, "slots", passed, said, metadata=metadata)


def _no_gap(contract: Contract, look: Look) -> Outcome:
    gap = look.facts.gap or "; ".join(gap.description for gap in look.memory.gaps)
    if not gap:
        if look.unknown:
            return _unknown(look, "no_gap")
        return Outcome(look.stream, "no_gap", True, "no change is lost")
    seen = look.seen.found_gaps if look.seen else ()
    tables = {table for found in look.memory.gaps for table in found.tables}
    tables |= {table for found in seen for table in found.tables}
    offer = repair_offer(contract, sorted(tables))
    metadata: dict[str, Any] = {
        "gap": gap,
        "tables": ", ".join(sorted(tables)) or "all",
        "repair": dg.MetadataValue.md(offer.markdown),
        "launchpad": dg.MetadataValue.url(offer.launchpad),
    }
    said = f"changes are lost: {gap}. The job `{offer.job}` repairs it, see `repair`"
    return Outcome(look.stream, "no_gap", False, said, metadata=metadata)


def _circuit(look: Look) -> Outcome:
    if look.unknown:
        return _unknown(look, "circuit")
    metadata = {"starts_that_did_not_last": look.facts.failed_starts}
    if look.action.rule in OPEN_CIRCUITS:
        return Outcome(look.stream, "circuit", False, look.action.reason, metadata=metadata)
    return Outcome(look.stream, "circuit", True, "closed", metadata=metadata)


def evaluation(contract: Contract, outcome: Outcome) -> dg.AssetCheckEvaluation:
    """Return the outcome as what a sensor reports."""
    return dg.AssetCheckEvaluation(
        asset_key=keys.stream(contract.name, outcome.stream.name),
        check_name=outcome.check,
        passed=outcome.passed,
        severity=_severity(outcome),
        description=outcome.said,
        metadata=outcome.metadata,
    )


def _severity(outcome: Outcome) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.ERROR if outcome.severe else dg.AssetCheckSeverity.WARN


def check_specs(contract: Contract) -> Sequence[dg.AssetCheckSpec]:
    """Return the checks of all streams of ``contract``."""
    return [
        dg.AssetCheckSpec(
            name=name,
            asset=keys.stream(contract.name, stream.name),
            description=DESCRIPTIONS[name],
        )
        for stream in streams_of(contract)
        for name in check_names(stream)
    ]


def stream_checks(contract: Contract) -> dg.AssetChecksDefinition:
    """Return the checks as they can be run by hand; otherwise the sensor evaluates them."""

    @dg.multi_asset_check(
        name=f"{contract.name}_stream_checks",
        specs=check_specs(contract),
        description=f"Looks at the streams of `{contract.name}` and judges them, as the sensor does.",
        can_subset=True,
    )
    def check(
        context: dg.AssetCheckExecutionContext, lakehouse: dg.ResourceParam[ClientSource]
    ) -> Iterator[dg.AssetCheckResult]:
        from lakehouse_dagster.streams.store import StreamStore

        names = [stream.name for stream in streams_of(contract)]
        try:
            shape = current(contract)
        except ContractError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        with lakehouse.clients() as clients:
            try:
                memories = StreamStore(clients.postgres).memory(contract.name, names)
            except EngineError as error:
                context.log.warning(f"nothing is remembered: {error}")
                memories = {}
            looks = survey(shape, lakehouse, memories, timeout=10.0, patience=60.0)
            try:
                behind = present_lags(clients.postgres, contract.name, looks)
            except EngineError as error:
                context.log.warning(f"how far the streams are behind is not known: {error}")
                behind = {}
        selected = context.selected_asset_check_keys
        for look in looks:
            for outcome in outcomes(shape, look, behind.get(look.stream.name)):
                asset = keys.stream(contract.name, outcome.stream.name)
                if dg.AssetCheckKey(asset, outcome.check) in selected:
                    yield dg.AssetCheckResult(
                        asset_key=asset,
                        check_name=outcome.check,
                        passed=outcome.passed,
                        severity=_severity(outcome),
                        description=outcome.said,
                        metadata=outcome.metadata,
                    )

    return check
