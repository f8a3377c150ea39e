"""How large a record may be, from the connector to the dead letters."""

from __future__ import annotations

from lakehouse_dagster.contract.loader import DEFS_ROOT, load_contract
from lakehouse_dagster.render.connector import connector
from lakehouse_dagster.render.flink_sql import lake_script
from lakehouse_dagster.render.topics import MAX_DEAD_LETTER_BYTES, MAX_RECORD_BYTES, topics

MEBIBYTE = 1024 * 1024
PRODUCER_BUFFER = 32 * MEBIBYTE
"""Kafka producers hold no more than that at a time (``buffer.memory``): a larger record is never sent."""


def test_a_value_of_16_mebibytes_fits_in_base64_too() -> None:
    assert -(-16 * MEBIBYTE // 3) * 4 + MEBIBYTE < MAX_RECORD_BYTES


def test_every_producer_can_hold_what_its_topic_takes() -> None:
    assert MAX_RECORD_BYTES < MAX_DEAD_LETTER_BYTES < PRODUCER_BUFFER


def test_connector_topics_and_dead_letters_agree() -> None:
    contract = load_contract(DEFS_ROOT / "flights")
    limits = {topic.name: int(topic.config["max.message.bytes"]) for topic in topics(contract)}
    assert {name: size for name, size in limits.items() if size != MAX_RECORD_BYTES} == {
        contract.dead_letter_topic: MAX_DEAD_LETTER_BYTES
    }
    config = connector(contract, mysql_host="h", mysql_port=1, kafka_bootstrap="k:1").config
    assert int(config["producer.override.max.request.size"]) == MAX_RECORD_BYTES
    letters = next(text for text in lake_script(contract).statements if "`dead_letters`" in text)
    assert f"'properties.max.request.size' = '{MAX_DEAD_LETTER_BYTES}'" in letters
