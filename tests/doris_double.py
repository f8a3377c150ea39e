"""A double of a Doris frontend: enough of the MySQL protocol for a client, answers by a script.

It says what the script says, no more: that a real Doris answers so is not proved by it.
"""

from __future__ import annotations

import hashlib
import re
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

USER, PASSWORD = "root", "it's a secret"

_SALT = b"12345678" + b"abcdefghijkl"
_CAPABILITIES = 0x1 | 0x4 | 0x8 | 0x200 | 0x2000 | 0x8000 | 0x80000  # long password .. plugin auth


class Gone(Exception):  # noqa: N818 - what the script says
    """The script says: the connection breaks before an answer."""


@dataclass(frozen=True)
class Error:
    """The script says: an error, with Doris's number for nearly everything."""

    text: str
    code: int = 1105


@dataclass(frozen=True)
class Slow:
    """The script says: an answer after so many seconds."""

    seconds: float
    then: object = None


Answer = object
"""None (done), a list of rows (dictionaries), an Error, a Slow, or Gone raised."""


@dataclass
class DorisDouble:
    """One frontend. ``answer`` gets each statement; ``said`` are the statements that came, in order."""

    answer: Callable[[str], Answer]
    password: str = PASSWORD
    said: list[str] = field(default_factory=list)
    port: int = 0

    @contextmanager
    def serving(self) -> Iterator[DorisDouble]:
        double = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                _Session(self.request, double).run()

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        with Server(("127.0.0.1", self.port), Handler) as server:
            self.port = server.server_address[1]
            thread = threading.Thread(
                target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
            )
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()


class _Session:
    def __init__(self, connection: socket.socket, double: DorisDouble) -> None:
        self._connection = connection
        self._double = double
        self._sequence = 0

    def run(self) -> None:
        try:
            if not self._log_in():
                return
            while True:
                self._sequence = 0
                packet = self._read()
                if not packet or packet[0] == 0x01:  # COM_QUIT
                    return
                if packet[0] == 0x0E:  # COM_PING
                    self._ok()
                    continue
                self._serve(packet[1:].decode())
        except (Gone, ConnectionError, struct.error):
            return

    def _serve(self, sql: str) -> None:
        if re.match(r"SET\b", sql):  # the client's session: character set, autocommit, time zone
            self._ok()
            return
        self._double.said.append(sql)
        self._reply(self._double.answer(sql))

    def _reply(self, answer: Answer) -> None:
        match answer:
            case None:
                self._ok()
            case Slow():
                time.sleep(answer.seconds)
                self._reply(answer.then)
            case Error():
                self._error(answer.code, answer.text)
            case list():
                self._rows(answer)
            case _:
                raise TypeError(f"the script answers {answer!r}")

    def _log_in(self) -> bool:
        greeting = (
            b"\x0a5.7.99\x00" + struct.pack("<I", 1) + _SALT[:8] + b"\x00"
            + struct.pack("<H", _CAPABILITIES & 0xFFFF) + b"\x21" + struct.pack("<H", 2)
            + struct.pack("<H", _CAPABILITIES >> 16) + bytes([21]) + bytes(10) + _SALT[8:] + b"\x00"
            + b"mysql_native_password\x00"
        )  # fmt: skip
        self._write(greeting)
        reply = self._read()
        user, _, rest = reply[32:].partition(b"\x00")
        scrambled = rest[1 : 1 + rest[0]]
        if user.decode() == USER and scrambled == _scramble(self._double.password):
            self._ok()
            return True
        self._error(
            1045, f"Access denied for user '{user.decode()}@127.0.0.1' (using password: YES)", "28000"
        )
        return False

    def _rows(self, rows: Sequence[dict[str, Any]]) -> None:
        names = list(rows[0]) if rows else ["nothing"]
        self._write(_length(len(names)))
        for name in names:
            column = name.encode()
            fixed = struct.pack("<BHIBHBxx", 12, 33, 1024, 253, 0, 0)
            self._write(b"".join(_text(part) for part in (b"def", b"", b"", b"", column, column)) + fixed)
        self._write(b"\xfe\x00\x00\x02\x00")
        for row in rows:
            self._write(b"".join(b"\xfb" if v is None else _text(str(v).encode()) for v in row.values()))
        self._write(b"\xfe\x00\x00\x02\x00")

    def _ok(self) -> None:
        self._write(b"\x00\x00\x00\x02\x00\x00\x00")

    def _error(self, code: int, text: str, state: str = "HY000") -> None:
        self._write(b"\xff" + struct.pack("<H", code) + b"#" + state.encode() + text.encode())

    def _write(self, payload: bytes) -> None:
        head = struct.pack("<I", len(payload))[:3] + bytes([self._sequence])
        self._connection.sendall(head + payload)
        self._sequence = (self._sequence + 1) % 256

    def _read(self) -> bytes:
        head = self._receive(4)
        if not head:
            return b""
        self._sequence = (head[3] + 1) % 256
        return self._receive(int.from_bytes(head[:3], "little"))

    def _receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._connection.recv(size - len(data))
            if not part:
                return b""
            data += part
        return data


