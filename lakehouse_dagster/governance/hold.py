"""Holding back publication while the lake is behind what it once was.

A lake job that starts without a checkpoint reads a part of its topics again, so for a while its newest
snapshots can show rows older than those already published. Whoever starts it so says first how far it must
come again; the publisher commits nothing for the pipeline until it has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from lakehouse_dagster.engines.errors import EngineError

if TYPE_CHECKING:
    from lakehouse_dagster.engines.postgres import PostgresClient, Session

Progress = Literal["behind", "reached", "released"]


@dataclass(frozen=True)
class Hold:
    """Publication of ``pipeline`` is held back until ``stream`` has committed all of ``targets`` again."""

    pipeline: str
    stream: str
    reason: str
    targets: Mapping[str, int]
    """By ``topic:partition`` the offset that must be committed again."""
    since: datetime
    reached_job: str | None = None
    """The job that was seen to have committed all targets; ``None`` while none was."""
    reached_checkpoint: int | None = None
    """That job's newest completed checkpoint when it was first seen so."""

    def missing(self, committed: Mapping[str, int]) -> dict[str, int]:
        """Return by ``topic:partition`` how many records are still to be committed.

        A partition that nothing was ever read from has no committed offset; that is as good as 0.
        """
        left = {name: target - committed.get(name, 0) for name, target in self.targets.items()}
        return {name: records for name, records in left.items() if records > 0}


@dataclass(frozen=True)
class Pin:
    """A person keeps what readers see of ``pipeline`` at an earlier version; only a person lets go of it.

    It is apart from a ``Hold``: both may be open at once, and nothing that a stream does ends it.
    """

    pipeline: str
    by: str
    reason: str
    since: datetime
    target: str
    """Hash of the commit whose version readers see."""
    before: str
    """Hash of ``main`` just before."""


class PublicationHeldError(EngineError):
    """Publication was asked for by hand while it is held back."""

    def __init__(self, hold: Hold | Pin) -> None:
        fix = (
            f"`lakehouse rollback {hold.pipeline} --forward` lets it go on"
            if isinstance(hold, Pin)
            else "it goes on by itself once that is made up for"
        )
        super().__init__("publisher", f"{said(hold)}; {fix}")
        self.hold = hold


def said(hold: Hold | Pin) -> str:
    """Return in words that and why publication is held back."""
    if isinstance(hold, Pin):
        return (
            f"publication of {hold.pipeline} is held back since {hold.since:%Y-%m-%d %H:%M:%S} UTC, because "
            f"{hold.by} has rolled it back to {hold.target[:12]} ({hold.reason})"
        )
    return (
        f"publication of {hold.pipeline} is held back since {hold.since:%Y-%m-%d %H:%M:%S} UTC, because "
        f"{hold.reason}"
    )


def progress(hold: Hold, committed: Mapping[str, int], job_id: str, checkpoint_id: int) -> Progress:
    """Say how far the stream has come, by its group's committed offsets and its newest completed checkpoint.

    ``reached``: all targets are committed. ``released``: and the same job has completed a later checkpoint
    than the one at which that was first seen. Offsets and tables are committed on the same notification of a
    checkpoint, the tables a moment later; a later checkpoint says that this moment is over. A new job proves
    nothing about its predecessor's tables, so after a change of jobs it is seen anew.
    """
    if hold.missing(committed):
        return "behind"
    if hold.reached_job == job_id and hold.reached_checkpoint is not None:
        return "released" if checkpoint_id > hold.reached_checkpoint else "reached"
    return "reached"


def advanced(hold: Hold, committed: Mapping[str, int], job_id: str, checkpoint_id: int) -> Hold | None:
    """Return ``hold`` as it is to be remembered after this look (see ``progress``); ``None``: released."""
    match progress(hold, committed, job_id, checkpoint_id):
        case "released":
            return None
        case "behind":
            return replace(hold, reached_job=None, reached_checkpoint=None)
        case "reached" if hold.reached_job == job_id and hold.reached_checkpoint is not None:
            return hold
        case "reached":
            return replace(hold, reached_job=job_id, reached_checkpoint=checkpoint_id)


def merge(hold: Hold, reason: str, targets: Mapping[str, int]) -> Hold:
    """Return ``hold`` after the stream went back once more: of each target the greater, the newer reason, and
    nothing reached yet.
    """
    greater = {
        name: max(hold.targets.get(name, 0), targets.get(name, 0)) for name in {*hold.targets, *targets}
    }
    return replace(hold, reason=reason, targets=greater, reached_job=None, reached_checkpoint=None)


