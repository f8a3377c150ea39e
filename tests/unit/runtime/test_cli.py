from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lakehouse_dagster.cli import COMMANDS, app, load_command
from lakehouse_dagster.runtime.secrets import create_secrets
from lakehouse_dagster.runtime.settings import Settings

PROGRAM = Path(sys.executable).parent / "lakehouse"


def test_help_lists_all_commands_and_loads_none() -> None:
    script = (
        "import sys; from typer.testing import CliRunner; from lakehouse_dagster.cli import app;"
        "print(CliRunner().invoke(app, ['--help']).output);"
        "loaded = [name for name in sys.modules if name.startswith('lakehouse_dagster.')];"
        "assert loaded == ['lakehouse_dagster.cli'], loaded"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for name in COMMANDS:
        assert f" {name} " in done.stdout


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_loads_and_has_help(name: str) -> None:
    command = load_command(name)
    assert command.help
    result = CliRunner().invoke(app, [name, "--help"])
    assert result.exit_code == 0, result.output


def test_a_typing_error_gets_a_suggestion() -> None:
    result = CliRunner().invoke(app, ["statsu"])
    assert result.exit_code == 2
    assert "status" in result.output


def test_failures_are_told_without_a_traceback(tmp_path: Path) -> None:
    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(PROGRAM), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            env={
                "PATH": "/usr/bin:/bin",
                "HOME": str(tmp_path),
                "LAKEHOUSE_DATA": str(tmp_path),
                **environment,
            },
        )

    unknown = run("up", "oracle")
    assert unknown.returncode == 1
    assert "there is no service 'oracle'" in unknown.stderr
    assert "Traceback" not in unknown.stderr
    never = run("endpoints", "--json")
    assert never.returncode == 1
    assert "run `lakehouse up` first" in never.stderr
    offset = run("status", LAKEHOUSE_PORT_OFFSET="many")
    assert offset.returncode == 1
    assert "LAKEHOUSE_PORT_OFFSET" in offset.stderr
    log = run("logs", "../secrets")
    assert log.returncode == 1
    assert "there is no log" in log.stderr


def test_logins_are_listed_without_passwords_and_the_reader_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEHOUSE_DATA", str(tmp_path))
    secrets = create_secrets(Settings.load().secrets_file)
    result = CliRunner().invoke(app, ["endpoints"])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    mysql = next(number for number, line in enumerate(lines) if line.startswith("mysql "))
    assert lines[mysql + 1].split()[0] == "reader"
    assert not any(line.startswith("doris") for line in lines), "none is configured"
    assert not [
        n for n in type(secrets).model_fields if getattr(secrets, n).get_secret_value() in result.output
    ]
    shown = json.loads(CliRunner().invoke(app, ["endpoints", "--json"]).output)
    assert shown["mysql"]["identities"]["reader"]["password"] == secrets.mysql_reader.get_secret_value()
    assert "doris" not in shown
