"""Reading tables of the source again, beside the stream: Debezium's read-only incremental snapshot.

The rows come through the same topic, as ``r`` records. Debezium reads a table in chunks; each chunk's rows
carry a position of the binary log that is not greater than the point at which they were read, or the changes
between the two have been taken out, so a row never beats a change that came after it.

That holds for chunks that are read by the thread which reads the binary log. A snapshot that is asked for by
a signal has its first chunk read by another thread (Debezium 3.6.1), and under concurrent writes rows come
out stale, deleted rows come back, and rows of one table are sent as another's. So no signal is sent: the
request is stored in the connector's offsets while it is stopped, just as Debezium itself stores a snapshot
under way, and is gone on with at the start, before the binary log is read. The stream pauses for seconds.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.kafka_records import Record, TopicReader
from lakehouse_dagster.render import quoting
from lakehouse_dagster.streams.assets import CONNECTOR
from lakehouse_dagster.streams.lock import stream_lock

STALL_SECONDS: Final = 180.0
"""Without any word of progress for so long, a re-snapshot has failed."""
QUIET_SECONDS: Final = 10.0
"""Without any word for so long, it is seen after whether the connector still knows of it."""
ATTEMPTS: Final = 4
"""How often a re-snapshot that the connector has forgotten is asked for."""
READY_SECONDS: Final = 30.0
"""How long a connector that is coming up is waited for."""
LOCK_SECONDS: Final = 60.0
"""How long to wait for somebody else who is acting on the connector."""

_COLLECTIONS: Final = "incremental_snapshot_collections"
_CORRELATION: Final = "incremental_snapshot_correlation_id"
_STATE: Final = (
    _COLLECTIONS,
    _CORRELATION,
    "incremental_snapshot_primary_key",
    "incremental_snapshot_maximum_key",
)
"""Where Debezium keeps a snapshot under way in the connector's offset."""
_AGGREGATE: Final = "Incremental Snapshot"
_DONE: Final = frozenset({"SUCCEEDED", "EMPTY"})

Log = Callable[[str], None]


@dataclass(frozen=True)
class Resnapshot:
    """A finished re-snapshot: its tables, the rows that were read, and how long it took."""

    tables: tuple[str, ...]
    rows: int
    seconds: float


@dataclass(frozen=True)
class Wanted:
    """One table of a request, with the condition that its rows must meet."""

    table: str
    condition: str | None = None


# --- the request, as Debezium stores it -----------------------------------------------------------


def collections(database: str, wanted: Sequence[Wanted]) -> str:
    """The tables still to be read, in the form in which Debezium keeps them in its offset."""
    return json.dumps(
        [
            {
                f"{_COLLECTIONS}_id": f"{database}.{item.table}",
                # Debezium puts parentheses around it when it builds its query.
                f"{_COLLECTIONS}_additional_condition": item.condition,
                f"{_COLLECTIONS}_surrogate_key": None,
            }
            for item in wanted
        ]
    )


def requested(
    offsets: Sequence[Mapping[str, Any]], database: str, wanted: Sequence[Wanted], identity: str
) -> list[dict[str, Any]]:
    """The connector's offsets with the request in them.

    EngineError when it has none yet or is in the middle of a snapshot, because nothing may be asked for then.
    """
    if len(offsets) != 1:
        raise EngineError(
            "connect",
            f"the connector has {len(offsets)} stored offsets where one is expected; "
            "wait until it has read the source once",
        )
    offset = dict(offsets[0].get("offset") or {})
    if initial_snapshot(offset):
        raise EngineError(
            "connect", "the initial snapshot is under way and reads every table anyway; wait for its end"
        )
    if offset.get(_COLLECTIONS):
        raise EngineError("connect", f"{_under_way(offset)} is under way; wait for its end")
    kept = {key: value for key, value in _unmarked(offset).items() if key not in _STATE}
    kept |= {_COLLECTIONS: collections(database, wanted), _CORRELATION: identity}
    return [{"partition": offsets[0]["partition"], "offset": kept}]


