"""This repository's Flink connectors on the real engines: from records in Kafka to what each store holds.

Every test writes its own topic, tables and database and removes them. Records are made by hand in Debezium's
flattened form, so that order, repetition and lateness can be chosen freely.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import Cluster, Session
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic

from lakehouse_dagster.contract.position import encode
from lakehouse_dagster.engines.endpoints import FLINK, Endpoints
from lakehouse_dagster.engines.flink import FlinkSubmitter, script_environment
from lakehouse_dagster.runtime.submitter import flink_submitter

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

FILE = "binlog.000007"
DAY = dt.date(2013, 1, 1)
SETTINGS = {
    "execution.checkpointing.interval": "1 s",
    "table.local-time-zone": "UTC",
    "table.exec.sink.upsert-materialize": "NONE",
    "restart-strategy.type": "none",
}
FUNCTION = (
    "CREATE TEMPORARY SYSTEM FUNCTION source_position AS 'io.lakehouse.flink.SourcePosition' LANGUAGE JAVA"
)
POSITION = "source_position(0, __source_file, __source_pos, __source_row)"
CATALOG = """CREATE CATALOG lake WITH (
    'type'='paimon', 'warehouse'='${PAIMON_WAREHOUSE}', 's3.path.style.access'='true',
    's3.endpoint'='${S3_ENDPOINT}', 's3.access-key'='${S3_ACCESS_KEY}', 's3.secret-key'='${S3_SECRET_KEY}'
)"""


@dataclass
class Script:
    """What `FlinkSubmitter` takes."""

    name: str
    statements: list[str]
    inserts: list[str]
    settings: dict[str, str] = field(default_factory=lambda: dict(SETTINGS))
    wait: bool = False

    def to_json(self) -> str:
        return json.dumps(self.__dict__)


@dataclass
class Engines:
    """The running instance and one unique name for everything a test makes."""

    endpoints: Endpoints
    submitter: FlinkSubmitter
    name: str
    jobs: list[str] = field(default_factory=list)

    def submit(self, script: Script) -> str:
        job = self.submitter.submit(script, script_environment(self.endpoints))
        self.jobs.append(job)
        return job

    def job(self, job: str, path: str = "") -> dict[str, Any]:
        answer = httpx.get(f"{self.endpoints.flink.url}/jobs/{job}{path}", timeout=20)
        return dict(answer.raise_for_status().json())

    def cancel(self, job: str) -> None:
        httpx.patch(f"{self.endpoints.flink.url}/jobs/{job}?mode=cancel", timeout=20)
        wait_for(lambda: self.job(job)["state"] in {"CANCELED", "FAILED", "FINISHED"}, "the job to end")

    def checkpoint(self, job: str) -> None:
        """Wait until everything read so far has been flushed: two more checkpoints."""
        before = self.job(job, "/checkpoints")["counts"]["completed"]
        wait_for(
            lambda: self.job(job, "/checkpoints")["counts"]["completed"] >= before + 2, "two checkpoints"
        )

    @property
    def couch(self) -> httpx.Client:
        couch = self.endpoints.couchdb
        return httpx.Client(
            base_url=f"{couch.url}/{self.name}",
            auth=(couch.username, couch.password.get_secret_value()),
            timeout=20,
        )

    def send(self, *records: dict[str, Any]) -> None:
        """Append records to the test's topic, in order."""
        producer = KafkaProducer(bootstrap_servers=self.endpoints.kafka.bootstrap)
        for record in records:
            producer.send(self.name, json.dumps(record).encode(), key=str(record["id"]).encode())
        producer.flush()
        producer.close()

    def source(self) -> str:
        return f"""CREATE TEMPORARY TABLE source (
            id BIGINT, origin STRING, flight_date STRING, departs_at TIMESTAMP_LTZ(6), tailnum STRING,
            delay INT, fare DECIMAL(10, 2), seen_at TIMESTAMP_LTZ(6),
            __deleted BOOLEAN, __op STRING, __source_file STRING, __source_pos BIGINT,
            __source_row BIGINT, __source_gtid STRING, __source_ts_us BIGINT,
            __before_origin STRING, __before_departs_at TIMESTAMP_LTZ(6)
        ) WITH (
            'connector'='kafka', 'topic'='{self.name}', 'properties.bootstrap.servers'='${{KAFKA_BOOTSTRAP}}',
            'properties.isolation.level'='read_committed', 'scan.startup.mode'='earliest-offset',
            'format'='json', 'json.timestamp-format.standard'='ISO-8601', 'json.ignore-parse-errors'='false'
        )"""


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 180) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.5)


