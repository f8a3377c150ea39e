"""Whether anybody listens at an address, for engines whose clients take long to say that nobody does."""

from __future__ import annotations

import socket

from lakehouse_dagster.engines.errors import EngineUnavailable


def knock(engine: str, host: str, port: int, *, timeout: float = 2.0) -> None:
    """Raise ``EngineUnavailable`` when nobody accepts a connection within ``timeout`` seconds."""
    try:
        socket.create_connection((host, port), timeout=timeout).close()
    except OSError as error:
        raise EngineUnavailable(engine, f"{host}:{port}", cause=str(error)) from error