def _unmarked(offset: Mapping[str, Any]) -> dict[str, Any]:
    """The offset without the mark that its record came from a re-snapshot.

    A connector that starts with it leaves the re-snapshot out of the first offsets that it stores: stopped
    again soon, it would have forgotten it.
    """
    marked = str(offset.get("snapshot", "")).upper() == "INCREMENTAL"
    return {key: value for key, value in offset.items() if not (marked and key == "snapshot")}


def initial_snapshot(offset: Mapping[str, Any]) -> bool:
    """Whether the connector is still reading the whole source for the first time."""
    begun = str(offset.get("snapshot", "")).upper().startswith("INITIAL")
    return begun and not offset.get("snapshot_completed")


def under_way(offsets: Sequence[Mapping[str, Any]], database: str, wanted: Sequence[Wanted]) -> str | None:
    """The identity of a re-snapshot under way if it is this one (its tables are the last of those wanted)."""
    offset = (offsets[0].get("offset") or {}) if len(offsets) == 1 else {}
    if not offset.get(_COLLECTIONS) or not offset.get(_CORRELATION):
        return None
    found = [_plain(item) for item in json.loads(offset[_COLLECTIONS])]
    ours = [_plain(item) for item in json.loads(collections(database, wanted))]
    # Tables that are finished are taken off the front of the list.
    return str(offset[_CORRELATION]) if found and found == ours[-len(found) :] else None


def _plain(item: Mapping[str, Any]) -> tuple[str, str]:
    condition = item.get(f"{_COLLECTIONS}_additional_condition") or ""
    while condition.startswith("(") and condition.endswith(")"):
        condition = condition[1:-1]
    return str(item[f"{_COLLECTIONS}_id"]), condition


def _under_way(offset: Mapping[str, Any]) -> str:
    names = ", ".join(str(item[f"{_COLLECTIONS}_id"]) for item in json.loads(offset[_COLLECTIONS]))
    return f"a re-snapshot of {names}"


def condition_problem(condition: str) -> str | None:
    """Why a text cannot be a condition on rows, or None. It becomes a part of a query on the source."""
    try:
        # Parsed only, never run.
        parsed = sqlglot.parse(f"SELECT 1 FROM t WHERE ({condition})", dialect="mysql")  # noqa: S608
    except SqlglotError as error:
        return f"is not a condition of MySQL: {str(error).splitlines()[0]}"
    select = parsed[0] if len(parsed) == 1 else None
    where = select.args.get("where") if isinstance(select, exp.Select) else None
    extra = (
        [name for name, part in select.args.items() if part and name not in _PLAIN_SELECT] if select else []
    )
    if where is None or not isinstance(where.this, exp.Paren) or extra:
        return "is more than one condition; write only what may follow WHERE"
    if where.find(exp.Placeholder, exp.Parameter):
        return "has a placeholder or a variable; write values"
    return None


_PLAIN_SELECT: Final = frozenset({"expressions", "from", "from_", "where", "kind"})


# --- what the connector tells ---------------------------------------------------------------------


@dataclass(frozen=True)
class Told:
    """One notification about a snapshot."""

    identity: str
    kind: str
    table: str = ""
    rows: int = 0
    status: str = ""
    last_key: str = ""
    maximum_key: str = ""


def told(record: Record) -> Told | None:
    """What a record of the notification topic says about a re-snapshot; None when about something else."""
    try:
        body = json.loads(record.value or b"null")
        if body["aggregate_type"] != _AGGREGATE:
            return None
        more = body.get("additional_data") or {}
        name = more.get("scanned_collection") or more.get("current_collection_in_progress") or ""
        return Told(
            identity=body["id"],
            kind=body["type"],
            table=name.rpartition(".")[2],
            rows=int(more.get("total_rows_scanned", 0)),
            status=more.get("status", ""),
            last_key=more.get("last_processed_key", ""),
            maximum_key=more.get("maximum_key", ""),
        )
    except (ValueError, KeyError, TypeError):
        return None


# --- doing it -------------------------------------------------------------------------------------


