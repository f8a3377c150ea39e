"""Every identity does what it is for, and the engine itself refuses it anything else.

A refusal is told by the engine's own error number or class, so that an act that fails for another reason (a
table that is not there) does not count.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg2
import pymysql
import pytest
from botocore.exceptions import ClientError
from cassandra import Unauthorized
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import Cluster, NoHostAvailable, Session
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException
from minio.minioadmin import MinioAdmin
from pydantic import SecretStr

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.loader import DEFS_ROOT, load_contract
from lakehouse_dagster.engines.cassandra import CassandraClient
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.endpoints import FLINK, PROBER, READER, WRITER, Endpoints
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.mysql import MySqlClient
from lakehouse_dagster.engines.s3 import ObjectStore
from lakehouse_dagster.engines.trino import TrinoClient
from lakehouse_dagster.engines.trino_catalogs import create_catalog, drop_catalog
from lakehouse_dagster.proof.freshness_source import ProbeRow
from lakehouse_dagster.runtime.endpoints import (
    CASSANDRA_SUPERUSER,
    MYSQL_CDC_USER,
    MYSQL_DATABASE,
    POSTGRES_DAGSTER,
    POSTGRES_NESSIE,
    S3_NESSIE,
    S3_TRINO,
    TRINO_READER,
)
from lakehouse_dagster.runtime.lifecycle import running_instance
from lakehouse_dagster.runtime.secrets import Secrets, load_secrets
from lakehouse_dagster.runtime.services.cassandra import Cassandra as CassandraService
from lakehouse_dagster.runtime.services.couchdb import CouchDb
from lakehouse_dagster.runtime.services.minio import ACCESS, REGION, passwords
from lakehouse_dagster.runtime.services.mysql import MySql
from lakehouse_dagster.runtime.settings import Settings

Act = Callable[[], object]


@pytest.fixture(scope="module")
def secrets(endpoints: Endpoints) -> Secrets:
    del endpoints  # the instance is up
    return load_secrets(Settings.load().secrets_file)


@pytest.fixture
def name() -> str:
    return f"zz_forbidden_{uuid.uuid4().hex[:8]}"


# --- MySQL

DENIED = frozenset({1044, 1045, 1142, 1143, 1227, 1410, 1419})
"""Numbers of MySQL's errors that mean that somebody may not: no right to a database, to log in or to write a
file, to a table, to a column, no global right, no GRANT, no trigger."""


def denied(act: Act, *codes: int) -> None:
    with pytest.raises((pymysql.err.OperationalError, EngineError)) as refused:
        act()
    code = refused.value.status if isinstance(refused.value, EngineError) else refused.value.args[0]
    assert code in (codes or DENIED), refused.value


@dataclass
class Source:
    """A table of the application's own, and logins to ask for it."""

    endpoints: Endpoints
    secrets: Secrets
    table: str

    @contextmanager
    def acting(self, identity: str) -> Iterator[MySqlClient]:
        mysql = self.endpoints.mysql
        if identity == "capture":
            login = {"user": MYSQL_CDC_USER, "password": self.secrets.mysql_cdc}
            endpoint = mysql.model_copy(update=login)
        else:
            endpoint = mysql.acting(identity)
        with MySqlClient(endpoint) as client:
            yield client


@pytest.fixture
def source(endpoints: Endpoints, secrets: Secrets, name: str) -> Iterator[Source]:
    table = f"{MYSQL_DATABASE}.{name}"
    with MySqlClient(endpoints.mysql) as application:
        application.execute(f"CREATE TABLE {table} (id INT PRIMARY KEY, v INT)")
        try:
            application.execute(f"INSERT INTO {table} VALUES (1, 10)")
            yield Source(endpoints, secrets, table)
        finally:
            application.execute(f"DROP TABLE {table}")


