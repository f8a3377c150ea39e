"""The supervisor daemon of one instance: its configuration, its life, and the processes below it.

``supervisord`` (PyPI ``supervisor``) starts, restarts, stops and logs the processes; this module only writes
its configuration and speaks to it over a unix socket that nobody else can open.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import resource
import shlex
import subprocess
import sys
import threading
import time
import xmlrpc.client
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from supervisor.xmlrpc import SupervisorTransport

from lakehouse_dagster.lineage.settings import handed_on
from lakehouse_dagster.runtime.errors import RuntimeFailure
from lakehouse_dagster.runtime.services.base import Program, write_private
from lakehouse_dagster.runtime.settings import Settings

LOG_BYTES = 20_000_000
"""Size at which a service's log is rotated (bytes)."""

LOG_BACKUPS = 3
"""Rotated logs kept per service."""

START_SECONDS = 5
"""A process that dies sooner than this counts as a failed attempt: the next one waits longer."""

START_RETRIES = 1_000_000
"""Attempts until the supervisor would give up for good. An engine that dies must always come back, and the
pause between attempts grows by one second each time: this never ends, and never becomes a busy loop."""

MARKER = "LAKEHOUSE_SERVICE"
"""Environment variable that names the service in each of its processes; tells our processes from others'."""

RUNNING_STATES = frozenset({"STARTING", "RUNNING", "BACKOFF", "STOPPING"})


@dataclass(frozen=True)
class ProcessInfo:
    """What the supervisor knows about one service."""

    name: str
    state: str
    pid: int
    started: float
    error: str

    @property
    def active(self) -> bool:
        """Whether the supervisor keeps it running (or is about to start or stop it)."""
        return self.state in RUNNING_STATES


