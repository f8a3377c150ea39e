"""Re-snapshots beside a stream that is being written, on the real connector: what its records say and where.

The tables are this test's own, and so are connector and topics. What a place would hold in the end is worked
out from the records of the topics alone, by the position that the Flink jobs compute.
"""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lakehouse_dagster.contract.canonical import canonical
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.model import Pipeline, Source, Table
from lakehouse_dagster.contract.position import encode, file_number
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.kafka_records import RecordWriter, TopicReader
from lakehouse_dagster.proof.verify import source_rows
from lakehouse_dagster.render.connector import connector
from lakehouse_dagster.render.records import At, delete_record, row_record
from lakehouse_dagster.render.topics import topics
from lakehouse_dagster.streams.resnapshot import resnapshot

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

Row = dict[str, Any]

EVERY_TYPE = """
  k VARCHAR(20) NOT NULL, id INT NOT NULL, ti TINYINT, t1 TINYINT(1), bo BOOLEAN, tu TINYINT UNSIGNED,
  sm SMALLINT, me MEDIUMINT UNSIGNED, i INT, iu INT UNSIGNED, bi BIGINT, bu BIGINT UNSIGNED, de DECIMAL(10,3),
  de2 DECIMAL(38,10), de3 DECIMAL(65,30), fl FLOAT, fl2 FLOAT(10,2), dbl DOUBLE, b1 BIT(1), b8 BIT(8),
  b20 BIT(20), da DATE, dt DATETIME, dt3 DATETIME(3), dt6 DATETIME(6), ts TIMESTAMP NULL,
  ts3 TIMESTAMP(3) NULL, ts6 TIMESTAMP(6) NULL, ye YEAR, ch CHAR(5), vc VARCHAR(50),
  l1 VARCHAR(20) CHARACTER SET latin1, tx TEXT, bn BINARY(4), vb VARBINARY(20), bl BLOB,
  en ENUM('a','b c','ü'), se SET('x','y','z'), js JSON, PRIMARY KEY (k, id)"""
TYPED_ROWS = (
    "('a',1,-128,1,TRUE,255,-32768,16777215,-2147483648,4294967295,-9223372036854775808,18446744073709551615,"
    "-1234567.891,1234567890123456789012345678.0123456789,"
    "12345678901234567890123456789012345.123456789012345678901234567890,1/3,12345.67,1/3,b'1',b'10101010',"
    "b'11110000111100001111','2013-01-01','2013-01-01 05:15:00','2013-01-01 05:15:00.25',"
    "'2013-01-01 05:15:00.000001','2013-03-31 02:30:00','2013-01-01 05:15:00.999',"
    "'2038-01-19 03:14:07.999999',2013,'ab ','ñ \"q\"\\n€','é','text',x'00ff',x'00ff10',x'','b c','x,z',"
    "'{\"b\": 1.0, \"a\": [null, 2.5, 123456789012345678]}')",
    "('ß',2,0,0,FALSE,0,0,0,0,0,0,0,0,0,0,0,0,0,b'0',b'0',b'0','1000-01-01','1000-01-01',"
    "'1969-12-31 23:59:59.999',"
    "'9999-12-31 23:59:59.999999','1970-01-01 00:00:01','1970-01-01 00:00:01.001',"
    "'1970-01-01 00:00:01.000001',1901,'','','','',x'',x'',x'','a','','[]')",
    "('z',3," + ",".join(["NULL"] * 37) + ")",
    "('日本',4,127,-5,2,1,1,1,1,1,1,9223372036854775808,0.001,-0.0000000001,"
    "-0.000000000000000000000000000001,1.17549435e-38,-0.01,2.2250738585072014e-308,b'1',b'1',b'1','9999-12-31',"
    "'2024-02-29 23:59:59','2024-02-29 23:59:59','1000-01-01 00:00:00.5','2038-01-19 03:14:07',"
    "'2024-02-29','2024-02-29 12:00:00.12',2155,'x','x','x','x',x'ffffffff',x'ff',x'ff','ü','x,y,z','\"s\"')",
    "('fl',5,1,1,1,1,1,1,1,1,1,1,1,1,1,16777217.5,99999999.99,1.7976931348623157e308,b'1',b'11111111',b'1',"
    "'1969-12-31','1969-12-31 23:59:59','2000-01-01','2000-01-01','2000-01-01','2000-01-01','2000-01-01',"
    "2000,'x','x','x','x',x'01',x'ff',x'ff','a','x','1.5')",
)  # fmt: skip


