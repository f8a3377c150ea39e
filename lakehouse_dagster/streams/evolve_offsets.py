"""Where in a topic the records after a place of the binary log begin."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from lakehouse_dagster.contract.ddl import Place
from lakehouse_dagster.contract.names import EPOCH_FIELD
from lakehouse_dagster.contract.position import file_number
from lakehouse_dagster.engines.endpoints import KafkaEndpoint
from lakehouse_dagster.engines.kafka_records import TopicReader
from lakehouse_dagster.render.records import REPAIR

WAIT_SECONDS = 5.0
"""How long a record that must be there is waited for."""


@dataclass(frozen=True)
class Probe:
    """A record of the connector: its offset, and where in the binary log it comes from."""

    offset: int
    place: Place


Ask = Callable[[int, int], Probe | None]
"""The first record of the connector from an offset on and before another; None when there is none."""


def first_after(ask: Ask, begin: int, end: int, place: Place) -> int:
    """The offset from which on a topic has every change that was made at ``place`` or later.

    Records stand in the order of the binary log, except that a connector which was killed writes again what
    it had not remembered. The search ends at a record after the place whose predecessor is before it: what
    stands further ahead and is later than the place was written once more behind it.

    Args:
        ask: Looks into the topic.
        begin: First offset that is kept.
        end: The one that the next record will get; it is returned when all records are before the place.
        place: The place in the binary log.
    """
    low, high = begin, end
    # Invariant: what is before low is before the place, and what is at high is after it, or high is the end.
    while low < high:
        middle = (low + high) // 2
        found = ask(middle, high)
        if found is None or found.place >= place:
            # Nothing between the middle and high is before the place, as far as the order tells.
            high = middle
        else:
            low = found.offset + 1
    return low


def probe(kafka: KafkaEndpoint, topic: str, epoch: int = 0) -> Ask:
    """Look into partition 0 of a data topic; records of an older epoch are before every place."""

    def ask(offset: int, before: int) -> Probe | None:
        with TopicReader(kafka, topic, offset) as reader:
            while True:
                records = reader.poll(WAIT_SECONDS)
                if not records:
                    return None
                for record in records:
                    if record.offset >= before:
                        return None
                    place = place_of(record.value, epoch)
                    if place is not None:
                        return Probe(record.offset, place)

    return ask


def place_of(value: bytes | None, epoch: int = 0) -> Place | None:
    """Where a record of a data topic comes from; None for one that the connector did not write, or that does
    not tell. One of an epoch older than ``epoch`` comes from before the first file.
    """
    try:
        body = json.loads(value or b"null")
        # A repair writes beside the connector, ahead of what it has yet to read.
        if body["__source_snapshot"] == REPAIR:
            return None
        place = Place(str(body["__source_file"]), int(body["__source_pos"]))
        file_number(place.file)
        if int(body.get(EPOCH_FIELD) or 0) < epoch:
            return Place("older-epoch.0", 0)
    except (ValueError, KeyError, TypeError):
        return None
    return place
