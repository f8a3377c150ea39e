"""What `lakehouse trace` and `lakehouse lineage` take and show, without engines."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from lakehouse_dagster.cli import app
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.position import encode
from lakehouse_dagster.engines.kafka import Partition
from lakehouse_dagster.engines.kafka_records import Record
from lakehouse_dagster.lineage import find_record
from lakehouse_dagster.lineage.commands import given_key
from lakehouse_dagster.lineage.find_record import change_of, find_change
from lakehouse_dagster.lineage.journey import Arrival, Change, Hop, Journey, Operation
from lakehouse_dagster.lineage.show import show_journey
from lakehouse_dagster.lineage.trace import WrongKey, parse_key

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


# --- keys ---


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["12345"], "12345"),
        (["id=12345"], {"id": "12345"}),
        (['{"origin": "EWR", "hour": 3}'], {"origin": "EWR", "hour": 3}),
        (["a=1", "b=x=y"], {"a": "1", "b": "x=y"}),
    ],
)
def test_a_key_is_a_value_columns_or_an_object(options: list[str], expected: object) -> None:
    assert given_key(options) == expected


@pytest.mark.parametrize("options", [["a=1", "2"], ["{a"]])
def test_a_key_that_cannot_be_read_is_refused(options: list[str]) -> None:
    with pytest.raises(WrongKey):
        given_key(options)


def test_a_key_becomes_canonical_texts(contract: Contract) -> None:
    assert parse_key(contract, "flights", "0012") == ("12",)
    assert parse_key(contract, "flights", {"id": 12}) == ("12",)
    names = contract.schema("weather").primary_key
    assert len(names) == 2
    given = dict(zip(names, ("EWR", "2013-01-01 05:00"), strict=True))
    with pytest.raises(WrongKey, match="is no value of type"):
        parse_key(contract, "weather", given)
    given[names[1]] = "2013-01-01 05:00:00"
    assert parse_key(contract, "weather", given) == ("EWR", "2013-01-01T05:00:00.000000Z")


@pytest.mark.parametrize(
    ("table", "given", "said"),
    [
        ("flights", "twelve", "id: 'twelve' is no value of type int unsigned"),
        ("flights", {"number": "1"}, r"the key of flights is \(id\): write --key id=..."),
        ("weather", "EWR", "weather has a key of 2 columns: write --key "),
    ],
)
def test_a_wrong_key_is_said_with_the_right_form(
    contract: Contract, table: str, given: Any, said: str
) -> None:
    with pytest.raises(WrongKey, match=said):
        parse_key(contract, table, given)


# --- records ---


def record(contract: Contract, offset: int, number: int, op: str = "u", **body: Any) -> Record:
    values = {column.name: None for column in contract.schema("flights").columns}
    told = {
        "id": number,
        "__deleted": "true" if op == "d" else "false",
        "__op": op,
        "__source_file": "binlog.000002",
        "__source_pos": 1600 + 16 * offset,
        "__source_row": 1,
        "__source_gtid": "g:1",
        "__source_ts_us": 1_767_323_045_000_123,
        "__source_epoch": "3",
    }
    return Record(
        offset,
        json.dumps({"id": number}).encode(),
        json.dumps({**values, **told, **body}).encode(),
        timestamp_ms=1_767_323_046_500,
    )


def test_a_record_tells_its_change(contract: Contract) -> None:
    change = change_of(contract, "flights", record(contract, 7, 5, carrier="UA"))
    assert change is not None
    assert (change.operation, change.offset, change.gtid) == (Operation.UPDATE, 7, "g:1")
    assert change.position == encode(3, 2, 1712, 1)
    assert change.committed_at == datetime(2026, 1, 2, 3, 4, 5, 123, tzinfo=UTC)
    assert change.recorded_at - change.committed_at == timedelta(seconds=1, microseconds=499_877)
    assert (change.key, change.values["carrier"]) == ({"id": "5"}, "UA")
    assert change_of(contract, "flights", Record(1, b'{"id":1}', b"no JSON")) is None


@pytest.mark.parametrize(
    ("body", "operation"),
    [
        ({"op": "c"}, Operation.INSERT),
        ({"op": "d"}, Operation.DELETE),
        ({"op": "r", "__source_snapshot": "first"}, Operation.SNAPSHOT),
        ({"op": "r", "__source_snapshot": "repair"}, Operation.REPAIR),
    ],
)
def test_a_record_tells_what_was_done(contract: Contract, body: dict[str, Any], operation: Operation) -> None:
    change = change_of(contract, "flights", record(contract, 1, 5, **body))
    assert change is not None
    assert change.operation is operation


class Topic:
    """A topic that only pretends; remembers what was read of it."""

    def __init__(self, records: Mapping[int, Record], begin: int, end: int) -> None:
        self.records, self.begin, self.end = records, begin, end
        self.read: list[int] = []
        at = Partition("flights.airline.flights", 0)
        kafka = SimpleNamespace(
            end_offsets=lambda _: {at: end},
            begin_offsets=lambda _: {at: begin},
            offsets_at=lambda _, moment: {at: self.since(moment)},
        )
        self.clients: Any = SimpleNamespace(kafka=kafka, endpoints=SimpleNamespace(kafka=None))

    def since(self, moment: datetime) -> int:
        return 900 if moment < NOW else self.end

    def reader(self, _endpoint: object, _topic: str, offset: int) -> Any:
        topic = self

        class Reader:
            def __enter__(self) -> Any:
                return self

            def __exit__(self, *_: object) -> None:
                pass

            def to_end(self) -> Any:
                for at in sorted(topic.records):
                    if at >= offset:
                        topic.read.append(at)
                        yield topic.records[at]

        return Reader()


@pytest.fixture
def topic(contract: Contract, monkeypatch: pytest.MonkeyPatch) -> Topic:
    made = Topic({at: record(contract, at, at % 50) for at in range(100, 1000)}, 100, 1000)
    monkeypatch.setattr(find_record, "TopicReader", made.reader)
    monkeypatch.setattr(find_record, "FIRST_WINDOW", 20)
    return made


def test_the_newest_change_is_found_from_the_end(contract: Contract, topic: Topic) -> None:
    found = find_change(contract, topic.clients, "flights", ("7",))
    assert found.change is not None
    assert found.change.offset == 957
    assert not found.whole
    # Windows of 20 and 40 records do; what comes before is left alone.
    assert found.read == 60
    assert min(topic.read) == 940


def test_a_known_commit_time_is_looked_at_first(contract: Contract, topic: Topic) -> None:
    found = find_change(contract, topic.clients, "flights", ("7",), since=NOW)
    assert found.change is not None
    assert (found.change.offset, found.offsets) == (957, [907, 957])
    assert min(topic.read) == 900


def test_the_change_at_a_position_is_found(contract: Contract, topic: Topic) -> None:
    wanted = encode(3, 2, 1600 + 16 * 207, 1)
    found = find_change(contract, topic.clients, "flights", ("7",), position=wanted)
    assert found.change is not None
    assert found.change.offset == 207


def test_a_search_ends_at_the_first_record_or_at_its_bound(contract: Contract, topic: Topic) -> None:
    nothing = find_change(contract, topic.clients, "flights", ("77",))
    assert (nothing.change, nothing.whole, nothing.read) == (None, True, 900)
    bounded = find_change(contract, topic.clients, "flights", ("77",), most=100)
    assert (bounded.change, bounded.whole) == (None, False)
    assert 100 <= bounded.read < 900


# --- what is shown ---


def journey(contract: Contract) -> Journey:
    change = change_of(contract, "flights", record(contract, 7, 5))
    assert isinstance(change, Change)
    hops = (
        Hop("kafka", change.topic, Arrival.HERE, change.recorded_at, {"partition": 0, "offset": 7}),
        Hop("nessie", "main", Arrival.WAITING),
        Hop("couchdb", "docs", Arrival.FAILED, note="couchdb: no answer [at all]"),
    )
    return Journey("flights", change, hops, (3, 7))


def test_the_way_is_shown_with_the_seconds_after_the_commit(contract: Contract) -> None:
    text = io.StringIO()
    show_journey(journey(contract), Console(file=text, width=110))
    shown = text.getvalue()
    assert "update of flights (id=5), committed 2026-01-02 03:04:05.000123 UTC" in shown
    assert "1.500 s" in shown
    assert "not yet" in shown
    assert "no answer [at all]" in shown
    assert "offsets 3, 7" in shown


def test_a_journey_is_complete_when_every_hop_shows_it(contract: Contract) -> None:
    whole = journey(contract)
    assert not whole.complete
    assert replace(whole, hops=whole.hops[:1]).complete
    plain = whole.to_json()
    assert plain["hops"][0]["seconds_after_commit"] == 1.499877
    assert plain["hops"][1]["seconds_after_commit"] is None
    assert json.loads(json.dumps(plain)) == plain


def test_lineage_shows_a_column_both_ways() -> None:
    shown = CliRunner().invoke(app, ["lineage", "flights", "--column", "flights.dep_delay"]).stdout
    assert shown.startswith("source/flights.dep_delay")
    assert "marts/delay_by_carrier_hour.median_delay_minutes (aggregation)" in shown
    body = json.loads(
        CliRunner().invoke(app, ["lineage", "flights", "--column", "lake/flights._op", "--json"]).stdout
    )
    assert body[0]["sources"] == ["topics/flights.__deleted"]


def test_a_column_that_is_none_gets_a_suggestion() -> None:
    done = CliRunner().invoke(app, ["lineage", "flights", "--column", "flights.depdelay"])
    assert done.exit_code == 2
    assert "did you mean" in done.stderr
    assert "flights.dep_delay" in done.stderr


def test_a_table_that_is_none_is_said_with_those_there_are() -> None:
    done = CliRunner().invoke(app, ["trace", "flights", "--table", "flihgts", "--key", "1"])
    assert done.exit_code == 2
    assert "its tables: flights, airlines" in done.stderr
