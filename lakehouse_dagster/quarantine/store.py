"""What the platform knows of quarantined records, kept in schema ``lakehouse`` of Dagster's database.

The dead-letter topic is the record; these tables are what has been read of it, so that a look costs a query
and not the reading of all dead letters, and what was decided. Without them everything is read again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakehouse_dagster.quarantine import store_sql as sql
from lakehouse_dagster.quarantine.model import Decision, Place, Quarantined, Verdict

if TYPE_CHECKING:
    from lakehouse_dagster.engines.postgres import PostgresClient

LOCK = "quarantine"
"""Ids are drawn under this lock: whoever has seen one has missed none below it."""


@dataclass(frozen=True)
class Counts:
    """How many records of one topic are known, and of how many nothing is decided; the newest one's id."""

    total: int = 0
    open: int = 0
    newest: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.total + other.total, self.open + other.open, max(self.newest, other.newest))


class QuarantineStore:
    """Quarantined records of all pipelines and the decisions about them; the tables are made at first use.

    Every method raises ``EngineUnavailable`` or ``EngineError``.
    """

    def __init__(self, postgres: PostgresClient) -> None:
        self._postgres = postgres

    def read_to(self, pipeline: str) -> int:
        """Return the offset up to which the dead-letter topic has been read."""
        rows = self._ready().query(sql.READ_TO, (pipeline,))
        return int(rows[0]["read_to"]) if rows else 0

    def add(self, pipeline: str, records: Sequence[Quarantined], *, read_to: int) -> int:
        """Remember what was read of the dead-letter topic up to ``read_to``; returns how many are new."""
        new = 0
        with self._ready().transaction() as session:
            session.lock(LOCK)
            for one in records:
                told = (one.fingerprint, _text(one.reason), one.key, one.raw, one.size)
                more = (one.recorded_at, one.letter, one.malformed)
                new += session.execute(sql.INSERT, (pipeline, *one.place, *told, *more))
            session.execute(sql.SET_READ_TO, (pipeline, read_to))
        return new

    def records(
        self,
        pipeline: str,
        *,
        topics: Sequence[str] | None = None,
        places: Sequence[Place] | None = None,
        only_open: bool = True,
        malformed: bool | None = None,
        reason: str | None = None,
        after: int = 0,
        upto: int | None = None,
        limit: int = 100,
        newest_first: bool = False,
    ) -> list[Quarantined]:
        """Return at most ``limit`` records in the order in which they became known, each with its newest
        decision.

        ``topics``, ``places`` and the exact ``reason`` restrict them where given, and ids to those greater
        than ``after`` and not greater than ``upto``.
        """
        values: dict[str, Any] = {"pipeline": pipeline, "after": after, "limit": limit}
        conditions = ["r.id > %(after)s"]
        if topics is not None:
            conditions.append("r.topic = ANY(%(topics)s)")
            values["topics"] = list(topics)
        if places is not None:
            conditions.append(_among(places, values))
        if only_open:
            conditions.append(sql.OPEN)
        if malformed is not None:
            conditions.append("r.malformed = %(malformed)s")
            values["malformed"] = malformed
        if reason is not None:
            conditions.append("r.reason = %(reason)s")
            values["reason"] = reason
        if upto is not None:
            conditions.append("r.id <= %(upto)s")
            values["upto"] = upto
        rows = self._ready().query(
            f"{sql.RECORDS} AND {' AND '.join(conditions)}"
            f" ORDER BY r.id {'DESC' if newest_first else 'ASC'} LIMIT %(limit)s",
            values,
        )
        return [_record(row) for row in rows]

    def with_fingerprints(self, pipeline: str, fingerprints: Sequence[str]) -> list[Quarantined]:
        """Return the records with one of the fingerprints."""
        rows = self._ready().query(
            f"{sql.RECORDS} AND r.fingerprint = ANY(%(wanted)s) ORDER BY r.id",
            {"pipeline": pipeline, "wanted": list(fingerprints)},
        )
        return [_record(row) for row in rows]

    def decide(
        self,
        pipeline: str,
        records: Sequence[Quarantined],
        verdict: Verdict,
        *,
        by: str,
        why: str = "",
        proof: str = "",
    ) -> None:
        """Remember the same decision about all of ``records``."""
        with self._ready().transaction() as session:
            for one in records:
                values = (pipeline, *one.place, one.fingerprint, verdict.value)
                session.execute(sql.DECIDE, (*values, _text(by), _text(why), _text(proof)))

    def counts(self, pipeline: str) -> dict[tuple[str, bool], Counts]:
        """Return the counts by topic and by whether the records are malformed dead letters."""
        rows = self._ready().query(sql.COUNTS, (pipeline,))
        return {
            (row["topic"], row["malformed"]): Counts(row["total"], row["open"], row["newest"]) for row in rows
        }

    def count_after(self, pipeline: str, topics: Sequence[str], after: int) -> int:
        """Return how many records of ``topics`` have an id greater than ``after``."""
        return int(self._ready().query(sql.COUNT_AFTER, (pipeline, list(topics), after))[0]["n"])

    def newest_decision(self, pipeline: str) -> int:
        """Return a number that grows with every decision."""
        return int(self._ready().query(sql.NEWEST_DECISION, (pipeline,))[0]["id"])

    def _ready(self) -> PostgresClient:
        self._postgres.migrate("quarantine", sql.STEPS)
        return self._postgres


def _among(places: Sequence[Place], values: dict[str, Any]) -> str:
    """Return the condition that a record is at one of ``places``; what it compares goes into ``values``."""
    alternatives = []
    for number, place in enumerate(places):
        values |= {f"t{number}": place.topic, f"p{number}": place.partition, f"o{number}": place.offset}
        alternatives.append(
            f'(r.topic = %(t{number})s AND r."partition" = %(p{number})s AND r."offset" = %(o{number})s)'
        )
    return f"({' OR '.join(alternatives) or 'false'})"


def _text(text: str) -> str:
    """Leave out NUL characters and lone surrogates, which PostgreSQL's text cannot hold."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def _record(row: Mapping[str, Any]) -> Quarantined:
    decision = None
    if row["decision"] is not None:
        verdict = Verdict(row["decision"])
        decision = Decision(verdict, row["by"], row["at"], row["why"], row["proof"])
    return Quarantined(
        place=Place(row["topic"], row["partition"], row["offset"]),
        reason=row["reason"],
        key=_bytes(row["key"]),
        raw=_bytes(row["raw"]),
        size=row["size"],
        recorded_at=row["recorded_at"],
        letter=row["letter"],
        fingerprint=row["fingerprint"],
        malformed=row["malformed"],
        id=row["id"],
        decision=decision,
    )


def _bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)
