"""Submit one rendered Flink SQL script to the running Flink cluster.

Run with the Flink client environment's Python, never with the control plane's::

    FLINK_REST=127.0.0.1:18081 <venv>/bin/python run_sql.py --script flights-lake.json [--savepoint PATH]
        [--class-archive FILE] [--with-parent]

The script is a JSON object::

    {
      "name": "flights-lake",            job name, unless settings give "pipeline.name"
      "settings": {"key": "value"},      Flink configuration of this job; values are strings
      "statements": ["CREATE ...", ...], run one by one, in order (DDL only)
      "inserts": ["INSERT INTO ...", ...], all together one job (a StatementSet)
      "wait": false,                     true: wait for the job's end (batch jobs)
      "statements_only": false           true: no inserts and no job, only what the statements do
    }

``${NAME}`` in a setting, statement or insert is replaced by the environment variable ``NAME`` just before
execution, so that scripts on disk hold no address and no secret. Inside SQL, single quotes in the value are
doubled: a variable belongs between single quotes. A missing variable is an error that names it.

Environment:

* ``FLINK_REST``: host:port of the JobManager's REST endpoint; required.
* ``FLINK_HOME``: a Flink distribution whose ``lib`` holds the connectors; required, because the client plans
  with their classes.
* ``FLINK_CONF_DIR``: the client's own configuration; optional.
* ``JVM_ARGS``: replaces the client JVM's default flags; optional.
* ``S3_ENDPOINT``, ``S3_ACCESS_KEY``, ``S3_SECRET_KEY``: for batch scripts that write to S3.

``--class-archive`` names an archive of the client's classes (Java's class data sharing), which about halves
the work of a start: it is used when the file exists, and made by this run, after its end, when it does not.
Java itself ignores an archive that does not fit its version or class path. With ``--with-parent`` the program
ends as soon as its standard input is closed, so that nothing is submitted for a caller that was killed.

Output: log lines go to standard error. The last line of standard output is one JSON object, such as
``{"job_id": "...", "name": "...", "seconds": {"client": 1.9, "statements": 2.0, "submit": 1.1, "job": 9.8}}``
(``job`` only when waiting; ``job_id`` is null when there were only statements). Failures print one
``{"error": "..."}`` line instead and exit with 1; bad input (file, JSON, missing variable) exits with 2.
Values of variables that look like credentials are masked in every message.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

#: Flags of the client JVM: it plans one script and exits, so starting fast matters more than running fast.
CLIENT_JVM_ARGS = "-Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto"

#: Exit status after the parent has gone.
ORPHANED = 3

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_CREDENTIAL = re.compile(r"(_SECRET_KEY|_ACCESS_KEY|_PASSWORD|_TOKEN)$")
_CAUSE = re.compile(r"^\s*Caused by: (.*)$", re.MULTILINE)


class BadInput(Exception):  # noqa: N818 - names what is wrong
    """The script file, its content or the environment is wrong; the message names what, and the fix."""


class JobFailed(Exception):  # noqa: N818 - names what happened
    """Flink refused the script, or the awaited job failed; the message is the root cause in one line."""


@dataclass(frozen=True)
class Script:
    """A checked script, see the module's documentation."""

    name: str
    settings: dict[str, str]
    statements: tuple[str, ...]
    inserts: tuple[str, ...]
    wait: bool = False
    statements_only: bool = False

    @classmethod
    def load(cls, path: Path) -> Script:
        """Read and check a script file; :class:`BadInput` names the file and the field."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise BadInput(f"cannot read {path}: {error.strerror}") from error
        except ValueError as error:
            raise BadInput(f"{path} is not JSON: {error}") from error
        return cls.parse(data, str(path))

    @classmethod
    def parse(cls, data: object, path: str) -> Script:
        """Check a script; :class:`BadInput` names it as ``path`` and the field."""
        if not isinstance(data, dict):
            raise BadInput(f"{path} must hold a JSON object")
        fields: dict[str, type] = {
            "name": str,
            "settings": dict,
            "statements": list,
            "inserts": list,
            "wait": bool,
            "statements_only": bool,
        }
        unknown = sorted(set(data) - set(fields))
        if unknown:
            raise BadInput(f"{path}: unknown field {unknown[0]!r}; known are {', '.join(fields)}")
        for field, kind in fields.items():
            if kind is bool and field not in data:
                continue
            if not isinstance(data.get(field), kind):
                raise BadInput(f"{path}: field {field!r} is missing or not a {kind.__name__}")
        texts = [*data["settings"].values(), *data["statements"], *data["inserts"]]
        if not all(isinstance(text, str) for text in texts):
            raise BadInput(f"{path}: every setting, statement and insert must be a string")
        statements_only = data.get("statements_only", False)
        if statements_only and data["inserts"]:
            raise BadInput(f"{path}: field 'inserts' must be empty where 'statements_only' is true")
        if not statements_only and not data["inserts"]:
            raise BadInput(
                f"{path}: field 'inserts' is empty; a script without an INSERT starts no job, and says so "
                "with 'statements_only': true"
            )
        return cls(
            data["name"],
            data["settings"],
            tuple(data["statements"]),
            tuple(data["inserts"]),
            data.get("wait", False),
            statements_only,
        )

    def resolved(self, environ: Mapping[str, str]) -> Script:
        """The same script with every ``${NAME}`` replaced; :class:`BadInput` lists the variables not set."""
        texts = (*self.settings.values(), *self.statements, *self.inserts)
        missing = sorted({name for text in texts for name in _VARIABLE.findall(text) if name not in environ})
        if missing:
            raise BadInput(
                f"script {self.name!r} needs environment variables that are not set: {', '.join(missing)}"
            )

        def plain(text: str) -> str:
            return _VARIABLE.sub(lambda match: environ[match[1]], text)

        def quoted(text: str) -> str:
            return _VARIABLE.sub(lambda match: environ[match[1]].replace("'", "''"), text)

        return Script(
            self.name,
            {key: plain(value) for key, value in self.settings.items()},
            tuple(map(quoted, self.statements)),
            tuple(map(quoted, self.inserts)),
            self.wait,
            self.statements_only,
        )


def client_configuration(script: Script, environ: Mapping[str, str], savepoint: str | None) -> dict[str, str]:
    """The Flink configuration of the submitting client.

    ``execution.target`` and ``parallelism.default`` must stand here: the client does not take them from the
    cluster, and without a target it would start a small cluster of its own inside the client.
    """
    rest = environ.get("FLINK_REST", "")
    host, separator, port = rest.rpartition(":")
    if not separator or not host or not port.isdigit():
        raise BadInput(f"FLINK_REST must be host:port of the Flink JobManager's REST endpoint, not {rest!r}")
    configuration = {
        "pipeline.name": script.name,
        "parallelism.default": "1",
        **script.settings,
        "execution.target": "remote",
        "rest.address": host,
        "rest.port": port,
    }
    if savepoint:
        configuration["execution.state-recovery.path"] = savepoint
    return configuration


def masked(text: str, environ: Mapping[str, str]) -> str:
    """``text`` with the values of credential variables replaced by ``***``."""
    secrets = {value for name, value in environ.items() if _CREDENTIAL.search(name) and value}
    # Longest first, as one secret may hold another.
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***").replace(secret.replace("'", "''"), "***")
    return text


def root_cause(error: Exception) -> str:
    """The last ``Caused by`` of a Java exception that crossed into Python, in one line."""
    text = str(error)
    causes = _CAUSE.findall(text)
    line = causes[-1] if causes else next((line for line in text.splitlines() if line.strip()), repr(error))
    return " ".join(line.split())


def submit(
    script: Script,
    configuration: Mapping[str, str],
    environ: Mapping[str, str],
    wanted: Callable[[], bool] = lambda: True,
) -> dict[str, Any]:
    """Run a resolved script and return the final line's object.

    ``wanted`` is asked before the job is submitted and after: nothing is started for a caller that has gone.
    Without a job it is asked before each statement. Raises :class:`JobFailed` with the statement's first
    words and the root cause.
    """
    started = time.monotonic()
    # PyFlink is imported here because it is slow to import and is not needed to refuse bad input.
    from pyflink.common import Configuration
    from pyflink.table import EnvironmentSettings, TableEnvironment

    conf = Configuration()
    for key, value in configuration.items():
        conf.set_string(key, value)
    batch = configuration.get("execution.runtime-mode", "STREAMING").upper() == "BATCH"
    if batch:
        open_object_store(environ)
    builder = EnvironmentSettings.new_instance().with_configuration(conf)
    builder = builder.in_batch_mode() if batch else builder.in_streaming_mode()
    table_env = TableEnvironment.create(builder.build())
    seconds = {"client": _since(started)}

    started = time.monotonic()
    for statement in script.statements:
        if script.statements_only and not wanted():
            raise JobFailed(f"{script.name}: nobody waits for it any more, the rest was not executed")
        _attempt(statement, partial(table_env.execute_sql, statement))
    if script.statements_only:
        seconds["statements"] = _since(started)
        return {"job_id": None, "name": configuration["pipeline.name"], "seconds": seconds}
    statement_set = table_env.create_statement_set()
    for insert in script.inserts:
        _attempt(insert, partial(statement_set.add_insert_sql, insert))
    seconds["statements"] = _since(started)

    started = time.monotonic()
    if not wanted():
        raise JobFailed(f"job {script.name}: nobody waits for it any more, it was not submitted")
    result = _attempt(f"job {script.name}", statement_set.execute)
    client = result.get_job_client()
    job_id = str(client.get_job_id())
    seconds["submit"] = _since(started)
    if not wanted():
        _attempt(f"cancelling job {script.name}", client.cancel().result)
        raise JobFailed(f"job {script.name} ({job_id}): nobody waits for it any more, it was cancelled")
    if script.wait:
        started = time.monotonic()
        _attempt(f"job {script.name} ({job_id})", result.wait)
        seconds["job"] = _since(started)
    return {"job_id": job_id, "name": configuration["pipeline.name"], "seconds": seconds}


def open_object_store(environ: Mapping[str, str]) -> None:
    """Give the client's JVM the S3 plugin, with the address and keys of the environment.

    Only the cluster loads plugins by itself, but the batch form of the filesystem connector makes its staging
    folder in the client. The keys stay in this process: they are no part of the job's configuration.
    """
    from pyflink.java_gateway import get_gateway

    jvm = get_gateway().jvm
    conf = jvm.org.apache.flink.configuration.Configuration()
    if "S3_ENDPOINT" in environ:
        conf.setString("s3.endpoint", environ["S3_ENDPOINT"])
        conf.setString("s3.access-key", environ.get("S3_ACCESS_KEY", ""))
        conf.setString("s3.secret-key", environ.get("S3_SECRET_KEY", ""))
        conf.setString("s3.path.style.access", "true")
    plugins = jvm.org.apache.flink.core.plugin.PluginUtils.createPluginManagerFromRootFolder(conf)
    jvm.org.apache.flink.core.fs.FileSystem.initialize(conf, plugins)


def class_archive_flags(archive: Path | None) -> str:
    """The client JVM's flags that use the archive of its classes, or make it when it is not there."""
    if archive is None:
        return ""
    if archive.exists():
        return f" -XX:SharedArchiveFile={archive}"
    # The JVM replaces the file when it is complete; its many notes on what it leaves out help nobody.
    return f" -XX:ArchiveClassesAtExit={archive} -Xlog:disable"