@pytest.fixture
def engines(endpoints: Endpoints) -> Iterator[Engines]:
    made = Engines(endpoints, flink_submitter(), f"sinks_{uuid.uuid4().hex[:10]}")
    admin = KafkaAdminClient(bootstrap_servers=endpoints.kafka.bootstrap)
    admin.create_topics([NewTopic(made.name, 1, 1)])
    yield made
    for job in made.jobs:
        made.cancel(job)
    admin.delete_topics([made.name])
    admin.close()


@pytest.fixture
def cassandra(engines: Engines) -> Iterator[Session]:
    """A session, with the view's table of the test's name in the instance's keyspace."""
    where = engines.endpoints.cassandra
    cluster = Cluster(
        [where.host],
        port=where.port,
        auth_provider=PlainTextAuthProvider(where.username, where.password.get_secret_value()),
    )
    session = cluster.connect(where.keyspace)
    session.execute(
        f"CREATE TABLE {engines.name} (origin text, flight_date date, departs_at timestamp, id bigint,"
        " tailnum text, delay int, fare decimal, seen_at text, source_position bigint,"
        " PRIMARY KEY ((origin, flight_date), departs_at, id))"
    )
    yield session
    session.execute(f"DROP TABLE {engines.name}")
    cluster.shutdown()


@pytest.fixture
def couch(engines: Engines) -> Iterator[httpx.Client]:
    """A client of the test's database. The sink's own login may not make one."""
    with engines.couch as client:
        client.put("/").raise_for_status()
        yield client
        client.delete("/")


def record(number: int, op: str, flight: int, departs: str = "10:15:00", **changes: Any) -> dict[str, Any]:
    """The flattened record of change `number`, as Debezium writes it (isostring times, string decimals)."""
    before = changes.pop("before", None) or (departs if op in "ud" else None)
    time_of = "2013-01-01T{}Z".format
    return {
        "id": flight,
        "origin": "EWR",
        "flight_date": "2013-01-01Z",
        "departs_at": time_of(departs),
        "tailnum": "N14228",
        "delay": None,
        "fare": "199.90",
        "seen_at": "2013-01-01T05:00:00.000001Z",
        **changes,
        "__deleted": "true" if op == "d" else "false",
        "__op": op,
        "__source_file": FILE,
        "__source_pos": number * 1000,
        "__source_row": 0,
        "__source_gtid": None if op == "r" else f"0a0a:{number}",
        "__source_ts_us": 1_357_000_000_000_000 + number,
        "__before_origin": "EWR" if op in "ud" else None,
        "__before_departs_at": time_of(before) if before else None,
    }


def position(number: int) -> int:
    return encode(0, 7, number * 1000, 0)


