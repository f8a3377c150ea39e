"""The watching sensors: what they report through Dagster, and how they behave when engines are down."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

import dagster as dg
import pytest
from pydantic import SecretStr

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.position import encode
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.couchdb import CouchDbInfo
from lakehouse_dagster.engines.endpoints import (
    CassandraEndpoint,
    ConnectEndpoint,
    CouchDbEndpoint,
    DagsterEndpoint,
    Endpoints,
    FlinkEndpoint,
    KafkaEndpoint,
    MySqlEndpoint,
    NessieEndpoint,
    PaimonEndpoint,
    PostgresEndpoint,
    S3Endpoint,
    TrinoEndpoint,
)
from lakehouse_dagster.engines.errors import EngineError, EngineUnavailable
from lakehouse_dagster.engines.kafka import Partition
from lakehouse_dagster.engines.nessie import LogEntry, Reference
from lakehouse_dagster.engines.paimon import ColumnBounds, IcebergState, PaimonSnapshot, SnapshotsSince
from lakehouse_dagster.layers.observe import LakeCursor, SnapshotMark
from lakehouse_dagster.layers.recorded import recorded_since
from lakehouse_dagster.layers.sensors import lake_watch, topic_watch

Event = dg.AssetMaterialization | dg.AssetObservation

START = 1_700_000_000_000  # milliseconds since 1970


def moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


@dataclass
class Lake:
    """What the fake engines hold; a test changes it between ticks."""

    snapshots: dict[str, list[PaimonSnapshot]] = field(default_factory=dict)
    commits: list[LogEntry] = field(default_factory=list)
    ends: dict[Partition, int] = field(default_factory=dict)
    committed: dict[str, dict[Partition, int]] = field(default_factory=dict)
    documents: dict[str, int] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    histories: int = 0
    """How often Nessie's history was read."""

    def commit(self, table: str, times: int = 1) -> None:
        existing = self.snapshots.setdefault(table, [])
        for _ in range(times):
            number = len(existing) + 1
            kind = "APPEND" if number % 2 else "COMPACT"
            committed = moment(START + number * 1000)
            existing.append(PaimonSnapshot(number, 0, "me", number, kind, committed, 10 * number, 10))

    def publish(self, hash: str, pipeline: str = "flights") -> None:
        properties = {
            "lakehouse.pipeline": pipeline,
            "lakehouse.requested-by": "publisher",
            "lakehouse.table.flights.paimon-snapshot": "7",
            "lakehouse.table.flights.rows": "70",
        }
        self.commits.insert(0, LogEntry(hash, f"publish {pipeline}", "p", "2026-01-01T00:00:00Z", properties))

    def asked(self, engine: str) -> None:
        if engine in self.down:
            raise EngineUnavailable(engine, "127.0.0.1:1", cause="refused")


class FakePaimon:
    def __init__(self, lake: Lake) -> None:
        self.lake = lake

    def latest(self, database: str, table: str) -> PaimonSnapshot | None:
        self.lake.asked("minio")
        assert database == "flights"
        kept = self.lake.snapshots.get(table)
        return kept[-1] if kept else None

    def snapshot(self, database: str, table: str, number: int) -> PaimonSnapshot | None:
        return next((s for s in self.lake.snapshots[table] if s.id == number), None)

    def since(self, database: str, table: str, seen: int, *, most: int) -> SnapshotsSince | None:
        newest = self.latest(database, table)
        if newest is None:
            return None
        later = tuple(s for s in self.lake.snapshots[table] if s.id > seen)
        stored = self.snapshot(database, table, seen)
        return SnapshotsSince(newest, stored, later if len(later) <= most else ())

    def iceberg(self, database: str, table: str, *, newest: int) -> IcebergState:
        newest = self.lake.snapshots[table][-1]
        millis = round(newest.committed_at.timestamp() * 1000)
        return IcebergState(
            newest.id, "s3://x", newest.id, 0, 0, 0, 10 * newest.id, 4096, 1, millis + 300, {}
        )

    def bounds(self, state: IcebergState) -> ColumnBounds:
        newest = moment(state.last_updated_ms - 1500)
        return ColumnBounds(encode(0, 3, 1600, 2), newest, rows=state.total_records, bytes=state.total_bytes)


