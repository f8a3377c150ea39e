"""The endpoints of a native instance: its ports and its generated credentials."""

from __future__ import annotations

from pydantic import SecretStr

from lakehouse_dagster.engines.endpoints import (
    FLINK,
    PROBER,
    READER,
    WRITER,
    CassandraEndpoint,
    ConnectEndpoint,
    CouchDbEndpoint,
    DagsterEndpoint,
    Endpoints,
    FlinkEndpoint,
    KafkaEndpoint,
    Login,
    MySqlEndpoint,
    NessieEndpoint,
    PaimonEndpoint,
    PostgresEndpoint,
    S3Endpoint,
    TrinoEndpoint,
)
from lakehouse_dagster.runtime.doris import load_doris
from lakehouse_dagster.runtime.ports import HOST
from lakehouse_dagster.runtime.secrets import Secrets, load_secrets
from lakehouse_dagster.runtime.settings import Settings

MYSQL_USER = "lakehouse"
MYSQL_CDC_USER = "debezium"
MYSQL_READER = "lakehouse_reader"
MYSQL_PROBER = "lakehouse_prober"
MYSQL_DATABASE = "airline"
MYSQL_DATABASES = (MYSQL_DATABASE, "canary")
"""The databases of the samples; the application's user may write them."""
POSTGRES_SUPERUSER = "postgres"
POSTGRES_DAGSTER = "dagster"
POSTGRES_NESSIE = "nessie"
BUCKET = "lake"
S3_PLATFORM = "lakehouse-platform"
S3_FLINK = "lakehouse-flink"
S3_NESSIE = "lakehouse-nessie"
S3_TRINO = "lakehouse-trino"
S3_READER = "lakehouse-reader"
CATALOG = "lake"
TRINO_USER = "lakehouse"
TRINO_READER = "reader"
CASSANDRA_SUPERUSER = "lakehouse_admin"
CASSANDRA_USER = "lakehouse"
CASSANDRA_WRITER = "lakehouse_writer"
CASSANDRA_READER = "lakehouse_reader"
CASSANDRA_KEYSPACE = "flights"
CASSANDRA_DATACENTER = "datacenter1"
COUCHDB_USER = "lakehouse"
COUCHDB_WRITER = "lakehouse_writer"
COUCHDB_READER = "lakehouse_reader"


def load_endpoints(settings: Settings | None = None) -> Endpoints:
    """Return the endpoints of the instance, whether its engines are up or not.

    Raises ``RuntimeFailure`` when the instance was never started (no credentials yet).
    """
    chosen = settings or Settings.load()
    native = build_endpoints(chosen, load_secrets(chosen.secrets_file))
    doris = load_doris(chosen)
    return native if doris is None else native.model_copy(update={"doris": doris})


def build_endpoints(settings: Settings, secrets: Secrets) -> Endpoints:
    """Return the endpoints for ``settings`` and ``secrets``, without reading anything."""
    return Endpoints(
        mysql=MySqlEndpoint(
            host=HOST,
            port=settings.port("mysql"),
            user=MYSQL_USER,
            password=secrets.mysql,
            database=MYSQL_DATABASE,
            identities={
                READER: _login(MYSQL_READER, secrets.mysql_reader),
                PROBER: _login(MYSQL_PROBER, secrets.mysql_prober),
            },
        ),
        postgres=PostgresEndpoint(
            host=HOST,
            port=settings.port("postgres"),
            user=POSTGRES_DAGSTER,
            password=secrets.postgres_dagster,
            database=POSTGRES_DAGSTER,
        ),
        kafka=KafkaEndpoint(bootstrap=f"{HOST}:{settings.port('kafka')}"),
        connect=ConnectEndpoint(
            url=settings.url("connect"), metrics_url=f"{settings.url('connect-metrics')}/metrics"
        ),
        s3=S3Endpoint(
            endpoint=settings.url("minio"),
            access_key=S3_PLATFORM,
            secret_key=secrets.s3_platform,
            bucket=BUCKET,
            identities={
                READER: _login(S3_READER, secrets.s3_reader),
                FLINK: _login(S3_FLINK, secrets.s3_flink),
            },
        ),
        paimon=PaimonEndpoint(warehouse=f"s3://{BUCKET}/paimon"),
        nessie=NessieEndpoint(url=settings.url("nessie")),
        flink=FlinkEndpoint(url=settings.url("flink")),
        trino=TrinoEndpoint(
            host=HOST,
            port=settings.port("trino"),
            user=TRINO_USER,
            catalog=CATALOG,
            identities={READER: _login(TRINO_READER)},
        ),
        cassandra=CassandraEndpoint(
            host=HOST,
            port=settings.port("cassandra"),
            username=CASSANDRA_USER,
            password=secrets.cassandra,
            datacenter=CASSANDRA_DATACENTER,
            keyspace=CASSANDRA_KEYSPACE,
            identities={
                READER: _login(CASSANDRA_READER, secrets.cassandra_reader),
                WRITER: _login(CASSANDRA_WRITER, secrets.cassandra_writer),
            },
        ),
        couchdb=CouchDbEndpoint(
            url=settings.url("couchdb"),
            username=COUCHDB_USER,
            password=secrets.couchdb,
            identities={
                READER: _login(COUCHDB_READER, secrets.couchdb_reader),
                WRITER: _login(COUCHDB_WRITER, secrets.couchdb_writer),
            },
        ),
        dagster=DagsterEndpoint(url=settings.url("dagster")),
    )


def _login(name: str, password: SecretStr | None = None) -> Login:
    return Login(name=name, password=password)
