"""The Doris client against a real server of the protocol that Doris speaks: the source's MySQL.

Doris's own statements are not MySQL's; they are in tests/unit/engines/test_doris.py (a scripted double) and
in tests/engine/test_doris.py (a real Doris).
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from pydantic import SecretStr

from lakehouse_dagster.engines.doris import DorisClient
from lakehouse_dagster.engines.endpoints import DorisEndpoint, Endpoints
from lakehouse_dagster.engines.errors import EngineError, EngineUnavailable
from lakehouse_dagster.engines.mysql import MySqlClient

pytestmark = pytest.mark.engine


@pytest.fixture
def endpoint(endpoints: Endpoints) -> DorisEndpoint:
    mysql = endpoints.mysql
    return DorisEndpoint(host=mysql.host, port=mysql.port, user=mysql.user, password=mysql.password)


def client(endpoint: DorisEndpoint, timeout: float = 30.0, attempts: int = 3) -> DorisClient:
    return DorisClient(endpoint, pause=0.05, timeout=timeout, attempts=attempts)


class Forwarder:
    """A port in front of another whose connections can be cut, and which can refuse some at first."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.refuse = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break every connection."""
        for end in self._open:
            # Closing alone would not wake up the thread that reads.
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refuse:
                self.refuse -= 1
                client.close()
                continue
            server = socket.create_connection(self._target)
            self._open += [client, server]
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            end.close()


@contextmanager
def forwarded(endpoint: DorisEndpoint) -> Iterator[tuple[DorisEndpoint, Forwarder]]:
    forwarder = Forwarder(endpoint.host, endpoint.port)
    try:
        yield endpoint.model_copy(update={"host": "127.0.0.1", "port": forwarder.port}), forwarder
    finally:
        forwarder.close()


def test_it_connects_in_utc_and_asks(endpoint: DorisEndpoint) -> None:
    with client(endpoint) as opened:
        opened.ping()
        assert opened.query("SELECT @@session.time_zone AS zone, 'größe' AS text") == [
            {"zone": "+00:00", "text": "größe"}
        ]
        assert opened.version()


def test_a_wrong_password_is_no_absence(endpoint: DorisEndpoint) -> None:
    wrong = endpoint.model_copy(update={"password": SecretStr("not the password")})
    with client(wrong) as opened, pytest.raises(EngineError, match="Access denied") as caught:
        opened.ping()
    assert not isinstance(caught.value, EngineUnavailable)
    assert caught.value.status == 1045


def test_what_the_server_refuses_carries_its_message_and_number(endpoint: DorisEndpoint) -> None:
    with client(endpoint) as opened:
        with pytest.raises(EngineError, match="SQL syntax") as caught:
            opened.execute("REFRESH CATALOG `lake_paimon`")
        assert caught.value.status == 1064
        with pytest.raises(EngineError, match="command denied") as caught:
            opened.query("SELECT * FROM zz_doris_none.zz_doris_none")
        assert not isinstance(caught.value, EngineUnavailable)
        opened.ping()


def test_a_server_that_refuses_at_first_is_tried_again(endpoint: DorisEndpoint) -> None:
    with forwarded(endpoint) as (through, forwarder):
        forwarder.refuse = 2
        with client(through) as opened:
            opened.ping()
        assert forwarder.refuse == 0


def test_a_connection_that_breaks_between_two_statements_is_made_anew(endpoint: DorisEndpoint) -> None:
    with forwarded(endpoint) as (through, forwarder), client(through) as opened:
        opened.ping()
        forwarder.cut()
        opened.ping()


def test_a_server_that_goes_away_in_mid_query_is_told_from_one_that_refuses(endpoint: DorisEndpoint) -> None:
    with forwarded(endpoint) as (through, forwarder), client(through, attempts=1) as opened:
        opened.ping()
        threading.Timer(0.5, forwarder.cut).start()
        with pytest.raises(EngineUnavailable, match="Lost connection"):
            opened.query("SELECT SLEEP(20) AS slept")
        opened.ping()


def test_a_killed_session_is_replaced(endpoint: DorisEndpoint, endpoints: Endpoints) -> None:
    with client(endpoint) as opened, MySqlClient(endpoints.mysql) as other:
        (row,) = opened.query("SELECT CONNECTION_ID() AS id")
        other.execute(f"KILL {int(row['id'])}")
        (after,) = opened.query("SELECT CONNECTION_ID() AS id")
        assert after["id"] != row["id"]


def test_a_query_is_given_up_in_time(endpoint: DorisEndpoint) -> None:
    with client(endpoint, timeout=1.0, attempts=1) as opened:
        started = time.monotonic()
        with pytest.raises(EngineUnavailable, match="timed out"):
            opened.query("SELECT SLEEP(30) AS slept")
        assert time.monotonic() - started < 15
        opened.ping()
