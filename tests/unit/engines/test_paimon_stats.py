"""The greatest value of a column in what a snapshot adds, from Paimon's manifests."""

from __future__ import annotations

import io
import json
from typing import Any, cast

import fastavro
import pytest

from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.paimon import PaimonTables, parse_snapshot, stats_max
from lakehouse_dagster.engines.s3 import ObjectStore

# Written by Paimon 1.3 for the sample's table of planes: _VALUE_STATS._MAX_VALUES of a data file.
PLANES = bytes.fromhex(
    "0000000d00000400000000004e393939444e0086dd070000000000000a000000700000000c000000800000000d000000900000000400"
    "000000000000c201000000000000b0010000000000000b000000a000000000f0031600020000000000000000000000000000b0000000"
    "2b49000000000082526f746f72637261667400000000000053544557415254204d41434f000000005a4f4449414320363031484453"
    "000000547572626f2d73686166740000000000c82c9b08a2010000"
)
COLUMNS = (
    "tailnum", "year", "type", "manufacturer", "model", "engines", "seats", "speed", "engine", "_position",
    "_gtid", "_committed_at", "_op",
)  # fmt: skip
FOLDER = "s3://lake/paimon/flights.db/probe"


def file(row: bytes, columns: list[str] | None = None) -> dict[str, Any]:
    return {"_VALUE_STATS": {"_MAX_VALUES": row}, "_VALUE_STATS_COLS": columns}


def row(*values: int | None) -> bytes:
    """A row of BIGINT columns in Paimon's own form."""
    bits = bytearray((len(values) + 71) // 64 * 8)
    for at, value in enumerate(values):
        if value is None:
            bits[(at + 8) // 8] |= 1 << (at + 8) % 8
    return (
        len(values).to_bytes(4, "big")
        + bytes(bits)
        + b"".join((value or 0).to_bytes(8, "little", signed=True) for value in values)
    )


@pytest.mark.parametrize(
    ("column", "expected"), [("year", 2013), ("seats", 450), ("_position", 2199392612352), ("_gtid", None)]
)
def test_what_paimon_wrote_is_read(column: str, expected: int | None) -> None:
    assert stats_max(file(PLANES), COLUMNS.index(column), column) == expected


def test_nulls_and_columns_without_statistics_have_no_value() -> None:
    assert stats_max(file(row(1, -5, None)), 1, "beat") == -5
    assert stats_max(file(row(1, -5, None)), 2, "beat") is None
    assert stats_max(file(row(1)), 1, "beat") is None
    assert stats_max(file(row(7, 8), ["beat", "other"]), 5, "beat") == 7
    assert stats_max(file(row(7), ["other"]), 0, "beat") is None
    wide = row(*range(200))
    assert [stats_max(file(wide), at, "beat") for at in (0, 55, 56, 63, 64, 199)] == [0, 55, 56, 63, 64, 199]


class Store:
    """Objects in memory."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def get(self, location: str) -> bytes | None:
        return self.objects.get(location)

    def avro(self, name: str, schema: dict[str, Any], records: list[dict[str, Any]]) -> None:
        out = io.BytesIO()
        fastavro.writer(out, schema, records)
        self.objects[f"{FOLDER}/manifest/{name}"] = out.getvalue()


LIST: dict[str, Any] = {
    "type": "record",
    "name": "ManifestFileMeta",
    "fields": [{"name": "_FILE_NAME", "type": "string"}],
}
STATS: dict[str, Any] = {
    "type": "record",
    "name": "Stats",
    "fields": [{"name": "_MAX_VALUES", "type": "bytes"}],
}
FILE: dict[str, Any] = {
    "type": "record",
    "name": "File",
    "fields": [
        {"name": "_VALUE_STATS", "type": STATS},
        {"name": "_VALUE_STATS_COLS", "type": ["null", {"type": "array", "items": "string"}]},
    ],
}
ENTRY: dict[str, Any] = {
    "type": "record",
    "name": "ManifestEntry",
    "fields": [{"name": "_KIND", "type": "int"}, {"name": "_FILE", "type": FILE}],
}


def snapshot(**changes: object) -> Any:
    raw = {
        "id": 7,
        "schemaId": 0,
        "commitUser": "me",
        "commitIdentifier": 1,
        "commitKind": "APPEND",
        "timeMillis": 1,
        "deltaManifestList": "list-7",
        **changes,
    }
    return parse_snapshot(json.dumps(raw).encode())


@pytest.fixture
def store() -> Store:
    made = Store()
    fields = [{"name": name, "type": "BIGINT"} for name in ("id", "beat")]
    made.objects[f"{FOLDER}/schema/schema-0"] = json.dumps(
        {"id": 0, "fields": fields, "primaryKeys": ["id"]}
    ).encode()
    made.avro("list-7", LIST, [{"_FILE_NAME": "manifest-1"}, {"_FILE_NAME": "manifest-2"}])
    made.avro("manifest-1", ENTRY, [{"_KIND": 0, "_FILE": file(row(1, 41))}])
    made.avro(
        "manifest-2",
        ENTRY,
        [{"_KIND": 1, "_FILE": file(row(1, 99))}, {"_KIND": 0, "_FILE": file(row(1, 42))}],
    )
    return made


def tables(store: Store) -> PaimonTables:
    warehouse = type("Endpoint", (), {"warehouse": "s3://lake/paimon"})()
    return PaimonTables(warehouse, cast(Any, None), store=cast(ObjectStore, store))


def test_only_files_that_are_added_count(store: Store) -> None:
    assert tables(store).added_max("flights", "probe", snapshot(), "beat") == 42


def test_a_snapshot_that_adds_nothing_has_no_value(store: Store) -> None:
    store.avro("list-7", LIST, [])
    assert tables(store).added_max("flights", "probe", snapshot(), "beat") is None
    assert tables(store).added_max("flights", "probe", snapshot(deltaManifestList=None), "beat") is None


def test_what_has_expired_or_does_not_exist_is_an_error(store: Store) -> None:
    with pytest.raises(EngineError, match="no column pulse"):
        tables(store).added_max("flights", "probe", snapshot(), "pulse")
    del store.objects[f"{FOLDER}/manifest/manifest-1"]
    with pytest.raises(EngineError, match="has expired"):
        tables(store).added_max("flights", "probe", snapshot(), "beat")
    store.objects[f"{FOLDER}/manifest/list-7"] = b"no avro"
    with pytest.raises(EngineError, match="cannot be read"):
        tables(store).added_max("flights", "probe", snapshot(), "beat")
