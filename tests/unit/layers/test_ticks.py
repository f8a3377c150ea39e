"""What a tick costs with many tables: requests per table, and an end whatever happens.

The sensors and the clients are the real ones, the engines answer over HTTP as real ones do (see
``bench.fake_engines``). Times depend on the machine, so only numbers of requests and generous bounds are
asserted; ``bench/sensor_ticks.py`` measures.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import dagster as dg
import pytest

from bench.fake_engines import FakeEngines, FakeKafka, synthetic_contract, table_name
from bench.sensor_ticks import FakeSource, Watched
from lakehouse_dagster.layers import sensors
from lakehouse_dagster.layers.collect import READERS, collect_tables
from lakehouse_dagster.layers.observe import LakeCursor, lake_news
from lakehouse_dagster.layers.sensors import lake_watch, topic_watch

TABLES = 40
BOUND_SECONDS = 10


@pytest.fixture
def engines() -> Iterator[FakeEngines]:
    with FakeEngines(TABLES, latency_ms=0) as running:
        yield running


@pytest.fixture
def kafka() -> FakeKafka:
    return FakeKafka(synthetic_contract(TABLES), latency_ms=0)


def watched(name: str, engines: FakeEngines, kafka: FakeKafka) -> Watched:
    build = {"lake": lake_watch, "topic": topic_watch}[name]
    contract = synthetic_contract(TABLES)
    watch = Watched(build(contract), FakeSource(engines, kafka), dg.DagsterInstance.ephemeral())
    watch.tick()  # notes where the event log stands
    return watch


def ticked(watch: Watched, engines: FakeEngines) -> dict[str, int]:
    """Requests of one tick, which is bounded."""
    engines.requests()
    started = time.monotonic()
    watch.tick()
    assert time.monotonic() - started < BOUND_SECONDS
    return engines.requests()


def test_a_quiet_table_costs_two_small_reads_and_nessie_one(engines: FakeEngines, kafka: FakeKafka) -> None:
    watch = watched("lake", engines, kafka)
    ticked(watch, engines)
    assert watch.events == TABLES + 1
    assert ticked(watch, engines) == {"minio": 2 * TABLES, "nessie": 1}
    assert watch.events == 0


def test_a_table_with_news_costs_seven_reads(engines: FakeEngines, kafka: FakeKafka) -> None:
    watch = watched("lake", engines, kafka)
    ticked(watch, engines)
    engines.advance([table_name(3)])
    # The snapshot seen, two new ones, the absent next; Iceberg metadata, manifest list, one manifest.
    assert ticked(watch, engines) == {"minio": 7 + 2 * (TABLES - 1), "nessie": 2}
    assert watch.events == 2  # the table, and the publication


def test_a_table_created_anew_is_noticed(engines: FakeEngines, kafka: FakeKafka) -> None:
    watch = watched("lake", engines, kafka)
    ticked(watch, engines)
    engines.order("/recreate", [table_name(5)])
    ticked(watch, engines)
    [record] = watch.instance.fetch_materializations(
        dg.AssetKey(["bench", "lake", table_name(5)]), limit=1
    ).records
    event = record.asset_materialization
    assert event is not None
    assert event.metadata["restarted"].value is True
    assert (event.metadata["first_snapshot"].value, event.metadata["last_snapshot"].value) == (1, 2)


def test_a_tick_without_time_goes_on_where_it_stopped(engines: FakeEngines, kafka: FakeKafka) -> None:
    contract = synthetic_contract(TABLES)
    with FakeSource(engines, kafka).clients() as clients:
        late = collect_tables(clients.paimon, contract, LakeCursor(), most=1000, seconds=-1)
        assert (late.statuses, late.turn) == ((), table_name(0))
        cursor, told = LakeCursor(), []
        while True:
            found = collect_tables(clients.paimon, contract, cursor, most=5)
            news, cursor = lake_news(cursor, found.statuses)
            assert len(news) < 5 + READERS
            told += [item.table for item in news]
            cursor = cursor.model_copy(update={"turn": found.turn})
            if found.turn is None:
                break
    assert sorted(told) == [table.name for table in contract.tables]


def test_ticks_with_news_of_everything_give_each_table_its_turn(
    engines: FakeEngines, kafka: FakeKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensors, "ENOUGH_EVENTS", 15)
    for name in ("lake", "topic"):
        watch = watched(name, engines, kafka)
        for _ in range(6):
            engines.advance()
            kafka.advance()
            ticked(watch, engines)
            assert watch.events <= 15 + READERS
        layer = {"lake": "lake", "topic": "topics"}[name]
        keys = [dg.AssetKey(["bench", layer, table_name(number)]) for number in range(TABLES)]
        assert all(watch.instance.get_latest_materialization_event(key) for key in keys)


def test_topics_cost_kafka_four_calls_however_many_there_are(engines: FakeEngines, kafka: FakeKafka) -> None:
    watch = watched("topic", engines, kafka)
    kafka.calls = 0
    assert ticked(watch, engines) == {"couchdb": TABLES // 10}  # one per view in CouchDB
    assert kafka.calls == 4
    assert watch.events == TABLES + TABLES // 10


def test_a_stalled_object_store_does_not_hold_a_tick_for_long(kafka: FakeKafka) -> None:
    contract = synthetic_contract(200)
    with FakeEngines(200, latency_ms=400) as slow:
        watch = Watched(lake_watch(contract), FakeSource(slow, kafka), dg.DagsterInstance.ephemeral())
        watch.tick()
        ticked(watch, slow)
        assert watch.cursor is not None
        assert LakeCursor.parse(watch.cursor).turn is not None
