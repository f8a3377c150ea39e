"""Reading a mart's SQL: one SELECT over ``lake.<table>``, checked against the locked schema with sqlglot."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import OptimizeError, ParseError, SqlglotError
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, build_scope

from lakehouse_dagster.contract.errors import ContractError
from lakehouse_dagster.contract.schema import TableSchema
from lakehouse_dagster.contract.types import mapping

DIALECT: Final = "trino"
LAKE: Final = "lake"
"""Schema by which a mart's SQL names the lake's tables."""

AUDIT_TYPES: Final[dict[str, str]] = {
    "_position": "bigint",
    "_gtid": "varchar",
    "_committed_at": "timestamp(6)",
    "_op": "varchar",
}
"""Trino types of the audit columns of every lake table."""

UNKNOWN: Final = "unknown"

_AT: Final = re.compile(r"Line:? (\d+)", re.IGNORECASE)
_STYLED: Final = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class MartColumn:
    """An output column of a mart.

    ``type`` is Trino's type where the SQL alone settles it (a column of a lake table, a cast, a count) and
    ``"unknown"`` otherwise: what a function returns is Trino's to say, and its table tells.
    """

    name: str
    type: str


@dataclass(frozen=True)
class MartQuery:
    """A mart's SELECT.

    Attributes:
        sql: The text as written.
        tables: Source tables it reads, sorted.
        columns: Its output columns in order.
    """

    sql: str
    tables: tuple[str, ...]
    columns: tuple[MartColumn, ...]


def parse_select(sql: str, file: str) -> exp.Query:
    """Parse the one SELECT of a mart.

    Raises:
        ContractError: The text does not parse, or is not exactly one SELECT.
    """
    try:
        statements = [statement for statement in sqlglot.parse(sql, read=DIALECT) if statement is not None]
    except ParseError as error:
        detail = error.errors[0] if error.errors else {}
        problem = detail.get("description") or str(error)
        raise ContractError(
            file,
            "",
            f"the SQL does not parse: {_plain(problem)}",
            "correct the SQL (Trino's dialect)",
            detail.get("line"),
        ) from error
    except SqlglotError as error:
        raise ContractError(
            file, "", f"the SQL does not parse: {_plain(error)}", "correct the SQL (Trino's dialect)"
        ) from error
    if len(statements) != 1:
        raise ContractError(
            file, "", f"holds {len(statements)} statements", "write exactly one SELECT; a mart is one query"
        )
    (statement,) = statements
    if not isinstance(statement, (exp.Select, exp.SetOperation)) or statement.find(
        exp.Into, exp.DML, exp.DDL
    ):
        raise ContractError(
            file,
            "",
            f"is not a SELECT but {statement.key.upper()}",
            "write only the SELECT; the table around it is created for you",
        )
    return statement


def lake_tables(query: exp.Query) -> list[exp.Table]:
    """The table references of a query that are not common table expressions."""
    return [table for table in query.find_all(exp.Table) if table.db or not _is_cte(table)]


def _is_cte(table: exp.Table) -> bool:
    """Whether a plain table name is a common table expression that is visible where it stands."""
    node: exp.Expr | None = table
    while node is not None:
        with_ = node.args.get("with_") or node.args.get("with")
        if isinstance(with_, exp.With) and any(cte.alias == table.name for cte in with_.expressions):
            return True
        node = node.parent
    return False


def read_mart(sql: str, file: str, schemas: Mapping[str, TableSchema]) -> MartQuery:
    """Check a mart's SQL and derive what it reads and returns.

    Args:
        sql: The text of ``marts/<name>.sql``.
        file: How to name the file in errors.
        schemas: Schemas of the pipeline's tables, by name.

    Raises:
        ContractError: Not one SELECT, an unknown table or column, or unnamed, repeated or reserved output
            columns.
    """
    query = parse_select(sql, file)
    for table in lake_tables(query):
        _check_table(table, file, schemas)
    tables = sorted({table.name for table in lake_tables(query)})
    if not tables:
        raise ContractError(file, "", "reads no table of the lake", "select from lake.<table>")
    _check_outputs(query, file)

    types = {name: {**_trino_types(schema), **AUDIT_TYPES} for name, schema in schemas.items()}
    catalog: dict[str, object] = {LAKE: types}
    try:
        qualified = qualify(query.copy(), schema=catalog, dialect=DIALECT, quote_identifiers=False)
    except OptimizeError as error:
        message = _plain(error)
        at = _AT.search(message)
        raise ContractError(
            file,
            "",
            message.splitlines()[0].rstrip("."),
            _column_fix(message, types, tables),
            int(at[1]) if at else None,
        ) from error
    annotated = annotate_types(qualified, schema=catalog, dialect=DIALECT)
    scope = build_scope(annotated)
    columns = tuple(
        MartColumn(
            projection.alias_or_name, _type_name(projection) if _settled(projection, scope) else UNKNOWN
        )
        for projection in annotated.selects
    )
    names = [column.name for column in columns]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ContractError(
            file,
            "",
            f"returns the column {repeated[0]} more than once",
            "give each output column its own name",
        )
    return MartQuery(sql=sql, tables=tuple(tables), columns=columns)


def _check_table(table: exp.Table, file: str, schemas: Mapping[str, TableSchema]) -> None:
    line = _line(table)
    if not isinstance(table.this, exp.Identifier):
        raise ContractError(
            file,
            "",
            f"reads {table.sql(DIALECT)}, which is not a table",
            "select from lake.<table> only",
            line,
        )
    shown = ".".join(part.name for part in table.parts)
    if table.catalog or table.db != LAKE:
        raise ContractError(
            file, "", f"reads {shown}, which is not in the lake", f"name lake tables as {LAKE}.<table>", line
        )
    if table.name not in schemas:
        raise ContractError(
            file,
            "",
            f"reads {shown}, which is not a table of this pipeline",
            _nearest(table.name, schemas, f"name one of: {', '.join(sorted(schemas))}"),
            line,
        )


def _check_outputs(query: exp.Query, file: str) -> None:
    for number, projection in enumerate(query.selects, start=1):
        if not isinstance(projection, (exp.Alias, exp.Column, exp.Star)):
            raise ContractError(
                file,
                "",
                f"output column {number} ({projection.sql(DIALECT)}) has no name",
                "give it one with AS",
                _line(projection),
            )


def _trino_types(schema: TableSchema) -> dict[str, str]:
    return {column.name: mapping(column).trino for column in schema.columns}


def _settled(projection: exp.Expr, scope: Scope | None) -> bool:
    """Whether the SQL alone settles a projection's type; a function's result type is the engine's to say."""
    value = projection.unalias()
    if isinstance(value, exp.Column):
        return scope is not None and isinstance(scope.sources.get(value.table), exp.Table)
    return isinstance(value, (exp.Cast, exp.Count, exp.CountIf))


def _type_name(projection: exp.Expr) -> str:
    kind = projection.type
    if kind is None or kind.this in (exp.DataType.Type.UNKNOWN, exp.DataType.Type.NULL):
        return UNKNOWN
    return kind.sql(DIALECT).lower()


def _plain(error: object) -> str:
    return _STYLED.sub("", str(error)).strip()


def _line(node: exp.Expr) -> int | None:
    for child in node.walk():
        line = child.meta.get("line")
        if isinstance(line, int):
            return line
    return None


def _column_fix(message: str, types: Mapping[str, Mapping[str, str]], tables: Iterable[str]) -> str:
    quoted = re.search(r"'([^']+)'", message)
    known = sorted({name for table in tables for name in types[table]})
    general = "use a column of the tables it reads: " + ", ".join(known)
    return _nearest(quoted[1].split(".")[-1].strip('"'), known, general) if quoted else general


def _nearest(name: str, known: Iterable[str], otherwise: str) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]}?" if near else otherwise