# --- a connector of one's own -----------------------------------------------------------------------


@dataclass
class Lab:
    """Tables in the source, and a connector and topics for them alone; nothing reads the topics."""

    clients: Clients
    contract: Contract
    log: list[str] = field(default_factory=list)

    @property
    def database(self) -> str:
        return self.contract.database

    def execute(self, sql: str) -> None:
        self.clients.mysql.execute(sql)

    def start(self) -> None:
        clients, contract = self.clients, self.contract
        clients.kafka.ensure_topics(topics(contract))
        wanted = connector(
            contract,
            mysql_host=clients.endpoints.mysql.host,
            mysql_port=clients.endpoints.mysql.port,
            kafka_bootstrap=clients.endpoints.kafka.bootstrap,
        )
        clients.connect.put_config(wanted.name, wanted.config)
        # Until a change that came after the initial snapshot has been read.
        self.caught_up()

    def caught_up(self) -> None:
        """Wait until everything that is committed now is in the topics and the offset is stored."""
        goal = self.clients.mysql.executed_gtids()
        for _ in range(240):
            found = self.clients.connect.offsets(self.contract.connector_name)
            offset = found[0]["offset"] if found else {}
            held = offset.get("gtids", "")
            began = str(offset.get("snapshot", "")).upper().startswith("INITIAL")
            if held and not began and not self.clients.mysql.missing_gtids(held, goal):
                return
            status = self.clients.connect.status(self.contract.connector_name)
            assert status is None or not status.failed, status.error
            if began:
                # Its end is stored with the next change.
                table = self.contract.tables[0].name
                self.execute(f"CREATE TABLE IF NOT EXISTS {self.database}.{table}_tick (a INT)")
                self.execute(f"INSERT INTO {self.database}.{table}_tick VALUES (1)")
            time.sleep(0.5)
        raise AssertionError(f"not caught up: {found}")

    def records(self, table: str) -> list[tuple[Row, Row]]:
        """Key and value of every record of a table's topic."""
        topic = self.contract.topic(table)
        with TopicReader(self.clients.endpoints.kafka, topic, 0) as reader:
            return [(json.loads(r.key or b""), json.loads(r.value or b"")) for r in reader.to_end()]

    def again(self, *tables: str, condition: str | None = None) -> Any:
        return resnapshot(
            self.contract, self.clients, tables, condition=condition, log=self.log.append, stall_seconds=60
        )

    def drop(self) -> None:
        with suppress(EngineError):
            self.clients.connect.delete(self.contract.connector_name)
        time.sleep(1)
        self.clients.kafka.delete_topics([spec.name for spec in topics(self.contract)])
        for table in self.contract.tables:
            self.execute(
                f"DROP TABLE IF EXISTS {self.database}.{table.name}, {self.database}.{table.name}_tick"
            )


def make_lab(endpoints: Endpoints, tables: dict[str, str], rows: dict[str, list[str]]) -> Lab:
    """A lab with ``tables`` (columns by short name) in the application's database, filled with ``rows``."""
    clients = Clients(endpoints)
    name = f"zz{uuid.uuid4().hex[:6]}"
    database = endpoints.mysql.database
    full = {short: f"{name}_{short}" for short in tables}
    for short, columns in tables.items():
        clients.mysql.execute(f"CREATE TABLE {database}.{full[short]} ({columns}) DEFAULT CHARSET utf8mb4")
        for values in rows.get(short, []):
            clients.mysql.execute(f"INSERT INTO {database}.{full[short]} VALUES {values}")
    contract = Contract(
        folder=Path("/nonexistent"),
        pipeline=Pipeline(
            name=name,
            owner="team:test",
            source=Source(database=database),
            tables=tuple(Table(name=table) for table in full.values()),
        ),
        lock=clients.mysql.read_schema(database, list(full.values())),
        queries={},
    )
    return Lab(clients, contract)


@contextmanager
def running_lab(endpoints: Endpoints, tables: dict[str, str], rows: dict[str, list[str]]) -> Iterator[Lab]:
    lab = make_lab(endpoints, tables, rows)
    try:
        lab.start()
        yield lab
    finally:
        lab.drop()
        lab.clients.close()


# --- what the records say ---------------------------------------------------------------------------