def serving_script(engines: Engines) -> Script:
    columns = "CAST(SUBSTRING(flight_date FROM 1 FOR 10) AS DATE)"
    seen = "CONCAT(REPLACE(CAST(CAST(seen_at AS TIMESTAMP(6)) AS STRING), ' ', 'T'), 'Z')"
    return Script(
        engines.name,
        [
            FUNCTION,
            engines.source(),
            f"""CREATE TEMPORARY TABLE rows_view (
                origin STRING NOT NULL, flight_date DATE NOT NULL, departs_at TIMESTAMP(6) NOT NULL,
                id BIGINT NOT NULL, tailnum STRING, delay INT, fare DECIMAL(10, 2), seen_at STRING,
                _deleted BOOLEAN, _position BIGINT,
                PRIMARY KEY (origin, flight_date, departs_at, id) NOT ENFORCED
            ) WITH ('connector'='cassandra-view', 'hosts'='${{CASSANDRA_HOST}}', 'port'='${{CASSANDRA_PORT}}',
                'username'='${{CASSANDRA_USERNAME}}', 'password'='${{CASSANDRA_PASSWORD}}',
                'keyspace'='{engines.endpoints.cassandra.keyspace}', 'table'='{engines.name}')""",
            f"""CREATE TEMPORARY TABLE documents_view (
                id BIGINT NOT NULL, origin STRING, flight_date DATE, departs_at TIMESTAMP(6), tailnum STRING,
                delay INT, fare DECIMAL(10, 2), seen_at TIMESTAMP(6), _deleted BOOLEAN, _position BIGINT,
                PRIMARY KEY (id) NOT ENFORCED
            ) WITH ('connector'='couchdb', 'url'='${{COUCHDB_URL}}', 'username'='${{COUCHDB_USERNAME}}',
                'password'='${{COUCHDB_PASSWORD}}', 'database'='{engines.name}')""",
        ],
        [
            f"""INSERT INTO rows_view
                SELECT origin, {columns}, CAST(departs_at AS TIMESTAMP(6)), id, tailnum, delay, fare, {seen},
                    __deleted, {POSITION} FROM source
                UNION ALL
                SELECT __before_origin, {columns}, CAST(__before_departs_at AS TIMESTAMP(6)), id,
                    CAST(NULL AS STRING), CAST(NULL AS INT), CAST(NULL AS DECIMAL(10, 2)),
                    CAST(NULL AS STRING), TRUE, {POSITION} FROM source
                WHERE __op = 'u' AND (__before_origin <> origin OR __before_departs_at <> departs_at)""",
            f"""INSERT INTO documents_view
                SELECT id, origin, {columns}, CAST(departs_at AS TIMESTAMP(6)), tailnum, delay, fare,
                    CAST(seen_at AS TIMESTAMP(6)), __deleted, {POSITION} FROM source""",
        ],
    )


CHANGES = (
    record(1, "r", 1),
    record(2, "c", 2, "10:40:00"),
    record(3, "c", 3, "10:45:00"),
    record(4, "u", 2, "11:00:00", before="10:40:00", delay=20),
    record(5, "d", 3, "10:45:00"),
    record(6, "u", 1, tailnum=None),
)
"""Two flights stay (one moved to another departure time, one lost its tail number), one is cancelled."""


def cassandra_rows(session: Session, table: str) -> dict[int, dict[str, Any]]:
    rows = session.execute(
        "SELECT origin, flight_date, departs_at, id, tailnum, delay, fare, seen_at, source_position,"
        f" writetime(source_position) AS written FROM {table}"
    )
    found = [row._asdict() for row in rows]
    assert len({row["id"] for row in found}) == len(found), f"a moved row stayed in its old place: {found}"
    return {row["id"]: row for row in found}


def documents(couch: httpx.Client) -> dict[str, dict[str, Any]]:
    answer = couch.get("/_all_docs", params={"include_docs": "true"})
    return {row["id"]: row["doc"] for row in answer.json().get("rows", [])}


