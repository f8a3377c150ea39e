"""The file of events: one JSON object per line, written by several processes, bounded in size."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from filelock import FileLock

FILE: Final = "events.jsonl"
MAX_BYTES: Final = 16 * 1024 * 1024
"""Size in bytes at which a new file is begun."""
KEPT: Final = 7
"""Older files that are kept: ``events.1.jsonl`` is the newest of them."""
LOCK_SECONDS: Final = 5.0


class EventFile:
    """Appends lines to ``events.jsonl`` in a folder that is made when needed.

    The client's own file transport neither begins a new file nor keeps apart what two processes write.
    """

    def __init__(self, folder: Path, *, max_bytes: int = MAX_BYTES, kept: int = KEPT) -> None:
        self.folder = folder
        self.path = folder / FILE
        self._max_bytes = max_bytes
        self._kept = kept

    def write(self, line: str) -> None:
        """Append one line.

        Raises:
            OSError: It cannot be written.
            filelock.Timeout: Another process has held the lock for five seconds.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        data = line.encode() + b"\n"
        with FileLock(self.folder / ".lock", timeout=LOCK_SECONDS):
            if self._size() + len(data) > self._max_bytes:
                self._begin_new()
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(file, "ab", buffering=0) as stream:
                stream.write(data)

    def files(self) -> list[Path]:
        """The files that there are, oldest first."""
        older = [self._older(number) for number in range(self._kept, 0, -1)]
        return [path for path in (*older, self.path) if path.exists()]

    def _size(self) -> int:
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def _begin_new(self) -> None:
        if not self.path.exists():
            return
        for number in range(self._kept - 1, 0, -1):
            if self._older(number).exists():
                self._older(number).replace(self._older(number + 1))
        self.path.replace(self._older(1))

    def _older(self, number: int) -> Path:
        return self.folder / f"events.{number}.jsonl"
