"""The batch job by which the verifier reads Paimon: every column of a lake table as text, into JSON lines
on S3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.names import AUDIT_COLUMNS
from lakehouse_dagster.contract.schema import Column
from lakehouse_dagster.contract.types import mapping
from lakehouse_dagster.render import paimon, quoting
from lakehouse_dagster.render.flink_sql import FlinkScript

_POSITION: Final = quoting.flink(AUDIT_COLUMNS[0])


def proof_path(folder: str, table: str) -> str:
    """Folder of one table's JSON lines."""
    return f"{folder.rstrip('/')}/{table}"


def keys_path(folder: str, table: str | None = None) -> str:
    """Folder of one table's wanted keys, or that of all tables."""
    keys = f"{folder.rstrip('/')}-keys"
    return keys if table is None else f"{keys}/{table}"


#: Families whose canonical text is what Flink's cast to STRING gives.
_COMPARABLE: Final = frozenset({"integer", "text", "date"})


def comparable(contract: Contract, table: str) -> tuple[str, ...]:
    """The columns of a table's key by which wanted rows can be picked inside Flink."""
    schema = contract.schema(table)
    return tuple(name for name in schema.primary_key if mapping(schema.column(name)).family in _COMPARABLE)


def proof_script(
    contract: Contract,
    folder: str,
    tables: Sequence[str] | None = None,
    joined: Mapping[str, Sequence[str]] | None = None,
) -> FlinkScript:
    """A batch script that writes lake tables as JSON lines of texts, with the rows' positions.

    Binary columns stay BYTES, which Flink's JSON format writes as base64; a cast to STRING would decode them.

    Args:
        contract: The pipeline.
        folder: Where to write, such as ``s3://lake/proof/<uuid>``; one folder per table below it.
        tables: The tables; all by default.
        joined: By table, columns of its key: only rows are written whose texts of these columns are in the
            JSON lines below `keys_path`, where no two lines may be the same.
    """
    names = [table.name for table in contract.tables] if tables is None else list(tables)
    picked = joined or {}
    return FlinkScript(
        name=f"{contract.name}-proof",
        settings={
            "pipeline.name": f"{contract.name}-proof",
            "execution.runtime-mode": "BATCH",
            "parallelism.default": "1",
            "table.local-time-zone": "UTC",
        },
        statements=(
            paimon.catalog(),
            *(_sink(contract, folder, name) for name in names),
            *(_keys(folder, name, columns) for name, columns in picked.items()),
        ),
        inserts=tuple(_insert(contract, name, picked.get(name, ())) for name in names),
        wait=True,
    )


def _is_binary(column: Column) -> bool:
    return mapping(column).lake == "BYTES"


def _sink(contract: Contract, folder: str, table: str) -> str:
    columns = [
        f"  {quoting.flink(column.name)} {'BYTES' if _is_binary(column) else 'STRING'}"
        for column in contract.schema(table).columns
    ]
    body = ",\n".join([*columns, f"  {_POSITION} STRING"])
    return (
        f"CREATE TEMPORARY TABLE {_proof(table)} (\n{body}\n) WITH (\n{_files(proof_path(folder, table))}\n)"
    )


def _keys(folder: str, table: str, columns: Sequence[str]) -> str:
    body = ",\n".join(f"  {quoting.flink(name)} STRING" for name in columns)
    return (
        f"CREATE TEMPORARY TABLE {_wanted(table)} (\n{body}\n) WITH (\n{_files(keys_path(folder, table))}\n)"
    )


def _files(path: str) -> str:
    return quoting.options((("connector", "filesystem"), ("path", path), ("format", "json")))


def _insert(contract: Contract, table: str, joined: Sequence[str]) -> str:
    values = [
        f"  r.{name}" if _is_binary(column) else f"  CAST(r.{name} AS STRING)"
        for column in contract.schema(table).columns
        for name in (quoting.flink(column.name),)
    ]
    body = ",\n".join([*values, f"  CAST(r.{_POSITION} AS STRING)"])
    sql = f"INSERT INTO {_proof(table)}\nSELECT\n{body}\nFROM {paimon.table_name(contract, table)} AS r"
    if not joined:
        return sql
    names = [quoting.flink(name) for name in joined]
    condition = " AND ".join(f"k.{name} = CAST(r.{name} AS STRING)" for name in names)
    return f"{sql}\nJOIN {_wanted(table)} AS k ON {condition}"


def _wanted(table: str) -> str:
    return quoting.flink(f"wanted_{table}")


def _proof(table: str) -> str:
    return quoting.flink(f"proof_{table}")
