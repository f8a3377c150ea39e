"""What a watching sensor has already recorded, read back from Dagster's event log.

The daemon stores a tick's events one after the other and only then its cursor. Killed in between, it hands
the old cursor to the next tick, which would report once more what is already recorded. Therefore every event
carries its *mark* (the part of the cursor that it moved) and every tick first brings its cursor forward over
the marks of all events that are newer than the cursor (``observe.bring_forward``).

The events are read by their ids in the log, not by asset: an asset's record is updated in a transaction of
its own after the event, so a killed daemon may leave it behind; it also hides the mark when somebody else
reports an event on the asset. Nothing new in the log costs two index look-ups, whatever the number of tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

MARK = "cursor"
"""Name of the metadata that holds an event's mark."""
PAGE = 2000
"""Events of one kind that are read in one tick; an event takes about a fifth of a millisecond."""

_KINDS = (dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_OBSERVATION)


@dataclass(frozen=True)
class Recorded:
    """The marks of a pipeline's events after some id, in the order in which they were stored."""

    marks: tuple[Mapping[str, Any], ...]
    upto: int
    """Id of the newest event that was looked at."""
    complete: bool = True
    """Whether that is the newest event there is."""


def newest_id(instance: dg.DagsterInstance) -> int:
    """Return the id of the newest event in Dagster's log, 0 when it is empty."""
    return instance.event_log_storage.get_maximum_record_id() or 0


def recorded_since(instance: dg.DagsterInstance, pipeline: str, after: int, *, page: int = PAGE) -> Recorded:
    """Return the marks of the pipeline's events with an id greater than ``after``.

    At most ``page`` materializations and as many observations are looked at.
    """
    pages = [
        instance.event_log_storage.get_event_records(
            dg.EventRecordsFilter(event_type=kind, after_cursor=after), limit=page, ascending=True
        )
        for kind in _KINDS
    ]
    # Beyond the end of a full page events of that kind are missing; those of the other kind have to wait.
    full = [records[-1].storage_id for records in pages if len(records) >= page]
    horizon = min(full, default=None)
    records = sorted(
        (
            record
            for records in pages
            for record in records
            if horizon is None or record.storage_id <= horizon
        ),
        key=lambda record: record.storage_id,
    )
    return Recorded(
        tuple(mark for record in records if (mark := _mark(record, pipeline)) is not None),
        records[-1].storage_id if records else after,
        horizon is None,
    )


def _mark(record: dg.EventLogRecord, pipeline: str) -> Mapping[str, Any] | None:
    event = record.asset_materialization or record.asset_observation
    if event is None or event.asset_key.path[0] != pipeline:
        return None
    value = event.metadata.get(MARK)
    mark = value.value if isinstance(value, dg.JsonMetadataValue) else None
    return mark if isinstance(mark, dict) else None
