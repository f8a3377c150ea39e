"""MySQL 9.7: the source database, with the binary log as change data capture needs it."""

from __future__ import annotations

import getpass
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pymysql
from pymysql.cursors import Cursor

from lakehouse_dagster.render import quoting
from lakehouse_dagster.runtime.endpoints import (
    MYSQL_CDC_USER,
    MYSQL_DATABASES,
    MYSQL_PROBER,
    MYSQL_READER,
    MYSQL_USER,
)
from lakehouse_dagster.runtime.errors import RuntimeFailure
from lakehouse_dagster.runtime.ports import HOST
from lakehouse_dagster.runtime.services.base import (
    Instance,
    NotReady,
    Program,
    Rendering,
    Service,
    remove_tree,
    write_private,
)

CDC_GRANTS = "FLUSH_TABLES, REPLICATION SLAVE, REPLICATION CLIENT"
"""Global rights of change capture, which besides reads the pipelines' databases.

Debezium's documentation asks for RELOAD, SHOW DATABASES and SELECT everywhere. RELOAD would also let it
delete the binary log; of all that it allows, only FLUSH TABLES WITH READ LOCK is needed, for a snapshot.
"""

_CDC_TOO_MUCH = "SELECT, RELOAD, SHOW DATABASES"
"""What an earlier version granted globally."""


class MySql(Service):
    """The source database."""

    name = "mysql"
    title = "MySQL"
    ports = ("mysql",)
    engines = ("mysql",)

    def program(self, rendering: Rendering) -> Program:
        """Initialise the data folder at first start; run ``mysqld`` by its installation's launcher."""
        instance = rendering.instance
        root = instance.engine("mysql")
        data = instance.data("mysql")
        cluster = data / "data"
        config = rendering.file(
            "mysql/my.cnf",
            "my.cnf",
            {
                # A relocated installation does not know where its own files are.
                **{name.upper(): root / name for name in ("basedir", "messages", "charsets", "plugins")},
                "USER": getpass.getuser(),  # without it mysqld refuses to run as root
                "PORT": instance.settings.port("mysql"),
                "DATADIR": cluster,
                "TMPDIR": rendering.scratch(),
                "SOCKET": instance.settings.sockets / "mysql.sock",
                "PID_FILE": rendering.folder / "mysqld.pid",
            },
        )
        if not cluster.exists():
            self._create(instance, root, config, data / "data.new")
            (data / "data.new").rename(cluster)
        return Program((*_mysqld(root), f"--defaults-file={config}"), directory=data, stop_seconds=60)

    def _create(self, instance: Instance, root: Path, config: Path, new: Path) -> None:
        remove_tree(new)  # of an interrupted first start
        password = instance.secrets.mysql_root.get_secret_value()
        first = config.with_name("first-start.sql")
        # The password goes in by a private file during initialisation: at no time is root without one.
        write_private(first, f"ALTER USER 'root'@'localhost' IDENTIFIED BY '{password}';\n")
        try:
            done = subprocess.run(
                [
                    *_mysqld(root),
                    f"--defaults-file={config}",
                    "--initialize-insecure",
                    f"--datadir={new}",
                    f"--init-file={first}",
                ],
                capture_output=True,
                text=True,
                check=False,
                timeout=300,
            )
        finally:
            first.unlink(missing_ok=True)
        with instance.log("mysql").open("a", encoding="utf-8") as log:
            log.write(done.stdout + done.stderr)
        if done.returncode:
            remove_tree(new)
            raise RuntimeFailure(
                f"mysqld could not initialise {new} (exit code {done.returncode})",
                f"read the end of {instance.log('mysql')}",
            )

    def probe(self, instance: Instance, since: float) -> str:
        """``SELECT 1`` as root."""
        del since
        with _root(instance) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1, @@version, @@gtid_mode")
            row = cursor.fetchone()
        if not row or row[2] != "ON":
            raise NotReady(f"unexpected answer {row}")
        return f"server {row[1]}"

    def initialise(self, instance: Instance) -> None:
        """Create the databases and the users: application, change capture, reader and prober."""
        secrets = instance.secrets
        with _root(instance) as connection, connection.cursor() as cursor:
            # Accounts are this server's own business: not part of the changes that flow downstream.
            cursor.execute("SET SESSION sql_log_bin = 0")
            for database in MYSQL_DATABASES:
                cursor.execute(f"CREATE DATABASE IF NOT EXISTS {database}")
            _user(cursor, MYSQL_USER, secrets.mysql.get_secret_value())
            # The binary log's position is needed to prove that everything committed has arrived.
            cursor.execute(f"GRANT REPLICATION CLIENT ON *.* TO '{MYSQL_USER}'@'%'")
            for database in MYSQL_DATABASES:
                cursor.execute(f"GRANT ALL PRIVILEGES ON {database}.* TO '{MYSQL_USER}'@'%'")
            _user(cursor, MYSQL_CDC_USER, secrets.mysql_cdc.get_secret_value())
            _user(cursor, MYSQL_READER, secrets.mysql_reader.get_secret_value())
            _user(cursor, MYSQL_PROBER, secrets.mysql_prober.get_secret_value())
            for statement in source_grants(source_databases()):
                cursor.execute(statement)


