from __future__ import annotations

import io
import json
from contextlib import nullcontext
from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError
from rich.console import Console
from typer.testing import CliRunner

from lakehouse_dagster.cli import app
from lakehouse_dagster.engines.errors import EngineUnavailable
from lakehouse_dagster.governance.versions import commands, merge
from lakehouse_dagster.governance.versions import diff as diffing
from lakehouse_dagster.governance.versions.diff import Diff, Row, TableDiff
from lakehouse_dagster.governance.versions.jobs import RollbackConfig, version_jobs
from lakehouse_dagster.governance.versions.merge import Check, MergePlan, MergeResult
from lakehouse_dagster.governance.versions.references import UnknownVersionError

DIFF = Diff(
    "a" * 64,
    "b" * 64,
    (
        TableDiff(
            "flights",
            key=("id",),
            added=1,
            changed=1,
            same=7,
            schema={"added": ["x date"], "removed": [], "changed": []},
            rows=(
                Row(
                    "changed", {"id": 1, "v": "old", "d": None}, {"id": 1, "v": "new", "d": date(2013, 1, 2)}
                ),
                Row("added", {}, {"id": 2, "v": "[bold]", "d": None}),
            ),
            rows_left_out=True,
        ),
        TableDiff("gone", only_in="v1"),
    ),
    ("airlines",),
)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(commands, "open_clients", lambda: nullcontext(object()))

    def invoke(*arguments: str) -> Any:
        return CliRunner().invoke(app, list(arguments))

    return invoke


def test_a_difference_is_shown_old_and_new(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diffing, "diff", lambda *_, **__: DIFF)
    shown = run("diff", "flights", "v1", "main")
    assert shown.exit_code == 0
    assert "old -> new" in shown.output
    assert "NULL -> 2013-01-02" in shown.output
    assert "[bold]" in shown.output
    assert "only in v1" in shown.output
    assert "added: x date" in shown.output
    told = json.loads(run("diff", "flights", "v1", "main", "--json").output)
    assert told["identical"] == ["airlines"]
    assert told["tables"][0]["rows"][0]["after"] == {"id": 1, "v": "new", "d": "2013-01-02"}
    assert told["tables"][0]["rows_left_out"] is True


def test_only_changed_columns_of_a_changed_row_are_named() -> None:
    row = DIFF.tables[0].rows[0]
    assert row.changed == ["v", "d"]
    text = io.StringIO()
    Console(file=text, width=120).print(commands.diff_rows(DIFF.tables[0]))
    assert "1 -> 1" not in text.getvalue()


@pytest.mark.parametrize(
    ("error", "code"),
    [(UnknownVersionError("there is no version x"), 2), (EngineUnavailable("trino", "nowhere"), 1)],
)
def test_what_goes_wrong_is_told_with_its_exit_code(
    run: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(diffing, "diff", fail)
    done = run("diff", "flights", "x")
    assert done.exit_code == code
    assert str(error) in done.output.replace("\n", "")


@pytest.mark.parametrize("arguments", [(), ("--to", "v1", "--forward")])
def test_a_rollback_needs_one_of_its_two_directions(run: Any, arguments: tuple[str, ...]) -> None:
    done = run("rollback", "flights", *arguments)
    assert done.exit_code == 2
    assert "one of --to and --forward" in done.output


def test_a_merge_that_was_refused_exits_with_1_and_says_why(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = MergePlan((("team", "t"),), (("flights", "airlines"),), ())
    refused = MergeResult(
        plan, (Check("SELECT 1", ((1,),), ("n",)), Check("ok", (), ())), (("team", "t"),), None, False
    )
    monkeypatch.setattr(merge, "merge_branch", lambda *_, **__: refused)
    done = run("branch", "merge", "flights", "ops")
    assert done.exit_code == 1
    assert "check failed: SELECT 1" in done.output
    assert "only Flink writes them: flights.airlines" in done.output
    assert "main has changed the same since: team.t" in done.output
    told = json.loads(run("branch", "merge", "flights", "ops", "--json").output)
    assert told["mergeable"] is False
    assert [check["passed"] for check in told["checks"]] == [False, True]
    good = MergeResult(plan, (), (), "c" * 64, False)
    monkeypatch.setattr(merge, "merge_branch", lambda *_, **__: good)
    done = run("branch", "merge", "flights", "ops")
    assert done.exit_code == 0
    assert "merged into main as cccccccccccc: team.t" in done.output


def test_the_forms_of_the_jobs_refuse_what_the_commands_refuse() -> None:
    with pytest.raises(ValidationError, match="one of `to` and `forward: true`"):
        RollbackConfig()
    with pytest.raises(ValidationError, match="one of"):
        RollbackConfig(to="v1", forward=True)
    assert RollbackConfig(forward=True).to == ""


def test_there_is_a_job_for_every_command_that_does_something() -> None:
    contract = commands.find_contract("flights")
    names = {job.name for job in version_jobs(contract)}
    assert names == {f"flights_{name}" for name in ("tag", "branch", "merge", "rollback", "diff")}
