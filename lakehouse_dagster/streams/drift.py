"""Where what exists differs from the contract: the source's schema, and lake tables made under an older one.

Neither difference stops Flink or Debezium by itself. Flink even casts into an existing table's old types
without a word, so a DOUBLE that meets a DECIMAL column would lose digits. Hence the look before a start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.evolution import diff_table
from lakehouse_dagster.contract.schema import SchemaLock
from lakehouse_dagster.render import paimon

if TYPE_CHECKING:
    from lakehouse_dagster.engines.paimon import PaimonSchema


def source_drift(contract: Contract, found: SchemaLock) -> list[str]:
    """Changes of the source's tables against the locked schema, in words; empty when there are none.

    Tables that are missing are left out; comments count as no change.
    """
    return [
        str(change)
        for table in contract.tables
        if (there := found.tables.get(table.name)) is not None
        for change in diff_table(contract.lock.tables[table.name], there)
    ]


def lake_drift(contract: Contract, found: Mapping[str, PaimonSchema]) -> list[str]:
    """Differences between existing lake tables and the contract, one sentence each; empty when none.

    ``found`` holds the schemas of the tables that exist, by source table.
    """
    said: list[str] = []
    for table, there in found.items():
        wanted, has = dict(paimon.columns(contract, table)), dict(there.columns)
        said += [
            f"{table}.{name}: the lake table has {has.get(name, 'no such column')}, "
            f"the contract says {wanted.get(name, 'no such column')}"
            for name in {**wanted, **has}
            if wanted.get(name) != has.get(name)
        ]
        key = contract.schema(table).primary_key
        if tuple(key) != tuple(there.primary_keys):
            said.append(f"{table}: the lake table's key is {there.primary_keys}, the source's is {key}")
        said += layout_drift(contract, table, there)
    return said


def layout_drift(contract: Contract, table: str, there: PaimonSchema) -> list[str]:
    """How a lake table's files are laid out otherwise than the contract says; Paimon cannot change that."""
    declared = contract.table(table)
    said: list[str] = []
    if tuple(there.partition_keys) != declared.partition_by:
        said.append(
            f"{table}: the lake table is {_partitioned(there.partition_keys)}, the contract says "
            f"partition_by: [{', '.join(declared.partition_by)}]"
        )
    if there.buckets != declared.buckets:
        said.append(
            f"{table}: the lake table has {there.buckets} bucket(s), the contract says "
            f"buckets: {declared.buckets}"
        )
    return said


def _partitioned(keys: Sequence[str]) -> str:
    return f"partitioned by {', '.join(keys)}" if keys else "not partitioned"
