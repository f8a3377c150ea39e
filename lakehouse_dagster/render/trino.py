"""Trino SQL of a pipeline's marts."""

from __future__ import annotations

from typing import Final

from sqlglot import exp

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.marts import DIALECT, LAKE, lake_tables, parse_select
from lakehouse_dagster.render import quoting

CATALOG: Final = "lake"
"""Default name of the Trino catalog that holds the lake (Iceberg over Nessie)."""


def lake_table(contract: Contract, table: str, catalog: str = CATALOG) -> str:
    """Quoted full name of a lake table."""
    path = contract.lake_path(table)
    return quoting.double(catalog, path.database, path.table)


def mart_table(contract: Contract, mart: str, catalog: str = CATALOG) -> str:
    """Quoted full name of a mart's table."""
    return quoting.double(catalog, contract.marts_schema, contract.mart(mart).name)


def mart_select(contract: Contract, mart: str, catalog: str = CATALOG) -> str:
    """The mart's SELECT with ``lake.<table>`` resolved to the tables' full names."""
    query = parse_select(contract.mart_sql(mart), f"marts/{mart}.sql")
    for table in lake_tables(query):
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
    """CREATE OR REPLACE TABLE ... AS: readers see the old rows until the new ones are committed."""
    description = contract.mart(mart).description
    comment = f"\nCOMMENT {quoting.literal(description)}" if description else ""
    return (
        f"CREATE OR REPLACE TABLE {mart_table(contract, mart, catalog)}{comment} AS\n"
        f"{mart_select(contract, mart, catalog)}"
    )


def mart_statements(contract: Contract, mart: str, catalog: str = CATALOG) -> tuple[str, ...]:
    """Everything to execute to refresh a mart, in order."""
    return (marts_schema(contract, catalog), mart_create(contract, mart, catalog))
