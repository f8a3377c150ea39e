from __future__ import annotations

from pathlib import Path

import pytest

from lakehouse_dagster.runtime.errors import RuntimeFailure
from lakehouse_dagster.runtime.ports import DEFAULT_PORTS, MAX_OFFSET, MAX_PORT
from lakehouse_dagster.runtime.settings import PROJECT, Settings


def test_defaults() -> None:
    settings = Settings.load({})
    assert settings.project == PROJECT
    assert (PROJECT / "pyproject.toml").exists()
    assert settings.home == Path("~/.cache/lakehouse").expanduser()
    assert settings.data == PROJECT / ".lakehouse"
    assert settings.port("mysql") == 13306


def test_environment_selects_the_instance(tmp_path: Path) -> None:
    settings = Settings.load(
        {
            "LAKEHOUSE_HOME": "~/engines",
            "LAKEHOUSE_DATA": str(tmp_path / "a b"),
            "LAKEHOUSE_PORT_OFFSET": "10000",
        }
    )
    assert settings.home == Path.home() / "engines"
    assert settings.data == tmp_path / "a b"
    assert settings.url("trino") == "http://127.0.0.1:28080"
    assert settings.environment() == {
        "LAKEHOUSE_HOME": str(Path.home() / "engines"),
        "LAKEHOUSE_DATA": str(tmp_path / "a b"),
        "LAKEHOUSE_PORT_OFFSET": "10000",
        "DAGSTER_HOME": str(tmp_path / "a b" / "dagster"),
    }
    # A child process that gets these variables finds the same instance.
    assert Settings.load(settings.environment()) == settings


@pytest.mark.parametrize("text", ["x", "-1", "1.5", str(MAX_OFFSET + 1)])
def test_bad_offset_is_named(text: str) -> None:
    with pytest.raises(RuntimeFailure, match="LAKEHOUSE_PORT_OFFSET") as failure:
        Settings.load({"LAKEHOUSE_PORT_OFFSET": text})
    assert text in failure.value.problem
    assert failure.value.fix


def test_ports_are_unique_and_stay_in_range() -> None:
    assert len(set(DEFAULT_PORTS.values())) == len(DEFAULT_PORTS)
    assert max(DEFAULT_PORTS.values()) + MAX_OFFSET <= MAX_PORT
    assert min(DEFAULT_PORTS.values()) > 1024


def test_socket_folder_is_short_and_differs_between_instances(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-rather-long-folder-name"] * 12)
    first = Settings.load({"LAKEHOUSE_DATA": str(deep / "one")})
    second = Settings.load({"LAKEHOUSE_DATA": str(deep / "two")})
    assert first.sockets != second.sockets
    # sockaddr_un.sun_path has 108 bytes, the last of them zero.
    assert len(bytes(first.sockets / "supervisor.sock.1234567")) < 107
