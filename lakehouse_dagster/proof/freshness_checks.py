"""Freshness in Dagster: checks on the probe's assets and the figures as their metadata.

Dagster's own freshness policies look at when an asset was materialized, that is when somebody reported news
of it. A source that nobody writes to makes them fail, and a stream that copies changes of an hour ago
satisfies them. So they only say that nobody has noticed anything for a day
(``lakehouse_dagster.definitions``), and the checks here are made from event time, which is when the source
committed:

* ``freshness_within_slo``: of the last ten minutes' beats 95 of 100 could be read within the pipeline's
  ``probe.slo_seconds``.
* ``event_time_freshness``: the place shows everything that was committed longer ago than that, judged by the
  oldest beat it does not show. It fails as soon as a place stands still, whether there are figures or not.

The topic, Paimon and the views are judged on their own assets; Nessie, and Trino that reads through it, on
the publication. A sensor reports what the prober has stored; no engine is asked but PostgreSQL.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.model import Probe
from lakehouse_dagster.engines.clients import ClientSource
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.layers import keys
from lakehouse_dagster.proof.freshness import Freshness, Place, probe_places, summarize
from lakehouse_dagster.streams.cursor import StreamCursor, Told

WINDOW = timedelta(minutes=10)
LOOK_SECONDS = 60
"""Least time between two looks of the sensor; the prober stores a row a minute."""
REPORT_SECONDS = 300
"""A check whose result stays the same, and the figures, are reported so often."""
SILENT_SECONDS = 180.0
"""A prober that has stored nothing for so long is not working."""
SEVERE = 4.0
"""So many times the limit a place may be behind until that is an error, not a warning."""
TIMEOUT_SECONDS = 5.0

DESCRIPTIONS = {
    "freshness_within_slo": "95 of 100 beats of the last ten minutes could be read within {:g} s of commit.",
    "event_time_freshness": "Everything that the source committed more than {:g} s ago can be read.",
}


@dataclass(frozen=True)
class Judgement:
    """The result of one check at one place."""

    asset: dg.AssetKey
    check: str
    passed: bool
    said: str
    severe: bool = True
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the sensor remembers it by."""
        return f"{self.asset.to_user_string()}:{self.check}"

    @property
    def severity(self) -> dg.AssetCheckSeverity:
        """Dagster's severity."""
        return dg.AssetCheckSeverity.ERROR if self.severe else dg.AssetCheckSeverity.WARN


def asset_of(contract: Contract, probe: Probe, place: Place) -> dg.AssetKey:
    """The asset that a place is judged on."""
    if place.view is not None:
        return keys.view(contract.name, place.view)
    match place.engine:
        case "kafka":
            return keys.topic(contract.name, probe.table)
        case "paimon":
            return keys.lake(contract.name, probe.table)
    return keys.publication(contract.name)


def limit(contract: Contract, probe: Probe, place: Place) -> float:
    """Within how many seconds a place has to show a beat; more where the table's policy lets Iceberg readers
    wait.
    """
    waits = place.engine in {"nessie", "trino"}
    return probe.slo_seconds + (contract.visible_seconds(probe.table) if waits else 0)


def check_name(place: Place, check: str) -> str:
    """Name of a check of a place: an asset that stands for two places tells them apart."""
    return f"{check}_in_trino" if place.engine == "trino" else check


def judge(contract: Contract, probe: Probe, found: Sequence[Freshness], now: datetime) -> list[Judgement]:
    """Judge every place; what there is nothing to judge by is left out."""
    places = {place.name: place for place in probe_places(contract)}
    judged: list[Judgement] = []
    for item in found:
        place = places[item.place]
        judged += _within_slo(contract, probe, place, item)
        judged += _event_time(contract, probe, place, item, now)
    return judged


