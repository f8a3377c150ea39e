"""Keep a Flink client warm and submit scripts through it.

Run with the Flink client environment's Python::

    FLINK_REST=127.0.0.1:18081 FLINK_HOME=... <venv>/bin/python serve_sql.py --socket PATH

Starting a client for one script (``run_sql.py``) costs many seconds of processor time for Python, the JVM
and the planner's classes, just when a cluster comes back and everybody wants to start. This program pays
them once.

It listens on a unix socket that only its owner can open. A request is one line of JSON, and so is the
answer::

    {"script": {...}, "environ": {"NAME": "value"}, "savepoint": null}    as ``run_sql.py`` takes them
    {"job_id": "...", "name": "...", "seconds": {...}}                    or {"error": "...", "status": 1}
                                                                          (null: a script of statements only)
    {"ping": true}  ->  {"submitted": 12}

Nothing is started for a caller that has closed its end: before the job is submitted that is looked at, and a
job submitted to nobody is cancelled at once. Scripts of the same name wait for each other, others run side
by side. After ``--most`` scripts the program ends when it is idle, so that what a JVM gathers is given back;
whoever supervises it starts it again.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import select
import socket
import socketserver
import sys
import threading
from collections import defaultdict
from pathlib import Path
from typing import Any

from run_sql import (
    BadInput,
    JobFailed,
    Script,
    client_configuration,
    masked,
    prepare_client,
    root_cause,
    submit,
)

logger = logging.getLogger("lakehouse.flink-client")

LONGEST_REQUEST = 64 * 1024 * 1024
"""Bytes."""


class Server(socketserver.ThreadingUnixStreamServer):
    """Answers each connection in a thread of its own."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, path: Path, most: int) -> None:
        self.most = most
        self.submitted = 0
        self.busy = 0
        self.count = threading.Lock()
        self.names: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            super().__init__(str(path), Handler)
        finally:
            os.umask(mask)

    def name_lock(self, name: str) -> threading.Lock:
        """The lock that scripts of one name take in turn."""
        with self.count:
            return self.names[name]

    def began(self) -> None:
        """A script is under way."""
        with self.count:
            self.busy += 1

    def ended(self) -> None:
        """A script is through; the last one of many ends the server."""
        with self.count:
            self.busy -= 1
            self.submitted += 1
            done = self.submitted >= self.most and self.busy == 0
        if done:
            logger.info("%d scripts submitted: starting afresh", self.submitted)
            threading.Thread(target=self.shutdown, daemon=True).start()


class Handler(socketserver.StreamRequestHandler):
    """One request, one answer."""

    server: Server

    def handle(self) -> None:
        """Read the request, carry it out, answer."""
        line = self.rfile.readline(LONGEST_REQUEST)
        if not line:
            return
        answer: dict[str, Any]
        try:
            request = json.loads(line)
            answer = {"submitted": self.server.submitted} if "ping" in request else self._submit(request)
        except ValueError as error:
            answer = {"error": f"the request is not JSON: {error}", "status": 2}
        try:
            self.wfile.write(json.dumps(answer).encode() + b"\n")
        except OSError:
            logger.info("nobody waits for the answer: %s", answer)

    def _submit(self, request: dict[str, Any]) -> dict[str, Any]:
        environ = {**os.environ, **request.get("environ", {})}
        name = "a script"
        self.server.began()
        try:
            script = Script.parse(request.get("script"), "the request").resolved(environ)
            name = script.name
            configuration = client_configuration(script, environ, request.get("savepoint"))
            with self.server.name_lock(name):
                answer = submit(script, configuration, environ, self._wanted)
            logger.info("%s: %s in %s", name, answer["job_id"] or "no job", answer["seconds"])
            return answer
        except (BadInput, JobFailed) as error:
            said = masked(str(error), environ)
            logger.warning("%s: %s", name, said)
            return {"error": said, "status": 2 if isinstance(error, BadInput) else 1}
        except Exception as error:  # the caller has to be told whatever it was
            said = masked(root_cause(error), environ)
            logger.exception("%s", name)
            return {"error": said, "status": 1}
        finally:
            self.server.ended()

    def _wanted(self) -> bool:
        """Whether the caller still holds its end of the connection."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        if not readable:
            return True
        try:
            return bool(self.connection.recv(1, socket.MSG_PEEK))
        except OSError:
            return False


WARMING = (
    "CREATE TEMPORARY TABLE warm (a INT, b STRING, c TIMESTAMP(6))"
    " WITH ('connector' = 'datagen', 'number-of-rows' = '1')",
    "CREATE TEMPORARY TABLE cold (a INT, b STRING, c TIMESTAMP(6)) WITH ('connector' = 'blackhole')",
)
WARMING_INSERT = "INSERT INTO cold SELECT a + 1, CONCAT(b, 'x'), c FROM warm WHERE a > 0"


def warm_up() -> None:
    """Load the classes of the planner and let it plan once; nothing is submitted."""
    from pyflink.table import EnvironmentSettings, TableEnvironment

    for settings in (EnvironmentSettings.in_streaming_mode(), EnvironmentSettings.in_batch_mode()):
        table_env = TableEnvironment.create(settings)
        for statement in WARMING:
            table_env.execute_sql(statement)
        statement_set = table_env.create_statement_set()
        statement_set.add_insert_sql(WARMING_INSERT)
        statement_set.explain()


def main(argv: list[str] | None = None) -> int:
    """Command line entry; serves until it is told to end or has submitted enough."""
    parser = argparse.ArgumentParser(description="Submit Flink SQL scripts to the cluster at FLINK_REST.")
    parser.add_argument("--socket", required=True, type=Path, help="unix socket to listen on")
    parser.add_argument("--most", type=int, default=500, help="scripts after which to start afresh")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    prepare_client()
    warm_up()
    with Server(arguments.socket, arguments.most) as server:
        logger.info("listening on %s", arguments.socket)
        server.serve_forever(poll_interval=0.5)
    return 0


if __name__ == "__main__":
    sys.exit(main())
