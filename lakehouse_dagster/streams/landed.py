"""How far a Flink job's records have surely landed: what it starts from when no checkpoint is left.

A group's offsets are committed to Kafka when a checkpoint is complete, and the sinks commit on the same
notification: what was committed last may be in no table yet. After further checkpoints of the same job it
is. So offsets are remembered together with the checkpoint at which they were seen, and count as landed when
a later look finds enough of the job's next ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lakehouse_dagster.proof.settle import FURTHER_CHECKPOINTS

if TYPE_CHECKING:
    from lakehouse_dagster.engines.postgres import PostgresClient

Offsets = Mapping[str, int]
"""Next offset to read, by ``topic:number``."""

_STEPS = (
    """
    CREATE TABLE lakehouse.stream_landed (
        pipeline text NOT NULL,
        stream text NOT NULL,
        partitions text[] NOT NULL,
        offsets bigint[] NOT NULL,
        job_id text NOT NULL,
        checkpoint_id bigint NOT NULL,
        awaited_partitions text[] NOT NULL,
        awaited_offsets bigint[] NOT NULL,
        PRIMARY KEY (pipeline, stream)
    ) WITH (fillfactor = 50)
    """,
)


@dataclass(frozen=True)
class Awaited:
    """Offsets that were committed by the time a job's checkpoint ``checkpoint_id`` was complete."""

    job_id: str
    checkpoint_id: int
    offsets: Offsets


@dataclass(frozen=True)
class Landed:
    """What is known of one stream: the offsets that have landed, and those that will have next."""

    offsets: Offsets = field(default_factory=dict)
    awaited: Awaited | None = None

    def seen(self, job_id: str, checkpoint_id: int, committed: Offsets) -> Landed:
        """Return what is known after a look.

        ``committed`` has to be read before ``checkpoint_id``, the newest complete checkpoint, is asked for.
        """
        found = Awaited(job_id, checkpoint_id, dict(committed))
        awaited = self.awaited
        if awaited is None or awaited.job_id != job_id:
            return Landed(self.offsets, found)
        if checkpoint_id >= awaited.checkpoint_id + FURTHER_CHECKPOINTS:
            return Landed(awaited.offsets, found)
        return self


class LandedStore:
    """What has landed, of the streams of all pipelines. Raises ``EngineUnavailable`` or ``EngineError``."""

    def __init__(self, postgres: PostgresClient) -> None:
        self._postgres = postgres

    def load(self, pipeline: str, stream: str) -> Landed:
        """Return what is known of a stream; of an unknown one nothing has landed."""
        rows = self._ready().query(
            "SELECT partitions, offsets, job_id, checkpoint_id, awaited_partitions, awaited_offsets"
            " FROM lakehouse.stream_landed WHERE pipeline = %s AND stream = %s",
            (pipeline, stream),
        )
        if not rows:
            return Landed()
        (row,) = rows
        awaited = dict(zip(row["awaited_partitions"], row["awaited_offsets"], strict=True))
        return Landed(
            dict(zip(row["partitions"], row["offsets"], strict=True)),
            Awaited(row["job_id"], row["checkpoint_id"], awaited),
        )

    def save(self, pipeline: str, stream: str, landed: Landed) -> None:
        """Put ``landed`` in the place of what was known; raises ``ValueError`` when nothing is awaited."""
        awaited = landed.awaited
        if awaited is None:
            raise ValueError("nothing was seen yet")
        self._ready().execute(
            "INSERT INTO lakehouse.stream_landed VALUES"
            " (%s, %s, %s::text[], %s::bigint[], %s, %s, %s::text[], %s::bigint[])"
            " ON CONFLICT (pipeline, stream) DO UPDATE SET partitions = excluded.partitions,"
            " offsets = excluded.offsets, job_id = excluded.job_id, checkpoint_id = excluded.checkpoint_id,"
            " awaited_partitions = excluded.awaited_partitions, awaited_offsets = excluded.awaited_offsets",
            (
                pipeline,
                stream,
                list(landed.offsets),
                list(landed.offsets.values()),
                awaited.job_id,
                awaited.checkpoint_id,
                list(awaited.offsets),
                list(awaited.offsets.values()),
            ),
        )

    def forget(self, pipeline: str, stream: str) -> None:
        """Know nothing of a stream any more, as before it is told to read other records."""
        self._ready().execute(
            "DELETE FROM lakehouse.stream_landed WHERE pipeline = %s AND stream = %s", (pipeline, stream)
        )

    def _ready(self) -> PostgresClient:
        self._postgres.migrate("landed", _STEPS)
        return self._postgres
