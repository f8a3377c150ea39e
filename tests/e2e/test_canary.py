"""Every type with every edge arrives bit for bit: rows of a snapshot, inserts, updates and deletes alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from lakehouse_dagster.demo import wait_for_streams
from lakehouse_dagster.governance.commands import find_contract
from lakehouse_dagster.samples.canary import cases
from tests.conftest import lakehouse
from tests.e2e.conftest import Flow, copies

STREAMS = ("connector", "lake", "serving")

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]


def verified() -> list[dict[str, Any]]:
    done = lakehouse("verify", "canary", "--json", timeout=900, check=False)
    assert done.returncode in (0, 1), done.stderr
    tables: list[dict[str, Any]] = json.loads(done.stdout)["tables"]
    if done.returncode:
        print(json.dumps([entry for entry in tables if entry.get("examples")], indent=1, ensure_ascii=False))
    return tables


@pytest.fixture(scope="module")
def canary(flow: Flow) -> Iterator[Flow]:
    """The canary's first round is there before its connector is, so it comes by the snapshot.

    Its streams pause afterwards: two more jobs would slow down whatever is tested next.
    """
    for stream in STREAMS:  # paused by an earlier session whose instance was kept
        lakehouse("streams", "resume", "canary", stream, check=False)
    lakehouse("canary")
    wait_for_streams(flow.dagster, pipeline="canary")
    yield flow
    for stream in STREAMS:
        lakehouse("streams", "pause", "canary", stream, "--reason", "its tests are done")


def compared(tables: list[dict[str, Any]]) -> set[tuple[str, str]]:
    contract = find_contract("canary")
    wrong = [entry for entry in tables if entry["missing"] or entry["extra"] or entry["different"]]
    assert wrong == []
    assert len(tables) == copies(contract)
    assert all(entry["source_rows"] for entry in tables)
    return {(entry["table"], entry["place"]) for entry in tables}


def test_rows_of_the_snapshot(canary: Flow) -> None:
    assert canary.data.is_dir()
    places = {place for _, place in compared(verified())}
    assert places == {"paimon", "trino", "cassandra", "couchdb"}


def test_streamed_inserts_updates_and_deletes(canary: Flow) -> None:
    for _ in range(4):  # the fourth round deletes the first one's rows
        lakehouse("canary")
    tables = verified()
    compared(tables)
    (rows,) = {entry["rows"] for entry in tables if entry["table"] == "every_type"}
    assert rows == 3 * cases.rows()
    assert lakehouse("quarantine", "list", "canary").returncode == 0


def test_rows_that_are_read_again(canary: Flow) -> None:
    """Also a key that is a time: a re-snapshot goes on behind it, chunk by chunk."""
    names = [table.name for table in find_contract("canary").tables]
    lakehouse("streams", "resnapshot", "canary", *names, timeout=900)
    compared(verified())
    assert lakehouse("quarantine", "list", "canary").returncode == 0
    assert canary.data.is_dir()
