from __future__ import annotations

import io
import json
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.iceberg import (
    MissingFileError,
    read_tree,
    records,
    relocated_list,
    relocated_manifest,
    relocated_metadata,
)

MANIFEST: dict[str, Any] = {
    "type": "record",
    "name": "manifest_entry",
    "fields": [
        {"name": "status", "type": "int", "field-id": 0},
        {"name": "snapshot_id", "type": ["null", "long"], "default": None, "field-id": 1},
        {
            "name": "data_file",
            "field-id": 2,
            "type": {
                "type": "record",
                "name": "r2",
                "fields": [
                    {"name": "content", "type": "int", "field-id": 134},
                    {"name": "file_path", "type": "string", "field-id": 100},
                    {"name": "record_count", "type": "long", "field-id": 103},
                    {"name": "file_size_in_bytes", "type": "long", "field-id": 104},
                    {
                        "name": "lower_bounds",
                        "field-id": 125,
                        "type": [
                            "null",
                            {
                                "type": "array",
                                "logicalType": "map",
                                "items": {
                                    "type": "record",
                                    "name": "k126_v127",
                                    "fields": [
                                        {"name": "key", "type": "int", "field-id": 126},
                                        {"name": "value", "type": "bytes", "field-id": 127},
                                    ],
                                },
                            },
                        ],
                    },
                ],
            },
        },
    ],
}
LIST: dict[str, Any] = {
    "type": "record",
    "name": "manifest_file",
    "fields": [
        {"name": "manifest_path", "type": "string", "field-id": 500},
        {"name": "manifest_length", "type": "long", "field-id": 501},
        {"name": "added_snapshot_id", "type": "long", "field-id": 503},
        {"name": "deleted_files_count", "type": "int", "field-id": 506},
    ],
}
HEADER = {"schema": '{"type":"struct"}', "format-version": "2", "content": "data"}

bounds = st.none() | st.lists(
    st.fixed_dictionaries({"key": st.integers(0, 2**31 - 1), "value": st.binary(max_size=12)}), max_size=3
)
entries = st.lists(
    st.fixed_dictionaries(
        {
            "status": st.integers(0, 2),
            "snapshot_id": st.none() | st.integers(-(2**63), 2**63 - 1),
            "data_file": st.fixed_dictionaries(
                {
                    "content": st.sampled_from([0, 1]),
                    "file_path": st.text(min_size=1, max_size=20),
                    "record_count": st.integers(0, 2**62),
                    "file_size_in_bytes": st.integers(0, 2**62),
                    "lower_bounds": bounds,
                }
            ),
        }
    ),
    max_size=6,
)


def avro(schema: Any, content: list[dict[str, Any]], codec: str = "null") -> bytes:
    raw = io.BytesIO()
    fastavro.writer(raw, schema, content, codec=codec, metadata=dict(HEADER))
    return raw.getvalue()


@settings(max_examples=30)
@given(entries, st.sampled_from(["null", "deflate", "snappy"]))
def test_a_moved_manifest_differs_in_nothing_but_its_paths(entries: list[dict[str, Any]], codec: str) -> None:
    raw = avro(MANIFEST, entries, codec)
    live = [entry for entry in entries if entry["status"] != 2]
    places = {e["data_file"]["file_path"]: f"s3://new/{n}" for n, e in enumerate(live)}
    moved = relocated_manifest(raw, places)
    expected = [
        {**e, "data_file": {**e["data_file"], "file_path": places[e["data_file"]["file_path"]]}} for e in live
    ]
    assert list(records(moved, "")) == expected
    old, new = (fastavro.reader(io.BytesIO(one)) for one in (raw, moved))
    assert new.codec == old.codec
    assert json.loads(new.metadata["avro.schema"]) == json.loads(old.metadata["avro.schema"])
    assert {name: new.metadata[name] for name in HEADER} == HEADER