def resnapshot(
    contract: Contract,
    clients: Clients,
    tables: Sequence[str],
    *,
    condition: str | None = None,
    log: Log,
    stall_seconds: float = STALL_SECONDS,
) -> Resnapshot:
    """Have the connector read ``tables`` again, and wait until all their rows are in the topics.

    Args:
        contract: The pipeline.
        clients: Its engines.
        tables: Source tables of the contract.
        condition: What may follow WHERE, by which rows are chosen; it applies to every table given. Rows that
            the source no longer has are not deleted by this (``streams.repair`` does that).
        log: Gets a line for every step.
        stall_seconds: Without any word of progress for so long, it has failed.

    The connector must run; it is stopped and started once. When a call is given up in the middle, the
    connector goes on by itself; the same call then follows to the end what is under way. EngineError names
    the fix when a table or the condition is wrong, or when the connector fails or stops telling of progress.
    """
    started = time.monotonic()
    wanted = _checked(contract, clients, tables, condition)
    _ready(contract, clients)
    for _ in range(ATTEMPTS):
        begin = _end_of(clients, contract.notification_topic)
        identity = _request(contract, clients, wanted, log)
        with TopicReader(clients.endpoints.kafka, contract.notification_topic, begin) as reader:
            rows = _follow(contract, clients, reader, identity, log, stall_seconds)
        if rows is not None:
            break
        log("the connector was restarted and has forgotten the re-snapshot; asking for it again")
    else:
        raise EngineError(
            "connect",
            f"connector {contract.connector_name} was restarted again and again during the re-snapshot; see "
            f"`lakehouse streams list {contract.name}`, and run it again once the connector keeps running",
        )
    seconds = time.monotonic() - started
    log(f"read again: {', '.join(tables)}: {rows:,} rows in {seconds:.1f} s")
    return Resnapshot(tuple(tables), rows, seconds)


def _checked(
    contract: Contract, clients: Clients, tables: Sequence[str], condition: str | None
) -> list[Wanted]:
    known = {table.name for table in contract.tables}
    unknown = [name for name in tables if name not in known]
    if unknown or not tables:
        raise EngineError(
            "connect",
            f"pipeline {contract.name} has no table {', '.join(unknown)}; it has {', '.join(sorted(known))}"
            if unknown
            else "no table was named",
        )
    if condition is not None:
        problem = condition_problem(condition)
        if problem:
            raise EngineError("mysql", f"the condition {condition!r} {problem}")
        for name in tables:
            table = f"{quoting.mysql(contract.database)}.{quoting.mysql(name)}"
            # The server's own judgement, before anything is stopped: columns and functions must exist.
            clients.reading.mysql.query(f"EXPLAIN SELECT 1 FROM {table} WHERE ({condition})")  # noqa: S608
    return [Wanted(name, condition) for name in dict.fromkeys(tables)]


def _ready(contract: Contract, clients: Clients) -> None:
    name = contract.connector_name
    fix = f"run `lakehouse streams reconcile {contract.name} {CONNECTOR}`, or see `lakehouse streams list`"
    config = clients.connect.config(name) or {}
    if config.get("notification.sink.topic.name") != contract.notification_topic:
        raise EngineError("connect", f"connector {name} does not run the present specification; {fix}")
    deadline = time.monotonic() + READY_SECONDS
    while True:
        status = clients.connect.status(name)
        if status is not None and status.running:
            return
        # A connector that has just been started is not up yet; one that is stopped or failed stays so.
        ended = status is None or status.failed or status.state in {"PAUSED", "STOPPED"}
        if ended or time.monotonic() >= deadline:
            said = (
                "is not known" if status is None else "has failed" if status.failed else f"is {status.state}"
            )
            raise EngineError("connect", f"connector {name} {said}, so it cannot read tables again; {fix}")
        time.sleep(0.5)


def _end_of(clients: Clients, topic: str) -> int:
    ends = clients.kafka.end_offsets([topic])
    if not ends:
        raise EngineError("kafka", f"topic {topic} does not exist; it is made when the connector is started")
    return max(ends.values())


def _request(contract: Contract, clients: Clients, wanted: Sequence[Wanted], log: Log) -> str:
    with connector_lock(contract, clients):
        return _store(contract, clients, wanted, log)


