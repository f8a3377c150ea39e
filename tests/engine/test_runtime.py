"""The native runtime on real engines: on loopback only, private, back after a kill, honest about itself."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pymysql
import pytest
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import Cluster, NoHostAvailable

from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.runtime.lifecycle import running_instance
from lakehouse_dagster.runtime.services import SERVICES
from lakehouse_dagster.runtime.settings import Settings
from lakehouse_dagster.runtime.status import read_status
from lakehouse_dagster.runtime.supervision import Supervisor

pytestmark = pytest.mark.engine

GIB = 1024**3
PROGRAM = str(Path(sys.executable).parent / "lakehouse")


@pytest.fixture(scope="module")
def settings(instance: Path) -> Settings:
    found = Settings.load()
    assert found.data == instance
    return found


def processes(settings: Settings) -> dict[str, list[psutil.Process]]:
    found = {}
    for name, info in Supervisor(settings).infos().items():
        process = psutil.Process(info.pid)
        found[name] = [process, *process.children(recursive=True)]
    return found


def connections(process: psutil.Process) -> list[psutil._common.pconn]:
    try:
        return process.net_connections(kind="tcp")
    except psutil.NoSuchProcess:  # a short-lived child of Dagster's
        return []


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, **environment},
    )


def test_status_tells_all(settings: Settings) -> None:
    done = run("status", "--json")
    assert done.returncode == 0, done.stdout
    found = json.loads(done.stdout)
    assert found["ready"]
    rows = {row["service"]: row for row in found["services"]}
    assert set(rows) == set(SERVICES)
    for row in rows.values():
        assert row["ready"], row
        assert psutil.pid_exists(row["pid"])
        assert row["memory"] > 10_000_000
        assert row["uptime"] > 0
        assert row["version"][0] in "v0123456789", row
    assert rows["mysql"]["port"] == settings.port("mysql")
    assert "pouchdb-server" in rows["couchdb"]["note"]
    assert "Compose" in found["absent"]["doris"]
    assert 1 * GIB < found["memory"] < 8 * GIB


def test_everything_listens_on_loopback_only(settings: Settings) -> None:
    listening: set[int] = set()
    for name, members in processes(settings).items():
        for process in members:
            for connection in connections(process):
                if connection.status == psutil.CONN_LISTEN:
                    assert connection.laddr.ip in {"127.0.0.1", "::1", "::ffff:127.0.0.1"}, (name, connection)
                    listening.add(connection.laddr.port)
    expected = {settings.port(port) for service in SERVICES.values() for port in service.ports}
    assert expected <= listening


def test_no_credential_on_a_command_line_or_in_a_log(settings: Settings) -> None:
    secrets = json.loads(settings.secrets_file.read_text())
    for process in psutil.process_iter():
        try:
            command = " ".join(process.cmdline())
        except psutil.Error:
            continue
        assert not [name for name, value in secrets.items() if value in command], process
    logs = list(settings.logs.iterdir())
    assert len(logs) >= len(SERVICES)
    for log in logs:
        text = log.read_text(encoding="utf-8", errors="replace")
        assert not [name for name, value in secrets.items() if value in text], log


def test_files_with_credentials_are_private(settings: Settings) -> None:
    """Whatever file of the instance holds a password, be it an engine's own, only its owner can read it."""
    secrets = json.loads(settings.secrets_file.read_text())
    # The patterns come by standard input: a command line could be read by everybody.
    done = subprocess.run(
        ["grep", "-rlaF", "-f", "-", str(settings.data)],
        input="\n".join(secrets.values()),
        text=True,
        capture_output=True,
        timeout=300,
        env={**os.environ, "LC_ALL": "C"},  # several times as fast
    )
    found = [Path(line) for line in done.stdout.splitlines()]
    assert settings.secrets_file in found
    for path in found:
        if path.exists():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    # The root's keys of the object store are for its own server, and each engine has its own.
    root = secrets["s3_secret_key"].encode()
    holders = {path.name for path in found if path.exists() and root in path.read_bytes()}
    assert holders == {"secrets.json", "minio.program.conf"}


