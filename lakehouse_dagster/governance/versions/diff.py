"""Rows added, removed and changed between two versions of a pipeline, computed by Trino."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.names import AUDIT_COLUMNS, QUARANTINE_TABLE
from lakehouse_dagster.engines.nessie import Key
from lakehouse_dagster.engines.trino import TrinoClient, identifier, literal
from lakehouse_dagster.governance.versions.diff_sql import (
    Compared,
    counts_sql,
    parts,
    rows_sql,
    sample_sql,
    schema_changes,
)
from lakehouse_dagster.governance.versions.freeze import own_schemas
from lakehouse_dagster.governance.versions.pins import shown_at
from lakehouse_dagster.governance.versions.references import resolve, tables_of

if TYPE_CHECKING:
    from lakehouse_dagster.engines.clients import Clients

BIG_ROWS = 1_000_000
"""Of a larger table only counts are shown unless rows are asked for."""
QUARANTINE_KEY = ("topic", "partition", "offset")

Report = Callable[[str], None]


@dataclass(frozen=True)
class Row:
    """One row that differs: its columns by name ``before`` and ``after``; empty where it is absent."""

    change: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]

    @property
    def changed(self) -> list[str]:
        """Columns whose values differ, of a changed row."""
        return [name for name in self.after if self.before.get(name) != self.after[name]]


@dataclass(frozen=True)
class TableDiff:
    """How one table differs. ``only_in`` is the version that alone has it, else counts of rows are given."""

    table: str
    key: tuple[str, ...] = ()
    only_in: str | None = None
    added: int = 0
    removed: int = 0
    changed: int = 0
    same: int = 0
    schema: Mapping[str, list[str]] = field(default_factory=dict)
    rows: tuple[Row, ...] = ()
    rows_left_out: bool = False

    @property
    def equal(self) -> bool:
        """Whether no row and no column differs."""
        counts = (self.added, self.removed, self.changed)
        return self.only_in is None and not any(counts) and not any(self.schema.values())


@dataclass(frozen=True)
class Diff:
    """Two versions compared: the hashes compared, the tables that may differ, and those that cannot."""

    before: str
    after: str
    tables: tuple[TableDiff, ...]
    identical: tuple[str, ...]
    """Tables of which both versions have the very same files, not compared."""


def diff(
    clients: Clients,
    contract: Contract,
    before: str,
    after: str,
    *,
    table: str | None = None,
    limit: int | None = None,
    report: Report = lambda _: None,
) -> Diff:
    """Compare two versions by primary key, without regard to the audit columns.

    ``table`` is a lake table or a mart; ``limit`` is how many rows are shown of each (default 10, none of
    tables above a million rows). Raises UnknownVersionError, ValueError for a table that neither has.
    """
    old, new = (resolve(clients.nessie, contract.name, spec) for spec in (before, after))
    sides = []
    for version in (old, new):
        entries = tables_of(clients.nessie.entries(version.reference))
        sides.append({key: t for key, t in entries.items() if key[0] in own_schemas(contract)})
    keys = sorted({*sides[0], *sides[1]})
    if table is not None:
        keys = [key for key in keys if key[1] == table]
        if not keys:
            raise ValueError(f"neither {before} nor {after} has a table {table} of {contract.name}")
    identical = [
        key
        for key in keys
        if key in sides[0]
        and key in sides[1]
        and sides[0][key].metadata_location == sides[1][key].metadata_location
    ]
    found: list[TableDiff] = []
    with shown_at(clients, old.reference) as trino, shown_at(clients, new.reference) as other:
        for key in (one for one in keys if one not in identical):
            name = key[1] if key[0] == contract.name else ".".join(key)
            if key not in sides[0] or key not in sides[1]:
                found.append(TableDiff(name, only_in=before if key in sides[0] else after))
                continue
            report(f"comparing {name}")
            found.append(_table(contract, key, name, trino, other, limit, report))
    return Diff(old.hash, new.hash, tuple(found), tuple(key[1] for key in identical))


def _table(
    contract: Contract,
    key: Key,
    name: str,
    before: TrinoClient,
    after: TrinoClient,
    limit: int | None,
    report: Report,
) -> TableDiff:
    old, new = (_columns(side, key) for side in (before, after))
    types = dict(new)
    # Trino shows all names in lower case.
    known = (column.lower() for column in primary_key(contract, key))
    primary = tuple(column for column in known if column in dict(old) and column in types)
    shared = [c for c, _ in old if c in types and (c not in AUDIT_COLUMNS or c in primary)]
    compared = Compared(
        schema=key[0],
        table=key[1],
        before=before.catalog,
        after=after.catalog,
        key=primary,
        columns=(*primary, *(column for column in shared if column not in primary)),
        binary=frozenset(column for column, kind in (*old, *new) if kind == "varbinary"),
    )
    rows = max(after.execute(rows_sql(compared)).rows[0])
    several = parts(rows)
    counts = [0, 0, 0, 0]
    for part in range(several):
        answer = after.execute(counts_sql(compared, part, several)).rows[0]
        counts = [total + int(value) for total, value in zip(counts, answer, strict=True)]
        if several > 1:
            report(f"{name}: part {part + 1} of {several}")
    wanted = (0 if rows > BIG_ROWS else 10) if limit is None else limit
    shown: list[Row] = []
    if wanted and any(counts[:3]):
        for part in range(several):
            answer_rows = after.execute(sample_sql(compared, wanted - len(shown), part, several)).rows
            shown.extend(_row(compared.columns, row) for row in answer_rows)
            if len(shown) >= wanted:
                break
    return TableDiff(
        name,
        key=primary,
        added=counts[0],
        removed=counts[1],
        changed=counts[2],
        same=counts[3],
        schema=schema_changes(old, new),
        rows=tuple(shown),
        rows_left_out=sum(counts[:3]) > len(shown),
    )


def primary_key(contract: Contract, key: Key) -> tuple[str, ...]:
    """Columns that tell the rows of a lake table or mart apart; empty where nothing is known to."""
    schema, table = key
    if schema == contract.name:
        if table == QUARANTINE_TABLE:
            return QUARANTINE_KEY
        known = {one.name for one in contract.tables}
        return tuple(contract.schema(table).primary_key) if table in known else ()
    marts = {mart.name: mart for mart in contract.marts}
    return marts[table].key if table in marts else ()


def _columns(trino: TrinoClient, key: Key) -> list[tuple[str, str]]:
    sql = (
        f"SELECT column_name, data_type FROM {identifier(trino.catalog)}.information_schema.columns "  # noqa: S608
        f"WHERE table_schema = {literal(key[0])} AND table_name = {literal(key[1].lower())} "
        "ORDER BY ordinal_position"
    )
    return [(row[0], row[1]) for row in trino.execute(sql).rows]


def _row(columns: Sequence[str], values: Sequence[Any]) -> Row:
    change, *rest = values
    before = dict(zip(columns, rest[: len(columns)], strict=True))
    after = dict(zip(columns, rest[len(columns) :], strict=True))
    return Row(
        change=change,
        before={} if change == "added" else before,
        after={} if change == "removed" else after,
    )
