"""A MySQL server of a test's own, beside the instance: what is done to it hits no other pipeline.

It is configured, filled and asked as the instance's own server is, with the same credentials: connectors find
their password in the environment of the instance's Kafka Connect.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pymysql
from pymysql.cursors import Cursor

from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.runtime.ports import DEFAULT_PORTS, HOST
from lakehouse_dagster.runtime.secrets import load_secrets
from lakehouse_dagster.runtime.services.base import Instance, NotReady, Rendering, remove_tree
from lakehouse_dagster.runtime.services.mysql import MySql
from lakehouse_dagster.runtime.settings import Settings

START_SECONDS = 180.0
STOP_SECONDS = 60.0


@dataclass
class OwnSource:
    """The server, and its process while it runs."""

    instance: Instance
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def at(cls, folder: Path) -> OwnSource:
        """A server with its data in ``folder``, on a port that is free now; it is not started yet."""
        shared = Settings.load()
        own = replace(shared, data=folder, port_offset=_free_port() - DEFAULT_PORTS["mysql"])
        own.logs.mkdir(parents=True, exist_ok=True)
        own.sockets.mkdir(mode=0o700, exist_ok=True)
        return cls(Instance(own, load_secrets(shared.secrets_file)))

    @property
    def port(self) -> int:
        """Where it answers, on loopback."""
        return self.instance.settings.port("mysql")

    def endpoints(self, shared: Endpoints) -> Endpoints:
        """The instance's engines with this server as the source."""
        return shared.model_copy(update={"mysql": shared.mysql.model_copy(update={"port": self.port})})

    def start(self) -> None:
        """Start it and wait until it answers; at the first time its data folder is made."""
        program = MySql().program(Rendering(self.instance, "mysql"))
        with self.instance.log("mysql").open("ab") as log:
            self.process = subprocess.Popen(
                program.command,
                cwd=program.directory,
                env={**os.environ, **program.environment},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait()
        MySql().initialise(self.instance)

    def stop(self) -> None:
        """Shut it down properly; nothing when it does not run."""
        self._end(kill=False)

    def kill(self) -> None:
        """End it without a word."""
        self._end(kill=True)

    def discard(self) -> None:
        """Stop it and delete all of it: its log alone may take gigabytes."""
        self.stop()
        remove_tree(self.instance.settings.sockets)
        remove_tree(self.instance.settings.data)

    @contextmanager
    def root(self, *, database: str | None = None) -> Iterator[Cursor]:
        """A session of the administrator, each statement committed at once."""
        with (
            closing(
                pymysql.connect(
                    host=HOST,
                    port=self.port,
                    user="root",
                    password=self.instance.secrets.mysql_root.get_secret_value(),
                    database=database,
                    autocommit=True,
                    charset="utf8mb4",
                )
            ) as connection,
            closing(connection.cursor()) as cursor,
        ):
            yield cursor

    def administer(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements as root, and return the rows of the last one."""
        with self.root() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            assert self.process is not None
            assert self.process.poll() is None, f"mysqld has ended; see {self.instance.log('mysql')}"
            try:
                MySql().probe(self.instance, 0.0)
                return
            except (pymysql.err.Error, NotReady, OSError) as error:
                said = str(error)
            assert time.monotonic() < deadline, f"no answer of mysqld: {said}"
            time.sleep(0.3)

    def _end(self, *, kill: bool) -> None:
        if self.process is None:
            return
        if kill:
            self.process.kill()
        else:
            self.process.terminate()
        self.process.wait(STOP_SECONDS)
        self.process = None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
