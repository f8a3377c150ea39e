"""Paimon's table folders on the object store, read without Paimon: snapshots and their Iceberg metadata.

Only small objects are read (hints, snapshot files, manifests), never data. Layout, as of Paimon 1.3:
`WAREHOUSE/DB.db/TABLE/snapshot/{EARLIEST,LATEST,snapshot-N}` and, with
`metadata.iceberg.storage=table-location`, `metadata/{version-hint.text,vN.metadata.json,snap-*.avro ...}`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any, cast

from lakehouse_dagster.engines.endpoints import PaimonEndpoint, S3Endpoint
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.s3 import ObjectStore

_STEPS = 4
"""So many snapshots after the one seen are looked for before the hint is asked how many there are."""
_HINT_BEHIND = 3
"""So far behind may the hint be; further, and the folder is listed."""


@dataclass(frozen=True)
class PaimonSnapshot:
    """One Paimon snapshot. `kind` is APPEND, COMPACT or OVERWRITE.

    Row counts are physical records of the files: before compaction they count every version of a row.
    """

    id: int
    schema_id: int
    commit_user: str
    commit_identifier: int
    kind: str
    committed_at: datetime
    total_records: int
    delta_records: int
    watermark: int | None = None
    added: str | None = None
    """Name of the list of manifests that tell what this snapshot adds and deletes."""


@dataclass(frozen=True)
class SnapshotsSince:
    """A table's snapshots since one that was seen before."""

    newest: PaimonSnapshot
    seen: PaimonSnapshot | None = None
    """The one that was seen, as stored now; None when it has expired or was never there in this life."""
    later: tuple[PaimonSnapshot, ...] = ()
    """All those after it, ascending; empty when there are none, too many, or some have expired."""


@dataclass(frozen=True)
class PaimonSchema:
    """A version of a table's schema: columns as (name, type as in Flink SQL, e.g. ``INT NOT NULL``)."""

    id: int
    columns: tuple[tuple[str, str], ...]
    primary_keys: tuple[str, ...]
    partition_keys: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def buckets(self) -> int:
        """Buckets of a partition; -1 where Paimon decides."""
        return int(self.options.get("bucket", -1))


@dataclass(frozen=True)
class IcebergState:
    """The newest Iceberg metadata of a Paimon table.

    `snapshot_id` equals the id of the Paimon snapshot it was made from. `total_records` and `total_bytes`
    are what an Iceberg reader sees (fully compacted files), None where the metadata does not tell.
    `last_updated_ms` is when the metadata was written.
    """

    version: int
    location: str
    snapshot_id: int
    schema_id: int
    spec_id: int
    sort_order_id: int
    total_records: int | None
    total_bytes: int | None
    total_files: int | None
    last_updated_ms: int
    metadata: dict[str, Any]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that a reader sees."""
        return tuple(_field_ids(self.metadata, self.schema_id))

    @property
    def table_uuid(self) -> str | None:
        """Identity of the table's line of versions; Paimon begins another where it cannot continue one."""
        return self.metadata.get("table-uuid")

    @property
    def table_location(self) -> str | None:
        """The table's folder as the metadata itself names it."""
        return self.metadata.get("location")


@dataclass(frozen=True)
class ColumnBounds:
    """Greatest `_position` and `_committed_at` among the rows an Iceberg reader sees.

    They come from the column statistics of the manifests. A table whose newest change was a delete shows
    an older position than the source's, because deleted rows carry no statistics. None for an empty table,
    or where the files have no statistics for the column.
    """

    position: int | None
    committed_at: datetime | None
    rows: int | None = None
    """Rows in the listed files, which are compacted: as many as a reader counts."""
    bytes: int | None = None
    """Size of the listed files."""


