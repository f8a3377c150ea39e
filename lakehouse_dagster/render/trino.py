"""Trino SQL of a pipeline's marts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

from sqlglot import exp

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.incremental import Partitioning
from lakehouse_dagster.contract.mart_checks import KEY_CHECK, PARTITION_CHECK, MartCheck, Scalar, Severity
from lakehouse_dagster.contract.marts import AUDIT_TYPES, DIALECT, LAKE, MART, lake_tables, parse_select
from lakehouse_dagster.contract.names import PARTITIONS_SUFFIX
from lakehouse_dagster.contract.types import mapping
from lakehouse_dagster.render import quoting

CATALOG: Final = "lake"
"""Default name of the Trino catalog that holds the lake (Iceberg over Nessie)."""

Days = Collection[date | None]
"""Partitions of a mart; None is that of the rows without a day."""


def lake_table(contract: Contract, table: str, catalog: str = CATALOG) -> str:
    """Quoted full name of a lake table."""
    path = contract.lake_path(table)
    return quoting.double(catalog, path.database, path.table)


def mart_table(contract: Contract, mart: str, catalog: str = CATALOG) -> str:
    """Quoted full name of a mart's table."""
    return quoting.double(catalog, contract.marts_schema, contract.mart(mart).name)


def mart_select(contract: Contract, mart: str, catalog: str = CATALOG) -> str:
    """The mart's SELECT with ``lake.<table>`` resolved to the tables' full names."""
    return _in_the_lake(contract, parse_select(contract.mart_sql(mart), f"marts/{mart}.sql"), catalog)


def _in_the_lake(contract: Contract, query: exp.Query, catalog: str) -> str:
    for table in lake_tables(query):
        if table.db == LAKE and not table.catalog:
            path = contract.lake_path(table.name)
            table.set("catalog", exp.to_identifier(catalog, quoted=True))
            table.set("db", exp.to_identifier(path.database, quoted=True))
    for column in query.find_all(exp.Column):
        if column.args.get("db") is not None and column.args["db"].name == LAKE:
            column.set("db", exp.to_identifier(contract.name, quoted=True))
    return query.sql(dialect=DIALECT, identify=True, pretty=True, comments=False)


def marts_schema(contract: Contract, catalog: str = CATALOG) -> str:
    """CREATE SCHEMA for the marts."""
    return f"CREATE SCHEMA IF NOT EXISTS {quoting.double(catalog, contract.marts_schema)}"


def mart_create(contract: Contract, mart: str, catalog: str = CATALOG) -> str:
    """CREATE OR REPLACE TABLE ... AS: the mart as a whole; of a partitioned one the empty table."""
    table = mart_table(contract, mart, catalog)
    description = contract.mart(mart).description
    comment = f"\nCOMMENT {quoting.literal(description)}" if description else ""
    partition = contract.mart(mart).partition
    layout = f"\nWITH (partitioning = ARRAY[{quoting.literal(partition)}])" if partition else ""
    return f"CREATE OR REPLACE TABLE {table}{comment}{layout} AS\n{mart_select(contract, mart, catalog)}" + (
        "\nWITH NO DATA" if partition else ""
    )


def mart_statements(contract: Contract, mart: str, catalog: str = CATALOG) -> tuple[str, ...]:
    """What builds a mart from nothing; a partitioned one is filled by `mart_insert`."""
    return (marts_schema(contract, catalog), mart_create(contract, mart, catalog))


def mart_delete(contract: Contract, mart: str, days: Days, catalog: str = CATALOG) -> str:
    """DELETE of some partitions; Iceberg drops their files without reading them."""
    table = mart_table(contract, mart, catalog)
    return f"DELETE FROM {table}\nWHERE {_of_days(contract, mart, days)}"  # noqa: S608


def mart_insert(contract: Contract, mart: str, days: Days, catalog: str = CATALOG) -> str:
    """INSERT of some partitions, computed anew."""
    return (
        f"INSERT INTO {mart_table(contract, mart, catalog)}\n"
        f'SELECT * FROM (\n{mart_select(contract, mart, catalog)}\n) AS "parts"\n'
        f"WHERE {_of_days(contract, mart, days)}"
    )