def _within_slo(contract: Contract, probe: Probe, place: Place, item: Freshness) -> Iterator[Judgement]:
    p95 = item.figures.p95
    if p95 is None:
        return
    well = limit(contract, probe, place)
    measured = f"{p95:.1f} s" if math.isfinite(p95) else "more than a minute, and still not readable"
    yield Judgement(
        asset_of(contract, probe, place),
        check_name(place, "freshness_within_slo"),
        p95 <= well,
        f"{place.name}: 95 of 100 beats within {measured}, {well:g} s are well "
        f"({item.figures.beats} beats, {item.missed} missed)",
        severe=p95 > SEVERE * well,
        metadata=figures_metadata(item),
    )


def _event_time(
    contract: Contract, probe: Probe, place: Place, item: Freshness, now: datetime
) -> Iterator[Judgement]:
    asset, check = asset_of(contract, probe, place), check_name(place, "event_time_freshness")
    if item.told is None or (now - item.told).total_seconds() > SILENT_SECONDS:
        since = "in the last ten minutes" if item.told is None else f"since {item.told:%H:%M:%S} UTC"
        said = f"{place.name}: the prober has told nothing {since}; see `lakehouse status`"
        yield Judgement(asset, check, False, said, severe=False)
        return
    if item.newest_at is None and item.behind == 0:
        return  # no beat was ever followed there
    metadata: dict[str, Any] = {"behind_seconds": round(item.behind, 1)}
    if item.newest_at is not None:
        metadata["event_time"] = dg.MetadataValue.timestamp(item.newest_at.timestamp())
    if item.problem:
        metadata["problem"] = item.problem
    until = item.told - timedelta(seconds=item.behind)
    said = (
        f"{place.name}: shows all that was committed until {until:%H:%M:%S} UTC, "
        f"{item.behind:.1f} s before it was asked"
    )
    yield Judgement(
        asset,
        check,
        item.behind <= limit(contract, probe, place),
        said + (f"; {item.problem}" if item.problem else ""),
        severe=item.behind > SEVERE * limit(contract, probe, place),
        metadata=metadata,
    )


def figures_metadata(item: Freshness, prefix: str = "") -> dict[str, Any]:
    """The figures of a place as metadata; Dagster draws numbers over time."""
    found = item.figures
    values = {"p50": found.p50, "p95": found.p95, "p99": found.p99, "max": found.greatest}
    metadata: dict[str, Any] = {
        f"{prefix}{name}_seconds": round(value, 3)
        for name, value in values.items()
        if value is not None and math.isfinite(value)
    }
    return {**metadata, f"{prefix}beats": found.beats, f"{prefix}missed": item.missed}


def observations(contract: Contract, probe: Probe, found: Sequence[Freshness]) -> list[dg.AssetObservation]:
    """The figures as one observation per asset of the probe's table.

    Those of Nessie and Trino are told with the lake table: an event on the publication would be news to the
    marts that read it.
    """
    lake = keys.lake(contract.name, probe.table)
    told: dict[dg.AssetKey, dict[str, Any]] = {}
    places = {place.name: place for place in probe_places(contract)}
    for item in found:
        if item.figures.p50 is None:
            continue
        asset = asset_of(contract, probe, places[item.place])
        asset = lake if asset == keys.publication(contract.name) else asset
        told.setdefault(asset, {}).update(figures_metadata(item, f"{item.place.replace(':', '_')}_"))
    return [
        dg.AssetObservation(asset, description="seconds from commit to readable", metadata=metadata)
        for asset, metadata in told.items()
    ]


def check_specs(contract: Contract, probe: Probe) -> list[dg.AssetCheckSpec]:
    """Return the checks of all places."""
    return [
        dg.AssetCheckSpec(
            name=check_name(place, check),
            asset=asset_of(contract, probe, place),
            description=f"{place.name}: {said.format(limit(contract, probe, place))}",
        )
        for place in probe_places(contract)
        for check, said in DESCRIPTIONS.items()
    ]


