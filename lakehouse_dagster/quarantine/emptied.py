"""What a TRUNCATE means for a table's rows, row by row: each that the lake has from before it is gone.

A record that says so carries the position of the TRUNCATE itself. It beats all that was written before and
loses to all that came after, so it is right whenever it is written, and as often. The repair that follows
proves it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.names import EPOCH_FIELD, WIRE_PREFIX
from lakehouse_dagster.contract.position import encode, file_number
from lakehouse_dagster.contract.wire import NoWireForm
from lakehouse_dagster.engines.kafka_records import RecordWriter
from lakehouse_dagster.proof.places.paimon import PaimonPlace
from lakehouse_dagster.proof.subject import PlaceRow, Subject, subjects
from lakehouse_dagster.quarantine.arrival import wait_for_jobs
from lakehouse_dagster.quarantine.model import TRUNCATED
from lakehouse_dagster.quarantine.reading import raw_values
from lakehouse_dagster.render.records import At, delete_record

if TYPE_CHECKING:
    from lakehouse_dagster.engines.clients import Clients
    from lakehouse_dagster.quarantine.store import QuarantineStore

MOST_TRUNCATES = 1_000
"""Open ones of a table that are looked at; the greatest position counts, and all are decided together."""
WAIT_SECONDS = 300.0

Log = Callable[[str], None]


def empty(
    contract: Contract, clients: Clients, store: QuarantineStore, tables: Sequence[str], log: Log
) -> int:
    """Write that the rows from before an open TRUNCATE of ``tables`` are gone; returns how many records.

    Raises ``EngineError`` when an engine cannot be used.
    """
    found = {table: at for table in tables if (at := _newest(contract, clients, store, table)) is not None}
    if not found:
        return 0
    late = wait_for_jobs(contract, clients, list(found), timeout=WAIT_SECONDS, report=log)
    if late:
        log(f"not all changes are in the lake yet; rows that come still are left to the repair: {late[0]}")
    with RecordWriter(clients.endpoints.kafka) as writer:
        for subject, row in lake_rows(contract, clients, list(found), log):
            at = found[subject.table]
            if row.position is None or row.position >= _position(contract, at):
                continue
            values = dict(zip(subject.projection.names, row.values, strict=True))
            try:
                record = delete_record(contract, subject.table, values, at)
            except NoWireForm as error:
                log(f"{subject.table}: left to the repair: {error}")
                continue
            writer.write(record.topic, record.key, record.value)
    log(f"wrote that {writer.written:,} row(s) of {', '.join(found)} are gone")
    return writer.written


def _newest(contract: Contract, clients: Clients, store: QuarantineStore, table: str) -> At | None:
    """Where the newest open TRUNCATE of a table was; None when there is none that tells."""
    topics = [contract.topic(table)]
    open_ones = store.records(
        contract.name, topics=topics, reason=TRUNCATED, newest_first=True, limit=MOST_TRUNCATES
    )
    letters = raw_values(contract, clients, {one.letter for one in open_ones})
    told = [truncated_at(raw, contract.epoch) for _, raw in letters]
    places = [at for at in told if at is not None]
    if not places:
        return None
    newest = max(places, key=lambda at: _position(contract, at))
    now = clients.reading.mysql.position()
    # Of a binary log that was reset since, a place means nothing any more.
    passed = _position(contract, newest) <= encode(contract.epoch, file_number(now.file), now.pos, 0)
    return newest if passed else None


def truncated_at(raw: bytes | None, epoch: int = 0) -> At | None:
    """Return where a TRUNCATE was, from its record; None when the record does not tell, or is of another
    epoch: it means nothing in the present log.
    """
    try:
        body: Any = json.loads(raw or b"null")
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, Mapping) or body.get(f"{WIRE_PREFIX}op") != "t":
        return None
    file, pos, ts_us = (body.get(f"{WIRE_PREFIX}source_{name}") for name in ("file", "pos", "ts_us"))
    if not (isinstance(file, str) and isinstance(pos, int) and isinstance(ts_us, int)):
        return None
    if body.get(EPOCH_FIELD, "0") != str(epoch):
        return None
    try:
        encode(0, file_number(file), pos, 0)
    except ValueError:
        return None
    return At(file, pos, ts_us)


def _position(contract: Contract, at: At) -> int:
    return encode(contract.epoch, file_number(at.file), at.pos, 0)


def lake_rows(
    contract: Contract, clients: Clients, tables: Sequence[str], log: Log
) -> Iterator[tuple[Subject, PlaceRow]]:
    """Return every row of lake tables, read by one Flink job."""
    wanted = [one for one in subjects(contract) if one.place == "paimon" and one.table in tables]
    place = PaimonPlace(contract, clients.endpoints, clients.submitter, clients.store, report=log)
    try:
        place.prepare(wanted)
        for subject in wanted:
            for row in place.rows(subject):
                yield subject, row
    finally:
        place.close()
