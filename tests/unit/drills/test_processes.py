"""Signals reach a whole family of real processes, and no one else's."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from lakehouse_dagster.drills import processes
from lakehouse_dagster.runtime.errors import RuntimeFailure
from lakehouse_dagster.runtime.settings import Settings
from lakehouse_dagster.runtime.supervision import MARKER, ProcessInfo, Supervisor

PARENT = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print("ready", flush=True)
time.sleep(60)
"""


@dataclass
class Known(Supervisor):
    """A supervisor that knows one process, without a daemon behind it."""

    settings: Settings
    pid_: int

    def info(self, name: str) -> ProcessInfo | None:
        return ProcessInfo(name, "RUNNING", self.pid_, 0.0, "") if name == "engine" else None


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Known]:
    environment = {**os.environ, MARKER: "engine", "LAKEHOUSE_DATA": str(tmp_path)}
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "ready\n"
    everyone = [psutil.Process(parent.pid), *psutil.Process(parent.pid).children(recursive=True)]
    assert len(everyone) == 3
    settings = Settings(project=tmp_path, home=tmp_path, data=tmp_path)
    yield Known(settings, parent.pid)
    for process in everyone:
        if process.is_running():
            process.kill()
    parent.wait(10)


def wait_for_death(killed: list[psutil.Process]) -> None:
    """SIGKILL is only delivered when it returns: a process keeps its environment until it has ended."""
    deadline = time.monotonic() + 10
    while any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in killed):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def states(family: list[psutil.Process]) -> set[str]:
    time.sleep(0.2)
    return {process.status() for process in family}


def test_killing_leaves_nothing(supervisor: Known) -> None:
    family = processes.family(supervisor, "engine")
    assert len(family) == 3
    assert family[0].pid == supervisor.pid_
    pid, gone = processes.kill(supervisor, "engine")
    assert pid == supervisor.pid_
    assert abs(gone - time.time()) < 5
    assert not any(psutil.pid_exists(process.pid) for process in family)


def test_orphans_of_the_service_are_found_by_their_mark(supervisor: Known) -> None:
    family = processes.family(supervisor, "engine")
    orphan = family[-1]
    for process in family[:-1]:
        process.kill()
    wait_for_death(family[:-1])
    stranger = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"],
        env={**os.environ, MARKER: "engine", "LAKEHOUSE_DATA": "/another/instance"},
    )
    try:
        supervisor.pid_ = orphan.pid
        assert [process.pid for process in processes.family(supervisor, "engine")] == [orphan.pid]
    finally:
        stranger.kill()
        stranger.wait()


def test_what_was_stopped_is_continued(supervisor: Known) -> None:
    stopped = processes.pause(supervisor, "engine")
    assert len(stopped) == 3
    assert states(stopped) == {psutil.STATUS_STOPPED}
    family = list(stopped)
    processes.carry_on(stopped)
    assert stopped == []
    assert psutil.STATUS_STOPPED not in states(family)
    processes.carry_on(stopped)  # again is no error


def test_a_service_that_does_not_run_is_told(supervisor: Known) -> None:
    with pytest.raises(RuntimeFailure, match="other does not run"):
        processes.family(supervisor, "other")
