"""Flink: its REST interface, and the submission of SQL scripts through the Flink client environment."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Protocol
from urllib.parse import urlsplit

from lakehouse_dagster.engines import flink_client
from lakehouse_dagster.engines.connect import root_cause
from lakehouse_dagster.engines.endpoints import FLINK, WRITER, Endpoints, FlinkEndpoint
from lakehouse_dagster.engines.errors import EngineError, EngineUnavailable
from lakehouse_dagster.engines.http import HttpEngine

#: States from which a job does not come back by itself.
TERMINAL_STATES = frozenset({"FINISHED", "CANCELED", "FAILED"})


_CONNECTOR = re.compile(r"'(?:connector|type)'\s*=\s*'([\w-]+)'")

#: How long what a client printed is waited for after its end.
_LAST_WORDS_SECONDS = 0.3

#: Where state is read: the JobManager reads the metadata while it sets a job up, tasks read their own part.
_STATE_IS_READ = (
    "CheckpointCoordinator.restoreSavepoint(",
    "StreamTaskStateInitializerImpl.streamOperatorStateContext(",
    "StateMigrationException",
)
#: Signs that it was not the state's fault: the object store did not answer, or refused everybody.
_STORE_AWAY = (
    "Unable to execute HTTP request",
    "Connection refused",
    "ConnectException",
    "SocketTimeoutException",
    "NoHttpResponseException",
    "UnknownHostException",
    "InterruptedException",
    "InterruptedIOException",
    "ClosedByInterruptException",
    "Status Code: 5",
    "Status Code: 403",
    "SlowDown",
)


@dataclass(frozen=True)
class FlinkOverview:
    """Size of the cluster; `slots_available` 0 means that the next job will wait."""

    version: str
    taskmanagers: int
    slots_total: int
    slots_available: int
    jobs_running: int


@dataclass(frozen=True)
class FlinkJob:
    """One job: times in milliseconds since the epoch, `end_ms` -1 while it lives."""

    id: str
    name: str
    state: str
    start_ms: int
    end_ms: int
    tasks_total: int = 0
    tasks_running: int = 0

    @property
    def alive(self) -> bool:
        """True unless the job has ended for good."""
        return self.state not in TERMINAL_STATES

    @property
    def running(self) -> bool:
        """True when the job runs with all of its tasks."""
        return self.state == "RUNNING" and self.tasks_total > 0 and self.tasks_running == self.tasks_total


@dataclass(frozen=True)
class FlinkCheckpoints:
    """Checkpoint counts and the latest completed one (`latest_*` None before the first)."""

    completed: int
    failed: int
    in_progress: int
    restored: int
    latest_id: int | None = None
    latest_path: str | None = None
    latest_completed_ms: int | None = None
    latest_duration_ms: int | None = None
    latest_size_bytes: int | None = None
    restored_path: str | None = None
    """The checkpoint or savepoint that was restored last, by the job's start or by a restart of Flink's."""


@dataclass(frozen=True)
class FlinkFailure:
    """One failure of a job: when (milliseconds since the epoch), and the whole Java stack trace."""

    at_ms: int
    trace: str

    @property
    def cause(self) -> str:
        """The root cause in one line."""
        return root_cause(self.trace)


class FlinkRest:
    """The JobManager's REST interface."""

    engine = "flink"

    def __init__(self, endpoint: FlinkEndpoint, *, timeout: float = 10.0) -> None:
        self.url = endpoint.url
        self._http = HttpEngine(self.engine, endpoint.url, timeout=timeout)

    def close(self) -> None:
        """Close the pooled connections."""
        self._http.close()

    def overview(self) -> FlinkOverview:
        """Size and version of the cluster."""
        body = self._http.json("GET", "/overview")
        return FlinkOverview(
            version=body["flink-version"],
            taskmanagers=body["taskmanagers"],
            slots_total=body["slots-total"],
            slots_available=body["slots-available"],
            jobs_running=body["jobs-running"],
        )

    def jobs(self) -> list[FlinkJob]:
        """All jobs the JobManager remembers, newest first (ended ones are forgotten after an hour)."""
        body = self._http.json("GET", "/jobs/overview")
        found = [
            FlinkJob(
                id=job["jid"],
                name=job["name"],
                state=job["state"],
                start_ms=job["start-time"],
                end_ms=job["end-time"],
                tasks_total=job["tasks"]["total"],
                tasks_running=job["tasks"]["running"],
            )
            for job in body["jobs"]
        ]
        return sorted(found, key=lambda job: job.start_ms, reverse=True)

    def find(self, name: str) -> FlinkJob | None:
        """The job of that name: a living one if there is any, else the newest ended one, else None."""
        named = [job for job in self.jobs() if job.name == name]
        return next((job for job in named if job.alive), named[0] if named else None)

    def alive(self, name: str) -> list[FlinkJob]:
        """All living jobs of that name; more than one is a mistake the caller must repair."""
        return [job for job in self.jobs() if job.name == name and job.alive]

    def job(self, job_id: str) -> dict[str, Any]:
        """Details of a job as Flink gives them (vertices, timestamps, plan). EngineError 404 when unknown."""
        return dict(self._job(job_id, ""))

    def state(self, job_id: str) -> str | None:
        """State of a job, None when the JobManager does not know it."""
        try:
            return str(self._job(job_id, "/status")["status"])
        except EngineError as error:
            if error.status == 404:
                return None
            raise

    def checkpoints(self, job_id: str) -> FlinkCheckpoints:
        """Checkpoint summary of a job; all zero for a batch job, which makes none."""
        try:
            body = self._job(job_id, "/checkpoints")
        except EngineError as error:
            if "Checkpointing has not been enabled" in error.message:
                return FlinkCheckpoints(completed=0, failed=0, in_progress=0, restored=0)
            raise
        counts = body["counts"]
        latest = (body.get("latest") or {}).get("completed") or {}
        return FlinkCheckpoints(
            completed=counts["completed"],
            failed=counts["failed"],
            in_progress=counts["in_progress"],
            restored=counts["restored"],
            latest_id=latest.get("id"),
            latest_path=latest.get("external_path"),
            latest_completed_ms=latest.get("latest_ack_timestamp"),
            latest_duration_ms=latest.get("end_to_end_duration"),
            latest_size_bytes=latest.get("state_size"),
            restored_path=((body.get("latest") or {}).get("restored") or {}).get("external_path"),
        )

    def parameters(self, job_id: str) -> dict[str, str] | None:
        """The global job parameters (`pipeline.global-job-parameters`) a job was submitted with.

        None while the job is not far enough to tell. EngineError 404 when it is unknown.
        """
        config = self._job(job_id, "/config").get("execution-config")
        return None if config is None else {key: str(value) for key, value in config["user-config"].items()}

    def restarts(self, job_id: str) -> int | None:
        """How often the job was restarted by Flink itself since its submission, None while not known."""
        for metric in self._job(job_id, "/metrics?get=numRestarts") or []:
            if metric.get("id") == "numRestarts" and str(metric.get("value", "")).isdigit():
                return int(metric["value"])
        return None

    def failures(self, job_id: str, *, limit: int = 20) -> list[FlinkFailure]:
        """The newest failures of a job, newest first; empty when it never failed."""
        body = self._job(job_id, f"/exceptions?maxExceptions={limit}")
        entries = (body.get("exceptionHistory") or {}).get("entries") or []
        found = [FlinkFailure(int(entry["timestamp"]), entry.get("stacktrace") or "") for entry in entries]
        if not found and body.get("root-exception"):
            found = [FlinkFailure(int(body.get("timestamp") or 0), body["root-exception"])]
        return sorted(found, key=lambda failure: failure.at_ms, reverse=True)

    def exception(self, job_id: str) -> str:
        """Root cause of the newest failure of a job in one line, empty when it never failed."""
        newest = self.failures(job_id, limit=1)
        return newest[0].cause if newest else ""

    def cancel(self, job_id: str, *, timeout: float = 60.0) -> None:
        """Cancel a job and wait until it has ended. An already ended job is no error."""
        self._http.request("PATCH", f"/jobs/{job_id}", params={"mode": "cancel"}, accept=(404, 409))
        self._wait_ended(job_id, timeout)

    def stop_with_savepoint(self, job_id: str, directory: str, *, timeout: float = 120.0) -> str:
        """Stop a job gracefully and return the path of its savepoint under `directory`.

        Raises EngineError with Flink's cause when the savepoint fails (the job then goes on).
        """
        body = {"targetDirectory": directory, "drain": False}
        trigger = self._http.json("POST", f"/jobs/{job_id}/stop", json=body)["request-id"]
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            answer = self._http.json("GET", f"/jobs/{job_id}/savepoints/{trigger}")
            if answer["status"]["id"] == "COMPLETED":
                operation = answer["operation"]
                if "location" in operation:
                    self._wait_ended(job_id, timeout)
                    return str(operation["location"])
                cause = root_cause(operation.get("failure-cause", {}).get("stack-trace", "unknown cause"))
                raise EngineError(self.engine, f"the savepoint of job {job_id} failed: {cause}")
            time.sleep(0.2)
        raise EngineError(self.engine, f"job {job_id} did not finish its savepoint within {timeout:.0f} s")

    def _job(self, job_id: str, path: str) -> Any:
        """GET something of a job; EngineError with status 404 when the job is not known."""
        try:
            return self._http.json("GET", f"/jobs/{job_id}{path}")
        except EngineError as error:
            # Some paths answer an unknown job with 500 and a stack trace.
            unknown = ("NotFoundException: Job", "FlinkJobNotFoundException")
            if any(text in error.message for text in unknown):
                raise EngineError(self.engine, f"job {job_id} is not known", status=404) from error
            raise

    def _wait_ended(self, job_id: str, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            state = self.state(job_id)
            if state is None or state in TERMINAL_STATES:
                return
            time.sleep(0.2)
        raise EngineError(self.engine, f"job {job_id} did not end within {timeout:.0f} s")


def is_restore_failure(trace: str) -> bool:
    """Whether a job failed because the state it was started from cannot be used; `trace` is the whole trace.

    Decided by the place in Flink that failed, because the causes are of all sorts. Seen with Flink 1.20.5,
    all below `CheckpointCoordinator.restoreSavepoint` (the job never starts, and FAILED is its only state):

    - no such folder, or no `_metadata` in it: `FileNotFoundException: Cannot find checkpoint or savepoint
      file/directory ... on file system 's3'`;
    - metadata cut short or empty: `EOFException` without a word;
    - metadata overwritten: `IOException: Unexpected magic number`, or further inside
      `StreamCorruptedException: invalid stream header`;
    - state of an operator that the job no longer has: `IllegalStateException: Failed to rollback to
      checkpoint/savepoint ... Cannot map checkpoint/savepoint state for operator ...`.

    And below `StreamTaskStateInitializerImpl.streamOperatorStateContext` (the job restarts for ever):

    - a state file is gone: `FlinkException: Could not restore keyed state backend for ...`, in the end
      `AmazonS3Exception: The specified key does not exist`;
    - a state file is cut short: the same, in the end `EOFException`.

    A job that has more operators than the state is no failure at all for Flink: it starts, the additional
    ones without state. Hence state is only ever offered to a job of the same shape (`state_hash`).
    """
    if any(text in trace for text in _STORE_AWAY):
        return False
    return any(text in trace for text in _STATE_IS_READ)


class Script(Protocol):
    """What can be submitted: a rendered SQL script (render.flink_sql.FlinkScript)."""

    @property
    def name(self) -> str:
        """Name of the job."""

    def to_json(self) -> str:
        """The whole script; addresses and secrets only as ${NAME}."""


def script_environment(endpoints: Endpoints) -> dict[str, str]:
    """The values behind the ${NAME} placeholders of a Flink script (secrets: never log this).

    They are those of the identities that the streams have, which may do less than the control plane's own.
    """
    e = endpoints
    s3, cassandra, couchdb = e.s3.acting(FLINK), e.cassandra.acting(WRITER), e.couchdb.acting(WRITER)
    return {
        "KAFKA_BOOTSTRAP": e.kafka.bootstrap,
        "S3_ENDPOINT": s3.endpoint,
        "S3_ACCESS_KEY": s3.access_key,
        "S3_SECRET_KEY": s3.secret_key.get_secret_value(),
        "PAIMON_WAREHOUSE": e.paimon.warehouse,
        "CASSANDRA_HOST": cassandra.host,
        "CASSANDRA_PORT": str(cassandra.port),
        "CASSANDRA_USERNAME": cassandra.username,
        "CASSANDRA_PASSWORD": cassandra.password.get_secret_value(),
        "COUCHDB_URL": couchdb.url,
        "COUCHDB_USERNAME": couchdb.username,
        "COUCHDB_PASSWORD": couchdb.password.get_secret_value(),
    }


@dataclass(frozen=True)
class FlinkSubmitter:
    """Runs flink_jobs/run_sql.py in the Flink client environment.

    `python` is the interpreter of that environment, `flink_home` the FLINK_HOME it needs, `program` the
    path of run_sql.py, `env` further environment (JAVA_HOME, FLINK_CONF_DIR ...) and `rest` the address
    of the JobManager (`http://host:port`). `class_archives` is the folder where the client's JVM keeps
    archives of its classes, one per set of connectors: they halve the work of every start but the first.
    `socket` is that of a client that is kept warm (flink_jobs/serve_sql.py): it is asked first, and a client
    of its own is started for the script only when nobody answers there.
    """

    python: Path
    flink_home: Path
    program: Path
    rest: str
    env: Mapping[str, str] = field(default_factory=dict)
    class_archives: Path | None = None
    socket: Path | None = None

    def submit(
        self,
        script: Script,
        secrets: Mapping[str, str],
        *,
        savepoint: str | None = None,
        log: Callable[[str], None] | None = None,
        timeout: float = 180.0,
    ) -> str:
        """Submit a script and return its job id (for a batch script: after the job has ended).

        `secrets` fills the placeholders and travels in the process environment only. `log` gets every
        line the client prints. Raises EngineError with the client's last lines when it fails and
        EngineUnavailable when the client environment or the cluster is not there.
        """
        job_id = self._ask(script, secrets, savepoint, log, timeout)
        if job_id is None:
            raise EngineError("flink", f"{script.name} has only statements, so it started no job; execute it")
        return job_id

    def execute(
        self,
        script: Script,
        secrets: Mapping[str, str],
        *,
        log: Callable[[str], None] | None = None,
        timeout: float = 180.0,
    ) -> None:
        """Execute a script of statements only, such as ALTER TABLE; otherwise as `submit`."""
        self._ask(script, secrets, None, log, timeout)

    def _ask(
        self,
        script: Script,
        secrets: Mapping[str, str],
        savepoint: str | None,
        log: Callable[[str], None] | None,
        timeout: float,
    ) -> str | None:
        """Have a client run the script; returns the id of the job that it started, if any."""
        warm = self._warm(script, secrets, savepoint, timeout)
        if warm is not None:
            if log is not None:
                log(f"{script.name}: run by the warm client")
            return _job_id(warm)
        for path in (self.python, self.program, self.flink_home):
            if not path.exists():
                raise EngineUnavailable("flink", str(path), "run `lakehouse up` to install the Flink client")
        address = urlsplit(self.rest)
        environment = {
            **os.environ,
            **self.env,
            **secrets,
            "FLINK_HOME": str(self.flink_home),
            "FLINK_REST": f"{address.hostname}:{address.port}",
            "PYTHONUNBUFFERED": "1",
        }
        # The control plane's own interpreter settings must not leak into the other environment.
        for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
            environment.pop(name, None)
        with tempfile.TemporaryDirectory(prefix="lakehouse-flink-") as folder:
            file = Path(folder) / f"{script.name}.json"
            file.write_text(script.to_json(), encoding="utf-8")
            # A client whose caller was killed must not start a job behind the back of the next caller.
            command = [str(self.python), str(self.program), "--script", str(file), "--with-parent"]
            if self.class_archives is not None:
                self.class_archives.mkdir(parents=True, exist_ok=True)
                command += ["--class-archive", str(self.class_archives / f"{_connectors(script)}.jsa")]
            if savepoint:
                command += ["--savepoint", savepoint]
            code, lines = _run(command, environment, timeout, log)
        answer = _answer(lines)
        if code == 0 and "job_id" in answer:
            return _job_id(answer)
        reason = str(answer.get("error") or _reason(lines))
        raise EngineError("flink", f"submitting {script.name} failed (exit code {code}): {reason}")

    def _warm(
        self, script: Script, secrets: Mapping[str, str], savepoint: str | None, timeout: float
    ) -> dict[str, Any] | None:
        """Let the warm client run the script; returns its answer, None when there is no such client."""
        if self.socket is None:
            return None
        request = {"script": json.loads(script.to_json()), "environ": dict(secrets), "savepoint": savepoint}
        try:
            connection = flink_client.connect(self.socket, timeout)
        except OSError:
            return None
        with connection:
            try:
                answer = flink_client.ask(connection, request)
            except TimeoutError as error:
                raise EngineError(
                    "flink", f"submitting {script.name} failed: no answer after {timeout:.0f} s"
                ) from error
            except OSError as error:
                raise EngineError("flink", f"submitting {script.name} failed: {error}") from error
        if not answer:
            raise EngineError("flink", f"submitting {script.name} failed: the warm client has ended")
        if "job_id" in answer:
            return answer
        raise EngineError("flink", f"submitting {script.name} failed: {answer.get('error', answer)}")


def _job_id(answer: Mapping[str, Any]) -> str | None:
    return None if answer["job_id"] is None else str(answer["job_id"])


def _connectors(script: Script) -> str:
    """Names of the connectors and catalogs in a script: jobs of the same ones load the same classes."""
    return "-".join(sorted(set(_CONNECTOR.findall(script.to_json())))) or "none"


def _answer(lines: list[str]) -> dict[str, Any]:
    """The last line that is a JSON object: the program's answer."""
    for line in reversed(lines):
        if line.startswith("{"):
            try:
                answer = json.loads(line)
            except ValueError:
                continue
            if isinstance(answer, dict):
                return answer
    return {}


def _run(
    command: list[str], environment: Mapping[str, str], timeout: float, log: Callable[[str], None] | None
) -> tuple[int, list[str]]:
    """Run a command; its exit code and the last 400 lines it printed. Killed at the deadline.

    Its standard input stays open for as long as this process lives and waits.
    """
    process = subprocess.Popen(
        command,
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    printed: SimpleQueue[str | None] = SimpleQueue()

    def read() -> None:
        assert process.stdout is not None
        for raw in process.stdout:
            printed.put(raw.rstrip())
        printed.put(None)

    threading.Thread(target=read, name="flink-client", daemon=True).start()
    lines: list[str] = []
    deadline = time.monotonic() + timeout
    ended: float | None = None
    try:
        while True:
            try:
                line = printed.get(timeout=0.1)
            except Empty:
                line = ""
            if line is None:
                break
            if line:
                lines.append(line)
                del lines[:-400]
                if log is not None:
                    log(line)
                continue
            now = time.monotonic()
            if process.poll() is not None:
                # The client's JVM may outlive it, to write its archive of classes; it is not waited for.
                ended = ended or now
                if now - ended > _LAST_WORDS_SECONDS:
                    break
            elif now >= deadline:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                lines.append(f"Caused by: the Flink client was stopped after {timeout:.0f} s")
                break
        code = process.wait()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdin is not None:
            process.stdin.close()
    return code, lines


def _reason(lines: list[str]) -> str:
    trace = "\n".join(lines)
    if "Caused by: " in trace:
        return root_cause(trace)
    return " | ".join(lines[-5:])[:1000] or "it printed nothing"