def _of_days(contract: Contract, mart: str, days: Days) -> str:
    partition = contract.mart(mart).partition
    if partition is None:
        raise ValueError(f"mart {mart} has no partitions")
    column = quoting.double(partition)
    listed = ", ".join(_value(day) for day in days if day is not None)
    conditions = [f"{column} IN ({listed})"] if listed else []
    if None in days:
        conditions.append(f"{column} IS NULL")
    if not conditions:
        raise ValueError("no partition is named")
    return " OR ".join(conditions)


# --- what partitions were computed from -----------------------------------------------------------


def partitions_table(contract: Contract, mart: str, catalog: str = CATALOG) -> str:
    """Quoted full name of the table that tells what a mart's partitions were computed from."""
    return quoting.double(catalog, contract.marts_schema, f"{contract.mart(mart).name}{PARTITIONS_SUFFIX}")


def partitions_now(contract: Contract, mart: str, catalog: str = CATALOG) -> str:
    """The partitions of a mart's source table as they are: the day, its rows, and a fingerprint of them."""
    parts = _partitioning(contract, mart)
    return (
        f"SELECT {parts.expression} AS part, count(*) AS source_rows,"
        f" {_fingerprint(contract, parts.table, parts.columns)} AS fingerprint\n"
        f"FROM {lake_table(contract, parts.table, catalog)}\nGROUP BY 1"
    )


def other_tables_now(contract: Contract, mart: str, catalog: str = CATALOG) -> str | None:
    """The other tables that a partitioned mart reads, each as a whole: name, rows, fingerprint."""
    selects = [
        f"SELECT {quoting.literal(table)} AS name, count(*) AS source_rows,"
        f" {_fingerprint(contract, table, columns)} AS fingerprint\n"
        f"FROM {lake_table(contract, table, catalog)}"
        for table, columns in _partitioning(contract, mart).others.items()
    ]
    return "\nUNION ALL\n".join(selects) if selects else None


def partitions_create(
    contract: Contract,
    mart: str,
    rows: Sequence[tuple[date | None, int, str]],
    comment: str,
    catalog: str = CATALOG,
) -> str:
    """CREATE OR REPLACE TABLE of what the partitions were computed from; at least one row."""
    return (
        f"CREATE OR REPLACE TABLE {partitions_table(contract, mart, catalog)}\n"
        f"COMMENT {quoting.literal(comment)} AS\n"
        f"SELECT * FROM (VALUES {_values(rows)}) AS parts (part, source_rows, fingerprint)"
    )


def partitions_insert(
    contract: Contract, mart: str, rows: Sequence[tuple[date | None, int, str]], catalog: str = CATALOG
) -> str:
    """INSERT of more of them, because a statement has a greatest length."""
    table = partitions_table(contract, mart, catalog)
    return f"INSERT INTO {table} VALUES {_values(rows)}"  # noqa: S608


def _values(rows: Sequence[tuple[date | None, int, str]]) -> str:
    return ", ".join(
        f"({'CAST(NULL AS date)' if day is None else _value(day)}, BIGINT '{count}',"
        f" CAST({quoting.literal(fingerprint)} AS varchar))"
        for day, count, fingerprint in rows
    )


def _fingerprint(contract: Contract, table: str, columns: Sequence[str]) -> str:
    """Sum of the hashes of rows: each row is hashed as one text, so that values cannot change places unseen.

    (The checksum of a ROW is linear in its fields: two rows that swap a value would have the old one.)
    """
    carried = {column.name: mapping(column).trino for column in contract.schema(table).columns}
    types = {name.casefold(): kind for name, kind in {**carried, **AUDIT_TYPES}.items()}
    texts = ", ".join(
        f"to_hex({quoting.double(name)})"
        if types[name.casefold()] == "varbinary"
        else f"CAST({quoting.double(name)} AS varchar)"
        for name in columns
    )
    row = f"json_format(CAST(ARRAY[{texts}] AS json))" if columns else "''"
    return f"coalesce(to_hex(checksum({row})), '')"


def _partitioning(contract: Contract, mart: str) -> Partitioning:
    found = contract.queries[mart].partitioning
    if found is None:
        raise ValueError(f"mart {mart} has no partitions")
    return found


# --- checks ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CheckQuery:
    """A check of a mart as a query that returns the rows which fail it."""

    name: str
    severity: Severity
    description: str
    sql: str


