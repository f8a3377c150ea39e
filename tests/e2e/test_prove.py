"""The running proof while the source is being written: it ends, alarms nobody, and names what was altered."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import pytest

from lakehouse_dagster.engines.mysql import MySqlClient
from tests.conftest import lakehouse
from tests.e2e import tamper
from tests.e2e.conftest import Flow
from tests.e2e.test_tamper import cassandra_literals, plane_key, some_flight, view_key

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

Entry = dict[str, Any]
FIRST_ID = 3_900_000_000
"""Ids of the writer's own flights, beyond those of the sample."""
COLUMNS = "SHOW COLUMNS FROM flights"


class Writer(threading.Thread):
    """Inserts, updates, moves and deletes flights of its own, some twenty transactions a second."""

    def __init__(self, flow: Flow) -> None:
        super().__init__(name="prove-writer", daemon=True)
        self._client = MySqlClient(flow.endpoints.mysql)
        self._names = [str(row["Field"]) for row in flow.clients.mysql.query(COLUMNS)]
        self._pattern = some_flight(flow, 3)
        self.stopped = threading.Event()
        self.commits = 0
        self.longest = 0.0
        self.error: BaseException | None = None

    def run(self) -> None:
        dice, mine, following = random.Random(5), [], FIRST_ID
        try:
            with closing(self._client.connect(autocommit=True)) as connection, connection.cursor() as cursor:
                while not self.stopped.wait(0.05):
                    started = time.monotonic()
                    step = dice.random()
                    if step < 0.4 or len(mine) < 20:
                        values = self._pattern | {"id": following}
                        names = ", ".join(f"`{name}`" for name in self._names)
                        marks = ", ".join(["%s"] * len(self._names))
                        cursor.execute(
                            f"INSERT INTO flights ({names}) VALUES ({marks})",
                            [values[name] for name in self._names],
                        )
                        mine.append(following)
                        following += 1
                    elif step < 0.7:
                        cursor.execute(
                            "UPDATE flights SET dep_delay = %s WHERE id = %s",
                            (dice.randrange(600), dice.choice(mine)),
                        )
                    elif step < 0.85:
                        # Moves the row in the view that is keyed by the departure.
                        cursor.execute(
                            "UPDATE flights SET departs_at = departs_at + INTERVAL 1 MINUTE WHERE id = %s",
                            (dice.choice(mine),),
                        )
                    else:
                        gone = mine.pop(dice.randrange(len(mine)))
                        cursor.execute("DELETE FROM flights WHERE id = %s", (gone,))
                    self.commits += 1
                    self.longest = max(self.longest, time.monotonic() - started)
        except BaseException as error:
            self.error = error


@contextmanager
def writing(flow: Flow) -> Iterator[Writer]:
    """Write while the block lasts; the writer's own rows are removed at the end."""
    writer = Writer(flow)
    writer.start()
    try:
        yield writer
    finally:
        writer.stopped.set()
        writer.join(60)
        flow.clients.mysql.execute("DELETE FROM flights WHERE id >= %s", (FIRST_ID,))
    assert writer.error is None
    assert writer.commits > 100, "the writer hardly wrote"


def proven(*arguments: str) -> tuple[int, dict[tuple[str, str], Entry], dict[str, Any]]:
    """`lakehouse prove flights --json`: exit code, entries by (table, place), everything."""
    done = lakehouse("prove", "flights", "--json", *arguments, timeout=900, check=False)
    assert done.stdout, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, {(e["table"], e["place"]): e for e in report["tables"]}, report


def differing(entries: dict[tuple[str, str], Entry]) -> dict[tuple[str, str], tuple[int, int, int]]:
    return {
        key: (entry["missing"], entry["extra"], entry["different"])
        for key, entry in entries.items()
        if entry["missing"] or entry["extra"] or entry["different"]
    }


