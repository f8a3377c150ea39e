"""Install the engines into the shared cache `LAKEHOUSE_HOME`, and find them there again.

What is where below `installation(home, NAME).root`:

| NAME       | contents                                                                              |
|------------|---------------------------------------------------------------------------------------|
| mysql      | `bin/{mysqld,mysql,mysqladmin}` (launchers); `basedir messages charsets plugins` (links) |
| kafka      | `libs/*.jar` (broker, storage tool, Connect worker); `plugins/debezium-mysql/*.jar`   |
|            | (Debezium, and `lakehouse-connect-plugins.jar`, which makes it exact)                 |
| cassandra  | `lib/*.jar` (daemon and nodetool)                                                     |
| minio      | `bin/minio`                                                                           |
| nessie     | `nessie-quarkus-runner.jar` (needs Java 25)                                           |
| trino      | `lib/*.jar`, `plugin/{iceberg,memory,tpch}/` (needs Java 25)                          |
| flink      | `home/` = FLINK_HOME (`bin conf lib opt plugins`); `venv/bin/python` = PyFlink client |
| couchdb    | `node_modules/.bin/pouchdb-server`                                                    |
| jdk25      | JAVA_HOME itself (`bin/java`)                                                         |
| pyflink    | `venv/` (what flink's `venv` points at)                                               |
| connectors | `lakehouse-flink-connectors.jar` (also in flink's `home/lib`)                         |

Asked of the machine instead (Debian packages): `java17(home)` is a JAVA_HOME, `postgres_bin()` the folder
with `initdb`, `postgres`, `pg_ctl`, `psql`, `node()` the Node.js program. `java25(home)` is that of `jdk25`.

How it is kept whole: an engine is built in `engines/NAME-VERSION-FINGERPRINT.partial`, gets a manifest of all
its files, and is renamed to its final name last. So a folder under its final name is complete, an
interruption leaves only a `.partial` folder, and the next run starts that engine over with what `cache/` has.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

from filelock import FileLock, Timeout

from lakehouse_dagster.runtime.bundles import (
    Archive,
    Bundle,
    FlinkHome,
    GoProgram,
    Jars,
    NpmProject,
    OwnJar,
    PythonEnvironment,
    PythonPackage,
    RelocatedDebian,
    bundles,
    fingerprint,
    with_needs,
)
from lakehouse_dagster.runtime.errors import RuntimeFailure
from lakehouse_dagster.runtime.installers.context import (
    Cancelled,
    CommandFailed,
    Commands,
    Context,
    ProvisionError,
)
from lakehouse_dagster.runtime.installers.debian import install_debian
from lakehouse_dagster.runtime.installers.flink import install_flink_home
from lakehouse_dagster.runtime.installers.golang import install_go_program
from lakehouse_dagster.runtime.installers.maven import build_own_jar, install_archive, install_jars
from lakehouse_dagster.runtime.installers.npm import install_npm_project
from lakehouse_dagster.runtime.installers.python import install_environment, install_package
from lakehouse_dagster.runtime.manifest import check_manifest, write_manifest
from lakehouse_dagster.runtime.prerequisites import (
    install_prerequisites,
    java17_home,
    missing_prerequisites,
    node,
    postgres_bin,
)
from lakehouse_dagster.runtime.progress import Progress, Silent, State, Step
from lakehouse_dagster.runtime.settings import PROJECT
from lakehouse_dagster.runtime.versions import Versions, load_versions

__all__ = [
    "ENGINE_NAMES",
    "Installation",
    "NotInstalled",
    "ProvisionError",
    "installation",
    "java17",
    "java25",
    "node",
    "postgres_bin",
    "provision",
    "prune",
    "verify",
]

ENGINE_NAMES: Final = (
    "kafka",
    "cassandra",
    "nessie",
    "trino",
    "mysql",
    "couchdb",
    "minio",
    "flink",
    "jdk25",
    "pyflink",
    "connectors",
)
"""Everything that is installed here, the engines' helpers (`jdk25`, `pyflink`, `connectors`) included."""

LOCK_TIMEOUT: Final = 3600.0
"""Seconds to wait for another installation into the same home before giving up."""

