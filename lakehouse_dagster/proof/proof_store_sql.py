"""Tables and statements of ``proof.proof_store``, in schema ``lakehouse`` of Dagster's database."""

# What is put into a statement here are names of our own; values always travel beside it.
# ruff: noqa: S608

from __future__ import annotations

from dataclasses import fields

from lakehouse_dagster.proof.proofs import Proof

STEPS = (
    """
CREATE TABLE lakehouse.proofs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    finished_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    pipeline text NOT NULL,
    "table" text NOT NULL,
    place text NOT NULL,
    view text NOT NULL,
    file text NOT NULL,
    pos bigint NOT NULL,
    gtids text NOT NULL,
    as_of timestamptz NOT NULL,
    source_rows bigint NOT NULL,
    rows bigint NOT NULL,
    missing bigint NOT NULL,
    extra bigint NOT NULL,
    different bigint NOT NULL,
    unsettled bigint NOT NULL,
    rounds int NOT NULL,
    seconds double precision NOT NULL,
    source_rows_per_second double precision NOT NULL,
    ranges int NOT NULL,
    actor text NOT NULL,
    examples jsonb NOT NULL
);
CREATE INDEX proofs_of_place ON lakehouse.proofs (pipeline, "table", place, view, id);
CREATE INDEX proofs_complete ON lakehouse.proofs (pipeline, "table", place, view, id)
    WHERE missing = 0 AND extra = 0 AND different = 0 AND unsettled = 0;
CREATE INDEX proofs_age ON lakehouse.proofs (finished_at);
CREATE TABLE lakehouse.proof_ranges (
    pipeline text NOT NULL,
    "table" text NOT NULL,
    place text NOT NULL,
    view text NOT NULL,
    proof bigint NOT NULL,
    source bytea NOT NULL,
    place_sums bytea NOT NULL,
    PRIMARY KEY (pipeline, "table", place, view)
);
""",
)
"""How the tables come about. Steps are only ever added; one that was released stays as it is."""

STORED = tuple(field.name for field in fields(Proof) if field.name not in {"id", "finished_at"})
_COLUMNS = ", ".join(f'"{field.name}"' for field in fields(Proof))
_PLACE = 'pipeline, "table", place, view'
# The condition of the partial index, word for word.
_COMPLETE = "missing = 0 AND extra = 0 AND different = 0 AND unsettled = 0"

_NAMED = ", ".join(f'"{name}"' for name in STORED)
INSERT = (
    f"INSERT INTO lakehouse.proofs ({_NAMED})"
    f" VALUES ({', '.join(f'%({name})s' for name in STORED)}) RETURNING id, finished_at"
)
KEEP_RANGES = f"""
INSERT INTO lakehouse.proof_ranges ({_PLACE}, proof, source, place_sums)
VALUES (%(pipeline)s, %(table)s, %(held)s, %(view)s, %(id)s, %(source)s, %(place)s)
ON CONFLICT ({_PLACE}) DO UPDATE
SET proof = excluded.proof, source = excluded.source, place_sums = excluded.place_sums
"""
_OF_PIPELINE = f"SELECT DISTINCT ON ({_PLACE}) {_COLUMNS} FROM lakehouse.proofs WHERE pipeline = %(pipeline)s"
NEWEST = f"{_OF_PIPELINE} ORDER BY {_PLACE}, id DESC"
NEWEST_COMPLETE = f"{_OF_PIPELINE} AND {_COMPLETE} ORDER BY {_PLACE}, id DESC"
HISTORY = f"SELECT {_COLUMNS} FROM lakehouse.proofs WHERE pipeline = %s ORDER BY id DESC LIMIT %s"
RANGES = """
SELECT source, place_sums FROM lakehouse.proof_ranges
WHERE pipeline = %s AND "table" = %s AND place = %s AND view = %s
"""
FORGET = f"""
DELETE FROM lakehouse.proofs WHERE finished_at < clock_timestamp() - %s AND id NOT IN (
    SELECT max(id) FROM lakehouse.proofs GROUP BY {_PLACE}
    UNION ALL
    SELECT max(id) FROM lakehouse.proofs WHERE {_COMPLETE} GROUP BY {_PLACE}
)
"""