class FakeNessie:
    def __init__(self, lake: Lake) -> None:
        self.lake = lake

    def get_reference(self, name: str) -> Reference:
        self.lake.asked("nessie")
        return Reference(name, self.lake.commits[0].hash if self.lake.commits else "0" * 64)

    def log(self, branch: str, *, limit: int) -> list[LogEntry]:
        self.lake.histories += 1
        return self.lake.commits[:limit]


class FakeKafka:
    def __init__(self, lake: Lake) -> None:
        self.lake = lake

    def committed(self, group: str) -> dict[Partition, int]:
        self.lake.asked("kafka")
        return self.lake.committed.get(group, {})

    def begin_offsets(self, topics: Sequence[str]) -> dict[Partition, int]:
        return {place: 0 for place in self.lake.ends if place.topic in topics}

    def end_offsets(self, topics: Sequence[str]) -> dict[Partition, int]:
        return {place: end for place, end in self.lake.ends.items() if place.topic in topics}


class FakeCouch:
    def __init__(self, lake: Lake) -> None:
        self.lake = lake

    def info(self, name: str) -> CouchDbInfo | None:
        self.lake.asked("couchdb")
        count = self.lake.documents.get(name)
        return None if count is None else CouchDbInfo(name, count, "1")


class FakeClients:
    def __init__(self, lake: Lake) -> None:
        self.paimon, self.nessie = FakePaimon(lake), FakeNessie(lake)
        self.kafka, self.couchdb = FakeKafka(lake), FakeCouch(lake)

    def __enter__(self) -> FakeClients:
        return self

    def __exit__(self, *_: object) -> None: ...


