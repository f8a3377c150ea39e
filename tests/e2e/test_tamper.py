"""The proof can fail: one altered row in any place is found and named, in that place only."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.conftest import lakehouse
from tests.e2e import tamper
from tests.e2e.conftest import Flow

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

Entry = dict[str, Any]


def verified(*, settle: int = 180) -> tuple[int, list[Entry]]:
    """Exit code of `lakehouse verify flights --json`, and the entries that differ."""
    done = lakehouse("verify", "flights", "--json", "--timeout", str(settle), timeout=900, check=False)
    assert done.returncode in (0, 1), done.stderr
    tables: list[Entry] = json.loads(done.stdout)["tables"]
    assert len(tables) == 12
    return done.returncode, [e for e in tables if e["missing"] or e["extra"] or e["different"]]


@contextmanager
def restored(undo: Callable[[], None]) -> Iterator[None]:
    """Undo on leaving, and see that nothing differs any more."""
    try:
        yield
    finally:
        undo()
    assert verified() == (0, [])


def some_flight(flow: Flow, number: int = 7) -> dict[str, Any]:
    """A flight that has landed."""
    sql = "SELECT * FROM flights WHERE status = 'landed' ORDER BY id LIMIT 1 OFFSET %s"
    return flow.clients.mysql.query(sql, (number,))[0]


def view_key(flight: dict[str, Any]) -> dict[str, str]:
    return {
        "origin": flight["origin"],
        "flight_date": flight["flight_date"].isoformat(),
        "departs_at": flight["departs_at"].strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "carrier": flight["carrier"],
        "flight": str(flight["flight"]),
        "id": str(flight["id"]),
    }


def cassandra_literals(key: dict[str, str]) -> dict[str, str]:
    """Cassandra's own time literals have milliseconds."""
    return key | {"departs_at": key["departs_at"].replace("000Z", "Z")}


def only(entries: list[Entry], table: str, place: str) -> Entry:
    assert [(entry["table"], entry["place"]) for entry in entries] == [(table, place)], entries
    return entries[0]


def test_a_row_altered_in_paimon_is_named(flow: Flow) -> None:
    flight = some_flight(flow)
    key = {"id": str(flight["id"])}
    undo = tamper.in_paimon(flow.clients, flow.contract, "flights", key, "tailnum", "FORGED")
    with restored(undo):
        code, entries = verified()
        assert code == 1
        entry = only(entries, "flights", "paimon")
        assert (entry["missing"], entry["extra"], entry["different"]) == (0, 0, 1)
        assert entry["examples"] == [
            {
                "kind": "different",
                "key": key,
                "columns": {"tailnum": {"source": flight["tailnum"], "place": "FORGED"}},
            }
        ]


def test_a_row_altered_in_trino_is_named(flow: Flow) -> None:
    flight = some_flight(flow)
    key = {"id": str(flight["id"])}
    undo = tamper.in_trino(flow.clients, flow.contract, "flights", key, "tailnum", "FORGED")
    with restored(undo):
        # The publisher's version is no longer shown, so the waiting for it must end by its timeout.
        code, entries = verified(settle=20)
        assert code == 1
        entry = only(entries, "flights", "trino")
        assert (entry["missing"], entry["extra"], entry["different"]) == (0, 0, 1)
        assert entry["examples"][0]["key"] == key
        assert entry["examples"][0]["columns"]["tailnum"]["place"] == "FORGED"


def test_a_row_altered_in_cassandra_is_named(flow: Flow) -> None:
    flight = some_flight(flow)
    key, view = view_key(flight), flow.contract.view("departures_by_airport")
    undo = tamper.in_cassandra(
        flow.clients, flow.contract, view, cassandra_literals(key), "dep_delay", "-999"
    )
    with restored(undo):
        code, entries = verified()
        assert code == 1
        entry = only(entries, "flights", "cassandra")
        assert (entry["missing"], entry["extra"], entry["different"]) == (0, 0, 1)
        assert entry["examples"] == [
            {
                "kind": "different",
                "key": key,
                "columns": {"dep_delay": {"source": str(flight["dep_delay"]), "place": "-999"}},
            }
        ]


def test_a_row_lost_in_cassandra_is_named(flow: Flow) -> None:
    key, view = view_key(some_flight(flow, 9)), flow.contract.view("departures_by_airport")
    with restored(tamper.row_lost_in_cassandra(flow.clients, flow.contract, view, key)):
        code, entries = verified()
        assert code == 1
        entry = only(entries, "flights", "cassandra")
        assert (entry["missing"], entry["extra"], entry["different"]) == (1, 0, 0)
        assert entry["rows"] == entry["source_rows"] - 1
        assert entry["examples"][0]["kind"] == "missing"
        assert entry["examples"][0]["key"] == key


def test_a_document_altered_and_one_added_in_couchdb_are_named(flow: Flow) -> None:
    flight = some_flight(flow)
    key, view = {"id": str(flight["id"])}, flow.contract.view("flight_documents")
    undo = tamper.in_couchdb(flow.clients, view, key, "status", "scheduled")
    remove = tamper.document_added_to_couchdb(flow.clients, view, {"id": 4_000_000_000}, "4000000000")

    def both() -> None:
        undo()
        remove()

    with restored(both):
        code, entries = verified()
        assert code == 1
        entry = only(entries, "flights", "couchdb")
        assert (entry["missing"], entry["extra"], entry["different"]) == (0, 1, 1)
        examples = {example["kind"]: example for example in entry["examples"]}
        assert examples["different"]["key"] == key
        assert examples["different"]["columns"] == {"status": {"source": "landed", "place": "scheduled"}}
        assert examples["extra"]["key"] == {"id": "4000000000"}


def test_an_engine_that_cannot_be_read_is_no_difference_but_an_error(flow: Flow) -> None:
    assert flow.data.is_dir()
    lakehouse("down", "cassandra", timeout=120)
    try:
        done = lakehouse("verify", "flights", "--json", "--timeout", "5", timeout=600, check=False)
        assert done.returncode == 2
        assert done.stdout == ""
        assert "cassandra" in done.stderr
        assert "lakehouse up cassandra" in done.stderr
    finally:
        lakehouse("up", "cassandra", timeout=600)
    assert verified() == (0, [])
