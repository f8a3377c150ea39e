"""The connector's configuration, where a wrong word would lose changes or values without a sign."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from lakehouse_dagster.contract.loader import load_contract
from lakehouse_dagster.render import connect_plugins
from lakehouse_dagster.render.connector import connector
from tests.unit.contract.conftest import Write, orders_attributes, write  # noqa: F401

PLUGINS = Path(__file__).parents[3] / "connect_plugins" / "converters" / "src" / "main"


def config(write: Write, **table: Any) -> dict[str, str]:  # noqa: F811
    attributes = orders_attributes()
    attributes["tables"][0].update(table)
    contract = load_contract(write(attributes))
    return connector(contract, mysql_host="h", mysql_port=1, kafka_bootstrap="k").config


@pytest.mark.parametrize(
    "name", [connect_plugins.CONNECTOR, connect_plugins.TEXT_CONVERTER, connect_plugins.TRUNCATE_RECORD]
)
def test_every_class_that_is_named_is_there(name: str) -> None:
    assert (PLUGINS / "java" / Path(*name.split("."))).with_suffix(".java").is_file()


@pytest.mark.parametrize(
    ("interface", "name"),
    [
        ("org.apache.kafka.connect.source.SourceConnector", connect_plugins.CONNECTOR),
        ("org.apache.kafka.connect.transforms.Transformation", connect_plugins.TRUNCATE_RECORD),
    ],
)
def test_connect_is_told_of_its_plugins(interface: str, name: str) -> None:
    assert (PLUGINS / "resources" / "META-INF" / "services" / interface).read_text().split() == [name]


def test_null_is_never_replaced(write: Write) -> None:  # noqa: F811
    found = config(write)
    flattening = [
        name
        for name in found["transforms"].split(",")
        if found[f"transforms.{name}.type"] == "io.debezium.transforms.ExtractNewRecordState"
    ]
    assert flattening == ["flatten", "flatten_orders"]
    owners = ("key.converter", "value.converter", *(f"transforms.{name}" for name in flattening))
    assert {found[f"{owner}.replace.null.with.default"] for owner in owners} == {"false"}


def test_rows_are_not_read_by_cursors(write: Write) -> None:  # noqa: F811
    found = config(write)
    assert found["connector.class"] == connect_plugins.CONNECTOR
    assert "snapshot.fetch.size" not in found


def test_a_truncate_is_flattened_before_the_rows_are(write: Write) -> None:  # noqa: F811
    found = config(write)
    first = found["transforms"].split(",")[0]
    assert found[f"transforms.{first}.type"] == connect_plugins.TRUNCATE_RECORD
    assert found["skipped.operations"] == "none"
    added = found["transforms.flatten.add.fields"].split(",")
    fields = found[f"transforms.{first}.source.fields"].split(",")
    assert added == ["op", *(f"source.{name}" for name in fields)]
    pattern = found[f"predicates.{found[f'transforms.{first}.predicate']}.pattern"]
    assert re.fullmatch(pattern, "orders.shop.orders")
    assert re.fullmatch(pattern, "orders.shop.shops")
    for other in ("orders", "orders.transaction", "__debezium-heartbeat.orders", "orders.shop.places"):
        assert not re.fullmatch(pattern, other)


def test_dates_that_are_text_have_their_converter(write: Write) -> None:  # noqa: F811
    assert "converters" not in config(write)
    found = config(write, as_text=["paid_at"])
    assert found["converters"] == "exact"
    assert found["exact.type"] == connect_plugins.TEXT_CONVERTER
    assert found["exact.text.columns"] == "shop.orders.paid_at"
