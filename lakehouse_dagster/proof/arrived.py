"""Which keys records have arrived for in a table's topic since a round began.

A place may rightly lack a row that the source had only if a record of its key came since: without one, nobody
can have told the place to delete it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Final

from lakehouse_dagster.contract.canonical import canonicalizer
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.types import mapping
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.kafka import Partition
from lakehouse_dagster.engines.kafka_records import TopicReader
from lakehouse_dagster.proof.rowset import digest
from lakehouse_dagster.proof.subject import Key

MOST_KEYS: Final = 1_000_000
"""Keys that are remembered; with more, every key counts as one that a record has come for."""


class KeySet:
    """Keys that records came for. `everything` is set where that is not known: then all count as such."""

    def __init__(self, contract: Contract, table: str, *, most: int = MOST_KEYS) -> None:
        schema = contract.schema(table)
        columns = [schema.column(name) for name in schema.primary_key]
        self._names = schema.primary_key
        self._convert = [canonicalizer(column) for column in columns]
        # A text may begin with the mark of what is no value; of any other type it says just that.
        self._texts = [mapping(column).family == "text" for column in columns]
        self._most = most
        self._digests: set[bytes] = set()
        self.everything = False

    def __contains__(self, key: Key) -> bool:
        return self.everything or digest(key) in self._digests

    def add(self, record_key: bytes | None) -> None:
        """Take down the key of one record, as the connector writes it."""
        if self.everything:
            return
        key = self._key(record_key)
        if key is None or len(self._digests) >= self._most:
            self.everything = True
            self._digests.clear()
        else:
            self._digests.add(digest(key))

    def _key(self, record_key: bytes | None) -> Key | None:
        try:
            body = json.loads(record_key or b"")
            values = [body[name] for name in self._names]
        except (ValueError, KeyError, TypeError):
            return None
        key = tuple(f(value) for f, value in zip(self._convert, values, strict=True))
        for text, free in zip(key, self._texts, strict=True):
            if text is None or (text.startswith("!") and not free):
                return None
        return key


class Arrivals:
    """Follows the topics of some tables from where they end now; make it before the position is taken."""

    def __init__(self, contract: Contract, clients: Clients, tables: Iterable[str]) -> None:
        self._contract = contract
        self._clients = clients
        self._keys = {table: KeySet(contract, table) for table in tables}
        ends = clients.kafka.end_offsets([contract.topic(table) for table in self._keys])
        self._next = {table: ends.get(Partition(contract.topic(table), 0), 0) for table in self._keys}

    def up_to_now(self, table: str) -> Callable[[Key], bool]:
        """Tells whether a record of a primary key may have arrived up to now; the topic is read when first
        asked.
        """
        asked = False

        def arrived(key: Key) -> bool:
            nonlocal asked
            if not asked:
                asked = True
                self._read(table)
            return key in self._keys[table]

        return arrived

    def _read(self, table: str) -> None:
        keys, topic = self._keys[table], self._contract.topic(table)
        partition = Partition(topic, 0)
        begin = self._clients.kafka.begin_offsets([topic]).get(partition, 0)
        end = self._clients.kafka.end_offsets([topic]).get(partition, 0)
        if not begin <= self._next[table] <= end:
            keys.everything = True  # records were deleted before we saw them, or the topic is another one
        if keys.everything:
            return
        with TopicReader(self._clients.endpoints.kafka, topic, self._next[table]) as reader:
            for record in reader.to_end():
                keys.add(record.key)
                self._next[table] = record.offset + 1
