from __future__ import annotations

import json
from datetime import UTC, datetime

import httpx
import pytest

from lakehouse_dagster.engines.connect import ConnectorStatus, TaskStatus, root_cause
from lakehouse_dagster.engines.errors import EngineError, EngineUnavailable
from lakehouse_dagster.engines.http import error_text
from lakehouse_dagster.engines.mysql import normal_gtids
from lakehouse_dagster.engines.mysql import quote as quote_mysql
from lakehouse_dagster.engines.paimon import parse_iceberg, parse_snapshot
from lakehouse_dagster.engines.trino import literal, qualified, select


def test_an_unavailable_engine_says_where_and_what_to_do() -> None:
    error = EngineUnavailable("kafka", "127.0.0.1:19092", cause="refused")
    assert isinstance(error, EngineError)
    assert "127.0.0.1:19092" in str(error)
    assert "lakehouse up kafka" in str(error)
    assert EngineUnavailable("x", "y", "do this").fix == "do this"


def test_the_root_cause_of_a_java_trace() -> None:
    trace = "A: outer\n\tat a.b(C.java:1)\nCaused by: B: middle\n\tat d\nCaused by: java.io.C: inner\n"
    assert root_cause(trace) == "java.io.C: inner"
    assert root_cause("java.lang.Exception: alone\n\tat x") == "java.lang.Exception: alone"
    assert root_cause("") == ""


def test_a_connector_runs_only_with_its_tasks() -> None:
    assert not ConnectorStatus("c", "RUNNING").running
    assert ConnectorStatus("c", "RUNNING", (TaskStatus(0, "RUNNING"),)).running
    failed = ConnectorStatus("c", "RUNNING", (TaskStatus(0, "FAILED", "a\nCaused by: b"),))
    assert failed.failed
    assert not failed.running
    assert failed.error == "b"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"message": "no"}, "no"),
        ({"errors": ["first", "second"]}, "first\nsecond"),
        ({"error": "bad", "reason": "why"}, "why"),
        (["odd"], "['odd']"),
    ],
)
def test_the_words_of_an_error_answer(body: object, text: str) -> None:
    assert error_text(httpx.Response(400, json=body)) == text
    assert error_text(httpx.Response(400, text="plain")) == "plain"
    assert error_text(httpx.Response(404)) == "Not Found"


def test_quoting() -> None:
    assert quote_mysql("a`b") == "`a``b`"
    assert qualified("a", 'b"c') == '"a"."b""c"'
    assert literal("it's") == "'it''s'"
    assert select(["a", "b"], "c", "d") == 'SELECT "a", "b" FROM "c"."d"'
    assert normal_gtids("u:1-5,\nv:1") == "u:1-5,v:1"
    assert normal_gtids(None) == ""


def test_a_paimon_snapshot_file() -> None:
    raw = {
        "version": 3,
        "id": 7,
        "schemaId": 1,
        "commitUser": "me",
        "commitIdentifier": 12,
        "commitKind": "COMPACT",
        "timeMillis": 1735689600123,
        "totalRecordCount": 10,
        "deltaRecordCount": -2,
        "watermark": -9223372036854775808,
    }
    found = parse_snapshot(json.dumps(raw).encode())
    assert (found.id, found.kind, found.total_records, found.delta_records) == (7, "COMPACT", 10, -2)
    assert found.committed_at == datetime(2025, 1, 1, 0, 0, 0, 123000, tzinfo=UTC)
    assert found.watermark is None
    assert parse_snapshot(json.dumps(raw | {"watermark": 5}).encode()).watermark == 5


def test_iceberg_metadata_without_a_snapshot_is_refused() -> None:
    with pytest.raises(EngineError, match=r"v3\.metadata\.json has no current snapshot"):
        parse_iceberg(
            b'{"current-snapshot-id": -1, "snapshots": []}', 3, "s3://lake/t/metadata/v3.metadata.json"
        )