def test_a_source_that_is_written_all_the_time_is_proven(flow: Flow) -> None:
    with writing(flow) as writer:
        time.sleep(5)
        code, entries, report = proven()
    assert differing(entries) == {}, json.dumps(report["tables"])
    assert report["problems"] == {}
    # Rows that are written again and again may stay open; they are counted, and nothing else is wrong.
    assert code in (0, 3)
    assert sum(entry["unsettled"] for entry in entries.values()) <= 20
    assert {place for _, place in entries} == {"paimon", "trino", "cassandra", "couchdb"}
    assert any(entry["rounds"] > 1 for entry in entries.values()), "nothing had changed since"
    assert writer.longest < 3.0, "the proof held a writer up"


def test_a_silent_source_is_proven_whole_and_the_history_says_so(flow: Flow) -> None:
    code, entries, report = proven()
    assert (code, differing(entries)) == (0, {})
    assert report["complete"] is True
    done = lakehouse("proofs", "flights", "--json", timeout=60)
    rows = json.loads(done.stdout)
    assert len(rows) == len(entries)
    assert all(row["complete"] and row["complete_age_seconds"] < 600 for row in rows)
    assert {row["complete_up_to"]["pos"] for row in rows} == {report["position"]["pos"]}


def test_the_rate_bounds_the_reading_of_the_source(flow: Flow) -> None:
    started = time.monotonic()
    code, entries, _ = proven("--table", "flights", "--place", "couchdb", "--rate", "200")
    assert (code, list(entries)) == (0, [("flights", "couchdb")])
    entry = entries["flights", "couchdb"]
    # One second's worth may be read at once, and the last page, of as many rows, is not waited for.
    waited_for = max(1, entry["source_rows"] - 400)
    assert entry["source_rows_per_second"] <= 200 * entry["source_rows"] / waited_for
    assert time.monotonic() - started > waited_for / 200


def test_altered_rows_are_named_in_each_place_while_writes_go_on(flow: Flow) -> None:
    clients, contract = flow.clients, flow.contract
    flight, lost = some_flight(flow), some_flight(flow, 9)
    plane = clients.mysql.query("SELECT * FROM planes WHERE model IS NOT NULL ORDER BY tailnum LIMIT 1")[0]
    key = {"id": str(flight["id"])}
    departures, documents = contract.view("departures_by_airport"), contract.view("flight_documents")
    with ExitStack() as undo, writing(flow):
        # The flights are published all the time, so the lake is altered in tables that rest.
        undo.callback(tamper.in_paimon(clients, contract, "airlines", {"carrier": "AA"}, "name", "FORGED"))
        undo.callback(tamper.in_trino(clients, contract, "planes", plane_key(plane), "model", "FORGED"))
        altered = cassandra_literals(view_key(flight))
        undo.callback(tamper.in_cassandra(clients, contract, departures, altered, "dep_delay", "-999"))
        undo.callback(tamper.row_lost_in_cassandra(clients, contract, departures, view_key(lost)))
        undo.callback(tamper.in_couchdb(clients, documents, key, "status", "scheduled"))
        undo.callback(
            tamper.document_added_to_couchdb(clients, documents, {"id": 4_000_000_000}, "4000000000")
        )
        code, entries, report = proven()
    assert code == 1, report
    assert differing(entries) == {
        ("airlines", "paimon"): (0, 0, 1),
        ("planes", "trino"): (0, 0, 1),
        ("flights", "cassandra"): (1, 0, 1),
        ("flights", "couchdb"): (0, 1, 1),
    }
    named = {e["kind"]: e for e in entries["flights", "cassandra"]["examples"]}
    assert named["missing"]["key"] == view_key(lost)
    assert named["different"]["columns"]["dep_delay"]["place"] == "-999"
    assert entries["planes", "trino"]["examples"][0]["key"] == plane_key(plane)
    assert entries["airlines", "paimon"]["examples"][0]["columns"]["name"]["place"] == "FORGED"
    documents_named = {e["kind"]: e["key"] for e in entries["flights", "couchdb"]["examples"]}
    assert documents_named == {"different": key, "extra": {"id": "4000000000"}}
    code, entries, report = proven()
    assert (code, differing(entries)) == (0, {}), report
