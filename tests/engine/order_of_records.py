"""Records of a topic in another order: as duplicates, replays and mixed-up deliveries bring them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Sequence

from lakehouse_dagster.engines.kafka_records import Record


def by_key(records: Iterable[Record]) -> dict[bytes, list[Record]]:
    """The records of each key, in their order; those without a key or value are left out."""
    found: dict[bytes, list[Record]] = {}
    for record in records:
        if record.key is not None and record.value is not None:
            found.setdefault(record.key, []).append(record)
    return found


def operation(record: Record) -> str:
    """What the record's change did to its row: ``c``, ``u``, ``d`` or ``r``."""
    return str(json.loads(record.value or b"{}").get("__op"))


def ends_deleted(records: Sequence[Record]) -> bool:
    """Whether the row of these records of one key is gone in the end."""
    return operation(records[-1]) == "d"


def mixed(records: Iterable[Record], dice: random.Random) -> list[Record]:
    """All records in a random order in which those of one key keep theirs."""
    waiting = [list(reversed(found)) for found in by_key(records).values()]
    order: list[Record] = []
    while waiting:
        at = dice.randrange(len(waiting))
        order.append(waiting[at].pop())
        if not waiting[at]:
            waiting[at] = waiting[-1]
            waiting.pop()
    return order


def shuffled(
    records: Iterable[Record], dice: random.Random, *, keep: Callable[[Sequence[Record]], bool]
) -> list[Record]:
    """The records of the keys that ``keep`` chooses, in a wholly random order."""
    order = [record for found in by_key(records).values() if keep(found) for record in found]
    dice.shuffle(order)
    return order
