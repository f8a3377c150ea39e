"""Starting only where there is room, with processes of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from lakehouse_dagster.runtime import room

MUCH = str(10**9)


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-I", "-S", room.__file__, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_with_room_it_becomes_the_command(tmp_path: Path) -> None:
    process = start(str(tmp_path), "1", sys.executable, "-c", "import os; print(os.getpid())")
    said, _ = process.communicate(timeout=30)
    assert int(said) == process.pid
    assert process.returncode == 0


def test_without_room_it_says_so_and_starts_nothing(tmp_path: Path) -> None:
    made = tmp_path / "made"
    process = start(str(tmp_path), MUCH, "/usr/bin/touch", str(made))
    assert process.stdout is not None
    line = process.stdout.readline()
    assert f"free in {tmp_path}, {MUCH} are needed" in line
    time.sleep(0.2)
    assert process.poll() is None
    assert not made.exists()
    process.terminate()
    assert process.wait(10) == -15
    process.stdout.close()


def test_free_space_is_that_of_the_folder(tmp_path: Path) -> None:
    found = os.statvfs(tmp_path)
    assert abs(room.free_mebibytes(str(tmp_path)) - found.f_bavail * found.f_frsize // 2**20) < 1024
