"""The drills that matter most, on the running sample: killed under writes, repaired by the platform alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from lakehouse_dagster.drills.life import FIRST_ID, LAST_ID
from tests.conftest import PROJECT, lakehouse
from tests.e2e.conftest import Flow, copies

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

ALLOWED = 300


def drilled(name: str) -> tuple[int, dict[str, Any]]:
    # How long a repair takes is measured by `make drills`; on a machine that others use it proves nothing.
    done = lakehouse("drill", name, "--json", "--allowed", str(ALLOWED), timeout=1100, check=False)
    assert done.returncode in (0, 1), done.stderr[-4000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, result


def drill_rows(flow: Flow) -> int:
    sql = "SELECT count(*) AS n FROM flights WHERE id BETWEEN %s AND %s"
    return int(flow.clients.mysql.query(sql, (FIRST_ID, LAST_ID))[0]["n"])


@pytest.mark.parametrize(
    "name",
    [
        "kill-taskmanager",
        pytest.param("kill-kafka", marks=pytest.mark.slow),
        pytest.param("kill-jobmanager", marks=pytest.mark.slow),
        pytest.param("kill-connect", marks=pytest.mark.slow),
    ],
)
def test_a_killed_engine_is_survived(flow: Flow, name: str) -> None:
    code, result = drilled(name)
    assert code == 0, result["problems"]
    assert result["passed"] is True
    assert result["repair"] <= result["limit"] == ALLOWED
    assert result["away"] > 0
    assert result["detected_by"]
    assert result["writes"]["changes"] > 300
    assert result["total"] == {"missing": 0, "extra": 0, "different": 0}
    assert result["verification"]["copies"] == copies(flow.contract)
    assert drill_rows(flow) == 0


def test_an_instance_that_is_not_healthy_is_refused(flow: Flow) -> None:
    before = drill_rows(flow)
    flow.dagster.stop_sensor("flights_streams")
    try:
        done = lakehouse("drill", "kill-trino", timeout=600, check=False)
    finally:
        flow.dagster.start_sensor("flights_streams")
    assert done.returncode == 2
    assert "the sensor flights_streams is switched off" in done.stderr
    assert drill_rows(flow) == before


def test_an_interrupted_stall_is_taken_back(flow: Flow) -> None:
    """SIGTERM in the middle: the engine moves again, and the drill's rows are gone."""
    status = json.loads(lakehouse("status", "--json", check=False).stdout)
    pid = next(row["pid"] for row in status["services"] if row["service"] == "minio")
    drill = subprocess.Popen(
        [str(Path(sys.executable).parent / "lakehouse"), "drill", "stall-minio"],
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 300
        while psutil.Process(pid).status() != psutil.STATUS_STOPPED:
            assert drill.poll() is None, drill.communicate()[1]
            assert time.monotonic() < deadline, "minio was never stopped"
            time.sleep(0.5)
        assert drill_rows(flow) > 0
        drill.send_signal(signal.SIGTERM)
        _, said = drill.communicate(timeout=120)
    finally:
        drill.kill()
        psutil.Process(pid).resume()
    assert drill.returncode == 130
    assert "taken back" in said
    assert psutil.Process(pid).status() != psutil.STATUS_STOPPED
    assert drill_rows(flow) == 0
    code, result = drilled("kill-publisher")
    assert code == 0, result["problems"]


def test_the_disk_of_others_is_not_filled(flow: Flow) -> None:
    done = lakehouse("drill", "disk-full", timeout=120, check=False)
    assert done.returncode == 2
    assert "is not on a file system of its own" in done.stderr
    assert not (flow.data / "ballast").exists()
