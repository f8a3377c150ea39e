"""The history of the streams as events on their assets: each row exactly once, whoever wrote it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from lakehouse_dagster.layers import keys
from lakehouse_dagster.streams.health import Health
from lakehouse_dagster.streams.lag import Lag
from lakehouse_dagster.streams.memory import Event, EventKind

RUN_ACTOR = "dagster run "
"""What the name of an actor begins with that is a run; its id follows."""
MADE_ANEW = frozenset({EventKind.START, EventKind.UPGRADE, EventKind.RESNAPSHOT})
"""Kinds that, when they succeeded, are materializations; everything else is an observation."""
RECORDED_EVENTS = 20
"""Newest events of an asset among which its newest ``history_id`` is looked for; people may add some."""

AssetEvent = dg.AssetMaterialization | dg.AssetObservation


@dataclass(frozen=True)
class Vital:
    """How a stream is at the moment: shown with its newest event and with its checks."""

    health: Health
    lag: Lag | None = None

    def metadata(self) -> dict[str, Any]:
        """Return the figures that are known, by the names the UI shows."""
        health = self.health
        return known(
            {
                "checkpoint_age_seconds": rounded(health.checkpoint_age_seconds),
                "restarts": health.restarts,
                "lag_records": health.lag_records,
                "lag_seconds": rounded(self.lag.seconds if self.lag else None),
                "slots_free": health.slots_free,
                "slots_total": health.slots_total,
                "running_spec": health.running_spec,
                "newest_checkpoint": health.checkpoint,
            }
        )


def asset_event(event: Event, *, vital: Vital | None = None, flink: str = "") -> AssetEvent:
    """Return the event on the stream's asset that tells one row of its history.

    ``vital`` are its figures now, if the row is its newest; ``flink`` is the address of Flink's UI.
    """
    run = event.actor.removeprefix(RUN_ACTOR) if event.actor.startswith(RUN_ACTOR) else ""
    metadata: dict[str, Any] = {
        "history_id": event.id,
        "at": dg.MetadataValue.timestamp(event.at.timestamp()) if event.at else None,
        "kind": str(event.kind),
        "state": str(event.state) or None,
        "verb": str(event.verb) or None,
        "rule": str(event.rule) or None,
        "reason": str(event.reason) or None,
        "checkpoint": event.checkpoint,
        "job_id": event.job_id,
        "job": dg.MetadataValue.url(f"{flink}/#/job/{event.job_id}/overview")
        if flink and event.job_id
        else None,
        "spec_hash": event.spec_hash,
        "seconds_down": rounded(event.seconds_down),
        "actor": str(event.actor) or None,
        "run": dg.MetadataValue.dagster_run(run) if run else None,
        "failed": None if event.ok else True,
        **(vital.metadata() if vital else {}),
    }
    key = keys.stream(event.pipeline, event.stream)
    said = description(event)
    if event.ok and event.kind in MADE_ANEW:
        return dg.AssetMaterialization(key, description=said, metadata=known(metadata))
    return dg.AssetObservation(key, description=said, metadata=known(metadata))


def description(event: Event) -> str:
    """Return one row of the history in one line."""
    what = str(event.kind).replace("_", " ")
    if event.kind == EventKind.DECISION:
        what = event.rule or what
    if event.kind == EventKind.DECLARED:
        what = f"declared {event.verb}"
    if not event.ok and event.kind not in (EventKind.GAP, EventKind.BAD_CHECKPOINT):
        what += " failed"
    # Rules such as "running" are their own reason.
    return what if event.reason in ("", what) else f"{what}: {event.reason}"


def recorded(instance: dg.DagsterInstance, assets: Iterable[dg.AssetKey]) -> dict[dg.AssetKey, int]:
    """Return per asset the newest row of the history that is recorded as its event; 0 when none is.

    The daemon stores the events of a tick one by one and then the cursor. Killed in between, it gets the
    same rows with its next tick; this tells which of them are there already.
    """
    found = {}
    for asset in assets:
        records = [
            *instance.fetch_materializations(asset, limit=RECORDED_EVENTS).records,
            *instance.fetch_observations(asset, limit=RECORDED_EVENTS).records,
        ]
        found[asset] = max((_history_id(record.asset_event) for record in records), default=0)
    return found


def unreported(
    instance: dg.DagsterInstance, rows: Sequence[Event], vitals: Mapping[str, Vital], *, flink: str = ""
) -> list[AssetEvent]:
    """Return the events of those ``rows`` (oldest first) that are not recorded yet.

    The newest row of each stream carries its figures of this moment.
    """
    if not rows:
        return []
    there = recorded(instance, {keys.stream(row.pipeline, row.stream) for row in rows})
    newest = {row.stream: row.id for row in rows}
    return [
        asset_event(row, vital=vitals.get(row.stream) if newest[row.stream] == row.id else None, flink=flink)
        for row in rows
        if row.id > there[keys.stream(row.pipeline, row.stream)]
    ]


def _history_id(event: Any) -> int:
    metadata: Mapping[str, Any] = event.metadata if event is not None else {}
    value = metadata.get("history_id")
    return value.value or 0 if isinstance(value, dg.IntMetadataValue) else 0


def known(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of ``metadata``."""
    return {name: value for name, value in metadata.items() if value is not None}


def rounded(seconds: float | None) -> float | None:
    """Return ``seconds`` with one decimal."""
    return None if seconds is None else round(seconds, 1)
