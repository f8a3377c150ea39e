"""Tables and statements of ``streams.store``, in schema ``lakehouse`` of Dagster's database."""

# What is put into a statement here are names of our own; values always travel beside it.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from lakehouse_dagster.streams.memory import ATTEMPTS, FRESH_STARTS, Event, EventKind, Gap, Mark

STEPS = (
    """
CREATE TABLE lakehouse.stream (
    pipeline text NOT NULL,
    stream text NOT NULL,
    desired text,
    declared_by text,
    declared_reason text,
    declared_at timestamptz,
    state_floor timestamptz,
    PRIMARY KEY (pipeline, stream)
);
CREATE TABLE lakehouse.stream_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    pipeline text NOT NULL,
    stream text NOT NULL,
    kind text NOT NULL,
    state text NOT NULL,
    verb text NOT NULL,
    rule text NOT NULL,
    reason text NOT NULL,
    checkpoint text,
    job_id text,
    spec_hash text,
    seconds_down double precision,
    actor text NOT NULL,
    ok boolean NOT NULL,
    mark text
);
CREATE INDEX stream_event_of_pipeline ON lakehouse.stream_event (pipeline, id);
CREATE INDEX stream_event_of_stream ON lakehouse.stream_event (pipeline, stream, id);
CREATE INDEX stream_event_decision ON lakehouse.stream_event (pipeline, stream, id)
    WHERE kind = 'decision';
CREATE INDEX stream_event_settled ON lakehouse.stream_event (pipeline, stream, id)
    WHERE mark IN ('running', 'paused');
CREATE INDEX stream_event_seen ON lakehouse.stream_event (pipeline, stream, id)
    WHERE mark IN ('running', 'started');
CREATE INDEX stream_event_attempt ON lakehouse.stream_event (pipeline, stream, id)
    WHERE kind IN ('start', 'upgrade');
CREATE INDEX stream_event_fresh ON lakehouse.stream_event (pipeline, stream, id)
    WHERE kind IN ('calm', 'declared');
CREATE TABLE lakehouse.bad_checkpoint (
    pipeline text NOT NULL,
    stream text NOT NULL,
    checkpoint text NOT NULL,
    why text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (pipeline, stream, checkpoint)
);
CREATE TABLE lakehouse.gap (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline text NOT NULL,
    stream text NOT NULL,
    tables text[] NOT NULL,
    description text NOT NULL,
    detected_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    closed_at timestamptz,
    closed_by text
);
CREATE INDEX gap_open ON lakehouse.gap (pipeline, stream) WHERE closed_at IS NULL;
""",
)
"""How the tables come about. Steps are only ever added; one that was released stays as it is."""


def _one_of(column: str, values: Sequence[str]) -> str:
    listed = ", ".join(f"'{value}'" for value in values)
    return f"{column} IN ({listed})"


# The conditions of the partial indexes, word for word: a statement uses an index only when it states its
# condition.
DECISION = f"kind = '{EventKind.DECISION.value}'"
SETTLED = _one_of("mark", [Mark.RUNNING.value, Mark.PAUSED.value])
SEEN = _one_of("mark", [Mark.RUNNING.value, Mark.STARTED.value])
ATTEMPT = _one_of("kind", [kind.value for kind in ATTEMPTS])
FRESH = _one_of("kind", [kind.value for kind in FRESH_STARTS])

