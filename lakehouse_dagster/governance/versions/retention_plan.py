"""What may be forgotten: pure functions from what there is to what goes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from lakehouse_dagster.engines.s3 import StoredObject

MIN_SNAPSHOTS = 10
"""So many of the newest Paimon snapshots stay whatever their age: readers may hold one of them."""


@dataclass(frozen=True)
class Sweep:
    """``delete`` goes now; ``waiting`` says since when nothing needs the others (address to time)."""

    delete: tuple[StoredObject, ...]
    waiting: Mapping[str, datetime]
    reachable: int

    @property
    def bytes(self) -> int:
        """Of what goes."""
        return sum(item.size for item in self.delete)


def sweep(
    objects: Iterable[StoredObject],
    reachable: Collection[str],
    since: Mapping[str, datetime],
    now: datetime,
    grace: timedelta,
) -> Sweep:
    """Decide which objects go.

    ``objects`` were listed before ``reachable`` (keys) was found out, so what came meanwhile is not among
    them. ``since`` says when an object was first seen to be needed by nothing. One goes when that is at least
    ``grace`` ago, for a query that began before may still read it, and when it was written as long ago, for
    it may belong to a commit that is still to come.
    """
    delete, waiting, kept = [], dict[str, datetime](), 0
    for item in objects:
        if item.key in reachable:
            kept += 1
            continue
        first = since.get(item.key, now)
        if now - first >= grace and now - item.modified >= grace:
            delete.append(item)
        else:
            waiting[item.key] = first
    return Sweep(tuple(delete), waiting, kept)


@dataclass(frozen=True)
class Dated:
    """A branch or tag with what decides about its end; times are None where nothing says them."""

    name: str
    is_tag: bool
    pipeline: str
    last_commit_at: datetime | None
    expires_at: datetime | None = None


def expired(
    references: Iterable[Dated], pipeline: str, now: datetime, branches: timedelta | None
) -> dict[str, str]:
    """Names of a pipeline's references that end now, each with why.

    A tag ends only when it was given a lifetime; a branch also when it has had no commit for ``branches``.
    References that were made elsewhere belong to no pipeline and stay.
    """
    found = {}
    for one in references:
        if one.pipeline != pipeline:
            continue
        if one.expires_at is not None and one.expires_at <= now:
            found[one.name] = f"its lifetime ended at {one.expires_at:%Y-%m-%d %H:%M} UTC"
        elif (
            not one.is_tag
            and branches is not None
            and one.last_commit_at is not None
            and now - one.last_commit_at >= branches
        ):
            found[one.name] = f"no commit since {one.last_commit_at:%Y-%m-%d %H:%M} UTC"
    return found


def snapshots_to_retain(kept: Mapping[int, datetime], needed: Collection[int], keep_since: datetime) -> int:
    """How many of the newest snapshots of a Paimon table stay.

    ``kept`` are those there are with their times, ``needed`` those that a reference shows. Everything from
    the oldest needed one on stays, and what is younger than ``keep_since``.
    """
    if not kept:
        return 0
    newest = max(kept)
    oldest = min(
        (number for number, at in kept.items() if at >= keep_since or number in needed), default=newest
    )
    counted = sum(1 for number in kept if number >= oldest)
    return max(counted, min(MIN_SNAPSHOTS, len(kept)))
