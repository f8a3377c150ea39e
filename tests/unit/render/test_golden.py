"""Rendered artefacts against files in ``tests/golden``.

A difference means that what the engines are told has changed. When that is meant, write the files again with

    LAKEHOUSE_UPDATE_GOLDEN=1 pytest tests/unit/render/test_golden.py

and read the difference in git before committing it. ``flights`` is the sample pipeline as shipped; ``zoo``
has every type and names that need quoting everywhere.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lakehouse_dagster.contract import Contract, load_contract
from lakehouse_dagster.contract.loader import DEFS_ROOT
from lakehouse_dagster.render.artefacts import artefacts

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
UPDATE = bool(os.environ.get("LAKEHOUSE_UPDATE_GOLDEN"))
PIPELINES = {"flights": DEFS_ROOT / "flights", "zoo": GOLDEN / "zoo"}


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_rendered_artefacts_are_as_recorded(pipeline: str) -> None:
    contract = load_contract(PIPELINES[pipeline])
    texts = artefacts(contract)
    folder = GOLDEN / pipeline / "rendered"
    if UPDATE:
        for old in folder.rglob("*.*"):
            old.unlink()
        for name, text in texts.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    recorded = {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert sorted(texts) == sorted(recorded)
    for name, text in texts.items():
        assert text == recorded[name], f"{pipeline}/{name} differs; see this file's docstring"


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_rendering_is_pure(pipeline: str) -> None:
    first: Contract = load_contract(PIPELINES[pipeline])
    second: Contract = load_contract(PIPELINES[pipeline])
    assert artefacts(first) == artefacts(first) == artefacts(second)