def source_databases() -> dict[str, set[str]]:
    """Return the databases of the samples and of the project's pipelines, each with its probe tables."""
    from lakehouse_dagster.contract.errors import ContractError
    from lakehouse_dagster.contract.loader import DEFS_FILE, DEFS_ROOT, is_pipeline, read_pipeline

    found: dict[str, set[str]] = {database: set() for database in MYSQL_DATABASES}
    for defs in sorted(DEFS_ROOT.rglob(DEFS_FILE)):
        try:
            if not is_pipeline(defs):
                continue
            pipeline = read_pipeline(defs)
        except ContractError:
            continue  # it cannot run as it is, and who loads it says why
        probes = found.setdefault(pipeline.source.database, set())
        if pipeline.probe is not None:
            probes.add(pipeline.probe.table)
    return found


def source_grants(databases: Mapping[str, set[str]]) -> Iterator[str]:
    """Yield what lets change capture, reader and prober read ``databases`` and the prober write its tables.

    A database need not exist yet. What an earlier version granted beyond is taken back afterwards, so a
    connector at work is at no time without rights.
    """
    cdc, reader, prober = (f"'{name}'@'%'" for name in (MYSQL_CDC_USER, MYSQL_READER, MYSQL_PROBER))
    yield f"GRANT {CDC_GRANTS} ON *.* TO {cdc}"
    # The binary log's position is needed to prove that everything committed has arrived.
    yield f"GRANT REPLICATION CLIENT ON *.* TO {reader}"
    for database, probes in databases.items():
        # Here, and only here, MySQL reads _ and % as wildcards.
        every = quoting.mysql(database.replace("_", r"\_").replace("%", r"\%"))
        yield f"GRANT SELECT ON {every}.* TO {cdc}"
        # Locks, held for milliseconds, tie a snapshot to the binary log's position.
        yield f"GRANT SELECT, LOCK TABLES ON {every}.* TO {reader}"
        yield f"GRANT SELECT ON {every}.* TO {prober}"
        for table in sorted(probes):
            name = f"{quoting.mysql(database)}.{quoting.mysql(table)}"
            yield f"GRANT CREATE, INSERT, UPDATE ON {name} TO {prober}"
    yield f"REVOKE IF EXISTS {_CDC_TOO_MUCH} ON *.* FROM {cdc}"


def _user(cursor: Cursor, user: str, password: str) -> None:
    cursor.execute(f"CREATE USER IF NOT EXISTS '{user}'@'%%' IDENTIFIED BY %s", (password,))
    cursor.execute(f"ALTER USER '{user}'@'%%' IDENTIFIED BY %s", (password,))


def _root(instance: Instance) -> pymysql.Connection[Cursor]:
    return pymysql.connect(
        host=HOST,
        port=instance.settings.port("mysql"),
        user="root",
        password=instance.secrets.mysql_root.get_secret_value(),
        autocommit=True,
        connect_timeout=5,
        read_timeout=10,
    )


def _mysqld(root: Path) -> tuple[str, ...]:
    return (str(root / "bin" / "mysqld"),)
