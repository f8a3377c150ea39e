"""What a source must be set to: judged on what a server says of itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from lakehouse_dagster.engines.binlog_rules import (
    ForeignKey,
    hidden_changes,
    source_problem,
    variable_problems,
)

RIGHT = {
    "binlog_format": "ROW",
    "binlog_row_image": "FULL",
    "binlog_row_value_options": "",
    "gtid_mode": "ON",
    "innodb_native_foreign_keys": "OFF",
}
CASCADE = ForeignKey("items", "items_of_order", "shop.orders", "CASCADE", "NO ACTION")


class Server:
    """Answers as MySQL does."""

    def __init__(self, variables: dict[str, str], keys: Sequence[dict[str, str]] = ()) -> None:
        self.variables = variables
        self.keys = list(keys)

    def query(self, sql: str, args: Sequence[Any]) -> list[dict[str, str]]:
        if sql.startswith("SHOW GLOBAL VARIABLES"):
            return [{"Variable_name": n, "Value": v} for n, v in self.variables.items() if n in args]
        assert args == ("shop",)
        return self.keys


def key(**more: str) -> dict[str, str]:
    plain = {
        "child": "items",
        "name": "items_of_order",
        "parent_database": "shop",
        "parent": "orders",
        "on_delete": "CASCADE",
        "on_update": "NO ACTION",
    }
    return plain | more


def test_a_server_that_logs_everything_is_taken() -> None:
    assert variable_problems(RIGHT) == []
    assert variable_problems({}) == [], "a server that knows a variable no more does what is needed"
    server = Server(RIGHT, [key()])
    assert source_problem(server, "shop", ["items"]) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value", "fix"),
    [
        ("binlog_format", "MIXED", "SET PERSIST binlog_format = ROW"),
        ("binlog_format", "STATEMENT", "SET PERSIST binlog_format = ROW"),
        ("binlog_row_image", "MINIMAL", "SET PERSIST binlog_row_image = FULL"),
        ("binlog_row_image", "NOBLOB", "SET PERSIST binlog_row_image = FULL"),
        ("binlog_row_value_options", "PARTIAL_JSON", "SET PERSIST binlog_row_value_options = ''"),
        ("gtid_mode", "OFF_PERMISSIVE", "SET PERSIST gtid_mode = ON"),
    ],
)
def test_a_wrong_setting_names_the_fix(name: str, value: str, fix: str) -> None:
    [said] = variable_problems(RIGHT | {name: value})
    assert f"{name} = {value}" in said
    assert fix in said


@pytest.mark.parametrize(
    ("on_delete", "on_update", "acts"),
    [
        ("CASCADE", "NO ACTION", True),
        ("SET NULL", "RESTRICT", True),
        ("NO ACTION", "CASCADE", True),
        ("RESTRICT", "SET DEFAULT", True),
        ("RESTRICT", "NO ACTION", False),
    ],
)
def test_a_foreign_key_that_acts_below_the_binary_log_is_refused(
    on_delete: str, on_update: str, acts: bool
) -> None:
    found = ForeignKey("items", "k", "shop.orders", on_delete, on_update)
    native = RIGHT | {"innodb_native_foreign_keys": "ON"}
    assert bool(hidden_changes(native, [found])) == acts
    assert hidden_changes(RIGHT, [found]) == [], "the server itself logs what it does"


def test_the_fix_is_one_that_the_server_has() -> None:
    [new] = hidden_changes(RIGHT | {"innodb_native_foreign_keys": "ON"}, [CASCADE])
    assert "innodb_native_foreign_keys = OFF" in new
    [old] = hidden_changes({"binlog_format": "ROW"}, [CASCADE])
    assert "MySQL 9.6" in old
    for said in (new, old):
        assert "items_of_order" in said
        assert "shop.orders" in said


def test_only_captured_tables_count_wherever_their_parents_are() -> None:
    native = RIGHT | {"innodb_native_foreign_keys": "ON"}
    other = key(child="notes", name="author", parent_database="crm", parent="people")
    server = Server(native, [key(), other])
    assert source_problem(server, "shop", ["orders"]) is None  # type: ignore[arg-type]
    said = source_problem(server, "shop", ["notes"])  # type: ignore[arg-type]
    assert said is not None
    assert "crm.people" in said
    assert "items" not in said
