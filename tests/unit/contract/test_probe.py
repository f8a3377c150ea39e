"""What a contract may name as its probe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lakehouse_dagster.contract import ContractError, SchemaLock, TableSchema, load_contract
from tests.unit.contract.conftest import Write, columns, orders_lock

Attributes = dict[str, Any]
Problems = Callable[..., tuple[ContractError, ...]]
RIGHT = ("id int!", "beat bigint!", "written_at datetime(6)!")


def lock_with(*described: str, key: tuple[str, ...] = ("id",)) -> SchemaLock:
    lock = orders_lock()
    probe = TableSchema(name="probe", columns=columns(*described), primary_key=key)
    return lock.model_copy(update={"tables": {**lock.tables, "probe": probe}})


@pytest.fixture
def probed(attributes: Attributes) -> Attributes:
    attributes["tables"].append({"name": "probe"})
    attributes["probe"] = {"table": "probe"}
    return attributes


def test_a_probe_is_optional_and_has_defaults(write: Write, probed: Attributes) -> None:
    probe = load_contract(write(probed, lock_with(*RIGHT))).pipeline.probe
    assert probe is not None
    assert (probe.table, probe.every_seconds, probe.slo_seconds) == ("probe", 5.0, 30.0)
    del probed["probe"]
    assert load_contract(write(probed, lock_with(*RIGHT))).pipeline.probe is None


@pytest.mark.parametrize("kind", ["tinyint", "bigint", "int unsigned", "smallint unsigned"])
def test_any_integer_may_be_the_key(write: Write, probed: Attributes, kind: str) -> None:
    load_contract(write(probed, lock_with(f"id {kind}!", *RIGHT[1:])))


@pytest.mark.parametrize(
    ("described", "key", "said"),
    [
        (("id char(3)!", *RIGHT[1:]), ("id",), "is char(3), not an integer"),
        (("id int!", "beat int!", RIGHT[2]), ("id",), "is int, not BIGINT"),
        (("id int!", "beat bigint unsigned!", RIGHT[2]), ("id",), "is bigint unsigned, not BIGINT"),
        ((*RIGHT[:2], "written_at datetime!"), ("id",), "is datetime, not DATETIME(6)"),
        (RIGHT[:2], ("id",), "has no column 'written_at'"),
        (RIGHT, ("id", "beat"), "the key of the probe's table 'probe' is id, beat"),
        ((*RIGHT, "note int"), ("id",), "has other columns too (note)"),
    ],
)
def test_a_wrong_table_is_named_with_the_fix(
    problems: Problems, probed: Attributes, described: tuple[str, ...], key: tuple[str, ...], said: str
) -> None:
    (problem,) = problems(probed, lock_with(*described, key=key))
    assert problem.field == "probe.table"
    assert said in problem.problem
    assert problem.fix
    assert problem.line is not None


def test_a_table_that_is_not_captured_is_named(problems: Problems, attributes: Attributes) -> None:
    attributes["probe"] = {"table": "order"}
    (problem,) = problems(attributes)
    assert "not among the pipeline's tables" in problem.problem
    assert problem.fix == "did you mean 'orders'?"


@pytest.mark.parametrize(
    ("view", "field"),
    [
        ({"engine": "couchdb", "columns": ["id"]}, "views[2].columns"),
        (
            {"engine": "cassandra", "partition_key": ["id"], "clustering_key": ["beat"]},
            "views[2].partition_key",
        ),
    ],
)
def test_a_view_in_which_no_beat_can_be_looked_up_is_named(
    problems: Problems, probed: Attributes, view: Attributes, field: str
) -> None:
    probed["views"].append({"name": "probe_view", "table": "probe", **view})
    (problem,) = problems(probed, lock_with(*RIGHT))
    assert problem.field == field


@pytest.mark.parametrize("setting", [{"every_seconds": 0.5}, {"slo_seconds": 0}, {"every": 5}])
def test_settings_are_bounded(problems: Problems, probed: Attributes, setting: Attributes) -> None:
    probed["probe"].update(setting)
    (problem,) = problems(probed, lock_with(*RIGHT))
    assert problem.field == f"probe.{next(iter(setting))}"