_RESERVE_MIB: Final = 1024
_RECORD: Final = "installation.json"
_AGAIN: Final = "run `lakehouse install` again: it resumes, nothing that is complete is fetched twice"

Installer = Callable[[Bundle, Context], str | None]
"""Fills `context.target` and returns the version found, when the bundle's own is only a line of versions."""


class NotInstalled(ProvisionError):  # noqa: N818 - named after what the user sees
    """An engine was asked for that is not in this home, at least not in the pinned version."""

    def __init__(self, engine: str, home: Path) -> None:
        super().__init__(engine, f"not installed in {home}", "run `lakehouse install`")


@dataclass(frozen=True)
class Installation:
    """A complete installation of one engine; `root` is its folder, laid out as this module's table says."""

    name: str
    title: str
    version: str
    root: Path
    fingerprint: str


def installation(home: Path, name: str) -> Installation:
    """Return the installation of the pinned version.

    Raises `NotInstalled` when there is none, and `RuntimeFailure` for a name that does not exist.
    """
    all_bundles = bundles(load_versions())
    (bundle,) = (b for b in with_needs(all_bundles, [name]) if b.name == name)
    return Store(home, all_bundles).get(bundle)


def verify(home: Path, name: str, *, deep: bool = False) -> list[str]:
    """Compare an installation with its manifest and return the problems, one line each; none means intact.

    Sizes are compared; with `deep` every file is read and its SHA-256 compared. Raises `NotInstalled`.
    """
    return check_manifest(installation(home, name).root, deep=deep)


def java17(home: Path) -> Path:
    """Return the JAVA_HOME of the machine's JDK 17; raises `RuntimeFailure` when there is none."""
    del home  # the machine's own; the parameter keeps the two functions alike
    return java17_home()


def java25(home: Path) -> Path:
    """Return the JAVA_HOME of the installed Java 25; raises `NotInstalled`."""
    return installation(home, "jdk25").root


def provision(
    home: Path,
    names: Iterable[str] | None = None,
    *,
    progress: Progress | None = None,
    deep: bool = False,
    lock_timeout: float = LOCK_TIMEOUT,
) -> dict[str, Installation]:
    """Install what is missing of the named engines (default: all) with all they need; return these by name.

    What is there is compared with its manifest (`deep`: byte by byte) and installed anew when damaged. When
    all is complete nothing is locked, started or fetched. A second run into the same home waits
    `lock_timeout` seconds for the first. Raises `ProvisionError` naming the engine that failed, the log and
    the fix; what does not depend on it is finished first.
    """
    versions = load_versions()
    all_bundles = bundles(versions)
    wanted = with_needs(all_bundles, ENGINE_NAMES if names is None else names)
    every = names is None
    missing_on_machine = missing_prerequisites(None if every else {bundle.name for bundle in wanted})
    return run_provision(
        Store(home, all_bundles),
        wanted,
        install=install_bundle,
        progress=progress or Silent(),
        deep=deep,
        lock_timeout=lock_timeout,
        before=lambda log, say: install_prerequisites(missing_on_machine, log, say),
        must_prepare=bool(missing_on_machine),
    )