class PaimonTables:
    """The tables of one Paimon warehouse, named by (database, table)."""

    engine = "paimon"

    def __init__(self, paimon: PaimonEndpoint, s3: S3Endpoint, *, store: ObjectStore | None = None) -> None:
        self.warehouse = paimon.warehouse.rstrip("/")
        self.store = store or ObjectStore(s3)
        self._columns: dict[tuple[str, str, int, str], int] = {}

    def close(self) -> None:
        """Close the object store's connections."""
        self.store.close()

    def location(self, database: str, table: str) -> str:
        """Folder of a table as an `s3://` address."""
        return f"{self.warehouse}/{database}.db/{table}"

    def exists(self, database: str, table: str) -> bool:
        """Whether the table was created (its first schema file is there)."""
        return self.store.exists(f"{self.location(database, table)}/schema/schema-0")

    def schema(self, database: str, table: str) -> PaimonSchema | None:
        """The newest schema of a table, None when the table does not exist.

        Paimon counts schemas from 0 and keeps them all. Most tables have one, and a listing costs more than
        asking for one too many.
        """
        prefix = f"{self.location(database, table)}/schema/schema-"
        newest = None
        for number in count():
            raw = self.store.get(f"{prefix}{number}")
            if raw is None:
                break
            newest = raw
        return None if newest is None else parse_schema(newest)

    def snapshot(self, database: str, table: str, snapshot_id: int) -> PaimonSnapshot | None:
        """One snapshot, None when it does not exist or has expired."""
        raw = self.store.get(f"{self.location(database, table)}/snapshot/snapshot-{snapshot_id}")
        return None if raw is None else parse_snapshot(raw)

    def snapshot_ids(self, database: str, table: str) -> list[int]:
        """Ids of all kept snapshots, ascending."""
        prefix = f"{self.location(database, table)}/snapshot/snapshot-"
        ids = (item.key.rpartition("-")[2] for item in self.store.list(prefix))
        return sorted(int(text) for text in ids if text.isdigit())

    def latest(self, database: str, table: str) -> PaimonSnapshot | None:
        """The newest snapshot, None before the first.

        Paimon's LATEST hint is only a hint: snapshots after it are looked for, and where it names one that
        does not exist the folder is listed (the same rule Paimon itself follows).
        """
        folder = f"{self.location(database, table)}/snapshot"
        hint = _number(self.store.get(f"{folder}/LATEST"))
        newest = None if hint is None else self.snapshot(database, table, hint)
        if newest is not None:
            found = self._following(database, table, newest.id, _HINT_BEHIND)
            newest = found[-1] if found else newest
            if len(found) < _HINT_BEHIND:
                return newest
        listed = max(self.snapshot_ids(database, table), default=None)
        return None if listed is None else self.snapshot(database, table, listed)

    def latest_id(self, database: str, table: str) -> int | None:
        """Id of the newest snapshot, None before the first."""
        newest = self.latest(database, table)
        return None if newest is None else newest.id

    def since(self, database: str, table: str, seen: int, *, most: int = 16) -> SnapshotsSince | None:
        """What has happened since the snapshot ``seen`` (0: none); None when the table has no snapshot.

        Two small reads when nothing has: the snapshot itself, which shows that the table is still the same
        one, and the absent next. At most ``most`` later snapshots are read one by one.
        """
        stored = self.snapshot(database, table, seen) if seen else None
        if stored is None:
            newest = self.latest(database, table)
            if newest is None:
                return None
            few = not seen and newest.id <= _STEPS
            later = self._following(database, table, 0, newest.id) if few else []
            return SnapshotsSince(newest, later=tuple(later))
        later = self._following(database, table, seen, _STEPS)
        if len(later) < _STEPS:
            return SnapshotsSince(later[-1] if later else stored, stored, tuple(later))
        newest = self.latest(database, table)
        if newest is None or newest.id - seen > most:
            return SnapshotsSince(newest or later[-1], stored)
        later += self._following(database, table, later[-1].id, newest.id - later[-1].id)
        return SnapshotsSince(later[-1], stored, tuple(later))

    def _following(self, database: str, table: str, after: int, most: int) -> list[PaimonSnapshot]:
        """The snapshots after an id, up to the first that does not exist, at most ``most``."""
        found: list[PaimonSnapshot] = []
        while len(found) < most:
            snapshot = self.snapshot(database, table, after + len(found) + 1)
            if snapshot is None:
                break
            found.append(snapshot)
        return found

    def iceberg_version(self, database: str, table: str) -> int | None:
        """Number N of the newest `vN.metadata.json`, None before the first."""
        return _number(self.store.get(f"{self.location(database, table)}/metadata/version-hint.text"))

    def iceberg(
        self, database: str, table: str, *, newest: int | None = None, attempts: int = 5
    ) -> IcebergState | None:
        """The newest Iceberg metadata, None when there is none yet.

        Paimon numbers it as the snapshot it is made from: who knows the ``newest`` snapshot's id saves the
        reading of the hint, unless the metadata of that snapshot is not written yet.

        The metadata object must really exist; when it is gone between two reads (a newer one was written and
        the old one removed), the hint is read again. EngineError after `attempts` such misses.
        """
        folder = f"{self.location(database, table)}/metadata"
        if newest is not None:
            location = f"{folder}/v{newest}.metadata.json"
            raw = self.store.get(location)
            if raw is not None:
                return parse_iceberg(raw, newest, location)
        for _ in range(attempts):
            version = self.iceberg_version(database, table)
            if version is None:
                return None
            location = f"{folder}/v{version}.metadata.json"
            raw = self.store.get(location)
            if raw is not None:
                return parse_iceberg(raw, version, location)
        raise EngineError(
            self.engine, f"{folder}: version-hint.text names metadata that does not exist ({attempts} reads)"
        )

    def iceberg_at(self, database: str, table: str, version: int) -> IcebergState | None:
        """The Iceberg metadata of one version, None when it does not exist or has expired."""
        location = f"{self.location(database, table)}/metadata/v{version}.metadata.json"
        raw = self.store.get(location)
        return None if raw is None else parse_iceberg(raw, version, location)

    def data_files(self, state: IcebergState) -> Iterator[dict[str, Any]]:
        """What the manifests of an Iceberg snapshot say of each data file that a reader reads.

        Reads the list of manifests and one small object per manifest with live files. EngineError naming the
        object when one is not there: older ones expire.
        """
        # fastavro is only needed here; importing it late keeps a plain reader of snapshots small.
        import fastavro

        manifests = _current_snapshot(state.metadata)
        path = manifests.get("manifest-list") if manifests else None

        def records(location: str) -> Iterator[dict[str, Any]]:
            raw = self._required(location)
            try:
                yield from cast(Iterator[dict[str, Any]], fastavro.reader(io.BytesIO(raw)))
            except ValueError as error:
                raise EngineError(self.engine, f"{location} cannot be read: {error}") from error

        for entry in records(path) if path else ():
            if not entry.get("added_files_count", 1) and not entry.get("existing_files_count", 1):
                continue  # lists deleted files only
            for item in records(entry["manifest_path"]):
                if item["status"] != 2:  # a deleted file
                    yield item["data_file"]

    def bounds(
        self, state: IcebergState, *, position: str = "_position", committed_at: str = "_committed_at"
    ) -> ColumnBounds:
        """Greatest position and commit time of the rows in an Iceberg snapshot, from its manifests.

        Reads one small object per manifest with live files. Give the state right after `iceberg`: older
        manifests expire.
        """
        fields = _field_ids(state.metadata, state.schema_id)
        ids = {name: fields[name] for name in (position, committed_at) if name in fields}
        greatest: dict[str, int] = {}
        rows = size = 0
        if not ids:
            return ColumnBounds(None, None)
        for file in self.data_files(state):
            rows += file["record_count"]
            size += file["file_size_in_bytes"]
            upper = {pair["key"]: pair["value"] for pair in file.get("upper_bounds") or []}
            for name, field_id in ids.items():
                value = upper.get(field_id)
                if value is not None and len(value) == 8:
                    number = int.from_bytes(value, "little", signed=True)
                    greatest[name] = max(number, greatest.get(name, number))
        micros = greatest.get(committed_at)
        return ColumnBounds(
            position=greatest.get(position),
            committed_at=None if micros is None else datetime.fromtimestamp(micros / 1_000_000, UTC),
            rows=rows,
            bytes=size,
        )

    def complete(self, database: str, table: str, state: IcebergState, rows: int | None = None) -> bool:
        """Whether an Iceberg reader of this version gets all that the lake table had then.

        Paimon counts the rows of all files, a reader gets those of files that are compacted in full; where
        both are as many, there is no other file. ``rows`` are those that a reader gets, read from the
        manifests if left out. A version whose Paimon snapshot has expired counts as complete:
        nothing says otherwise.
        """
        snapshot = self.snapshot(database, table, state.snapshot_id)
        if snapshot is None:
            return True
        if rows is None:
            rows = sum(file["record_count"] for file in self.data_files(state))
        return bool(snapshot.total_records == rows)

    def added_max(self, database: str, table: str, snapshot: PaimonSnapshot, column: str) -> int | None:
        """Greatest value of a BIGINT column in the data files that a snapshot adds, by their statistics.

        None where it adds none, or where the statistics leave the column out. Reads the schema at the first
        call for it (it never changes under its number), the snapshot's list of manifests and each of those.
        EngineError when they have expired.
        """
        # Only needed here; a plain reader of snapshots stays small.
        import fastavro

        folder = f"{self.location(database, table)}/manifest"
        if snapshot.added is None:
            return None
        at = self._column(database, table, snapshot.schema_id, column)
        greatest: int | None = None
        try:
            lists = fastavro.reader(io.BytesIO(self._required(f"{folder}/{snapshot.added}")))
            for item in cast(Iterator[dict[str, Any]], lists):
                raw = self._required(f"{folder}/{item['_FILE_NAME']}")
                for entry in cast(Iterator[dict[str, Any]], fastavro.reader(io.BytesIO(raw))):
                    if entry["_KIND"] != 0:  # a file that is taken away
                        continue
                    value = stats_max(entry["_FILE"], at, column)
                    if value is not None:
                        greatest = value if greatest is None else max(greatest, value)
        except (ValueError, KeyError) as error:
            raise EngineError(
                self.engine, f"a manifest of {database}.{table} cannot be read: {error}"
            ) from error
        return greatest

    def _column(self, database: str, table: str, schema_id: int, column: str) -> int:
        """Where a column is in a version of a table's schema."""
        known = (database, table, schema_id, column)
        if known not in self._columns:
            raw = self._required(f"{self.location(database, table)}/schema/schema-{schema_id}")
            names = [name for name, _ in parse_schema(raw).columns]
            if column not in names:
                raise EngineError(self.engine, f"{database}.{table} has no column {column}")
            self._columns[known] = names.index(column)
        return self._columns[known]

    def _required(self, location: str) -> bytes:
        raw = self.store.get(location)
        if raw is None:
            raise EngineError(self.engine, f"{location} has expired; read the table's newest metadata again")
        return raw


