"""A source whose log begins anew: noticed, refused until a new epoch is begun, and read anew then."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.ddl import Place
from lakehouse_dagster.render.connector import connector, epoch_of
from lakehouse_dagster.render.flink_sql import scripts
from lakehouse_dagster.render.records import At, delete_record
from lakehouse_dagster.streams.decision import Verb, decide
from lakehouse_dagster.streams.evolve_offsets import place_of
from tests.unit.streams.engines import World
from tests.unit.streams.test_observe import connected, see


def in_epoch(contract: Contract, epoch: int) -> Contract:
    source = contract.pipeline.source.model_copy(update={"epoch": epoch})
    return replace(contract, pipeline=contract.pipeline.model_copy(update={"source": source}))


def config(contract: Contract) -> dict[str, str]:
    return connector(contract, mysql_host="h", mysql_port=1, kafka_bootstrap="k:1").config


def at(contract: Contract, file: str, pos: int, **more: Any) -> World:
    """A connector that has read up to a place; the server's log ends at binlog.000002:1600."""
    world = connected(contract, **more)
    world.offsets = [{"partition": {}, "offset": {"gtids": "g:1-9", "file": file, "pos": pos}}]
    return world


def test_the_connector_tells_each_record_its_epoch(contract: Contract) -> None:
    for epoch in (0, 3):
        told = config(in_epoch(contract, epoch))
        assert epoch_of(told) == epoch
        assert told["transforms"].endswith(",epoch")
        assert told["transforms.epoch.static.field"] == "__source_epoch"
    assert epoch_of({}) == 0


def test_the_jobs_believe_the_record_and_not_the_contract(contract: Contract) -> None:
    old, new = scripts(contract), scripts(in_epoch(contract, 3))
    assert [script.state_hash for script in old] == [script.state_hash for script in new]
    positioned = [insert for script in old for insert in script.inserts if "source_position" in insert]
    assert positioned
    assert all("source_position(COALESCE(`__source_epoch`, 0)," in insert for insert in positioned)


def test_a_repairs_records_are_of_the_present_epoch(contract: Contract) -> None:
    table = contract.tables[1].name
    row = dict.fromkeys(contract.schema(table).primary_key, "1")
    record = delete_record(in_epoch(contract, 3), table, row, At("binlog.000001", 4, 0))
    assert json.loads(record.value)["__source_epoch"] == "3"


@pytest.mark.parametrize(("file", "pos"), [("binlog.000003", 4), ("binlog.000002", 1601)])
def test_a_log_that_ends_before_what_was_read_is_another_one(contract: Contract, file: str, pos: int) -> None:
    facts = see(contract, "connector", at(contract, file, pos)).facts
    assert "reset or replaced" in (facts.refused or "")
    assert f"{file}:{pos}" in (facts.refused or "")
    assert "`source.epoch`" in (facts.refused or "")
    assert decide(facts).verb is Verb.STOP


@pytest.mark.parametrize(("file", "pos"), [("binlog.000002", 1600), ("binlog.000001", 99_999)])
def test_a_place_in_the_log_is_well(contract: Contract, file: str, pos: int) -> None:
    assert see(contract, "connector", at(contract, file, pos)).facts.refused is None


def test_a_raised_epoch_begins_with_a_repair(contract: Contract) -> None:
    """Going on from the old offsets would take the new log for the old one."""
    facts = see(in_epoch(contract, 1), "connector", at(contract, "binlog.000002", 1600)).facts
    assert "streams repair" in (facts.refused or "")
    assert decide(facts).verb is Verb.STOP


def test_without_offsets_nothing_is_refused(contract: Contract) -> None:
    world = connected(contract)
    world.offsets = []
    assert see(in_epoch(contract, 1), "connector", world).facts.refused is None


def test_records_of_an_older_epoch_are_before_every_place() -> None:
    body = {"__source_file": "binlog.000900", "__source_pos": 4, "__source_snapshot": "false"}
    old, new = (json.dumps(body | {"__source_epoch": epoch}).encode() for epoch in ("0", "1"))
    assert place_of(json.dumps(body).encode()) == place_of(old) == Place("binlog.000900", 4)
    assert place_of(new, 1) == Place("binlog.000900", 4)
    assert place_of(old, 1) is not None
    assert place_of(old, 1) < Place("binlog.000001", 4)  # type: ignore[operator]
