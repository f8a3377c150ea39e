"""Engines that answer over HTTP like the real ones, for measuring what a sensor's tick costs.

One process serves an object store (Paimon's and Iceberg's small files of any number of tables), Nessie,
CouchDB, Flink and Kafka Connect, each on its own port of 127.0.0.1, and delays every answer by a fixed
latency. It counts the requests per engine. Shapes and sizes of the files are those of a running
installation: per commit an APPEND and a COMPACT snapshot, Iceberg metadata of 10 kB, a manifest list with
three manifests of which one lists live files.

Kafka and MySQL speak no HTTP: ``FakeKafka`` and ``FakeMySql`` are objects with those methods of
``KafkaAdmin`` and ``MySqlClient`` that the sensors use.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import io
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs

import fastavro
from pydantic import SecretStr

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.model import Pipeline, Source, Table, View
from lakehouse_dagster.contract.position import encode
from lakehouse_dagster.contract.schema import Column, SchemaLock, TableSchema
from lakehouse_dagster.engines.endpoints import (
    CassandraEndpoint,
    ConnectEndpoint,
    CouchDbEndpoint,
    DagsterEndpoint,
    Endpoints,
    FlinkEndpoint,
    KafkaEndpoint,
    MySqlEndpoint,
    NessieEndpoint,
    PaimonEndpoint,
    PostgresEndpoint,
    S3Endpoint,
    TrinoEndpoint,
)
from lakehouse_dagster.engines.kafka import GroupProgress, Partition
from lakehouse_dagster.engines.mysql import SourceCondition, SourcePosition
from lakehouse_dagster.render import paimon

PIPELINE = "bench"
ENGINES = ("minio", "nessie", "couchdb", "flink", "connect")
FIRST_COMMIT_MS = 1_795_424_357_678
COLUMNS = ("id", "name", "value", "_position", "_gtid", "_committed_at", "_op")


def table_name(number: int) -> str:
    """Name of the synthetic table of that number; all are of one length."""
    return f"t{number:05d}"


def synthetic_contract(tables: int) -> Contract:
    """Return a contract of that many tables, with one serving view for every tenth."""
    names = [table_name(number) for number in range(tables)]
    columns = tuple(
        Column(name=name, mysql_type=kind, nullable=False, position=at)
        for at, (name, kind) in enumerate((("id", "int"), ("name", "varchar(40)"), ("value", "bigint")), 1)
    )
    lock = {name: TableSchema(name=name, columns=columns, primary_key=("id",)) for name in names}
    pipeline = Pipeline(
        name=PIPELINE,
        owner="team:bench",
        source=Source(database="bench"),
        tables=tuple(Table(name=name) for name in names),
        views=tuple(View(name=f"documents_{name}", engine="couchdb", table=name) for name in names[::10]),
    )
    return Contract(Path("bench"), pipeline, SchemaLock(database="bench", tables=lock), {})


# --- what the object store holds ------------------------------------------------------------------


class Lake:
    """Snapshots of every table (commit times by id, from 1), and Nessie's history; all of it synthetic."""

    def __init__(self, tables: int, commits: int) -> None:
        self.tables: dict[str, list[int]] = {table_name(number): [] for number in range(tables)}
        self.published: list[tuple[str, str]] = []
        self.created = [0] * tables
        self.kept: list[str] = []
        """Keys of further objects, which only appear in listings (checkpoints)."""
        self.schema = _schema()
        for _ in range(commits):
            self.advance(None, at=FIRST_COMMIT_MS)

    def advance(self, names: Iterable[str] | None, at: int | None = None) -> None:
        """Commit once (an APPEND and a COMPACT snapshot) to the named tables, or to all, and publish."""
        moment = at or int(time.time() * 1000)
        for name in self.tables if names is None else names:
            times = self.tables[name]
            times.extend((moment + len(times), moment + len(times) + 1))
        number = len(self.published)
        self.published.append((f"{number:064x}", datetime.fromtimestamp(moment / 1000, UTC).isoformat()))

    def recreate(self, names: Iterable[str]) -> None:
        """Drop the tables and create them again with one commit."""
        for name in names:
            self.tables[name] = []
        self.advance(list(names))

    def object(self, key: str) -> bytes | None:
        """Return the object of that key."""
        found = re.fullmatch(r"paimon/\w+\.db/(\w+)/(snapshot|metadata|schema)/(.+)", key)
        times = self.tables.get(found[1]) if found else None
        if found is None or not times:
            return None
        folder, name = found[2], found[3]
        if folder == "schema":
            return self.schema if name == "schema-0" else None
        newest = len(times)
        if folder == "snapshot":
            if name == "LATEST":
                return str(newest).encode()
            number = _trailing(name)
            return snapshot(number, times[number - 1]) if number and number <= newest else None
        if folder == "metadata":
            if name == "version-hint.text":
                return str(newest).encode()
            if name.endswith(".metadata.json"):
                return (
                    metadata(key.rpartition("/")[0], newest, times[-1])
                    if name[1:].split(".")[0] == str(newest)
                    else None
                )
            if name.startswith("snap-"):
                return manifest_list(key.rpartition("/")[0], _trailing(name.split(".")[0]))
            return manifest()
        return None

    def keys(self, prefix: str) -> list[str]:
        """Return the keys below ``prefix`` of objects that are looked for by listing."""
        found = re.fullmatch(r"paimon/\w+\.db/(\w+)/schema/schema-", prefix)
        schemas = [f"{prefix}0"] if found and self.tables.get(found[1]) else []
        return [*(key for key in self.kept if key.startswith(prefix)), *schemas]