def freshness_checks(contract: Contract, probe: Probe) -> dg.AssetChecksDefinition:
    """Return the checks as they can be run by hand; otherwise the sensor evaluates them."""

    @dg.multi_asset_check(
        name=f"{contract.name}_freshness_checks",
        specs=check_specs(contract, probe),
        description=f"Judges what the prober has stored of `{contract.name}`, as the sensor does.",
        can_subset=True,
    )
    def check(
        context: dg.AssetCheckExecutionContext, lakehouse: dg.ResourceParam[ClientSource]
    ) -> Iterator[dg.AssetCheckResult]:
        now = datetime.now(UTC)
        found = stored(contract, lakehouse, now)
        for item in judge(contract, probe, found, now):
            if dg.AssetCheckKey(item.asset, item.check) in context.selected_asset_check_keys:
                yield dg.AssetCheckResult(
                    asset_key=item.asset,
                    check_name=item.check,
                    passed=item.passed,
                    severity=item.severity,
                    description=item.said,
                    metadata=item.metadata,
                )

    return check


def freshness_sensor(contract: Contract, probe: Probe) -> dg.SensorDefinition:
    """Return the sensor that reports the checks when their result changes (else every five minutes), and the
    figures every five minutes.
    """

    @dg.sensor(
        name=f"{contract.name}_freshness",
        description="Judges how fresh every place is, by what the prober measured, and tells the figures.",
        minimum_interval_seconds=LOOK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        tags={"pipeline": contract.name},
    )
    def watch(
        context: dg.SensorEvaluationContext, lakehouse: dg.ResourceParam[ClientSource]
    ) -> dg.SensorResult | dg.SkipReason:
        now = datetime.now(UTC)
        try:
            found = stored(contract, lakehouse, now)
        except EngineError as error:
            return dg.SkipReason(str(error))
        return tick(contract, probe, found, now, StreamCursor.parse(context.cursor))

    return watch


def tick(
    contract: Contract, probe: Probe, found: Sequence[Freshness], now: datetime, cursor: StreamCursor
) -> dg.SensorResult:
    """What one tick reports."""
    told = dict(cursor.checks)
    at = int(now.timestamp())
    events: list[dg.AssetObservation | dg.AssetMaterialization | dg.AssetCheckEvaluation] = []
    for item in judge(contract, probe, found, now):
        if not _due(told.get(item.name), item.passed, at):
            continue
        told[item.name] = Told(item.passed, at)
        events.append(
            dg.AssetCheckEvaluation(
                asset_key=item.asset,
                check_name=item.check,
                passed=item.passed,
                severity=item.severity,
                description=item.said,
                metadata=item.metadata,
            )
        )
    if _due(told.get("figures"), True, at) and (figures := observations(contract, probe, found)):
        told["figures"] = Told(True, at)
        events += figures
    said = "; ".join(
        f"{item.place} {item.figures.p95:.1f} s" for item in found if item.figures.p95 is not None
    )
    return dg.SensorResult(
        asset_events=events,
        cursor=replace(cursor, checks=told).dump(),
        skip_reason=dg.SkipReason(f"95 of 100 within: {said}" if said else "nothing is measured yet"),
    )


def stored(contract: Contract, lakehouse: ClientSource, now: datetime) -> list[Freshness]:
    """What the prober has stored of the last ten minutes, one entry per place."""
    # Late, because the code location must load without the database's client.
    from lakehouse_dagster.proof.freshness_store import FreshnessStore

    with lakehouse.clients(timeout=TIMEOUT_SECONDS) as clients:
        rows = FreshnessStore(clients.postgres).minutes(contract.name, WINDOW)
    return summarize([place.name for place in probe_places(contract)], rows, now)


def _due(told: Told | None, passed: bool, at: int) -> bool:
    # A little less than the time itself: the sensor's ticks are not exactly a minute apart.
    return told is None or told.passed != passed or at - told.time >= REPORT_SECONDS - LOOK_SECONDS / 2
