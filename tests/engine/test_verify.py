"""The comparison itself on real engines: many types in every place, then one thing wrong at a time.

Rows are put into each place by hand, so nothing here depends on the streams; waiting for them is left out.
"""

from __future__ import annotations

import datetime as dt
import threading
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.model import Pipeline, Source, Table, View
from lakehouse_dagster.contract.position import encode, file_number
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.endpoints import FLINK, Endpoints
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.flink import script_environment
from lakehouse_dagster.engines.nessie import Delete
from lakehouse_dagster.engines.s3 import ObjectStore
from lakehouse_dagster.governance.publisher import publish_once
from lakehouse_dagster.proof.verify import Report, Verifier, places
from lakehouse_dagster.render import cassandra, paimon, quoting
from lakehouse_dagster.render.flink_sql import FlinkScript
from lakehouse_dagster.runtime.submitter import flink_submitter
from tests.forgery import forge

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

COLUMNS = """
  id INT UNSIGNED NOT NULL, part CHAR(3) NOT NULL, small SMALLINT, big BIGINT UNSIGNED, amount DECIMAL(8,3),
  ratio DOUBLE, flag BIT(1), day DATE, moment DATETIME(3) NOT NULL, seen TIMESTAMP(6) NULL, note VARCHAR(40),
  js JSON, raw VARBINARY(8), PRIMARY KEY (id)"""
MYSQL_ROWS = (
    "(1,'EWR',-5,18446744073709551615,1.5,1e-7,b'1','2013-01-01','2013-01-01 05:15:00.250',"
    "'2013-01-01 05:15:00.000001','ñ \"quoted\"','{\"b\": 1, \"a\": [1.0, null]}',x'00ff'),"
    "(2,'JFK',NULL,NULL,NULL,NULL,NULL,NULL,'2013-01-01 00:00:00',NULL,NULL,NULL,NULL),"
    "(4000000000,'EWR',0,0,-99999.999,123456789.25,b'0','1969-12-31','1969-12-31 23:59:59.999',"
    "'2038-01-01 00:00:00','','[]','')"
)
FLINK_ROWS = (
    "(1,'EWR',-5,'18446744073709551615','1.500','1e-7',TRUE,'2013-01-01','2013-01-01 05:15:00.25',"
    "'2013-01-01 05:15:00.000001','ñ \"quoted\"','{\"a\": [1.0, null], \"b\": 1}',X'00FF'),"
    "(2,'JFK',CAST(NULL AS INT),CAST(NULL AS STRING),CAST(NULL AS STRING),CAST(NULL AS STRING),"
    "CAST(NULL AS BOOLEAN),CAST(NULL AS STRING),'2013-01-01 00:00:00',CAST(NULL AS STRING),"
    "CAST(NULL AS STRING),CAST(NULL AS STRING),CAST(NULL AS BYTES)),"
    "(4000000000,'EWR',0,'0','-99999.999','123456789.25',FALSE,'1969-12-31','1969-12-31 23:59:59.999',"
    "'2038-01-01 00:00:00','','[]',X'')"
)
SERVED = ("id", "part", "big", "amount", "ratio", "flag", "day", "moment", "seen", "raw")
UTC = dt.UTC
CASSANDRA_ROWS: list[tuple[object, ...]] = [
    (1, "EWR", Decimal("18446744073709551615"), Decimal("1.5"), 1e-7, True, dt.date(2013, 1, 1),
     dt.datetime(2013, 1, 1, 5, 15, 0, 250000, tzinfo=UTC), "2013-01-01T05:15:00.000001Z", b"\x00\xff"),
    (2, "JFK", None, None, None, None, None, dt.datetime(2013, 1, 1, tzinfo=UTC), None, None),
    (4000000000, "EWR", Decimal(0), Decimal("-99999.999"), 123456789.25, False, dt.date(1969, 12, 31),
     dt.datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=UTC), "2038-01-01T00:00:00.000000Z", b""),
]  # fmt: skip
DOCUMENTS: list[dict[str, object]] = [
    {"id": 1, "part": "EWR", "small": -5, "big": "18446744073709551615", "amount": "1.500", "ratio": 1e-7,
     "flag": True, "day": "2013-01-01", "moment": "2013-01-01T05:15:00.250000Z",
     "seen": "2013-01-01T05:15:00.000001Z", "note": 'ñ "quoted"',
     "js": '{"a": [1.0, null], "b": 1}', "raw": "AP8="},
    {"id": 2, "part": "JFK", "small": None, "moment": "2013-01-01T00:00:00.000000Z"},
    {"id": 4000000000, "part": "EWR", "small": 0, "big": "0", "amount": "-99999.999", "ratio": 123456789.25,
     "flag": False, "day": "1969-12-31", "moment": "1969-12-31T23:59:59.999000Z",
     "seen": "2038-01-01T00:00:00.000000Z", "note": "", "js": "[]", "raw": ""},
]  # fmt: skip