WRITES = (
    "INSERT INTO {table} VALUES (2, 20)",
    "UPDATE {table} SET v = 11",
    "DELETE FROM {table}",
    "TRUNCATE TABLE {table}",
    "ALTER TABLE {table} ADD COLUMN w INT",
    "DROP TABLE {table}",
    "CREATE INDEX i ON {table} (v)",
    "CREATE TABLE {table}_more (id INT)",
    "CREATE VIEW {table}_view AS SELECT 1",
    "CREATE TRIGGER t BEFORE INSERT ON {table} FOR EACH ROW SET NEW.v = 0",
)
ADMINISTRATION = (
    "CREATE DATABASE zz_forbidden",
    "CREATE USER zz_forbidden",
    "GRANT SELECT ON airline.* TO 'lakehouse_reader'@'%'",
    "SET GLOBAL binlog_format = 'STATEMENT'",
    "SET PERSIST max_connections = 1",
    "SET SESSION sql_log_bin = 0",
    "PURGE BINARY LOGS TO 'mysql-bin.000001'",
    "RESET BINARY LOGS AND GTIDS",
    "SHUTDOWN",
    "SELECT user, authentication_string FROM mysql.user",
    "SELECT * FROM airline.freshness_probe INTO OUTFILE '/tmp/zz_forbidden'",
)


@pytest.mark.parametrize("identity", [READER, PROBER, "capture"])
def test_mysql_readers_change_nothing(source: Source, identity: str) -> None:
    with source.acting(identity) as client:
        assert client.query(f"SELECT v FROM {source.table}") == [{"v": 10}]
        for statement in WRITES:
            sql = statement.format(table=source.table)
            denied(lambda sql=sql: client.execute(sql))
        for sql in ADMINISTRATION:
            denied(lambda sql=sql: client.execute(sql))
    with source.acting("application") as application:
        assert application.query(f"SELECT * FROM {source.table}") == [{"id": 1, "v": 10}]


def test_the_application_does_not_administer(source: Source) -> None:
    with source.acting("application") as client:
        client.execute(f"UPDATE {source.table} SET v = 12")
        for sql in ADMINISTRATION:
            denied(lambda sql=sql: client.execute(sql))


def test_the_reader_takes_snapshots(source: Source) -> None:
    """What verification, proofs and repair need: a consistent snapshot with its position."""
    with source.acting(READER) as client:
        short = source.table.partition(".")[2]
        with client.snapshot(MYSQL_DATABASE, [short]) as snapshot:
            assert list(snapshot.rows(f"SELECT id, v FROM {source.table}")) == [(1, 10)]
            assert snapshot.position.gtids
        assert short in client.read_schema(MYSQL_DATABASE).tables
        assert client.condition().utc
        # Only readers' business: it is no replica, and no snapshot of the whole server.
        denied(lambda: client.execute("FLUSH TABLES WITH READ LOCK"), 1227)


def test_capture_may_do_what_a_first_snapshot_needs(source: Source) -> None:
    with source.acting("capture") as client, closing(client.connect()) as connection:
        with connection.cursor() as cursor:
            cursor.execute("FLUSH TABLES WITH READ LOCK")
            cursor.execute("SHOW BINARY LOG STATUS")
            assert cursor.fetchone()
            cursor.execute(f"SHOW CREATE TABLE {source.table}")
            cursor.execute("UNLOCK TABLES")
            cursor.execute("SHOW BINARY LOGS")
            cursor.execute("SHOW GRANTS")
            rights = " ".join(row[0] for row in cursor.fetchall())
        assert "REPLICATION SLAVE" in rights
        for more in ("RELOAD", "SUPER", "ALL PRIVILEGES", "SHOW DATABASES", "SELECT ON *.*"):
            assert more not in rights


def test_the_prober_writes_its_table_only(endpoints: Endpoints) -> None:
    contract: Contract = load_contract(DEFS_ROOT / "flights")
    probe = contract.pipeline.probe
    assert probe is not None
    with MySqlClient(endpoints.mysql.acting(PROBER)) as client:
        with ProbeRow(contract, probe, client) as row:
            row.prepare()
        table = f"{contract.database}.{probe.table}"
        if client.query(f"SHOW TABLES IN {contract.database} LIKE '{probe.table}'"):
            client.execute(f"UPDATE {table} SET beat = beat + 1 WHERE id = 1")
        denied(lambda: client.execute(f"DELETE FROM {table}"), 1142)
        denied(lambda: client.execute(f"DROP TABLE {table}"), 1142)
        denied(lambda: client.execute("LOCK TABLES flights WRITE"), 1044)


