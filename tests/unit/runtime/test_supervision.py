from __future__ import annotations

import os
from pathlib import Path

import pytest
from supervisor.options import ServerOptions

from lakehouse_dagster.runtime.errors import RuntimeFailure
from lakehouse_dagster.runtime.services.base import Program
from lakehouse_dagster.runtime.settings import Settings
from lakehouse_dagster.runtime.supervision import (
    Supervisor,
    base_environment,
    private_folder,
    render_program,
)


def read_back(settings: Settings, text: str) -> object:
    """Let supervisor itself parse the section, as it will at run time."""
    settings.logs.mkdir(parents=True, exist_ok=True)
    config = settings.data / "supervisord.conf"
    config.write_text("[supervisord]\n" + text)
    options = ServerOptions()
    options.realize(["-c", str(config)], doc="x")
    (group,) = options.process_group_configs
    (program,) = group.process_configs
    return program


def test_program_survives_supervisors_own_parser(tmp_path: Path) -> None:
    settings = Settings(project=tmp_path, home=tmp_path / "home", data=tmp_path / "50% of a b")
    settings.data.mkdir()
    command = ("/bin/echo", "a b", "100%", "it's", "--x=$HOME", 'say "hi"')
    program = Program(
        command,
        directory=settings.data,
        environment={"A": "with space, and comma", "B": "100%", "C": "$x'y", "D": "", "E": "a=b:c/d"},
        stop_signal="INT",
        stop_seconds=7,
    )
    found = read_back(settings, render_program(settings, "demo", program, "d1"))
    import shlex

    assert shlex.split(found.command) == list(command)  # type: ignore[attr-defined]
    assert found.directory == str(settings.data)  # type: ignore[attr-defined]
    assert found.stdout_logfile == str(settings.logs / "demo.log")  # type: ignore[attr-defined]
    environment = found.environment  # type: ignore[attr-defined]
    assert {key: environment[key] for key in program.environment} == dict(program.environment)
    assert environment["LAKEHOUSE_DATA"] == str(settings.data)
    assert environment["LAKEHOUSE_SERVICE"] == "demo"
    assert environment["LAKEHOUSE_CONFIG"] == "d1"
    assert found.stopwaitsecs == 7  # type: ignore[attr-defined]
    assert found.stopasgroup  # type: ignore[attr-defined]
    assert found.killasgroup  # type: ignore[attr-defined]
    assert found.autorestart is not False  # type: ignore[attr-defined]
    assert not found.autostart  # type: ignore[attr-defined]


@pytest.mark.parametrize("value", ["both ' and \"", '"edge', "line\nbreak", "a ; comment"])
def test_values_supervisor_cannot_hold_are_refused(tmp_path: Path, value: str) -> None:
    settings = Settings(project=tmp_path, home=tmp_path, data=tmp_path)
    with pytest.raises(RuntimeFailure):
        render_program(settings, "x", Program(("x",), tmp_path, {"KEY": value}), "d")


def test_services_inherit_nothing_from_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Xmx1g")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy")
    monkeypatch.delenv("LAKEHOUSE_OPENLINEAGE_DISABLED", raising=False)
    settings = Settings(project=tmp_path, home=tmp_path / "h", data=tmp_path / "d", port_offset=3)
    environment = base_environment(settings)
    assert set(environment) == {
        "PATH",
        "HOME",
        "LANG",
        "TZ",
        "LAKEHOUSE_HOME",
        "LAKEHOUSE_DATA",
        "LAKEHOUSE_PORT_OFFSET",
        "DAGSTER_HOME",
    }
    assert environment["LAKEHOUSE_PORT_OFFSET"] == "3"


def test_private_folder(tmp_path: Path) -> None:
    folder = tmp_path / "sockets"
    private_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    private_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(RuntimeFailure, match="link"):
        private_folder(tmp_path / "link")
    (tmp_path / "file").write_text("")
    with pytest.raises(RuntimeFailure, match="file"):
        private_folder(tmp_path / "file")


def test_a_stale_pid_file_is_not_believed(tmp_path: Path) -> None:
    settings = Settings(project=tmp_path, home=tmp_path, data=tmp_path)
    supervisor = Supervisor(settings)
    assert supervisor.pid() is None
    folder = settings.run / "supervisor"
    folder.mkdir(parents=True)
    (folder / "supervisord.pid").write_text(str(os.getpid()))
    assert supervisor.pid() is None
    assert supervisor.infos() == {}