class Copies:
    """One source table and its copies in every place."""

    def __init__(self, clients: Clients) -> None:
        self.clients = clients
        self.name = f"zz_{uuid.uuid4().hex[:8]}"
        self.database = clients.endpoints.mysql.database
        self.source = f"{self.database}.{self.name}"
        clients.mysql.execute(f"CREATE TABLE {self.source} ({COLUMNS})")
        clients.mysql.execute(f"INSERT INTO {self.source} VALUES {MYSQL_ROWS}")
        self.board = View(
            name="board",
            engine="cassandra",
            table=self.name,
            columns=SERVED,
            partition_key=("part",),
            clustering_key=("moment", "id"),
        )
        self.documents = View(name=f"{self.name}_docs", engine="couchdb", table=self.name)
        self.contract = Contract(
            folder=Path("/nonexistent"),
            pipeline=Pipeline(
                name=self.name,
                owner="team:test",
                source=Source(database=self.database),
                tables=(Table(name=self.name),),
                views=(self.board, self.documents),
            ),
            lock=clients.mysql.read_schema(self.database, [self.name]),
            queries={},
        )

    def fill(self) -> None:
        self.flink(
            f"INSERT INTO {paimon.table_name(self.contract, self.name)} SELECT "
            + ", ".join(
                f"CAST(c{number} AS {kind})"
                for number, kind in enumerate(
                    ("BIGINT", "STRING", "INT", "DECIMAL(20, 0)", "DECIMAL(8, 3)", "DOUBLE", "BOOLEAN",
                     "DATE", "TIMESTAMP(6)", "TIMESTAMP(6)", "STRING", "STRING", "BYTES")
                )
            )
            + ", 100, 'g', TIMESTAMP '2013-01-01 00:00:00', '+I' FROM (VALUES " + FLINK_ROWS + ") AS t("
            + ", ".join(f"c{number}" for number in range(13)) + ")"
        )  # fmt: skip
        publish_once(self.contract, self.clients.endpoints)
        for statement in cassandra.statements(self.contract):
            self.clients.cassandra.execute(statement)
        self.clients.cassandra.admit(self.name)
        marks = ", ".join(["%s"] * (len(SERVED) + 1))
        for row in CASSANDRA_ROWS:
            self.clients.cassandra.execute(
                f"INSERT INTO {self.name}.board ({', '.join(SERVED)}, source_position) VALUES ({marks})",
                (*row, 100),
            )
        self.clients.couchdb.ensure_database(self.documents.name)
        for doc in DOCUMENTS:
            body = {**doc, "source_position": "100"}
            self.clients.couchdb.put(self.documents.name, str(doc["id"]), body)

    def flink(self, insert: str) -> None:
        script = FlinkScript(
            name=f"{self.name}-fill",
            settings={
                "execution.runtime-mode": "BATCH",
                "parallelism.default": "1",
                "table.local-time-zone": "UTC",
            },
            statements=(
                paimon.catalog(),
                paimon.database(self.contract),
                paimon.table(self.contract, self.name),
            ),
            inserts=(insert,),
            wait=True,
        )
        self.clients.submitter.submit(script, script_environment(self.clients.endpoints))

    def drop(self) -> None:
        nessie = self.clients.nessie
        reference = nessie.get_reference()
        keys = [(self.name, self.name), (self.name,)]
        held = nessie.get_contents(keys, reference)
        for key in keys:
            if key in held:
                nessie.commit([Delete(key)], "clean up", reference=nessie.get_reference())
        self.clients.mysql.execute(f"DROP TABLE {self.source}")
        self.clients.cassandra.execute(f"DROP KEYSPACE IF EXISTS {self.name}")
        self.clients.couchdb.delete_database(self.documents.name)
        ObjectStore(self.clients.endpoints.s3.acting(FLINK)).delete_prefix(
            f"{self.clients.paimon.warehouse}/{self.name}.db/"
        )

    def verify(self, *names: str) -> Report:
        chosen = {n: p for n, p in places(self.contract, self.clients).items() if not names or n in names}
        return Verifier(self.contract, self.clients, chosen, wait=lambda *_, **__: ()).run()


