"""Reading a mart's SQL: one SELECT over ``lake.<table>``, checked against the locked schema with sqlglot."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import OptimizeError, ParseError, SqlglotError
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, build_scope

from lakehouse_dagster.contract.errors import ContractError
from lakehouse_dagster.contract.incremental import NotIncremental, Partitioning, partitioning
from lakehouse_dagster.contract.model import IDENTIFIER_PATTERN
from lakehouse_dagster.contract.schema import TableSchema
from lakehouse_dagster.contract.types import mapping

DIALECT: Final = "trino"
LAKE: Final = "lake"
"""Schema by which a mart's SQL names the lake's tables."""
MART: Final = "mart"
"""Table by which a mart's checks name the mart itself."""

_OWN: Final = "_own"
"""Where a check's SQL has the mart while it is checked."""

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
        partitioning: What its partitions come from, if it is partitioned.
    """

    sql: str
    tables: tuple[str, ...]
    columns: tuple[MartColumn, ...]
    partitioning: Partitioning | None = None


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


def read_mart(
    sql: str,
    file: str,
    schemas: Mapping[str, TableSchema],
    *,
    partition: str | None = None,
) -> MartQuery:
    """Check a mart's SQL and derive what it reads and returns.

    Args:
        sql: The text of ``marts/<name>.sql``.
        file: How to name the file in errors.
        schemas: Schemas of the pipeline's tables, by name.
        partition: The output column by which the mart is refreshed in parts.

    Raises:
        ContractError: Not one SELECT, an unknown table or column, unnamed, repeated or reserved output
            columns, or a partition by which it cannot be refreshed.
    """
    query = parse_select(sql, file)
    for table in lake_tables(query):
        _check_table(table, file, schemas)
    tables = sorted({table.name for table in lake_tables(query)})
    if not tables:
        raise ContractError(file, "", "reads no table of the lake", "select from lake.<table>")
    _check_outputs(query, file)

    lake = lake_types(schemas)
    catalog: dict[str, object] = {LAKE: lake}
    qualified = _qualified(query, catalog, file, {name for table in tables for name in lake[table]})
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
    parts = None if partition is None else _partitioning(qualified, columns, partition, file, schemas)
    return MartQuery(sql=sql, tables=tuple(tables), columns=columns, partitioning=parts)


def read_check(
    sql: str, file: str, field: str, schemas: Mapping[str, TableSchema], columns: Iterable[MartColumn]
) -> None:
    """Check a SELECT that must return no rows: over ``mart`` and ``lake.<table>``.

    Args:
        sql: The SELECT.
        file: How to name the mart's file in errors.
        field: Path of the SELECT in the mart's header.
        schemas: Schemas of the pipeline's tables, by name.
        columns: The mart's output columns.

    Raises:
        ContractError: As `read_mart`, naming the field.
    """
    try:
        query = parse_select(sql, file)
        lake = lake_types(schemas)
        # What a function returns is not known, and no type at all would be a missing column to sqlglot.
        own = {column.name: "varchar" if column.type == UNKNOWN else column.type for column in columns}
        known = set(own)
        for table in lake_tables(query):
            if table.db or table.name != MART:
                _check_table(table, file, schemas, also=f"{MART} or ")
                known |= set(lake[table.name])
            else:
                table.set("db", exp.to_identifier(_OWN))
        _qualified(query, {LAKE: lake, _OWN: {MART: own}}, file, known)
    except ContractError as error:
        # Its lines count from the field's.
        raise ContractError(file, field, error.problem, error.fix) from error


def _partitioning(
    query: exp.Query,
    columns: Iterable[MartColumn],
    partition: str,
    file: str,
    schemas: Mapping[str, TableSchema],
) -> Partitioning:
    types = {column.name: column.type for column in columns}
    if partition not in types:
        raise ContractError(
            file,
            "partition",
            f"{partition!r} is not an output column",
            _nearest(partition, types, f"name one of: {', '.join(types)}"),
        )
    if types[partition] != "date":
        kind = types[partition]
        raise ContractError(
            file,
            "partition",
            f"column {partition} is not known to be a DATE" + (f" but {kind}" if kind != UNKNOWN else ""),
            f"return CAST(... AS date) AS {partition}",
        )
    if re.fullmatch(IDENTIFIER_PATTERN, partition) is None:
        raise ContractError(
            file,
            "partition",
            f"{partition!r} cannot be the name of a partition's column",
            "name it with lower-case letters, digits and underscores",
        )
    try:
        found = partitioning(query, partition)
    except NotIncremental as error:
        raise ContractError(
            file, "partition", f"the mart cannot be refreshed by {partition}: {error}", error.fix
        ) from error
    # Trino knows no case of names, and sqlglot has folded them.
    tables = {name.casefold(): name for name in schemas}
    return replace(
        found,
        table=tables[found.table.casefold()],
        others={tables[name.casefold()]: read for name, read in found.others.items()},
    )


def lake_types(schemas: Mapping[str, TableSchema]) -> dict[str, dict[str, str]]:
    """Trino's type of every column of the lake tables, the audit columns too: by table, by column."""
    return {name: {**_trino_types(schema), **AUDIT_TYPES} for name, schema in schemas.items()}


