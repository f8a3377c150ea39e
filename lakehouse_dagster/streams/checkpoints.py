"""Where a stream's checkpoints and savepoints lie, and which of them a new start can use.

Every submission writes below ``flink/checkpoints/<job name>/<state hash>/``, so a checkpoint tells by its
place which stream it belongs to and which shape of job can read it. That survives a JobManager that has
forgotten all its jobs, and keeps a start from restoring state of another shape into this one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lakehouse_dagster.engines.s3 import ObjectStore

CHECKPOINTS = "flink/checkpoints"
SAVEPOINTS = "flink/savepoints"
MOST_CANDIDATES = 5
"""Checkpoints that one start tries at most before it goes on without any."""
_COMPLETE = "/_metadata"
"""Written last, so a checkpoint that has it is complete."""


@dataclass(frozen=True)
class Retained:
    """A complete checkpoint or savepoint."""

    address: str
    written: datetime
    """When its last object was written, by the object store's clock."""
    number: int
    """Its number within its job; a savepoint, which has none in its name, counts as later than any."""


def checkpoint_folder(bucket: str, job: str, state_hash: str) -> str:
    """Return the address below which a job of this shape keeps its checkpoints."""
    return f"s3://{bucket}/{CHECKPOINTS}/{job}/{state_hash}"


def savepoint_folder(bucket: str, job: str, state_hash: str) -> str:
    """Return the address below which a job of this shape keeps its savepoints."""
    return f"s3://{bucket}/{SAVEPOINTS}/{job}/{state_hash}"


def retained(store: ObjectStore, job: str, state_hash: str) -> list[Retained]:
    """Return the complete checkpoints and savepoints of that job and shape, in no particular order."""
    return [
        Retained(f"s3://{store.bucket}/{item.key.removesuffix(_COMPLETE)}", item.modified, _number(item.key))
        for folder in (CHECKPOINTS, SAVEPOINTS)
        for item in store.list(f"{folder}/{job}/{state_hash}/")
        if item.key.endswith(_COMPLETE)
    ]


def candidates(
    found: Iterable[Retained],
    *,
    bad: Collection[str] = (),
    floor: datetime | None = None,
    limit: int = MOST_CANDIDATES,
) -> tuple[str, ...]:
    """Return the addresses that a start may try, newest first.

    ``bad`` are known not to be readable. What was written before ``floor`` holds offsets from before the
    stream was set back on purpose.
    """
    usable = [item for item in found if item.address not in bad and (floor is None or item.written >= floor)]
    # A listing's times may have a grain of one second; within it the checkpoint's number decides.
    usable.sort(key=lambda item: (item.written, item.number, item.address), reverse=True)
    return tuple(item.address for item in usable[:limit])


def _number(key: str) -> int:
    name = key.removesuffix(_COMPLETE).rpartition("/")[2]
    digits = name.removeprefix("chk-")
    # Savepoints are only taken to stop a job, so nothing of that job comes after them.
    return int(digits) if digits.isdigit() else 1 << 62
