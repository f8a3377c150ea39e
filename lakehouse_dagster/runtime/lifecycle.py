"""Bringing an instance up and down: in the order of dependencies, never half and never twice at a time."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

from filelock import FileLock, Timeout
from tenacity import Retrying, stop_after_attempt, wait_fixed

from lakehouse_dagster.runtime import host, provision, services
from lakehouse_dagster.runtime.errors import RuntimeFailure
from lakehouse_dagster.runtime.prerequisites import install_prerequisites, missing_prerequisites
from lakehouse_dagster.runtime.progress import Progress
from lakehouse_dagster.runtime.secrets import create_secrets, load_secrets
from lakehouse_dagster.runtime.services.base import Instance, Rendering, Service, remove_tree, write_private
from lakehouse_dagster.runtime.settings import Settings
from lakehouse_dagster.runtime.supervision import Supervisor, end_orphans

PARALLEL_STARTS = 3
"""Services started at once. More would only compete for the processors of a small machine."""

ATTEMPTS = 3
"""Starts that may end in death before `up` calls the service failed."""

_KEPT_BY_RESET = frozenset({"lock", "lock.holder"})


@dataclass(frozen=True)
class Event:
    """Progress of one service: waiting, starting, ready, failed, skipped, stopping or stopped."""

    service: str
    state: str
    seconds: float = 0.0
    detail: str = ""


Report = Callable[[Event], None]


class StartFailure(RuntimeFailure):
    """Some services did not start; ``failures`` says why for each."""

    def __init__(self, failures: dict[str, str]) -> None:
        self.failures = failures
        problem = "\n".join(f"{name}: {text}" for name, text in failures.items())
        super().__init__(
            problem,
            "mend the cause and run `lakehouse up` again; `lakehouse status` shows what runs meanwhile",
        )


@contextmanager
def exclusive(settings: Settings, action: str) -> Iterator[None]:
    """Hold the instance for ``action``; raises ``RuntimeFailure`` at once when another command holds it."""
    prepare_folders(settings)
    holder = settings.data / "lock.holder"
    lock = FileLock(settings.data / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        with suppress(OSError, ValueError, KeyError):
            other = json.loads(holder.read_text(encoding="utf-8"))
            who = f"`lakehouse {other['action']}` (pid {other['pid']})"
            raise RuntimeFailure(
                f"{who} is at work on {settings.data}", "wait until it has finished, or end it"
            ) from None
        raise RuntimeFailure(
            f"another command is at work on {settings.data}", "wait until it has finished"
        ) from None
    try:
        write_private(holder, json.dumps({"action": action, "pid": os.getpid()}))
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def prepare_folders(settings: Settings) -> None:
    """Make the data folder and what is directly in it; raises ``RuntimeFailure`` when it cannot be used."""
    try:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Others may pass through (PostgreSQL's own user must), but not look around.
        settings.data.chmod(0o711)
        settings.logs.mkdir(mode=0o700, exist_ok=True)
        settings.run.mkdir(mode=0o711, exist_ok=True)
        settings.run.chmod(0o711)
    except OSError as error:
        raise RuntimeFailure(
            f"cannot use the data folder {settings.data}: {error.strerror}",
            "set LAKEHOUSE_DATA to a folder that you can write",
        ) from error


class Up:
    """One run of `lakehouse up`."""

    def __init__(
        self,
        settings: Settings,
        report: Report,
        say: Callable[[str], None],
        install_progress: Progress | None = None,
    ) -> None:
        self.settings = settings
        self.report = report
        self.say = say
        self.install_progress = install_progress
        self.supervisor = Supervisor(settings)
        self._stop = threading.Event()

    def run(self, names: Iterable[str] = ()) -> None:
        """Start ``names`` (all when empty) and what they depend on, and wait until each answers.

        Raises ``StartFailure`` for services that did not start, ``RuntimeFailure`` for what forbids to begin.
        """
        order = services.closure(names)
        with exclusive(self.settings, "up"):
            self._require_disk()
            self._install(order)
            instance = Instance(self.settings, create_secrets(self.settings.secrets_file))
            if self.supervisor.pid() is None:
                left = end_orphans(self.settings)
                if left:
                    self.say(f"ended processes that an earlier run left behind: {', '.join(left)}")
            self._require_ports(order)
            self.supervisor.start_daemon()
            self._start_all(instance, order)

    def _require_disk(self) -> None:
        findings = host.disk_findings(
            [
                ("data", self.settings.data, host.MIN_FREE_DISK),
                ("sockets", self.settings.sockets.parent, 1_000_000),
            ]
        )
        for finding in findings:
            if not finding.ok:
                raise RuntimeFailure(f"{finding.check}: {finding.found}", finding.fix)

    def _install(self, order: tuple[str, ...]) -> None:
        engines = {engine for name in order for engine in services.SERVICES[name].engines}
        # What the machine itself must have is asked for by service: PostgreSQL is no engine of the cache.
        lacking = missing_prerequisites(order)
        install_prerequisites(lacking, self.settings.logs / "prerequisites.log", self.say)
        if any(not _installed(self.settings.home, engine) for engine in engines):
            provision.provision(self.settings.home, sorted(engines), progress=self.install_progress)

    def _require_ports(self, order: Iterable[str]) -> None:
        infos = self.supervisor.infos()
        findings = []
        for name in order:
            if name in infos and infos[name].active:
                continue
            for port in services.SERVICES[name].ports:
                finding = host.port_finding(name, self.settings.port(port))
                if finding is not None:
                    findings.append(finding)
        if findings:
            raise RuntimeFailure(
                "\n".join(f"{finding.check} {finding.found}" for finding in findings), findings[0].fix
            )

    def _start_all(self, instance: Instance, order: tuple[str, ...]) -> None:
        for name in order:
            self.report(Event(name, "waiting"))
        # The slowest first, so that they do not all wait at the end.
        weight = {name: services.SERVICES[name].start_timeout for name in order}
        sorter = TopologicalSorter(services.graph(order))
        sorter.prepare()
        failures: dict[str, str] = {}
        waiting: list[str] = []
        running: dict[Future[None], str] = {}
        pool = ThreadPoolExecutor(PARALLEL_STARTS)
        try:
            while sorter.is_active():
                waiting = sorted([*waiting, *sorter.get_ready()], key=lambda name: -weight[name])
                while waiting and len(running) < PARALLEL_STARTS:
                    name = waiting.pop(0)
                    broken = [item for item in services.SERVICES[name].depends if item in failures]
                    if broken:
                        failures[name] = f"not started, because it needs {', '.join(broken)}"
                        self.report(Event(name, "skipped", detail=failures[name]))
                        sorter.done(name)
                        break  # what it held back has become ready too
                    running[pool.submit(self._start, instance, services.SERVICES[name])] = name
                if not running:
                    continue
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    name = running.pop(future)
                    error = future.exception()
                    if error is not None:
                        failures[name] = getattr(error, "problem", "") or f"{type(error).__name__}: {error}"
                        if fix := getattr(error, "fix", ""):
                            failures[name] += f"\n    fix: {fix}"
                    sorter.done(name)
        except BaseException:
            # Interrupted from the keyboard, for example: the threads must not go on behind the user's back.
            self._stop.set()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        if failures:
            raise StartFailure(failures)

    def _start(self, instance: Instance, service: Service) -> None:
        began = time.monotonic()
        self.report(Event(service.name, "starting"))
        try:
            rendering = Rendering(instance, service.name)
            program = service.program(rendering)
            self.supervisor.apply(service.name, program, rendering.digest)
            detail = self._await(instance, service, began)
            for attempt in Retrying(stop=stop_after_attempt(4), wait=wait_fixed(2), reraise=True):
                with attempt:
                    service.initialise(instance)
        except BaseException as error:
            # A service that failed to start is not left flapping behind the user's back.
            with suppress(RuntimeFailure):
                self.supervisor.stop(service.name)
            self.report(Event(service.name, "failed", time.monotonic() - began, str(error).splitlines()[0]))
            raise
        self.report(Event(service.name, "ready", time.monotonic() - began, detail))

    def _await(self, instance: Instance, service: Service, began: float) -> str:
        """Ask until the service answers; give up after its time, or when its process keeps dying."""
        deadline = began + service.start_timeout
        pids: set[int] = set()
        last = "no answer yet"
        log = instance.log(service.name)
        while True:
            if self._stop.is_set():
                raise RuntimeFailure("interrupted")
            info = self.supervisor.info(service.name)
            if info is None:
                raise RuntimeFailure(f"the supervisor lost {service.name}", "run `lakehouse up` again")
            if info.pid:
                pids.add(info.pid)
            if info.state == "FATAL" or len(pids) > ATTEMPTS or (len(pids) == ATTEMPTS and not info.pid):
                raise RuntimeFailure(
                    f"its process ended {max(len(pids), 1)} times{f' ({info.error})' if info.error else ''}"
                    f"{tail_text(log)}",
                    f"read {log}",
                )
            if info.pid and info.state in ("STARTING", "RUNNING"):
                try:
                    return service.probe(instance, info.started)
                except Exception as error:
                    last = f"{type(error).__name__}: {error}".splitlines()[0][:300]
            if time.monotonic() > deadline:
                raise RuntimeFailure(
                    f"does not answer after {service.start_timeout:.0f} s; last: {last}{tail_text(log)}",
                    f"read {log}",
                )
            # Asking costs the machine something too: often at first, then less so.
            self._stop.wait(min(0.3 + (time.monotonic() - began) / 20, 2.0))


class Down:
    """One run of `lakehouse down`."""

    def __init__(self, settings: Settings, report: Report, say: Callable[[str], None]) -> None:
        self.settings = settings
        self.report = report
        self.say = say
        self.supervisor = Supervisor(settings)

    def run(self, names: Iterable[str] = ()) -> None:
        """Stop ``names`` and what depends on them, dependants first; without names all and the supervisor."""
        chosen = tuple(names)
        order = services.dependants(chosen)
        if not self.settings.data.exists():
            return
        with exclusive(self.settings, "down"):
            self.stop(order)
            if not chosen:
                self.supervisor.stop_daemon()
                left = end_orphans(self.settings)
                if left:
                    self.say(f"ended processes that an earlier run left behind: {', '.join(left)}")
                with suppress(OSError):
                    remove_tree(self.settings.sockets)

    def stop(self, order: tuple[str, ...]) -> None:
        """Stop the services of ``order``: each as soon as nothing that depends on it runs any more."""
        if self.supervisor.pid() is None:
            return
        try:
            infos = self.supervisor.infos()
        except RuntimeFailure:
            return  # it does not answer: ending the daemon itself ends its processes too
        reverse: dict[str, list[str]] = {name: [] for name in order}
        for name in order:
            for dependency in services.SERVICES[name].depends:
                if dependency in reverse:
                    reverse[dependency].append(name)
        sorter = TopologicalSorter(reverse)
        sorter.prepare()
        with ThreadPoolExecutor(len(services.SERVICES)) as pool:
            running: dict[Future[None], str] = {}
            while sorter.is_active():
                for name in sorter.get_ready():
                    active = name in infos and infos[name].active
                    running[pool.submit(self._stop_one if active else _nothing, name)] = name
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    name = running.pop(future)
                    future.result()
                    sorter.done(name)

    def _stop_one(self, name: str) -> None:
        began = time.monotonic()
        self.report(Event(name, "stopping"))
        self.supervisor.stop(name)
        self.report(Event(name, "stopped", time.monotonic() - began))


def reset(settings: Settings, report: Report, say: Callable[[str], None]) -> None:
    """Stop the instance and delete everything in its data folder; the cache of installed engines stays.

    Raises ``RuntimeFailure`` when the folder does not look like an instance's: nothing is deleted then.
    """
    if not settings.data.exists():
        return
    known = {"logs", "run", "secrets.json"}
    if any(settings.data.iterdir()) and not known.intersection(path.name for path in settings.data.iterdir()):
        raise RuntimeFailure(
            f"{settings.data} does not look like an instance's data folder", "check LAKEHOUSE_DATA"
        )
    Down(settings, report, say).run()
    with exclusive(settings, "reset"):
        for path in settings.data.iterdir():
            if path.name not in _KEPT_BY_RESET:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()


def running_instance(settings: Settings) -> Instance:
    """Return the instance for asking its services; raises ``RuntimeFailure`` when it was never started."""
    return Instance(settings, load_secrets(settings.secrets_file))


def tail(path: Path, lines: int) -> list[str]:
    """Return the last ``lines`` lines of a log; nothing when it is not there."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return [line.rstrip("\n") for line in deque(file, maxlen=lines)]
    except FileNotFoundError:
        return []


def tail_text(path: Path) -> str:
    """Return the end of a log, indented, for an error message."""
    end = tail(path, 12)
    return "\n    last lines of its log:\n" + "\n".join(f"    | {line[:300]}" for line in end) if end else ""


def _installed(home: Path, engine: str) -> bool:
    try:
        provision.installation(home, engine)
    except RuntimeFailure:
        return False
    return True


def _nothing(_name: str) -> None:
    return None