STREAMS = f"""
SELECT
    s.name, clock_timestamp() AS now,
    d.desired, d.declared_by, d.declared_reason, d.declared_at, d.state_floor,
    ARRAY(
        SELECT b.checkpoint FROM lakehouse.bad_checkpoint b
        WHERE b.pipeline = %(pipeline)s AND b.stream = s.name
    ) AS bad_checkpoints,
    EXISTS (
        SELECT FROM lakehouse.stream_event e
        WHERE e.pipeline = %(pipeline)s AND e.stream = s.name AND {SEEN}
    ) AS seen_before,
    (
        SELECT e.at FROM lakehouse.stream_event e
        WHERE e.pipeline = %(pipeline)s AND e.stream = s.name AND {DECISION}
        AND e.id > coalesce((
            SELECT max(e.id) FROM lakehouse.stream_event e
            WHERE e.pipeline = %(pipeline)s AND e.stream = s.name AND {SETTLED}
        ), 0)
        ORDER BY e.id LIMIT 1
    ) AS down_since,
    (
        SELECT max(e.id) FROM lakehouse.stream_event e
        WHERE e.pipeline = %(pipeline)s AND e.stream = s.name AND {DECISION}
    ) AS last_id
FROM unnest(%(streams)s::text[]) AS s (name)
LEFT JOIN lakehouse.stream d ON d.pipeline = %(pipeline)s AND d.stream = s.name
"""
"""One row per asked stream; ``down_since`` is the first decision after the newest that found it settled."""

ATTEMPTS_OF = f"""
SELECT s.name AS stream, coalesce(e.spec_hash, '') AS spec_hash, count(*) AS recent, max(e.at) AS newest
FROM unnest(%(streams)s::text[]) AS s (name)
JOIN lakehouse.stream_event e ON e.pipeline = %(pipeline)s AND e.stream = s.name AND {ATTEMPT}
AND e.id > coalesce((
    SELECT max(e.id) FROM lakehouse.stream_event e
    WHERE e.pipeline = %(pipeline)s AND e.stream = s.name AND {FRESH}
), 0)
GROUP BY 1, 2
"""

_EVENT = ", ".join(field.name for field in fields(Event))
EVENTS = f"SELECT {_EVENT} FROM lakehouse.stream_event"
STORED = tuple(field.name for field in fields(Event) if field.name not in {"id", "at"})
INSERT_EVENT = (
    f"INSERT INTO lakehouse.stream_event ({', '.join(STORED)}, mark)"
    f" VALUES ({', '.join(f'%({name})s' for name in STORED)}, %(mark)s) RETURNING id"
)
FORGET_EVENTS = """
DELETE FROM lakehouse.stream_event WHERE at < clock_timestamp() - %s AND id NOT IN (
    SELECT max(id) FROM lakehouse.stream_event GROUP BY pipeline, stream, kind, rule, mark
)
"""
"""The newest of each kind stays however old it is, because the memory of a quiet stream is made of them."""
FORGET_CHECKPOINTS = "DELETE FROM lakehouse.bad_checkpoint WHERE at < clock_timestamp() - %s"

DECLARE = """
INSERT INTO lakehouse.stream (pipeline, stream, desired, declared_by, declared_reason, declared_at)
VALUES (%s, %s, %s, %s, %s, clock_timestamp())
ON CONFLICT (pipeline, stream) DO UPDATE SET desired = excluded.desired, declared_by = excluded.declared_by,
declared_reason = excluded.declared_reason, declared_at = excluded.declared_at
"""
RAISE_FLOOR = """
INSERT INTO lakehouse.stream AS s (pipeline, stream, state_floor) VALUES (%s, %s, %s)
ON CONFLICT (pipeline, stream) DO UPDATE SET state_floor = greatest(s.state_floor, excluded.state_floor)
"""
INSERT_BAD_CHECKPOINT = """
INSERT INTO lakehouse.bad_checkpoint (pipeline, stream, checkpoint, why) VALUES (%s, %s, %s, %s)
ON CONFLICT DO NOTHING
"""

_GAP = ", ".join(field.name for field in fields(Gap))
OPEN_GAPS = f"""
SELECT {_GAP} FROM lakehouse.gap
WHERE pipeline = %(pipeline)s AND stream = ANY(%(streams)s) AND closed_at IS NULL ORDER BY id
"""
INSERT_GAP = f"""
INSERT INTO lakehouse.gap (pipeline, stream, tables, description) VALUES (%s, %s, %s, %s) RETURNING {_GAP}
"""
SET_GAP_TABLES = f"UPDATE lakehouse.gap SET tables = %s WHERE id = %s RETURNING {_GAP}"
CLOSE_GAP = "UPDATE lakehouse.gap SET closed_at = clock_timestamp(), closed_by = %s WHERE id = %s"