def parse_schema(raw: bytes) -> PaimonSchema:
    """Parse a ``schema-N`` file of a Paimon table."""
    content = json.loads(raw)
    return PaimonSchema(
        id=content["id"],
        columns=tuple((field["name"], _type(field["type"])) for field in content["fields"]),
        primary_keys=tuple(content["primaryKeys"]),
        partition_keys=tuple(content.get("partitionKeys") or ()),
        options=content.get("options") or {},
    )


def _type(told: str | Mapping[str, Any]) -> str:
    """A type as SQL writes it; the file has an object for an array, such as that of a VECTOR's numbers.

    No table of a contract has another nested type: it is given as it stands, and so differs from any.
    """
    if isinstance(told, str):
        return told
    kind = str(told.get("type", ""))
    if kind.startswith("ARRAY"):
        return kind.replace("ARRAY", f"ARRAY<{_type(told['element'])}>", 1)
    return str(told)


def parse_snapshot(raw: bytes) -> PaimonSnapshot:
    """A snapshot file's content."""
    body = json.loads(raw)
    return PaimonSnapshot(
        id=body["id"],
        schema_id=body["schemaId"],
        commit_user=body["commitUser"],
        commit_identifier=body["commitIdentifier"],
        kind=body["commitKind"],
        committed_at=datetime.fromtimestamp(body["timeMillis"] / 1000, UTC),
        total_records=body.get("totalRecordCount") or 0,
        delta_records=body.get("deltaRecordCount") or 0,
        # Paimon writes Long.MIN_VALUE when the job has no watermark.
        watermark=body["watermark"] if body.get("watermark", -1) and body.get("watermark", -1) > 0 else None,
        added=body.get("deltaManifestList"),
    )


