"""Reading a source table exactly: what the verifier and Debezium's snapshot have to select."""

from __future__ import annotations

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.schema import Column
from lakehouse_dagster.contract.types import mapping
from lakehouse_dagster.render import quoting


def read_expression(column: Column) -> str:
    """The SQL expression that reads a column without losing anything (a FLOAT as DOUBLE, BIT as a number)."""
    return mapping(column).mysql_read.replace("{}", quoting.mysql(column.name))


def source_select(contract: Contract, table: str) -> str:
    """SELECT of all columns of a source table, in the order of the schema, ordered by the primary key."""
    schema = contract.schema(table)
    columns = ",\n".join(f"  {_named(column)}" for column in schema.columns)
    key = ", ".join(quoting.mysql(name) for name in schema.primary_key)
    return f"SELECT\n{columns}\nFROM {_table(contract, table)}\nORDER BY {key}"


def snapshot_override(contract: Contract, table: str) -> str | None:
    """SELECT for Debezium's snapshot of a table whose columns the plain one would round; None if not needed.

    MySQL's text protocol, which the snapshot uses, prints a FLOAT with six significant digits.
    """
    schema = contract.schema(table)
    if all(mapping(column).family != "float" for column in schema.columns):
        return None
    columns = ", ".join(
        _named(column) if mapping(column).family == "float" else quoting.mysql(column.name)
        for column in schema.columns
    )
    return f"SELECT {columns} FROM {_table(contract, table)}"  # noqa: S608 - quoted identifiers only


def _named(column: Column) -> str:
    # Debezium finds the columns of its snapshot by name, so an expression keeps its column's.
    name = quoting.mysql(column.name)
    expression = read_expression(column)
    return name if expression == name else f"{expression} AS {name}"


def _table(contract: Contract, table: str) -> str:
    return f"{quoting.mysql(contract.database)}.{quoting.mysql(table)}"
