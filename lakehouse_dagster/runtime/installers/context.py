"""What an installer is given: where to put things, where to keep downloads, and how to run a command."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential_jitter,
)

from lakehouse_dagster.runtime.errors import RuntimeFailure

_ATTEMPTS = 4
_TAIL_BYTES = 8192


class ProvisionError(RuntimeFailure):
    """An engine could not be installed; `log` is the file with the whole output, if there is one."""

    def __init__(self, engine: str, problem: str, fix: str, log: Path | None = None) -> None:
        where = f" (log: {log})" if log else ""
        super().__init__(f"{engine}: {problem}{where}", fix)
        self.engine = engine
        self.log = log


class CommandFailed(Exception):  # noqa: N818 - caught and turned into a ProvisionError
    """A command ended with a code other than 0; `tail` is the end of its output."""

    def __init__(self, command: Sequence[str], code: int, tail: str) -> None:
        super().__init__(f"{Path(command[0]).name} ended with code {code}")
        self.code = code
        self.tail = tail


class Cancelled(Exception):  # noqa: N818 - not an error of the installation
    """The user interrupted the installation, or another engine's failure ended it."""


@dataclass
class Commands:
    """The commands that are running, so that an interruption ends them all."""

    cancelled: threading.Event = field(default_factory=threading.Event)
    _running: set[subprocess.Popen[bytes]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(
        self, command: Sequence[str], *, cwd: Path | None, env: Mapping[str, str], output: Path
    ) -> subprocess.Popen[bytes]:
        """Start a command that appends its output to a file and ends when this process's thread does."""
        with self._lock:
            if self.cancelled.is_set():
                raise Cancelled
            with output.open("ab") as out:
                process = subprocess.Popen(
                    [*_die_with_parent(), *command],
                    cwd=cwd,
                    env=dict(env),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            self._running.add(process)
            return process

    def ended(self, process: subprocess.Popen[bytes]) -> None:
        """Forget a command that has ended."""
        with self._lock:
            self._running.discard(process)

    def cancel(self) -> None:
        """End every running command (its whole process group) and let no further one start."""
        self.cancelled.set()
        with self._lock:
            for process in self._running:
                _signal_group(process, signal.SIGTERM)


@dataclass(frozen=True)
class Context:
    """The surroundings of one installation."""

    name: str
    home: Path
    target: Path
    project: Path
    log: Path
    say: Callable[[str], None]
    needs: Mapping[str, Path]
    """Roots of the installations this one needs, by name."""
    commands: Commands

    @property
    def cache(self) -> Path:
        """Downloads and build caches, shared by all engines of this home."""
        return self.home / "cache"

    def fail(self, problem: str, fix: str) -> ProvisionError:
        """Return the error to raise, naming this engine and its log."""
        return ProvisionError(self.name, problem, fix, self.log)

    def run(
        self,
        *command: str | Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float,
        network: bool = False,
    ) -> str:
        """Run a command, its output going to the log, and return what it printed.

        `timeout` is in seconds. With `network`, a failure is retried with growing pauses: registries hiccup.
        Raises `CommandFailed`, or `Cancelled` when the installation was interrupted.
        """
        if not network:
            return self._run_once([str(word) for word in command], cwd, env, timeout)
        retrying = Retrying(
            retry=retry_if_exception_type(CommandFailed),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_exponential_jitter(multiplier=2, max=20),
            sleep=self._sleep,
            before_sleep=self._before_retry,
            reraise=True,
        )
        return retrying(self._run_once, [str(word) for word in command], cwd, env, timeout)

    def _before_retry(self, state: RetryCallState) -> None:
        self.say(f"failed, trying again ({state.attempt_number + 1} of {_ATTEMPTS})")

    def _sleep(self, seconds: float) -> None:
        if self.commands.cancelled.wait(seconds):
            raise Cancelled

    def _run_once(
        self, command: list[str], cwd: Path | None, env: Mapping[str, str] | None, timeout: float
    ) -> str:
        with self.log.open("ab") as out:
            out.write(f"\n$ {' '.join(command)}\n".encode())
        begin = self.log.stat().st_size
        process = self.commands.start(command, cwd=cwd, env={**os.environ, **(env or {})}, output=self.log)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            _signal_group(process, signal.SIGKILL)
            process.wait()
            with self.log.open("ab") as out:
                out.write(f"\nstopped after {timeout:.0f} s\n".encode())
            code = 124
        finally:
            self.commands.ended(process)
        if self.commands.cancelled.is_set():
            raise Cancelled
        with self.log.open("rb") as source:
            source.seek(begin)
            printed = source.read().decode(errors="replace")
        if code:
            raise CommandFailed(command, code, printed[-_TAIL_BYTES:])
        return printed


def _die_with_parent() -> list[str]:
    """A prefix that ends the command when we are killed: nobody would wait for what it writes."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "SIGTERM", "--"] if setpriv else []


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
    if number is signal.SIGTERM:
        threading.Thread(target=_kill_later, args=(process,), daemon=True).start()


def _kill_later(process: subprocess.Popen[bytes]) -> None:
    time.sleep(5)
    if process.poll() is None:
        _signal_group(process, signal.SIGKILL)


def link_or_copy(source: Path, target: Path) -> None:
    """Hard-link a file, or copy it where the file systems differ; `target`'s folder is made."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