class Source:
    """Stands in for the resource."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make

    def clients(self, *, timeout: float = 10.0) -> Clients:
        return cast(Clients, self.make())


class Watch:
    """A sensor whose cursor is kept between ticks and whose events arrive in a real (ephemeral) instance.

    Its cursor is that of a sensor that has ticked once already, which is when the event log's end is noted.
    """

    def __init__(
        self, sensor: dg.SensorDefinition, source: Source, instance: dg.DagsterInstance | None = None
    ) -> None:
        self.sensor, self.source = sensor, source
        self.cursor: str | None = '{"version": 1, "after": 0}'
        self.instance = instance or dg.DagsterInstance.ephemeral()
        self.said = ""

    def tick(self, *, killed_after: int | None = None) -> dict[str, Event]:
        """Evaluate, store the events, store the cursor; or be killed after so many events were stored."""
        before = self.cursor
        found = self.evaluate()
        for number, event in enumerate(found.values()):
            if number == killed_after:
                break
            self.instance.report_runless_asset_event(event)
        if killed_after is not None:
            self.cursor = before
        return found

    def evaluate(self) -> dict[str, Event]:
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursor) as context:
            result = self.sensor(context, lakehouse=self.source)
        if isinstance(result, dg.SkipReason):
            self.said = result.skip_message or ""
            return {}
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        self.said = result.skip_reason.skip_message or "" if result.skip_reason else ""
        found: dict[str, Event] = {}
        for event in result.asset_events:
            assert isinstance(event, dg.AssetMaterialization | dg.AssetObservation)
            name = event.asset_key.to_user_string()
            assert name not in found, "one event per asset and tick"
            found[name] = event
        return found


def values(event: Event) -> Mapping[str, Any]:
    return {name: value.value for name, value in event.metadata.items()}


def test_lake_watch_reports_every_snapshot_once_and_joins_ticks(contract: Contract) -> None:
    lake = Lake()
    watch = Watch(lake_watch(contract), Source(lambda: FakeClients(lake)))
    assert watch.tick() == {}
    assert watch.said == "nothing new"
    lake.commit("flights", 3)
    lake.commit("planes", 1)
    first = watch.tick()
    assert set(first) == {"flights/lake/flights", "flights/lake/planes"}
    told = values(first["flights/lake/flights"])
    assert (told["first_snapshot"], told["last_snapshot"], told["snapshots"]) == (1, 3, 3)
    assert told["rows_written"] == 20  # two appends of ten; the compaction writes nothing new
    assert told["dagster/row_count"] == 30
    assert told["bytes"] == 4096
    assert told["source_position"] == encode(0, 3, 1600, 2)
    assert told["source_position_text"] == "binlog file 3, byte 1600, row 2"
    assert told["freshness_seconds"] == 1.5
    assert first["flights/lake/flights"].tags == {"dagster/data_version": f"3-{START + 3000}"}
    assert watch.tick() == {}
    lake.commit("flights", 200)
    second = values(watch.tick()["flights/lake/flights"])
    assert (second["first_snapshot"], second["last_snapshot"]) == (4, 203)
    assert "rows_written" not in second  # too many to be read one by one
    event = watch.instance.get_latest_materialization_event(dg.AssetKey(["flights", "lake", "flights"]))
    assert event is not None


def test_a_fresh_snapshot_is_reported_once_its_rows_can_be_read(
    contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake()
    clients = FakeClients(lake)
    readable = {"id": 0}

    class Lagging(FakePaimon):
        def iceberg(  # type: ignore[override]
            self, database: str, table: str, *, newest: int
        ) -> IcebergState | None:
            if not readable["id"]:
                return None
            return IcebergState(1, "s3://x", readable["id"], 0, 0, 0, readable["id"], 1, 1, START + 9000, {})

    clients.paimon = Lagging(lake)
    watch = Watch(lake_watch(contract), Source(lambda: clients))
    clock = {"now": START / 1000 + 3.1}
    monkeypatch.setattr("lakehouse_dagster.layers.collect.time.time", lambda: clock["now"])
    lake.commit("flights", 3)
    assert watch.tick() == {}  # nothing readable yet
    readable["id"] = 2
    told = values(watch.tick()["flights/lake/flights"])
    assert (told["first_snapshot"], told["last_snapshot"], told["dagster/row_count"]) == (1, 2, 2)
    assert watch.tick() == {}
    clock["now"] += 60  # never became readable: reported all the same
    told = values(watch.tick()["flights/lake/flights"])
    assert (told["first_snapshot"], told["last_snapshot"], told["readable_snapshot"]) == (3, 3, 2)
    lake.commit("flights", 1)
    clock["now"] = START / 1000 + 4.1
    assert watch.tick() == {}  # readers are behind what was reported: no news, and no going back
    readable["id"] = 4
    told = values(watch.tick()["flights/lake/flights"])
    assert (told["first_snapshot"], told["last_snapshot"]) == (4, 4)
    assert "restarted" not in told


def test_lake_watch_says_that_a_table_was_created_anew(contract: Contract) -> None:
    lake = Lake()
    watch = Watch(lake_watch(contract), Source(lambda: FakeClients(lake)))
    lake.commit("flights", 5)
    watch.tick()
    lake.snapshots["flights"] = []
    lake.commit("flights", 2)
    event = watch.tick()["flights/lake/flights"]
    assert values(event)["restarted"] is True
    assert values(event)["first_snapshot"] == 1
    assert "created again" in (event.description or "")


def test_lake_watch_reports_publications_of_its_pipeline_only(contract: Contract) -> None:
    lake = Lake()
    watch = Watch(lake_watch(contract), Source(lambda: FakeClients(lake)))
    for number in range(45):  # more than are looked at first
        lake.publish(f"{number:064x}")
    lake.publish("f" * 64, pipeline="shop")
    told = values(watch.tick()["flights/publication"])
    assert told["commits"] == 45
    assert told["nessie_hash"] == f"{44:064x}"
    assert "| flights | 7 |" in told["tables"]
    assert watch.tick() == {}
    for number in range(45, 130):
        lake.publish(f"{number:064x}")
    told = values(watch.tick()["flights/publication"])
    assert told["commits"] == 85
    assert "gap" not in told


def test_one_engine_down_does_not_silence_the_other(contract: Contract) -> None:
    lake = Lake(down={"nessie"})
    watch = Watch(lake_watch(contract), Source(lambda: FakeClients(lake)))
    lake.commit("flights", 1)
    lake.publish("a" * 64)
    assert set(watch.tick()) == {"flights/lake/flights"}
    assert "lakehouse up nessie" in watch.said
    lake.down = {"minio"}
    lake.commit("flights", 1)
    assert set(watch.tick()) == {"flights/publication"}
    assert "lakehouse up minio" in watch.said
    lake.down = set()
    told = values(watch.tick()["flights/lake/flights"])
    assert (told["first_snapshot"], told["last_snapshot"]) == (2, 2)


def test_topic_watch_reports_messages_lag_and_what_the_views_took(contract: Contract) -> None:
    place = Partition("flights.airline.flights", 0)
    lake = Lake(ends={place: 120}, documents={"flight_documents": 50})
    lake.committed = {"flights-lake": {place: 100}, "flights-serving": {place: 60}}
    watch = Watch(topic_watch(contract), Source(lambda: FakeClients(lake)))
    found = watch.tick()
    assert set(found) == {
        "flights/topics/flights",
        "flights/views/departures_by_airport",
        "flights/views/flight_documents",
    }
    topic = values(found["flights/topics/flights"])
    assert (topic["first_offset"], topic["last_offset"], topic["messages"]) == (0, 119, 120)
    assert (topic["lag_lake"], topic["lag_serving"]) == (20, 60)
    documents = values(found["flights/views/flight_documents"])
    assert (documents["last_offset"], documents["lag"], documents["dagster/row_count"]) == (59, 60, 50)
    assert "dagster/row_count" not in values(found["flights/views/departures_by_airport"])
    lake.committed = {"flights-lake": {place: 120}, "flights-serving": {place: 120}}
    caught_up = watch.tick()
    assert isinstance(caught_up["flights/topics/flights"], dg.AssetObservation)
    assert values(caught_up["flights/topics/flights"])["lag_serving"] == 0
    assert values(caught_up["flights/views/flight_documents"])["first_offset"] == 60
    assert watch.tick() == {}


def test_a_topic_without_views_has_no_serving_lag(contract: Contract) -> None:
    lake = Lake(ends={Partition("flights.airline.planes", 0): 7})
    watch = Watch(topic_watch(contract), Source(lambda: FakeClients(lake)))
    told = values(watch.tick()["flights/topics/planes"])
    assert told["lag_lake"] == 7
    assert "lag_serving" not in told


def ranges_of(watch: Watch, asset: str, first: str, last: str) -> list[tuple[int, int]]:
    """The ranges recorded on an asset, oldest first."""
    key = dg.AssetKey.from_user_string(asset)
    records = watch.instance.fetch_materializations(key, limit=1000, ascending=True).records
    told = [record.asset_materialization.metadata for record in records if record.asset_materialization]
    return [(int(str(m[first].value)), int(str(m[last].value))) for m in told]


@pytest.mark.parametrize("killed_after", [0, 1, 2, 3])
def test_a_daemon_killed_before_it_stored_the_cursor_repeats_nothing_on_the_lake(
    contract: Contract, killed_after: int
) -> None:
    lake = Lake()
    watch = Watch(lake_watch(contract), Source(lambda: FakeClients(lake)))
    lake.commit("flights", 3)
    lake.commit("planes", 1)
    lake.publish("a" * 64)
    assert len(watch.tick(killed_after=killed_after)) == 3
    assert len(watch.tick()) == 3 - killed_after
    lake.commit("flights", 2)
    lake.publish("b" * 64)
    assert len(watch.tick(killed_after=killed_after)) == 2
    lake.commit("flights", 1)
    watch.tick()
    assert watch.tick() == {}
    ranges = ranges_of(watch, "flights/lake/flights", "first_snapshot", "last_snapshot")
    assert [number for a, b in ranges for number in range(a, b + 1)] == [1, 2, 3, 4, 5, 6]
    assert ranges_of(watch, "flights/lake/planes", "first_snapshot", "last_snapshot") == [(1, 1)]
    published = watch.instance.fetch_materializations(
        dg.AssetKey(["flights", "publication"]), limit=10
    ).records
    told = [record.asset_materialization for record in published]
    assert [event and event.metadata["commits"].value for event in told] == [1, 1]


@pytest.mark.parametrize("killed_after", [0, 1, 2, 3])
def test_a_daemon_killed_before_it_stored_the_cursor_repeats_nothing_on_topics_and_views(
    contract: Contract, killed_after: int
) -> None:
    place = Partition("flights.airline.flights", 0)
    lake = Lake(ends={place: 120}, documents={"flight_documents": 50})
    lake.committed = {"flights-lake": {place: 100}, "flights-serving": {place: 60}}
    watch = Watch(topic_watch(contract), Source(lambda: FakeClients(lake)))
    assert len(watch.tick(killed_after=killed_after)) == 3
    assert len(watch.tick()) == 3 - killed_after
    lake.ends = {place: 150}
    lake.committed = {"flights-lake": {place: 150}, "flights-serving": {place: 150}}
    watch.tick(killed_after=killed_after)
    lake.ends = {place: 160}
    watch.tick()
    lake.committed = {"flights-lake": {place: 160}, "flights-serving": {place: 160}}
    caught_up = watch.tick(killed_after=max(1, killed_after))
    assert isinstance(caught_up["flights/topics/flights"], dg.AssetObservation)
    again = watch.tick()
    assert "flights/topics/flights" not in again  # also an observation is not repeated
    assert watch.tick() == {}
    ranges = ranges_of(watch, "flights/topics/flights", "first_offset", "last_offset")
    assert [number for a, b in ranges for number in range(a, b + 1)] == list(range(160))
    for view in ("flight_documents", "departures_by_airport"):
        ranges = ranges_of(watch, f"flights/views/{view}", "first_offset", "last_offset")
        assert [number for a, b in ranges for number in range(a, b + 1)] == list(range(160))


def test_an_event_that_somebody_else_reports_hides_no_mark(contract: Contract) -> None:
    lake = Lake()
    watch = Watch(lake_watch(contract), Source(lambda: FakeClients(lake)))
    lake.commit("flights", 3)
    watch.tick(killed_after=1)
    key = dg.AssetKey(["flights", "lake", "flights"])
    watch.instance.report_runless_asset_event(dg.AssetMaterialization(key))  # by hand, in the UI
    odd = dg.AssetMaterialization(key, metadata={"cursor": dg.MetadataValue.json({"tables": 7})})
    watch.instance.report_runless_asset_event(odd)
    other = dg.AssetKey(["shop", "lake", "flights"])
    mark = dg.MetadataValue.json({"tables": {"flights": {"id": 99, "committed_ms": 1}}})
    watch.instance.report_runless_asset_event(dg.AssetMaterialization(other, metadata={"cursor": mark}))
    assert watch.tick() == {}
    lake.commit("flights", 1)
    told = values(watch.tick()["flights/lake/flights"])
    assert (told["first_snapshot"], told["last_snapshot"]) == (4, 4)


def test_a_reset_cursor_reports_everything_once_more_and_once_only(contract: Contract) -> None:
    lake = Lake()
    watch = Watch(lake_watch(contract), Source(lambda: FakeClients(lake)))
    lake.commit("flights", 3)
    watch.tick()
    watch.cursor = None  # what "Reset cursor" in Dagster's UI does
    assert watch.tick() == {}
    assert "the next tick reports" in watch.said
    assert values(watch.tick(killed_after=1)["flights/lake/flights"])["first_snapshot"] == 1
    assert watch.tick() == {}
    assert ranges_of(watch, "flights/lake/flights", "first_snapshot", "last_snapshot") == [(1, 3), (1, 3)]


def test_the_cursor_of_an_older_version_goes_on_where_it_stands(contract: Contract) -> None:
    lake = Lake()
    watch = Watch(lake_watch(contract), Source(lambda: FakeClients(lake)))
    lake.commit("flights", 4)
    watch.cursor = LakeCursor(
        tables={"flights": SnapshotMark(id=3, committed_ms=START + 3000)}
    ).model_dump_json(exclude={"after"})
    assert watch.tick() == {}
    assert values(watch.tick()["flights/lake/flights"])["first_snapshot"] == 4


def test_a_quiet_branch_is_asked_for_its_head_only(contract: Contract) -> None:
    lake = Lake()
    watch = Watch(lake_watch(contract), Source(lambda: FakeClients(lake)))
    lake.publish("a" * 64)
    assert "flights/publication" in watch.tick()
    assert lake.histories == 1
    watch.tick()
    assert lake.histories == 1
    lake.publish("b" * 64, pipeline="shop")
    assert watch.tick() == {}
    assert lake.histories == 2


def test_more_recorded_events_than_a_tick_reads_are_caught_up_with_before_anything_is_reported(
    contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lakehouse_dagster.layers.sensors.recorded_since", partial(recorded_since, page=2))
    lake = Lake()
    watch = Watch(lake_watch(contract), Source(lambda: FakeClients(lake)))
    for table in ("flights", "planes", "airlines", "airports", "weather"):
        lake.commit(table, 1)
    assert len(watch.tick(killed_after=5)) == 5
    for _ in range(2):
        assert watch.tick() == {}
        assert "the next one goes on" in watch.said
    assert watch.tick() == {}
    assert watch.said == "nothing new"


def test_one_unreadable_table_does_not_hide_the_others(contract: Contract) -> None:
    class Torn(FakePaimon):
        def iceberg(self, database: str, table: str, *, newest: int) -> IcebergState:
            if table == "planes":
                raise EngineError("paimon", "v7.metadata.json has no current snapshot")
            return super().iceberg(database, table, newest=newest)

    lake = Lake()
    clients = FakeClients(lake)
    clients.paimon = Torn(lake)
    watch = Watch(lake_watch(contract), Source(lambda: clients))
    lake.commit("flights", 1)
    lake.commit("planes", 1)
    assert set(watch.tick()) == {"flights/lake/flights"}
    assert "v7.metadata.json" in watch.said


@pytest.mark.parametrize("build", [lake_watch, topic_watch])
def test_a_cursor_of_another_version_is_told_not_raised(
    contract: Contract, build: Callable[[Contract], dg.SensorDefinition]
) -> None:
    watch = Watch(build(contract), Source(lambda: FakeClients(Lake())))
    watch.cursor = '{"version": 99}'
    assert watch.tick() == {}
    assert "reset this sensor's cursor" in watch.said


@pytest.mark.parametrize("build", [lake_watch, topic_watch])
def test_an_installation_never_started_is_told_with_the_fix(
    contract: Contract, build: Callable[[Contract], dg.SensorDefinition]
) -> None:
    def never() -> Any:
        raise EngineUnavailable("lakehouse", "its credentials", "run `lakehouse up` first")

    watch = Watch(build(contract), Source(never))
    assert watch.tick() == {}
    assert "run `lakehouse up` first" in watch.said


def nowhere() -> Endpoints:
    """Ports at which nobody listens."""
    secret = SecretStr("x")
    http = "http://127.0.0.1:9"
    return Endpoints(
        mysql=MySqlEndpoint(host="127.0.0.1", port=9, user="u", password=secret, database="airline"),
        postgres=PostgresEndpoint(host="127.0.0.1", port=9, user="u", password=secret, database="d"),
        kafka=KafkaEndpoint(bootstrap="127.0.0.1:9"),
        connect=ConnectEndpoint(url=http),
        s3=S3Endpoint(endpoint=http, access_key="a", secret_key=secret, bucket="lake"),
        paimon=PaimonEndpoint(warehouse="s3://lake/paimon"),
        nessie=NessieEndpoint(url=http),
        flink=FlinkEndpoint(url=http),
        trino=TrinoEndpoint(host="127.0.0.1", port=9, user="u", catalog="lake"),
        cassandra=CassandraEndpoint(
            host="127.0.0.1",
            port=9,
            username="u",
            password=secret,
            datacenter="datacenter1",
            keyspace="flights",
        ),
        couchdb=CouchDbEndpoint(url=http, username="u", password=secret),
        dagster=DagsterEndpoint(url=http),
    )


@pytest.mark.parametrize(
    ("build", "engines"), [(lake_watch, ("minio", "nessie")), (topic_watch, ("kafka", "couchdb"))]
)
def test_with_every_engine_really_down_a_tick_is_short_and_names_the_fixes(
    contract: Contract, build: Callable[[Contract], dg.SensorDefinition], engines: Sequence[str]
) -> None:
    """The real clients, against ports at which nobody listens."""
    watch = Watch(build(contract), Source(lambda: Clients(nowhere(), timeout=2.0)))
    watch.tick()  # the first one imports the clients
    started = time.monotonic()
    assert watch.tick() == {}
    assert time.monotonic() - started < 6
    for engine in engines:
        assert f"lakehouse up {engine}" in watch.said


def test_an_unexpected_fault_is_told_and_the_rest_goes_on(contract: Contract) -> None:
    class Broken(FakePaimon):
        def since(self, database: str, table: str, seen: int, *, most: int) -> SnapshotsSince | None:
            raise KeyError("timeMillis")

    lake = Lake()
    lake.publish("a" * 64)
    clients = FakeClients(lake)
    clients.paimon = Broken(lake)
    watch = Watch(lake_watch(contract), Source(lambda: clients))
    assert set(watch.tick()) == {"flights/publication"}
    assert "KeyError" in watch.said
