"""Kafka records: writing some, and following a topic of which every record counts for one reader."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import (
    BrokerNotAvailableError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NodeNotReadyError,
)

from lakehouse_dagster.engines.endpoints import KafkaEndpoint
from lakehouse_dagster.engines.errors import EngineError, EngineUnavailable
from lakehouse_dagster.render.topics import MAX_RECORD_BYTES

_ENGINE = "kafka"
_AWAY = (KafkaConnectionError, KafkaTimeoutError, BrokerNotAvailableError, NodeNotReadyError)


@dataclass(frozen=True)
class Record:
    """One record of partition 0 of a topic; ``None`` is Kafka's own null. Its time is in milliseconds."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp_ms: int = 0


class RecordWriter:
    """Writes records into partition 0 of topics, in order; use it as a context manager.

    At most 32 MiB wait in memory: ``write`` blocks meanwhile. That all have arrived is sure only after
    ``flush``, which leaving the block does too. Raises ``EngineUnavailable`` or ``EngineError``.
    """

    def __init__(self, endpoint: KafkaEndpoint, *, timeout: float = 60.0) -> None:
        self._bootstrap = endpoint.bootstrap
        self._timeout = timeout
        self._unsure: list[Any] = []
        self.written = 0
        with _translated(self._bootstrap):
            self._producer = KafkaProducer(
                bootstrap_servers=self._bootstrap,
                client_id="lakehouse",
                acks="all",
                enable_idempotence=True,
                compression_type="lz4",
                linger_ms=20,
                max_request_size=MAX_RECORD_BYTES,
                max_block_ms=int(timeout * 1000),
                delivery_timeout_ms=int(timeout * 1000),
                request_timeout_ms=int(timeout * 500),
                bootstrap_timeout_ms=int(timeout * 1000),
                allow_auto_create_topics=False,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.flush()
        finally:
            self._producer.close(timeout=5)

    def write(self, topic: str, key: bytes, value: bytes) -> None:
        """Hand over one record."""
        with _translated(self._bootstrap):
            self._unsure.append(self._producer.send(topic, key=key, value=value, partition=0))
        self.written += 1
        if len(self._unsure) >= 1000:
            self.flush()

    def flush(self) -> None:
        """Wait until the broker has all records that were handed over."""
        with _translated(self._bootstrap):
            self._producer.flush(timeout=self._timeout)
            for future in self._unsure:
                future.get(timeout=self._timeout)
        self._unsure.clear()


class TopicReader:
    """Reads partition 0 of a topic from a given offset on; use it as a context manager.

    Belongs to no consumer group and commits nothing. Raises ``EngineUnavailable`` or ``EngineError``.
    """

    def __init__(self, endpoint: KafkaEndpoint, topic: str, offset: int, *, timeout: float = 30.0) -> None:
        self._bootstrap = endpoint.bootstrap
        self._partition = TopicPartition(topic, 0)
        with _translated(self._bootstrap):
            self._consumer = KafkaConsumer(
                bootstrap_servers=self._bootstrap,
                client_id="lakehouse",
                group_id=None,
                enable_auto_commit=False,
                # Records before the first kept one are gone; go on with what there is.
                auto_offset_reset="earliest",
                isolation_level="read_committed",
                allow_auto_create_topics=False,
                bootstrap_timeout_ms=int(timeout * 1000),
            )
            self._consumer.assign([self._partition])
            self._consumer.seek(self._partition, offset)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close(autocommit=False)

    def poll(self, seconds: float) -> list[Record]:
        """The next records, waiting at most that long for the first of them."""
        with _translated(self._bootstrap):
            found = self._consumer.poll(timeout_ms=int(seconds * 1000))
        return [
            Record(r.offset, r.key, r.value, tuple(r.headers), r.timestamp)
            for records in found.values()
            for r in records
        ]

    def to_end(self) -> Iterator[Record]:
        """All records up to the topic's end as it is now."""
        with _translated(self._bootstrap):
            end = self._consumer.end_offsets([self._partition])[self._partition]
        while True:
            with _translated(self._bootstrap):
                if self._consumer.position(self._partition) >= end:
                    return
            yield from self.poll(1.0)


@contextmanager
def _translated(bootstrap: str) -> Iterator[None]:
    try:
        yield
    except _AWAY as error:
        raise EngineUnavailable(_ENGINE, bootstrap, cause=str(error)) from error
    except KafkaError as error:
        raise EngineError(_ENGINE, f"{type(error).__name__}: {error}") from error