def test_views_follow_the_changes_and_replays_change_nothing(
    engines: Engines, cassandra: Session, couch: httpx.Client
) -> None:
    engines.send(*CHANGES)
    job = engines.submit(serving_script(engines))
    wait_for(lambda: {"1", "2"} <= set(documents(couch)), "the documents")
    wait_for(lambda: {1, 2} <= set(cassandra_rows(cassandra, engines.name)), "the rows")
    engines.checkpoint(job)

    rows = cassandra_rows(cassandra, engines.name)
    assert set(rows) == {1, 2}
    assert rows[2]["departs_at"] == dt.datetime(2013, 1, 1, 11, 0)
    assert (rows[2]["delay"], str(rows[2]["fare"]), rows[2]["seen_at"]) == (
        20,
        "199.90",
        "2013-01-01T05:00:00.000001Z",
    )
    assert rows[1]["tailnum"] is None
    assert rows[1]["flight_date"].date() == DAY
    assert {row["source_position"] for row in rows.values()} == {position(4), position(6)}
    assert all(row["written"] == row["source_position"] for row in rows.values())

    stored = documents(couch)
    assert set(stored) == {"1", "2"}
    assert {key: value for key, value in stored["2"].items() if key != "_rev"} == {
        "_id": "2",
        "id": 2,
        "origin": "EWR",
        "flight_date": "2013-01-01",
        "departs_at": "2013-01-01T11:00:00.000000Z",
        "tailnum": "N14228",
        "delay": 20,
        "fare": "199.90",
        "seen_at": "2013-01-01T05:00:00.000001Z",
        "source_position": position(4),
    }
    assert stored["1"]["tailnum"] is None

    # From the beginning without state: everything once more, then a late copy of what was deleted.
    engines.cancel(job)
    engines.send(CHANGES[2], record(9, "c", 9))
    again = engines.submit(serving_script(engines))
    wait_for(lambda: "9" in documents(couch) and 9 in cassandra_rows(cassandra, engines.name), "the marker")
    engines.checkpoint(again)
    replayed_rows = cassandra_rows(cassandra, engines.name)
    replayed_documents = documents(couch)
    assert set(replayed_rows) == {1, 2, 9}, "a stale insert brought a deleted row back in Cassandra"
    assert set(replayed_documents) == {"1", "2", "9"}, "a stale insert brought a deleted document back"
    assert {id_: replayed_rows[id_] for id_ in (1, 2)} == rows
    assert {id_: replayed_documents[id_] for id_ in ("1", "2")} == stored, "a replay wrote a new revision"

    # A newer insert of the cancelled flight is no ghost: it must come back.
    engines.send(record(10, "c", 3, "12:00:00"))
    wait_for(
        lambda: "3" in documents(couch) and 3 in cassandra_rows(cassandra, engines.name), "the new flight 3"
    )
    assert documents(couch)["3"]["source_position"] == position(10)


def test_documents_changed_by_someone_else_are_overwritten_not_lost(
    engines: Engines, couch: httpx.Client
) -> None:
    script = serving_script(engines)
    script.statements = [text for text in script.statements if "cassandra-view" not in text]
    script.inserts = script.inserts[1:]
    engines.send(record(1, "c", 1))
    engines.submit(script)
    first = wait_for(lambda: documents(couch).get("1"), "the document")
    couch.put("/1", json={**first, "delay": 7, "note": "by hand"}).raise_for_status()
    engines.send(record(2, "u", 1, delay=3))
    final = wait_for(
        lambda: (found := documents(couch)["1"])["source_position"] == position(2) and found, "the update"
    )
    assert final["delay"] == 3
    assert "note" not in final


def test_cassandra_refuses_a_time_it_would_have_to_cut(engines: Engines, cassandra: Session) -> None:
    script = serving_script(engines)
    script.statements = [text for text in script.statements if "'couchdb'" not in text]
    script.inserts = script.inserts[:1]
    engines.send(record(1, "c", 1, "10:15:00.000001"))
    job = engines.submit(script)
    wait_for(lambda: engines.job(job)["state"] == "FAILED", "the job to fail")
    cause = json.dumps(engines.job(job, "/exceptions"))
    assert "departs_at" in cause
    assert "finer than the milliseconds" in cause
    assert cassandra_rows(cassandra, engines.name) == {}


