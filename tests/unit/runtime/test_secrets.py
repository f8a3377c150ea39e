from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lakehouse_dagster.engines.flink import script_environment
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


BEFORE = (
    "mysql_root", "mysql", "mysql_cdc", "postgres_superuser", "postgres_dagster", "postgres_nessie",
    "s3_access_key", "s3_secret_key", "cassandra", "couchdb",
)  # fmt: skip
"""What the file of an instance held before each engine had identities of its own."""


def older(path: Path) -> dict[str, str]:
    """Write the file of an earlier version and return what it holds."""
    held = {name: f"{number:032x}" for number, name in enumerate(BEFORE)}
    path.write_text(json.dumps(held))
    path.chmod(0o600)
    return held


def test_an_earlier_versions_file_is_completed_and_keeps_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    held = older(path)
    completed = create_secrets(path)
    stored = json.loads(path.read_text())
    assert stored.keys() == Secrets.model_fields.keys() > held.keys()
    assert {name: stored[name] for name in held} == held
    assert len(set(stored.values())) == len(stored)
    assert completed == create_secrets(path) == load_secrets(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [item.name for item in tmp_path.iterdir()] == ["secrets.json"]


def test_a_file_that_is_not_complete_yet_is_never_used(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    held = older(path)
    with pytest.raises(RuntimeFailure, match=r"earlier version and lacks .*s3_flink") as failure:
        load_secrets(path)
    assert "lakehouse up" in failure.value.fix
    assert json.loads(path.read_text()) == held


def test_an_upgrade_that_is_killed_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secrets.json"
    held = older(path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        create_secrets(path)
    assert json.loads(path.read_text()) == held
    assert [item.name for item in tmp_path.iterdir()] == ["secrets.json"]


def test_an_identity_changes_the_login_and_nothing_else(tmp_path: Path) -> None:
    settings = Settings.load({"LAKEHOUSE_DATA": str(tmp_path)})
    secrets = Secrets()
    mysql = build_endpoints(settings, secrets).mysql
    reader = mysql.model_copy(update={"port": 7}).acting("reader")
    assert (reader.user, reader.password, reader.port) == ("lakehouse_reader", secrets.mysql_reader, 7)
    assert not reader.identities
    assert mysql.acting("nobody-of-that-name") is mysql


def test_flink_gets_its_own_keys_and_nobodys_else(tmp_path: Path) -> None:
    settings = Settings.load({"LAKEHOUSE_DATA": str(tmp_path)})
    secrets = Secrets()
    given = script_environment(build_endpoints(settings, secrets))
    plain = {name: getattr(secrets, name).get_secret_value() for name in Secrets.model_fields}
    assert {name for name, value in plain.items() if value in given.values()} == {
        "s3_flink",
        "cassandra_writer",
        "couchdb_writer",
    }


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
        "identities": {
            "reader": {
                "name": "lakehouse_reader",
                "password": secrets.mysql_reader.get_secret_value(),
            },
            "prober": {
                "name": "lakehouse_prober",
                "password": secrets.mysql_prober.get_secret_value(),
            },
        },
    }
    assert {name: sorted(values) for name, values in plain.items()} == {
        "mysql": ["database", "host", "identities", "password", "port", "user"],
        "postgres": ["database", "host", "password", "port", "user"],
        "kafka": ["bootstrap"],
        "connect": ["metrics_url", "url"],
        "s3": ["access_key", "bucket", "endpoint", "identities", "secret_key"],
        "paimon": ["warehouse"],
        "nessie": ["url"],
        "flink": ["url"],
        "trino": ["catalog", "host", "identities", "port", "user"],
        "cassandra": ["datacenter", "host", "identities", "keyspace", "password", "port", "username"],
        "couchdb": ["identities", "password", "url", "username"],
        "dagster": ["url"],
    }


def test_endpoints_of_an_instance_never_started(tmp_path: Path) -> None:
    with pytest.raises(RuntimeFailure, match="never started"):
        load_endpoints(Settings.load({"LAKEHOUSE_DATA": str(tmp_path)}))
