"""The samples for the lag in seconds, kept in PostgreSQL: the sensor takes them, everybody reads them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lakehouse_dagster.streams.lag import Lag, Sample, lag, sampled
from lakehouse_dagster.streams.survey import Look

if TYPE_CHECKING:
    from lakehouse_dagster.engines.postgres import PostgresClient

Samples = Mapping[str, tuple[Sample, ...]]
"""By stream, oldest first."""

_STEPS = (
    """
    CREATE TABLE lakehouse.stream_samples (
        pipeline text NOT NULL,
        stream text NOT NULL,
        times bigint[] NOT NULL,
        available bigint[] NOT NULL,
        PRIMARY KEY (pipeline, stream)
    ) WITH (fillfactor = 50)
    """,
)


class SampleStore:
    """The samples of the streams of all pipelines. Raises ``EngineUnavailable`` or ``EngineError``."""

    def __init__(self, postgres: PostgresClient) -> None:
        self._postgres = postgres

    def load(self, pipeline: str) -> dict[str, tuple[Sample, ...]]:
        """Return the samples of the streams of ``pipeline``."""
        rows = self._ready().query(
            "SELECT stream, times, available FROM lakehouse.stream_samples WHERE pipeline = %s", (pipeline,)
        )
        return {row["stream"]: tuple(map(Sample, row["times"], row["available"])) for row in rows}

    def save(self, pipeline: str, samples: Samples) -> None:
        """Put ``samples`` in the place of what was kept of these streams."""
        rows: list[Any] = [
            (pipeline, stream, [one.time for one in taken], [one.available for one in taken])
            for stream, taken in samples.items()
            if taken
        ]
        if not rows:
            return
        values = ", ".join(["(%s, %s, %s::bigint[], %s::bigint[])"] * len(rows))
        self._ready().execute(
            f"INSERT INTO lakehouse.stream_samples (pipeline, stream, times, available) VALUES {values}"  # noqa: S608
            " ON CONFLICT (pipeline, stream)"
            " DO UPDATE SET times = excluded.times, available = excluded.available",
            [value for row in rows for value in row],
        )

    def _ready(self) -> PostgresClient:
        self._postgres.migrate("samples", _STEPS)
        return self._postgres


def with_present(samples: Samples, looks: Sequence[Look], now: float) -> dict[str, tuple[Sample, ...]]:
    """Return the samples of the streams in ``looks`` with those of this moment."""
    return {
        look.stream.name: sampled(samples.get(look.stream.name, ()), now, look.health.available)
        for look in looks
    }


def lags(samples: Samples, looks: Sequence[Look], now: float) -> dict[str, Lag | None]:
    """Return how far each stream in ``looks`` is behind, from samples that hold this moment's."""
    return {look.stream.name: lag(samples.get(look.stream.name, ()), now, look.health.read) for look in looks}


def present_lags(postgres: PostgresClient, pipeline: str, looks: Sequence[Look]) -> dict[str, Lag | None]:
    """Return how far each stream in ``looks`` is behind now, without taking a sample."""
    now = time.time()
    return lags(with_present(SampleStore(postgres).load(pipeline), looks, now), looks, now)