def mart_checks(contract: Contract, mart: str, catalog: str = CATALOG) -> tuple[CheckQuery, ...]:
    """The checks of a mart: those that follow from its key and partition, then those of its header."""
    declared = contract.mart(mart)
    table = mart_table(contract, mart, catalog)
    found = []
    if declared.key:
        null = " OR ".join(f"{quoting.double(name)} IS NULL" for name in declared.key)
        found.append(
            CheckQuery(
                KEY_CHECK,
                "error",
                f"({', '.join(declared.key)}) is never NULL, and no two rows have the same.",
                _repeated(table, declared.key, or_where=null),
            )
        )
    if declared.partition:
        found.append(
            CheckQuery(
                PARTITION_CHECK,
                "error",
                f"{declared.partition} is never NULL.",
                f"SELECT * FROM {table}\nWHERE {quoting.double(declared.partition)} IS NULL",  # noqa: S608
            )
        )
    for check in declared.checks:
        said, sql = _check(contract, mart, check, catalog)
        found.append(CheckQuery(check.called, check.severity, check.description or said, sql))
    return tuple(found)


def _check(contract: Contract, mart: str, check: MartCheck, catalog: str) -> tuple[str, str]:
    """What a declared check means, and the rows that fail it."""
    table = mart_table(contract, mart, catalog)
    # Every name is quoted, every value a literal.
    rows = f"SELECT * FROM {table}\nWHERE "  # noqa: S608
    if check.not_null is not None:
        null = " OR ".join(f"{quoting.double(name)} IS NULL" for name in check.not_null)
        return f"{', '.join(check.not_null)}: never NULL.", rows + null
    if check.unique is not None:
        return f"No two rows have the same ({', '.join(check.unique)}).", _repeated(table, check.unique)
    if check.rows is not None:
        low, high = check.rows.min, check.rows.max
        outside = [f"count(*) < {low}"] * (low is not None) + [f"count(*) > {high}"] * (high is not None)
        return (
            f"The number of rows is {_between(low, high)}.",
            f"SELECT count(*) AS row_count FROM {table}\nHAVING {' OR '.join(outside)}",  # noqa: S608
        )
    if check.range is not None:
        column = quoting.double(check.range.column)
        low_, high_ = check.range.min, check.range.max
        beyond = [f"{column} < {_value(low_)}"] if low_ is not None else []
        beyond += [f"{column} > {_value(high_)}"] if high_ is not None else []
        return f"{check.range.column} is {_between(low_, high_)}.", rows + " OR ".join(beyond)
    if check.accepted is not None:
        listed = ", ".join(_value(value) for value in check.accepted.values)
        named = ", ".join(str(value) for value in check.accepted.values)
        return (
            f"{check.accepted.column} is one of {named}.",
            rows + f"{quoting.double(check.accepted.column)} NOT IN ({listed})",
        )
    query = parse_select(check.no_rows or "", check.called)
    for own in [found for found in lake_tables(query) if not found.db]:
        if not own.alias:
            own.set("alias", exp.TableAlias(this=exp.to_identifier(MART)))
        own.set("this", exp.to_identifier(contract.mart(mart).name, quoted=True))
        own.set("db", exp.to_identifier(contract.marts_schema, quoted=True))
        own.set("catalog", exp.to_identifier(catalog, quoted=True))
    return "Its query returns no rows.", _in_the_lake(contract, query, catalog)


def _repeated(table: str, columns: Sequence[str], or_where: str = "") -> str:
    """Values of columns that more than one row has; with ``or_where`` those of rows for which it holds."""
    listed = ", ".join(quoting.double(name) for name in columns)
    present = (
        "" if or_where else f"\nWHERE {' AND '.join(f'{quoting.double(n)} IS NOT NULL' for n in columns)}"
    )
    also = f" OR {or_where}" if or_where else ""
    return (
        f"SELECT {listed}, count(*) AS row_count FROM {table}{present}\n"  # noqa: S608
        f"GROUP BY {listed}\nHAVING count(*) > 1{also}"
    )


def _between(low: object, high: object) -> str:
    if low is None:
        return f"at most {high}"
    return f"at least {low}" if high is None else f"between {low} and {high}"


def _value(value: Scalar) -> str:
    match value:
        case datetime():
            utc = value.astimezone(UTC) if value.tzinfo else value
            return f"TIMESTAMP '{utc.replace(tzinfo=None).isoformat(sep=' ')}'"
        case date():
            return f"DATE '{value.isoformat()}'"
        case str():
            return quoting.literal(value)
        case _:
            return repr(value)