def test_well_known_logins_are_refused(endpoints: Endpoints) -> None:
    assert httpx.get(f"{endpoints.couchdb.url}/_all_dbs", trust_env=False).status_code == 401
    assert httpx.get(f"{endpoints.s3.endpoint}/{endpoints.s3.bucket}", trust_env=False).status_code == 403
    with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
        pymysql.connect(host=endpoints.mysql.host, port=endpoints.mysql.port, user="root", password="")
    cluster = Cluster(
        [endpoints.cassandra.host],
        port=endpoints.cassandra.port,
        auth_provider=PlainTextAuthProvider("cassandra", "cassandra"),
    )
    with cluster, pytest.raises(NoHostAvailable):
        cluster.connect()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["mysql", "couchdb", "minio"])
def test_a_killed_engine_comes_back(settings: Settings, name: str) -> None:
    supervisor = Supervisor(settings)
    before = supervisor.info(name)
    assert before is not None
    os.kill(before.pid, signal.SIGKILL)
    deadline = time.monotonic() + 240
    while True:
        info = supervisor.info(name)
        if info is not None and info.pid not in (0, before.pid):
            try:
                SERVICES[name].probe(running_instance(settings), info.started)
            except Exception:
                assert time.monotonic() < deadline
            else:
                break
        assert time.monotonic() < deadline
        time.sleep(0.5)


@pytest.mark.timeout(600)
def test_down_then_up_keeps_data(endpoints: Endpoints, settings: Settings) -> None:
    couchdb = endpoints.couchdb
    login = (couchdb.username, couchdb.password.get_secret_value())
    with httpx.Client(base_url=couchdb.url, auth=login, trust_env=False, timeout=20) as client:
        client.put("/runtime_test")
        assert client.put("/runtime_test/kept", json={"value": 7}).status_code in (201, 409)
        assert run("down", "couchdb").returncode == 0
        with pytest.raises(httpx.ConnectError):
            client.get("/")
        (row,) = [row for row in read_status(settings).rows if row.service == "couchdb"]
        assert (row.state, row.ready, row.pid) == ("stopped", False, None)
        assert run("status").returncode == 1
        done = run("up", "couchdb")
        assert done.returncode == 0, done.stderr
        assert client.get("/runtime_test/kept").json()["value"] == 7
        client.delete("/runtime_test")


def test_up_again_changes_nothing(settings: Settings) -> None:
    before = {name: info.pid for name, info in Supervisor(settings).infos().items()}
    done = run("up", "mysql", "trino")
    assert done.returncode == 0, done.stderr
    assert {name: info.pid for name, info in Supervisor(settings).infos().items()} == before


def test_a_busy_port_is_named_before_anything_starts(tmp_path: Path) -> None:
    settings = Settings.load({"LAKEHOUSE_PORT_OFFSET": "5000"})  # below the ports of outgoing connections
    with socket.create_server(("127.0.0.1", settings.port("couchdb"))):
        done = run("up", "couchdb", LAKEHOUSE_DATA=str(tmp_path / "data"), LAKEHOUSE_PORT_OFFSET="5000")
    assert done.returncode == 1
    assert f"port {settings.port('couchdb')} (couchdb)" in done.stderr
    assert f"pid {os.getpid()}" in done.stderr
    assert "LAKEHOUSE_PORT_OFFSET" in done.stderr
    assert not (tmp_path / "data" / "run" / "supervisor").exists()


def test_doctor_finds_this_machine_fit(instance: Path) -> None:
    assert instance.is_dir()
    done = run("doctor", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0, [check for check in found["checks"] if not check["ok"]]
    assert {"memory", "disk for data", "credentials", "ports"} <= {
        check["check"] for check in found["checks"]
    }


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_has_a_log(settings: Settings, name: str) -> None:
    done = run("logs", name, "-n", "3")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) <= 3
    assert (settings.logs / f"{name}.log").exists()
