"""Iceberg's own files: what a metadata file leads to, and the same tree of files moved to another place.

A table's version is a tree: `*.metadata.json` names manifest lists (Avro, one per snapshot), a list names
manifests (Avro), a manifest names data files and files of deletes. All names are absolute, so a copy has to
be rewritten from the leaves to the root (Iceberg's specification, version 2).
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from lakehouse_dagster.engines.errors import EngineError

Read = Callable[[str], bytes | None]
"""Content of an object by its address; None when there is none."""

_DELETED = 2
"""Status of a manifest's entry whose file is no longer part of the table."""


class MissingFileError(EngineError):
    """A file that a version needs is gone. `location` is its address."""

    def __init__(self, location: str) -> None:
        super().__init__("iceberg", f"{location} does not exist any more")
        self.location = location


@dataclass(frozen=True)
class DataFile:
    """A file of rows or of deletes, with its size in bytes and number of rows."""

    location: str
    size: int
    rows: int
    deletes: bool = False


@dataclass(frozen=True)
class Tree:
    """Every file that one version of a table is made of.

    ``metadata`` is the content of the metadata file, ``lists`` and ``manifests`` the raw content by address.
    ``data`` are the live files of rows and deletes, ``others`` what else the metadata names (statistics).
    """

    location: str
    metadata: Mapping[str, Any]
    lists: Mapping[str, bytes] = field(default_factory=dict)
    manifests: Mapping[str, bytes] = field(default_factory=dict)
    data: tuple[DataFile, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def locations(self) -> Iterator[str]:
        """Addresses of all of them."""
        yield self.location
        yield from self.lists
        yield from self.manifests
        yield from (file.location for file in self.data)
        yield from self.others

    @property
    def rows(self) -> int:
        """Rows in the live files, without regard to deletes."""
        return sum(file.rows for file in self.data if not file.deletes)

    @property
    def size(self) -> int:
        """Bytes of the live files."""
        return sum(file.size for file in self.data)


def read_tree(location: str, read: Read, *, current_only: bool = False) -> Tree:
    """Read all but the data of the version of a table whose metadata file is at ``location``.

    ``current_only`` leaves out snapshots other than the current one. Raises MissingFileError naming what is
    gone, EngineError when a file cannot be understood.
    """
    metadata = json.loads(_required(location, read))
    snapshots = metadata.get("snapshots") or []
    if current_only:
        snapshots = [s for s in snapshots if s["snapshot-id"] == metadata.get("current-snapshot-id")]
    lists: dict[str, bytes] = {}
    manifests: dict[str, bytes] = {}
    data: dict[str, DataFile] = {}
    for snapshot in snapshots:
        path = snapshot["manifest-list"]
        lists[path] = _required(path, read)
        for entry in records(lists[path], path):
            name = entry["manifest_path"]
            if name in manifests:
                continue
            manifests[name] = _required(name, read)
            for file in data_files(manifests[name], name):
                data[file.location] = file
    others = tuple(
        item["statistics-path"]
        for kind in ("statistics", "partition-statistics")
        for item in metadata.get(kind) or []
    )
    return Tree(location, metadata, lists, manifests, tuple(data.values()), others)


def data_files(raw: bytes, location: str) -> Iterator[DataFile]:
    """The live files that a manifest names."""
    for entry in records(raw, location):
        if entry["status"] != _DELETED:
            file = entry["data_file"]
            yield DataFile(
                file["file_path"], file["file_size_in_bytes"], file["record_count"], bool(file.get("content"))
            )


def records(raw: bytes, location: str) -> Iterator[dict[str, Any]]:
    """Records of an Avro file; EngineError when it is not one."""
    # Late: only those who look into manifests need it.
    import fastavro

    try:
        yield from cast(Iterator[dict[str, Any]], fastavro.reader(io.BytesIO(raw)))
    except ValueError as error:
        raise EngineError("iceberg", f"{location} cannot be read: {error}") from error


def relocated_manifest(raw: bytes, places: Mapping[str, str]) -> bytes:
    """A manifest whose live files are at other places; entries of deleted files are left out.

    ``places`` gives the new address of each live file. Schema, field ids, codec and header stay.
    """

    def moved() -> Iterator[dict[str, Any]]:
        for entry in records(raw, "the manifest"):
            if entry["status"] == _DELETED:
                continue
            file = entry["data_file"]
            yield {**entry, "data_file": {**file, "file_path": places[file["file_path"]]}}

    return _rewritten(raw, moved())


def relocated_list(raw: bytes, places: Mapping[str, tuple[str, int]]) -> bytes:
    """A manifest list whose manifests are at other places: ``places`` gives address and length in bytes.

    The counts of deleted files become 0, as `relocated_manifest` leaves those out.
    """

    def moved() -> Iterator[dict[str, Any]]:
        for entry in records(raw, "the manifest list"):
            path, length = places[entry["manifest_path"]]
            counts = {
                name: 0
                for name in entry
                if name in {"deleted_files_count", "deleted_data_files_count", "deleted_rows_count"}
            }
            yield {**entry, **counts, "manifest_path": path, "manifest_length": length}

    return _rewritten(raw, moved())


def relocated_metadata(metadata: Mapping[str, Any], manifest_list: str, location: str) -> dict[str, Any]:
    """Metadata of the current snapshot alone, in a table that lives at ``location``.

    Everything that names an older file or another snapshot is left out.
    """
    current = metadata["current-snapshot-id"]
    snapshot = next(dict(s) for s in metadata["snapshots"] if s["snapshot-id"] == current)
    snapshot.pop("parent-snapshot-id", None)
    snapshot["manifest-list"] = manifest_list
    kept = {
        name: value
        for name, value in metadata.items()
        if name not in {"statistics", "partition-statistics", "snapshot-log"}
    }
    return {
        **kept,
        "location": location,
        "snapshots": [snapshot],
        "snapshot-log": [{"snapshot-id": current, "timestamp-ms": snapshot["timestamp-ms"]}],
        "metadata-log": [],
        "refs": {"main": {"snapshot-id": current, "type": "branch"}},
    }


def _rewritten(raw: bytes, content: Iterator[dict[str, Any]]) -> bytes:
    """An Avro file with the schema, codec and header of ``raw``, and other records."""
    import fastavro

    old = fastavro.reader(io.BytesIO(raw))
    header = {name: value for name, value in old.metadata.items() if not name.startswith("avro.")}
    out = io.BytesIO()
    assert old.writer_schema is not None
    fastavro.writer(out, old.writer_schema, content, codec=old.codec, metadata=header)
    return out.getvalue()


def _required(location: str, read: Read) -> bytes:
    raw = read(location)
    if raw is None:
        raise MissingFileError(location)
    return raw
