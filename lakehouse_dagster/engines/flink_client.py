"""Asking the warm Flink client (``flink_jobs/serve_sql.py``): a line of JSON each way, over a unix socket."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def connect(path: Path, timeout: float) -> socket.socket:
    """Open a connection whose every step may take ``timeout`` seconds; raises ``OSError``."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        raise
    return connection


def ask(connection: socket.socket, request: Mapping[str, Any]) -> dict[str, Any]:
    """Send ``request`` and return the answer, an empty one when the client has ended; raises ``OSError``."""
    connection.sendall(json.dumps(request).encode() + b"\n")
    answer: dict[str, Any] = json.loads(connection.makefile("rb").readline() or b"{}")
    return answer
