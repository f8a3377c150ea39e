from __future__ import annotations

import json
from pathlib import Path

import pytest

from lakehouse_dagster.runtime.doris import FILE, load_doris
from lakehouse_dagster.runtime.errors import RuntimeFailure
from lakehouse_dagster.runtime.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.load({"LAKEHOUSE_DATA": str(tmp_path)})


def test_there_is_none_unless_it_is_configured(settings: Settings) -> None:
    assert load_doris(settings, {"LAKEHOUSE_DATA": "x"}) is None


def test_the_environment_wins_over_the_file(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("it's one\n")
    file = {"host": "doris", "port": 9030, "replicas": 3, "password_file": str(tmp_path / "secret")}
    (tmp_path / FILE).write_text(json.dumps(file))
    found = load_doris(
        settings, {"LAKEHOUSE_DORIS_PORT": "19030", "LAKEHOUSE_DORIS_S3_ENDPOINT": "http://m:9000"}
    )
    assert found is not None
    assert (found.host, found.port, found.user, found.replicas) == ("doris", 19030, "root", 3)
    assert found.password.get_secret_value() == "it's one"
    assert found.s3_endpoint == "http://m:9000"
    assert found.reporter_password is None
    assert "it's one" not in repr(found)


@pytest.mark.parametrize(
    ("environ", "file", "message"),
    [
        ({"LAKEHOUSE_DORIS_PORT": "9030"}, None, "without a host"),
        ({"LAKEHOUSE_DORIS_HOST": "d", "LAKEHOUSE_DORIS_PORT": "nine"}, None, "port"),
        ({"LAKEHOUSE_DORIS_HOST": "d", "LAKEHOUSE_DORIS_REPLICAS": "0"}, None, "replicas"),
        ({"LAKEHOUSE_DORIS_HOST": "d", "LAKEHOUSE_DORIS_PASSWORD": "x"}, None, "is not a setting"),
        (
            {"LAKEHOUSE_DORIS_HOST": "d", "LAKEHOUSE_DORIS_PASSWORD_FILE": "/none/x"},
            None,
            "password file /none/x",
        ),
        ({}, "{", "cannot read"),
        ({}, '{"host": "d", "password": "x"}', "passwords stand in files"),
    ],
)
def test_what_cannot_be_one_is_refused_with_the_fix(
    environ: dict[str, str], file: str | None, message: str, settings: Settings, tmp_path: Path
) -> None:
    if file is not None:
        (tmp_path / FILE).write_text(file)
    with pytest.raises(RuntimeFailure) as caught:
        load_doris(settings, environ)
    assert message in f"{caught.value.problem} {caught.value.fix}"
