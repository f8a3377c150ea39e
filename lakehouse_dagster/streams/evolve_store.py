"""What is remembered of schema changes, in schema ``lakehouse`` of Dagster's database: the source's
statements, who approved what, what is under way, and what was done.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from lakehouse_dagster.contract.ddl import Ddl, Place, effects

if TYPE_CHECKING:
    from lakehouse_dagster.engines.postgres import PostgresClient

HistoryKind = Literal["approved", "applied", "failed", "forgotten", "stopped"]


@dataclass(frozen=True)
class Told:
    """One row of the history of a pipeline's schema."""

    id: int
    at: datetime
    kind: str
    table: str
    what: str
    by: str


@dataclass(frozen=True)
class Order:
    """What an application that is under way has to do; whoever finds one goes on with it."""

    lock: str
    """The new lock's text."""
    stopped: Mapping[str, str]
    tables: Mapping[str, Mapping[str, str]]
    """The tables that change, each with its renamed columns."""
    places: Mapping[str, tuple[str, int]]
    """Where in the binary log each of them changed, when that is known."""
    read_again: tuple[str, ...]
    repair: tuple[str, ...]
    ddl_offset: int
    """Statements up to this offset of the schema-change topic are accounted for by it."""
    changes: tuple[str, ...]
    """What is applied, in words."""
    by: str = ""

    def dump(self) -> str:
        """As JSON."""
        return json.dumps({**vars(self)})

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Order:
        """From JSON."""
        return cls(
            lock=body["lock"],
            stopped=body["stopped"],
            tables=body["tables"],
            places={name: (place[0], int(place[1])) for name, place in body["places"].items()},
            read_again=tuple(body["read_again"]),
            repair=tuple(body["repair"]),
            ddl_offset=int(body["ddl_offset"]),
            changes=tuple(body["changes"]),
            by=body["by"],
        )