def stats_max(file: dict[str, Any], at: int, column: str) -> int | None:
    """Greatest value of a BIGINT column by a data file's statistics, as a Paimon manifest holds them.

    ``at`` is the column's place in the table's schema. The statistics are a row of Paimon's own binary form:
    the number of columns (4 bytes, big-endian), 8 bits of its kind and one per column that is NULL, filled up
    to whole 8 bytes, then 8 bytes per column (little-endian). None when the column is not among them or all
    its values are NULL.
    """
    columns = file.get("_VALUE_STATS_COLS")
    if columns is not None:
        if column not in columns:
            return None
        at = columns.index(column)
    row = file["_VALUE_STATS"]["_MAX_VALUES"]
    count = int.from_bytes(row[:4], "big")
    if at >= count:
        return None
    if row[4 + (at + 8) // 8] >> ((at + 8) % 8) & 1:
        return None
    start = 4 + (count + 71) // 64 * 8 + 8 * at
    return int.from_bytes(row[start : start + 8], "little", signed=True)


def parse_iceberg(raw: bytes, version: int, location: str) -> IcebergState:
    """Content of an Iceberg metadata file. EngineError when it has no current snapshot."""
    body = json.loads(raw)
    snapshot = _current_snapshot(body)
    if snapshot is None:
        raise EngineError("paimon", f"{location} has no current snapshot")
    summary = snapshot.get("summary") or {}

    def total(name: str) -> int | None:
        return int(summary[name]) if name in summary else None

    return IcebergState(
        version=version,
        location=location,
        snapshot_id=snapshot["snapshot-id"],
        schema_id=body.get("current-schema-id", snapshot.get("schema-id", 0)),
        spec_id=body.get("default-spec-id", 0),
        sort_order_id=body.get("default-sort-order-id", 0),
        total_records=total("total-records"),
        total_bytes=total("total-files-size"),
        total_files=total("total-data-files"),
        last_updated_ms=body["last-updated-ms"],
        metadata=body,
    )


def _current_snapshot(metadata: dict[str, Any]) -> dict[str, Any] | None:
    current = metadata.get("current-snapshot-id")
    return next((s for s in metadata.get("snapshots") or [] if s["snapshot-id"] == current), None)


def _field_ids(metadata: dict[str, Any], schema_id: int) -> dict[str, int]:
    schemas = metadata.get("schemas") or []
    schema = next((s for s in schemas if s.get("schema-id") == schema_id), schemas[-1] if schemas else {})
    return {field["name"]: field["id"] for field in schema.get("fields", [])}


def _number(raw: bytes | None) -> int | None:
    text = (raw or b"").decode("ascii", "replace").strip()
    return int(text) if text.isdigit() else None