def _schema() -> bytes:
    """Return the schema file of a Paimon table; the same for every table."""
    contract = synthetic_contract(1)
    columns = paimon.columns(contract, table_name(0))
    fields = [{"id": at, "name": name, "type": kind} for at, (name, kind) in enumerate(columns)]
    key = contract.schema(table_name(0)).primary_key
    body = {"version": 3, "id": 0, "fields": fields, "partitionKeys": [], "primaryKeys": list(key)}
    return json.dumps(body, indent=2).encode()


def _trailing(name: str) -> int:
    text = name.rpartition("-")[2]
    return int(text) if text.isdigit() else 0


def snapshot(number: int, committed_ms: int) -> bytes:
    """Return a Paimon snapshot file."""
    body = {
        "version": 3,
        "id": number,
        "schemaId": 0,
        "baseManifestList": f"manifest-list-9b280ff0-8f2a-4764-b3ee-d9a4700ff8f4-{2 * number}",
        "baseManifestListSize": 1056,
        "deltaManifestList": f"manifest-list-9b280ff0-8f2a-4764-b3ee-d9a4700ff8f4-{2 * number + 1}",
        "deltaManifestListSize": 884,
        "changelogManifestList": None,
        "commitUser": "7e02f99f-392c-4349-a525-ed192c73d6ba",
        "commitIdentifier": number,
        "commitKind": "APPEND" if number % 2 else "COMPACT",
        "timeMillis": committed_ms,
        "logOffsets": {},
        "totalRecordCount": 10 * number,
        "deltaRecordCount": 10,
        "changelogRecordCount": 0,
        "watermark": -9223372036854775808,
        "nextRowId": 0,
    }
    return json.dumps(body, indent=2).encode()


def metadata(folder: str, number: int, updated_ms: int, *, kept: int = 25) -> bytes:
    """Return an Iceberg metadata file whose current snapshot is ``number``."""
    schema = {
        "schema-id": 0,
        "type": "struct",
        "fields": [{"id": at, "name": n, "required": False, "type": "long"} for at, n in enumerate(COLUMNS)],
    }
    snapshots = [
        {
            "sequence-number": at,
            "snapshot-id": at,
            "parent-snapshot-id": at - 1,
            "timestamp-ms": updated_ms,
            "schema-id": 0,
            "summary": {"operation": "overwrite"},
            "manifest-list": f"s3://lake/{folder}/snap-list-{at:08d}.avro",
        }
        for at in range(max(1, number - kept + 1), number + 1)
    ]
    body = {
        "format-version": 2,
        "table-uuid": "bda982c3-ae40-49eb-b1a5-c4abf5018bf8",
        "location": f"s3://lake/{folder.rpartition('/')[0]}",
        "last-sequence-number": number,
        "last-updated-ms": updated_ms + 300,
        "last-column-id": len(COLUMNS),
        "schemas": [schema],
        "current-schema-id": 0,
        "partition-specs": [{"spec-id": 0, "fields": []}],
        "default-spec-id": 0,
        "last-partition-id": 1000,
        "sort-orders": [{"order-id": 0, "fields": []}],
        "default-sort-order-id": 0,
        "snapshots": snapshots,
        "current-snapshot-id": number,
        "properties": {"key": "value"},
    }
    return json.dumps(body).encode()


