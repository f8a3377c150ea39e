"""The page of types is the mapping: `LAKEHOUSE_UPDATE_GOLDEN=1` writes it anew."""

from __future__ import annotations

import os
from pathlib import Path

from lakehouse_dagster.contract.loader import read_pipeline
from lakehouse_dagster.contract.schema import SchemaLock
from lakehouse_dagster.contract.type_page import TEXT_TYPES, TYPES, page
from lakehouse_dagster.contract.types import mapping, text_mapping, type_mapping, with_texts

ROOT = Path(__file__).parents[3]


def test_the_page_says_what_the_mapping_does() -> None:
    path = ROOT / "docs" / "types.md"
    if os.environ.get("LAKEHOUSE_UPDATE_GOLDEN"):
        path.write_text(page(), encoding="utf-8")
    assert path.read_text(encoding="utf-8") == page()


def test_every_way_of_the_canary_is_on_the_page() -> None:
    folder = ROOT / "lakehouse_dagster" / "defs" / "canary"
    texts = {table.name: table.as_text for table in read_pipeline(folder / "defs.yaml").tables}
    canary = {
        mapping(column).kind
        for name, schema in SchemaLock.load(folder).tables.items()
        for column in with_texts(schema, texts[name]).columns
    }
    shown = {type_mapping(known).kind for known in TYPES}
    shown |= {text_mapping(known).kind for known in TEXT_TYPES}
    assert {kind.partition(":")[0] for kind in canary} == {kind.partition(":")[0] for kind in shown}