def test_upgraded_capture_loses_what_it_had_too_much(endpoints: Endpoints, secrets: Secrets) -> None:
    """An earlier version granted rights on everything; starting takes them back, however often."""
    root = endpoints.mysql.model_copy(update={"user": "root", "password": secrets.mysql_root})
    with MySqlClient(root) as administrator:
        administrator.execute(f"GRANT SELECT, RELOAD ON *.* TO '{MYSQL_CDC_USER}'@'%'")
        for _ in range(2):
            MySql().initialise(running_instance(Settings.load()))
        rights = [
            next(iter(row.values())) for row in administrator.query(f"SHOW GRANTS FOR '{MYSQL_CDC_USER}'@'%'")
        ]
    assert not any("RELOAD" in right or "SELECT ON *.*" in right for right in rights), rights


# --- the object store


@pytest.fixture
def stores(endpoints: Endpoints, secrets: Secrets) -> Callable[[str], ObjectStore]:
    known = passwords(secrets)

    def store(user: str) -> ObjectStore:
        login = {"access_key": user, "secret_key": SecretStr(known[user]), "identities": {}}
        return ObjectStore(endpoints.s3.model_copy(update=login))

    return store


PREFIXES = ("flink", "maintenance", "paimon", "proof", "versions", "warehouse", "elsewhere")


@pytest.mark.parametrize("user", sorted(ACCESS))
def test_each_engine_has_its_own_part_of_the_bucket(
    stores: Callable[[str], ObjectStore], endpoints: Endpoints, secrets: Secrets, user: str, name: str
) -> None:
    reads, writes = ACCESS[user]
    root = ObjectStore(
        endpoints.s3.model_copy(
            update={
                "access_key": secrets.s3_access_key.get_secret_value(),
                "secret_key": secrets.s3_secret_key,
            }
        )
    )
    mine = stores(user)
    try:
        for prefix in PREFIXES:
            key = f"{prefix}/{name}/a"
            root.put(key, b"kept")
            if "*" in reads or prefix in reads:
                assert mine.get(key) == b"kept"
                assert [item.key for item in mine.list(f"{prefix}/{name}/")] == [key]
            else:
                refused(lambda key=key: mine.client.get_object(Bucket=mine.bucket, Key=key))
                refused(
                    lambda prefix=prefix: mine.client.list_objects_v2(
                        Bucket=mine.bucket, Prefix=f"{prefix}/{name}/"
                    )
                )
            if prefix in writes:
                mine.put(f"{key}2", b"x")
                assert mine.delete_prefix(f"{key}2") == 1 or "*" not in reads
            else:
                refused(lambda key=key: mine.client.put_object(Bucket=mine.bucket, Key=key, Body=b"x"))
                refused(lambda key=key: mine.client.delete_object(Bucket=mine.bucket, Key=key))
                assert root.get(key) == b"kept"
        if "*" not in reads:
            refused(lambda: mine.client.list_objects_v2(Bucket=mine.bucket))
        refused(lambda: mine.client.create_bucket(Bucket=name.replace("_", "-")))
        refused(lambda: mine.client.delete_bucket(Bucket=mine.bucket))
        refused(lambda: mine.client.put_bucket_policy(Bucket=mine.bucket, Policy="{}"))
    finally:
        for prefix in PREFIXES:
            root.delete_prefix(f"{prefix}/{name}/")
        mine.close()
        root.close()


def refused(act: Act) -> None:
    with pytest.raises(ClientError) as error:
        act()
    assert error.value.response["Error"]["Code"] == "AccessDenied", error.value


@pytest.mark.parametrize("user", sorted(ACCESS))
def test_no_engine_administers_the_object_store(secrets: Secrets, user: str, name: str) -> None:
    admin = MinioAdmin(
        endpoint=f"127.0.0.1:{Settings.load().port('minio')}",
        credentials=StaticProvider(user, passwords(secrets)[user]),
        region=REGION,
        secure=False,
    )
    for act in (admin.user_list, admin.info, lambda: admin.policy_set("consoleAdmin", user=user)):
        with pytest.raises(MinioAdminException, match="AccessDenied"):
            act()


def test_clients_use_the_platforms_keys_and_flink_its_own(endpoints: Endpoints, secrets: Secrets) -> None:
    root = secrets.s3_access_key.get_secret_value()
    used = {endpoints.s3.access_key, *(login.name for login in endpoints.s3.identities.values())}
    assert root not in used
    assert not used & {S3_TRINO, S3_NESSIE}
    assert endpoints.s3.acting(FLINK).access_key != endpoints.s3.access_key


