"""The Java modules' own tests, with the versions that the runtime builds them for."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lakehouse_dagster.runtime.bundles import OwnJar, bundles
from lakehouse_dagster.runtime.prerequisites import java17_home
from lakehouse_dagster.runtime.settings import Settings
from lakehouse_dagster.runtime.versions import load_versions
from tests.conftest import PROJECT

MODULES = {
    part.folder: part
    for bundle in bundles(load_versions()).values()
    for part in bundle.parts
    if isinstance(part, OwnJar)
}


def test_every_module_is_known() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "*pom.xml"], cwd=PROJECT, text=True, capture_output=True, check=True
    ).stdout.split()
    assert {str(Path(file).parent) for file in tracked} == set(MODULES)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("folder", MODULES)
@pytest.mark.usefixtures("instance")  # installs Maven and fills its cache
def test_module(folder: str, tmp_path: Path) -> None:
    module = tmp_path / folder
    shutil.copytree(PROJECT / folder, module, ignore=shutil.ignore_patterns("target"))
    # What Java and Python must agree about.
    shutil.copytree(PROJECT / "tests" / "golden", tmp_path / "tests" / "golden")
    cache = Settings.load().home / "cache" / "maven"
    done = subprocess.run(
        [
            "mvn", "--batch-mode", "--no-transfer-progress", "--quiet", f"-Dmaven.repo.local={cache}",
            *(f"-D{key}={value}" for key, value in MODULES[folder].properties.items()),
            "test",
        ],
        cwd=module,
        env={**os.environ, "JAVA_HOME": str(java17_home())},
        text=True,
        capture_output=True,
        timeout=840,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-2000:]}"
    reports = [ElementTree.parse(file).getroot() for file in module.glob("target/surefire-reports/*.xml")]
    assert sum(int(report.attrib["tests"]) for report in reports) > 50
    assert not any(int(report.attrib["skipped"]) for report in reports)
