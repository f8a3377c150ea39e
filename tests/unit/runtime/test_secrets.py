from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lakehouse_dagster.runtime.endpoints import build_endpoints, load_endpoints
from lakehouse_dagster.runtime.errors import RuntimeFailure
from lakehouse_dagster.runtime.secrets import Secrets, create_secrets, load_secrets
from lakehouse_dagster.runtime.settings import Settings


def test_created_once_private_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    old = os.umask(0)
    try:
        created = create_secrets(path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert create_secrets(path) == created == load_secrets(path)
    assert [item.name for item in tmp_path.iterdir()] == ["secrets.json"]
    values = list(json.loads(path.read_text()).values())
    assert len(set(values)) == len(values)
    assert all(len(value) >= 20 and value.isalnum() for value in values)


def test_two_first_starts_agree(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: create_secrets(path), range(8)))
    assert all(item == found[0] for item in found)


def test_missing_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RuntimeFailure, match="lakehouse up"):
        load_secrets(tmp_path / "secrets.json")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_readable_by_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secrets.json"
    create_secrets(path)
    path.chmod(mode)
    with pytest.raises(RuntimeFailure, match=f"{mode:04o}") as failure:
        load_secrets(path)
    assert "chmod 600" in failure.value.fix


def test_link_is_refused(tmp_path: Path) -> None:
    create_secrets(tmp_path / "real.json")
    (tmp_path / "secrets.json").symlink_to(tmp_path / "real.json")
    with pytest.raises(RuntimeFailure, match="cannot read"):
        load_secrets(tmp_path / "secrets.json")


@pytest.mark.parametrize("text", ["", "{", '{"mysql": 5}', '{"unknown": "hunter2-hunter2"}'])
def test_damaged_file_is_named_without_its_content(tmp_path: Path, text: str) -> None:
    path = tmp_path / "secrets.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(RuntimeFailure, match="damaged") as failure:
        load_secrets(path)
    assert str(path) in failure.value.problem
    assert "hunter2" not in str(failure.value)


def test_endpoints_hide_passwords_unless_asked(tmp_path: Path) -> None:
    settings = Settings.load({"LAKEHOUSE_DATA": str(tmp_path), "LAKEHOUSE_PORT_OFFSET": "7"})
    secrets = Secrets()
    endpoints = build_endpoints(settings, secrets)
    assert secrets.mysql.get_secret_value() not in repr(endpoints) + endpoints.model_dump_json()
    plain = json.loads(endpoints.to_json())
    assert plain["mysql"] == {
        "host": "127.0.0.1",
        "port": 13313,
        "user": "lakehouse",
        "password": secrets.mysql.get_secret_value(),
        "database": "airline",
    }
    assert {name: sorted(values) for name, values in plain.items()} == {
        "mysql": ["database", "host", "password", "port", "user"],
        "postgres": ["database", "host", "password", "port", "user"],
        "kafka": ["bootstrap"],
        "connect": ["metrics_url", "url"],
        "s3": ["access_key", "bucket", "endpoint", "secret_key"],
        "paimon": ["warehouse"],
        "nessie": ["url"],
        "flink": ["url"],
        "trino": ["catalog", "host", "port", "user"],
        "cassandra": ["datacenter", "host", "keyspace", "password", "port", "username"],
        "couchdb": ["password", "url", "username"],
        "dagster": ["url"],
    }


def test_endpoints_of_an_instance_never_started(tmp_path: Path) -> None:
    with pytest.raises(RuntimeFailure, match="never started"):
        load_endpoints(Settings.load({"LAKEHOUSE_DATA": str(tmp_path)}))
