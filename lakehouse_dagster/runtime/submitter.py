"""Where the Flink client is installed: the one thing about the native runtime that starting a job needs."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from lakehouse_dagster.engines.errors import EngineUnavailable

if TYPE_CHECKING:
    from lakehouse_dagster.engines.flink import FlinkSubmitter


def flink_submitter() -> FlinkSubmitter:
    """Return what submits Flink scripts from the installed Flink client environment.

    Raises ``EngineUnavailable`` when that environment is not installed.
    """
    # Late, because definitions must load where no engine is installed.
    from lakehouse_dagster.engines.flink import FlinkSubmitter
    from lakehouse_dagster.runtime.errors import RuntimeFailure
    from lakehouse_dagster.runtime.provision import installation, java17
    from lakehouse_dagster.runtime.settings import Settings

    settings = Settings.load()
    try:
        client = installation(settings.home, "pyflink").root
        flink = installation(settings.home, "flink").root
        java = java17(settings.home)
    except RuntimeFailure as failure:
        raise EngineUnavailable("flink", str(settings.home), failure.fix, cause=failure.problem) from failure
    return FlinkSubmitter(
        python=client / "venv" / "bin" / "python",
        flink_home=flink / "home",
        program=settings.project / "flink_jobs" / "run_sql.py",
        rest=settings.url("flink"),
        # Without it the client logs into the installed tree, which all checkouts share.
        env={"JAVA_HOME": str(java), "FLINK_LOG_DIR": str(settings.logs)},
        class_archives=settings.home / "class-archives" / _fingerprint(java, flink),
        socket=settings.flink_client_socket,
    )


def _fingerprint(java: Path, flink: Path) -> str:
    """Name what archives of classes belong to: this Java and these jars, also after a new installation."""
    parts = [java / "lib" / "server" / "libjvm.so", *sorted((flink / "home" / "lib").glob("*.jar"))]
    said = "\n".join(f"{part} {part.stat().st_mtime_ns}" for part in parts if part.exists())
    return hashlib.sha256(said.encode()).hexdigest()[:16]
