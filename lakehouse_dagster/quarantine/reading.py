"""Reading the dead-letter topic: what is new in it into the memory, and the whole bytes of single records."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.quarantine.model import quarantined

if TYPE_CHECKING:
    from lakehouse_dagster.engines.clients import Clients
    from lakehouse_dagster.engines.kafka_records import Record
    from lakehouse_dagster.quarantine.store import QuarantineStore

BATCH: Final = 500
"""Dead letters that are held in memory and stored at a time; of each only the first bytes."""


@dataclass(frozen=True)
class Synced:
    """What reading on has found: ``new`` records up to offset ``end``, and whether that is the end of all."""

    new: int
    end: int
    complete: bool = True


def sync(
    contract: Contract,
    clients: Clients,
    store: QuarantineStore,
    *,
    seconds: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Synced:
    """Read the dead letters that are new since the last time, from the topic's beginning if there was none.

    Ends at the topic's end as it is now, or after about ``seconds``. A topic that ends before what was read
    of it was deleted and created again: it is read from its beginning. One that does not exist has no
    records.
    """
    topic = contract.dead_letter_topic
    ends = clients.kafka.end_offsets([topic])
    end = max(ends.values(), default=0)
    begin = store.read_to(contract.name)
    if begin == end:
        return Synced(0, end)
    begin = 0 if begin > end else begin
    deadline = None if seconds is None else clock() + seconds
    new, read_to = 0, begin
    batch = []
    for letter in letters(clients, topic, begin):
        batch.append(quarantined(topic, letter))
        read_to = letter.offset + 1
        if len(batch) >= BATCH:
            new += store.add(contract.name, batch, read_to=read_to)
            batch = []
            if deadline is not None and clock() >= deadline:
                return Synced(new, read_to, complete=False)
    # The end also counts what is no record, such as marks of transactions.
    read_to = max(read_to, end)
    new += store.add(contract.name, batch, read_to=read_to)
    return Synced(new, read_to)


def letters(clients: Clients, topic: str, begin: int) -> Iterator[Record]:
    """Return the records of a topic from ``begin`` to its end as it is now."""
    from lakehouse_dagster.engines.kafka_records import TopicReader

    with TopicReader(clients.endpoints.kafka, topic, begin) as reader:
        yield from reader.to_end()


def raw_values(
    contract: Contract, clients: Clients, wanted: Collection[int]
) -> Iterator[tuple[int, bytes | None]]:
    """Return offset and whole value of the wanted dead letters that are still there, one after the other."""
    if not wanted:
        return
    last = max(wanted)
    for letter in letters(clients, contract.dead_letter_topic, min(wanted)):
        if letter.offset in wanted:
            yield letter.offset, letter.value
        if letter.offset >= last:
            return
