"""Where a stream's checkpoints and savepoints lie, and which of them a new start can use.

Every submission writes below ``flink/checkpoints/<job name>/<state hash>/``, so a checkpoint tells by its
place which stream it belongs to and which shape of job can read it. That survives a JobManager that has
forgotten all its jobs, and keeps a start from restoring state of another shape into this one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lakehouse_dagster.engines.s3 import ObjectStore, StoredObject

CHECKPOINTS = "flink/checkpoints"
SAVEPOINTS = "flink/savepoints"
MOST_CANDIDATES = 5
"""Checkpoints that one start tries at most before it goes on without any."""
MOST_PRUNED = 300
"""Objects that are deleted with one start, unless a single folder has more."""
_JOB_FOLDER = re.compile(rf"{CHECKPOINTS}/[^/]+/[^/]+/[0-9a-f]{{32}}/")
"""What one job, by its id, has written: its checkpoints, and the files that they share."""
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


def abandoned(
    found: Iterable[StoredObject],
    *,
    kept: Collection[str],
    running: str,
    before: datetime,
    most: int = MOST_PRUNED,
) -> tuple[str, ...]:
    """Return the folders of ended jobs that nothing needs any more, those that were left first.

    Whole folders, because the checkpoints of one job share files. ``found`` are all objects below the
    checkpoints of one job's name. A folder stays when one of the addresses ``kept`` lies in it, when it is
    that of the job ``running`` (its id), and when anything in it was written at ``before`` or later. Folders
    beyond ``most`` objects are left for the next time; the first is always among those returned.
    """
    newest: dict[str, datetime] = {}
    objects: dict[str, int] = {}
    for item in found:
        match = _JOB_FOLDER.match(item.key)
        if match is not None:
            folder = match[0]
            newest[folder] = max(newest.get(folder, item.modified), item.modified)
            objects[folder] = objects.get(folder, 0) + 1
    stays = {match[0] for match in map(_JOB_FOLDER.search, kept) if match is not None}
    chosen: list[str] = []
    deleted = 0
    for folder in sorted(newest, key=lambda folder: (newest[folder], folder)):
        if folder in stays or folder.endswith(f"/{running}/") or newest[folder] >= before:
            continue
        deleted += objects[folder]
        if chosen and deleted > most:
            break
        chosen.append(folder)
    return tuple(chosen)


def _number(key: str) -> int:
    name = key.removesuffix(_COMPLETE).rpartition("/")[2]
    digits = name.removeprefix("chk-")
    # Savepoints are only taken to stop a job, so nothing of that job comes after them.
    return int(digits) if digits.isdigit() else 1 << 62
