"""The minutes of the prober, kept in schema ``lakehouse`` of Dagster's database."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from lakehouse_dagster.proof.freshness import Minute, figures, histogram

if TYPE_CHECKING:
    from lakehouse_dagster.engines.postgres import PostgresClient

KEPT = timedelta(days=7)
"""Minutes are forgotten after this time."""

STEPS = (
    """
    CREATE TABLE lakehouse.freshness (
        pipeline text NOT NULL,
        place text NOT NULL,
        at timestamptz NOT NULL,
        beats int NOT NULL,
        missed int NOT NULL,
        waiting int NOT NULL,
        behind double precision NOT NULL,
        p50 double precision,
        p95 double precision,
        p99 double precision,
        greatest double precision,
        histogram int[] NOT NULL,
        seconds double precision[] NOT NULL,
        newest_beat bigint,
        newest_at timestamptz,
        problem text NOT NULL,
        PRIMARY KEY (pipeline, place, at)
    );
    CREATE INDEX freshness_at ON lakehouse.freshness (at);
    """,
)
"""How the table comes about. Steps are only ever added; one that was released stays as it is."""

_COLUMNS = (
    "pipeline", "place", "at", "beats", "missed", "waiting", "behind", "p50", "p95", "p99", "greatest",
    "histogram", "seconds", "newest_beat", "newest_at", "problem",
)  # fmt: skip


class FreshnessStore:
    """The stored minutes of all pipelines. The table is made at first use.

    A percentile in a row is infinity where beats that were still waited for lie at it; ``seconds`` holds the
    figures themselves, so that percentiles over any window are exact. Raises ``EngineUnavailable`` or
    ``EngineError``.
    """

    def __init__(self, postgres: PostgresClient) -> None:
        self._postgres = postgres

    def add(self, minutes: Iterable[Minute]) -> None:
        """Store minutes, all or none; one that is stored already is left as it is."""
        rows = [_row(minute) for minute in minutes]
        if not rows:
            return
        names = ", ".join(_COLUMNS)
        marks = ", ".join(["%s"] * len(_COLUMNS))
        self._ready().execute(
            f"INSERT INTO lakehouse.freshness ({names})"  # noqa: S608 - names of our own
            f" VALUES {', '.join([f'({marks})'] * len(rows))} ON CONFLICT DO NOTHING",
            [value for row in rows for value in row],
        )

    def minutes(self, pipeline: str, window: timedelta) -> list[Minute]:
        """The minutes of a pipeline that end within the window before now, oldest first, by the database's
        clock.
        """
        rows = self._ready().query(
            "SELECT pipeline, place, at, seconds, missed, waiting, behind, newest_beat, newest_at, problem"
            " FROM lakehouse.freshness WHERE pipeline = %s AND at > clock_timestamp() - %s ORDER BY at",
            (pipeline, window),
        )
        return [_minute(row) for row in rows]

    def forget(self, age: timedelta = KEPT) -> int:
        """Delete what is older; returns how many rows."""
        return self._ready().execute(
            "DELETE FROM lakehouse.freshness WHERE at < clock_timestamp() - %s", (age,)
        )

    def _ready(self) -> PostgresClient:
        self._postgres.migrate("freshness", STEPS)
        return self._postgres


def _row(minute: Minute) -> tuple[Any, ...]:
    found = figures(minute.seconds, minute.waiting)
    return (
        minute.pipeline, minute.place, minute.at, found.beats, minute.missed, minute.waiting,
        _number(minute.behind), found.p50, found.p95, found.p99, found.greatest,
        list(histogram(minute.seconds)), list(minute.seconds), minute.newest_beat, minute.newest_at,
        minute.problem.replace("\0", ""),
    )  # fmt: skip


def _minute(row: Mapping[str, Any]) -> Minute:
    return Minute(**{**row, "seconds": tuple(row["seconds"])})


def _number(value: float) -> float:
    return value if math.isfinite(value) else 0.0
