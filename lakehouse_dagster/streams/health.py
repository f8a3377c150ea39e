"""How well a stream is: figures for the operator, apart from the facts that decide."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Health:
    """Figures about one stream at one moment; ``None`` where its engine has none or did not answer."""

    job_id: str | None = None
    running_spec: str | None = None
    checkpoint: str | None = None
    """Address of the newest completed checkpoint."""
    checkpoint_age_seconds: float | None = None
    checkpoint_interval_seconds: float | None = None
    restarts: int | None = None
    """Restarts by the engine itself since the job was started."""
    read: int | None = None
    """How far it has come: sum of committed offsets, or the connector's place in the binary log."""
    available: int | None = None
    """How far it could be: sum of the topics' ends, or the end of the binary log, in the same unit."""
    lag_records: int | None = None
    """Records in its topics that it has not committed (Flink jobs)."""
    slots_free: int | None = None
    slots_total: int | None = None
