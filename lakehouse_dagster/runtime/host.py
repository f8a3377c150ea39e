"""What the machine offers: ports, disk, memory, programs. Each problem comes with its fix."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from lakehouse_dagster.runtime.ports import HOST

GIB = 1024**3

MIN_FREE_DISK = 3 * GIB
"""Bytes that must be free where the data lives before anything is started."""

MIN_MEMORY = 8 * GIB
"""Bytes of memory the whole set may need."""


OUTGOING_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")


@dataclass(frozen=True)
class Finding:
    """One prerequisite: whether it is met, what was found, and the fix when it is not."""

    check: str
    ok: bool
    found: str
    fix: str = ""
    required: bool = True
    pid: int | None = None
    """The process that stands in the way, when it is known."""


def port_finding(service: str, port: int) -> Finding | None:
    """Return a finding when ``port`` cannot be bound on loopback, ``None`` when it is free."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # ignore connections in TIME_WAIT
        try:
            probe.bind((HOST, port))
        except OSError as error:
            pid, holder = _holder(port)
            return Finding(
                check=f"port {port} ({service})",
                ok=False,
                found=f"cannot be used: {error.strerror}; {holder}",
                pid=pid,
                fix="stop that process, or move this instance: LAKEHOUSE_PORT_OFFSET=10000 lakehouse up",
            )
    return None


def outgoing_ports(text: str | None = None) -> range:
    """Return the ports that the kernel gives to outgoing connections; ``text`` is its own file's.

    A server's port among them can be taken at any moment (ip-sysctl.rst, ``ip_local_port_range``).
    """
    if text is None:
        try:
            text = OUTGOING_PORTS.read_text(encoding="ascii")
        except OSError:
            return range(0)
    low, high = map(int, text.split())
    return range(low, high + 1)


def _holder(port: int) -> tuple[int | None, str]:
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections(kind="tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                if connection.pid is None:
                    break
                with contextlib.suppress(psutil.Error):
                    command = " ".join(psutil.Process(connection.pid).cmdline())[:120]
                    return connection.pid, f"held by pid {connection.pid}: {command}"
                return connection.pid, f"held by pid {connection.pid}"
    return None, "held by a process that this user cannot see"


def disk_findings(folders: Iterable[tuple[str, Path, int]]) -> list[Finding]:
    """Check for each (purpose, folder, bytes needed) that so much is free where the folder is or will be."""
    findings = []
    for purpose, folder, needed in folders:
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(existing).free
        writable = os.access(existing, os.W_OK | os.X_OK)
        findings.append(
            Finding(
                check=f"disk for {purpose}",
                ok=free >= needed and writable,
                found=f"{folder}: {free / GIB:.1f} GiB free, {needed / GIB:.0f} needed"
                + ("" if writable else ", not writable"),
                fix=f"free some space on the file system of {existing}, or choose another folder"
                if writable
                else f"make {existing} writable for you, or choose another folder",
            )
        )
    return findings


def memory_finding(in_use: int = 0) -> Finding:
    """Check that the whole set fits; ``in_use`` bytes of it already run."""
    memory = psutil.virtual_memory()
    available = memory.available + in_use
    return Finding(
        check="memory",
        ok=available >= MIN_MEMORY,
        found=f"{available / GIB:.1f} GiB available of {memory.total / GIB:.1f}, the whole set takes up to "
        f"{MIN_MEMORY / GIB:.0f}",
        fix="end other programs, or start only what you need: lakehouse up NAME...",
        required=False,
    )
