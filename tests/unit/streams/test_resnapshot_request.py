"""The request for a re-snapshot, as it is stored in the connector's offsets, and what the connector tells."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.kafka_records import Record
from lakehouse_dagster.streams.resnapshot import (
    Told,
    Wanted,
    condition_problem,
    initial_snapshot,
    requested,
    told,
    under_way,
)

OFFSET = {"file": "binlog.000003", "pos": 1677624, "gtids": "760340bf:1-5848", "server_id": 1, "ts_sec": 1}
WANTED = [Wanted("a"), Wanted("b", "id > 5")]


def stored(**more: Any) -> list[dict[str, Any]]:
    return [{"partition": {"server": "p"}, "offset": {**OFFSET, **more}}]


def test_the_request_is_what_debezium_stores_itself() -> None:
    (found,) = requested(stored(incremental_snapshot_primary_key="old"), "db", WANTED, "me")
    assert found["partition"] == {"server": "p"}
    assert {name: found["offset"][name] for name in OFFSET} == OFFSET
    assert found["offset"]["incremental_snapshot_correlation_id"] == "me"
    assert "incremental_snapshot_primary_key" not in found["offset"], "begin with the first key"
    # Read back from Connect 4.3.1 with Debezium 3.6.1 during a snapshot of two tables.
    assert json.loads(found["offset"]["incremental_snapshot_collections"]) == [
        {
            "incremental_snapshot_collections_id": "db.a",
            "incremental_snapshot_collections_additional_condition": None,
            "incremental_snapshot_collections_surrogate_key": None,
        },
        {
            "incremental_snapshot_collections_id": "db.b",
            "incremental_snapshot_collections_additional_condition": "id > 5",
            "incremental_snapshot_collections_surrogate_key": None,
        },
    ]


@pytest.mark.parametrize(
    ("offsets", "said"),
    [
        ([], "has 0 stored offsets"),
        (stored(snapshot="INITIAL"), "the initial snapshot is under way"),
        (requested(stored(), "db", [Wanted("x")], "other"), "a re-snapshot of db.x is under way"),
    ],
)
def test_a_request_at_a_wrong_moment_is_refused(offsets: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(EngineError, match=said):
        requested(offsets, "db", WANTED, "me")


def test_one_under_way_is_known_by_what_is_left_of_it() -> None:
    whole = requested(stored(), "db", WANTED, "me")
    assert under_way(whole, "db", WANTED) == "me"
    rest = requested(stored(), "db", [Wanted("b", "(id > 5)")], "me")
    assert under_way(rest, "db", WANTED) == "me", "the first table is finished; Debezium adds parentheses"
    assert under_way(rest, "db", [Wanted("b", "id > 6")]) is None
    assert under_way(rest, "db", [Wanted("b", "id > 5"), Wanted("a")]) is None
    assert under_way(stored(), "db", WANTED) is None
    assert under_way([], "db", WANTED) is None


@pytest.mark.parametrize(
    ("offset", "initial"),
    [
        ({}, False),
        ({"snapshot": "INITIAL"}, True),
        ({"snapshot": "INITIAL", "snapshot_completed": True}, False),
        ({"snapshot": "INCREMENTAL"}, False),
    ],
)
def test_initial_snapshot(offset: dict[str, Any], initial: bool) -> None:
    assert initial_snapshot(offset) is initial


@pytest.mark.parametrize(
    "condition",
    [
        "id > 5",
        "a = 1 OR b LIKE 'x%'",
        "id IN (SELECT max(id) FROM o)",
        "day BETWEEN '2013-01-01' AND '2013-01-02'",
    ],
)
def test_conditions(condition: str) -> None:
    assert condition_problem(condition) is None


@pytest.mark.parametrize(
    "condition",
    ["", "id >", "1=1) OR (1=1", "1=1) UNION SELECT (1", "1=1; DROP TABLE t", "id > 5 ORDER BY 1",
     "id > 5 -- x", "1=1) LIMIT 1 -- ", "id = ?", "id = @x"],
)  # fmt: skip
def test_what_is_no_condition(condition: str) -> None:
    assert condition_problem(condition) is not None


def notification(**more: Any) -> Record:
    body = {"id": "me", "aggregate_type": "Incremental Snapshot", "timestamp": 1, **more}
    return Record(7, b"{}", json.dumps(body).encode())


def test_what_the_connector_tells() -> None:
    data = {"scanned_collection": "db.a", "total_rows_scanned": "5000", "status": "SUCCEEDED"}
    assert told(notification(type="TABLE_SCAN_COMPLETED", additional_data=data)) == Told(
        "me", "TABLE_SCAN_COMPLETED", "a", 5000, "SUCCEEDED"
    )
    going = {"current_collection_in_progress": "db.a", "maximum_key": "9", "last_processed_key": "4"}
    assert told(notification(type="IN_PROGRESS", additional_data=going)) == Told(
        "me", "IN_PROGRESS", "a", last_key="4", maximum_key="9"
    )
    assert told(notification(type="COMPLETED", additional_data=None)) == Told("me", "COMPLETED")


@pytest.mark.parametrize(
    "record",
    [
        notification(type="STARTED", aggregate_type="Initial Snapshot"),
        Record(1, None, None),
        Record(1, None, b"not json"),
        Record(1, None, b"[]"),
    ],
)
def test_other_notifications_are_passed_over(record: Record) -> None:
    assert told(record) is None
