from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import settings

from lakehouse_dagster.contract import Column, ContractError, SchemaLock, TableSchema, load_contract
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.loader import COMPONENT

# A busy machine is no failure: no deadline per example.
settings.register_profile("unit", deadline=None, max_examples=50)
settings.load_profile("unit")

Write = Callable[..., Path]


def columns(*described: str) -> tuple[Column, ...]:
    """``"id int!"`` -> a NOT NULL column; without the mark NULL is allowed."""
    made = []
    for position, text in enumerate(described, start=1):
        name, _, kind = text.rstrip("!").partition(" ")
        made.append(Column(name=name, mysql_type=kind, nullable=not text.endswith("!"), position=position))
    return tuple(made)


def orders_lock() -> SchemaLock:
    tables = {
        "orders": TableSchema(
            name="orders",
            columns=columns(
                "id int!",
                "shop char(4)!",
                "placed_at datetime!",
                "total decimal(10,2)",
                "note json",
                "paid_at datetime",
            ),
            primary_key=("id",),
        ),
        "shops": TableSchema(
            name="shops", columns=columns("code char(4)!", "name varchar(40)!"), primary_key=("code",)
        ),
        "heap": TableSchema(name="heap", columns=columns("a int", "b int")),
        "places": TableSchema(
            name="places", columns=columns("id int!", "spot hologram!"), primary_key=("id",)
        ),
    }
    return SchemaLock(database="shop", tables=tables)


def orders_attributes() -> dict[str, Any]:
    return {
        "name": "orders",
        "owner": "team:sales",
        "source": {"database": "shop"},
        "tables": [{"name": "orders"}, {"name": "shops"}],
        "views": [
            {
                "name": "orders_by_shop",
                "engine": "cassandra",
                "table": "orders",
                "partition_key": ["shop"],
                "clustering_key": ["placed_at", "id"],
            },
            {"name": "order_documents", "engine": "couchdb", "table": "orders"},
        ],
    }


@pytest.fixture
def attributes() -> dict[str, Any]:
    """A contract that is right; tests spoil it."""
    return orders_attributes()


@pytest.fixture
def lock() -> SchemaLock:
    return orders_lock()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a pipeline's folder and return it."""

    def write_folder(
        attributes: dict[str, Any],
        lock: SchemaLock | None = None,
        marts: dict[str, str] | None = None,
        folder: str = "orders",
    ) -> Path:
        root = tmp_path / folder
        (root / "marts").mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump({"type": COMPONENT, "attributes": attributes}, sort_keys=False)
        (root / "defs.yaml").write_text(text)
        (lock or orders_lock()).write(root)
        queries = {"sales": "SELECT shop, sum(total) AS total FROM lake.orders GROUP BY shop"}
        for name, sql in (queries if marts is None else marts).items():
            (root / "marts" / f"{name}.sql").write_text(sql)
        return root

    return write_folder


@pytest.fixture
def contract(write: Write, attributes: dict[str, Any]) -> Contract:
    return load_contract(write(attributes))


@pytest.fixture
def problems(write: Write) -> Callable[..., tuple[ContractError, ...]]:
    """Load a folder that must be refused and return all that is said about it."""

    def load(*args: Any, **kwargs: Any) -> tuple[ContractError, ...]:
        with pytest.raises(ContractError) as caught:
            load_contract(write(*args, **kwargs))
        return caught.value.problems

    return load
