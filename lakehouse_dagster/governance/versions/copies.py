"""Copies of tables that do not depend on Paimon: their Iceberg metadata and data at a place of their own.

Paimon deletes the files of a snapshot, and the Iceberg metadata made from it, a few minutes after the next
ones. What a reference must keep readable is therefore copied, inside the object store. Native Iceberg tables
(marts, a team's own) need no copy: nothing but this project's retention deletes their files, and that keeps
whatever a reference leads to.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from lakehouse_dagster.engines.iceberg import (
    MissingFileError,
    Tree,
    read_tree,
    relocated_list,
    relocated_manifest,
    relocated_metadata,
)
from lakehouse_dagster.engines.nessie import IcebergTable, Key
from lakehouse_dagster.engines.s3 import ObjectStore

FOLDER = "versions"
"""Top folder of all copies in the bucket: ``versions/<pipeline>/<name>-<8 digits>/<schema>.<table>/``."""
THREADS = 16

Report = Callable[[str], None]


@dataclass(frozen=True)
class Copied:
    """The copies of some tables: contents as Nessie takes them, and what was copied."""

    folder: str
    tables: Mapping[Key, IcebergTable]
    files: int
    bytes: int
    rows: Mapping[Key, int]


def pipeline_folder(pipeline: str) -> str:
    """Key prefix of all copies of a pipeline."""
    return f"{FOLDER}/{pipeline}/"


def new_folder(pipeline: str, name: str) -> str:
    """Key prefix of a new copy; never one that was used before, whose files may be about to be deleted."""
    return f"{pipeline_folder(pipeline)}{name}-{uuid.uuid4().hex[:8]}/"


def copy_tables(
    store: ObjectStore,
    tables: Mapping[Key, IcebergTable],
    folder: str,
    *,
    data: bool = True,
    report: Report = lambda _: None,
) -> Copied:
    """Copy the version of every table to below ``folder`` (a key prefix); the data inside the store.

    Without ``data`` only metadata is copied and the data files stay Paimon's, for as long as it keeps them.
    Raises MissingFileError when a file has vanished meanwhile; what was copied until then is left behind.
    """
    with ThreadPoolExecutor(THREADS, thread_name_prefix="copy") as pool:
        trees = dict(
            zip(tables, pool.map(lambda one: current_tree(store, one), tables.values()), strict=True)
        )
        files = sum(len(tree.data) for tree in trees.values()) if data else 0
        size = sum(tree.size for tree in trees.values()) if data else 0
        report(f"copying {len(trees)} table(s): {files:,} data file(s), {size / 1e6:,.1f} MB")
        plans = {key: _Plan(store, tree, f"{folder}{'.'.join(key)}", data) for key, tree in trees.items()}
        moves = [move for plan in plans.values() for move in plan.moves]
        done = 0
        for moved in pool.map(lambda move: _copy(store, *move), moves):
            done += moved
            if done == len(moves) or done % max(1, len(moves) // 10) == 0:
                report(f"{done:,} of {len(moves):,} data file(s) copied")
        # The root comes last for every table: whoever finds it finds everything.
        list(pool.map(lambda plan: plan.write(), plans.values()))
    return Copied(
        folder=folder,
        tables={
            key: replace(table, metadata_location=plans[key].metadata_location)
            for key, table in tables.items()
        },
        files=files,
        bytes=size,
        rows={key: tree.rows for key, tree in trees.items()},
    )


def current_tree(store: ObjectStore, table: IcebergTable) -> Tree:
    """All files of the version of a table that Nessie holds. MissingFileError names what is gone."""
    return read_tree(table.metadata_location, store.get, current_only=True)


def missing_files(store: ObjectStore, tables: Iterable[IcebergTable]) -> list[str]:
    """Addresses of files that these versions need and that are gone; empty when all are readable.

    A version whose metadata, list or manifest is gone tells only of the first of them.
    """
    found: list[str] = []
    wanted: list[str] = []
    with ThreadPoolExecutor(THREADS, thread_name_prefix="look") as pool:
        for tree in pool.map(lambda table: _tree_or_missing(store, table), tables):
            if isinstance(tree, str):
                found.append(tree)
            else:
                wanted.extend(file.location for file in tree.data)
        there = pool.map(store.exists, wanted)
        found.extend(location for location, yes in zip(wanted, there, strict=True) if not yes)
    return found


def _tree_or_missing(store: ObjectStore, table: IcebergTable) -> Tree | str:
    try:
        return current_tree(store, table)
    except MissingFileError as error:
        return error.location


class _Plan:
    """Where the files of one table go."""

    def __init__(self, store: ObjectStore, tree: Tree, folder: str, data: bool) -> None:
        self._store = store
        self._tree = tree
        self._root = f"s3://{store.bucket}/{folder}"
        # Numbered: names below a table are unique only together with their folders (partitions, buckets).
        self._data = {
            file.location: f"{self._root}/data/{number:05}-{file.location.rpartition('/')[2]}"
            if data
            else file.location
            for number, file in enumerate(tree.data)
        }
        sizes = {file.location: file.size for file in tree.data}
        self.moves = [(old, new, sizes[old]) for old, new in self._data.items() if old != new]
        self.metadata_location = f"{self._root}/metadata/00000-{uuid.uuid4()}.metadata.json"

    def write(self) -> None:
        """Write manifests, manifest list and metadata, in this order."""
        folder = f"{self._root}/metadata"
        manifests: dict[str, tuple[str, int]] = {}
        for number, (old, raw) in enumerate(self._tree.manifests.items()):
            new, content = f"{folder}/manifest-{number:05}.avro", relocated_manifest(raw, self._data)
            self._store.put(new, content)
            manifests[old] = (new, len(content))
        ((_, raw_list),) = self._tree.lists.items()
        snapshot = self._tree.metadata["current-snapshot-id"]
        new_list = f"{folder}/snap-{snapshot}.avro"
        self._store.put(new_list, relocated_list(raw_list, manifests))
        metadata = relocated_metadata(self._tree.metadata, new_list, self._root)
        self._store.put(self.metadata_location, json.dumps(metadata).encode())


def _copy(store: ObjectStore, old: str, new: str, size: int) -> int:
    if not store.copy(old, new, size=size):
        raise MissingFileError(old)
    return 1