# --- Trino


@pytest.fixture
def trino(clients: Clients, name: str) -> Iterator[str]:
    """A table of the platform's."""
    schema = f"lake.{name}"
    clients.trino.execute(f"CREATE SCHEMA {schema}")
    clients.trino.execute(f"CREATE SCHEMA {schema}_empty")
    try:
        clients.trino.execute(f"CREATE TABLE {schema}.t (id INTEGER, v VARCHAR)")
        clients.trino.execute(f"INSERT INTO {schema}.t VALUES (1, 'a')")
        yield f"{schema}.t"
    finally:
        with suppress(EngineError):
            clients.trino.execute(f"DROP TABLE IF EXISTS {schema}.t")
        clients.trino.execute(f"DROP SCHEMA {schema}")
        clients.trino.execute(f"DROP SCHEMA {schema}_empty")


TRINO_FORBIDDEN = (
    "INSERT INTO {table} VALUES (2, 'b')",
    "UPDATE {table} SET v = 'b'",
    "DELETE FROM {table}",
    "TRUNCATE TABLE {table}",
    "MERGE INTO {table} t USING (VALUES 1) s (id) ON t.id = s.id WHEN MATCHED THEN DELETE",
    "DROP TABLE {table}",
    "ALTER TABLE {table} ADD COLUMN w INTEGER",
    "ALTER TABLE {table} RENAME TO lake.flights.stolen",
    "COMMENT ON TABLE {table} IS 'mine'",
    "CREATE TABLE {table}_more AS SELECT 1 AS a",
    "CREATE VIEW {table}_view AS SELECT 1 AS a",
    "CREATE SCHEMA lake.zz_forbidden",
    "DROP SCHEMA {schema}_empty",
    "CALL lake.system.unregister_table('a', 'b')",
    "CREATE CATALOG zz_forbidden USING memory",
    "DROP CATALOG lake",
    "CREATE CATALOG lake_zz_forbidden USING memory",
    "GRANT SELECT ON {table} TO USER nobody",
    "SET SESSION lake.target_max_file_size = '1MB'",
    "SELECT * FROM system.runtime.nodes",
    "CALL system.runtime.kill_query('20260101_000000_00000_aaaaa', 'no')",
)


def not_allowed(client: TrinoClient, sql: str) -> None:
    with pytest.raises(EngineError, match="PERMISSION_DENIED"):
        pytest.fail(f"{sql} was not refused: {client.execute(sql).rows}")


def test_trinos_reader_reads_and_changes_nothing(endpoints: Endpoints, trino: str) -> None:
    reader = TrinoClient(endpoints.trino.acting(READER))
    assert reader.endpoint.user == TRINO_READER
    assert reader.execute(f"SELECT id, v FROM {trino}").rows == [(1, "a")]
    assert reader.has_table(trino.split(".")[1], "t")
    assert ("lake",) in reader.execute("SHOW CATALOGS").rows
    assert reader.execute(f'SELECT count(*) FROM "{trino.split(".")[1]}"."t$snapshots"').rows[0][0] >= 1
    for sql in TRINO_FORBIDDEN:
        not_allowed(reader, sql.format(table=trino, schema=trino.rpartition(".")[0]))
    # Trino asks no rule about a table's procedures: FileBasedSystemAccessControl's method for them is empty.
    # What is left of them changes no row: Nessie's tables forbid to expire, and keep one snapshot; the
    # catalogs call no file an orphan.
    reader.execute(f"ALTER TABLE {trino} EXECUTE optimize")
    for procedure in (
        "expire_snapshots(retention_threshold => '7d')",
        "remove_orphan_files(retention_threshold => '7d')",
        "rollback_to_snapshot(1)",
        "add_files(location => 's3://lake/warehouse/', format => 'PARQUET')",
    ):
        with pytest.raises(EngineError, match=r"shorter than the minimum|unknown snapshot|is disabled"):
            reader.execute(f"ALTER TABLE {trino} EXECUTE {procedure}")
    assert TrinoClient(endpoints.trino).execute(f"SELECT id, v FROM {trino}").rows == [(1, "a")]


