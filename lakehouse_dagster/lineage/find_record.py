"""Finding the record of a row's change in its topic: by key, from the end of the topic backwards."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from lakehouse_dagster.contract.canonical import canonical, canonicalizer
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.names import EPOCH_FIELD
from lakehouse_dagster.contract.position import encode, file_number
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.kafka import Partition
from lakehouse_dagster.engines.kafka_records import Record, TopicReader
from lakehouse_dagster.lineage.journey import Change, Operation
from lakehouse_dagster.proof.subject import Key
from lakehouse_dagster.render.records import REPAIR

FIRST_WINDOW: Final = 20_000
"""Records in the first window that is read; each further one has twice as many."""
MOST_RECORDS: Final = 2_000_000
"""So many records are read before the search is given up."""


@dataclass
class Found:
    """What a search has come to. ``newest`` and ``offsets`` are of the key's records, ``read`` of all."""

    change: Change | None = None
    offsets: list[int] = field(default_factory=list)
    read: int = 0
    whole: bool = False
    """Whether the topic was read back to its first kept record."""


def find_change(
    contract: Contract,
    clients: Clients,
    table: str,
    key: Key,
    *,
    position: int | None = None,
    since: datetime | None = None,
    most: int = MOST_RECORDS,
    report: Callable[[str], None] = lambda _: None,
) -> Found:
    """The newest change of a row, or that at ``position``.

    Args:
        contract: The pipeline.
        clients: Of its engines.
        table: The source table.
        key: Canonical texts of the primary key.
        position: The source position of the change that is looked for.
        since: When the row's newest known change was committed: records before that are read last.
        most: Records that are read at most.
        report: Told how far the search is.

    Raises:
        EngineUnavailable, EngineError: Kafka cannot be asked, or has no such topic.
    """
    topic = contract.topic(table)
    at = Partition(topic, 0)
    end = clients.kafka.end_offsets([topic]).get(at)
    if end is None:
        return Found(whole=True)
    begin = clients.kafka.begin_offsets([topic])[at]
    found = Found()
    wanted = _Wanted(contract, table, key, position)
    upper, window = end, FIRST_WINDOW
    if since is not None:
        # A record is written after its commit; both clocks may differ a little.
        first = clients.kafka.offsets_at([topic], since - timedelta(seconds=2)).get(at, end)
        if end - first <= most:
            _read(clients, topic, first, end, wanted, found)
            upper = first
    while found.change is None and upper > begin and found.read < most:
        lower = max(begin, upper - window)
        report(f"{topic}: offsets {lower:,} to {upper:,}")
        _read(clients, topic, lower, upper, wanted, found)
        upper, window = lower, window * 2
    found.whole = upper <= begin
    found.offsets.sort()
    return found


class _Wanted:
    def __init__(self, contract: Contract, table: str, key: Key, position: int | None) -> None:
        schema = contract.schema(table)
        self.contract, self.table, self.key, self.position = contract, table, key, position
        self._names = schema.primary_key
        self._convert = [canonicalizer(schema.column(name)) for name in self._names]

    def has_key(self, record: Record) -> bool:
        try:
            body = json.loads(record.key or b"")
            found = [convert(body[name]) for convert, name in zip(self._convert, self._names, strict=True)]
        except (ValueError, KeyError, TypeError):
            return False
        return tuple(found) == self.key


def _read(clients: Clients, topic: str, lower: int, upper: int, wanted: _Wanted, found: Found) -> None:
    """Read records of ``[lower, upper)``; the newest wanted one stays."""
    with TopicReader(clients.endpoints.kafka, topic, lower) as reader:
        for record in reader.to_end():
            if record.offset >= upper:
                break
            found.read += 1
            if not wanted.has_key(record):
                continue
            found.offsets.append(record.offset)
            change = change_of(wanted.contract, wanted.table, record)
            if change is not None and wanted.position in (None, change.position):
                found.change = change


def change_of(contract: Contract, table: str, record: Record) -> Change | None:
    """The change that a record tells; None for a record that cannot be carried (it is in the quarantine)."""
    try:
        body = json.loads(record.value or b"")
        return _change(contract, table, body, record)
    except (ValueError, KeyError, TypeError):
        return None


def _change(contract: Contract, table: str, body: Mapping[str, Any], record: Record) -> Change:
    schema = contract.schema(table)
    values = {column.name: canonical(column, body.get(column.name)) for column in schema.columns}
    epoch = int(body.get(EPOCH_FIELD) or 0)
    file, pos, row = body["__source_file"], int(body["__source_pos"]), int(body["__source_row"] or 0)
    return Change(
        table=table,
        key={name: values[name] for name in schema.primary_key},
        values=values,
        operation=_operation(body),
        position=encode(epoch, file_number(file), pos, row),
        epoch=epoch,
        file=file,
        pos=pos,
        row=row,
        gtid=body.get("__source_gtid"),
        committed_at=datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(body["__source_ts_us"])),
        topic=contract.topic(table),
        offset=record.offset,
        recorded_at=datetime.fromtimestamp(record.timestamp_ms / 1000, UTC),
    )


def _operation(body: Mapping[str, Any]) -> Operation:
    if str(body.get("__deleted")).lower() == "true":
        return Operation.DELETE
    if body.get("__source_snapshot") == REPAIR:
        return Operation.REPAIR
    return {"c": Operation.INSERT, "u": Operation.UPDATE}.get(str(body.get("__op")), Operation.SNAPSHOT)