def test_lake_keeps_the_newest_row_and_can_be_read_as_text(engines: Engines) -> None:
    table = f"lake.{engines.name}.flights"
    statements = [
        FUNCTION,
        CATALOG,
        f"CREATE DATABASE IF NOT EXISTS lake.{engines.name}",
        engines.source(),
        f"""CREATE TABLE IF NOT EXISTS {table} (id BIGINT NOT NULL, flight_date DATE, departs_at TIMESTAMP(6),
            tailnum STRING, delay INT, fare DECIMAL(10, 2), seen_at TIMESTAMP(6),
            _position BIGINT, _gtid STRING, _op STRING, PRIMARY KEY (id) NOT ENFORCED)
            WITH ('bucket'='1', 'sequence.field'='_position', 'rowkind.field'='_op')""",
    ]
    insert = f"""INSERT INTO {table} SELECT id, CAST(SUBSTRING(flight_date FROM 1 FOR 10) AS DATE),
        CAST(departs_at AS TIMESTAMP(6)), tailnum, delay, fare, CAST(seen_at AS TIMESTAMP(6)), {POSITION},
        __source_gtid, CASE WHEN __deleted THEN '-D' ELSE '+I' END FROM source"""
    expected = {
        "1": {
            "flight_date": "2013-01-01",
            "departs_at": "2013-01-01 10:15:00.000000",
            "delay": None,
            "fare": "199.90",
            "seen_at": "2013-01-01 05:00:00.000001",
            "tailnum": None,
            "_position": str(position(6)),
        },
        "2": {
            "flight_date": "2013-01-01",
            "departs_at": "2013-01-01 11:00:00.000000",
            "delay": "20",
            "fare": "199.90",
            "seen_at": "2013-01-01 05:00:00.000001",
            "tailnum": "N14228",
            "_position": str(position(4)),
        },
    }
    engines.send(*CHANGES)
    try:
        for _ in range(2):  # the second time the whole topic is applied again
            job = engines.submit(Script(engines.name, statements, [insert]))
            wait_for(
                lambda job=job: engines.job(job, "/checkpoints")["counts"]["completed"] >= 4, "checkpoints"
            )
            engines.cancel(job)
            assert lake_rows(engines, table) == expected
    finally:
        empty_folder(engines.endpoints, f"paimon/{engines.name}.db/")


def lake_rows(engines: Engines, table: str) -> dict[str, dict[str, str | None]]:
    """Every column as text, through a batch job into JSON lines on S3."""
    columns = ("id", "flight_date", "departs_at", "tailnum", "delay", "fare", "seen_at", "_position")
    declared = ", ".join(f"{name} STRING" for name in columns)
    texts = ", ".join(f"CAST({name} AS STRING)" for name in columns)
    folder = f"proof/{uuid.uuid4()}"
    bucket = engines.endpoints.s3.bucket
    engines.submit(
        Script(
            f"{engines.name}-proof",
            [
                CATALOG,
                f"CREATE TEMPORARY TABLE proof ({declared})"
                f" WITH ('connector'='filesystem', 'path'='s3://{bucket}/{folder}', 'format'='json')",
            ],
            [f"INSERT INTO proof SELECT {texts} FROM {table}"],
            settings={"execution.runtime-mode": "BATCH", "table.local-time-zone": "UTC"},
            wait=True,
        )
    )
    s3 = bucket_client(engines.endpoints)
    lines = [
        line
        for item in s3.list_objects_v2(Bucket=bucket, Prefix=f"{folder}/").get("Contents", [])
        for line in s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read().decode().splitlines()
    ]
    empty_folder(engines.endpoints, f"{folder}/")
    rows = [json.loads(line) for line in lines]
    assert len({row["id"] for row in rows}) == len(rows)
    return {row.pop("id"): row for row in rows}


def bucket_client(endpoints: Endpoints) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=endpoints.s3.endpoint,
        aws_access_key_id=endpoints.s3.acting(FLINK).access_key,
        aws_secret_access_key=endpoints.s3.acting(FLINK).secret_key.get_secret_value(),
        region_name="us-east-1",
    )


def empty_folder(endpoints: Endpoints, prefix: str) -> None:
    client = bucket_client(endpoints)
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=endpoints.s3.bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            client.delete_object(Bucket=endpoints.s3.bucket, Key=item["Key"])


