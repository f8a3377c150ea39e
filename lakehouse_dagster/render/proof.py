"""The batch job by which the verifier reads Paimon: every column of a lake table as text, into JSON lines
on S3."""

from __future__ import annotations

from collections.abc import Sequence

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.schema import Column
from lakehouse_dagster.contract.types import mapping
from lakehouse_dagster.render import paimon, quoting
from lakehouse_dagster.render.flink_sql import FlinkScript


def proof_path(folder: str, table: str) -> str:
    """Folder of one table's JSON lines."""
    return f"{folder.rstrip('/')}/{table}"


def proof_script(contract: Contract, folder: str, tables: Sequence[str] | None = None) -> FlinkScript:
    """A batch script that writes lake tables as JSON lines of texts.

    Binary columns stay BYTES, which Flink's JSON format writes as base64; a cast to STRING would decode them.

    Args:
        contract: The pipeline.
        folder: Where to write, such as ``s3://lake/proof/<uuid>``; one folder per table below it.
        tables: The tables; all by default.
    """
    names = [table.name for table in contract.tables] if tables is None else list(tables)
    return FlinkScript(
        name=f"{contract.name}-proof",
        settings={
            "pipeline.name": f"{contract.name}-proof",
            "execution.runtime-mode": "BATCH",
            "parallelism.default": "1",
            "table.local-time-zone": "UTC",
        },
        statements=(paimon.catalog(), *(_sink(contract, folder, name) for name in names)),
        inserts=tuple(_insert(contract, name) for name in names),
        wait=True,
    )


def _is_binary(column: Column) -> bool:
    return mapping(column).lake == "BYTES"


def _sink(contract: Contract, folder: str, table: str) -> str:
    body = ",\n".join(
        f"  {quoting.flink(column.name)} {'BYTES' if _is_binary(column) else 'STRING'}"
        for column in contract.schema(table).columns
    )
    pairs = (("connector", "filesystem"), ("path", proof_path(folder, table)), ("format", "json"))
    return f"CREATE TEMPORARY TABLE {_proof(table)} (\n{body}\n) WITH (\n{quoting.options(pairs)}\n)"


def _insert(contract: Contract, table: str) -> str:
    values = ",\n".join(
        f"  {name}" if _is_binary(column) else f"  CAST({name} AS STRING)"
        for column in contract.schema(table).columns
        for name in (quoting.flink(column.name),)
    )
    return f"INSERT INTO {_proof(table)}\nSELECT\n{values}\nFROM {paimon.table_name(contract, table)}"


def _proof(table: str) -> str:
    return quoting.flink(f"proof_{table}")
