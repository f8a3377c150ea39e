"""The sensor ``<pipeline>_quarantine``: notices new dead letters and decisions, and judges the checks.

A quiet tick costs one look at the dead-letter topic's end and one query. Each growth becomes one event on the
lake table's asset. The daemon may be killed between storing events and the cursor: an event carries the id of
the newest record that it tells of, and what is recorded already is not told again.
"""

import time
from collections.abc import Sequence
from typing import Any

import dagster as dg
from pydantic import BaseModel, ConfigDict, ValidationError

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.clients import Clients, ClientSource
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.quarantine import checks
from lakehouse_dagster.quarantine.checks import Outcome, Ward
from lakehouse_dagster.quarantine.offer import SHOWN, offer, records_markdown
from lakehouse_dagster.quarantine.store import QuarantineStore
from lakehouse_dagster.streams.assets import CONNECTOR

TICK_SECONDS = 10
TIMEOUT_SECONDS = 5.0
READING_SECONDS = 5.0
"""Dead letters are read for about so long in one tick; with more of them the next one goes on."""
CHECK_AGAIN_SECONDS = 300
"""A check whose result stays the same is reported so often."""
RECORDED_EVENTS = 20
"""Newest observations of an asset among which its newest ``quarantine_id`` is looked for."""


class Told(BaseModel):
    """The result of a check that was reported last, and when (seconds since 1970)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    passed: bool
    open: int = 0
    time: int = 0


class Cursor(BaseModel):
    """How far the sensor has come."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = 1
    end: int | None = None
    """End of the dead-letter topic as it was read."""
    decided: int = 0
    """The newest decision that was taken into account."""
    told: dict[str, int] = {}
    """Per asset, the newest record that an event tells of."""
    checks: dict[str, Told] = {}
    lost: int = 0
    """Events that the connector has counted as skipped or erroneous, of which a gap tells already."""

    @classmethod
    def parse(cls, text: str | None) -> "Cursor":
        """Read a stored cursor; what is none is an empty one, which repeats nothing but checks."""
        try:
            return cls.model_validate_json(text) if text else cls()
        except ValidationError:
            return cls()


def quarantine_sensor(contract: Contract) -> dg.SensorDefinition:
    """Return the sensor that watches the quarantine of ``contract``."""

    @dg.sensor(
        name=f"{contract.name}_quarantine",
        description="Reports records that could not be carried, and judges the checks of the quarantine.",
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        tags={"pipeline": contract.name},
    )
    def watch(
        context: dg.SensorEvaluationContext, lakehouse: dg.ResourceParam[ClientSource]
    ) -> dg.SensorResult:
        cursor = Cursor.parse(context.cursor)
        try:
            with lakehouse.clients(timeout=TIMEOUT_SECONDS) as clients:
                return tick(contract, clients, context.instance, cursor, time.time())
        except EngineError as error:
            return dg.SensorResult(skip_reason=str(error), cursor=context.cursor)

    return watch


def tick(
    contract: Contract, clients: Clients, instance: dg.DagsterInstance, cursor: Cursor, now: float
) -> dg.SensorResult:
    """Carry out one tick."""
    store = QuarantineStore(clients.postgres)
    said: list[str] = []
    found: list[dg.AssetObservation | dg.AssetCheckEvaluation] = []
    told = dict(cursor.checks)
    try:
        skips = checks.skips_outcome(contract, clients)
    except EngineError as error:
        said.append(str(error))
        skips = None
    if skips is not None:
        cursor = _remembered(contract, clients, cursor, skips)
        if _due(skips, told, now):
            found.append(skips.evaluation())
            told[skips.name] = Told(passed=skips.passed, time=int(now))
    ends = clients.kafka.end_offsets([contract.dead_letter_topic])
    end = max(ends.values(), default=0)
    decided = store.newest_decision(contract.name)
    quiet = (end, decided) == (cursor.end, cursor.decided)
    if quiet and not _overdue(contract, told, now):
        return _answer(found, cursor.model_copy(update={"checks": told}), [*said, "nothing new"])
    if end != cursor.end:
        end, more = _read(contract, clients, store)
        said += more
    events, newest = [], dict(cursor.told)
    for ward in checks.wards(contract, store.counts(contract.name)):
        event = _growth(contract, store, instance, ward, newest)
        events += [event] if event else []
        outcome = checks.outcome(contract, store, ward)
        if _due(outcome, told, now) or told[outcome.name].open != ward.counts.open:
            found.append(outcome.evaluation())
            told[outcome.name] = Told(passed=outcome.passed, open=ward.counts.open, time=int(now))
        if ward.counts.open:
            said.append(f"{ward.asset.to_user_string()}: {ward.counts.open:,} open")
    moved = cursor.model_copy(update={"end": end, "decided": decided, "told": newest, "checks": told})
    return _answer([*events, *found], moved, said or ["nothing is quarantined"])