def _record(name: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": n, "type": t} for n, t in fields.items()]}


@functools.cache
def manifest() -> bytes:
    """Return a manifest of one live data file; the same for every table."""
    bound = _record("bound", {"key": "int", "value": "bytes"})
    file = _record(
        "data_file",
        {
            "content": "int",
            "file_path": "string",
            "file_format": "string",
            "record_count": "long",
            "file_size_in_bytes": "long",
            "upper_bounds": {"type": "array", "items": bound},
        },
    )
    schema = fastavro.parse_schema(
        _record("manifest_entry", {"status": "int", "snapshot_id": "long", "data_file": file})
    )
    position = encode(0, 3, 1600, 2)
    bounds = {3: position, 5: (FIRST_COMMIT_MS - 900) * 1000}
    entry = {
        "status": 1,
        "snapshot_id": 1,
        "data_file": {
            "content": 0,
            "file_path": "s3://lake/x/bucket-0/data-0fd7a9f1-81e0-4776-b856-4a26e3b05c8c-0.parquet",
            "file_format": "parquet",
            "record_count": 2677,
            "file_size_in_bytes": 141933,
            "upper_bounds": [
                {"key": at, "value": bounds.get(at, at).to_bytes(8, "little", signed=True)}
                for at in range(len(COLUMNS))
            ],
        },
    }
    return _avro(schema, [entry])


_FOLDER = "paimon/bench.db/tXXXXX/metadata"


@functools.cache
def _manifest_list(number: int) -> bytes:
    schema = fastavro.parse_schema(
        _record(
            "manifest_file",
            {
                "manifest_path": "string",
                "manifest_length": "long",
                "added_files_count": "int",
                "existing_files_count": "int",
                "deleted_files_count": "int",
            },
        )
    )
    entries = [
        {
            "manifest_path": f"s3://lake/{_FOLDER}/2e6ff1c5-cb33-4f8b-9295-{number:012d}-{kind}.avro",
            "manifest_length": 2339,
            "added_files_count": live,
            "existing_files_count": 0,
            "deleted_files_count": 1 - live,
        }
        for kind, live in (("deleted-a", 0), ("deleted-b", 0), ("live", 1))
    ]
    return _avro(schema, entries)


def manifest_list(folder: str, number: int) -> bytes:
    """Return the manifest list of an Iceberg snapshot."""
    # All folders are of one length, so that the bytes of one list serve for every table.
    return _manifest_list(number).replace(_FOLDER.encode(), folder.encode())


def _avro(schema: Any, records: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    fastavro.writer(out, schema, records)
    return out.getvalue()


# --- the answers of each engine -------------------------------------------------------------------


class Answers:
    """What each engine says to a request: status, content type and body."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self.said: dict[str, dict[str, Any]] = {}
        """By engine and path, what Flink and Kafka Connect are to answer."""

    def minio(self, method: str, path: str, query: str) -> tuple[int, str, bytes]:
        """S3: single objects, and listings by prefix."""
        key = path.lstrip("/").partition("/")[2]
        if not key:
            return 200, "application/xml", _listing(self.lake.keys(parse_qs(query).get("prefix", [""])[0]))
        content = self.lake.object(key)
        if content is None:
            return 404, "application/xml", b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>"
        return 200, "application/octet-stream", content

    def nessie(self, method: str, path: str, query: str) -> tuple[int, str, bytes]:
        """Nessie: a branch, and its history with the facts of every table in each commit."""
        history = self.lake.published
        if path.endswith("/history"):
            wanted = re.search(r"max-records=(\d+)", query)
            entries = (
                [self._commit(*commit) for commit in history[: -int(wanted[1]) - 1 : -1]] if wanted else []
            )
            return _json({"logEntries": entries, "hasMore": len(history) > len(entries)})
        head = history[-1][0] if history else "0" * 64
        return _json({"reference": {"type": "BRANCH", "name": "main", "hash": head}})

    def _commit(self, hash_: str, at: str) -> dict[str, Any]:
        properties = {"lakehouse.pipeline": [PIPELINE], "lakehouse.requested-by": ["publisher"]}
        for name in self.lake.tables:
            facts = {"paimon-snapshot": "7", "position": "12884904192", "committed-at": at, "rows": "70"}
            properties |= {f"lakehouse.table.{name}.{fact}": [value] for fact, value in facts.items()}
        meta = {"hash": hash_, "message": "publish", "authors": ["p"], "commitTime": at}
        return {"commitMeta": {**meta, "allProperties": properties}}

    def couchdb(self, method: str, path: str, query: str) -> tuple[int, str, bytes]:
        """CouchDB: the size of a database."""
        return _json({"db_name": path.strip("/"), "doc_count": 70, "update_seq": "70"})

    def flink(self, method: str, path: str, query: str) -> tuple[int, str, bytes]:
        """Flink: what it was told to answer; without orders it has no jobs."""
        default = {"jobs": [], "taskmanagers": 1, "slots-total": 4, "slots-available": 4}
        body = self.said.get("flink", {"/jobs/overview": default, "/overview": default}).get(path)
        return _json(body) if body is not None else (404, "application/json", b'{"errors":["not found"]}')

    def connect(self, method: str, path: str, query: str) -> tuple[int, str, bytes]:
        """Kafka Connect: what it was told to answer; without orders it knows no connector."""
        body = self.said.get("connect", {"/connectors": []}).get(path)
        return _json(body) if body is not None else (404, "application/json", b'{"message":"not found"}')


def _listing(keys: list[str]) -> bytes:
    items = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2026-11-23T09:00:00.000Z</LastModified><Size>10</Size></Contents>"
        for key in keys
    )
    return f"<ListBucketResult><IsTruncated>false</IsTruncated>{items}</ListBucketResult>".encode()


def _json(body: Any) -> tuple[int, str, bytes]:
    return 200, "application/json", json.dumps(body).encode()


# --- the server -----------------------------------------------------------------------------------


class Server:
    """Serves all engines in one event loop; the extra port ``control`` takes orders from the measurement."""

    def __init__(self, tables: int, commits: int, latency: float) -> None:
        self.answers = Answers(Lake(tables, commits))
        self.latency = latency
        self.counts: dict[str, int] = {}

    async def run(self) -> None:
        """Serve until standard input ends; the first line printed is the ports as JSON."""
        ports = {}
        for engine in (*ENGINES, "control"):
            server = await asyncio.start_server(functools.partial(self.serve, engine), "127.0.0.1", 0)
            ports[engine] = server.sockets[0].getsockname()[1]
        sys.stdout.write(json.dumps(ports) + "\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        os._exit(0)  # open connections need no farewell

    async def serve(self, engine: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                method, target, _ = head.split(" ", 2)
                length = re.search(r"(?i)content-length: (\d+)", head)
                sent = await reader.readexactly(int(length[1])) if length else b""
                path, _, query = target.partition("?")
                if engine == "control":
                    status, kind, body = self.control(path, sent)
                else:
                    self.counts[engine] = self.counts.get(engine, 0) + 1
                    status, kind, body = getattr(self.answers, engine)(method, path, query)
                    await asyncio.sleep(self.latency)
                writer.write(
                    f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                    'ETag: "0"\r\nLast-Modified: Mon, 23 Nov 2026 09:00:00 GMT\r\n\r\n'.encode()
                    + (b"" if method == "HEAD" else body)
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def control(self, path: str, sent: bytes) -> tuple[int, str, bytes]:
        """Carry out an order of the measurement."""
        order: Any = json.loads(sent) if sent else None
        if path == "/advance":
            self.answers.lake.advance(order)
        elif path == "/recreate":
            self.answers.lake.recreate(order)
        elif path == "/keep":
            self.answers.lake.kept = order
        elif path == "/say":
            self.answers.said |= order
        counts, self.counts = self.counts, {}
        return _json(counts)


class FakeEngines:
    """The server in a process of its own, so that it does not share the interpreter with what is measured."""

    def __init__(self, tables: int, *, latency_ms: float = 3.0, commits: int = 10) -> None:
        self.tables = tables
        self._arguments = [str(tables), str(commits), str(latency_ms)]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.fake_engines", *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
        )
        assert self._process.stdout is not None
        self.ports: dict[str, int] = json.loads(self._process.stdout.readline())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate("")

    def order(self, path: str, body: Any = None) -> dict[str, int]:
        """Send an order; the answer is the number of requests per engine since the last order."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports['control']}{path}", data=json.dumps(body).encode()
        )
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            counts: dict[str, int] = json.loads(answer.read())
        return counts

    def advance(self, names: Iterable[str] | None = None) -> None:
        """Commit to the named tables (``None``: all) and publish."""
        self.order("/advance", None if names is None else list(names))

    def say(self, answers: Mapping[str, Mapping[str, Any]]) -> None:
        """Let ``flink`` and ``connect`` answer so: by engine and path; every other path is a 404."""
        self.order("/say", answers)

    def keep(self, keys: Iterable[str]) -> None:
        """Let the object store list these objects."""
        self.order("/keep", list(keys))

    def requests(self) -> dict[str, int]:
        """Return the number of requests per engine since the last order, and count from 0 again."""
        return self.order("/count")

    def endpoints(self, *, away: Collection[str] = ()) -> Endpoints:
        """Return the addresses; engines that are not served, and those ``away``, point at a port where nobody
        listens.
        """
        secret = SecretStr("x")
        at = {name: f"http://127.0.0.1:{9 if name in away else port}" for name, port in self.ports.items()}
        nowhere = "127.0.0.1"
        return Endpoints(
            mysql=MySqlEndpoint(host=nowhere, port=9, user="u", password=secret, database="bench"),
            postgres=PostgresEndpoint(host=nowhere, port=9, user="u", password=secret, database="d"),
            kafka=KafkaEndpoint(bootstrap="127.0.0.1:9"),
            connect=ConnectEndpoint(url=at["connect"]),
            s3=S3Endpoint(endpoint=at["minio"], access_key="a", secret_key=secret, bucket="lake"),
            paimon=PaimonEndpoint(warehouse="s3://lake/paimon"),
            nessie=NessieEndpoint(url=at["nessie"]),
            flink=FlinkEndpoint(url=at["flink"]),
            trino=TrinoEndpoint(host=nowhere, port=9, user="u", catalog="lake"),
            cassandra=CassandraEndpoint(
                host=nowhere, port=9, username="u", password=secret, datacenter="d", keyspace="k"
            ),
            couchdb=CouchDbEndpoint(url=at["couchdb"], username="u", password=secret),
            dagster=DagsterEndpoint(url="http://127.0.0.1:9"),
        )


class FakeKafka:
    """Offsets of one topic per table, with the methods of ``KafkaAdmin``; not over a network."""

    def __init__(self, contract: Contract, latency_ms: float = 3.0) -> None:
        self._latency = latency_ms / 1000
        self.ends = {Partition(contract.topic(table.name), 0): 100 for table in contract.tables}
        self.calls = 0
        self._lock = threading.Lock()

    def advance(self, messages: int = 10) -> None:
        """Append that many messages to every topic."""
        self.ends = {place: end + messages for place, end in self.ends.items()}

    def committed(self, group: str) -> dict[Partition, int]:
        """Every group has read everything."""
        return self._answer(self.ends)

    def begin_offsets(self, topics: Iterable[str]) -> dict[Partition, int]:
        """Everything is retained."""
        wanted = set(topics)
        return self._answer({place: 0 for place in self.ends if place.topic in wanted})

    def end_offsets(self, topics: Iterable[str]) -> dict[Partition, int]:
        """As many messages as were appended."""
        wanted = set(topics)
        return self._answer({place: end for place, end in self.ends.items() if place.topic in wanted})

    def topics(self) -> dict[str, int]:
        """One partition each."""
        return {place.topic: 1 for place in self._answer(self.ends)}

    def progress(self, group: str, topics: Iterable[str]) -> GroupProgress:
        """Every group has read everything; four requests, as of ``KafkaAdmin``."""
        time.sleep(self._latency)
        wanted = set(topics)
        begin, end = self.begin_offsets(wanted), self.end_offsets(wanted)
        return GroupProgress({at: n for at, n in self.committed(group).items() if at in end}, begin, end)

    def close(self) -> None:
        """Nothing to close."""

    def _answer(self, offsets: dict[Partition, int]) -> dict[Partition, int]:
        with self._lock:
            self.calls += 1
        time.sleep(self._latency)
        return dict(offsets)


class FakeMySql:
    """A source that is as the contract says, with the methods of ``MySqlClient`` that the streams sensor
    uses; not over a network.
    """

    def __init__(self, contract: Contract, latency_ms: float = 3.0) -> None:
        self._contract, self._latency = contract, latency_ms / 1000

    def condition(self, read: str | None = None) -> SourceCondition:
        """Everything is read."""
        time.sleep(2 * self._latency)
        return SourceCondition("+00:00", SourcePosition("g:1-9", "binlog.000002", 1600))

    def query(self, sql: str, args: Any = ()) -> list[dict[str, Any]]:
        """Names of the tables; nothing else is asked."""
        time.sleep(self._latency)
        return [{"name": table.name} for table in self._contract.tables]

    def read_schema(self, database: str, tables: Any = None) -> SchemaLock:
        """The locked schema."""
        time.sleep(2 * self._latency)
        return self._contract.lock

    def close(self) -> None:
        """Nothing to close."""


def main() -> None:
    """Serve: ``python -m bench.fake_engines TABLES COMMITS LATENCY_MS``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("tables", type=int)
    parser.add_argument("commits", type=int)
    parser.add_argument("latency_ms", type=float)
    given = parser.parse_args()
    asyncio.run(Server(given.tables, given.commits, given.latency_ms / 1000).run())


if __name__ == "__main__":
    main()
