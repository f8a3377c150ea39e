"""The history of proofs, in schema ``lakehouse`` of Dagster's database."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from lakehouse_dagster.proof import proof_store_sql as sql
from lakehouse_dagster.proof.proofs import Proof
from lakehouse_dagster.proof.ranges import RangeSums

if TYPE_CHECKING:
    from lakehouse_dagster.engines.postgres import PostgresClient

KEPT = timedelta(days=90)
"""Older proofs are forgotten, but for the newest of each table and place, and the newest complete one."""


class ProofStore:
    """The proofs of all pipelines.

    The tables are made at first use. Times are UTC and by the database's clock. Every method raises
    ``EngineUnavailable`` or ``EngineError``.
    """

    def __init__(self, postgres: PostgresClient) -> None:
        self._postgres = postgres

    def record(self, proof: Proof, source: RangeSums, place: RangeSums) -> Proof:
        """Add a proof to the history and return it with its id and time.

        The hashes of the ranges of keys, as the source and the place had them in the first round, take the
        place of those of the proof before.
        """
        values = {name: getattr(proof, name) for name in sql.STORED}
        values["view"] = proof.view or ""
        values["examples"] = _storable(proof.examples)
        hashes = {"source": source.dump(), "place": place.dump()}
        with self._ready().transaction() as session:
            row = session.query(sql.INSERT, values)[0]
            session.execute(sql.KEEP_RANGES, {**values, **hashes, "id": row["id"], "held": proof.place})
            session.execute(sql.FORGET, (KEPT,))
        return replace(proof, id=row["id"], finished_at=row["finished_at"])

    def newest(self, pipeline: str, *, complete: bool = False) -> list[Proof]:
        """The newest proof of each table and place; with ``complete`` the newest that proved every row."""
        rows = self._ready().query(sql.NEWEST_COMPLETE if complete else sql.NEWEST, {"pipeline": pipeline})
        return [_proof(row) for row in rows]

    def history(self, pipeline: str, *, limit: int = 50) -> list[Proof]:
        """The newest proofs of a pipeline, newest first."""
        return [_proof(row) for row in self._ready().query(sql.HISTORY, (pipeline, limit))]

    def ranges(
        self, pipeline: str, table: str, place: str, view: str | None
    ) -> tuple[RangeSums, RangeSums] | None:
        """The source's and the place's hashes of the newest proof; None when there is no proof."""
        rows = self._ready().query(sql.RANGES, (pipeline, table, place, view or ""))
        if not rows:
            return None
        return RangeSums.load(bytes(rows[0]["source"])), RangeSums.load(bytes(rows[0]["place_sums"]))

    def _ready(self) -> PostgresClient:
        self._postgres.migrate("proofs", sql.STEPS)
        return self._postgres


def _storable(examples: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps([_clean(dict(example)) for example in examples])


def _clean(value: Any) -> Any:
    """Without NUL characters and halves of surrogate pairs, which PostgreSQL's JSON cannot hold."""
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {_clean(name): _clean(one) for name, one in value.items()}
    return [_clean(one) for one in value] if isinstance(value, list | tuple) else value


def _proof(row: Mapping[str, Any]) -> Proof:
    return Proof(**{**row, "view": row["view"] or None, "examples": tuple(row["examples"])})
