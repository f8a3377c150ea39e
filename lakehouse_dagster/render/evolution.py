"""What an applied change of a table's shape means for each place: statements, obstacles, and what is left.

Everything is worked out from what a place has now and what the contract says, never from what was done
before: so whoever was interrupted starts again and gets only what is left to do.

*Paimon* takes new, dropped, renamed and moved columns, and keeps the ids of fields, so old files stay right.
Its tables are read as Iceberg by everybody else, so a type is only changed where Iceberg allows it: INT to
BIGINT, FLOAT to DOUBLE, DECIMAL to more digits of the same scale. A column of the key can change neither its
type nor its place in the key.

*Cassandra* takes new columns at any time and lets others go; it cannot change a column's type. *CouchDB*'s
documents have no schema. *Marts* are queries: one that reads a column that is gone has to be changed first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import traverse_scope

from lakehouse_dagster.contract.checks import check
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.ddl import History
from lakehouse_dagster.contract.evolution import Change, Kind
from lakehouse_dagster.contract.marts import AUDIT_TYPES, DIALECT, LAKE, parse_select
from lakehouse_dagster.contract.model import View
from lakehouse_dagster.contract.names import SERVING_POSITION
from lakehouse_dagster.contract.schema import SchemaLock
from lakehouse_dagster.contract.types import UncarryableType, mapping
from lakehouse_dagster.render import paimon, quoting
from lakehouse_dagster.render.flink_sql import FlinkScript

Columns = Sequence[tuple[str, str]]
"""Names and types of a table, in order."""


@dataclass(frozen=True)
class Alteration:
    """How one table of one place becomes what the contract says.

    Attributes:
        first: Statements that may run while the old job still writes.
        last: Statements that have to wait until no job of the old shape is left.
        obstacles: Why it cannot, in words; there are no statements then.
    """

    first: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    obstacles: tuple[str, ...] = ()

    @property
    def needed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.first or self.last or self.obstacles)


# --- the contract ---------------------------------------------------------------------------------


def relocked(contract: Contract, lock: SchemaLock) -> tuple[Contract, dict[str, list[str]]]:
    """The contract with another lock, and by table what its own parts (views, marts, descriptions) do not
    agree with, each with the fix. With any, the contract could not be loaded.

    What concerns no single table is listed under every table that differs.
    """
    folder = str(contract.folder)
    sql = {mart.name: contract.mart_sql(mart.name) for mart in contract.marts}
    findings = check(contract.pipeline, lock, sql, f"{folder}/defs.yaml", folder)
    changed = replace(contract, lock=lock, queries={**contract.queries, **findings.queries})
    different = [
        table.name
        for table in contract.tables
        if lock.tables.get(table.name) != contract.lock.tables.get(table.name)
    ]
    found: dict[str, list[str]] = {}
    for problem in findings.problems:
        said = f"{problem.problem}; {problem.fix}"
        for table in _concerned(contract, problem.file, problem.field) or different:
            if table in different:
                found.setdefault(table, []).append(_named(problem.file, said))
    return changed, found


_ITEM: Final = re.compile(r"(tables|views)\[(\d+)\]")


def _concerned(contract: Contract, file: str, field: str) -> list[str]:
    match = _ITEM.match(field)
    if match is not None:
        number = int(match[2])
        if match[1] == "tables":
            return [contract.tables[number].name]
        return [contract.views[number].table]
    mart = re.search(r"marts/(.+)\.sql$", file)
    if mart is not None and mart[1] in contract.queries:
        return list(contract.mart_tables(mart[1]))
    return []


def _named(file: str, said: str) -> str:
    mart = re.search(r"marts/(.+)\.sql$", file)
    return f"mart {mart[1]}: {said}" if mart else said


def marts_reading(contract: Contract, table: str, columns: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The marts that read any of the columns of a lake table by name, each with those that it reads."""
    wanted = set(columns)
    found = {}
    for mart in contract.marts:
        read = _read(contract, mart.name, table) & wanted
        if read:
            found[mart.name] = tuple(sorted(read))
    return found


def _read(contract: Contract, mart: str, table: str) -> set[str]:
    query = parse_select(contract.mart_sql(mart), f"marts/{mart}.sql")
    catalog: dict[str, object] = {
        LAKE: {
            name: {
                **{column.name: _trino(contract, name, column.name) for column in schema.columns},
                **AUDIT_TYPES,
            }
            for name in contract.mart_tables(mart)
            for schema in (contract.schema(name),)
        }
    }
    try:
        qualified = qualify(
            query.copy(), schema=catalog, dialect=DIALECT, quote_identifiers=False, expand_stars=False
        )
    except SqlglotError:
        # It does not fit its tables any more: every column that it names anywhere may be meant.
        return {column.name for column in query.find_all(exp.Column)}
    return {
        column.name
        for scope in traverse_scope(qualified)
        for column in scope.columns
        if isinstance(source := scope.sources.get(column.table), exp.Table) and source.name == table
    }


