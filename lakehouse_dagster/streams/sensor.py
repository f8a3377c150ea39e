"""The sensor ``<pipeline>_streams``: looks at the streams every few seconds, decides, remembers what changed,
and asks for a run where something is to be done.
"""

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import dagster as dg

from lakehouse_dagster.contract.applied import current
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.errors import ContractError
from lakehouse_dagster.engines.clients import Clients, ClientSource
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.lineage.streams import emit_streams
from lakehouse_dagster.streams import checks, events, runs
from lakehouse_dagster.streams.assets import streams_of
from lakehouse_dagster.streams.cursor import StreamCursor, Told
from lakehouse_dagster.streams.decision import Kind, Verb
from lakehouse_dagster.streams.evolve_store import SchemaStore
from lakehouse_dagster.streams.lag import Lag
from lakehouse_dagster.streams.notes import note_decision, note_landed, take_note
from lakehouse_dagster.streams.samples import SampleStore, lags, with_present
from lakehouse_dagster.streams.store import StreamStore
from lakehouse_dagster.streams.survey import Look, survey

TICK_SECONDS = 3
"""Dagster's daemon looks every five seconds which sensors are due: with exactly five, every other look would
be too early.
"""
TIMEOUT_SECONDS = 2.0
"""Deadline of a single request."""
PATIENCE_SECONDS = 10.0
"""And of looking at one stream, however many requests that takes."""
CHECK_AGAIN_SECONDS = 300
"""A check whose result stays the same is reported so often."""
FIRST_ROWS = 20
"""Rows of the history that become events when nothing is known of what was reported."""
MOST_ROWS = 100
"""Rows that become events in one tick; Dagster stores each by itself."""
ACTOR = "sensor"

T = TypeVar("T")
AnyEvent = events.AssetEvent | dg.AssetCheckEvaluation


def streams_sensor(contract: Contract, job: dg.JobDefinition) -> dg.SensorDefinition:
    """Return the sensor that keeps the streams of ``contract`` as declared, by asking for runs of ``job``."""

    @dg.sensor(
        name=f"{contract.name}_streams",
        job=job,
        description="Compares what should run with what runs and asks for a run where they differ; writes "
        "every change of mind into the streams' history and onto their assets, and judges their checks.",
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        tags={"pipeline": contract.name},
    )
    def watch(
        context: dg.SensorEvaluationContext, lakehouse: dg.ResourceParam[ClientSource]
    ) -> dg.SensorResult:
        cursor = StreamCursor.parse(context.cursor)
        try:
            shape = current(contract)
            with lakehouse.clients(timeout=TIMEOUT_SECONDS) as clients:
                tick = Tick(shape, lakehouse, clients, context.instance, cursor)
                return tick.result()
        except (EngineError, ContractError) as error:
            return dg.SensorResult(skip_reason=str(error), cursor=context.cursor)

    return watch


