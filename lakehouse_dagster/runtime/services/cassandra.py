"""Cassandra: the serving views."""

from __future__ import annotations

from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, Session
from cassandra.policies import ConstantReconnectionPolicy, RoundRobinPolicy

from lakehouse_dagster.runtime.endpoints import CASSANDRA_KEYSPACE, CASSANDRA_USER
from lakehouse_dagster.runtime.ports import HOST
from lakehouse_dagster.runtime.services.base import (
    Instance,
    NotReady,
    Program,
    Rendering,
    Service,
    jvm,
    quoted,
)

_DEFAULT_ROLE = "cassandra"
"""The superuser of a new cluster; its password is its name, so it is disabled at first start."""

_EXPORTS = (
    "java.base/jdk.internal.misc",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
)
_OPENS = (
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.lang.module",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch",
    "jdk.management/com.sun.management.internal",
)


class Cassandra(Service):
    """One node, password protected."""

    name = "cassandra"
    title = "Cassandra"
    ports = ("cassandra", "cassandra-storage", "cassandra-jmx")
    engines = ("cassandra",)
    start_timeout = 900.0

    def program(self, rendering: Rendering) -> Program:
        """Run the daemon on Java 17 (it does not start on 25)."""
        instance = rendering.instance
        settings = instance.settings
        data = instance.data("cassandra")
        config = rendering.file(
            "cassandra/cassandra.yaml",
            "cassandra.yaml",
            {
                "HOST": settings.host,
                "PORT": settings.port("cassandra"),
                "STORAGE_PORT": settings.port("cassandra-storage"),
                "DATA_DIR": quoted(str(data / "data")),
                "COMMITLOG_DIR": quoted(str(data / "commitlog")),
                "HINTS_DIR": quoted(str(data / "hints")),
                "SAVED_CACHES_DIR": quoted(str(data / "saved_caches")),
                "CDC_DIR": quoted(str(data / "cdc_raw")),
            },
        )
        logback = rendering.file("cassandra/logback.xml", "logback.xml")
        return Program(
            jvm(
                instance.java17(),
                heap="320m",
                scratch=rendering.scratch(),
                options=(
                    *(item for name in _EXPORTS for item in ("--add-exports", f"{name}=ALL-UNNAMED")),
                    *(item for name in _OPENS for item in ("--add-opens", f"{name}=ALL-UNNAMED")),
                    "-Djdk.attach.allowAttachSelf=true",
                    "-XX:MaxDirectMemorySize=160m",
                    "-Dio.netty.tryReflectionSetAccessible=true",
                    f"-Dcassandra.config={config.as_uri()}",
                    f"-Dcassandra.storagedir={data}",
                    f"-Dcassandra.logdir={settings.logs}",
                    f"-Dlogback.configurationFile={logback}",
                    "-Dcassandra-foreground=yes",
                    f"-Dcassandra.jmx.local.port={settings.port('cassandra-jmx')}",
                    # A full disk leaves torn mutations in the commit log, and Cassandra would refuse to start
                    # for ever. They were never acknowledged (commitlog_sync: group), so Flink writes them
                    # again. What replay leaves out is an ERROR in the log.
                    "-Dcassandra.commitlog.ignorereplayerrors=true",
                    "-Dcassandra.superuser_setup_delay_ms=0",
                    # One node: nobody to gossip with, so nothing to wait for.
                    "-Dcassandra.skip_wait_for_gossip_to_settle=0",
                    "-Dcassandra.ring_delay_ms=1000",
                ),
                classpath=f"{instance.engine('cassandra')}/lib/*",
                main="org.apache.cassandra.service.CassandraDaemon",
            ),
            directory=data,
            stop_seconds=60,
        )

    def probe(self, instance: Instance, since: float) -> str:
        """A CQL query with our own role; at first start, with the default role that is there before it."""
        del since
        try:
            with _cluster(instance, CASSANDRA_USER) as cluster:
                return _describe(cluster.connect())
        except NoHostAvailable as refused:
            if "AuthenticationFailed" not in repr(refused.errors):
                raise
        with _cluster(instance, _DEFAULT_ROLE) as cluster:
            return _describe(cluster.connect())

    def initialise(self, instance: Instance) -> None:
        """Create our role and disable the default one; create the keyspace of the serving views."""
        try:
            self._set_up(instance, CASSANDRA_USER)
        except NoHostAvailable as refused:
            if "AuthenticationFailed" not in repr(refused.errors):
                raise
            with _cluster(instance, _DEFAULT_ROLE) as cluster:
                password = instance.secrets.cassandra.get_secret_value()
                cluster.connect().execute(
                    f"CREATE ROLE IF NOT EXISTS {CASSANDRA_USER} "
                    f"WITH SUPERUSER = true AND LOGIN = true AND PASSWORD = '{password}'"
                )
            self._set_up(instance, CASSANDRA_USER)

    def _set_up(self, instance: Instance, user: str) -> None:
        with _cluster(instance, user) as cluster:
            session = cluster.connect()
            session.execute(f"ALTER ROLE IF EXISTS {_DEFAULT_ROLE} WITH SUPERUSER = false AND LOGIN = false")
            session.execute(
                f"CREATE KEYSPACE IF NOT EXISTS {CASSANDRA_KEYSPACE} "
                "WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"
            )


def _describe(session: Session) -> str:
    row = session.execute("SELECT release_version, bootstrapped FROM system.local").one()
    if row is None or row.bootstrapped != "COMPLETED":
        raise NotReady(f"the node is {row.bootstrapped if row else 'unknown'}")
    return f"node {row.release_version}"


def _cluster(instance: Instance, user: str) -> Cluster:
    password = _DEFAULT_ROLE if user == _DEFAULT_ROLE else instance.secrets.cassandra.get_secret_value()
    return Cluster(
        [HOST],
        port=instance.settings.port("cassandra"),
        auth_provider=PlainTextAuthProvider(user, password),
        execution_profiles={EXEC_PROFILE_DEFAULT: ExecutionProfile(RoundRobinPolicy(), request_timeout=20)},
        reconnection_policy=ConstantReconnectionPolicy(1, max_attempts=1),
        protocol_version=5,
        connect_timeout=5,
        control_connection_timeout=10,
        schema_metadata_enabled=False,
        token_metadata_enabled=False,
    )
