"""What is known of quarantined records, on the real PostgreSQL and Kafka."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import KafkaProducer

from lakehouse_dagster.engines.kafka import KafkaAdmin
from lakehouse_dagster.engines.postgres import PostgresClient
from lakehouse_dagster.quarantine.model import TRUNCATED, Place, Quarantined, Verdict, fingerprint
from lakehouse_dagster.quarantine.reading import Synced, raw_values, sync
from lakehouse_dagster.quarantine.store import Counts, QuarantineStore
from lakehouse_dagster.render.topics import TopicSpec
from lakehouse_dagster.runtime.endpoints import POSTGRES_SUPERUSER, load_endpoints
from lakehouse_dagster.runtime.secrets import load_secrets
from lakehouse_dagster.runtime.settings import Settings

pytestmark = pytest.mark.engine

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def store(instance: Path) -> Iterator[QuarantineStore]:
    """Over an empty database that belongs to Dagster's user."""
    assert instance.is_dir()
    dagster = load_endpoints().postgres
    password = load_secrets(Settings.load().secrets_file).postgres_superuser
    name = f"zz_{uuid.uuid4().hex[:8]}"
    superuser = {"user": POSTGRES_SUPERUSER, "password": password, "database": "postgres"}
    with PostgresClient(dagster.model_copy(update=superuser)) as admin:
        admin.execute(f"CREATE DATABASE {name} OWNER {dagster.user}")
        with PostgresClient(dagster.model_copy(update={"database": name})) as postgres:
            yield QuarantineStore(postgres)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def record(offset: int, *, topic: str = "p.d.t", value: bytes = b"\x00bad", **more: Any) -> Quarantined:
    made = Quarantined(
        Place(topic, 0, offset), "no JSON", b"k\xff", value, len(value), NOW, offset, fingerprint(b"k", value)
    )
    return replace(made, **more)


def test_records_of_one_reason(store: QuarantineStore) -> None:
    store.add("p", [record(0), record(1, reason=TRUNCATED), record(2, reason=f"no {TRUNCATED}")], read_to=3)
    assert [one.place.offset for one in store.records("p", reason=TRUNCATED)] == [1]


def test_records_come_back_as_they_were(store: QuarantineStore) -> None:
    odd = record(1, reason="a \0 and a \ud800", key=None, raw=None, malformed=True)
    assert store.add("p", [record(0), odd], read_to=2) == 2
    first, second = store.records("p")
    assert (first.place, first.key, first.raw, first.recorded_at) == (
        Place("p.d.t", 0, 0),
        b"k\xff",
        b"\x00bad",
        NOW,
    )
    assert (second.key, second.raw, second.malformed) == (None, None, True)
    assert "\0" not in second.reason
    assert store.read_to("p") == 2
    assert (store.read_to("other"), store.records("other")) == (0, [])


def test_the_same_record_is_known_once_another_at_its_place_is_another(store: QuarantineStore) -> None:
    assert store.add("p", [record(0), record(0)], read_to=1) == 1
    assert store.add("p", [record(0), record(0, value=b"other")], read_to=3) == 1
    assert len(store.records("p")) == 2


def test_what_is_decided_is_open_no_more_and_the_newest_decision_counts(store: QuarantineStore) -> None:
    store.add("p", [record(number) for number in range(3)], read_to=3)
    first, second, _ = store.records("p")
    before = store.newest_decision("p")
    store.decide("p", [first, second], Verdict.DROPPED, by="me", why="a test")
    store.decide("p", [second], Verdict.REPLAYED, by="you", proof="seen")
    assert store.newest_decision("p") > before
    assert [one.place.offset for one in store.records("p")] == [2]
    decided = {one.place.offset: one.decision for one in store.records("p", only_open=False)}
    assert decided[0] is not None
    assert decided[1] is not None
    assert (decided[0].verdict, decided[0].why) == (Verdict.DROPPED, "a test")
    assert (decided[1].verdict, decided[1].by, decided[1].proof) == (Verdict.REPLAYED, "you", "seen")
    assert decided[2] is None
    counts = store.counts("p")
    assert counts == {("p.d.t", False): Counts(3, 1, store.records("p")[0].id)}


def test_records_are_chosen_by_topic_place_and_id(store: QuarantineStore) -> None:
    store.add("p", [record(number, topic=f"p.d.{name}") for name in "ab" for number in range(3)], read_to=6)
    assert len(store.records("p", topics=["p.d.a"])) == 3
    assert store.records("p", topics=[]) == []
    places = [Place("p.d.a", 0, 1), Place("p.d.b", 0, 2), Place("p.d.b", 1, 2)]
    assert [one.place for one in store.records("p", places=places)] == places[:2]
    assert store.records("p", places=[]) == []
    newest, *_ = store.records("p", newest_first=True, limit=1)
    assert newest.place == Place("p.d.b", 0, 2)
    assert len(store.records("p", after=newest.id - 2)) == 2
    assert len(store.records("p", upto=newest.id - 1)) == 5
    assert store.count_after("p", ["p.d.b"], newest.id - 1) == 1
    assert store.with_fingerprints("p", [newest.fingerprint])


def test_dead_letters_are_read_from_a_topic(store: QuarantineStore) -> None:
    endpoints = load_endpoints()
    topic = f"zz-{uuid.uuid4().hex[:8]}.dead-letter"
    contract: Any = SimpleNamespace(name="p", dead_letter_topic=topic)
    with KafkaAdmin(endpoints.kafka) as kafka:
        clients: Any = SimpleNamespace(kafka=kafka, endpoints=endpoints)
        assert sync(contract, clients, store) == Synced(0, 0)
        kafka.ensure_topics([TopicSpec(topic)])
        try:
            producer = KafkaProducer(bootstrap_servers=endpoints.kafka.bootstrap)
            headers = [("reason", "é".encode()), ("topic", b"p.d.t"), ("partition", b"0"), ("offset", b"41")]
            for _ in range(2):
                producer.send(topic, key=b"k", value=b"x" * 1000, headers=headers)
            producer.send(topic, key=b"k", value=None, headers=headers[:1])
            producer.flush()
            producer.close()
            assert sync(contract, clients, store) == Synced(2, 3)
            sound, malformed = store.records("p")
            assert (sound.place, sound.reason, sound.size) == (Place("p.d.t", 0, 41), "é", 1000)
            assert (malformed.place, malformed.malformed) == (Place(topic, 0, 2), True)
            assert dict(raw_values(contract, clients, {0, 2})) == {0: b"x" * 1000, 2: None}
            assert sync(contract, clients, store) == Synced(0, 3)
        finally:
            kafka.delete_topics([topic])