@dataclass
class Tick:
    """One tick: each step is tried, and what a step could not do is told beside what the others did."""

    contract: Contract
    lakehouse: ClientSource
    clients: Clients
    instance: dg.DagsterInstance
    cursor: StreamCursor
    now: float = field(default_factory=lambda: time.time())
    problems: list[str] = field(default_factory=list)
    found: list[AnyEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = StreamStore(self.clients.postgres)

    def result(self) -> dg.SensorResult:
        """Carry out the tick; raises nothing."""
        names = [stream.name for stream in streams_of(self.contract)]
        memories = self._try(lambda: self.store.memory(self.contract.name, names))
        if memories is None:
            # Without knowing what is wanted nothing may be decided.
            return self._answer([])
        looks = survey(
            self.contract, self.lakehouse, memories, timeout=TIMEOUT_SECONDS, patience=PATIENCE_SECONDS
        )
        for look in looks:
            self._try(partial(self._remember, look))
        asked = self._try(lambda: self._requests(looks)) or []
        vitals = self._judge(looks)
        self._try(lambda: self._report_history(vitals))
        return self._answer(asked, looks)

    def _try(self, step: Callable[[], T]) -> T | None:
        try:
            return step()
        except EngineError as error:
            self.problems.append(str(error))
        except Exception as error:  # the other steps must not suffer, and the place must be told
            place = traceback.extract_tb(error.__traceback__)[-1]
            self.problems.append(f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})")
        return None

    def _remember(self, look: Look) -> None:
        """Write what changed since the last look into the history."""
        # Late, because the database's client comes with it.
        from lakehouse_dagster.governance.hold import HoldStore
        from lakehouse_dagster.streams import landed

        if look.facts.busy:
            return  # whoever acts writes for itself
        if look.seen is not None:
            holds = HoldStore(self.clients.postgres)
            take_note(self.contract, look.stream, look.seen, look.memory, self.store, holds, actor=ACTOR)
            note_landed(self.contract, look.stream, look.seen, landed.LandedStore(self.clients.postgres))
        note_decision(self.contract, look, self.store, actor=ACTOR, now=datetime.fromtimestamp(self.now, UTC))

    def _requests(self, looks: Sequence[Look]) -> list[dg.RunRequest]:
        unfinished = runs.unfinished_runs(self.instance, self.contract)
        free = {look.stream.name: look.facts.busy for look in looks if look.facts.unreachable is None}
        for run_id in runs.end_dead_runs(self.instance, unfinished, free):
            self.problems.append(f"run {run_id} was dead and is marked as failed")
        return runs.requests(self.contract, self._not_being_changed(looks), unfinished)

    def _not_being_changed(self, looks: Sequence[Look]) -> Sequence[Look]:
        """Leave out upgrades that belong to a schema change under way: whoever applies it starts the new
        shape from the right record, which a mere upgrade would leave behind.
        """
        upgrades = [
            look for look in looks if look.action.verb is Verb.UPGRADE and look.stream.kind is Kind.FLINK_JOB
        ]
        if not upgrades or SchemaStore(self.clients.postgres).under_way(self.contract.name) is None:
            return looks
        self.problems.append("a schema change is under way and upgrades the jobs itself")
        return [look for look in looks if look not in upgrades]

    def _lags(self, looks: Sequence[Look]) -> dict[str, Lag | None]:
        store = SampleStore(self.clients.postgres)
        taken = with_present(store.load(self.contract.name), looks, self.now)
        store.save(self.contract.name, taken)
        return lags(taken, looks, self.now)

    def _judge(self, looks: Sequence[Look]) -> dict[str, events.Vital]:
        """Report the checks whose result is new or old enough; returns the streams' figures."""
        told = dict(self.cursor.checks)
        behind = self._try(partial(self._lags, looks)) or {}
        vitals = {}
        for look in looks:
            name = look.stream.name
            vitals[name] = events.Vital(look.health, behind.get(name))
            outcomes = self._try(partial(checks.outcomes, self.contract, look, behind.get(name)))
            for outcome in outcomes or ():
                if outcome.known and due(told.get(outcome.name), outcome.passed, self.now):
                    self.found.append(checks.evaluation(self.contract, outcome))
                    told[outcome.name] = Told(outcome.passed, int(self.now))
        self.cursor = replace(self.cursor, checks=told)
        return vitals

    def _report_history(self, vitals: dict[str, events.Vital]) -> None:
        """Make an event of every row of the history that is none yet."""
        known = self.cursor.history
        if known is None:
            rows = self.store.history(self.contract.name, limit=FIRST_ROWS)[::-1]
        else:
            rows = self.store.history(self.contract.name, after=known, limit=MOST_ROWS, newest_first=False)
        flink = self.clients.endpoints.flink.url
        self.found += events.unreported(self.instance, rows, vitals, flink=flink)
        emit_streams(self.contract, self.clients, self.store, rows)
        self.cursor = replace(self.cursor, history=rows[-1].id if rows else known or 0)

    def _answer(self, asked: list[dg.RunRequest], looks: Sequence[Look] = ()) -> dg.SensorResult:
        said = "; ".join([*self.problems, *([summary(looks)] if looks else [])])
        return dg.SensorResult(
            run_requests=asked or None,
            asset_events=self.found,
            cursor=self.cursor.dump(),
            # Dagster takes a reason only where no run is asked for.
            skip_reason=None if asked else said,
        )


def due(told: Told | None, passed: bool, now: float) -> bool:
    """Whether a check's result is to be reported: it is new, another one, or was not reported for long."""
    return told is None or told.passed != passed or now - told.time >= CHECK_AGAIN_SECONDS


def summary(looks: Sequence[Look]) -> str:
    """Return in one line how each stream stands; what is not running comes first."""
    ordered = sorted(looks, key=lambda look: look.action.rule == "running")
    return "; ".join(f"{look.stream.name}: {look.action.reason}" for look in ordered)