def prepare_client(archive: Path | None = None) -> None:
    """Set what PyFlink reads from this process's environment when it starts the client's JVM."""
    os.environ.setdefault("JVM_ARGS", CLIENT_JVM_ARGS + class_archive_flags(archive))
    # No Python function runs in these jobs. Without this PyFlink starts a worker pool in the client for them.
    os.environ.setdefault("_python_worker_execution_mode", "process")


def end_with_parent() -> None:
    """End this process, and with it the client JVM, once the parent has closed its end of standard input."""

    def watch() -> None:
        # Not through sys.stdin: Python ends with an error while a thread waits inside its buffer.
        while os.read(0, 1):
            pass
        os._exit(ORPHANED)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _since(started: float) -> float:
    return round(time.monotonic() - started, 2)


def _attempt(what: str, action: Callable[[], Any]) -> Any:
    """Run ``action``; any failure becomes a :class:`JobFailed` that says during what."""
    try:
        return action()
    except Exception as error:  # PyFlink raises whatever class the JVM threw
        head = " ".join(what.split())
        raise JobFailed(f"{head[:80]}{'...' if len(head) > 80 else ''}: {root_cause(error)}") from error


def main(argv: list[str] | None = None) -> int:
    """Command line entry; returns the exit status (see the module's documentation)."""
    parser = argparse.ArgumentParser(description="Submit a Flink SQL script to the cluster at FLINK_REST.")
    parser.add_argument("--script", required=True, type=Path, help="JSON file")
    parser.add_argument("--savepoint", help="checkpoint or savepoint to start from (as Flink names it)")
    parser.add_argument("--class-archive", type=Path, help="archive of the client's classes, made if missing")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input is closed")
    arguments = parser.parse_args(argv)
    if arguments.with_parent:
        end_with_parent()
    prepare_client(arguments.class_archive)
    try:
        script = Script.load(arguments.script).resolved(os.environ)
        if "FLINK_HOME" not in os.environ:
            raise BadInput(
                "FLINK_HOME is not set; it must name the Flink distribution with the connectors in lib"
            )
        answer = submit(script, client_configuration(script, os.environ, arguments.savepoint), os.environ)
    except (BadInput, JobFailed) as error:
        print(json.dumps({"error": masked(str(error), os.environ)}), flush=True)  # noqa: T201 - the answer
        return 2 if isinstance(error, BadInput) else 1
    print(json.dumps(answer), flush=True)  # noqa: T201 - the answer
    return 0


if __name__ == "__main__":
    sys.exit(main())
