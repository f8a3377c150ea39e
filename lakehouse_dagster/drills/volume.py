"""A small file system of its own with an instance on it, for the drill that fills the disk.

``make drill-disk`` runs it. Made of an image file and a loop device, so it needs root; everything is removed
again at the end. The instance runs beside others, with its own ports.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from lakehouse_dagster.demo import wait_for_streams
from lakehouse_dagster.drills.commands import REFUSED, results_file
from lakehouse_dagster.drills.result import append, read
from lakehouse_dagster.engines.dagster_api import DagsterApi
from lakehouse_dagster.runtime.endpoints import load_endpoints
from lakehouse_dagster.runtime.settings import Settings

SIZE = 8 * 1024**3
"""Bytes of the file system: what an instance demands free at its start, and as much again. The image file is
sparse, so the disk below gives only what is written."""
PORT_OFFSET = 5_000
"""Clear of the default instance, of the tests' (10,000), and of ports of outgoing connections."""
LAKEHOUSE = Path(sys.executable).parent / "lakehouse"


@contextmanager
def volume(size: int = SIZE) -> Iterator[Path]:
    """Make and mount an ext4 file system of ``size`` bytes; give its folder; remove it again.

    Raises ``subprocess.CalledProcessError`` when the machine does not allow it.
    """
    with tempfile.TemporaryDirectory(prefix="lakehouse-volume-") as folder:
        image, mount = Path(folder) / "image", Path(folder) / "mount"
        Path(folder).chmod(0o711)  # PostgreSQL's own user has to pass
        mount.mkdir()
        with image.open("wb") as file:
            file.truncate(size)
        # Nothing is set aside for root: a full disk is to be full for everybody.
        _run("mkfs.ext4", "-q", "-F", "-m", "0", str(image))
        _run("mount", "-o", "loop", str(image), str(mount))
        try:
            mount.chmod(0o711)
            yield mount
        finally:
            # Lazily: a file that somebody still holds must not leave the loop device behind for ever.
            _run("umount", "--lazy", str(mount))


def main() -> int:
    """Make the file system and an instance on it with a day of flights, drill; returns the exit code."""
    if os.getuid() != 0:
        typer.echo("error: a file system can only be mounted by root", err=True)
        return REFUSED
    signal.signal(signal.SIGTERM, _interrupt)
    home = Settings.load()
    with volume() as mount:
        environment = {
            **os.environ,
            "LAKEHOUSE_DATA": str(mount / "data"),
            "LAKEHOUSE_PORT_OFFSET": str(PORT_OFFSET),
        }
        settings = Settings.load(environment)

        def lakehouse(*arguments: str) -> int:
            return subprocess.run([str(LAKEHOUSE), *arguments], env=environment, check=False).returncode

        try:
            for step in (("up",), ("replay", "flights", "--reference-only")):
                if lakehouse(*step) != 0:
                    return REFUSED
            wait_for_streams(DagsterApi(load_endpoints(settings).dagster), typer.echo)
            if lakehouse("replay", "flights") != 0:
                return REFUSED
            code = lakehouse("drill", "disk-full")
            for result in read(results_file(settings)):
                append(results_file(home), result)
            return code
        finally:
            lakehouse("down")


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


def _interrupt(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