def position(record: Row) -> int:
    file, pos, row = record["__source_file"], record["__source_pos"], record["__source_row"]
    return encode(0, file_number(file), pos, row or 0)


def state(record: Row | None, column: str) -> Any:
    """What a record says of its row: a column's value, or None when the row is not there."""
    return None if record is None or record["__op"] == "d" else record[column]


def reduced(records: list[tuple[Row, Row]], column: str) -> dict[Any, Any]:
    """The rows that a place holds in the end: of each key the record of the greatest position."""
    best: dict[Any, Row] = {}
    for key, value in records:
        name = tuple(key.values())
        if name not in best or position(value) >= position(best[name]):
            best[name] = value
    return {name: value[column] for name, value in best.items() if value["__op"] != "d"}


def late(records: list[tuple[Row, Row]], column: str) -> list[tuple[Any, Row]]:
    """Rows of a re-snapshot that are older than what the stream says at their position.

    Each write has a number of its own, so the stream's states of one row can be told apart. A row may be
    newer than its position (the stream's own record then follows); it must never be older.
    """
    stream: dict[Any, list[Row]] = {}
    for key, value in records:
        if value["__source_snapshot"] != "incremental":
            stream.setdefault(tuple(key.values()), []).append(value)
    wrong = []
    for key, value in records:
        if value["__source_snapshot"] != "incremental":
            continue
        name = tuple(key.values())
        history = sorted(stream.get(name, []), key=position)
        at = max((n for n, one in enumerate(history) if position(one) <= position(value)), default=None)
        known = history if at is None else history[at:]
        if state(value, column) not in [state(one, column) for one in known]:
            wrong.append((name, value))
    return wrong


# --- writers ----------------------------------------------------------------------------------------


