"""Where what exists differs from the contract: the source's schema, and lake tables made under an older one.

Neither difference stops Flink or Debezium by itself. Flink even casts into an existing table's old types
without a word, so a DOUBLE that meets a DECIMAL column would lose digits. Hence the look before a start.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.schema import SchemaLock, TableSchema
from lakehouse_dagster.render import paimon

if TYPE_CHECKING:
    from lakehouse_dagster.engines.paimon import PaimonSchema


def source_drift(contract: Contract, found: SchemaLock) -> list[str]:
    """Differences between the source's schema and the locked one, one sentence each; empty when none."""
    said: list[str] = []
    for table in (table.name for table in contract.tables):
        locked, there = contract.schema(table), found.tables.get(table)
        if there is None or there == locked:
            continue
        found_here = list(_differences(table, _typed(locked), _typed(there), "the source", "the lock"))
        if there.primary_key != locked.primary_key:
            found_here.append(f"{table}: primary key is {there.primary_key}, locked is {locked.primary_key}")
        said += found_here or [f"{table}: columns differ in order, character set or generation"]
    return said


def lake_drift(contract: Contract, found: Mapping[str, PaimonSchema]) -> list[str]:
    """Differences between existing lake tables and the contract, one sentence each; empty when none.

    ``found`` holds the schemas of the tables that exist, by source table.
    """
    said: list[str] = []
    for table, there in found.items():
        wanted = dict(paimon.columns(contract, table))
        said += _differences(table, wanted, dict(there.columns), "the lake table", "the contract")
        key = contract.schema(table).primary_key
        if tuple(key) != tuple(there.primary_keys):
            said.append(f"{table}: the lake table's key is {there.primary_keys}, the source's is {key}")
    return said


def _typed(schema: TableSchema) -> dict[str, str]:
    return {
        column.name: f"{column.mysql_type}{'' if column.nullable else ' NOT NULL'}"
        for column in schema.columns
    }


def _differences(
    table: str, wanted: Mapping[str, str], there: Mapping[str, str], place: str, reference: str
) -> Iterator[str]:
    for name in [*wanted, *(name for name in there if name not in wanted)]:
        if wanted.get(name) != there.get(name):
            yield (
                f"{table}.{name}: {place} has {there.get(name, 'no such column')}, "
                f"{reference} says {wanted.get(name, 'no such column')}"
            )