class Store:
    """The folder of installations: which are complete, where the others are being made."""

    def __init__(self, home: Path, all_bundles: Mapping[str, Bundle], project: Path = PROJECT) -> None:
        self.home = home
        self.engines = home / "engines"
        self.project = project
        self._bundles = all_bundles

    def root(self, bundle: Bundle) -> Path:
        """Return the final folder of a bundle, whether it is there or not."""
        return self.engines / f"{bundle.name}-{bundle.version}-{self.fingerprint(bundle)}"

    def fingerprint(self, bundle: Bundle) -> str:
        """Return the bundle's fingerprint."""
        return fingerprint(bundle.name, self._bundles, self.project)

    def get(self, bundle: Bundle) -> Installation:
        """Return the bundle's installation; raises `NotInstalled`."""
        root = self.root(bundle)
        try:
            record = json.loads((root / _RECORD).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise NotInstalled(bundle.name, self.home) from error
        return Installation(bundle.name, bundle.title, record["version"], root, record["fingerprint"])

    def find_intact(self, bundle: Bundle, *, deep: bool) -> Installation | None:
        """Return the installation if it is complete and undamaged."""
        with suppress(NotInstalled):
            found = self.get(bundle)
            if not check_manifest(found.root, deep=deep):
                return found
        return None

    def record(self, bundle: Bundle, folder: Path, version: str) -> None:
        """Write down what `folder` is; the manifest comes last."""
        record = {
            "name": bundle.name,
            "title": bundle.title,
            "version": version,
            "fingerprint": self.fingerprint(bundle),
            "installed": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        (folder / _RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        write_manifest(folder)


def run_provision(
    store: Store,
    wanted: list[Bundle],
    *,
    install: Installer,
    progress: Progress,
    deep: bool = False,
    lock_timeout: float = LOCK_TIMEOUT,
    before: Callable[[Path, Callable[[str], None]], None] = lambda _log, _say: None,
    must_prepare: bool = False,
) -> dict[str, Installation]:
    """Do the work of `provision` with a given installer; `before` runs first, under the lock."""
    found = _look(store, wanted, progress, deep=deep)
    if len(found) == len(wanted) and not must_prepare:
        return found
    _make_home(store.home)
    with _only_one(store.home, progress, lock_timeout):
        logs = store.home / "logs"
        logs.mkdir(exist_ok=True)
        before(logs / "install-machine.log", progress.notice)
        # Another run may have done the work while this one waited.
        found = _look(store, wanted, progress, deep=deep)
        missing = [bundle for bundle in wanted if bundle.name not in found]
        _clean(store.engines)
        if missing:
            check_space(store.home, missing)
            found |= _Run(store, missing, found, install, progress).go()
    return {bundle.name: found[bundle.name] for bundle in wanted}


def install_bundle(bundle: Bundle, context: Context) -> str | None:
    """Install every part of a bundle into `context.target`."""
    version: str | None = None
    for part in bundle.parts:
        match part:
            case Jars():
                install_jars(part, context)
            case Archive():
                install_archive(part, context)
            case RelocatedDebian():
                version = install_debian(part, context)
            case GoProgram():
                install_go_program(part, context)
            case PythonEnvironment():
                install_environment(part, context)
            case PythonPackage():
                install_package(part, context)
            case NpmProject():
                install_npm_project(part, context)
            case OwnJar():
                build_own_jar(part, context)
                folder = context.target / part.into
                folder.mkdir(parents=True, exist_ok=True)
                (context.target / part.jar).rename(folder / part.jar)
            case FlinkHome():
                install_flink_home(part, context)
    return version


def prune(home: Path, versions: Versions | None = None) -> list[Path]:
    """Remove installations that the pins no longer name, and leftovers; return what was removed.

    Another checkout with other pins installs its own again. Raises `ProvisionError` during an installation.
    """
    all_bundles = bundles(versions or load_versions())
    store = Store(home, all_bundles)
    keep = {store.root(bundle) for bundle in all_bundles.values()}
    removed: list[Path] = []
    with _only_one(home, Silent(), 0.0):
        for folder in sorted(store.engines.iterdir()) if store.engines.is_dir() else []:
            if folder not in keep:
                shutil.rmtree(folder)
                removed.append(folder)
    return removed


def check_space(home: Path, missing: Iterable[Bundle]) -> None:
    """Raise `ProvisionError` when the disk cannot take the missing bundles and a reserve."""
    missing = list(missing)
    need = sum(bundle.mebibytes for bundle in missing) + _RESERVE_MIB
    have = shutil.disk_usage(home).free >> 20
    if have < need:
        names = ", ".join(bundle.name for bundle in missing)
        raise ProvisionError(
            names,
            f"installing needs {need / 1024:.1f} GiB in {home}, and {have / 1024:.1f} GiB are free",
            "free the difference, or set LAKEHOUSE_HOME to a folder on a larger disk",
        )


class _Run:
    """One run of the installation: a thread per lane, so that at most one bundle of a lane is worked on."""

    def __init__(
        self,
        store: Store,
        missing: list[Bundle],
        present: Mapping[str, Installation],
        install: Installer,
        progress: Progress,
    ) -> None:
        self._store = store
        self._missing = missing
        self._present = present
        self._install = install
        self._progress = progress
        self._commands = Commands()
        self._done: dict[str, Future[Installation]] = {bundle.name: Future() for bundle in missing}

    def go(self) -> dict[str, Installation]:
        """Install all; raise the first failure after everything that can be finished is finished."""
        lanes: dict[str, list[Bundle]] = {}
        for bundle in self._missing:
            lanes.setdefault(bundle.lane, []).append(bundle)
            self._progress(Step(bundle.name, bundle.title, bundle.version, "waiting"))
        # A bundle that must wait for another lane goes behind those that need not.
        for lane in lanes.values():
            lane.sort(
                key=lambda bundle: any(
                    self._lane_of(needed) not in (None, bundle.lane) for needed in bundle.needs
                )
            )
        with _interruptible(self._commands), ThreadPoolExecutor(max_workers=len(lanes)) as pool:
            for lane in lanes.values():
                pool.submit(self._work, lane)
        if self._commands.cancelled.is_set():
            raise KeyboardInterrupt
        errors = [error for future in self._done.values() if (error := future.exception()) is not None]
        # What failed only because another failed says nothing new.
        root_causes = [error for error in errors if not isinstance(error, _NeedFailed)]
        if len(root_causes) == 1:
            raise root_causes[0]
        if root_causes:
            failures = [error for error in root_causes if isinstance(error, ProvisionError)]
            raise ProvisionError(
                ", ".join(error.engine for error in failures),
                "several could not be installed:\n  " + "\n  ".join(error.problem for error in failures),
                "; ".join(dict.fromkeys(error.fix for error in failures)),
            )
        return {name: future.result() for name, future in self._done.items()}

    def _lane_of(self, name: str) -> str | None:
        return next((bundle.lane for bundle in self._missing if bundle.name == name), None)

    def _work(self, lane: list[Bundle]) -> None:
        for bundle in lane:
            future = self._done[bundle.name]
            try:
                future.set_result(self._one(bundle))
            except BaseException as error:  # handed to the thread that waits
                future.set_exception(error)

    def _one(self, bundle: Bundle) -> Installation:
        needs: dict[str, Path] = {}
        for needed in bundle.needs:
            try:
                ready = self._present.get(needed) or self._done[needed].result()
            except BaseException as error:
                self._progress(
                    Step(bundle.name, bundle.title, bundle.version, "failed", f"it needs {needed}")
                )
                raise _NeedFailed(bundle.name, f"it needs {needed}, which failed", _AGAIN) from error
            needs[needed] = ready.root
        begin = time.monotonic()

        def say(state: State, detail: str = "", version: str = bundle.version) -> None:
            seconds = time.monotonic() - begin
            self._progress(Step(bundle.name, bundle.title, version, state, detail, seconds))

        log = self._store.home / "logs" / f"install-{bundle.name}.log"
        try:
            if self._commands.cancelled.is_set():
                raise Cancelled
            say("installing")
            made = self._make(bundle, needs, log, lambda detail: say("installing", detail))
        except BaseException as error:
            failure = explain(bundle, error, log, self._store.home)
            say("failed", "interrupted" if isinstance(error, Cancelled) else failure.problem)
            raise failure from error
        say("ready", version=made.version)
        return made

    def _make(
        self, bundle: Bundle, needs: Mapping[str, Path], log: Path, say: Callable[[str], None]
    ) -> Installation:
        root = self._store.root(bundle)
        partial = root.with_name(f"{root.name}.partial")
        partial.mkdir(parents=True)
        log.write_text(f"installing {bundle.name} {bundle.version} into {root}\n", encoding="utf-8")
        context = Context(
            bundle.name, self._store.home, partial, self._store.project, log, say, needs, self._commands
        )
        version = self._install(bundle, context) or bundle.version
        say("recording the files")
        self._store.record(bundle, partial, version)
        if root.exists():  # damaged: out of the way in one step, and only now that its successor is complete
            damaged = root.with_name(f"{root.name}.damaged")
            root.rename(damaged)
            partial.rename(root)
            shutil.rmtree(damaged)
        else:
            partial.rename(root)
        return self._store.get(bundle)


class _NeedFailed(ProvisionError):  # noqa: N818 - see NotInstalled
    """Not installed because something it needs could not be installed."""


def explain(bundle: Bundle, error: BaseException, log: Path, home: Path) -> ProvisionError:
    """Turn whatever stopped an installation into an error that names the engine, the log and the fix."""
    if isinstance(error, ProvisionError):
        return error
    if isinstance(error, Cancelled):
        return ProvisionError(bundle.name, "interrupted", _AGAIN, log)
    full = isinstance(error, OSError) and error.errno == errno.ENOSPC
    tail = error.tail if isinstance(error, CommandFailed) else ""
    if full or "No space left on device" in tail or shutil.disk_usage(home).free < 64 << 20:
        return ProvisionError(
            bundle.name, f"the disk of {home} is full", f"free some space and {_AGAIN}", log
        )
    if isinstance(error, CommandFailed):
        if any(sign in tail for sign in _NO_NETWORK):
            return ProvisionError(
                bundle.name, "the package registry cannot be reached", f"check the network and {_AGAIN}", log
            )
        return ProvisionError(bundle.name, f"{error}: {_last_line(tail)}", f"see the log, then {_AGAIN}", log)
    if isinstance(error, RuntimeFailure):
        return ProvisionError(bundle.name, error.problem, error.fix, log)
    return ProvisionError(bundle.name, f"{type(error).__name__}: {error}", _AGAIN, log)


_NO_NETWORK: Final = (
    "Unknown host",
    "Temporary failure resolving",
    "Temporary failure in name resolution",
    "Could not resolve",
    "no such host",
    "ENOTFOUND",
    "EAI_AGAIN",
    "ECONNREFUSED",
    "dns error",
    "Network is unreachable",
    "network is unreachable",
    "dial tcp",
    "dial udp",
    "Connection refused",
    "connection refused",
    "Failed to connect",
    "Connection timed out",
)


def _last_line(tail: str) -> str:
    """The most telling of the last lines: the first that speaks of an error, or the last one."""
    lines = [line.strip() for line in tail.splitlines() if line.strip()]
    telling = [
        line for line in lines if line.lower().startswith(("[error]", "error", "e:", "npm error", "go: "))
    ]
    return (telling or lines or ["it printed nothing"])[0 if telling else -1][:300]


def _look(
    store: Store, wanted: Iterable[Bundle], progress: Progress, *, deep: bool
) -> dict[str, Installation]:
    found: dict[str, Installation] = {}
    for bundle in wanted:
        intact = store.find_intact(bundle, deep=deep)
        if intact is not None:
            found[bundle.name] = intact
            progress(Step(bundle.name, bundle.title, intact.version, "present", "already there"))
    return found


def _make_home(home: Path) -> None:
    try:
        (home / "engines").mkdir(parents=True, exist_ok=True)
        (home / "cache").mkdir(exist_ok=True)
    except OSError as error:
        raise ProvisionError(
            "LAKEHOUSE_HOME",
            f"{home} cannot be used: {error.strerror}",
            "set LAKEHOUSE_HOME to a folder you may write",
        ) from error


@contextmanager
def _only_one(home: Path, progress: Progress, timeout: float) -> Iterator[None]:
    """Hold the lock of this home; the operating system drops it when its holder dies, however."""
    home.mkdir(parents=True, exist_ok=True)
    lock = FileLock(home / "install.lock")
    owner = home / "install.owner"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        who = owner.read_text(encoding="utf-8").strip() if owner.exists() else "unknown"
        if timeout > 0:
            progress.notice(f"another installation into {home} is running (process {who}); waiting for it")
        try:
            lock.acquire(timeout=timeout, poll_interval=0.2)
        except Timeout as error:
            raise ProvisionError(
                "LAKEHOUSE_HOME",
                f"process {who} has been installing into {home} for more than {timeout:.0f} s",
                f"wait for it, or end process {who}, then run again",
            ) from error
    try:
        owner.write_text(f"{os.getpid()}\n", encoding="utf-8")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


@contextmanager
def _interruptible(commands: Commands) -> Iterator[None]:
    """Make an interruption or a termination end the running commands."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def cancel(number: int, frame: FrameType | None) -> None:
        commands.cancel()

    previous: dict[int, Any] = {
        number: signal.signal(number, cancel) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _clean(engines: Path) -> None:
    """Remove what interrupted runs left; called under the lock, so nobody is still writing there."""
    for leftover in [*engines.glob("*.partial"), *engines.glob("*.damaged")]:
        shutil.rmtree(leftover)