class SchemaStore:
    """Statements, approvals, orders and history of all pipelines; the tables are made at first use.

    Every method raises ``EngineUnavailable`` or ``EngineError``.
    """

    def __init__(self, postgres: PostgresClient) -> None:
        self._postgres = postgres

    def next_offset(self, pipeline: str) -> int:
        """The offset of the schema-change topic from which on nothing was noted yet."""
        rows = self._ready().query(_NEXT, (pipeline,))
        return int(rows[0]["next_offset"]) if rows else 0

    def note(self, pipeline: str, ddls: Iterable[Ddl], next_offset: int) -> None:
        """Remember statements; noting one again changes nothing."""
        with self._ready().transaction() as session:
            for ddl in ddls:
                session.execute(
                    _NOTE,
                    (
                        pipeline, ddl.offset, ddl.database, ddl.statement.replace("\0", ""), ddl.place.file,
                        ddl.place.pos, ddl.gtid, ddl.ts_us, list(ddl.tables),
                    ),
                )  # fmt: skip
            session.execute(_SET_NEXT, (pipeline, next_offset))

    def forget(self, pipeline: str, why: str) -> None:
        """Forget all statements, because the topic that told them is another one now."""
        with self._ready().transaction() as session:
            for statement in _FORGET:
                session.execute(statement, (pipeline,))
            session.execute(_TELL, (pipeline, "forgotten", "", why, ""))

    def pending(self, pipeline: str, tables: Collection[str]) -> dict[str, list[Ddl]]:
        """For each of ``tables`` the statements that its shape in force does not account for, in the order of
        the topic: those of other tables too, because a table may take another one's place.
        """
        rows = self._ready().query(_SETTLED, (pipeline,))
        settled = {row["tab"]: int(row["up_to"]) for row in rows}
        oldest = min((settled.get(table, -1) for table in tables), default=-1)
        ddls = [_ddl(row) for row in self._ready().query(_PENDING, (pipeline, oldest))]
        return {table: [ddl for ddl in ddls if ddl.offset > settled.get(table, -1)] for table in tables}

    def settle(self, pipeline: str, up_to: int, tables: Collection[str]) -> None:
        """Let statements up to an offset count no more for ``tables``: the shape in force has them."""
        with self._ready().transaction() as session:
            for table in sorted(tables):
                session.execute(_SETTLE, (pipeline, table, up_to))

    def approve(self, pipeline: str, changes: Mapping[str, tuple[str, str]], *, by: str) -> None:
        """Remember that a person wants changes applied: table and words by the change's id."""
        with self._ready().transaction() as session:
            for change, (table, what) in changes.items():
                if session.execute(_APPROVE, (pipeline, change, table, what, by)):
                    session.execute(_TELL, (pipeline, "approved", table, what, by))

    def approved(self, pipeline: str) -> frozenset[str]:
        """Ids of the changes that were approved and not applied since."""
        return frozenset(row["change"] for row in self._ready().query(_APPROVED, (pipeline,)))

    def begin(self, pipeline: str, order: Order) -> None:
        """Remember what is about to be done, before it is; there is at most one order."""
        self._ready().execute(_BEGIN, (pipeline, order.dump()))

    def under_way(self, pipeline: str) -> Order | None:
        """The order that was begun and not ended."""
        rows = self._ready().query(_UNDER_WAY, (pipeline,))
        return Order.parse(rows[0]["plan"]) if rows else None

    def end(self, pipeline: str, order: Order) -> None:
        """Remember that an order was carried out, with everything that follows, at once."""
        with self._ready().transaction() as session:
            for table in sorted(order.tables):
                session.execute(_SETTLE, (pipeline, table, order.ddl_offset))
                # An approval is good once: the same change may be made again another time.
                session.execute(_SPEND, (pipeline, table))
            for what in order.changes:
                table = what.partition(":")[0].partition(".")[0]
                session.execute(_TELL, (pipeline, "applied", table, what, order.by))
            session.execute(_END, (pipeline,))

    def tell(self, pipeline: str, kind: HistoryKind, table: str, what: str, *, by: str) -> None:
        """Add a row to the history, unless the table's newest row says the same."""
        with self._ready().transaction() as session:
            session.lock(f"schema history/{pipeline}")
            newest = session.query(_NEWEST, (pipeline, table))
            if not newest or (newest[0]["kind"], newest[0]["what"]) != (kind, what):
                session.execute(_TELL, (pipeline, kind, table, what.replace("\0", ""), by))

    def history(self, pipeline: str, limit: int = 50) -> list[Told]:
        """The newest rows of the history, oldest first."""
        rows: Sequence[Mapping[str, Any]] = self._ready().query(_HISTORY, (pipeline, limit))
        return [
            Told(row["id"], row["at"], row["kind"], row["tab"], row["what"], row["by"]) for row in rows[::-1]
        ]

    def _ready(self) -> PostgresClient:
        self._postgres.migrate("schema changes", _STEPS)
        return self._postgres


def _ddl(row: Mapping[str, Any]) -> Ddl:
    return Ddl(
        offset=row["topic_offset"],
        database=row["db"],
        statement=row["statement"],
        place=Place(row["file"], row["pos"]),
        gtid=row["gtid"],
        ts_us=row["ts_us"],
        tables=tuple(row["tables"]),
        effects=effects(row["statement"]),
    )


