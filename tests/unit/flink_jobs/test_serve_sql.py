"""The warm client's side of the conversation, without Flink: what it is asked, and what it answers."""

from __future__ import annotations

import json
import socket
import stat
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import pytest

from lakehouse_dagster.engines.errors import EngineError, EngineUnavailable
from lakehouse_dagster.engines.flink import FlinkSubmitter
from lakehouse_dagster.render.flink_sql import FlinkScript

JOBS = Path(__file__).parents[3] / "flink_jobs"
SCRIPT = FlinkScript(
    "a-job", {}, ("CREATE TABLE t WITH ('k' = '${A_PASSWORD}')",), ("INSERT INTO t SELECT 1",)
)


@pytest.fixture
def serve_sql(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(JOBS))
    monkeypatch.setenv("FLINK_REST", "127.0.0.1:1")
    import serve_sql

    yield serve_sql
    sys.modules.pop("serve_sql", None)
    sys.modules.pop("run_sql", None)


@pytest.fixture
def path(serve_sql: ModuleType, tmp_path: Path) -> Iterator[Path]:
    socket_path = tmp_path / "client.sock"
    with serve_sql.Server(socket_path, most=1000) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield socket_path
        server.shutdown()
        thread.join(10)


def submitter(path: Path) -> FlinkSubmitter:
    nowhere = path.parent / "nowhere"
    return FlinkSubmitter(nowhere, nowhere, nowhere, "http://127.0.0.1:1", socket=path)


