"""PostgreSQL: Dagster's storage and Nessie's versions."""

from __future__ import annotations

import os
import pwd
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import encrypt_password

from lakehouse_dagster.runtime import provision
from lakehouse_dagster.runtime.endpoints import POSTGRES_DAGSTER, POSTGRES_NESSIE, POSTGRES_SUPERUSER
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
from lakehouse_dagster.runtime.settings import Settings

# Linux capability numbers (linux/capability.h), with the names that setpriv takes.
_CAPABILITIES = {"dac_read_search": 2, "dac_override": 1}


class Postgres(Service):
    """PostgreSQL, which refuses to run as root: then it runs as ``postgres``, or else as ``nobody``."""

    name = "postgres"
    title = "PostgreSQL"
    ports = ("postgres",)

    def program(self, rendering: Rendering) -> Program:
        """Create the cluster at first start; run ``postgres`` as a user other than root."""
        instance = rendering.instance
        account = server_account()
        data = instance.data("postgres")
        _give(data, account)
        _give(rendering.folder, account)
        prefix = _as_account(account, data)
        cluster = data / "cluster"
        if not (cluster / "PG_VERSION").exists():
            self._create(rendering, prefix, data / "cluster.new", account)
            remove_tree(cluster)
            (data / "cluster.new").rename(cluster)
        _require_same_major(cluster)
        hba = rendering.file("postgres/pg_hba.conf", "pg_hba.conf")
        config = rendering.file(
            "postgres/postgresql.conf",
            "postgresql.conf",
            {"PORT": instance.settings.port("postgres"), "HBA_FILE": hba},
        )
        _give(hba, account)
        _give(config, account)
        return Program(
            (
                *prefix,
                str(provision.postgres_bin() / "postgres"),
                "-D",
                str(cluster),
                "-c",
                f"config_file={config}",
            ),
            directory=Path("/"),
            stop_signal="INT",  # "fast": ends the sessions instead of waiting for them
        )

    def _create(
        self, rendering: Rendering, prefix: tuple[str, ...], new: Path, account: pwd.struct_passwd | None
    ) -> None:
        instance = rendering.instance
        remove_tree(new)  # of an interrupted first start
        password = rendering.folder / "password"
        write_private(password, instance.secrets.postgres_superuser.get_secret_value() + "\n")
        _give(password, account)
        command = [
            *prefix,
            str(provision.postgres_bin() / "initdb"),
            "-D",
            str(new),
            "-U",
            POSTGRES_SUPERUSER,
        ]
        command += ["--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8", "--locale=C.UTF-8"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", timeout=300)
        finally:
            password.unlink(missing_ok=True)
        with instance.log("postgres").open("a", encoding="utf-8") as log:
            log.write(done.stdout + done.stderr)
        if done.returncode:
            remove_tree(new)
            raise RuntimeFailure(
                f"initdb could not create {new}: {done.stderr.strip().splitlines()[-1:]}",
                f"read the end of {instance.log('postgres')}",
            )

    def probe(self, instance: Instance, since: float) -> str:
        """``SELECT 1`` as the superuser."""
        del since
        connection = _superuser(instance)
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1, current_setting('server_version')")
                row = cursor.fetchone()
        finally:
            connection.close()
        if not row or row[0] != 1:
            raise NotReady(f"unexpected answer {row}")
        return f"server {row[1]}"

    def initialise(self, instance: Instance) -> None:
        """Create one role and one database for Dagster and for Nessie each."""
        secrets = instance.secrets
        connection = _superuser(instance)
        try:
            connection.autocommit = True  # CREATE DATABASE refuses to run inside a transaction
            for name, password in (
                (POSTGRES_DAGSTER, secrets.postgres_dagster.get_secret_value()),
                (POSTGRES_NESSIE, secrets.postgres_nessie.get_secret_value()),
            ):
                # The server gets a verifier only, so that a failing statement cannot log the password.
                verifier = encrypt_password(password, name, scope=connection, algorithm="scram-sha-256")
                with connection.cursor() as cursor:
                    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,))
                    verb = "ALTER" if cursor.fetchone() else "CREATE"
                    cursor.execute(
                        sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(
                            sql.SQL(verb), sql.Identifier(name), sql.Literal(verifier)
                        )
                    )
                    cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
                    if not cursor.fetchone():
                        cursor.execute(sql.SQL("CREATE DATABASE {0} OWNER {0}").format(sql.Identifier(name)))
                    for database in (name, "postgres"):  # the server's own one is nobody's business
                        cursor.execute(
                            sql.SQL("REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC").format(
                                sql.Identifier(database)
                            )
                        )
        finally:
            connection.close()

    def version(self, settings: Settings) -> str:
        """The version of the machine's own PostgreSQL packages."""
        del settings
        return _binary_version(str(provision.postgres_bin() / "postgres"))


def server_account() -> pwd.struct_passwd | None:
    """Return the account PostgreSQL runs as when we are root; ``None`` when it simply runs as ourselves."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeFailure(
        "PostgreSQL refuses to run as root, and there is no user 'postgres' or 'nobody'",
        "adduser --system --group postgres",
    )


def _superuser(instance: Instance) -> Any:
    return psycopg2.connect(
        host=HOST,
        port=instance.settings.port("postgres"),
        user=POSTGRES_SUPERUSER,
        password=instance.secrets.postgres_superuser.get_secret_value(),
        dbname="postgres",
        connect_timeout=5,
    )


def _give(path: Path, account: pwd.struct_passwd | None) -> None:
    if account:
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)


def _as_account(account: pwd.struct_passwd | None, folder: Path) -> tuple[str, ...]:
    """Return the prefix that makes a command run as ``account``, able to reach ``folder``.

    A checkout may lie under a folder that only root can enter (``/root``, ``mktemp -d``). Instead of opening
    such folders to everybody, the server keeps the one capability that lets it pass through them.
    """
    if account is None:
        return ()
    prefix = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    closed = [parent for parent in folder.parents if not parent.stat().st_mode & 0o001]
    if closed:
        capability = _available_capability()
        if capability is None:
            raise RuntimeFailure(
                f"PostgreSQL runs as user {account.pw_name}, who cannot enter {', '.join(map(str, closed))}",
                f"chmod o+x {' '.join(map(str, closed))}, or choose another folder with LAKEHOUSE_DATA",
            )
        prefix += [f"--inh-caps=+{capability}", f"--ambient-caps=+{capability}"]
    return (*prefix, "--")


def _available_capability() -> str | None:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    mask = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:"))
    return next((name for name, bit in _CAPABILITIES.items() if mask >> bit & 1), None)


@cache
def _binary_version(postgres: str) -> str:
    # "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)"
    done = subprocess.run([postgres, "--version"], capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.split(")", 1)[1].split()[0]


def _require_same_major(cluster: Path) -> None:
    stored = (cluster / "PG_VERSION").read_text(encoding="ascii").strip()
    installed = _binary_version(str(provision.postgres_bin() / "postgres"))
    if installed.split(".")[0] != stored.split(".")[0]:
        raise RuntimeFailure(
            f"{cluster} was written by PostgreSQL {stored}, but PostgreSQL {installed} is installed",
            f"install postgresql-{stored}, or `lakehouse reset` to start from nothing",
        )