@pytest.fixture(scope="module")
def copies(endpoints: Endpoints) -> Iterator[Copies]:
    with Clients(endpoints, submitter=flink_submitter) as clients:
        found = Copies(clients)
        try:
            found.fill()
            yield found
        finally:
            found.drop()


def counts(report: Report) -> dict[str, tuple[int, int, int]]:
    return {
        r.subject.place: (r.comparison.missing, r.comparison.extra, r.comparison.different)
        for r in report.results
    }


def test_every_type_is_equal_in_every_place(copies: Copies) -> None:
    before = {item.key for item in copies.clients.store.list("proof/")}
    report = copies.verify()
    differing = [e.to_json() for result in report.results for e in result.examples]
    assert differing == []
    assert report.equal
    assert {r.subject.place for r in report.results} == {"paimon", "trino", "cassandra", "couchdb"}
    assert all((r.comparison.source_rows, r.comparison.rows) == (3, 3) for r in report.results)
    assert not report.written
    assert {item.key for item in copies.clients.store.list("proof/")} <= before, (
        "the proof's files are removed"
    )


def test_an_altered_row_is_seen_where_it_is_and_nowhere_else(copies: Copies) -> None:
    table = paimon.table_name(copies.contract, copies.name)
    names = [quoting.flink(c) for c in copies.contract.schema(copies.name).column_names]
    altered = ["CAST(2 AS INT)" if name == "`small`" else name for name in names]
    hint = "/*+ OPTIONS('write-only'='true') */"
    select = "SELECT {} , `_position` + 1, `_gtid`, `_committed_at`, `_op` FROM {} WHERE id = 1"
    copies.flink(f"INSERT INTO {table} {hint} " + select.format(", ".join(altered), table))
    report = copies.verify("paimon", "trino")
    # Trino reads compacted files only, and nothing has compacted this one yet.
    assert counts(report) == {"paimon": (0, 0, 1), "trino": (0, 0, 0)}
    example = next(r for r in report.results if r.subject.place == "paimon").examples[0]
    assert example.to_json() == {
        "kind": "different",
        "key": {"id": "1"},
        "columns": {"small": {"source": "-5", "place": "2"}},
    }
    # An ordinary commit compacts: now Trino shows the wrong row too, once it is published.
    copies.flink(f"INSERT INTO {table} " + select.format(", ".join(altered), table))
    publish_once(copies.contract, copies.clients.endpoints)
    assert counts(copies.verify("paimon", "trino")) == {"paimon": (0, 0, 1), "trino": (0, 0, 1)}
    restored = ["CAST(-5 AS INT)" if name == "`small`" else name for name in names]
    copies.flink(f"INSERT INTO {table} " + select.format(", ".join(restored), table))
    publish_once(copies.contract, copies.clients.endpoints)
    assert copies.verify("paimon", "trino").equal


