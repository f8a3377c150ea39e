"""Kafka: topics, their offsets, and how far consumer groups are behind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Self

from kafka import IsolationLevel, TopicPartition
from kafka.admin import ConfigResource, KafkaAdminClient, OffsetSpec
from kafka.errors import (
    BrokerNotAvailableError,
    GroupIdNotFoundError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NodeNotReadyError,
    TopicAlreadyExistsError,
)
from kafka.structs import OffsetAndMetadata

from lakehouse_dagster.engines.closing import Closing
from lakehouse_dagster.engines.endpoints import KafkaEndpoint
from lakehouse_dagster.engines.errors import EngineError, EngineUnavailable
from lakehouse_dagster.engines.tcp import knock
from lakehouse_dagster.render.topics import TopicSpec

REWOUND = "rewound by lakehouse"
"""Metadata of an offset that was set on purpose; the consumer's next commit takes it away."""


class Partition(NamedTuple):
    """One partition of a topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The partition behind `topic:number`; ValueError when the text is no such thing."""
        topic, _, number = text.rpartition(":")
        if not topic or not number.isdigit():
            raise ValueError(f"{text!r} names no partition; expected topic:number")
        return cls(topic, int(number))


@dataclass(frozen=True)
class GroupProgress:
    """How far a consumer group has come with the partitions of some topics.

    `committed` lacks partitions of which the group has committed nothing yet.
    """

    committed: Mapping[Partition, int]
    begin: Mapping[Partition, int]
    end: Mapping[Partition, int]

    @property
    def lag(self) -> int:
        """Records that can be read and are not committed."""
        return self.available - self.read

    @property
    def read(self) -> int:
        """Sum of the committed offsets; what is no longer kept, or was never committed, counts as read up to
        the first kept record.
        """
        return sum(
            min(last, max(self.committed.get(partition, 0), self.begin.get(partition, 0)))
            for partition, last in self.end.items()
        )

    @property
    def available(self) -> int:
        """Sum of the end offsets."""
        return sum(self.end.values())


@dataclass(frozen=True)
class TopicReport:
    """What `ensure_topics` found: created topics, and differences of existing ones left as they are."""

    created: tuple[str, ...]
    differences: tuple[str, ...]