def _trino(contract: Contract, table: str, column: str) -> str:
    try:
        return mapping(contract.schema(table).column(column)).trino
    except UncarryableType:
        return "varchar"


# --- Paimon ---------------------------------------------------------------------------------------


def paimon_alteration(
    contract: Contract,
    table: str,
    current: Columns,
    current_key: Sequence[str],
    renames: Mapping[str, str] | None = None,
) -> Alteration:
    """How an existing lake table becomes the contract's.

    Args:
        contract: The contract as it is to be.
        table: The source table.
        current: The lake table's columns now, as ``PaimonSchema`` tells them.
        current_key: Its primary key now.
        renames: Old to new names of columns.
    """
    wanted = [(name, _typed(kind)) for name, kind in paimon.columns(contract, table)]
    there = [(name, _typed(kind)) for name, kind in current]
    moved, obstacles = _renames(renames or {}, dict(there), dict(wanted))
    key = [moved.get(name, name) for name in current_key]
    if key != list(contract.schema(table).primary_key):
        obstacles.append(
            f"the lake table's key is {', '.join(current_key)}, and a key cannot be changed in place; "
            f"{_anew(table)}"
        )
    name = paimon.table_name(contract, table)
    first: list[str] = []
    kinds = dict(wanted)
    replaced = [new for old, new in moved.items() if new in dict(there)]
    dropped = [
        column for column, _ in there if column not in moved and (column not in kinds or column in replaced)
    ]
    if obstacles:
        return Alteration(obstacles=tuple(obstacles))
    if dropped:
        listed = ", ".join(quoting.flink(column) for column in dropped)
        first.append(f"ALTER TABLE {name} DROP ({listed})")
    there = [(moved.get(column, column), kind) for column, kind in there if column not in dropped]
    first += [
        f"ALTER TABLE {name} RENAME {quoting.flink(old)} TO {quoting.flink(new)}"
        for old, new in moved.items()
    ]
    for number, (column, kind) in enumerate(wanted):
        if column not in dict(there):
            at = [known for known, _ in there].index(wanted[number - 1][0]) + 1 if number else 0
            there.insert(at, (column, kind))
            first.append(f"ALTER TABLE {name} ADD {quoting.flink(column)} {kind}{_after(wanted, number)}")
    for column, kind in there:
        if kinds[column] == kind:
            continue
        if column in current_key or not promotable(kind, kinds[column]):
            obstacles.append(
                f"{column} is {kind} in the lake and cannot become {kinds[column]} in place; {_anew(table)}"
            )
            continue
        first.append(f"ALTER TABLE {name} MODIFY {quoting.flink(column)} {kinds[column]}")
    order = [column for column, _ in there]
    for number, (column, kind) in enumerate(wanted):
        if number < len(order) and order[number] != column and column in order:
            order.remove(column)
            order.insert(number, column)
            first.append(f"ALTER TABLE {name} MODIFY {quoting.flink(column)} {kind}{_after(wanted, number)}")
    return Alteration(obstacles=tuple(obstacles)) if obstacles else Alteration(tuple(first))


