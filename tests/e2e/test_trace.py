"""One row's changes on their way, as `lakehouse trace` tells them and as every engine tells them itself."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from typer.testing import CliRunner

from lakehouse_dagster.cli import app
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.loader import DEFS_ROOT, load_contract
from lakehouse_dagster.contract.position import decode
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.kafka_records import TopicReader
from lakehouse_dagster.engines.nessie import Reference
from lakehouse_dagster.engines.trino_catalogs import pinned
from lakehouse_dagster.lineage.journey import Arrival, Hop, Journey, Operation
from lakehouse_dagster.lineage.trace import parse_key, trace
from tests.conftest import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("flow")]

TABLE = "flights"
WAIT = 150.0
BY_AIRPORT = "departures_by_airport"
DOCUMENTS = "flight_documents"
OLD, NEW = "2013-01-01T10:00:00.000000Z", "2013-01-01T11:30:00.000000Z"


@pytest.fixture(scope="module")
def contract() -> Contract:
    return load_contract(DEFS_ROOT / "flights")


@pytest.fixture
def flight(clients: Clients) -> Iterator[int]:
    """The id of a flight far from those of the sample; its row is deleted at the end."""
    number = random.randrange(3_000_000_000, 4_000_000_000)
    yield number
    clients.mysql.execute("DELETE FROM flights WHERE id = %s", (number,))


def settled(contract: Contract, clients: Clients, number: int, operation: Operation) -> Journey:
    """The journey of the row's newest change, once that is the expected one and has arrived everywhere."""
    newest: list[Journey] = []

    def arrived() -> bool:
        newest[:] = [trace(contract, clients, TABLE, parse_key(contract, TABLE, str(number)))]
        failed = [one for one in newest[0].hops if one.arrival is Arrival.FAILED]
        assert failed == [], failed
        return newest[0].change.operation is operation and newest[0].complete

    # The first change of a key is in the topic a moment after it was committed.
    wait_until(lambda: records(contract, clients, number) > 0, "a record of the key", WAIT)
    wait_until(arrived, f"the {operation.value} has arrived everywhere", WAIT)
    return newest[0]


def records(contract: Contract, clients: Clients, number: int) -> int:
    end = sum(clients.kafka.end_offsets([contract.topic(TABLE)]).values())
    with TopicReader(clients.endpoints.kafka, contract.topic(TABLE), max(0, end - 1_000)) as reader:
        return sum(record.key == b'{"id":%d}' % number for record in reader.to_end())


def hop(journey: Journey, place: str, name: str | None = None) -> Hop:
    (found,) = [one for one in journey.hops if one.place == place and name in (None, one.name)]
    return found


def cassandra_row(clients: Clients, number: int, departs_at: str) -> list[tuple[Any, ...]]:
    return clients.cassandra.execute(
        "SELECT source_position, WRITETIME(source_position) FROM flights.departures_by_airport WHERE "
        "origin = 'EWR' AND flight_date = '2013-01-01' AND departs_at = %s AND carrier = 'UA' AND flight = 7 "
        "AND id = %s",
        (f"{departs_at[:23]}Z", number),
    )