def _scramble(password: str) -> bytes:
    if not password:
        return b""
    once = hashlib.sha1(password.encode()).digest()
    other = hashlib.sha1(_SALT + hashlib.sha1(once).digest()).digest()
    return bytes(a ^ b for a, b in zip(once, other, strict=True))


def _length(number: int) -> bytes:
    return bytes([number]) if number < 251 else b"\xfc" + struct.pack("<H", number)


def _text(data: bytes) -> bytes:
    return _length(len(data)) + data


# --- a script that behaves as Doris's views and tasks do ----------------------------------------------------


def task_row(number: int, status: str, error: str = "") -> dict[str, Any]:
    """A row of ``tasks("type"="mv")``, as the client asks for it."""
    ended = status in {"SUCCESS", "FAILED", "CANCELED"}
    return {
        "id": str(number),
        "status": status,
        "error": error,
        "created": f"2026-11-28 10:00:{number % 60:02}",
        "started": "\\N" if status == "PENDING" else f"2026-11-28 10:00:{number % 60:02}",
        "finished": "2026-11-28 10:01:00" if ended else "\\N",
        "milliseconds": "1234" if ended else "\\N",
        "mode": "COMPLETE",
        "progress": "100.00% (1/1)" if status == "SUCCESS" else "\\N",
    }


@dataclass
class Views:
    """Materialized views by name, each with its CREATE, and their tasks.

    ``lives`` says what a task goes through: one status per look. ``breaks`` are statements that answer
    something else once: the first whose key is in the statement.
    """

    lives: Callable[[int], Sequence[str]] = lambda number: ("PENDING", "RUNNING", "SUCCESS")
    error: str = "errCode = 2, detailMessage = memory exceeded"
    views: dict[str, str] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    tasks: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    breaks: list[tuple[str, Callable[[], Answer]]] = field(default_factory=list)
    built: set[str] = field(default_factory=set)
    _number: int = 1000

    def __call__(self, sql: str) -> Answer:
        for place, (part, answer) in enumerate(self.breaks):
            if part in sql:
                del self.breaks[place]
                return answer()
        return self.play(sql)

    def play(self, sql: str) -> Answer:
        """What happens when nothing breaks."""
        if found := re.match(r"CREATE MATERIALIZED VIEW IF NOT EXISTS `\w+`\.`(\w+)`", sql):
            self.views.setdefault(found[1], sql)
        elif found := re.match(r"DROP MATERIALIZED VIEW IF EXISTS `\w+`\.`(\w+)`", sql):
            self.views.pop(found[1], None)
            self.built.discard(found[1])
        elif found := re.match(
            r"ALTER MATERIALIZED VIEW `\w+`\.`(\w+)` REPLACE WITH MATERIALIZED VIEW `(\w+)`", sql
        ):
            if found[2] not in self.views:
                return Error(f"Unknown table '{found[2]}'")
            self.views[found[1]] = self.views.pop(found[2])
            if found[2] in self.built:
                self.built.add(found[1])
                self.built.discard(found[2])
        elif found := re.match(r"REFRESH MATERIALIZED VIEW `\w+`\.`(\w+)` (COMPLETE|AUTO)", sql):
            if found[1] not in self.views:
                return Error(f"Unknown table '{found[1]}'")
            self._number += 1
            states = list(self.lives(self._number))
            self.tasks.setdefault(found[1], []).append({"number": self._number, "states": states})
        elif "FROM mv_infos(" in sql:
            return [{"name": name} for name in self.views]
        elif found := re.match(r"SHOW CREATE MATERIALIZED VIEW `\w+`\.`(\w+)`", sql):
            return [{"Materialized View": found[1], "Create Materialized View": self.views[found[1]]}]
        elif 'FROM tasks("type"="mv")' in sql:
            name = re.search(r"`MvName` = '(\w+)'", sql)
            assert name is not None
            return self._look(name[1])
        elif found := re.match(r"SELECT COUNT\(\*\) AS `n` FROM `internal`\.`\w+`\.`(\w+)`", sql):
            return [{"n": self.rows.get(found[1], 0)}]
        return None

    def _look(self, view: str) -> Answer:
        shown = []
        for task in reversed(self.tasks.get(view, [])):
            status = task["states"][0]
            if len(task["states"]) > 1:
                task["states"].pop(0)
            if status == "SUCCESS":
                self.built.add(view)
            if status != "GONE":
                shown.append(task_row(task["number"], status, self.error if status == "FAILED" else ""))
        return shown


def raises(error: Exception) -> Callable[[], Answer]:
    """An answer that is none."""

    def answer() -> Answer:
        raise error

    return answer
