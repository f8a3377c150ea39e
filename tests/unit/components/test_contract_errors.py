"""A wrong contract does not load, and says which file, which field and what to do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster.components.testing import DefsFolderSandbox, create_defs_folder_sandbox

import lakehouse_dagster
from lakehouse_dagster.components.resources import LakehouseResource
from lakehouse_dagster.contract.loader import DEFS_ROOT
from lakehouse_dagster.contract.mart_header import read_header

Attributes = dict[str, Any]


@pytest.fixture
def sandbox() -> Iterator[DefsFolderSandbox]:
    """A project of one pipeline: a copy of the sample's folder."""
    with create_defs_folder_sandbox() as found:
        shutil.copytree(DEFS_ROOT / "flights", found.defs_folder_path / "flights")
        yield found


def load(sandbox: DefsFolderSandbox) -> None:
    with sandbox.build_all_defs() as definitions:
        resources = dg.Definitions(resources={"lakehouse": LakehouseResource()})
        assert dg.Definitions.merge(definitions, resources).resolve_asset_graph().get_all_asset_keys()


def change(sandbox: DefsFolderSandbox, edit: Any) -> None:
    file = sandbox.defs_folder_path / "flights" / "defs.yaml"
    document = yaml.safe_load(file.read_text())
    edit(document["attributes"])
    file.write_text(yaml.safe_dump(document, sort_keys=False))


def message(error: BaseException) -> str:
    """The whole story: Dagster wraps what the contract said."""
    told = [str(error)]
    cause = error.__cause__ or error.__context__
    while cause is not None:
        told.append(str(cause))
        cause = cause.__cause__ or cause.__context__
    return "\n".join(told)


def test_the_copy_itself_loads(sandbox: DefsFolderSandbox) -> None:
    load(sandbox)


def set_path(*path: str | int, value: Any) -> Any:
    def edit(attributes: Attributes) -> None:
        place: Any = attributes
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return edit


CASES: dict[str, tuple[Any, tuple[str, ...]]] = {
    "unknown table": (
        set_path("tables", 1, "name", value="airline"),
        ("defs.yaml", "tables[1].name", "airline", "Fix:", "airlines"),
    ),
    "view column that does not exist": (
        set_path("views", 1, "columns", value=["id", "gate"]),
        ("defs.yaml", "views[1].columns[1]", "gate", "Fix:"),
    ),
    "view key missing in the source": (
        set_path("views", 0, "clustering_key", value=["departs_at", "gate", "id"]),
        ("defs.yaml", "views[0].clustering_key[1]", "gate", "Fix:"),
    ),
    "view key that loses rows": (
        set_path("views", 0, "clustering_key", value=["departs_at"]),
        ("defs.yaml", "views[0].clustering_key", "id", "Fix:"),
    ),
    "duplicate names": (
        lambda attributes: attributes["tables"].append({"name": "planes"}),
        ("defs.yaml", "tables[6].name", "planes", "twice", "Fix:"),
    ),
    "another database": (
        set_path("source", "database", value="airways"),
        ("defs.yaml", "source.database", "airline", "Fix:"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_contract_names_file_field_and_fix(sandbox: DefsFolderSandbox, name: str) -> None:
    edit, expected = CASES[name]
    change(sandbox, edit)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - Dagster chooses the outermost type
        load(sandbox)
    told = message(caught.value)
    for part in expected:
        assert part in told


SHAPES: dict[str, tuple[Any, tuple[str, ...]]] = {
    "misspelt attribute": (lambda attributes: attributes.update(ownr="me@example.org"), ("ownr",)),
    "missing owner": (lambda attributes: attributes.pop("owner"), ("owner",)),
    "impossible engine": (set_path("views", 0, "engine", value="redis"), ("engine", "cassandra", "couchdb")),
    "impossible owner": (set_path("owner", value="operations"), ("owner",)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_wrong_shape_is_pointed_at_in_the_file(sandbox: DefsFolderSandbox, name: str) -> None:
    edit, expected = SHAPES[name]
    change(sandbox, edit)
    with pytest.raises(Exception) as caught:  # noqa: PT011
        load(sandbox)
    told = message(caught.value)
    assert "defs.yaml:" in told
    for part in expected:
        assert part in told


def test_an_uncarryable_type_is_refused(sandbox: DefsFolderSandbox) -> None:
    lock = sandbox.defs_folder_path / "flights" / "schema.lock.json"
    text = lock.read_text()
    assert '"char(2)"' in text
    lock.write_text(text.replace('"char(2)"', '"hologram"', 1))
    with pytest.raises(Exception) as caught:  # noqa: PT011
        load(sandbox)
    told = message(caught.value)
    assert "hologram" in told
    assert "cannot be carried" in told
    assert "Fix:" in told


def test_marts_in_defs_yaml_are_told_to_move(sandbox: DefsFolderSandbox) -> None:
    change(sandbox, lambda attributes: attributes.update(marts=[{"name": "delays"}]))
    with pytest.raises(Exception) as caught:  # noqa: PT011
        load(sandbox)
    told = message(caught.value)
    for part in ("defs.yaml", "marts: a mart is not listed here", "Fix:", "`-- mart:`"):
        assert part in told


def test_a_marts_header_is_checked_too(sandbox: DefsFolderSandbox) -> None:
    file = sandbox.defs_folder_path / "flights" / "marts" / "route_league_table.sql"
    file.write_text(file.read_text().replace("key: [origin, dest]", "key: [origin, destt]"))
    with pytest.raises(Exception) as caught:  # noqa: PT011
        load(sandbox)
    told = message(caught.value)
    for part in ("route_league_table.sql", "key[1]", "destt", "did you mean 'dest'?"):
        assert part in told


def test_a_missing_lock_tells_how_to_make_it(sandbox: DefsFolderSandbox) -> None:
    (sandbox.defs_folder_path / "flights" / "schema.lock.json").unlink()
    with pytest.raises(Exception) as caught:  # noqa: PT011
        load(sandbox)
    assert "lakehouse lock" in message(caught.value)


def test_a_scaffolded_pipeline_is_well_formed_and_asks_for_its_lock(tmp_path: Path) -> None:
    with create_defs_folder_sandbox() as sandbox:
        folder = sandbox.scaffold_component(lakehouse_dagster.CdcPipeline, defs_path="shop")
        text = (folder / "defs.yaml").read_text()
        assert "name: shop" in text
        assert "#" in text
        example = folder / "marts" / "EXAMPLE.txt"
        assert read_header("example", example.read_text(), str(example)).key == ("day",)
        with pytest.raises(Exception) as caught:  # noqa: PT011
            load(sandbox)
        assert "lakehouse lock" in message(caught.value)


@pytest.mark.parametrize("name", ["my-shop", "Shop", "1shop"])
def test_a_name_that_cannot_be_a_pipelines_is_refused(name: str) -> None:
    with create_defs_folder_sandbox() as sandbox, pytest.raises(ValueError, match="cannot name a pipeline"):
        sandbox.scaffold_component(lakehouse_dagster.CdcPipeline, defs_path=name)
