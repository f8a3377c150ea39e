"""Where a stream's checkpoints and savepoints lie, and which is the newest that a new start can use.

Every submission writes below ``flink/checkpoints/<job name>/<spec hash>/``, so a checkpoint tells by its
place which stream and which specification it belongs to. That survives a JobManager that has forgotten all
its jobs, and keeps a start from restoring state of another specification into this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lakehouse_dagster.engines.s3 import ObjectStore

CHECKPOINTS = "flink/checkpoints"
SAVEPOINTS = "flink/savepoints"
_COMPLETE = "/_metadata"
"""Written last, so a checkpoint that has it is complete."""


def checkpoint_folder(bucket: str, job: str, spec_hash: str) -> str:
    """Return the address below which a job of this specification keeps its checkpoints."""
    return f"s3://{bucket}/{CHECKPOINTS}/{job}/{spec_hash}"


def savepoint_folder(bucket: str, job: str, spec_hash: str) -> str:
    """Return the address below which a job of this specification keeps its savepoints."""
    return f"s3://{bucket}/{SAVEPOINTS}/{job}/{spec_hash}"


def newest_checkpoint(store: ObjectStore, job: str, spec_hash: str) -> str | None:
    """Return the address of the newest complete checkpoint or savepoint of that specification, if any is
    retained.
    """
    found = [
        item
        for folder in (CHECKPOINTS, SAVEPOINTS)
        for item in store.list(f"{folder}/{job}/{spec_hash}/")
        if item.key.endswith(_COMPLETE)
    ]
    if not found:
        return None
    # The time of writing has one-second grain in S3 listings; the checkpoint's number decides within a
    # second.
    newest = max(found, key=lambda item: (item.modified, _number(item.key)))
    return f"s3://{store.bucket}/{newest.key.removesuffix(_COMPLETE)}"


def _number(key: str) -> int:
    digits = key.removesuffix(_COMPLETE).rpartition("chk-")[2]
    return int(digits) if digits.isdigit() else 0