class HoldStore:
    """The open holds, at most one per pipeline, in schema ``lakehouse`` of Dagster's database.

    The table is made at first use. Every method raises ``EngineUnavailable`` or ``EngineError``; whoever
    cannot ask must take publication for held.
    """

    def __init__(self, postgres: PostgresClient) -> None:
        self._postgres = postgres

    def hold(self, pipeline: str, stream: str, reason: str, targets: Mapping[str, int]) -> None:
        """Hold back publication from now on, before the stream goes back; merged with a hold that is open."""
        with self._changing(pipeline) as (session, hold):
            if hold is None:
                session.execute(_OPEN, (pipeline, stream, reason, json.dumps(dict(targets))))
            else:
                merged = merge(hold, reason, targets)
                session.execute(_MERGE, (stream, reason, json.dumps(dict(merged.targets)), pipeline))

    def held(self, pipeline: str) -> Hold | None:
        """Return the open hold of a pipeline; ``None`` when its publication is free."""
        rows = self._ready().query(_HELD, (pipeline,))
        return _hold(rows[0]) if rows else None

    def blocked(self, pipeline: str) -> Hold | Pin | None:
        """Return why nothing may be published now: a person's pin, a stream that is behind, or ``None``."""
        return self.pinned(pipeline) or self.held(pipeline)

    def pinned(self, pipeline: str) -> Pin | None:
        """Return the pin of a pipeline, if a person has set one."""
        rows = self._ready().query(_PINNED, (pipeline,))
        return Pin(**rows[0]) if rows else None

    def pin(self, pipeline: str, *, by: str, reason: str, target: str, before: str) -> None:
        """Publish nothing from now on until ``unpin``.

        Of a pipeline that is pinned already, ``before`` stays what it was at first.
        """
        self._ready().execute(_PIN, (pipeline, by, reason, target, before))

    def unpin(self, pipeline: str) -> None:
        """Let publication go on, unless it is held back for another reason."""
        self._ready().execute(_UNPIN, (pipeline,))

    def advance(self, pipeline: str, committed: Mapping[str, int], job_id: str, checkpoint_id: int) -> bool:
        """Take down how far the stream has come (see ``progress``); true when that released publication now.

        Read ``committed`` (``topic:partition`` to offset, of the stream's group) before asking for the job's
        newest completed checkpoint: the other way round offsets could belong to a later one than it names.
        """
        if self.held(pipeline) is None:
            return False  # as nearly always; nothing is locked for that
        with self._changing(pipeline) as (session, hold):
            if hold is None:
                return False
            after = advanced(hold, committed, job_id, checkpoint_id)
            if after is None:
                session.execute(_RELEASE, (pipeline,))
            elif after != hold:
                session.execute(_REACHED, (after.reached_job, after.reached_checkpoint, pipeline))
        return after is None

    def release(self, pipeline: str) -> Hold | None:
        """Free publication whatever was reached, and return the hold that was open.

        For an operator, when a target cannot be reached any more because its topic was made anew.
        """
        with self._changing(pipeline) as (session, hold):
            session.execute(_RELEASE, (pipeline,))
        return hold

    @contextmanager
    def _changing(self, pipeline: str) -> Iterator[tuple[Session, Hold | None]]:
        """Open a transaction that alone may change the hold of ``pipeline``, which comes with it."""
        with self._ready().transaction() as session:
            session.lock(f"hold/{pipeline}")
            rows = session.query(_HELD, (pipeline,))
            yield session, _hold(rows[0]) if rows else None

    def _ready(self) -> PostgresClient:
        self._postgres.migrate("publication holds", _STEPS)
        self._postgres.migrate("publication pins", _PIN_STEPS)
        return self._postgres


_STEPS = (
    """
CREATE TABLE lakehouse.publication_hold (
    pipeline text PRIMARY KEY,
    stream text NOT NULL,
    reason text NOT NULL,
    targets jsonb NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    reached_job text,
    reached_checkpoint bigint
)
""",
)
_PIN_STEPS = (
    """
CREATE TABLE lakehouse.publication_pin (
    pipeline text PRIMARY KEY,
    by text NOT NULL,
    reason text NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    target text NOT NULL,
    before text NOT NULL
)
""",
)
_PINNED = "SELECT * FROM lakehouse.publication_pin WHERE pipeline = %s"
_PIN = """
INSERT INTO lakehouse.publication_pin (pipeline, by, reason, target, before) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (pipeline) DO UPDATE SET by = excluded.by, reason = excluded.reason, target = excluded.target,
since = clock_timestamp()
"""
_UNPIN = "DELETE FROM lakehouse.publication_pin WHERE pipeline = %s"
_HELD = "SELECT * FROM lakehouse.publication_hold WHERE pipeline = %s"
_OPEN = """
INSERT INTO lakehouse.publication_hold (pipeline, stream, reason, targets) VALUES (%s, %s, %s, %s)
"""
_MERGE = """
UPDATE lakehouse.publication_hold SET stream = %s, reason = %s, targets = %s, reached_job = NULL,
reached_checkpoint = NULL WHERE pipeline = %s
"""
_REACHED = """
UPDATE lakehouse.publication_hold SET reached_job = %s, reached_checkpoint = %s WHERE pipeline = %s
"""
_RELEASE = "DELETE FROM lakehouse.publication_hold WHERE pipeline = %s"


def _hold(row: Mapping[str, Any]) -> Hold:
    return Hold(
        pipeline=row["pipeline"],
        stream=row["stream"],
        reason=row["reason"],
        targets={name: int(offset) for name, offset in row["targets"].items()},
        since=row["since"],
        reached_job=row["reached_job"],
        reached_checkpoint=row["reached_checkpoint"],
    )