def _qualified(query: exp.Query, catalog: Mapping[str, object], file: str, known: Iterable[str]) -> exp.Query:
    """The query with every column's table named and every star spelt out."""
    try:
        found = qualify(query.copy(), schema=dict(catalog), dialect=DIALECT, quote_identifiers=False)
    except OptimizeError as error:
        message = _plain(error)
        at = _AT.search(message)
        raise ContractError(
            file,
            "",
            message.splitlines()[0].rstrip("."),
            _column_fix(message, sorted(known)),
            int(at[1]) if at else None,
        ) from error
    assert isinstance(found, exp.Query)
    return found


def _check_table(table: exp.Table, file: str, schemas: Mapping[str, TableSchema], also: str = "") -> None:
    line = line_of(table)
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
            file,
            "",
            f"reads {shown}, which is not in the lake",
            f"name {also}lake tables as {LAKE}.<table>",
            line,
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
                line_of(projection),
            )


def _trino_types(schema: TableSchema) -> dict[str, str]:
    return {column.name: mapping(column).trino for column in schema.columns}


def _settled(projection: exp.Expr, scope: Scope | None) -> bool:
    """Whether the SQL alone settles a projection's type; a function's result type is the engine's to say."""
    value = projection.unalias()
    if isinstance(value, exp.Column):
        source = None if scope is None else scope.sources.get(value.table)
        if isinstance(source, Scope):
            query = source.expression
            if not isinstance(query, exp.Select):
                return False
            return any(item.alias_or_name == value.name and _settled(item, source) for item in query.selects)
        return isinstance(source, exp.Table)
    return isinstance(value, (exp.Cast, exp.Count, exp.CountIf, exp.Date, exp.TsOrDsToDate))


def _type_name(projection: exp.Expr) -> str:
    kind = projection.type
    if kind is None or kind.this in (exp.DataType.Type.UNKNOWN, exp.DataType.Type.NULL):
        return UNKNOWN
    return kind.sql(DIALECT).lower()


def _plain(error: object) -> str:
    return _STYLED.sub("", str(error)).strip()


def line_of(node: exp.Expr) -> int | None:
    """The line on which a piece of parsed SQL begins, where sqlglot has kept it."""
    for child in node.walk():
        line = child.meta.get("line")
        if isinstance(line, int):
            return line
    return None


def _column_fix(message: str, known: Sequence[str]) -> str:
    quoted = re.search(r"'([^']+)'", message)
    general = "use a column of the tables it reads: " + ", ".join(known)
    return _nearest(quoted[1].split(".")[-1].strip('"'), known, general) if quoted else general


def _nearest(name: str, known: Iterable[str], otherwise: str) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]}?" if near else otherwise