class KafkaAdmin(Closing):
    """The broker's administration interface. Connects on first use."""

    engine = "kafka"

    def __init__(self, endpoint: KafkaEndpoint, *, timeout: float = 10.0) -> None:
        self.bootstrap = endpoint.bootstrap
        self._timeout_ms = int(timeout * 1000)
        self._client: KafkaAdminClient | None = None

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def topics(self) -> dict[str, int]:
        """Partition count of every topic, internal ones included."""
        with self._admin() as admin:
            return {item["name"]: len(item["partitions"]) for item in admin.describe_topics()}

    def topic_config(self, topics: Sequence[str]) -> dict[str, dict[str, str]]:
        """Settings of the topics that differ from the broker's defaults."""
        if not topics:
            return {}
        with self._admin() as admin:
            answer = admin.describe_configs([ConfigResource("TOPIC", name) for name in topics])
        found: dict[str, Any] = next(
            (value for kind, value in answer.items() if str(kind).upper() == "TOPIC"), {}
        )
        return {
            name: {key: str(item["value"]) for key, item in found.get(name, {}).items()} for name in topics
        }

    def ensure_topics(self, wanted: Iterable[TopicSpec]) -> TopicReport:
        """Create the missing topics and report how existing ones differ. Never changes an existing topic.

        A partition count is never altered in place, because the order per key rests on it.
        """
        specs = list(wanted)
        existing = self.topics()
        missing = [spec for spec in specs if spec.name not in existing]
        created: list[str] = []
        for spec in missing:
            options = {
                "num_partitions": spec.partitions,
                "replication_factor": spec.replication_factor,
                "configs": dict(spec.config),
            }
            with self._admin() as admin:
                try:
                    admin.create_topics({spec.name: options}, wait_for_metadata=True)
                    created.append(spec.name)
                except TopicAlreadyExistsError:
                    # Somebody else was first; it is compared below like any other.
                    existing[spec.name] = -1
        if -1 in existing.values():
            existing = self.topics()
        present = [spec for spec in specs if spec.name not in created]
        configs = self.topic_config([spec.name for spec in present])
        differences: list[str] = []
        for spec in present:
            if existing[spec.name] != spec.partitions:
                differences.append(
                    f"{spec.name}: has {existing[spec.name]} partitions, the contract says {spec.partitions}"
                )
            for key, value in sorted(spec.config.items()):
                actual = configs[spec.name].get(key)
                if actual != value:
                    differences.append(
                        f"{spec.name}: {key} is {actual or 'the broker default'}, the contract says {value}"
                    )
        return TopicReport(tuple(created), tuple(differences))

    def partitions(self, topics: Iterable[str]) -> list[Partition]:
        """All partitions of the topics that exist; unknown topics are left out (and not created)."""
        existing = self.topics()
        return [Partition(t, n) for t in topics if t in existing for n in range(existing[t])]

    def begin_offsets(self, topics: Iterable[str]) -> dict[Partition, int]:
        """First offset still kept, per partition of the topics that exist."""
        return self._offsets(topics, OffsetSpec.EARLIEST)

    def end_offsets(self, topics: Iterable[str]) -> dict[Partition, int]:
        """Offset the next committed record will get, per partition of the topics that exist."""
        return self._offsets(topics, OffsetSpec.LATEST)

    def committed(self, group: str) -> dict[Partition, int]:
        """Offsets a consumer group has committed; empty when there is no such group."""
        return {partition: int(value.offset) for partition, value in self._committed(group).items()}

    def rewind(
        self, group: str, records: int, known: Mapping[Partition, int] | None = None
    ) -> dict[Partition, tuple[int, int]]:
        """Move the offsets of a group without members back, never before the first kept one.

        They go to where ``known`` says, and back by ``records`` where it says nothing.

        Returns (old, new) for each partition that was moved. An offset that was moved back and has not been
        committed anew since is left alone, so that a consumer that dies at every start is not sent back
        further and further. EngineError when Kafka refuses, for example because the group has members.
        """
        committed = self._committed(group)
        begin = self.begin_offsets({partition.topic for partition in committed})
        moved: dict[Partition, tuple[int, int]] = {}
        for partition, value in committed.items():
            wanted = (known or {}).get(partition, value.offset - records)
            new = max(begin.get(partition, 0), wanted)
            if value.metadata != REWOUND and new < value.offset:
                moved[partition] = (int(value.offset), new)
        self.set_offsets(group, {partition: new for partition, (_, new) in moved.items()})
        return moved

    def set_offsets(self, group: str, offsets: Mapping[Partition, int]) -> None:
        """Set offsets of a group without members, marked so that `rewind` leaves them alone.

        EngineError when Kafka refuses, for example because the group has members.
        """
        if not offsets:
            return
        wanted = {TopicPartition(*at): OffsetAndMetadata(new, REWOUND, -1) for at, new in offsets.items()}
        with self._admin() as admin:
            answers = admin.alter_group_offsets(group, wanted)
        refused = [
            f"{tp.topic}: {kind.__name__}" for tp, kind in answers.items() if kind.__name__ != "NoError"
        ]
        if refused:
            raise EngineError(self.engine, f"the offsets of group {group} were not set: {', '.join(refused)}")

    def progress(self, group: str, topics: Iterable[str]) -> GroupProgress:
        """How far a group has come, asked in four requests however many topics there are."""
        partitions = self.partitions(topics)
        # In this order a group that goes on reading is never seen before the first record that is kept, nor
        # behind the last one.
        begin = self._offsets_of(partitions, OffsetSpec.EARLIEST)
        committed = self.committed(group)
        end = self._offsets_of(partitions, OffsetSpec.LATEST)
        return GroupProgress({at: n for at, n in committed.items() if at in end}, begin, end)

    def offsets_at(self, topics: Iterable[str], moment: datetime) -> dict[Partition, int]:
        """Offset of the first record that was written at or after `moment` (with a time zone), per partition;
        the end offset where there is none.
        """
        partitions = self.partitions(topics)
        end = self._offsets_of(partitions, OffsetSpec.LATEST)
        found = self._offsets_of(partitions, int(moment.timestamp() * 1000))
        return {at: end[at] if offset < 0 else offset for at, offset in found.items()}

    def _committed(self, group: str) -> dict[Partition, Any]:
        with self._admin() as admin:
            try:
                answer = admin.list_group_offsets(group)
            except GroupIdNotFoundError:
                return {}
        return {
            Partition(tp.topic, tp.partition): value
            for tp, value in answer.get(group, {}).items()
            if value.offset >= 0
        }

    def lag(self, group: str, topics: Iterable[str]) -> dict[str, int]:
        """Records per topic that the group has not committed yet.

        A partition without a committed offset counts from its first kept record.
        """
        names = list(topics)
        committed = self.committed(group)
        begin, end = self.begin_offsets(names), self.end_offsets(names)
        behind: dict[str, int] = {}
        for partition, last in end.items():
            done = max(committed.get(partition, 0), begin[partition])
            behind[partition.topic] = behind.get(partition.topic, 0) + max(0, last - done)
        return behind

    def delete_topics(self, topics: Sequence[str]) -> None:
        """Delete the topics that exist."""
        present = [name for name in topics if name in self.topics()]
        if present:
            with self._admin() as admin:
                admin.delete_topics(present)

    def delete_group(self, group: str) -> None:
        """Forget the committed offsets of a group without members; an unknown group is no error."""
        with self._admin() as admin:
            try:
                admin.delete_groups([group])
            except GroupIdNotFoundError:
                return

    def _offsets(self, topics: Iterable[str], spec: Any) -> dict[Partition, int]:
        return self._offsets_of(self.partitions(topics), spec)

    def _offsets_of(self, partitions: Iterable[Partition], spec: Any) -> dict[Partition, int]:
        wanted = {TopicPartition(*partition): spec for partition in partitions}
        if not wanted:
            return {}
        with self._admin() as admin:
            answer = admin.list_partition_offsets(wanted, isolation_level=IsolationLevel.READ_COMMITTED)
        return {Partition(tp.topic, tp.partition): int(value.offset) for tp, value in answer.items()}

    def _knock(self) -> None:
        """Raise ``EngineUnavailable`` when nobody listens, for which the client takes its whole timeout."""
        *others, last = (address.strip().rpartition(":") for address in self.bootstrap.split(","))
        for host, _, port in others:
            with suppress(EngineUnavailable):
                knock(self.engine, host.strip("[]"), int(port))
                return
        knock(self.engine, last[0].strip("[]"), int(last[2]))

    @contextmanager
    def _admin(self) -> Iterator[Any]:
        try:
            if self._client is None:
                self._knock()
                self._client = KafkaAdminClient(
                    bootstrap_servers=self.bootstrap,
                    client_id="lakehouse",
                    request_timeout_ms=self._timeout_ms,
                    bootstrap_timeout_ms=self._timeout_ms,
                )
            yield self._client
        except (KafkaConnectionError, KafkaTimeoutError, BrokerNotAvailableError, NodeNotReadyError) as error:
            # The next call connects anew.
            self.close()
            raise EngineUnavailable(self.engine, self.bootstrap, cause=str(error)) from error
        except KafkaError as error:
            raise EngineError(self.engine, f"{type(error).__name__}: {error}") from error
