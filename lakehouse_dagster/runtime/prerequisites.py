"""What the machine itself must have: Debian packages, found by the programs they bring.

Missing ones are installed when we are allowed to (root, or sudo without a password); otherwise the error
holds the one command to run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from lakehouse_dagster.runtime.errors import RuntimeFailure
from lakehouse_dagster.runtime.versions import load_versions

_JVM_FOLDER = Path("/usr/lib/jvm")
_POSTGRES_FOLDER = Path("/usr/lib/postgresql")


@dataclass(frozen=True)
class Prerequisite:
    """A program of the machine: what it is for, how it is found, and which Debian packages bring it."""

    title: str
    packages: tuple[str, ...]
    needed_by: tuple[str, ...]
    find: Callable[[], Path | None]


def prerequisites() -> tuple[Prerequisite, ...]:
    """Return everything the machine must have."""
    versions = load_versions()
    postgres, java = versions["POSTGRES_MAJOR"], versions["JAVA17_MAJOR"]
    python = versions["FLINK_PYTHON_VERSION"]
    return (
        Prerequisite(
            f"Java {java} (JDK)",
            (f"openjdk-{java}-jdk-headless",),
            ("kafka", "cassandra", "connectors", "nessie", "trino", "flink"),
            find_java17,
        ),
        Prerequisite(
            "Maven",
            ("maven",),
            ("kafka", "cassandra", "connectors", "nessie", "trino", "flink"),
            _on_path("mvn"),
        ),
        Prerequisite("Node.js", ("nodejs",), ("couchdb",), find_node),
        Prerequisite("npm", ("npm",), ("couchdb",), _on_path("npm")),
        Prerequisite(f"PostgreSQL {postgres}", (f"postgresql-{postgres}",), ("postgres",), find_postgres_bin),
        Prerequisite(f"Python {python}", (f"python{python}",), ("pyflink",), find_flink_python),
    )


def missing_prerequisites(names: Iterable[str] | None = None) -> list[Prerequisite]:
    """Return the prerequisites that are not there, of the named engines or of all."""
    wanted = None if names is None else set(names)
    return [
        item
        for item in prerequisites()
        if (wanted is None or wanted.intersection(item.needed_by)) and item.find() is None
    ]


def install_command_for(missing: Iterable[Prerequisite]) -> str:
    """Return the one command that installs them by hand."""
    packages = " ".join(sorted({package for item in missing for package in item.packages}))
    prefix = "" if os.geteuid() == 0 else "sudo "
    return f"{prefix}apt-get update && {prefix}apt-get install --yes --no-install-recommends {packages}"


def install_prerequisites(
    missing: Iterable[Prerequisite], log: Path, say: Callable[[str], None] = lambda _: None
) -> None:
    """Install missing Debian packages if we may.

    Raises `RuntimeFailure` with the command to run when we may not, or with the log when it fails.
    """
    missing = list(missing)
    if not missing:
        return
    titles = ", ".join(item.title for item in missing)
    by_hand = install_command_for(missing)
    sudo = privileges()
    if sudo is None or shutil.which("apt-get") is None:
        raise RuntimeFailure(f"this machine lacks {titles}", f"run: {by_hand}")
    packages = sorted({package for item in missing for package in item.packages})
    say(f"installing {' '.join(packages)}")
    with log.open("ab") as out:
        for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
            command = [
                *sudo,
                "env",
                "DEBIAN_FRONTEND=noninteractive",
                "apt-get",
                "-o",
                "DPkg::Lock::Timeout=300",
                *arguments,
            ]
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, check=False
            )
            # An update that fails for one foreign source is no reason to stop: the installation tells.
            if done.returncode and arguments[0] == "install":
                raise RuntimeFailure(
                    f"apt-get could not install {' '.join(packages)} (log: {log})", f"run: {by_hand}"
                )
    still = [item.title for item in missing if item.find() is None]
    if still:
        raise RuntimeFailure(
            f"{', '.join(still)} cannot be found although its package is installed", f"see {log}"
        )


def privileges() -> list[str] | None:
    """Return the prefix that makes a command run as root without asking, or None."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo is None:
        return None
    asked = subprocess.run([sudo, "-n", "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return [sudo, "-n"] if asked.returncode == 0 else None


def find_java17() -> Path | None:
    """Return the JAVA_HOME of a JDK 17 with a compiler, or None."""
    major = load_versions()["JAVA17_MAJOR"]
    candidates = [Path(value) for key in ("JAVA17_HOME", "JAVA_HOME") if (value := os.environ.get(key))]
    if _JVM_FOLDER.is_dir():
        candidates += sorted(_JVM_FOLDER.iterdir())
    for home in candidates:
        if (home / "bin" / "javac").exists() and java_major(home) == int(major):
            return home.resolve()
    return None


def java17_home() -> Path:
    """Return the JAVA_HOME of a JDK 17; raises `RuntimeFailure` with the fix when there is none."""
    return _need(find_java17)


def java_major(home: Path) -> int | None:
    """Return a JDK's major version by its `release` file, or None when that says nothing."""
    try:
        text = (home / "release").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r'^JAVA_VERSION="(\d+)', text, re.MULTILINE)
    return int(found[1]) if found else None


def find_postgres_bin() -> Path | None:
    """Return the folder with PostgreSQL's server programs, or None."""
    folder = _POSTGRES_FOLDER / load_versions()["POSTGRES_MAJOR"] / "bin"
    return (
        folder if all((folder / name).exists() for name in ("initdb", "postgres", "pg_ctl", "psql")) else None
    )


def postgres_bin() -> Path:
    """Return the folder with `initdb`, `postgres`, `psql`; raises `RuntimeFailure` when there is none."""
    return _need(find_postgres_bin)


def find_node() -> Path | None:
    """Return the Node.js program, or None."""
    return _which("node")


def node() -> Path:
    """Return the Node.js program; raises `RuntimeFailure` with the fix when there is none."""
    return _need(find_node)


def find_flink_python() -> Path | None:
    """Return a Python of the minor version that PyFlink needs (the program behind any shim), or None."""
    version = load_versions()["FLINK_PYTHON_VERSION"]
    names = (f"python{version}", "python3")
    on_path = [Path(folder) / name for folder in os.get_exec_path() for name in names]
    for candidate in (*on_path, Path("/usr/bin") / names[0]):
        if not candidate.exists():
            continue
        script = "import sys; print('%d.%d' % sys.version_info[:2], sys._base_executable)"
        asked = subprocess.run(
            [str(candidate), "-c", script],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        answer = asked.stdout.split(maxsplit=1)
        if asked.returncode == 0 and len(answer) == 2 and answer[0] == version:
            return Path(answer[1].strip())
    return None


def find_go(minimum: str) -> Path | None:
    """Return a Go program of at least version `minimum`, or None."""
    wanted = _numbers(minimum)
    places = [Path(folder) / "go" for folder in os.get_exec_path()]
    places += [Path("/usr/local/go/bin/go"), *sorted(Path("/usr/lib").glob("go-*/bin/go"), reverse=True)]
    for candidate in places:
        if not candidate.exists():
            continue
        asked = subprocess.run(
            [str(candidate), "version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "GOTOOLCHAIN": "local"},
        )
        found = re.search(r"\bgo(\d+(?:\.\d+)*)", asked.stdout)
        if asked.returncode == 0 and found and _numbers(found[1]) >= wanted:
            return candidate
    return None


def _need(find: Callable[[], Path | None]) -> Path:
    found = find()
    if found is not None:
        return found
    (item,) = (item for item in prerequisites() if item.find is find)
    raise RuntimeFailure(
        f"this machine lacks {item.title}", f"run `lakehouse install`, or: {install_command_for([item])}"
    )


def _on_path(name: str) -> Callable[[], Path | None]:
    return lambda: _which(name)


def _which(name: str) -> Path | None:
    found = shutil.which(name)
    return Path(found) if found else None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))
