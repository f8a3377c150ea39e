"""Every client against its real engine, and against nobody."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest

from lakehouse_dagster.contract.canonical import canonicalizer
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.engines.errors import ConflictError, EngineError, EngineUnavailable
from lakehouse_dagster.engines.flink import script_environment
from lakehouse_dagster.engines.kafka import Partition
from lakehouse_dagster.engines.nessie import IcebergTable, PutTable, Reference
from lakehouse_dagster.render import connect_plugins
from lakehouse_dagster.render.topics import TopicSpec

pytestmark = pytest.mark.engine


def name(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex[:8]}"


# --- nobody there -----------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


ASK: dict[str, Callable[[Clients], object]] = {
    "mysql": lambda c: c.mysql.version(),
    "kafka": lambda c: c.kafka.topics(),
    "connect": lambda c: c.connect.connectors(),
    "flink": lambda c: c.flink.overview(),
    "minio": lambda c: c.store.get("x"),
    "nessie": lambda c: c.nessie.get_reference(),
    "trino": lambda c: c.trino.ping(),
    "cassandra": lambda c: c.cassandra.version(),
    "couchdb": lambda c: c.couchdb.version(),
}


@pytest.mark.parametrize("engine", ASK)
def test_a_refused_connection_names_engine_address_and_fix(engine: str, endpoints: Endpoints) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    nowhere = endpoints.model_copy(
        update={
            "mysql": endpoints.mysql.model_copy(update={"port": port}),
            "kafka": endpoints.kafka.model_copy(update={"bootstrap": f"127.0.0.1:{port}"}),
            "connect": endpoints.connect.model_copy(update={"url": url}),
            "flink": endpoints.flink.model_copy(update={"url": url}),
            "s3": endpoints.s3.model_copy(update={"endpoint": url}),
            "nessie": endpoints.nessie.model_copy(update={"url": url}),
            "trino": endpoints.trino.model_copy(update={"port": port}),
            "cassandra": endpoints.cassandra.model_copy(update={"port": port}),
            "couchdb": endpoints.couchdb.model_copy(update={"url": url}),
        }
    )
    started = time.monotonic()
    with Clients(nowhere, timeout=3) as clients, pytest.raises(EngineUnavailable) as caught:
        ASK[engine](clients)
    assert time.monotonic() - started < 15
    assert caught.value.engine == engine
    assert str(port) in caught.value.address
    assert f"lakehouse up {engine}" in str(caught.value)


def test_an_engine_that_accepts_and_never_answers_is_given_up(endpoints: Endpoints) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        nowhere = endpoints.model_copy(update={"nessie": endpoints.nessie.model_copy(update={"url": url})})
        started = time.monotonic()
        with Clients(nowhere, timeout=1) as clients, pytest.raises(EngineUnavailable):
            clients.nessie.get_reference()
        assert time.monotonic() - started < 10


# --- MySQL ------------------------------------------------------------------------------------------------


@pytest.fixture
def table(clients: Clients) -> Iterator[str]:
    database = clients.endpoints.mysql.database
    table = name("zz_client")
    clients.mysql.execute(
        f"""CREATE TABLE {database}.{table} (
          b INT UNSIGNED NOT NULL, a CHAR(3) NOT NULL, d DECIMAL(10,3), g DOUBLE,
          t TIMESTAMP(6) NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
          dt DATETIME, e ENUM('x','y'), j JSON, v VARBINARY(10) COMMENT 'raw',
          gen BIGINT GENERATED ALWAYS AS (b+1) STORED, PRIMARY KEY (a, b)) COMMENT 'tést'"""
    )
    clients.mysql.execute(
        f"INSERT INTO {database}.{table}(b,a,d,g,t,dt,e,j,v) VALUES"
        " (1,'A',1.5,1e300,'2038-01-01 00:00:00.000001','1000-01-01 00:00:00','x','{\"a\":1}',x'00ff'),"
        " (4000000000,'B',NULL,NULL,NULL,NULL,NULL,NULL,NULL)"
    )
    yield table
    clients.mysql.execute(f"DROP TABLE {database}.{table}")


def test_mysql_schema(clients: Clients, table: str) -> None:
    database = clients.endpoints.mysql.database
    schema = clients.mysql.read_schema(database, [table]).tables[table]
    assert schema.comment == "tést"
    assert schema.primary_key == ("a", "b")
    found = {column.name: column for column in schema.columns}
    assert list(found) == ["b", "a", "d", "g", "t", "dt", "e", "j", "v", "gen"]
    assert found["b"].mysql_type == "int unsigned"
    assert found["e"].mysql_type == "enum('x','y')"
    assert found["t"].mysql_type == "timestamp(6)"
    assert (found["t"].generated, found["gen"].generated) == (False, True)
    assert (found["a"].nullable, found["d"].nullable) == (False, True)
    assert found["v"].comment == "raw"
    with pytest.raises(EngineError, match="has no table nope"):
        clients.mysql.read_schema(database, [table, "nope"])


def test_mysql_sessions_are_in_utc_and_values_exact(clients: Clients, table: str) -> None:
    database = clients.endpoints.mysql.database
    schema = clients.mysql.read_schema(database, [table]).tables[table]
    with clients.mysql.snapshot(database, [table]) as snapshot:
        rows = list(snapshot.rows(f"SELECT * FROM {database}.{table} ORDER BY b"))
    texts = [
        [canonicalizer(column)(value) for column, value in zip(schema.columns, row, strict=True)]
        for row in rows
    ]
    assert texts[0] == [
        "1",
        "A",
        "1.500",
        "1e+300",
        "2038-01-01T00:00:00.000001Z",
        "1000-01-01T00:00:00.000000Z",
        "x",
        '{"a": 1}',
        "AP8=",
        "2",
    ]
    assert texts[1] == ["4000000000", "B", *[None] * 7, "4000000001"]


def test_mysql_snapshot_holds_exactly_what_its_gtids_say(clients: Clients, table: str) -> None:
    """A writer counts its commits; each snapshot must show the count its GTID set stands for.

    Other writers of the server only make the difference grow. A commit that is seen but not in the set would
    make it smaller for one snapshot, one that is in the set but not seen greater.
    """
    database = clients.endpoints.mysql.database
    mysql = clients.mysql
    before = mysql.executed_gtids()
    stop = threading.Event()
    done: list[int] = []

    def write() -> None:
        connection = mysql.connect()
        with connection.cursor() as cursor:
            while not stop.is_set():
                cursor.execute(f"UPDATE {database}.{table} SET d = COALESCE(d, 0) + 1 WHERE b = 1")
                done.append(1)
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = []
        for _ in range(10):
            with mysql.snapshot(database, [table]) as snapshot:
                value = next(snapshot.rows(f"SELECT d FROM {database}.{table} WHERE b = 1"))[0]
                intervals = mysql.missing_gtids(before, snapshot.position.gtids)
                seen.append((float(value) - 1.5, count_gtids(intervals)))
    finally:
        stop.set()
        writer.join()
    assert len(done) > 10
    assert seen[-1][0] > seen[0][0]
    others = [transactions - value for value, transactions in seen]
    assert others[0] >= 0
    assert others == sorted(others), seen
    assert mysql.contains_gtids(mysql.executed_gtids(), before)
    assert not mysql.contains_gtids(before, mysql.executed_gtids())


def count_gtids(gtids: str) -> int:
    total = 0
    for interval in gtids.split(":")[1:]:
        first, _, last = interval.partition("-")
        total += int(last or first) - int(first) + 1
    return total


def test_mysql_snapshot_gives_up_on_a_table_somebody_holds(clients: Clients, table: str) -> None:
    database = clients.endpoints.mysql.database
    holder = clients.mysql.connect(autocommit=False)
    with holder.cursor() as cursor:
        cursor.execute(f"UPDATE {database}.{table} SET d = 1")
    try:
        with (
            pytest.raises(EngineError, match="Lock wait timeout"),
            clients.mysql.snapshot(database, [table], attempts=1, lock_seconds=1),
        ):
            pass
    finally:
        holder.rollback()
        holder.close()
    with clients.mysql.snapshot(database, [table]) as snapshot:
        assert len(list(snapshot.rows(f"SELECT * FROM {database}.{table}"))) == 2


def test_mysql_errors_carry_the_servers_words(clients: Clients) -> None:
    with pytest.raises(EngineError, match="doesn't exist") as caught:
        clients.mysql.query(f"SELECT * FROM {clients.endpoints.mysql.database}.nope")
    assert caught.value.status == 1146


# --- Kafka ------------------------------------------------------------------------------------------------


def test_kafka_topics_are_created_once_and_never_changed(clients: Clients) -> None:
    topic = name("zz.client")
    spec = TopicSpec(topic, 1, 1, {"retention.ms": "3600000", "cleanup.policy": "compact"})
    try:
        assert clients.kafka.ensure_topics([spec]).created == (topic,)
        again = clients.kafka.ensure_topics([spec])
        assert (again.created, again.differences) == ((), ())
        other = replace(spec, partitions=4, config={"retention.ms": "1", "max.message.bytes": "99"})
        assert clients.kafka.ensure_topics([other]).differences == (
            f"{topic}: has 1 partitions, the contract says 4",
            f"{topic}: max.message.bytes is the broker default, the contract says 99",
            f"{topic}: retention.ms is 3600000, the contract says 1",
        )
        assert clients.kafka.topics()[topic] == 1
    finally:
        clients.kafka.delete_topics([topic])


def test_kafka_asking_for_a_topic_does_not_create_it(clients: Clients) -> None:
    topic = name("zz.absent")
    assert clients.kafka.end_offsets([topic]) == {}
    assert clients.kafka.lag("nobody", [topic]) == {}
    assert topic not in clients.kafka.topics()


def test_kafka_offsets_and_lag(clients: Clients) -> None:
    from kafka import KafkaConsumer, KafkaProducer, TopicPartition
    from kafka.structs import OffsetAndMetadata

    topic, group = name("zz.client"), name("zz-group")
    bootstrap = clients.endpoints.kafka.bootstrap
    clients.kafka.ensure_topics([TopicSpec(topic)])
    try:
        producer = KafkaProducer(bootstrap_servers=bootstrap)
        for number in range(7):
            producer.send(topic, str(number).encode())
        producer.close()
        assert clients.kafka.begin_offsets([topic]) == {Partition(topic, 0): 0}
        assert clients.kafka.end_offsets([topic]) == {Partition(topic, 0): 7}
        assert clients.kafka.committed(group) == {}
        assert clients.kafka.lag(group, [topic]) == {topic: 7}
        consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
        consumer.assign([TopicPartition(topic, 0)])
        consumer.commit({TopicPartition(topic, 0): OffsetAndMetadata(5, "", -1)})
        consumer.close()
        assert clients.kafka.committed(group) == {Partition(topic, 0): 5}
        assert clients.kafka.lag(group, [topic]) == {topic: 2}
        assert clients.kafka.rewind(group, 3) == {Partition(topic, 0): (5, 2)}
        assert clients.kafka.committed(group) == {Partition(topic, 0): 2}
        # Not again, until the consumer has committed anew; and never before what is kept.
        assert clients.kafka.rewind(group, 3) == {}
        consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
        consumer.assign([TopicPartition(topic, 0)])
        consumer.commit({TopicPartition(topic, 0): OffsetAndMetadata(6, "", -1)})
        consumer.close()
        assert clients.kafka.rewind(group, 1000, {Partition(topic, 0): 4}) == {Partition(topic, 0): (6, 4)}
        consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
        consumer.assign([TopicPartition(topic, 0)])
        consumer.commit({TopicPartition(topic, 0): OffsetAndMetadata(6, "", -1)})
        consumer.close()
        assert clients.kafka.rewind(group, 1000) == {Partition(topic, 0): (6, 0)}
    finally:
        clients.kafka.delete_topics([topic])
        clients.kafka.delete_group(group)


# --- Connect ----------------------------------------------------------------------------------------------


def test_connect_names_every_wrong_field_before_anything_is_stored(clients: Clients) -> None:
    plugin = connect_plugins.CONNECTOR
    assert plugin in clients.connect.plugins()
    with pytest.raises(EngineError, match=r"database\.hostname.*database\.user"):
        clients.connect.put_config("zz-bad", {"connector.class": plugin, "topic.prefix": "x"})
    assert "zz-bad" not in clients.connect.connectors()
    with pytest.raises(EngineError, match="Failed to find any class"):
        clients.connect.put_config("zz-bad", {"connector.class": "io.nope.Nope"})
    with pytest.raises(EngineError, match=r"no connector\.class"):
        clients.connect.put_config("zz-bad", {})


def test_connect_knows_nothing_of_an_unknown_connector(clients: Clients) -> None:
    assert clients.connect.status("zz-none") is None
    assert clients.connect.config("zz-none") is None
    assert clients.connect.offsets("zz-none") == []
    clients.connect.delete("zz-none")


# --- S3 ---------------------------------------------------------------------------------------------------


def test_object_store(clients: Clients) -> None:
    prefix = f"proof/zz/{uuid.uuid4()}"
    store = clients.store
    assert store.get(f"{prefix}/a") is None
    assert not store.exists(f"s3://{store.bucket}/{prefix}/a")
    store.put(f"{prefix}/a", b"one\ntwo\n")
    store.put(f"s3://{store.bucket}/{prefix}/b", "drei\nvïer".encode())
    assert store.get(f"s3a://{store.bucket}/{prefix}/a") == b"one\ntwo\n"
    assert list(store.lines(f"{prefix}/b")) == ["drei", "vïer"]
    assert [(item.key, item.size) for item in store.list(prefix)] == [(f"{prefix}/a", 8), (f"{prefix}/b", 10)]
    with pytest.raises(EngineError, match="not in the bucket"):
        store.get("s3://elsewhere/a")
    with pytest.raises(EngineError, match="whole bucket"):
        store.delete_prefix(f"s3://{store.bucket}/")
    assert store.delete_prefix(prefix) == 2
    assert list(store.list(prefix)) == []


# --- Nessie -----------------------------------------------------------------------------------------------


@pytest.fixture
def branch(clients: Clients) -> Iterator[Reference]:
    found = clients.nessie.create_reference(name("zz"), clients.nessie.get_reference("main"))
    yield found
    clients.nessie.delete_reference(clients.nessie.get_reference(found.name))


def test_nessie_commits_compare_and_set_each_key(clients: Clients, branch: Reference) -> None:
    nessie = clients.nessie
    key, other = ("zzns", "t"), ("zzns", "other")
    first = IcebergTable("s3://lake/zz/v1.metadata.json", 1, 0)
    with pytest.raises(ConflictError, match="must exist"):
        nessie.commit([PutTable(key, first)], "no namespace", reference=branch)
    assert nessie.ensure_namespace("zzns", branch.name)
    assert not nessie.ensure_namespace("zzns", branch.name)
    empty = nessie.get_reference(branch.name)
    one = nessie.commit([PutTable(key, first)], "oné", reference=empty, properties={"lakehouse.a": "b"})
    held = nessie.get_tables([key, other], one)
    assert set(held) == {key}
    assert held[key].metadata_location == first.metadata_location
    with pytest.raises(EngineError, match="no content ID"):
        nessie.commit([PutTable(key, replace(first, snapshot_id=2))], "no id", reference=one)
    two = nessie.commit([PutTable(key, replace(held[key], snapshot_id=2))], "two", reference=one)
    with pytest.raises(ConflictError):
        nessie.commit([PutTable(key, replace(held[key], snapshot_id=3))], "stale", reference=one)
    nessie.commit([PutTable(other, first)], "another key may be behind", reference=one)
    assert nessie.get_tables([key], two)[key].snapshot_id == 2
    log = nessie.log(branch.name, limit=4)
    assert [entry.message for entry in log][:3] == ["another key may be behind", "two", "oné"]
    assert log[2].properties == {"lakehouse.a": "b"}
    assert log[2].author == "lakehouse"
    with pytest.raises(EngineError, match="not found") as caught:
        nessie.get_reference("zz-none")
    assert caught.value.status == 404


# --- CouchDB ----------------------------------------------------------------------------------------------


def test_couchdb(clients: Clients) -> None:
    couch = clients.couchdb
    database = name("zz")
    assert couch.info(database) is None
    assert couch.ensure_database(database)
    try:
        assert not couch.ensure_database(database)
        done = couch.bulk(database, [{"_id": f"{n:05}", "n": n} for n in range(2501)])
        assert all(item.get("ok") for item in done)
        found = list(couch.all_docs(database, page=700))
        assert [doc["n"] for doc in found] == list(range(2501))
        doc = couch.doc(database, "00007")
        assert doc is not None
        couch.put(database, "00007", doc | {"n": -7})
        with pytest.raises(ConflictError):
            couch.put(database, "00007", {"n": 1})
        couch.put(database, "a:b/c?ü", {"n": 1})
        assert couch.doc(database, "a:b/c?ü") is not None
        couch.create_index(database, "by_n", ["n"])
        assert [d["n"] for d in couch.find(database, {"n": {"$gt": 2498}}, sort=[{"n": "asc"}])] == [
            2499,
            2500,
        ]
        newest = couch.doc(database, "00007")
        assert newest is not None
        couch.bulk(database, [{"_id": "00007", "_rev": newest["_rev"], "_deleted": True}])
        assert couch.doc(database, "00007") is None
        # The index's design document is no document of ours.
        assert len(list(couch.all_docs(database))) == 2501
    finally:
        couch.delete_database(database)
    with pytest.raises(EngineError) as caught:
        list(couch.all_docs(database))
    assert caught.value.status == 404


# --- Cassandra --------------------------------------------------------------------------------------------


def test_cassandra(clients: Clients, endpoints: Endpoints) -> None:
    cassandra = clients.cassandra
    keyspace = name("zz")
    replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    cassandra.execute(f"CREATE KEYSPACE {keyspace} WITH replication = {replication}")
    try:
        cassandra.execute(f"CREATE TABLE {keyspace}.t (id int PRIMARY KEY, v text)")
        for number in range(25):
            cassandra.execute(f"INSERT INTO {keyspace}.t (id, v) VALUES (%s, %s)", (number, str(number)))
        cassandra.execute(f"CREATE TABLE {keyspace}.d (id int PRIMARY KEY, v decimal)")
        exact = Decimal("18446744073709551615.001")
        cassandra.execute(f"INSERT INTO {keyspace}.d (id, v) VALUES (%s, %s)", (1, exact))
        assert cassandra.execute(f"SELECT v FROM {keyspace}.d") == [(exact,)]
        assert keyspace in cassandra.keyspaces()
        assert cassandra.tables(keyspace) == ["d", "t"]
        assert cassandra.columns(keyspace, "t") == {"id": "int", "v": "text"}
        assert sorted(cassandra.rows(f"SELECT id, v FROM {keyspace}.t", page=10)) == [
            (number, str(number)) for number in range(25)
        ]
        with pytest.raises(EngineError, match="does not exist"):
            cassandra.execute(f"SELECT * FROM {keyspace}.nope")
    finally:
        cassandra.execute(f"DROP KEYSPACE {keyspace}")
    wrong = endpoints.cassandra.model_copy(update={"username": "nobody"})
    with (
        Clients(endpoints.model_copy(update={"cassandra": wrong})) as others,
        pytest.raises(EngineError, match="refuses the credentials"),
    ):
        others.cassandra.version()


# --- Trino ------------------------------------------------------------------------------------------------


def test_trino(clients: Clients) -> None:
    trino = clients.trino
    trino.ping()
    found = trino.execute(
        "SELECT 1 AS a, 'x' AS b, CAST(1.5 AS decimal(5,2)), TIMESTAMP '2013-01-01 00:00:00.000001'"
    )
    assert found.columns[:2] == ("a", "b")
    assert found.types[0] == "integer"
    assert [str(value) for value in found.rows[0]] == ["1", "x", "1.50", "2013-01-01 00:00:00.000001"]
    assert sum(1 for _ in trino.rows("SELECT * FROM UNNEST(sequence(1, 9000))")) == 9000
    assert trino.scalar("SELECT current_timezone()") == "UTC"
    assert not trino.has_table("nope", "nope")
    with pytest.raises(EngineError, match=r"TABLE_NOT_FOUND|SCHEMA_NOT_FOUND"):
        trino.execute(f"SELECT * FROM {trino.catalog}.nope.nope")


# --- Flink ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AdHoc:
    """A script as a test needs it."""

    name: str
    statements: tuple[str, ...]
    inserts: tuple[str, ...]
    settings: dict[str, str] = field(default_factory=dict)
    wait: bool = False

    def to_json(self) -> str:
        import json

        body: dict[str, Any] = {
            "name": self.name,
            "statements": self.statements,
            "inserts": self.inserts,
            "settings": {"pipeline.name": self.name, "parallelism.default": "1", **self.settings},
            "wait": self.wait,
        }
        return json.dumps(body)


def test_flink_jobs_checkpoints_savepoint_and_restart(clients: Clients) -> None:
    script = AdHoc(
        name("zz-datagen"),
        (
            "CREATE TEMPORARY TABLE src (n BIGINT) WITH ('connector'='datagen','rows-per-second'='5')",
            "CREATE TEMPORARY TABLE dst (n BIGINT) WITH ('connector'='blackhole')",
        ),
        ("INSERT INTO dst SELECT n FROM src",),
        {"execution.checkpointing.interval": "500 ms"},
    )
    secrets = script_environment(clients.endpoints)
    lines: list[str] = []
    assert clients.flink.find(script.name) is None
    job_id = clients.submitter.submit(script, secrets, log=lines.append)
    assert lines
    try:
        deadline = time.monotonic() + 60
        while (clients.flink.checkpoints(job_id).latest_id or 0) < 3:
            assert time.monotonic() < deadline, clients.flink.exception(job_id)
            time.sleep(0.5)
        job = clients.flink.find(script.name)
        assert job is not None
        assert (job.id, job.state, job.running) == (job_id, "RUNNING", True)
        checkpoints = clients.flink.checkpoints(job_id)
        assert checkpoints.latest_path is not None
        assert checkpoints.latest_path.startswith("s3://")
        assert checkpoints.latest_completed_ms is not None
        assert clients.flink.exception(job_id) == ""
        bucket = clients.endpoints.s3.bucket
        savepoint = clients.flink.stop_with_savepoint(job_id, f"s3://{bucket}/flink/savepoints")
        assert savepoint.startswith(f"s3://{bucket}/flink/savepoints")
        assert clients.flink.state(job_id) == "FINISHED"
        assert clients.flink.alive(script.name) == []
        second = clients.submitter.submit(script, secrets, savepoint=savepoint)
        assert second != job_id
        deadline = time.monotonic() + 60
        while not clients.flink.checkpoints(second).restored:
            assert time.monotonic() < deadline
            time.sleep(0.5)
        clients.flink.cancel(second)
        assert clients.flink.state(second) == "CANCELED"
    finally:
        for job in clients.flink.alive(script.name):
            clients.flink.cancel(job.id)


def test_flink_says_why_a_script_is_refused(clients: Clients) -> None:
    script = AdHoc(
        name("zz-bad"),
        ("CREATE TEMPORARY TABLE src (n BIGINT) WITH ('connector'='nope')",),
        ("INSERT INTO nowhere SELECT n FROM src",),
    )
    with pytest.raises(EngineError, match=r"nowhere|nope"):
        clients.submitter.submit(script, {})
    assert clients.flink.find(script.name) is None


def test_flink_knows_nothing_of_an_unknown_job(clients: Clients) -> None:
    unknown = uuid.uuid4().hex
    assert clients.flink.state(unknown) is None
    with pytest.raises(EngineError) as caught:
        clients.flink.checkpoints(unknown)
    assert caught.value.status == 404
    assert clients.flink.overview().slots_total >= 2
