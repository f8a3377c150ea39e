"""Filling a file system: on real small ones, which only root can make."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lakehouse_dagster.drills.special import fill, not_own_volume
from lakehouse_dagster.drills.volume import volume
from lakehouse_dagster.runtime.settings import Settings

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can mount")
MIB = 1024**2


@pytest.fixture
def mount() -> Iterator[Path]:
    with volume(64 * MIB) as folder:
        yield folder


@needs_root
def test_nothing_is_left_free_not_even_for_root(mount: Path) -> None:
    file = mount / "ballast"
    with file.open("ab") as ballast:
        grown = fill(ballast.fileno(), 0)
        assert 40 * MIB < grown < 64 * MIB
        assert fill(ballast.fileno(), grown) == 0
    assert shutil.disk_usage(mount).free < 4096 * 8
    with pytest.raises(OSError, match="No space left"):
        (mount / "other").write_bytes(b"x" * MIB)
    file.unlink()
    assert shutil.disk_usage(mount).free > 40 * MIB


@needs_root
def test_the_volume_is_gone_afterwards() -> None:
    with volume(64 * MIB) as folder:
        assert folder.is_mount()
    assert not folder.exists()
    assert str(folder) not in Path("/proc/mounts").read_text()


@needs_root
def test_only_a_file_system_of_its_own_may_be_filled(mount: Path, tmp_path: Path) -> None:
    elsewhere = Settings(project=tmp_path, home=tmp_path, data=mount)
    assert not_own_volume(elsewhere) is None
    assert "is not on a file system of its own" in (not_own_volume(replace(elsewhere, home=mount)) or "")


def test_an_ordinary_data_folder_is_refused(tmp_path: Path) -> None:
    refusal = not_own_volume(Settings(project=tmp_path, home=tmp_path, data=tmp_path))
    assert refusal is not None
    assert "make drill-disk" in refusal
