"""Lake tables made by hand: Iceberg metadata as Paimon writes it, without data.

So every moment of a publication can be brought about on purpose.
"""

from __future__ import annotations

import io
import json
import time
import uuid
from pathlib import Path
from typing import Any

import fastavro

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.model import Pipeline, Source, Table
from lakehouse_dagster.contract.schema import Column, SchemaLock, TableSchema
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.endpoints import FLINK
from lakehouse_dagster.engines.s3 import ObjectStore

COLUMNS = ("id", "_position", "_committed_at", "note")

MANIFEST_LIST = {
    "type": "record",
    "name": "manifest_file",
    "fields": [{"name": "manifest_path", "type": "string", "field-id": 500}],
}
BOUND = {
    "type": "record",
    "name": "bound",
    "fields": [{"name": "key", "type": "int"}, {"name": "value", "type": "bytes"}],
}
MANIFEST = {
    "type": "record",
    "name": "manifest_entry",
    "fields": [
        {"name": "status", "type": "int"},
        {
            "name": "data_file",
            "type": {
                "type": "record",
                "name": "data_file",
                "fields": [
                    {"name": "record_count", "type": "long"},
                    {"name": "file_size_in_bytes", "type": "long"},
                    {"name": "upper_bounds", "type": ["null", {"type": "array", "items": BOUND}]},
                ],
            },
        },
    ],
}


def avro(schema: Any, records: list[dict[str, Any]]) -> bytes:
    raw = io.BytesIO()
    fastavro.writer(raw, schema, records)
    return raw.getvalue()


class Lake:
    """Tables of one pipeline as Paimon would leave them, written by hand."""

    def __init__(self, clients: Clients) -> None:
        self.name = f"zz_{uuid.uuid4().hex[:8]}"
        self.clients = clients
        # Whoever plays Flink needs its rights: nobody else may write there.
        self.flink = ObjectStore(clients.endpoints.s3.acting(FLINK))
        columns = (
            Column(name="id", mysql_type="int", nullable=False, position=1),
            Column(name="note", mysql_type="int", nullable=True, position=2),
        )
        tables = {t: TableSchema(name=t, columns=columns, primary_key=("id",)) for t in ("a", "b")}
        self.contract = Contract(
            folder=Path("/nonexistent"),
            pipeline=Pipeline(
                name=self.name,
                owner="team:test",
                source=Source(database="airline"),
                tables=(Table(name="a"), Table(name="b")),
            ),
            lock=SchemaLock(database="airline", tables=tables),
            queries={},
        )

    def folder(self, table: str) -> str:
        return f"{self.clients.paimon.location(self.name, table)}/metadata"

    def write(
        self,
        table: str,
        version: int,
        *,
        hint: bool = True,
        metadata: bool = True,
        columns: tuple[str, ...] = COLUMNS,
        lake_rows: int | None = None,
        visible: int | None = None,
        **changes: Any,
    ) -> None:
        """Write version N of a table; its newest row has position 1000 * N, and it has 30 rows.

        With ``lake_rows`` there is a Paimon snapshot too, which has so many. ``visible`` is the version whose
        rows readers see (no compaction since), ``changes`` are made to the metadata.
        """
        visible = version if visible is None else visible
        store, folder = self.flink, self.folder(table)
        bounds = [
            {"key": 1, "value": (1000 * visible).to_bytes(8, "little", signed=True)},
            {"key": 2, "value": (1_357_000_000_000_000 + visible).to_bytes(8, "little", signed=True)},
        ]
        files = [
            {
                "status": status,
                "data_file": {"record_count": 15, "file_size_in_bytes": 10, "upper_bounds": upper},
            }
            for status, upper in ((1, bounds), (0, None), (2, [{"key": 1, "value": b"\x7f" * 8}]))
        ]
        store.put(f"{folder}/manifest-{version}.avro", avro(MANIFEST, files))
        store.put(
            f"{folder}/snap-{version}.avro",
            avro(MANIFEST_LIST, [{"manifest_path": f"{folder}/manifest-{version}.avro"}]),
        )
        if table == "_quarantine":
            columns = ("topic", "_position", "_committed_at", "partition", "offset")
        body = {
            "format-version": 2,
            "table-uuid": f"uuid of {table}",
            "location": self.clients.paimon.location(self.name, table),
            "last-updated-ms": 1_700_000_000_000 + version,
            "current-schema-id": 0,
            "schemas": [{"schema-id": 0, "fields": [{"name": n, "id": i} for i, n in enumerate(columns)]}],
            "default-spec-id": 0,
            "default-sort-order-id": 0,
            "current-snapshot-id": version,
            "snapshots": [
                {
                    "snapshot-id": version,
                    "manifest-list": f"{folder}/snap-{version}.avro",
                    "summary": {"total-records": str(10 * version), "total-files-size": "1234"},
                }
            ],
            **changes,
        }
        if lake_rows is not None:
            snapshot = {
                "id": version,
                "schemaId": 0,
                "commitUser": "a test",
                "commitIdentifier": version,
                "commitKind": "APPEND",
                "timeMillis": int(time.time() * 1000),
                "totalRecordCount": lake_rows,
            }
            location = self.clients.paimon.location(self.name, table)
            store.put(f"{location}/snapshot/snapshot-{version}", json.dumps(snapshot).encode())
            store.put(f"{location}/snapshot/LATEST", str(version).encode())
        if metadata:
            store.put(f"{folder}/v{version}.metadata.json", json.dumps(body).encode())
        if hint:
            store.put(f"{folder}/version-hint.text", str(version).encode())

    def drop(self) -> None:
        """Delete all objects of the pipeline's tables."""
        self.flink.delete_prefix(f"{self.clients.paimon.warehouse}/{self.name}.db/")

    def shown(self, branch: str) -> dict[str, int]:
        """Snapshot id per table that the branch shows."""
        keys = [(self.name, table.name) for table in self.contract.tables]
        reference = self.clients.nessie.get_reference(branch)
        found = self.clients.nessie.get_tables(keys, reference)
        return {key[1]: table.snapshot_id for key, table in found.items()}