def test_any_other_name_may_do_nothing_in_trino(endpoints: Endpoints, trino: str) -> None:
    for user in ("nobody", "lakehouse2", "Lakehouse", "reader2", ""):
        stranger = TrinoClient(endpoints.trino.model_copy(update={"user": user or "root"}))
        not_allowed(stranger, f"SELECT * FROM {trino}")
        not_allowed(stranger, "SELECT 1")


def test_only_the_platform_makes_catalogs_and_the_reader_reads_them(endpoints: Endpoints, name: str) -> None:
    platform = TrinoClient(endpoints.trino)
    catalog = f"lake_{name}"
    create_catalog(endpoints, platform, catalog, "main")
    try:
        reader = TrinoClient(endpoints.trino.acting(READER), catalog=catalog)
        assert ("information_schema",) in reader.execute("SHOW SCHEMAS").rows
        not_allowed(reader, f"DROP CATALOG {catalog}")
        not_allowed(reader, f"CREATE SCHEMA {catalog}.{name}")
    finally:
        drop_catalog(platform, catalog)


# --- Cassandra


@contextmanager
def cassandra_session(endpoints: Endpoints, user: str, password: str) -> Iterator[Session]:
    where = endpoints.cassandra
    cluster = Cluster(
        [where.host],
        port=where.port,
        auth_provider=PlainTextAuthProvider(user, password),
        protocol_version=5,
        connect_timeout=20,
        control_connection_timeout=20,
    )
    with cluster:
        yield cluster.connect()


@pytest.fixture
def view(clients: Clients, name: str) -> Iterator[str]:
    """A table of the platform's in a keyspace of its own, to which the others are admitted."""
    cassandra = clients.cassandra
    replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    cassandra.execute(f"CREATE KEYSPACE {name} WITH replication = {replication}")
    try:
        cassandra.execute(f"CREATE TABLE {name}.t (id int PRIMARY KEY, v text)")
        cassandra.admit(name)
        cassandra.execute(f"INSERT INTO {name}.t (id, v) VALUES (1, 'a')")
        yield f"{name}.t"
    finally:
        cassandra.execute(f"DROP KEYSPACE {name}")


CASSANDRA_MAKING = (
    "CREATE KEYSPACE zz_forbidden WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}",
    "DROP KEYSPACE {keyspace}",
    "CREATE TABLE {keyspace}.u (id int PRIMARY KEY)",
    "ALTER TABLE {table} ADD w int",
    "DROP TABLE {table}",
    "CREATE ROLE zz_forbidden WITH PASSWORD = 'x' AND LOGIN = true AND SUPERUSER = true",
    "ALTER ROLE lakehouse_admin WITH LOGIN = true",
    "GRANT ALL PERMISSIONS ON ALL KEYSPACES TO lakehouse_reader",
    "SELECT * FROM system_auth.roles",
    "UPDATE system_auth.roles SET is_superuser = true WHERE role = 'lakehouse_reader'",
)
CASSANDRA_WRITES = (
    "INSERT INTO {table} (id, v) VALUES (2, 'b')",
    "UPDATE {table} SET v = 'b' WHERE id = 1",
    "DELETE FROM {table} WHERE id = 1",
    "TRUNCATE {table}",
    "BEGIN BATCH INSERT INTO {table} (id, v) VALUES (3, 'c'); APPLY BATCH",
)


def unauthorized(session: Session, cql: str) -> None:
    with pytest.raises(Unauthorized):
        session.execute(cql)


def test_cassandras_reader_reads_only(endpoints: Endpoints, view: str) -> None:
    login = endpoints.cassandra.identities[READER]
    assert login.password is not None
    keyspace = view.partition(".")[0]
    with cassandra_session(endpoints, login.name, login.password.get_secret_value()) as session:
        eventually(lambda: session.execute(f"SELECT v FROM {view} WHERE id = 1"))
        for cql in (*CASSANDRA_WRITES, *CASSANDRA_MAKING):
            unauthorized(session, cql.format(table=view, keyspace=keyspace))
        assert [row.v for row in session.execute(f"SELECT v FROM {view}")] == ["a"]