def _renames(
    renames: Mapping[str, str], there: Mapping[str, str], wanted: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """The renames that are still to be done, and why some cannot be."""
    moved: dict[str, str] = {}
    obstacles: list[str] = []
    for old, new in renames.items():
        if new not in wanted or old not in there:
            continue  # it is not wanted, or is done
        if old in wanted:
            # Nobody could tell afterwards whether it was done.
            obstacles.append(
                f"{old} was renamed to {new}, and there is a new {old}; the lake could not tell one from the "
                "other, so the table has to be made anew"
            )
            continue
        moved[old] = new
    return moved, obstacles


def _after(wanted: Columns, number: int) -> str:
    return f" AFTER {quoting.flink(wanted[number - 1][0])}" if number else " FIRST"


def _anew(table: str) -> str:
    return f"the lake table {table} has to be made anew"


_SPACES: Final = re.compile(r"\s+")
_DECIMAL: Final = re.compile(r"DECIMAL\((\d+), (\d+)\)")
_LONGEST: Final = {"VARCHAR(2147483647)": "STRING", "VARBINARY(2147483647)": "BYTES"}


def _typed(kind: str) -> str:
    """A Flink type in one spelling."""
    text = _SPACES.sub(" ", re.sub(r"\s*,\s*", ", ", kind.strip().upper()))
    base, not_null = (
        (text.removesuffix(" NOT NULL"), " NOT NULL") if text.endswith(" NOT NULL") else (text, "")
    )
    return _LONGEST.get(base, base) + not_null


def promotable(old: str, new: str) -> bool:
    """Whether a column of the lake can change its type in place, for Paimon and for readers of Iceberg."""
    if (old, new) in {("INT", "BIGINT"), ("FLOAT", "DOUBLE")}:
        return True
    was, now = _DECIMAL.fullmatch(old), _DECIMAL.fullmatch(new)
    return was is not None and now is not None and was[2] == now[2] and int(now[1]) >= int(was[1])


def paimon_script(contract: Contract, statements: Sequence[str]) -> FlinkScript:
    """A script that only alters lake tables; it starts no job."""
    return FlinkScript(
        name=f"{contract.name}-alter",
        settings={
            "pipeline.name": f"{contract.name}-alter",
            "execution.runtime-mode": "BATCH",
            "parallelism.default": "1",
            "table.local-time-zone": "UTC",
        },
        statements=(paimon.catalog(), *statements),
        inserts=(),
        statements_only=True,
    )


# --- Cassandra ------------------------------------------------------------------------------------


def cassandra_alteration(contract: Contract, view: View, current: Mapping[str, str]) -> Alteration:
    """How an existing view becomes the contract's; nothing for one that does not exist yet.

    Args:
        contract: The contract as it is to be.
        view: A Cassandra view of it.
        current: CQL types of the view's columns now; empty when it does not exist.
    """
    if not current:
        return Alteration()
    wanted = {column.name: mapping(column).cassandra for column in contract.view_columns(view)}
    wanted[SERVING_POSITION] = "bigint"
    name = quoting.double(contract.keyspace, view.name)
    first: list[str] = []
    last: list[str] = []
    obstacles: list[str] = []
    for column, kind in wanted.items():
        if column not in current:
            if column in view.key:
                obstacles.append(
                    f"view {view.name}: {column} belongs to its key, which cannot grow in place; drop the "
                    "view's table to have it made anew"
                )
            first.append(f"ALTER TABLE {name} ADD {quoting.double(column)} {kind}")
        elif current[column] != kind:
            obstacles.append(
                f"view {view.name}: {column} is {current[column]} and Cassandra cannot change it to {kind}; "
                "drop the view's table to have it made anew"
            )
    last = [f"ALTER TABLE {name} DROP {quoting.double(column)}" for column in current if column not in wanted]
    return Alteration(obstacles=tuple(obstacles)) if obstacles else Alteration(tuple(first), tuple(last))


# --- rows that no change tells of -----------------------------------------------------------------

Makeup = str
"""Why rows have to be read again, in words."""


@dataclass(frozen=True)
class Remainder:
    """What altering places and reading records again leaves undone, because the source's log does not tell.

    Attributes:
        resnapshot: Why the table's rows have to be read again; empty when they need not.
        repair: Why the rows that are gone have to be looked for, too; empty when they need not.
    """

    resnapshot: tuple[Makeup, ...] = ()
    repair: tuple[Makeup, ...] = ()


def remainder(contract: Contract, changes: Sequence[Change], history: History | None) -> Remainder:
    """What has to be done about a table's rows after its changes were applied.

    MySQL writes no row into its log for what an ALTER TABLE does to rows: the default of a new column, a
    value that was cut, a column under another name. And a document is written once per position of the
    source: records that are read again for their new shape do not change one that has it already.
    """
    read: list[Makeup] = []
    for change in changes:
        documents = ", ".join(_documents(contract, change))
        match change.kind:
            case Kind.ADD:
                empty = history is not None and history.explained and change.column in history.null_at_first
                if not empty:
                    read.append(f"{change.column} may have a value in rows that were there before it")
                elif documents:
                    read.append(f"{documents} may lack {change.column} in what was written since")
            case Kind.DROP if documents:
                read.append(f"{documents} have {change.column} in rows that have not changed since")
            case Kind.WIDEN if documents and not _written_alike(change):
                read.append(f"{documents} have {change.column} in its old form")
            case Kind.RENAME:
                served = [view.name for view in contract.views_of(change.table)]
                if served:
                    read.append(
                        f"{', '.join(served)} know {change.column} only in rows that have changed since"
                    )
            case Kind.NARROW:
                read.append(f"the change itself may have changed values of {change.column}")
            case Kind.KEY:
                read.append("rows have another key")
            case _:
                continue
    gone = history is not None and history.replaced
    repair = ("rows may be gone without a change that says so",) if gone else ()
    return Remainder(tuple(read), repair)


def _documents(contract: Contract, change: Change) -> list[str]:
    """Views of documents that have a changed column, or had it before it was dropped."""
    return [
        view.name
        for view in contract.views_of(change.table)
        if view.engine == "couchdb" and (view.columns is None or change.column in view.columns)
    ]


def _written_alike(change: Change) -> bool:
    """Whether a column's values look the same in a document before and after."""
    try:
        return (
            change.before is not None
            and change.after is not None
            and mapping(change.before) == mapping(change.after)
        )
    except UncarryableType:
        return False
