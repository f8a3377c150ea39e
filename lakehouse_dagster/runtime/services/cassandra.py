"""Cassandra: the serving views."""

from __future__ import annotations

from cassandra import Unauthorized
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, Session
from cassandra.policies import ConstantReconnectionPolicy, RoundRobinPolicy

from lakehouse_dagster.engines.cassandra import PERMISSIONS
from lakehouse_dagster.engines.endpoints import READER, WRITER
from lakehouse_dagster.render import quoting
from lakehouse_dagster.runtime.endpoints import (
    CASSANDRA_KEYSPACE,
    CASSANDRA_READER,
    CASSANDRA_SUPERUSER,
    CASSANDRA_USER,
    CASSANDRA_WRITER,
)
from lakehouse_dagster.runtime.errors import RuntimeFailure
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
    """One node, with passwords and a role per task."""

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
        refused: NoHostAvailable | None = None
        for user in (CASSANDRA_USER, _DEFAULT_ROLE):
            try:
                with _cluster(instance, user) as cluster:
                    return _describe(cluster.connect())
            except NoHostAvailable as error:
                if not _is_refusal(error):
                    raise
                refused = error
        raise NotReady(f"refuses our credentials: {refused}")

    def initialise(self, instance: Instance) -> None:
        """Create the roles and disable the default one; create the keyspace of the serving views.

        The superuser is used here only. At first start the default role makes it, in an instance of an
        earlier version the platform's role, which was a superuser then.
        """
        for user in (CASSANDRA_SUPERUSER, CASSANDRA_USER, _DEFAULT_ROLE):
            try:
                with _cluster(instance, user) as cluster:
                    session = cluster.connect()
                    if user == CASSANDRA_SUPERUSER:
                        self._set_up(session, instance)
                        return
                    _create_role(session, instance, CASSANDRA_SUPERUSER, superuser=True)
                break
            except Unauthorized as refused:
                raise RuntimeFailure(
                    f"Cassandra does not take the password of {CASSANDRA_SUPERUSER} in secrets.json",
                    "put the one that it had into cassandra_superuser; only this role can give out another",
                ) from refused
            except NoHostAvailable as refused:
                if not _is_refusal(refused) or user == _DEFAULT_ROLE:
                    raise
        with _cluster(instance, CASSANDRA_SUPERUSER) as cluster:
            self._set_up(cluster.connect(), instance)

    def _set_up(self, session: Session, instance: Instance) -> None:
        session.execute(f"ALTER ROLE IF EXISTS {_DEFAULT_ROLE} WITH SUPERUSER = false AND LOGIN = false")
        there = {row.role for row in session.execute("SELECT role FROM system_auth.roles")}
        for user in (CASSANDRA_USER, CASSANDRA_WRITER, CASSANDRA_READER):
            if user not in there:
                _create_role(session, instance, user, superuser=False)
                continue
            session.execute(f"ALTER ROLE {user} WITH SUPERUSER = false AND LOGIN = true")
            if not _accepts(instance, user):
                session.execute(f"ALTER ROLE {user} WITH PASSWORD = '{_password(instance, user)}'")
        session.execute(
            f"CREATE KEYSPACE IF NOT EXISTS {CASSANDRA_KEYSPACE} "
            "WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"
        )
        # Whoever makes a role may change it, and the platform's made the superuser in an earlier version.
        for role in (CASSANDRA_SUPERUSER, CASSANDRA_WRITER, CASSANDRA_READER):
            session.execute(f"REVOKE ALL PERMISSIONS ON ROLE {role} FROM {CASSANDRA_USER}")
        # Whoever makes a keyspace owns it, so the platform may let others in to those that it makes. Rights
        # on all keyspaces would include the one with the passwords.
        session.execute(f"GRANT CREATE ON ALL KEYSPACES TO {CASSANDRA_USER}")
        for row in session.execute("SELECT keyspace_name FROM system_schema.keyspaces"):
            if row.keyspace_name == "system" or row.keyspace_name.startswith("system_"):
                continue
            keyspace = quoting.double(row.keyspace_name)
            session.execute(f"GRANT ALL PERMISSIONS ON KEYSPACE {keyspace} TO {CASSANDRA_USER}")
            for permission, user in (
                (PERMISSIONS[WRITER], CASSANDRA_WRITER),
                (PERMISSIONS[READER], CASSANDRA_READER),
            ):
                session.execute(f"GRANT {permission} ON KEYSPACE {keyspace} TO {user}")


def _create_role(session: Session, instance: Instance, name: str, *, superuser: bool) -> None:
    session.execute(
        f"CREATE ROLE IF NOT EXISTS {name} WITH SUPERUSER = {str(superuser).lower()} AND LOGIN = true "
        f"AND PASSWORD = '{_password(instance, name)}'"
    )


def _accepts(instance: Instance, user: str) -> bool:
    """Whether the server takes the password that we have: it refuses to be given one every time."""
    try:
        with _cluster(instance, user) as cluster:
            cluster.connect()
    except NoHostAvailable as error:
        if not _is_refusal(error):
            raise
        return False
    return True


def _is_refusal(error: NoHostAvailable) -> bool:
    return "AuthenticationFailed" in repr(error.errors)


def _describe(session: Session) -> str:
    row = session.execute("SELECT release_version, bootstrapped FROM system.local").one()
    if row is None or row.bootstrapped != "COMPLETED":
        raise NotReady(f"the node is {row.bootstrapped if row else 'unknown'}")
    return f"node {row.release_version}"


def _password(instance: Instance, user: str) -> str:
    secrets = instance.secrets
    return {
        CASSANDRA_SUPERUSER: secrets.cassandra_superuser,
        CASSANDRA_USER: secrets.cassandra,
        CASSANDRA_WRITER: secrets.cassandra_writer,
        CASSANDRA_READER: secrets.cassandra_reader,
    }[user].get_secret_value()


def _cluster(instance: Instance, user: str) -> Cluster:
    password = _DEFAULT_ROLE if user == _DEFAULT_ROLE else _password(instance, user)
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