def _remembered(contract: Contract, clients: Clients, cursor: Cursor, skips: Outcome) -> Cursor:
    """Remember lost events as a gap: the connector forgets them when it is restarted."""
    lost = checks.lost_events(skips)
    if lost and lost != cursor.lost:
        from lakehouse_dagster.streams.store import StreamStore

        tables = [table.name for table in contract.tables]
        StreamStore(clients.postgres).open_gap(contract.name, CONNECTOR, tables, checks.LOST)
    return cursor.model_copy(update={"lost": lost})


def _read(contract: Contract, clients: Clients, store: QuarantineStore) -> tuple[int, list[str]]:
    """Read what is new; returns the offset that was reached, and in words what is left."""
    from lakehouse_dagster.quarantine.reading import sync

    done = sync(contract, clients, store, seconds=READING_SECONDS)
    return done.end, [] if done.complete else ["more dead letters than one tick reads; the next one goes on"]


def _growth(
    contract: Contract,
    store: QuarantineStore,
    instance: dg.DagsterInstance,
    ward: Ward,
    told: dict[str, int],
) -> dg.AssetObservation | None:
    """Return the event that tells of records which no event tells of yet, and take note of it in ``told``."""
    name = ward.asset.to_user_string()
    if ward.counts.newest <= told.get(name, 0):
        return None
    since = max(told.get(name, 0), recorded(instance, ward.asset))
    told[name] = ward.counts.newest
    if ward.counts.newest <= since:
        return None
    new = store.count_after(contract.name, ward.topics, since)
    newest = store.records(
        contract.name, topics=ward.topics, after=since, only_open=False, newest_first=True, limit=SHOWN
    )
    metadata: dict[str, Any] = {
        "quarantine_id": ward.counts.newest,
        "quarantined": new,
        "open": ward.counts.open,
        "newest": dg.MetadataValue.md(records_markdown(newest, new)),
    }
    if ward.table is not None:
        emptied = checks.truncated(contract, store, ward)
        metadata["replay"] = dg.MetadataValue.md(offer(contract, ward.table, truncated=emptied))
    said = f"{new:,} record(s) quarantined: {newest[0].reason[:300]}" if newest else f"{new:,} quarantined"
    return dg.AssetObservation(ward.asset, description=said, metadata=metadata)


def recorded(instance: dg.DagsterInstance, asset: dg.AssetKey) -> int:
    """Return the id of the newest record that an event of ``asset`` tells of; 0 when there is none."""
    newest = 0
    for record in instance.fetch_observations(asset, limit=RECORDED_EVENTS).records:
        event = record.asset_observation
        value = event.metadata.get("quarantine_id") if event else None
        if isinstance(value, dg.IntMetadataValue):
            newest = max(newest, value.value or 0)
    return newest


def _due(outcome: Outcome, told: dict[str, Told], now: float) -> bool:
    last = told.get(outcome.name)
    return last is None or last.passed != outcome.passed or now - last.time >= CHECK_AGAIN_SECONDS


def _overdue(contract: Contract, told: dict[str, Told], now: float) -> bool:
    """Whether a check of the quarantine is to be reported again though nothing is new."""
    names = [
        f"{ward.asset.to_user_string()}/{checks.NOTHING_QUARANTINED}" for ward in checks.wards(contract, {})
    ]
    return any(name not in told or now - told[name].time >= CHECK_AGAIN_SECONDS for name in names)


def _answer(
    found: Sequence[dg.AssetObservation | dg.AssetCheckEvaluation], cursor: Cursor, said: Sequence[str]
) -> dg.SensorResult:
    return dg.SensorResult(
        asset_events=list(found), cursor=cursor.model_dump_json(), skip_reason="; ".join(said[:20])
    )
