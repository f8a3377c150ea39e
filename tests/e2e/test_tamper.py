"""The proof can fail: one altered row in any place is found and named, in that place only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from lakehouse_dagster.governance.commands import find_contract
from tests.conftest import lakehouse
from tests.e2e import tamper
from tests.e2e.conftest import Flow, copies

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

Entry = dict[str, Any]


def verified(*, settle: int = 180) -> tuple[int, list[Entry]]:
    """Exit code of `lakehouse verify flights --json`, and the entries that differ."""
    done = lakehouse("verify", "flights", "--json", "--timeout", str(settle), timeout=900, check=False)
    assert done.returncode in (0, 1), done.stderr
    tables: list[Entry] = json.loads(done.stdout)["tables"]
    assert len(tables) == copies(find_contract("flights"))
    return done.returncode, [e for e in tables if e["missing"] or e["extra"] or e["different"]]


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


@dataclass(frozen=True)
class Forged:
    """What was altered, and what the verification says of it, by table and place."""

    flight: dict[str, Any]
    lost: dict[str, Any]
    plane: dict[str, Any]
    code: int
    entries: dict[tuple[str, str], Entry]


@pytest.fixture(scope="module")
def forged(flow: Flow) -> Iterator[Forged]:
    """One row altered in each place, in one verification; put right at the end, and nothing differs then."""
    clients, contract = flow.clients, flow.contract
    flight, lost = some_flight(flow), some_flight(flow, 9)
    plane = clients.mysql.query("SELECT * FROM planes WHERE model IS NOT NULL ORDER BY tailnum LIMIT 1")[0]
    key = {"id": str(flight["id"])}
    departures, documents = contract.view("departures_by_airport"), contract.view("flight_documents")
    with ExitStack() as undo:
        # Another table than the one altered in Paimon, whose next version would be published over it.
        undo.callback(tamper.in_trino(clients, contract, "planes", plane_key(plane), "model", "FORGED"))
        undo.callback(tamper.in_paimon(clients, contract, "flights", key, "tailnum", "FORGED"))
        altered = cassandra_literals(view_key(flight))
        undo.callback(tamper.in_cassandra(clients, contract, departures, altered, "dep_delay", "-999"))
        undo.callback(tamper.row_lost_in_cassandra(clients, contract, departures, view_key(lost)))
        undo.callback(tamper.in_couchdb(clients, documents, key, "status", "scheduled"))
        undo.callback(
            tamper.document_added_to_couchdb(clients, documents, {"id": 4_000_000_000}, "4000000000")
        )
        # The publisher's version of planes is not shown, so the waiting for it must end by its timeout.
        code, entries = verified(settle=20)
        yield Forged(
            flight, lost, plane, code, {(entry["table"], entry["place"]): entry for entry in entries}
        )
    assert verified() == (0, [])


def plane_key(plane: dict[str, Any]) -> dict[str, str]:
    return {"tailnum": plane["tailnum"]}


def counts(entry: Entry) -> tuple[int, int, int]:
    return entry["missing"], entry["extra"], entry["different"]


def test_only_what_was_altered_is_named(forged: Forged) -> None:
    assert forged.code == 1
    assert set(forged.entries) == {
        ("planes", "trino"),
        ("flights", "paimon"),
        ("flights", "cassandra"),
        ("flights", "couchdb"),
    }


def test_a_row_altered_in_paimon_is_named(forged: Forged) -> None:
    entry = forged.entries["flights", "paimon"]
    assert counts(entry) == (0, 0, 1)
    assert entry["examples"] == [
        {
            "kind": "different",
            "key": {"id": str(forged.flight["id"])},
            "columns": {"tailnum": {"source": forged.flight["tailnum"], "place": "FORGED"}},
        }
    ]


def test_a_row_altered_in_trino_is_named(forged: Forged) -> None:
    entry = forged.entries["planes", "trino"]
    assert counts(entry) == (0, 0, 1)
    assert entry["examples"] == [
        {
            "kind": "different",
            "key": plane_key(forged.plane),
            "columns": {"model": {"source": forged.plane["model"], "place": "FORGED"}},
        }
    ]


def test_rows_altered_and_lost_in_cassandra_are_named(forged: Forged) -> None:
    entry = forged.entries["flights", "cassandra"]
    assert counts(entry) == (1, 0, 1)
    assert entry["rows"] == entry["source_rows"] - 1
    examples = {example["kind"]: example for example in entry["examples"]}
    assert examples["missing"]["key"] == view_key(forged.lost)
    assert examples["different"]["key"] == view_key(forged.flight)
    delay = str(forged.flight["dep_delay"])
    assert examples["different"]["columns"] == {"dep_delay": {"source": delay, "place": "-999"}}


def test_a_document_altered_and_one_added_in_couchdb_are_named(forged: Forged) -> None:
    entry = forged.entries["flights", "couchdb"]
    assert counts(entry) == (0, 1, 1)
    examples = {example["kind"]: example for example in entry["examples"]}
    assert examples["different"]["key"] == {"id": str(forged.flight["id"])}
    assert examples["different"]["columns"] == {"status": {"source": "landed", "place": "scheduled"}}
    assert examples["extra"]["key"] == {"id": "4000000000"}
