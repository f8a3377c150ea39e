"""The endpoints of a native instance: its ports and its generated credentials."""

from __future__ import annotations

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
from lakehouse_dagster.runtime.doris import load_doris
from lakehouse_dagster.runtime.ports import HOST
from lakehouse_dagster.runtime.secrets import Secrets, load_secrets
from lakehouse_dagster.runtime.settings import Settings

MYSQL_USER = "lakehouse"
MYSQL_CDC_USER = "debezium"
MYSQL_DATABASE = "airline"
MYSQL_DATABASES = (MYSQL_DATABASE, "canary")
"""The databases of the samples; the application's user may write them."""
POSTGRES_SUPERUSER = "postgres"
POSTGRES_DAGSTER = "dagster"
POSTGRES_NESSIE = "nessie"
BUCKET = "lake"
CATALOG = "lake"
TRINO_USER = "lakehouse"
CASSANDRA_USER = "lakehouse"
CASSANDRA_KEYSPACE = "flights"
CASSANDRA_DATACENTER = "datacenter1"
COUCHDB_USER = "lakehouse"


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
            access_key=secrets.s3_access_key.get_secret_value(),
            secret_key=secrets.s3_secret_key,
            bucket=BUCKET,
        ),
        paimon=PaimonEndpoint(warehouse=f"s3://{BUCKET}/paimon"),
        nessie=NessieEndpoint(url=settings.url("nessie")),
        flink=FlinkEndpoint(url=settings.url("flink")),
        trino=TrinoEndpoint(host=HOST, port=settings.port("trino"), user=TRINO_USER, catalog=CATALOG),
        cassandra=CassandraEndpoint(
            host=HOST,
            port=settings.port("cassandra"),
            username=CASSANDRA_USER,
            password=secrets.cassandra,
            datacenter=CASSANDRA_DATACENTER,
            keyspace=CASSANDRA_KEYSPACE,
        ),
        couchdb=CouchDbEndpoint(url=settings.url("couchdb"), username=COUCHDB_USER, password=secrets.couchdb),
        dagster=DagsterEndpoint(url=settings.url("dagster")),
    )
