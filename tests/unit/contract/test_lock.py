from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lakehouse_dagster.contract import ContractError, SchemaLock
from lakehouse_dagster.contract.lock import compare, pipeline_folder
from lakehouse_dagster.contract.yaml_lines import field_path, line_of, split_path


def test_compare_shows_what_changed(lock: SchemaLock, tmp_path: Path) -> None:
    assert "+" in compare(tmp_path, lock).diff
    lock.write(tmp_path)
    assert compare(tmp_path, lock).diff == ""
    shops = lock.tables["shops"]
    longer = tuple(
        column.model_copy(update={"mysql_type": "varchar(80)"}) if column.name == "name" else column
        for column in shops.columns
    )
    tables = {**lock.tables, "shops": shops.model_copy(update={"columns": longer})}
    changed = [
        line
        for line in compare(tmp_path, lock.model_copy(update={"tables": tables})).diff.splitlines()
        if line[0] in "+-" and line[:3] not in ("+++", "---")
    ]
    assert len(changed) == 2
    assert "varchar(40)" in changed[0]
    assert "varchar(80)" in changed[1]


def test_pipeline_folder(write: Callable[..., Path], attributes: dict[str, Any], tmp_path: Path) -> None:
    folder = write(attributes, folder="shop_orders")
    (folder / "schema.lock.json").unlink()  # what `lakehouse lock` is for
    assert pipeline_folder("orders", tmp_path) == pipeline_folder("shop_orders", tmp_path) == folder
    with pytest.raises(ContractError, match="did you mean 'orders'"):
        pipeline_folder("order", tmp_path)


def test_lines_of_fields() -> None:
    text = (
        "type: x\nattributes:\n  views:\n    - name: a\n    - name: b\n      columns:\n      - p\n      - q\n"
    )
    assert line_of(text, "attributes.views[1].columns[1]") == 8
    assert line_of(text, "attributes.views[1].columns[7]") == 6
    assert line_of(text, "attributes.nothing") == 2
    assert line_of("a: [", "a") is None
    parts = ["views", 1, "columns", 3]
    assert field_path(parts) == "views[1].columns[3]"
    assert list(split_path(field_path(parts))) == parts