def run_sql(
    submitter: FlinkSubmitter, path: Path, script: dict[str, Any], **variables: str
) -> tuple[int, dict[str, Any]]:
    """Run the program as the submitter does, with only the given variables besides the machine's own."""
    file = path / "script.json"
    file.write_text(json.dumps({"settings": {}, "statements": [], **script}))
    done = subprocess.run(
        [str(submitter.python), str(submitter.program), "--script", str(file)],
        env={
            "PATH": os.environ["PATH"],
            "FLINK_HOME": str(submitter.flink_home),
            "FLINK_REST": submitter.rest.removeprefix("http://"),
            **submitter.env,
            **variables,
        },
        capture_output=True,
        text=True,
        timeout=180,
    )
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def test_run_sql_names_missing_variables_and_hides_secrets(engines: Engines, tmp_path: Path) -> None:
    script = {
        "name": "bad",
        "statements": ["CREATE TEMPORARY TABLE t (a INT) WITH ('connector'='${SOME_PASSWORD}')"],
        "inserts": ["INSERT INTO t VALUES (1)"],
    }
    code, answer = run_sql(engines.submitter, tmp_path, script)
    assert code == 2
    assert "SOME_PASSWORD" in answer["error"]
    code, answer = run_sql(engines.submitter, tmp_path, script, SOME_PASSWORD="geheim'1")
    assert code == 1
    assert "geheim" not in answer["error"]
    assert "***" in answer["error"]


def test_run_sql_reports_why_a_batch_job_failed(engines: Engines, tmp_path: Path) -> None:
    script = {
        "name": f"{engines.name}-fails",
        "settings": {"execution.runtime-mode": "BATCH", "restart-strategy.type": "none"},
        "statements": [FUNCTION, "CREATE TEMPORARY TABLE t (a BIGINT) WITH ('connector'='blackhole')"],
        "inserts": [
            "INSERT INTO t SELECT source_position(0, f, 4, 0) FROM (VALUES ('nonsense'), ('x')) AS v(f)"
        ],
        "wait": True,
    }
    code, answer = run_sql(engines.submitter, tmp_path, script)
    assert code == 1
    assert "is not the name of a binary log file" in answer["error"]
    assert "\n" not in answer["error"]


def test_the_warm_client_starts_nothing_for_a_caller_that_has_gone(engines: Engines) -> None:
    """A caller that was killed must not leave a job behind the back of the next one."""
    name = f"gone-{uuid.uuid4().hex[:8]}"
    request = {
        "script": {
            "name": name,
            "settings": {},
            "statements": [
                "CREATE TEMPORARY TABLE a (n INT) WITH ('connector' = 'datagen')",
                "CREATE TEMPORARY TABLE b (n INT) WITH ('connector' = 'blackhole')",
            ],
            "inserts": ["INSERT INTO b SELECT n FROM a"],
        }
    }
    path = engines.submitter.socket
    assert path is not None

    def ask(content: dict[str, Any]) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(120)
            connection.connect(str(path))
            connection.sendall(json.dumps(content).encode() + b"\n")
            answer: dict[str, Any] = json.loads(connection.makefile("rb").readline())
        return answer

    before = ask({"ping": True})["submitted"]
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(json.dumps(request).encode() + b"\n")
    deadline = time.monotonic() + 120
    while ask({"ping": True})["submitted"] == before:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    alive = {"INITIALIZING", "CREATED", "RUNNING", "RESTARTING"}

    def jobs() -> list[str]:
        overview = httpx.get(f"{engines.endpoints.flink.url}/jobs/overview", trust_env=False, timeout=20)
        return [job["name"] for job in overview.json()["jobs"] if job["state"] in alive]

    assert name not in jobs()
    # And for one that waits, it does.
    answer = ask(request)
    assert name in jobs()
    url = f"{engines.endpoints.flink.url}/jobs/{answer['job_id']}?mode=cancel"
    httpx.patch(url, trust_env=False, timeout=20).raise_for_status()