def test_cassandras_writer_writes_rows_only(endpoints: Endpoints, view: str) -> None:
    login = endpoints.cassandra.identities[WRITER]
    assert login.password is not None
    keyspace = view.partition(".")[0]
    with cassandra_session(endpoints, login.name, login.password.get_secret_value()) as session:
        eventually(lambda: session.execute(f"INSERT INTO {view} (id, v) VALUES (2, 'b') USING TIMESTAMP 5"))
        session.execute(f"DELETE FROM {view} USING TIMESTAMP 6 WHERE id = 2")
        unauthorized(session, f"SELECT * FROM {view}")
        for cql in CASSANDRA_MAKING:
            unauthorized(session, cql.format(table=view, keyspace=keyspace))


def test_cassandras_platform_is_no_superuser(endpoints: Endpoints, clients: Clients, view: str) -> None:
    del view
    session = clients.cassandra.session()
    for cql in CASSANDRA_MAKING[5:]:
        with pytest.raises(Unauthorized):
            session.execute(cql)
    for user, password in ((CASSANDRA_SUPERUSER, "wrong"), ("cassandra", "cassandra")):
        with (
            pytest.raises(NoHostAvailable, match="AuthenticationFailed"),
            _connected(endpoints, user, password),
        ):
            pass
    assert CASSANDRA_SUPERUSER not in json.dumps(endpoints.revealed())


def test_an_upgraded_platform_has_no_rights_to_roles(endpoints: Endpoints, secrets: Secrets) -> None:
    """It was the superuser of an earlier version and made the one that there is now: it could change it."""
    password = secrets.cassandra_superuser.get_secret_value()
    with cassandra_session(endpoints, CASSANDRA_SUPERUSER, password) as session:
        session.execute(
            f"GRANT ALL PERMISSIONS ON ROLE {CASSANDRA_SUPERUSER} TO {endpoints.cassandra.username}"
        )
        CassandraService().initialise(running_instance(Settings.load()))
        rights = session.execute(f"LIST ALL PERMISSIONS OF {endpoints.cassandra.username}")
        resources = {row.resource for row in rights}
    assert "<all keyspaces>" in resources
    assert not [resource for resource in resources if "role" in resource], resources


@contextmanager
def _connected(endpoints: Endpoints, user: str, password: str) -> Iterator[CassandraClient]:
    with cassandra_session(endpoints, user, password) as session:
        yield session


def eventually(act: Act, seconds: float = 30.0) -> None:
    """What was granted just now counts once the server's cache of rights is renewed."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            act()
            return
        except Unauthorized:
            if time.monotonic() >= deadline:
                raise
        time.sleep(0.5)


# --- CouchDB


@dataclass
class Documents:
    """A database of the platform's with one document and one index."""

    endpoints: Endpoints
    database: str

    def ask(self, identity: str, method: str, path: str, **more: Any) -> httpx.Response:
        where = self.endpoints.couchdb.acting(identity)
        login = (where.username, where.password.get_secret_value())
        return httpx.request(
            method,
            f"{where.url}{path.format(db=self.database)}",
            auth=login,
            timeout=30,
            trust_env=False,
            **more,
        )


@pytest.fixture
def documents(clients: Clients, endpoints: Endpoints, name: str) -> Iterator[Documents]:
    clients.couchdb.ensure_database(name)
    try:
        clients.couchdb.put(name, "1", {"v": 1})
        yield Documents(endpoints, name)
    finally:
        clients.couchdb.delete_database(name)