class Supervisor:
    """Control of this instance's ``supervisord``."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._socket = settings.sockets / "supervisor.sock"
        self._folder = settings.run / "supervisor"
        self._config = self._folder / "supervisord.conf"
        self._pid_file = self._folder / "supervisord.pid"
        self._reload = threading.Lock()

    # -- the daemon ------------------------------------------------------------------------------------------

    def pid(self) -> int | None:
        """Return the pid of the running daemon, or ``None``; a stale pid file is not believed."""
        try:
            pid = int(self._pid_file.read_text(encoding="ascii"))
            if str(self._config) in psutil.Process(pid).cmdline():
                return pid
        except (OSError, ValueError, psutil.Error):
            pass
        return None

    def start_daemon(self) -> None:
        """Start ``supervisord`` when it does not run, with a clean environment, and wait until it answers."""
        if self.pid() is not None:
            try:
                self._call("supervisor.getState")
            except RuntimeFailure as failure:
                raise RuntimeFailure(
                    f"supervisord (pid {self.pid()}) runs but does not answer on {self._socket}",
                    "`lakehouse down`, then `lakehouse up`",
                ) from failure
            return
        private_folder(self.settings.sockets)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._socket.unlink(missing_ok=True)
        self._pid_file.unlink(missing_ok=True)
        for old in self._folder.glob("*.program.conf"):
            old.unlink()
        write_private(self._config, self._render())
        done = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._config)],
            env=base_environment(self.settings),
            cwd=self.settings.data,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode:
            raise RuntimeFailure(
                f"supervisord did not start: {(done.stderr or done.stdout).strip()}",
                f"see {self.settings.logs / 'supervisord.log'}",
            )
        deadline = time.monotonic() + 30
        while True:
            try:
                self._call("supervisor.getState")
            except RuntimeFailure:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return

    def stop_daemon(self, timeout: float = 120.0) -> None:
        """End ``supervisord`` and with it whatever still runs below it; wait until it is gone (seconds)."""
        pid = self.pid()
        if pid is None:
            return
        process = psutil.Process(pid)
        try:
            self._call("supervisor.shutdown")
        except RuntimeFailure:
            process.terminate()  # its socket is gone; the signal asks for the same
        try:
            process.wait(timeout)
        except psutil.TimeoutExpired:
            raise RuntimeFailure(
                f"supervisord (pid {pid}) did not end within {timeout:.0f} s",
                f"see {self.settings.logs / 'supervisord.log'}",
            ) from None

    def _render(self) -> str:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        files = 65_536 if hard == resource.RLIM_INFINITY else min(65_536, hard)
        user = "user=root\n" if os.getuid() == 0 else ""
        return (
            f"[unix_http_server]\nfile={_ini(self._socket)}\nchmod=0600\n\n"
            f"[supervisord]\n{user}"
            f"logfile={_ini(self.settings.logs / 'supervisord.log')}\nlogfile_maxbytes=5000000\n"
            f"logfile_backups=2\nloglevel=info\npidfile={_ini(self._pid_file)}\nnodaemon=false\numask=077\n"
            f"minfds={files}\nminprocs=1\nstrip_ansi=false\n\n"
            "[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n\n"
            "[include]\nfiles = *.program.conf\n"
        )

    # -- the services ----------------------------------------------------------------------------------------

    def infos(self) -> dict[str, ProcessInfo]:
        """Return what runs or ran, by name; empty when the daemon is down."""
        if self.pid() is None:
            return {}
        return {item["name"]: _info(item) for item in self._call("supervisor.getAllProcessInfo")}

    def info(self, name: str) -> ProcessInfo | None:
        """Return the state of one service, ``None`` when the supervisor does not know it."""
        return self.infos().get(name)

    def apply(self, name: str, program: Program, digest: str) -> None:
        """Make ``program`` what service ``name`` runs and start it, unless exactly that already runs.

        A running service whose command, environment or configuration (``digest``) changed is restarted.
        """
        with self._reload:
            path = self._folder / f"{name}.program.conf"
            write_private(path, render_program(self.settings, name, program, digest))
            ((added, changed, _removed),) = self._call("supervisor.reloadConfig")
            if name in changed:
                self._stop(name)
                self._call("supervisor.removeProcessGroup", name)
            if name in changed or name in added:
                self._call("supervisor.addProcessGroup", name)
            info = self.info(name)
            if info is not None and not info.active:
                self._call("supervisor.startProcess", name, False)

    def stop(self, name: str) -> bool:
        """Stop one service and wait until its process has ended; return whether it ran."""
        info = self.info(name)
        if info is None or not info.active:
            return False
        self._stop(name)
        return True

    def _stop(self, name: str) -> None:
        with contextlib.suppress(_NotRunning):
            self._call("supervisor.stopProcess", name, True)

    def _call(self, method: str, *arguments: Any) -> Any:
        transport = SupervisorTransport(None, None, serverurl=f"unix://{self._socket}")
        proxy = xmlrpc.client.ServerProxy("http://localhost", transport=transport, allow_none=True)
        try:
            return getattr(proxy, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == _FAULT_NOT_RUNNING:
                raise _NotRunning(fault.faultString) from fault
            raise RuntimeFailure(f"supervisord refused {method}{arguments}: {fault.faultString}") from fault
        except (OSError, xmlrpc.client.Error, http.client.HTTPException) as error:
            raise RuntimeFailure(f"supervisord does not answer on {self._socket}: {error}") from error
        finally:
            transport.close()


_FAULT_NOT_RUNNING = 70  # supervisor.xmlrpc.Faults.NOT_RUNNING


class _NotRunning(RuntimeFailure):
    pass


def render_program(settings: Settings, name: str, program: Program, digest: str) -> str:
    """Return the ``[program:NAME]`` section. It holds passwords, so the file must be private."""
    environment = {
        **base_environment(settings),
        **program.environment,
        MARKER: name,
        "LAKEHOUSE_CONFIG": digest,
    }
    log = settings.logs / f"{name}.log"  # escaped twice below, because supervisor expands this value twice
    return (
        f"[program:{name}]\n"
        f"command={_ini(shlex.join(program.command))}\n"
        f"directory={_ini(program.directory)}\n"
        f"environment={_environment(environment)}\n"
        "autostart=false\nautorestart=true\n"
        f"startsecs={START_SECONDS}\nstartretries={START_RETRIES}\n"
        f"stopsignal={program.stop_signal}\nstopwaitsecs={program.stop_seconds}\n"
        "stopasgroup=true\nkillasgroup=true\n"
        f"redirect_stderr=true\nstdout_logfile={_ini(_ini(log))}\n"
        f"stdout_logfile_maxbytes={LOG_BYTES}\nstdout_logfile_backups={LOG_BACKUPS}\n"
    )


def base_environment(settings: Settings) -> dict[str, str]:
    """Return the environment every service starts from: chosen here, not inherited from who typed ``up``."""
    scripts = Path(sys.executable).parent
    return {
        "PATH": f"{scripts}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(Path.home()),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        **settings.environment(),
        **handed_on(),
    }


def private_folder(path: Path) -> None:
    """Make sure ``path`` is a folder of ours that nobody else can enter.

    Raises ``RuntimeFailure`` when someone else made it first (the parent is writable to everybody).
    """
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    status = path.lstat()
    if path.is_symlink() or not path.is_dir() or status.st_uid != os.getuid():
        raise RuntimeFailure(f"{path} exists but is not a folder of yours", f"remove {path}")
    if status.st_mode & 0o077:
        path.chmod(0o700)


def orphans(settings: Settings) -> Iterator[psutil.Process]:
    """Yield processes of this instance that no supervisor watches (left by a supervisor that was killed)."""
    daemon = Supervisor(settings).pid()
    watched = set()
    if daemon is not None:
        with contextlib.suppress(psutil.Error):
            watched = {child.pid for child in psutil.Process(daemon).children(recursive=True)}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid in watched or process.pid == os.getpid():
                continue
            environment = process.environ()
            if MARKER in environment and environment.get("LAKEHOUSE_DATA") == str(settings.data):
                yield process


def end_orphans(settings: Settings, timeout: float = 30.0) -> list[str]:
    """End this instance's unwatched processes; return their services' names."""
    found = list(orphans(settings))
    names = []
    for process in found:
        with contextlib.suppress(psutil.Error):
            names.append(process.environ().get(MARKER, process.name()))
            process.terminate()
    _, alive = psutil.wait_procs(found, timeout)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, 10)
    return sorted(set(names))


def _info(item: Mapping[str, Any]) -> ProcessInfo:
    return ProcessInfo(
        name=str(item["name"]),
        state=str(item["statename"]),
        pid=int(item["pid"]),
        started=float(item["start"]),
        error=str(item["spawnerr"]),
    )


def _ini(value: object) -> str:
    """Escape a value for supervisor's configuration file."""
    text = str(value)
    if "\n" in text or " ;" in text or " #" in text:
        raise RuntimeFailure(
            f"{text!r} cannot stand in supervisor's configuration",
            "choose a path without line breaks, ' ;' or ' #'",
        )
    return text.replace("%", "%%")


def _environment(values: Mapping[str, str]) -> str:
    """Render ``KEY="value",...`` as supervisor's own parser reads it (it knows no escape inside quotes)."""
    parts = []
    for key, value in sorted(values.items()):
        quote = '"' if '"' not in value else "'"
        if quote in value or value.strip("'\"") != value:
            raise RuntimeFailure(f"the value of {key} mixes or ends with quotes", "choose another value")
        parts.append(f"{key}={quote}{_ini(value)}{quote}")
    return ",".join(parts)