def test_a_script_is_submitted_with_its_secrets(
    serve_sql: ModuleType, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def submit(script: Any, configuration: Any, environ: Any, wanted: Any) -> dict[str, Any]:
        seen.append((script.statements, configuration, wanted()))
        return {"job_id": "j1", "name": script.name, "seconds": {}}

    monkeypatch.setattr(serve_sql, "submit", submit)
    assert submitter(path).submit(SCRIPT, {"A_PASSWORD": "it's"}, savepoint="s3://x") == "j1"
    ((statements, configuration, wanted),) = seen
    assert statements == ("CREATE TABLE t WITH ('k' = 'it''s')",)
    assert configuration["execution.state-recovery.path"] == "s3://x"
    assert wanted is True


def test_a_refusal_names_the_cause_and_no_secret(
    serve_sql: ModuleType, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def submit(*_: Any) -> dict[str, Any]:
        raise serve_sql.JobFailed("CREATE TABLE t: the password 'geheim' is wrong")

    monkeypatch.setattr(serve_sql, "submit", submit)
    with pytest.raises(EngineError, match=r"submitting a-job failed: .*'\*\*\*' is wrong"):
        submitter(path).submit(SCRIPT, {"A_PASSWORD": "geheim"})
    with pytest.raises(EngineError, match="not set: A_PASSWORD"):
        submitter(path).submit(SCRIPT, {})


STATEMENTS = FlinkScript("alter", {}, ("ALTER TABLE t ADD a INT",), (), statements_only=True)


def test_a_script_of_statements_starts_no_job(
    serve_sql: ModuleType, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def submit(script: Any, *_: Any) -> dict[str, Any]:
        seen.append((script.statements, script.statements_only))
        return {"job_id": None if script.statements_only else "j", "name": script.name, "seconds": {}}

    monkeypatch.setattr(serve_sql, "submit", submit)
    submitter(path).execute(STATEMENTS, {})
    assert seen == [(STATEMENTS.statements, True)]
    with pytest.raises(EngineError, match="alter has only statements, so it started no job"):
        submitter(path).submit(STATEMENTS, {})


@pytest.mark.usefixtures("serve_sql")
def test_a_script_without_inserts_has_to_say_so(path: Path) -> None:
    with pytest.raises(EngineError, match="'inserts' is empty"):
        submitter(path).execute(replace(STATEMENTS, statements_only=False), {})
    with pytest.raises(EngineError, match="'inserts' must be empty"):
        submitter(path).execute(replace(STATEMENTS, inserts=("INSERT INTO t SELECT 1",)), {})


class FakeTables:
    """A table environment that remembers what it was told."""

    def __init__(self) -> None:
        self.executed: list[str] = []

    def execute_sql(self, statement: str) -> None:
        if "wrong" in statement:
            raise RuntimeError("Caused by: x.Y: no such table")
        self.executed.append(statement)

    def create_statement_set(self) -> None:
        raise AssertionError("no job is wanted")


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> FakeTables:
    """The Flink client's Python, as far as a script of statements needs it."""
    found = FakeTables()
    anything = MagicMock()
    common, table = ModuleType("pyflink.common"), ModuleType("pyflink.table")
    common.Configuration = anything  # type: ignore[attr-defined]
    table.EnvironmentSettings = anything  # type: ignore[attr-defined]
    table.TableEnvironment = MagicMock(create=lambda settings: found)  # type: ignore[attr-defined]
    for module in (ModuleType("pyflink"), common, table):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return found


def test_statements_are_executed_one_by_one(serve_sql: ModuleType, tables: FakeTables) -> None:
    script = serve_sql.Script.parse(json.loads(STATEMENTS.to_json()), "it")
    answer = serve_sql.submit(script, {"pipeline.name": "alter"}, {})
    assert (answer["job_id"], answer["name"]) == (None, "alter")
    assert tables.executed == list(STATEMENTS.statements)
    both = replace(STATEMENTS, statements=("a", "wrong", "b"))
    with pytest.raises(serve_sql.JobFailed, match=r"wrong: x\.Y: no such table"):
        serve_sql.submit(
            serve_sql.Script.parse(json.loads(both.to_json()), "it"), {"pipeline.name": "alter"}, {}
        )
    assert tables.executed[1:] == ["a"]


def test_no_statement_is_executed_for_a_caller_that_has_gone(
    serve_sql: ModuleType, tables: FakeTables
) -> None:
    script = serve_sql.Script.parse(json.loads(STATEMENTS.to_json()), "it")
    with pytest.raises(serve_sql.JobFailed, match="nobody waits"):
        serve_sql.submit(script, {"pipeline.name": "alter"}, {}, lambda: False)
    assert tables.executed == []


def test_the_cold_client_executes_statements_too(tmp_path: Path) -> None:
    program = tmp_path / "run_sql.py"
    program.write_text('print(\'{"job_id": null, "name": "alter", "seconds": {}}\')')
    cold = FlinkSubmitter(Path(sys.executable), tmp_path, program, "http://127.0.0.1:1")
    cold.execute(STATEMENTS, {})
    with pytest.raises(EngineError, match="started no job"):
        cold.submit(STATEMENTS, {})
    program.write_text('print(\'{"error": "no such table"}\'); raise SystemExit(1)')
    with pytest.raises(EngineError, match="no such table"):
        cold.execute(STATEMENTS, {})


def test_a_caller_that_has_gone_is_noticed(
    serve_sql: ModuleType, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []
    gone, asked = threading.Event(), threading.Event()

    def submit(script: Any, configuration: Any, environ: Any, wanted: Any) -> dict[str, Any]:
        told.append(wanted())
        gone.wait(10)
        deadline = time.monotonic() + 10
        while wanted() and time.monotonic() < deadline:
            time.sleep(0.01)
        told.append(wanted())
        asked.set()
        return {"job_id": "j", "name": script.name, "seconds": {}}

    monkeypatch.setattr(serve_sql, "submit", submit)
    request = {"script": json.loads(SCRIPT.to_json()), "environ": {"A_PASSWORD": "x"}}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(json.dumps(request).encode() + b"\n")
        deadline = time.monotonic() + 10
        while not told and time.monotonic() < deadline:
            time.sleep(0.01)
    gone.set()
    assert asked.wait(10)
    assert told == [True, False]


def test_scripts_of_one_name_wait_for_each_other(
    serve_sql: ModuleType, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = most = 0
    counting = threading.Lock()

    def submit(script: Any, *_: Any) -> dict[str, Any]:
        nonlocal at_once, most
        with counting:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.05)
        with counting:
            at_once -= 1
        return {"job_id": "j", "name": script.name, "seconds": {}}

    monkeypatch.setattr(serve_sql, "submit", submit)
    threads = [
        threading.Thread(target=submitter(path).submit, args=(SCRIPT, {"A_PASSWORD": "x"})) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert most == 1


@pytest.mark.usefixtures("serve_sql")
def test_what_is_no_request_is_answered(path: Path) -> None:
    for request, said in ((b"nonsense\n", "not JSON"), (b'{"script": 7}\n', "must hold a JSON object")):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            connection.sendall(request)
            answer = json.loads(connection.makefile("rb").readline())
        assert said in answer["error"]
        assert answer["status"] == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_without_a_warm_client_a_cold_one_is_started(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="nowhere"):
        submitter(tmp_path / "none.sock").submit(SCRIPT, {})


def test_after_enough_scripts_it_ends(
    serve_sql: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve_sql, "submit", lambda *_: {"job_id": "j", "seconds": {}})
    path = tmp_path / "few.sock"
    with serve_sql.Server(path, most=2) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        for _ in range(2):
            submitter(path).submit(SCRIPT, {"A_PASSWORD": "x"})
        thread.join(10)
        assert not thread.is_alive()