@contextmanager
def writers(lab: Lab, tables: list[str], keys: int, *, threads: int = 2) -> Iterator[list[int]]:
    """Updates, deletes and inserts of the same keys all the time; gives a list with the number of writes."""
    stop, number, guard = threading.Event(), [0], threading.Lock()

    def write(seed: int) -> None:
        chance = random.Random(seed)
        with closing(lab.clients.mysql.connect(database=lab.database)) as connection:
            cursor = connection.cursor()
            while not stop.is_set():
                with guard:
                    number[0] += 1
                    mine = number[0]
                table, key, kind = chance.choice(tables), chance.randrange(keys), chance.random()
                if kind < 0.5:
                    cursor.execute(f"UPDATE {table} SET v = {mine} WHERE id = {key}")
                elif kind < 0.75:
                    cursor.execute(f"DELETE FROM {table} WHERE id = {key}")
                else:
                    cursor.execute(f"REPLACE INTO {table} VALUES ({key}, {mine})")

    running = [threading.Thread(target=write, args=(seed,)) for seed in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield number
    finally:
        stop.set()
        for thread in running:
            thread.join()


def numbered(count: int) -> list[str]:
    return [
        ", ".join(f"({key}, {-key - 1})" for key in range(start, min(start + 5000, count)))
        for start in range(0, count, 5000)
    ]


def check_order(lab: Lab, tables: list[str]) -> int:
    """Assert that the topics' records amount to the source's rows; returns how many were read again."""
    again = 0
    for table in tables:
        records = lab.records(table)
        source = lab.clients.mysql.query(f"SELECT id, v FROM {lab.database}.{table}")
        assert late(records, "v") == []
        assert reduced(records, "v") == {(row["id"],): row["v"] for row in source}
        again += sum(value["__source_snapshot"] == "incremental" for _, value in records)
    return again


# --- the tests --------------------------------------------------------------------------------------


def under_writes(endpoints: Endpoints, *, keys: int = 6000, times: int = 4) -> int:
    """Re-snapshots of two tables whose rows are written all the time; returns how many rows they read."""
    columns = "id INT PRIMARY KEY, v BIGINT"
    with running_lab(endpoints, {"a": columns, "b": columns}, dict.fromkeys("ab", numbered(keys))) as lab:
        tables = [table.name for table in lab.contract.tables]
        with writers(lab, tables, keys) as written:
            for _ in range(times):
                done = lab.again(*tables)
                assert done.tables == tuple(tables)
                assert done.rows > keys
        lab.caught_up()
        assert written[0] > 100
        return check_order(lab, tables)


def restarted_in_the_middle(endpoints: Endpoints, *, keys: int = 60_000) -> int:
    """The connector is restarted in the middle and the caller dies; the same call follows it to the end."""
    with running_lab(endpoints, {"a": "id INT PRIMARY KEY, v BIGINT"}, {"a": numbered(keys)}) as lab:
        (table,) = (table.name for table in lab.contract.tables)
        name = lab.contract.connector_name
        restarts = []

        def log(line: str) -> None:
            lab.log.append(line)
            if "up to key" in line and len(restarts) < 3:
                restarts.append(line)
                if len(restarts) == 2:
                    raise KeyboardInterrupt  # the caller dies; the connector goes on
                lab.clients.connect.restart(name)

        with writers(lab, [table], keys):
            with pytest.raises(KeyboardInterrupt):
                resnapshot(lab.contract, lab.clients, [table], log=log, stall_seconds=60)
            with pytest.raises(EngineError, match=r"a re-snapshot of .* is under way"):
                lab.again(table, condition="id < 5")
            resnapshot(lab.contract, lab.clients, [table], log=log, stall_seconds=60)
        assert len(restarts) == 3
        # The same call follows what is under way, or asks anew where the connector was stopped before it had
        # stored its progress; either way the rows below are complete.
        assert any("following it" in line for line in lab.log) or (
            sum("reads again" in line for line in lab.log) > 1
        )
        lab.caught_up()
        offset = lab.clients.connect.offsets(name)[0]["offset"]
        assert not [key for key in offset if key.startswith("incremental")]
        # Every row that was there all the time has been read again.
        seen = {key["id"] for key, value in lab.records(table) if value["__source_snapshot"] == "incremental"}
        untouched = lab.clients.mysql.query(f"SELECT id FROM {lab.database}.{table} WHERE v < 0")
        assert {row["id"] for row in untouched} <= seen
        return check_order(lab, [table])


def every_type(endpoints: Endpoints) -> None:
    """Values of every type are the same by stream, initial snapshot, re-snapshot and in repair records."""
    with running_lab(endpoints, {"t": EVERY_TYPE}, {"t": list(TYPED_ROWS)}) as lab:
        (table,) = (table.name for table in lab.contract.tables)
        lab.execute(f"DELETE FROM {lab.database}.{table}")
        for values in TYPED_ROWS:
            lab.execute(f"INSERT INTO {lab.database}.{table} VALUES {values}")
        lab.caught_up()
        assert lab.again(table).rows == len(TYPED_ROWS)
        schema = lab.contract.schema(table)
        with lab.clients.mysql.snapshot(lab.database, [table]) as snapshot:
            source = {
                row[1]: dict(zip(schema.column_names, row, strict=True))
                for row in source_rows(lab.contract, snapshot, table)
            }
            at = At(snapshot.position.file, snapshot.position.pos, 0)
        found: dict[str, dict[str | None, Row]] = {"r": {}, "c": {}, "d": {}, "incremental": {}}
        for _, value in lab.records(table):
            again = value["__source_snapshot"] == "incremental"
            found["incremental" if again else value["__op"]][str(value["id"])] = value
        for kind, rows in found.items():
            assert len(rows) == len(TYPED_ROWS), kind
            for number, row in rows.items():
                texts = {c.name: canonical(c, row[c.name]) for c in schema.columns}
                wrong = {
                    n: (text, source[number][n]) for n, text in texts.items() if text != source[number][n]
                }
                assert wrong == {}, (kind, number, wrong)
        # What a repair writes cannot be told from what the connector wrote.
        for number, row in source.items():
            for record, theirs in (
                (row_record(lab.contract, table, row, at), found["incremental"][number]),
                (delete_record(lab.contract, table, row, at), found["d"][number]),
            ):
                ours = json.loads(record.value)
                assert record.topic == lab.contract.topic(table)
                assert list(json.loads(record.key)) == list(schema.primary_key)
                assert list(ours) == list(theirs), "the same fields in the same order"
                assert [ours[n] for n in ("__op", "__deleted")] == [theirs[n] for n in ("__op", "__deleted")]
                for column in schema.columns:
                    name = column.name
                    assert canonical(column, ours[name]) == canonical(column, theirs[name])
                    if ours[name] is not None:
                        kinds = (int, float) if isinstance(theirs[name], (int, float)) else (str,)
                        assert isinstance(ours[name], kinds), name


def idle_source(endpoints: Endpoints) -> float:
    """Nothing is written: the server's heartbeats end each chunk. Composite keys, a condition, no rows."""
    tables = {
        "a": "x VARCHAR(10), y INT, z DATE, v INT, PRIMARY KEY (x, y, z)",
        "b": "id INT PRIMARY KEY, v INT",
        "e": "id INT PRIMARY KEY, v INT",
    }
    rows = {
        "a": [", ".join(f"('{chr(97 + n % 26)}', {n}, '2020-01-{1 + n % 28:02}', {n})" for n in range(5000))],
        "b": ["(1, 1), (2, 2), (3, 3)"],
    }
    with running_lab(endpoints, tables, rows) as lab:
        a, b, e = (table.name for table in lab.contract.tables)
        done = lab.again(a, b, e)
        assert done.rows == 5003
        records = [value for _, value in lab.records(a) if value["__source_snapshot"] == "incremental"]
        assert {row["y"] for row in records} == set(range(5000))
        assert {row["__op"] for row in records} == {"r"}
        end = lab.clients.mysql.position()
        # A change that comes later begins at the log's end or after it.
        assert max(map(position, records)) < encode(0, file_number(end.file), end.pos, 0) + (1 << 12)
        some = lab.again(a, condition="y >= 4990 AND x <> '%'")
        assert some.rows == 10
        with pytest.raises(EngineError, match="has no table nothing"):
            lab.again("nothing")
        with pytest.raises(EngineError, match="Unknown column 'nope'"):
            lab.again(b, condition="nope = 1")
        with pytest.raises(EngineError, match="more than one condition"):
            lab.again(b, condition="1=1) OR (1=1")
        lab.clients.connect.stop_and_wait(lab.contract.connector_name)
        with pytest.raises(EngineError, match=r"is STOPPED.*streams reconcile"):
            lab.again(b)
        return float(done.seconds)


def binlog_gone(endpoints: Endpoints) -> None:
    """Offsets that were forgotten make the connector read the source anew, behind everything it had said."""
    columns = "id INT PRIMARY KEY, v BIGINT"
    with running_lab(endpoints, {"a": columns}, {"a": numbered(100)}) as lab:
        (table,) = (table.name for table in lab.contract.tables)
        connect, name = lab.clients.connect, lab.contract.connector_name
        with pytest.raises(EngineError):
            connect.delete_offsets(name)  # it runs
        connect.stop_and_wait(name)
        lab.execute(f"UPDATE {lab.database}.{table} SET v = 1 WHERE id = 1")
        lab.execute(f"INSERT INTO {lab.database}.{table} VALUES (100, 2)")
        connect.delete_offsets(name)
        connect.delete_offsets(name)
        assert connect.offsets(name) == []
        connect.resume(name)
        lab.caught_up()
        records = lab.records(table)
        assert reduced(records, "v") == {(key,): -key - 1 for key in range(100)} | {(1,): 1, (100,): 2}
        # The stream goes on, and a restart finds its way through the history of the schema.
        lab.execute(f"DELETE FROM {lab.database}.{table} WHERE id = 2")
        connect.restart(name)
        lab.caught_up()
        assert (2,) not in reduced(lab.records(table), "v")


def written_records(endpoints: Endpoints) -> None:
    """What is written into a topic comes out as it went in, in order."""
    lab = make_lab(endpoints, {"a": "id INT PRIMARY KEY, v BIGINT"}, {})
    try:
        lab.clients.kafka.ensure_topics(topics(lab.contract))
        (table,) = (table.name for table in lab.contract.tables)
        topic = lab.contract.topic(table)
        with RecordWriter(lab.clients.endpoints.kafka) as writer:
            for number in range(2500):
                writer.write(topic, b"%d" % number, b"x" * 1000)
        with TopicReader(lab.clients.endpoints.kafka, topic, 10) as reader:
            assert [record.key for record in reader.to_end()] == [b"%d" % n for n in range(10, 2500)]
        with pytest.raises(EngineError), RecordWriter(lab.clients.endpoints.kafka, timeout=5) as writer:
            writer.write("no-such-topic", b"1", b"1")
    finally:
        lab.drop()
        lab.clients.close()


CORES: list[Callable[[Endpoints], Any]] = [
    under_writes,
    restarted_in_the_middle,
    every_type,
    idle_source,
    binlog_gone,
    written_records,
]


@pytest.mark.parametrize("core", CORES, ids=lambda core: core.__name__)
def test_resnapshot(core: Callable[[Endpoints], Any], endpoints: Endpoints) -> None:
    core(endpoints)