def test_insert_update_and_delete_are_told_as_the_engines_tell_them(
    contract: Contract, clients: Clients, flight: int
) -> None:
    # --- insert ---
    before = clients.mysql.executed_gtids()
    clients.mysql.execute(
        "INSERT INTO flights (id, carrier, flight, origin, dest, flight_date, scheduled_departure, "
        "scheduled_arrival, departs_at, status) VALUES (%s, 'UA', 7, 'EWR', 'IAH', '2013-01-01', "
        "'2013-01-01 10:00', '2013-01-01 14:00', '2013-01-01 10:00', 'scheduled')",
        (flight,),
    )
    after = clients.mysql.executed_gtids()
    first = settled(contract, clients, flight, Operation.INSERT)
    change = first.change
    assert [one for one in first.hops if one.arrival is not Arrival.HERE] == []

    # MySQL: the transaction is one of those that were executed meanwhile, committed when the row says.
    contained = "SELECT GTID_SUBSET(%s, %s) AS yes, GTID_SUBSET(%s, %s) AS no"
    (gtids,) = clients.mysql.query(contained, (change.gtid, after, change.gtid, before))
    assert (gtids["yes"], gtids["no"]) == (1, 0)
    (source,) = clients.mysql.query("SELECT updated_at FROM flights WHERE id = %s", (flight,))
    began = source["updated_at"].replace(tzinfo=UTC)
    assert 0 <= (change.committed_at - began).total_seconds() < 5
    at = decode(change.position)
    assert (at.file_number, at.pos, at.row) == (int(change.file[-6:]), change.pos // 16 * 16, change.row)
    assert hop(first, "mysql").facts["row_now"] == "as the change left it"

    # Kafka: the record at that offset.
    with TopicReader(clients.endpoints.kafka, change.topic, change.offset) as reader:
        record = next(reader.to_end())
    body = json.loads(record.value or b"")
    assert (record.offset, body["id"], body["__source_gtid"]) == (change.offset, flight, change.gtid)
    assert (body["__source_file"], body["__source_pos"]) == (change.file, change.pos)
    assert change.recorded_at == datetime.fromtimestamp(record.timestamp_ms / 1000, UTC)

    # Paimon: the snapshot before had not come so far.
    lake = hop(first, "paimon")
    snapshot = clients.paimon.snapshot("flights", TABLE, lake.facts["snapshot"])
    assert snapshot is not None
    assert lake.at == snapshot.committed_at
    assert _greatest(clients, snapshot.id) >= change.position
    assert _greatest(clients, snapshot.id - 1) < change.position

    # Nessie: the commit is in the branch's history, and the one before did not show the row.
    commit = hop(first, "nessie")
    history = [
        entry
        for entry in clients.nessie.log(limit=300)
        if entry.properties.get("lakehouse.pipeline") == contract.name
        # Not the first ones, of before the table had rows.
        and "lakehouse.table.flights.position" in entry.properties
    ]
    number = [entry.hash for entry in history].index(commit.facts["commit"])
    assert commit.at == datetime.fromisoformat(history[number].commit_time)
    shown = [int(entry.properties["lakehouse.table.flights.position"]) for entry in history]
    assert shown[number] >= change.position > shown[number + 1]
    assert clients.nessie.get_tables([("flights", TABLE)], clients.nessie.get_reference()), (
        "the table is published"
    )

    # Trino, Cassandra, CouchDB: the row itself.
    rows = clients.trino.execute(
        f"SELECT _position, _gtid FROM lake.flights.flights WHERE id = {flight}"
    ).rows
    assert rows == [(change.position, change.gtid)]
    served = hop(first, "cassandra", BY_AIRPORT)
    assert cassandra_row(clients, flight, OLD) == [(change.position, change.position)]
    assert served.facts["write_time"] == change.position
    assert served.at is None
    document = clients.couchdb.doc(DOCUMENTS, str(flight))
    assert document is not None
    assert hop(first, "couchdb", DOCUMENTS).facts["revision"] == document["_rev"]
    assert document["source_position"] == change.position

    # The seconds between: the clocks' own differences, in the order of the way.
    seconds = [first.seconds(hop(first, place)) for place in ("mysql", "kafka", "paimon", "nessie")]
    assert seconds[0] == 0.0
    assert seconds[1] == (change.recorded_at - change.committed_at).total_seconds()
    assert seconds == sorted(seconds)  # type: ignore[type-var]

    # --- update, which moves the row in the Cassandra view ---
    clients.mysql.execute("UPDATE flights SET departs_at = '2013-01-01 11:30' WHERE id = %s", (flight,))
    second = settled(contract, clients, flight, Operation.UPDATE)
    assert second.change.position > change.position
    assert second.offsets[-1] == second.change.offset > change.offset
    assert cassandra_row(clients, flight, OLD) == []
    assert cassandra_row(clients, flight, NEW) == [(second.change.position, second.change.position)]
    assert hop(second, "couchdb", DOCUMENTS).facts["revision"].startswith("2-")
    assert hop(second, "trino").facts["gtid"] == second.change.gtid != change.gtid

    # The insert is still told, by its position: every place has gone on since.
    key = parse_key(contract, TABLE, str(flight))
    earlier = trace(contract, clients, TABLE, key, position=change.position)
    assert earlier.change == change
    arrivals = {one.place: one.arrival for one in earlier.hops}
    assert arrivals == {
        "mysql": Arrival.PASSED,
        "kafka": Arrival.HERE,
        "paimon": Arrival.HERE,
        "nessie": Arrival.HERE,
        "trino": Arrival.PASSED,
        "cassandra": Arrival.PASSED,
        "couchdb": Arrival.PASSED,
    }
    assert hop(earlier, "nessie").facts["commit"] == commit.facts["commit"]

    # --- delete ---
    clients.mysql.execute("DELETE FROM flights WHERE id = %s", (flight,))
    last = settled(contract, clients, flight, Operation.DELETE)
    assert hop(last, "mysql").facts["row_now"] == "gone, as the change left it"
    assert hop(last, "trino").facts["row"] == "absent"
    assert clients.trino.execute(f"SELECT 1 FROM lake.flights.flights WHERE id = {flight}").rows == []
    # The row is gone in the commit that is named, and is there in the publication before it.
    publications = [
        entry.hash
        for entry in clients.nessie.log(limit=300)
        if entry.properties.get("lakehouse.pipeline") == contract.name
    ]
    number = publications.index(hop(last, "nessie").facts["commit"])
    for commit_hash, rows_there in ((publications[number], 0), (publications[number + 1], 1)):
        with pinned(clients.endpoints, "zz_lineage", Reference("main", commit_hash)) as trino:
            counted = f"SELECT count(*) FROM zz_lineage.flights.flights WHERE id = {flight}"
            assert trino.scalar(counted) == rows_there
    assert hop(last, "cassandra", BY_AIRPORT).facts["row"] == "absent"
    assert cassandra_row(clients, flight, NEW) == []
    tombstone = hop(last, "couchdb", DOCUMENTS)
    assert tombstone.facts["row"] == "deleted"
    assert tombstone.facts["position"] == last.change.position
    assert tombstone.facts["revision"].startswith("3-")
    assert clients.couchdb.doc(DOCUMENTS, str(flight)) is None

    # --- and as a command ---
    said = json.loads(told("--key", f"id={flight}", "--json"))
    assert said["change"] == last.change.to_json()
    assert [one["place"] for one in said["hops"]] == [one.place for one in last.hops]
    shown_table = told("--key", json.dumps({"id": flight}))
    assert f"delete of flights (id={flight})" in shown_table
    assert last.change.gtid is not None
    assert last.change.gtid[:8] in shown_table


def told(*options: str) -> str:
    """What `lakehouse trace flights` prints."""
    done = CliRunner().invoke(app, ["trace", "flights", *options])
    assert done.exit_code == 0, done.output
    return done.stdout


def _greatest(clients: Clients, snapshot_id: int) -> int:
    snapshot = clients.paimon.snapshot("flights", TABLE, snapshot_id)
    assert snapshot is not None
    return clients.paimon.added_max("flights", TABLE, snapshot, "_position") or 0


def test_a_key_that_was_never_seen_is_said_so() -> None:
    done = CliRunner().invoke(app, ["trace", "flights", "--key", "4294967295"])
    assert done.exit_code == 1
    assert "no change of flights (id=4294967295) in flights.airline.flights" in done.stderr
    assert "never seen" in done.stderr


def test_a_key_of_several_columns_is_found(contract: Contract, clients: Clients) -> None:
    names = contract.schema("weather").primary_key
    (row,) = clients.mysql.query(f"SELECT {', '.join(names)} FROM weather LIMIT 1")
    options = [part for name in names for part in ("--key", f"{name}={row[name]}")]
    said = json.loads(told("--table", "weather", *options, "--json"))
    assert said["change"]["operation"] != "delete"
    assert {one["arrival"] for one in said["hops"]} == {"here"}
