"""How the installation shows its progress: a live table on a terminal, one line per change elsewhere."""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

State = Literal["waiting", "installing", "ready", "present", "failed"]
"""`ready` was installed now, `present` was there before."""

_MARKS: dict[State, tuple[str, str]] = {
    "waiting": ("·", "dim"),
    "installing": ("…", "yellow"),
    "ready": ("✓", "green"),
    "present": ("✓", "green"),
    "failed": ("✗", "red"),
}


@dataclass(frozen=True)
class Step:
    """What is to be said about one engine: its state, a detail, and the seconds it has taken so far."""

    name: str
    title: str
    version: str
    state: State
    detail: str = ""
    seconds: float = 0.0


class Progress(Protocol):
    """Called at every change, from several threads."""

    def __call__(self, step: Step) -> None:
        """Take note of a step."""

    def notice(self, text: str) -> None:
        """Take note of a sentence about the installation as a whole."""


class Silent:
    """Shows nothing."""

    def __call__(self, step: Step) -> None:
        """Ignore the step."""

    def notice(self, text: str) -> None:
        """Ignore the sentence."""


class PlainProgress:
    """One line per change, for logs and pipes; what was present already is not worth a line."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()

    def __call__(self, step: Step) -> None:
        """Print the step as a line."""
        if step.state in ("waiting", "present"):
            return
        seconds = f" ({step.seconds:.0f} s)" if step.state in ("ready", "failed") else ""
        detail = f": {step.detail}" if step.detail else ""
        with self._lock:
            self._console.print(
                Text(f"install {step.name} {step.version} {step.state}{detail}{seconds}"), soft_wrap=True
            )

    def notice(self, text: str) -> None:
        """Print the sentence as a line."""
        with self._lock:
            self._console.print(Text(text), soft_wrap=True)


class LiveProgress(AbstractContextManager["LiveProgress"]):
    """A table with one line per engine, kept up to date; use it as a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._steps: dict[str, tuple[Step, float]] = {}
        self._notice = ""
        self._live = Live(console=console, get_renderable=self._table, refresh_per_second=4, transient=False)

    def __enter__(self) -> Self:
        """Start drawing."""
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Draw a last time and stop."""
        with self._lock:
            self._notice = ""
        self._live.stop()

    def __call__(self, step: Step) -> None:
        """Show the step in its engine's line."""
        with self._lock:
            self._steps[step.name] = (step, time.monotonic())

    def notice(self, text: str) -> None:
        """Show the sentence below the table."""
        with self._lock:
            self._notice = text

    def _table(self) -> Table:
        table = Table(
            box=None, show_header=False, pad_edge=False, caption=self._notice or None, caption_justify="left"
        )
        with self._lock:
            steps = list(self._steps.values())
        for step, since in steps:
            mark, style = _MARKS[step.state]
            running = step.state == "installing"
            seconds = step.seconds + (time.monotonic() - since if running else 0.0)
            table.add_row(
                Spinner("dots", style=style) if running else Text(mark, style=style),
                step.title,
                Text(step.version[:24], style="dim"),
                Text(step.detail or step.state, style=style if step.state == "failed" else ""),
                Text(f"{seconds:.0f} s" if seconds >= 1 else "", style="dim"),
            )
        return table
