from __future__ import annotations

import json
import multiprocessing
import os
import socket
from pathlib import Path

import pytest

from lakehouse_dagster.runtime import host
from lakehouse_dagster.runtime.errors import RuntimeFailure
from lakehouse_dagster.runtime.lifecycle import Down, exclusive, reset, tail, tail_text
from lakehouse_dagster.runtime.settings import Settings
from lakehouse_dagster.runtime.status import Row, Status, human_bytes, human_seconds, read_status


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(project=tmp_path, home=tmp_path / "home", data=tmp_path / "data", port_offset=21_000)


def _hold(data: str, ready: object, finish: object) -> None:
    settings = Settings(project=Path(data), home=Path(data), data=Path(data))
    with exclusive(settings, "up"):
        ready.set()  # type: ignore[attr-defined]
        finish.wait(30)  # type: ignore[attr-defined]


def test_second_command_is_told_who_is_at_work(settings: Settings) -> None:
    context = multiprocessing.get_context("fork")
    ready, finish = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(str(settings.data), ready, finish))
    other.start()
    try:
        assert ready.wait(30)
        with (
            pytest.raises(RuntimeFailure, match=rf"lakehouse up.*pid {other.pid}"),
            exclusive(settings, "down"),
        ):
            pass
    finally:
        finish.set()
        other.join(30)
    with exclusive(settings, "down"):
        held = json.loads((settings.data / "lock.holder").read_text())
        assert held == {"action": "down", "pid": os.getpid()}
    assert not (settings.data / "lock.holder").exists()


def test_unusable_data_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = Settings(project=tmp_path, home=tmp_path, data=tmp_path / "file" / "data")
    with pytest.raises(RuntimeFailure, match="LAKEHOUSE_DATA") as failure, exclusive(settings, "up"):
        pass
    assert str(settings.data) in failure.value.problem


def test_busy_port_names_port_service_holder_and_fix() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        finding = host.port_finding("mysql", port)
    assert finding is not None
    assert finding.check == f"port {port} (mysql)"
    assert f"pid {os.getpid()}" in finding.found
    assert "LAKEHOUSE_PORT_OFFSET" in finding.fix
    assert host.port_finding("mysql", port) is None


def test_port_taken_on_all_addresses_is_busy_too() -> None:
    with socket.create_server(("", 0)) as server:
        assert host.port_finding("x", server.getsockname()[1]) is not None


def test_full_disk_is_found(tmp_path: Path) -> None:
    enough, short = host.disk_findings([("data", tmp_path / "not" / "yet", 1), ("data", tmp_path, 10**18)])
    assert enough.ok
    assert not short.ok
    assert str(tmp_path) in short.found
    assert "free" in short.fix


def test_tail(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    assert tail(log, 5) == []
    assert tail_text(log) == ""
    log.write_bytes(b"\xff\n" + b"".join(b"line %d\n" % number for number in range(100)))
    assert tail(log, 2) == ["line 98", "line 99"]
    assert tail_text(log).endswith("    | line 99")


def test_down_and_reset_of_nothing_are_quiet(settings: Settings) -> None:
    Down(settings, lambda _: None, lambda _: None).run()
    reset(settings, lambda _: None, lambda _: None)
    assert not settings.data.exists()


def test_reset_deletes_data_but_not_the_cache(settings: Settings) -> None:
    settings.home.mkdir()
    (settings.data / "mysql" / "data").mkdir(parents=True)
    (settings.data / "secrets.json").write_text("{}")
    reset(settings, lambda _: None, lambda _: None)
    assert settings.home.exists()
    assert {path.name for path in settings.data.iterdir()} <= {"lock"}


def test_reset_refuses_a_folder_that_is_not_an_instance(settings: Settings) -> None:
    settings.data.mkdir()
    (settings.data / "thesis.tex").write_text("years of work")
    with pytest.raises(RuntimeFailure, match="does not look like"):
        reset(settings, lambda _: None, lambda _: None)
    assert (settings.data / "thesis.tex").exists()


def test_human_figures() -> None:
    assert human_bytes(300 * 1024**2) == "300 MiB"
    assert human_bytes(int(2.5 * 1024**3)) == "2.50 GiB"
    assert human_seconds(None) == "-"
    assert human_seconds(0.4) == "0s"
    assert human_seconds(61) == "1m 1s"
    assert human_seconds(90_061) == "1d 1h"


def test_status_of_an_instance_never_started(settings: Settings) -> None:
    status = read_status(settings)
    assert not status.ready
    assert status.memory == 0
    assert {row.state for row in status.rows} == {"down"}
    found = status.to_json()
    assert json.loads(json.dumps(found)) == found
    assert found["absent"]["doris"]
    (couchdb,) = [row for row in status.rows if row.service == "couchdb"]
    assert "pouchdb-server" in couchdb.note
    assert couchdb.port == 15984 + 21_000


def test_ready_needs_every_service() -> None:
    def row(ready: bool) -> Row:
        return Row("x", "X", "1", "running", 1, 1, {"x": 1}, 5, 1.0, ready, "", "", "")

    assert Status((row(True), row(True)), 1, 10, {}).ready
    assert not Status((row(True), row(False)), 1, 10, {}).ready


def test_ports_of_outgoing_connections() -> None:
    assert host.outgoing_ports("32768\t60999\n") == range(32768, 61000)