def test_a_moved_list_names_the_new_manifests_and_their_lengths() -> None:
    entry = {
        "manifest_path": "s3://old/m",
        "manifest_length": 1,
        "added_snapshot_id": 7,
        "deleted_files_count": 3,
    }
    moved = relocated_list(avro(LIST, [entry]), {"s3://old/m": ("s3://new/m", 99)})
    assert list(records(moved, "")) == [
        {
            "manifest_path": "s3://new/m",
            "manifest_length": 99,
            "added_snapshot_id": 7,
            "deleted_files_count": 0,
        }
    ]


def metadata() -> dict[str, Any]:
    return {
        "format-version": 2,
        "location": "s3://old",
        "current-snapshot-id": 2,
        "snapshots": [
            {"snapshot-id": 1, "timestamp-ms": 1, "manifest-list": "s3://old/l1"},
            {
                "snapshot-id": 2,
                "parent-snapshot-id": 1,
                "timestamp-ms": 2,
                "manifest-list": "s3://old/l2",
                "summary": {"operation": "append"},
            },
        ],
        "metadata-log": [{"metadata-file": "s3://old/m1", "timestamp-ms": 1}],
        "snapshot-log": [{"snapshot-id": 1, "timestamp-ms": 1}],
        "refs": {"main": {"snapshot-id": 2, "type": "branch"}, "x": {"snapshot-id": 1, "type": "tag"}},
        "statistics": [{"snapshot-id": 2, "statistics-path": "s3://old/s"}],
        "properties": {"owner": "me"},
    }


def test_moved_metadata_names_nothing_of_the_old_place() -> None:
    moved = relocated_metadata(metadata(), "s3://new/l", "s3://new")
    assert "s3://old" not in json.dumps(moved)
    assert [snapshot["snapshot-id"] for snapshot in moved["snapshots"]] == [2]
    assert "parent-snapshot-id" not in moved["snapshots"][0]
    assert moved["properties"] == {"owner": "me"}
    assert set(moved["refs"]) == {"main"}


def tree_files() -> dict[str, bytes]:
    def entry(path: str, status: int = 1, content: int = 0) -> dict[str, Any]:
        return {
            "status": status,
            "snapshot_id": None,
            "data_file": {
                "content": content,
                "file_path": path,
                "record_count": 5,
                "file_size_in_bytes": 10,
                "lower_bounds": None,
            },
        }

    def listing(path: str) -> dict[str, Any]:
        return {
            "manifest_path": path,
            "manifest_length": 1,
            "added_snapshot_id": 1,
            "deleted_files_count": 0,
        }

    return {
        "s3://old/v2": json.dumps(metadata()).encode(),
        "s3://old/l1": avro(LIST, [listing("s3://old/m1")]),
        "s3://old/l2": avro(LIST, [listing("s3://old/m2"), listing("s3://old/m3")]),
        "s3://old/m1": avro(MANIFEST, [entry("d1")]),
        "s3://old/m2": avro(MANIFEST, [entry("d1", 2), entry("d2")]),
        "s3://old/m3": avro(MANIFEST, [entry("x", content=1)]),
    }


def test_a_tree_is_everything_its_metadata_leads_to() -> None:
    files = tree_files()
    tree = read_tree("s3://old/v2", files.get)
    assert set(tree.locations) == {*files, "d1", "d2", "x", "s3://old/s"}
    now = read_tree("s3://old/v2", files.get, current_only=True)
    assert {file.location for file in now.data} == {"d2", "x"}
    assert now.rows == 5
    assert now.size == 20


@pytest.mark.parametrize("gone", ["s3://old/v2", "s3://old/l2", "s3://old/m3"])
def test_what_is_missing_is_named(gone: str) -> None:
    files = tree_files()
    del files[gone]
    with pytest.raises(MissingFileError) as caught:
        read_tree("s3://old/v2", files.get)
    assert caught.value.location == gone


def test_what_is_no_avro_is_an_error_of_the_engine() -> None:
    with pytest.raises(EngineError, match="the file cannot be read"):
        list(records(b"nonsense", "the file"))