@contextmanager
def connector_lock(contract: Contract, clients: Clients) -> Iterator[None]:
    """Hold the connector's lock for the time of the block.

    Raises ``EngineError`` when another process has held it for ``LOCK_SECONDS``.
    """
    with stream_lock(clients.endpoints.postgres, contract.name, CONNECTOR, wait=LOCK_SECONDS) as mine:
        if not mine:
            raise EngineError(
                "connect",
                f"another process has been acting on {contract.connector_name} for {LOCK_SECONDS:.0f} s; "
                "try again",
            )
        yield


def _store(contract: Contract, clients: Clients, wanted: Sequence[Wanted], log: Log) -> str:
    name = contract.connector_name
    log(f"stopping connector {name} for a moment, to store the request in its offsets")
    try:
        clients.connect.stop_and_wait(name)
        # Only now do they tell what is under way: while it runs they are some time behind.
        offsets = clients.connect.offsets(name)
        identity = under_way(offsets, contract.database, wanted)
        if identity is not None:
            log("the same re-snapshot is under way already; following it")
            offset = _unmarked(offsets[0]["offset"])
            clients.connect.patch_offsets(name, [{"partition": offsets[0]["partition"], "offset": offset}])
            return identity
        identity = f"lakehouse-{uuid.uuid4()}"
        clients.connect.patch_offsets(name, requested(offsets, contract.database, wanted, identity))
    finally:
        _resume(clients, name)
    log(f"connector {name} reads again: {', '.join(_described(item) for item in wanted)}")
    return identity


def _resume(clients: Clients, name: str) -> None:
    clients.connect.resume(name)
    deadline = time.monotonic() + READY_SECONDS
    # Connect answers before it has done it; whoever looks next must not take the connector for stopped.
    while (status := clients.connect.status(name)) is not None and status.state == "STOPPED":
        if time.monotonic() >= deadline:
            raise EngineError(
                "connect", f"connector {name} is still STOPPED {READY_SECONDS:.0f} s after it was resumed"
            )
        time.sleep(0.2)


def _described(item: Wanted) -> str:
    return item.table if item.condition is None else f"{item.table} where {item.condition}"


def _follow(
    contract: Contract, clients: Clients, reader: TopicReader, identity: str, log: Log, stall_seconds: float
) -> int | None:
    """The rows read when it has ended; None when the connector has forgotten it."""
    rows, absent = 0, 0
    heard = time.monotonic()
    failed: list[str] = []
    while True:
        for record in reader.poll(1.0):
            news = told(record)
            if news is None or news.identity != identity:
                continue
            heard, absent = time.monotonic(), 0
            if news.kind == "IN_PROGRESS":
                log(f"{news.table}: up to key {news.last_key} of {news.maximum_key}")
            elif news.kind == "TABLE_SCAN_COMPLETED":
                rows += news.rows
                log(f"{news.table}: {news.status.lower()}, {news.rows:,} rows")
                if news.status not in _DONE:
                    failed.append(f"{news.table}: {news.status}")
            elif news.kind == "COMPLETED":
                if failed:
                    raise EngineError(
                        "connect",
                        f"not every table was read again: {', '.join(failed)}; see `lakehouse logs connect`",
                    )
                return rows
            elif news.kind == "ABORTED":
                raise EngineError("connect", "the re-snapshot was stopped from outside; start it again")
        status = clients.connect.status(contract.connector_name)
        if status is not None and status.failed:
            raise EngineError(
                "connect",
                f"connector {contract.connector_name} failed during the re-snapshot: {status.error}; it goes "
                "on with it when it is started again",
            )
        quiet = time.monotonic() - heard
        if quiet >= QUIET_SECONDS and status is not None and status.running:
            offsets = clients.connect.offsets(contract.connector_name)
            held = any(one["offset"].get(_CORRELATION) == identity for one in offsets if one.get("offset"))
            # More than once, because offsets are stored some time after the records they belong to.
            absent = 0 if held else absent + 1
            if absent >= 5:
                return None
        if quiet >= stall_seconds:
            state = "unknown" if status is None else status.state
            raise EngineError(
                "connect",
                f"no word of the re-snapshot for {stall_seconds:.0f} s (connector {state}); it goes on by "
                "itself once the connector runs: run the same command to follow it, and see "
                "`lakehouse logs connect`",
            )
