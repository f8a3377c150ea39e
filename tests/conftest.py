"""One running instance for all tests that need real engines.

It has its own ports and its own data folder, so that a demo running on the same machine is not disturbed.
The engines are started once per test session and stopped at its end. ``LAKEHOUSE_TEST_KEEP=1`` leaves them
running and reuses them at the next session, which is what one wants while writing a test.
``LAKEHOUSE_TEST_KEEP=as-is`` asks nothing of them: they run the code with which they were started.
``LAKEHOUSE_TEST_DATA`` and ``LAKEHOUSE_TEST_PORTS`` name another instance's folder and port offset.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

PROJECT = Path(__file__).resolve().parent.parent
KEEP = os.environ.get("LAKEHOUSE_TEST_KEEP", "")

# How long an example takes says how busy the machine is.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# Set before anything is imported: the product and its child processes read their settings from here.
os.environ["LAKEHOUSE_DATA"] = os.environ.get("LAKEHOUSE_TEST_DATA", str(PROJECT / ".lakehouse-test"))
os.environ["LAKEHOUSE_PORT_OFFSET"] = os.environ.get("LAKEHOUSE_TEST_PORTS", "10000")


def lakehouse(*arguments: str, timeout: float = 2400, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the command-line interface as a user would; its output is shown when it fails."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lakehouse"), *arguments],
        cwd=PROJECT,
        text=True,
        capture_output=True,
        timeout=timeout,
    )
    if check and done.returncode != 0:
        said = f"{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
        pytest.fail(f"lakehouse {' '.join(arguments)} exited {done.returncode}\n{said}")
    return done


def wait_until(condition: Callable[[], object], what: str, seconds: float = 60.0, pause: float = 0.5) -> None:
    """Return when ``condition`` holds; the test fails when it does not within so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            pytest.fail(f"not within {seconds:.0f} s: {what}")
        time.sleep(pause)


@pytest.fixture(scope="session")
def instance() -> Iterator[Path]:
    """Every engine, started and ready; gives the instance's data folder."""
    data = Path(os.environ["LAKEHOUSE_DATA"])
    if KEEP == "as-is":
        yield data
        return
    if not KEEP:
        lakehouse("down", check=False, timeout=300)
        lakehouse("reset", "--yes", check=False, timeout=300)
    lakehouse("up")
    yield data
    if not KEEP:
        lakehouse("down", timeout=300)