_STEPS = (
    """
CREATE TABLE lakehouse.schema_topic (
    pipeline text PRIMARY KEY,
    next_offset bigint NOT NULL
);
CREATE TABLE lakehouse.schema_ddl (
    pipeline text NOT NULL,
    topic_offset bigint NOT NULL,
    db text NOT NULL,
    statement text NOT NULL,
    file text NOT NULL,
    pos bigint NOT NULL,
    gtid text,
    ts_us bigint NOT NULL,
    tables text[] NOT NULL,
    PRIMARY KEY (pipeline, topic_offset)
);
CREATE TABLE lakehouse.schema_settled (
    pipeline text NOT NULL,
    tab text NOT NULL,
    up_to bigint NOT NULL,
    PRIMARY KEY (pipeline, tab)
);
CREATE TABLE lakehouse.schema_approval (
    pipeline text NOT NULL,
    change text NOT NULL,
    tab text NOT NULL,
    what text NOT NULL,
    by text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (pipeline, change)
);
CREATE TABLE lakehouse.schema_order (
    pipeline text PRIMARY KEY,
    plan jsonb NOT NULL,
    begun_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE lakehouse.schema_history (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    pipeline text NOT NULL,
    kind text NOT NULL,
    tab text NOT NULL,
    what text NOT NULL,
    by text NOT NULL
);
CREATE INDEX schema_history_of_table ON lakehouse.schema_history (pipeline, tab, id);
""",
)
_NEXT = "SELECT next_offset FROM lakehouse.schema_topic WHERE pipeline = %s"
_SET_NEXT = """
INSERT INTO lakehouse.schema_topic AS t (pipeline, next_offset) VALUES (%s, %s)
ON CONFLICT (pipeline) DO UPDATE SET next_offset = greatest(t.next_offset, excluded.next_offset)
"""
# A connector that starts again tells its last statement again: by its place it is the same one, and settled
# with it.
_NOTE = """
INSERT INTO lakehouse.schema_ddl (pipeline, topic_offset, db, statement, file, pos, gtid, ts_us, tables)
SELECT new.* FROM (
    VALUES (%s, %s::bigint, %s, %s, %s, %s::bigint, %s, %s::bigint, %s::text[])
) AS new (pipeline, topic_offset, db, statement, file, pos, gtid, ts_us, tables)
WHERE NOT EXISTS (
    SELECT 1 FROM lakehouse.schema_ddl AS told
    WHERE told.pipeline = new.pipeline AND told.db = new.db AND told.statement = new.statement
      AND told.file = new.file AND told.pos = new.pos AND told.ts_us = new.ts_us
      AND told.gtid IS NOT DISTINCT FROM new.gtid AND told.tables = new.tables
)
ON CONFLICT DO NOTHING
"""
_PENDING = """
SELECT * FROM lakehouse.schema_ddl WHERE pipeline = %s AND topic_offset > %s ORDER BY topic_offset
"""
_SETTLED = "SELECT tab, up_to FROM lakehouse.schema_settled WHERE pipeline = %s"
_SETTLE = """
INSERT INTO lakehouse.schema_settled AS s (pipeline, tab, up_to) VALUES (%s, %s, %s)
ON CONFLICT (pipeline, tab) DO UPDATE SET up_to = greatest(s.up_to, excluded.up_to)
"""
_APPROVE = """
INSERT INTO lakehouse.schema_approval (pipeline, change, tab, what, by) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT DO NOTHING
"""
_APPROVED = "SELECT change FROM lakehouse.schema_approval WHERE pipeline = %s"
_SPEND = "DELETE FROM lakehouse.schema_approval WHERE pipeline = %s AND tab = %s"
_BEGIN = """
INSERT INTO lakehouse.schema_order (pipeline, plan) VALUES (%s, %s)
ON CONFLICT (pipeline) DO UPDATE SET plan = excluded.plan
"""
_UNDER_WAY = "SELECT plan FROM lakehouse.schema_order WHERE pipeline = %s"
_END = "DELETE FROM lakehouse.schema_order WHERE pipeline = %s"
_FORGET = (
    "DELETE FROM lakehouse.schema_ddl WHERE pipeline = %s",
    "DELETE FROM lakehouse.schema_settled WHERE pipeline = %s",
    "DELETE FROM lakehouse.schema_topic WHERE pipeline = %s",
)
_TELL = "INSERT INTO lakehouse.schema_history (pipeline, kind, tab, what, by) VALUES (%s, %s, %s, %s, %s)"
_NEWEST = """
SELECT kind, what FROM lakehouse.schema_history WHERE pipeline = %s AND tab = %s ORDER BY id DESC LIMIT 1
"""
_HISTORY = "SELECT * FROM lakehouse.schema_history WHERE pipeline = %s ORDER BY id DESC LIMIT %s"
