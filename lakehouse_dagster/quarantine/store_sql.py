"""Tables and statements of ``quarantine.store``, in schema ``lakehouse`` of Dagster's database."""

# What is put into a statement here are names of our own; values always travel beside it.
# ruff: noqa: S608

from __future__ import annotations

STEPS = (
    """
CREATE TABLE lakehouse.quarantine_records (
    id bigint GENERATED ALWAYS AS IDENTITY,
    pipeline text NOT NULL,
    topic text NOT NULL,
    "partition" int NOT NULL,
    "offset" bigint NOT NULL,
    fingerprint text NOT NULL,
    reason text NOT NULL,
    key bytea,
    raw bytea,
    size bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    letter bigint NOT NULL,
    malformed boolean NOT NULL,
    PRIMARY KEY (pipeline, topic, "partition", "offset", fingerprint)
);
CREATE INDEX quarantine_records_of_topic ON lakehouse.quarantine_records (pipeline, topic, id);
CREATE INDEX quarantine_records_of_fingerprint ON lakehouse.quarantine_records (fingerprint);
CREATE INDEX quarantine_records_of_pipeline ON lakehouse.quarantine_records (pipeline, id);
CREATE TABLE lakehouse.quarantine_decisions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline text NOT NULL,
    topic text NOT NULL,
    "partition" int NOT NULL,
    "offset" bigint NOT NULL,
    fingerprint text NOT NULL,
    decision text NOT NULL CHECK (decision IN ('replayed', 'dropped')),
    by text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    why text NOT NULL,
    proof text NOT NULL
);
CREATE INDEX quarantine_decisions_of_record
    ON lakehouse.quarantine_decisions (pipeline, topic, "partition", "offset", fingerprint, id);
CREATE TABLE lakehouse.quarantine_read (
    pipeline text PRIMARY KEY,
    read_to bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
""",
)
"""How the tables come about. Steps are only ever added; one that was released stays as it is."""

READ_TO = "SELECT read_to FROM lakehouse.quarantine_read WHERE pipeline = %s"
SET_READ_TO = """
INSERT INTO lakehouse.quarantine_read (pipeline, read_to) VALUES (%s, %s)
ON CONFLICT (pipeline) DO UPDATE SET read_to = excluded.read_to, at = clock_timestamp()
"""

COLUMNS = (
    "topic",
    '"partition"',
    '"offset"',
    "fingerprint",
    "reason",
    "key",
    "raw",
    "size",
    "recorded_at",
    "letter",
    "malformed",
)
INSERT = (
    f"INSERT INTO lakehouse.quarantine_records (pipeline, {', '.join(COLUMNS)})"
    f" VALUES (%s{', %s' * len(COLUMNS)}) ON CONFLICT DO NOTHING"
)

_OF_RECORD = (
    'd.pipeline = r.pipeline AND d.topic = r.topic AND d."partition" = r."partition"'
    ' AND d."offset" = r."offset" AND d.fingerprint = r.fingerprint'
)
OPEN = f"NOT EXISTS (SELECT FROM lakehouse.quarantine_decisions d WHERE {_OF_RECORD})"
RECORDS = f"""
SELECT r.id, {", ".join(f"r.{name}" for name in COLUMNS)}, d.decision, d.by, d.at, d.why, d.proof
FROM lakehouse.quarantine_records r
LEFT JOIN LATERAL (
    SELECT * FROM lakehouse.quarantine_decisions d WHERE {_OF_RECORD} ORDER BY d.id DESC LIMIT 1
) d ON true
WHERE r.pipeline = %(pipeline)s
"""
DECIDE = """
INSERT INTO lakehouse.quarantine_decisions
    (pipeline, topic, "partition", "offset", fingerprint, decision, by, why, proof)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
COUNTS = f"""
SELECT r.topic, r.malformed, count(*) AS total, count(*) FILTER (WHERE {OPEN}) AS open, max(r.id) AS newest
FROM lakehouse.quarantine_records r WHERE r.pipeline = %s GROUP BY r.topic, r.malformed
"""
NEWEST_DECISION = """
SELECT coalesce(max(id), 0) AS id FROM lakehouse.quarantine_decisions WHERE pipeline = %s
"""
COUNT_AFTER = """
SELECT count(*) AS n FROM lakehouse.quarantine_records WHERE pipeline = %s AND topic = ANY(%s) AND id > %s
"""
