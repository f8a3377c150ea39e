from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from lakehouse_dagster.runtime.errors import RuntimeFailure
from lakehouse_dagster.runtime.settings import PROJECT
from lakehouse_dagster.runtime.versions import load_versions, parse_versions


def test_comments_quotes_and_blank_lines() -> None:
    versions = parse_versions('# note\n\nA_VERSION=1.2\nHASHES="aa bb"  # two of them\n')
    assert dict(versions) == {"A_VERSION": "1.2", "HASHES": "aa bb"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("A=1\nB 2\n", "pins:2: 'B 2' is not KEY=VALUE"),
        ("A=1\nA=2\n", "pins:2: A is there twice"),
        ('A=""\n', "pins:1: A is empty"),
        ("a=1\n", "pins:1: 'a=1' is not KEY=VALUE"),
    ],
)
def test_a_wrong_line_is_named(text: str, problem: str) -> None:
    with pytest.raises(RuntimeFailure) as caught:
        parse_versions(text, Path("pins"))
    assert caught.value.problem == problem
    assert caught.value.fix


def test_an_unknown_key_names_the_file() -> None:
    with pytest.raises(RuntimeFailure, match="pins does not pin KAFKA_VERSION"):
        parse_versions("A=1", Path("pins"))["KAFKA_VERSION"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RuntimeFailure, match=re.escape(str(tmp_path / "none.env"))):
        load_versions(tmp_path / "none.env")


def test_what_must_repeat_a_version_repeats_the_pinned_one() -> None:
    versions = load_versions()
    flink = (PROJECT / "flink_jobs" / "pyproject.toml").read_text()
    assert f'"apache-flink=={versions["FLINK_VERSION"]}"' in flink
    assert (
        f"apache-flink=={versions['FLINK_VERSION']} "
        in (PROJECT / "flink_jobs/requirements.lock").read_text()
    )
    package = json.loads((PROJECT / "compose/couchdb/package.json").read_text())
    assert package["dependencies"] == {"pouchdb-server": versions["POUCHDB_SERVER_VERSION"]}


def test_the_locks_hold_a_hash_for_everything_and_no_address() -> None:
    lock = (PROJECT / "flink_jobs" / "requirements.lock").read_text()
    requirements = [line for line in lock.splitlines() if "==" in line]
    assert len(requirements) > 30
    assert all(line.endswith("\\") for line in requirements), "every requirement is followed by its hashes"
    assert "://" not in lock
    packages = json.loads((PROJECT / "compose/couchdb/package-lock.json").read_text())["packages"]
    installed = {name: package for name, package in packages.items() if name}
    assert len(installed) > 300
    assert all("integrity" in package and "resolved" not in package for package in installed.values())
