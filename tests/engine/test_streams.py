"""Starting streams, on the real PostgreSQL: one starter at a time, and a killed one lets go."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from lakehouse_dagster.runtime.endpoints import load_endpoints
from lakehouse_dagster.streams.lock import starter_lock

pytestmark = pytest.mark.engine

HOLD = """
import sys, time
from lakehouse_dagster.runtime.endpoints import load_endpoints
from lakehouse_dagster.streams.lock import starter_lock
with starter_lock(load_endpoints().postgres, sys.argv[1]) as mine:
    print(mine, flush=True)
    time.sleep(120)
"""


def test_a_stream_has_one_starter_at_a_time(instance: Path) -> None:
    postgres = load_endpoints().postgres
    with starter_lock(postgres, "test/lake") as first:
        assert first
        with starter_lock(postgres, "test/lake") as second, starter_lock(postgres, "test/serving") as other:
            assert not second
            assert other
    with starter_lock(postgres, "test/lake") as again:
        assert again


def test_a_starter_that_is_killed_lets_go(instance: Path) -> None:
    postgres = load_endpoints().postgres
    holder = subprocess.Popen([sys.executable, "-c", HOLD, "test/killed"], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == "True"
        with starter_lock(postgres, "test/killed") as mine:
            assert not mine
    finally:
        holder.kill()
        holder.wait()
    for _ in range(50):
        with starter_lock(postgres, "test/killed") as mine:
            if mine:
                return
        time.sleep(0.1)
    pytest.fail("the killed starter still holds its lock after five seconds")