def test_trino_can_be_altered_on_its_own(copies: Copies) -> None:
    columns = [name for name, _ in paimon.columns(copies.contract, copies.name)]
    path = copies.contract.lake_path(copies.name)
    discard = forge(copies.clients, path, columns, {"note": "'forged'"}, "id = 2")
    report = copies.verify("trino")
    assert counts(report) == {"trino": (0, 0, 1)}
    assert report.results[0].examples[0].columns == {"note": (None, "forged")}
    assert publish_once(copies.contract, copies.clients.endpoints) is not None
    assert copies.verify("trino").equal
    discard()


def test_cassandra(copies: Copies) -> None:
    execute = copies.clients.cassandra.execute
    row = "part = 'EWR' AND moment = '2013-01-01T05:15:00.250Z' AND id = 1"
    execute(f"UPDATE {copies.name}.board SET raw = 0x00fe WHERE {row}")
    assert counts(copies.verify("cassandra")) == {"cassandra": (0, 0, 1)}
    # The row of a moved key that was not removed: the same source row twice.
    execute(
        f"INSERT INTO {copies.name}.board (part, moment, id) VALUES ('LGA', '2013-01-01T05:15:00.250Z', 1)"
    )
    assert counts(copies.verify("cassandra")) == {"cassandra": (0, 1, 1)}
    execute(f"DELETE FROM {copies.name}.board WHERE {row}")
    report = copies.verify("cassandra")
    assert counts(report) == {"cassandra": (1, 1, 0)}
    kinds = {example.kind: example.key["part"] for example in report.results[0].examples}
    assert kinds == {"missing": "EWR", "extra": "LGA"}


def test_couchdb(copies: Copies) -> None:
    couch, database = copies.clients.couchdb, copies.documents.name
    doc = couch.doc(database, "2")
    assert doc is not None
    couch.put(database, "2", doc | {"amount": "0.000"})
    assert counts(copies.verify("couchdb")) == {"couchdb": (0, 0, 1)}
    # The right fields under a wrong id are a wrong document, and the right one is missing.
    newest = couch.doc(database, "2")
    assert newest is not None
    couch.bulk(database, [{"_id": "2", "_rev": newest["_rev"], "_deleted": True}])
    couch.put(database, "two", {k: v for k, v in doc.items() if not k.startswith("_")})
    report = copies.verify("couchdb")
    assert counts(report) == {"couchdb": (1, 1, 0)}
    assert {e.key["id"] for e in report.results[0].examples} == {"2", "!document id two"}


def test_a_source_written_meanwhile_is_compared_again_and_said(copies: Copies) -> None:
    stop, written = threading.Event(), threading.Event()

    def write() -> None:
        connection = copies.clients.mysql.connect()
        with connection.cursor() as cursor:
            number = 0
            while not stop.wait(0.02):
                number += 1
                cursor.execute(f"UPDATE {copies.source} SET small = {number % 1000} WHERE id = 2")
                written.set()
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        # The first snapshot must hold a write, or it equals the place and nothing is compared again.
        assert written.wait(60), "the writer made no change"
        report = copies.verify("trino")
    finally:
        stop.set()
        writer.join()
    assert report.written
    assert report.attempts == 3
    assert counts(report) == {"trino": (0, 0, 1)}
    assert report.results[0].newer == 0, "Trino's row is old, not new"
    position = copies.clients.mysql.position()
    later = encode(0, file_number(position.file), position.pos + 1000, 0)
    copies.clients.cassandra.execute(
        f"INSERT INTO {copies.name}.board (part, moment, id, source_position) "
        f"VALUES ('NEW', '2013-01-01T00:00:00Z', 9, {later})"
    )
    found = next(r for r in copies.verify("cassandra").results)
    assert found.newer == 1


def test_a_place_without_the_table_is_an_error_that_names_the_engine(copies: Copies) -> None:
    copies.clients.cassandra.execute(f"DROP TABLE {copies.name}.board")
    with pytest.raises(EngineError, match=r"cassandra: .*board.*does not exist"):
        copies.verify("cassandra")
    copies.clients.couchdb.delete_database(copies.documents.name)
    with pytest.raises(EngineError, match=r"couchdb: .*404"):
        copies.verify("couchdb")