COUCHDB_READS: tuple[tuple[str, str, Any], ...] = (
    ("GET", "/", None),
    ("GET", "/{db}", None),
    ("GET", "/{db}/1", None),
    ("GET", "/{db}/_all_docs?include_docs=true", None),
    ("POST", "/{db}/_all_docs?include_docs=true", {"keys": ["1"]}),
    ("POST", "/{db}/_find", {"selector": {"v": 1}}),
    ("POST", "/{db}/_bulk_get", {"docs": [{"id": "1"}]}),
)
COUCHDB_WRITES: tuple[tuple[str, str, Any], ...] = (
    ("PUT", "/{db}/2", {"v": 2}),
    ("POST", "/{db}", {"_id": "3", "v": 3}),
    ("POST", "/{db}/_bulk_docs", {"docs": [{"_id": "4"}]}),
)
COUCHDB_MAKING: tuple[tuple[str, str, Any], ...] = (
    ("PUT", "/zz_forbidden", None),
    ("DELETE", "/{db}", None),
    ("PUT", "/{db}/_security", {"members": {"names": ["me"]}}),
    ("PUT", "/{db}/_design/x", {"views": {}}),
    ("PUT", "/{db}/%5fdesign/x", {"views": {}}),
    ("PUT", "/{db}/_design%2Fx", {"views": {}}),
    ("POST", "/{db}/_index", {"index": {"fields": ["v"]}}),
    ("POST", "/{db}/_INDEX", {"index": {"fields": ["v"]}}),
    ("POST", "/{db}/_compact", {}),
    ("POST", "/{db}/_purge", {"1": ["1-a"]}),
    ("PUT", "/{db}/_local/x", {}),
    ("POST", "/_replicate", {"source": "a", "target": "b"}),
    (
        "PUT",
        "/_users/org.couchdb.user:x",
        {"name": "x", "password": "x", "roles": ["_admin"], "type": "user"},
    ),
    ("GET", "/_users/_all_docs", None),
    ("GET", "/_config", None),
    ("PUT", "/_config/admins/x", "x"),
    ("POST", "/_restart", {}),
    ("POST", "//{db}/_index", {"index": {"fields": ["v"]}}),
    ("PUT", "/{db}//", None),
)


def test_couchdbs_reader_reads_only(documents: Documents) -> None:
    for method, path, body in COUCHDB_READS:
        assert documents.ask(READER, method, path, json=body).status_code == 200, (method, path)
    for method, path, body in (*COUCHDB_WRITES, *COUCHDB_MAKING):
        assert documents.ask(READER, method, path, json=body).status_code == 403, (method, path)
    disguised = {"X-HTTP-Method-Override": "DELETE"}
    assert documents.ask(READER, "POST", "/{db}/_find", json={}, headers=disguised).status_code == 403
    assert documents.ask(READER, "GET", "/{db}").json()["doc_count"] == 1


def test_couchdbs_writer_writes_documents_only(documents: Documents) -> None:
    for method, path, body in (*COUCHDB_READS, *COUCHDB_WRITES):
        answer = documents.ask(WRITER, method, path, json=body)
        assert answer.status_code in (200, 201), (method, path, answer.text)
    for method, path, body in COUCHDB_MAKING:
        assert documents.ask(WRITER, method, path, json=body).status_code == 403, (method, path)
    assert documents.ask(WRITER, "GET", "/{db}").json()["doc_count"] == 4


def test_couchdb_knows_nobody_else(documents: Documents) -> None:
    where = documents.endpoints.couchdb
    url = f"{where.url}/{documents.database}"
    for login in (None, (where.username, ""), ("nobody", "x"), (where.identities[READER].name, "wrong")):
        assert httpx.get(url, auth=login, timeout=30, trust_env=False).status_code == 401
    assert CouchDb().probe(running_instance(Settings.load()), 0.0)


# --- PostgreSQL


@pytest.mark.parametrize(
    ("user", "other"),
    [(POSTGRES_DAGSTER, POSTGRES_NESSIE), (POSTGRES_NESSIE, POSTGRES_DAGSTER)],
)
def test_dagster_and_nessie_stay_out_of_each_others_database(
    endpoints: Endpoints, secrets: Secrets, user: str, other: str
) -> None:
    password = {POSTGRES_DAGSTER: secrets.postgres_dagster, POSTGRES_NESSIE: secrets.postgres_nessie}[user]
    login = {
        "host": endpoints.postgres.host,
        "port": endpoints.postgres.port,
        "user": user,
        "password": password.get_secret_value(),
        "connect_timeout": 10,
    }
    for database in (other, "postgres"):
        with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
            psycopg2.connect(**login, dbname=database)
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(**{**login, "user": other}, dbname=other)
    with closing(psycopg2.connect(**login, dbname=user)) as connection:
        connection.autocommit = True
        for sql in (
            "CREATE DATABASE zz_forbidden",
            "CREATE ROLE zz_forbidden SUPERUSER",
            "ALTER ROLE postgres PASSWORD 'mine'",
            "SELECT rolpassword FROM pg_authid",
            "COPY (SELECT 1) TO PROGRAM 'true'",
            "SELECT pg_read_file('postgresql.conf')",
        ):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege), connection.cursor() as cursor:
                cursor.execute(sql)
