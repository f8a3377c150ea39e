"""Events that change data capture is known to lose, double or garble: the end state is compared after each.

One pipeline lives through all of them, with a MySQL server of its own as its source, because the server is
restarted, killed and reset. What was compared goes to the table in docs/correctness.md
(``bench.correctness_report``).

``LAKEHOUSE_EVENTS_FULL=1`` makes the events whose size matters as large as they are known to hurt: a
transaction of a million rows, one that is open for an hour. Without it they are small enough for every run.
"""

from __future__ import annotations

import json
import os
import random
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing

import pytest
from kafka import KafkaProducer

from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.kafka_records import RecordWriter
from lakehouse_dagster.quarantine.operations import Quarantine, Wanted
from lakehouse_dagster.render.topics import MAX_RECORD_BYTES
from lakehouse_dagster.streams import act, evolve, evolve_defs
from lakehouse_dagster.streams.assets import CONNECTOR, LAKE, SERVING
from lakehouse_dagster.streams.decision import Verb
from lakehouse_dagster.streams.evolve_store import SchemaStore
from tests.conftest import wait_until
from tests.engine.order_of_records import by_key, ends_deleted, mixed, operation, shuffled
from tests.engine.own_pipeline import ACTOR, OwnPipeline, own_pipeline
from tests.engine.own_source import OwnSource
from tests.engine.restless import Change, restless

FULL = bool(os.environ.get("LAKEHOUSE_EVENTS_FULL"))
BULK_ROWS = 1_000_000 if FULL else 50_000
OPEN_SECONDS = 3600.0 if FULL else 20.0
SETTLE_SECONDS = 3600.0 if FULL else 240.0

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(3 * 3600 if FULL else 900)]

KEYS = 300
"""Orders that are written again and again."""
LARGE = 16 * 1024 * 1024
"""Bytes of a large value; as text of base64, which binary values travel in, it takes four thirds of that."""
TOO_LARGE = MAX_RECORD_BYTES * 3 // 4 + 1024 * 1024
"""Bytes of a binary value that no record can take."""

TABLES = {
    "orders": "id INT PRIMARY KEY, shop CHAR(4) NOT NULL, placed_at DATETIME(3) NOT NULL,"
    " total DECIMAL(10,2), note VARCHAR(200)",
    # No key in the source: the contract says what tells its rows apart.
    "ledger": "account INT NOT NULL, entry INT NOT NULL, amount DECIMAL(10,2)",
    "bulk": "id BIGINT PRIMARY KEY, payload VARCHAR(40) NOT NULL",
    "large": "id INT PRIMARY KEY, body LONGTEXT, raw LONGBLOB",
    "shadowed": "id INT PRIMARY KEY, v BIGINT NOT NULL",
    "truncated": "id INT PRIMARY KEY, v BIGINT",
    "remade": "id INT PRIMARY KEY, v BIGINT",
    "renamed": "id INT PRIMARY KEY, v BIGINT",
}
REPLACED = ("remade", "renamed")


def attributes(name: str, database: str) -> dict[str, object]:
    tables: list[dict[str, object]] = [{"name": table} for table in TABLES]
    for table in tables:
        if table["name"] == "ledger":
            table["primary_key"] = ["account", "entry"]
    return {
        "name": name,
        "owner": "team:test",
        "source": {"database": database},
        "tables": tables,
        "views": [
            {
                "name": "orders_by_shop",
                "engine": "cassandra",
                "table": "orders",
                "partition_key": ["shop"],
                "clustering_key": ["placed_at", "id"],
            },
            {"name": f"{name}_orders", "engine": "couchdb", "table": "orders"},
        ],
        "checkpoint_interval_seconds": 1,
    }


# --- what is written all the time -------------------------------------------------------------------


def _moment(number: int) -> str:
    return f"2024-01-{1 + number % 28:02} 10:{number % 60:02}:00.{number % 1000:03}"


def _upsert(dice: random.Random, number: int) -> tuple[str, tuple[object, ...]]:
    values = (dice.randrange(KEYS), f"S{number % 7}", _moment(number), number, f"write {number}")
    return (
        "INSERT INTO orders VALUES (%s, %s, %s, %s, %s) AS new"
        " ON DUPLICATE KEY UPDATE total = new.total, note = new.note",
        values,
    )


def _change(dice: random.Random, number: int) -> tuple[str, tuple[object, ...]]:
    return "UPDATE orders SET note = %s WHERE id = %s", (f"changed {number}", dice.randrange(KEYS))


def _move(dice: random.Random, number: int) -> tuple[str, tuple[object, ...]]:
    """To another place of the view."""
    sql = "UPDATE orders SET shop = %s, placed_at = %s WHERE id = %s"
    return sql, (f"S{number % 7}", _moment(number), dice.randrange(KEYS))


def _delete(dice: random.Random, number: int) -> tuple[str, tuple[object, ...]]:
    return "DELETE FROM orders WHERE id = %s", (dice.randrange(KEYS),)


def _key(dice: random.Random, number: int) -> tuple[str, tuple[object, ...]]:
    """Another key, unless it is taken."""
    return "UPDATE IGNORE orders SET id = %s WHERE id = %s", (dice.randrange(KEYS), dice.randrange(KEYS))


def _shadowed(dice: random.Random, number: int) -> tuple[str, tuple[object, ...]]:
    sql = "INSERT INTO shadowed (id, v) VALUES (%s, %s) AS new ON DUPLICATE KEY UPDATE v = new.v"
    return sql, (dice.randrange(500), number)


def _shadowed_delete(dice: random.Random, number: int) -> tuple[str, tuple[object, ...]]:
    return "DELETE FROM shadowed WHERE id = %s", (dice.randrange(500),)


def _entry(dice: random.Random, number: int) -> tuple[str, tuple[object, ...]]:
    """One writer alone adds entries, so no two rows of the table without a key are of the same one."""
    account, entry = dice.randrange(20), dice.randrange(20)
    sql = (
        "INSERT INTO ledger SELECT %s, %s, %s FROM DUAL"
        " WHERE NOT EXISTS (SELECT 1 FROM ledger AS l WHERE l.account = %s AND l.entry = %s)"
    )
    return sql, (account, entry, number, account, entry)


def _entry_change(dice: random.Random, number: int) -> tuple[str, tuple[object, ...]]:
    sql = "UPDATE ledger SET amount = %s WHERE account = %s AND entry = %s"
    return sql, (number, dice.randrange(20), dice.randrange(20))


def _entry_delete(dice: random.Random, number: int) -> tuple[str, tuple[object, ...]]:
    return "DELETE FROM ledger WHERE account = %s AND entry = %s", (dice.randrange(20), dice.randrange(20))


CHANGES: Mapping[str, Change] = {
    change.__name__: change
    for change in (
        _upsert,
        _change,
        _move,
        _delete,
        _key,
        _shadowed,
        _shadowed_delete,
        _entry,
        _entry_change,
        _entry_delete,
    )
}


# --- the pipeline -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def source(endpoints: Endpoints, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnSource]:
    """The pipeline's own server."""
    server = OwnSource.at(tmp_path_factory.mktemp("events-mysql"))
    try:
        server.start()
        yield server
    finally:
        server.discard()


@pytest.fixture(scope="module")
def site(
    source: OwnSource, endpoints: Endpoints, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OwnPipeline]:
    """The pipeline; its first snapshot is read while all tables are written."""
    name = f"ev{uuid.uuid4().hex[:8]}"
    own = source.endpoints(endpoints)
    database = own.mysql.database
    with source.root(database=database) as cursor:
        for table, columns in TABLES.items():
            cursor.execute(f"CREATE TABLE {table} ({columns}) DEFAULT CHARSET utf8mb4")
        for number in range(KEYS):
            cursor.execute(
                "INSERT INTO orders VALUES (%s, %s, %s, %s, %s)",
                (number, f"S{number % 7}", _moment(number), number, "at first"),
            )
        for table, rows in {"shadowed": 500, **dict.fromkeys(("truncated", *REPLACED), 25)}.items():
            values = ", ".join(f"({key}, {-key - 1})" for key in range(rows))
            cursor.execute(f"INSERT INTO {table} VALUES {values}")
    made = OwnPipeline(
        tmp_path_factory.mktemp("events"),
        own,
        attributes(name, database),
        settle_seconds=SETTLE_SECONDS,
        full=FULL,
    )
    with own_pipeline(made) as pipeline:
        with restless(pipeline.clients.mysql, CHANGES, seed=1):
            pipeline.start()
            time.sleep(3)
        yield pipeline


@pytest.fixture
def this_test(request: pytest.FixtureRequest) -> str:
    """The test's name, for the figures."""
    return f"tests/engine/test_events.py::{request.node.name}"


# --- the events -------------------------------------------------------------------------------------


def test_a_snapshot_that_overlaps_the_stream(site: OwnPipeline, this_test: str) -> None:
    assert any(operation(record) == "r" for record in site.records("orders"))
    assert any(operation(record) in "ucd" for record in site.records("orders"))
    site.compare(
        this_test, ["first snapshot while the tables are written", "table without a key in the source"]
    )
    assert site.count("ledger") > 0


def test_primary_keys_that_change(site: OwnPipeline, this_test: str) -> None:
    before = site.count("orders")
    site.execute("UPDATE orders SET id = id + 5000 WHERE id < 100")
    values = ", ".join(f"({key}, 'CHN', '2024-02-01', {key}, 'chain')" for key in range(6000, 6010))
    site.execute(f"INSERT INTO orders VALUES {values}")
    # Every row takes the key that its neighbour has just left.
    site.execute("UPDATE orders SET id = id + 1 WHERE id BETWEEN 6000 AND 6009 ORDER BY id DESC")
    site.execute("UPDATE orders SET id = id - 1 WHERE id BETWEEN 6001 AND 6010 ORDER BY id")
    with closing(site.clients.mysql.connect(autocommit=False)) as connection, connection.cursor() as cursor:
        # Away and back, two rows that change places, and rows that come and go, each in one transaction.
        for statements in (
            ("UPDATE orders SET id = 7000 WHERE id = 6000", "UPDATE orders SET id = 6000 WHERE id = 7000"),
            (
                "UPDATE orders SET id = -1 WHERE id = 6001",
                "UPDATE orders SET id = 6001, note = 'was 6002' WHERE id = 6002",
                "UPDATE orders SET id = 6002, note = 'was 6001' WHERE id = -1",
            ),
            (
                "DELETE FROM orders WHERE id = 6003",
                "INSERT INTO orders VALUES (6003, 'NEW', '2024-02-02', 1, 'anew')",
            ),
            (
                "INSERT INTO orders VALUES (8000, 'NEW', '2024-02-02', 1, 'soon gone')",
                "UPDATE orders SET id = 8001 WHERE id = 8000",
                "DELETE FROM orders WHERE id = 8001",
            ),
        ):
            for statement in statements:
                assert cursor.execute(statement) == 1, statement
            connection.commit()
    # The declared key of the table that has none.
    site.execute(
        "INSERT INTO ledger VALUES (900, 1, 1.5), (900, 2, 2.5)",
        "UPDATE ledger SET entry = entry + 10 WHERE account = 900",
        "UPDATE ledger SET account = 901 WHERE account = 900 AND entry = 11",
    )
    site.compare(this_test, ["primary keys changed, swapped and taken over"])
    assert site.count("orders") == before + 10


def test_records_twice_in_another_order_and_tombstones(site: OwnPipeline, this_test: str) -> None:
    site.settled()
    records, dice = site.records("orders"), random.Random(7)
    keyed = by_key(records)
    assert any(ends_deleted(found) for found in keyed.values())
    copies = [
        *(record for record in mixed(records, dice) for _ in range(2)),
        # In any order at all; of a row that is gone the last word has to be that it is.
        *shuffled(records, dice, keep=lambda found: not ends_deleted(found)),
    ]
    topic = site.contract.topic("orders")
    with RecordWriter(site.endpoints.kafka) as writer:
        for record in copies:
            writer.write(topic, record.key or b"", record.value or b"")
    gone = [key for key, found in keyed.items() if ends_deleted(found)]
    with closing(KafkaProducer(bootstrap_servers=site.endpoints.kafka.bootstrap)) as producer:
        for key in gone:
            producer.send(topic, key=key, value=None, partition=0)
        producer.flush()
    # Changes go on behind them.
    site.execute("UPDATE orders SET note = 'behind the copies' WHERE id % 3 = 0")
    site.compare(
        this_test,
        {
            "records delivered twice, keys mixed up": f"{len(copies):,} copies of {len(records):,} records",
            "tombstones": f"{len(gone):,}",
        },
    )


def test_topics_that_are_replayed(site: OwnPipeline, this_test: str) -> None:
    site.settled()
    written = sum(site.clients.kafka.end_offsets([site.contract.topic(table) for table in TABLES]).values())
    with restless(site.clients.mysql, CHANGES, seed=2):
        for name in (LAKE, SERVING):
            stream = site.stream(name)
            act.rewind(site.contract, stream, site.clients, act.Earliest(), log=site.log, actor=ACTOR)
    site.compare(this_test, {"all topics replayed from their first record": f"{written:,} records"})


def test_a_transaction_that_stays_open_while_tables_are_read_again(site: OwnPipeline, this_test: str) -> None:
    site.up()
    with (
        closing(site.clients.mysql.connect(autocommit=False)) as connection,
        connection.cursor() as cursor,
        restless(site.clients.mysql, CHANGES, seed=3) as writer,
    ):
        begun = time.monotonic()
        # Rows that the writer does not touch: it would wait for them.
        cursor.execute("INSERT INTO orders VALUES (9000, 'OPEN', '2024-03-01', 1, 'first of it')")
        cursor.execute("DELETE FROM renamed WHERE id = 0")
        before = writer.transactions
        done = site.operator.resnapshot(("orders", "ledger"))
        assert done.rows > 0
        site.settled()
        assert writer.transactions > before, "nothing else was written"
        while time.monotonic() - begun < OPEN_SECONDS:
            time.sleep(0.5)
        cursor.execute("UPDATE orders SET note = 'last of it' WHERE id = 9000")
        connection.commit()
    site.compare(
        this_test,
        {
            "transaction held open": f"{OPEN_SECONDS:.0f} s",
            "tables read again while they are written": f"{done.rows:,} rows",
        },
    )


def test_a_large_transaction(site: OwnPipeline, this_test: str) -> None:
    with closing(site.clients.mysql.connect(autocommit=False)) as connection, connection.cursor() as cursor:
        cursor.execute(f"SET SESSION cte_max_recursion_depth = {BULK_ROWS + 1}")
        changed = cursor.execute(
            "INSERT INTO bulk WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n <"
            f" {BULK_ROWS}) SELECT n, CONCAT('payload of row ', n) FROM s"
        )
        changed += cursor.execute("UPDATE bulk SET payload = CONCAT(payload, ', changed') WHERE id % 10 = 1")
        changed += cursor.execute("UPDATE bulk SET id = -id WHERE id % 10 = 2")
        changed += cursor.execute("DELETE FROM bulk WHERE id % 10 = 3")
        connection.commit()
    assert changed == BULK_ROWS * 13 // 10
    report = site.compare(this_test, {"one transaction": f"{BULK_ROWS:,} rows, {changed:,} changes"})
    compared = {r.comparison.source_rows for r in report.results if r.subject.table == "bulk"}
    assert compared == {BULK_ROWS * 9 // 10}


def test_a_log_that_rotates_and_a_server_that_restarts(
    site: OwnPipeline, source: OwnSource, this_test: str
) -> None:
    site.up()
    before = site.clients.mysql.position().file
    with restless(site.clients.mysql, CHANGES, seed=4) as writer:
        for _ in range(3):
            source.administer("FLUSH BINARY LOGS")
            time.sleep(1)
        for end in (source.stop, source.kill):
            count = writer.transactions
            end()
            source.start()
            wait_until(lambda count=count: writer.transactions > count + 20, "the writer goes on")
            site.clients.mysql.close()
            site.up()
    assert site.clients.mysql.position().file > before
    site.compare(
        this_test,
        {
            "binary log rotated while it is read": "3 times",
            "server shut down and started under writes": "",
            "server killed and started under writes": "",
        },
    )


def test_large_values(site: OwnPipeline, this_test: str) -> None:
    text = "0123456789äöü'\"\\\n" * (LARGE // 32)
    rows: tuple[tuple[int, str | None, bytes | None], ...] = (
        (1, "a" * LARGE, None),
        (2, None, os.urandom(LARGE - 1)),
        (3, text, bytes(range(256)) * 1024),
    )
    for row in rows:
        site.clients.mysql.execute("INSERT INTO large VALUES (%s, %s, %s)", row)
    site.settled()
    # The row before the change and the row after it are one event of the log.
    site.execute("UPDATE large SET body = CONCAT(SUBSTRING(body, 2), 'b') WHERE id = 1")
    site.execute("INSERT INTO large SELECT id + 10, body, raw FROM large WHERE id = 3")
    site.execute("DELETE FROM large WHERE id = 3")
    site.compare(this_test, {"values of 16 MiB, as text and as bytes": f"{LARGE:,} bytes"})


def test_a_shadow_table_takes_the_tables_place(site: OwnPipeline, source: OwnSource, this_test: str) -> None:
    with restless(site.clients.mysql, CHANGES, seed=5):
        time.sleep(1)
        swap(source, site.contract.database, "ADD INDEX by_v (v)")
        time.sleep(1)
    site.settled()
    situation = evolve.look(site.contract, site.clients, SchemaStore(site.clients.postgres))
    assert "shadowed" not in situation.verdicts
    assert "shadowed" not in situation.doubtful
    site.compare(this_test, ["shadow table swapped in under writes, as gh-ost does"])


def test_a_shadow_table_brings_a_new_column(site: OwnPipeline, source: OwnSource, this_test: str) -> None:
    store = SchemaStore(site.clients.postgres)
    with restless(site.clients.mysql, CHANGES, seed=6):
        swap(source, site.contract.database, "ADD COLUMN note VARCHAR(20) NOT NULL DEFAULT 'as it was'")
        site.execute("UPDATE shadowed SET note = CONCAT('row ', id) WHERE id % 7 = 0")
        wait_until(
            lambda: (
                [v.table for v in evolve.look(site.contract, site.clients, store).to_apply] == ["shadowed"]
            ),
            "the new column is told",
            120,
        )
        done = evolve.follow(site.contract, site.clients, log=site.log, actor=ACTOR)
        assert not done.held
    assert site.contract.schema("shadowed").column_names == ("id", "v", "note")
    site.compare(this_test, ["shadow table with a new column swapped in under writes"])


def swap(source: OwnSource, database: str, alteration: str) -> None:
    """Let a changed copy of ``shadowed`` take its place, as gh-ost does: the log tells of its rows under
    another name, and under its own only that it is renamed.
    """
    with source.root(database=database) as cursor:
        for statement in (
            "CREATE TABLE _shadowed_gho LIKE shadowed",
            f"ALTER TABLE _shadowed_gho {alteration}",
            "LOCK TABLES shadowed WRITE, _shadowed_gho WRITE",
            "INSERT INTO _shadowed_gho (id, v) SELECT id, v FROM shadowed",
            "RENAME TABLE shadowed TO _shadowed_del, _shadowed_gho TO shadowed",
            "UNLOCK TABLES",
            "DROP TABLE _shadowed_del",
        ):
            cursor.execute(statement)


def test_tables_that_are_emptied_made_anew_and_renamed(
    site: OwnPipeline, source: OwnSource, this_test: str
) -> None:
    database, store = site.contract.database, SchemaStore(site.clients.postgres)

    def look() -> evolve.Situation:
        return evolve.look(site.contract, site.clients, store)

    def said(situation: evolve.Situation, table: str) -> str:
        """Why the table's check fails."""
        passed, _, words, _ = evolve_defs.outcome(situation, table)
        assert not passed, (table, words)
        return words

    site.settled()
    kept = site.count("remade")
    with source.root(database=database) as cursor:
        cursor.execute("TRUNCATE TABLE truncated")
        cursor.execute("INSERT INTO truncated VALUES (1, 100), (2, 200), (77, 7)")
        cursor.execute("DROP TABLE remade")
    # A table that is gone stops nothing else, and the lake keeps its rows.
    wait_until(lambda: "remade" in look().verdicts, "the table is seen to be gone", 120)
    gone = said(look(), "remade")
    assert "dropped table" in gone
    site.execute("UPDATE orders SET note = 'while a table is gone' WHERE id % 2 = 0")
    site.settled()
    rows = site.clients.trino.scalar("SELECT count(*) FROM remade", schema=site.name)
    assert rows == kept
    site.note_refusal("DROP TABLE", this_test, gone)

    with source.root(database=database) as cursor:
        for statement in (
            f"CREATE TABLE remade ({TABLES['remade']}) DEFAULT CHARSET utf8mb4",
            "INSERT INTO remade VALUES (1, 100), (88, 8)",
            "RENAME TABLE renamed TO elsewhere",
            # Nobody is told of what happens to it under another name.
            "DELETE FROM elsewhere WHERE id < 5",
            "UPDATE elsewhere SET v = 12345 WHERE id < 10",
            "INSERT INTO elsewhere VALUES (99, 9)",
            "RENAME TABLE elsewhere TO renamed",
        ):
            cursor.execute(statement)
    site.settled()
    wait_until(lambda: set(look().doubtful) == set(REPLACED), "both tables are in doubt", 120)
    situation = look()
    for table in REPLACED:
        assert "emptied or made anew" in said(situation, table)
    evolve.follow(site.contract, site.clients, log=site.log, actor=ACTOR, approval=evolve.Approval())
    assert look().doubtful == ()
    # Debezium tells of a TRUNCATE among the records, where it is set aside.
    quarantine = Quarantine(site.contract, site.clients, ACTOR, site.log)
    told = quarantine.listing()
    assert [one.topic for one in told.records] == [site.contract.topic("truncated")]
    assert told.records[0].truncates
    replayed = quarantine.replay(Wanted(tables=("truncated",)), repair=True)
    assert replayed.replayed == 1, replayed
    assert quarantine.listing().records == ()
    site.compare(
        this_test,
        [
            "TRUNCATE, repaired",
            "table dropped and made anew, repaired",
            "table renamed away and back, repaired",
        ],
    )


def test_a_value_that_no_record_can_take_is_refused_aloud(site: OwnPipeline, this_test: str) -> None:
    site.settled()
    insert = "INSERT INTO large VALUES (66, NULL, %s)"
    site.clients.mysql.execute(insert, (os.urandom(TOO_LARGE),))
    wait_until(lambda: not site.checks(CONNECTOR)["running"].passed, "the connector stops", 120)
    check = site.checks(CONNECTOR)["running"]
    assert "max.request.size" in check.said, check.said
    event = "value that is larger than a record may be"
    site.note_refusal(event, this_test, check.said, f"{TOO_LARGE:,} bytes")
    # The connector stands before it for good; a new reading of the source goes past it (the next test).
    site.execute("DELETE FROM large WHERE id = 66")


def test_a_reset_of_the_binary_log_begins_a_new_epoch(
    site: OwnPipeline, source: OwnSource, this_test: str
) -> None:
    """Last, because the connector stands still since the test before."""
    # Old copies behind the deletes of their rows: no order of one key is kept, and the rows come back.
    old = {
        key: found
        for key, found in by_key(site.records("orders")).items()
        if ends_deleted(found) and found[0].offset < found[-1].offset
    }
    ghosts = [found[0] for found in old.values() if operation(found[0]) != "d"]
    assert ghosts
    topic = site.contract.topic("orders")
    with RecordWriter(site.endpoints.kafka) as writer:
        for record in ghosts:
            writer.write(topic, record.key or b"", record.value or b"")

    read = site.clients.mysql.position()
    source.administer("RESET BINARY LOGS AND GTIDS")
    site.clients.mysql.close()
    assert site.clients.mysql.position().file < read.file
    # The new log tells of these, from the beginning of its first file on.
    site.execute(
        "DELETE FROM orders WHERE id % 5 = 0",
        "UPDATE orders SET note = 'after the reset', shop = 'RSET' WHERE id % 5 = 1",
        "INSERT INTO orders VALUES (9500, 'RSET', '2024-04-01', 1, 'after the reset')",
        "DELETE FROM shadowed WHERE id < 50",
        "UPDATE ledger SET amount = -1 WHERE account < 5",
    )
    wait_until(lambda: site.reconcile(CONNECTOR).action.verb is Verb.HALT, "the reset is noticed", 60)
    check = site.checks(CONNECTOR)["running"]
    assert not check.passed
    assert check.severe
    assert "was reset or replaced" in check.said
    assert "source.epoch" in check.said
    site.note_refusal("RESET BINARY LOGS AND GTIDS, before the epoch is raised", this_test, check.said)
    # Nothing but a new epoch helps.
    with pytest.raises(EngineError, match=r"source\.epoch"):
        site.operator.repair()

    site.change_source(epoch=1)
    # Raised, it is not enough to go on: all has to be read anew.
    outcome = site.reconcile(CONNECTOR)
    assert outcome.action.verb is Verb.HALT
    assert "streams repair" in outcome.action.reason
    done = site.operator.repair()
    assert done.resnapshot is None, "the connector has read the whole source anew"
    assert done.equal
    assert done.deleted >= len(ghosts)
    site.execute("UPDATE orders SET note = 'in the new epoch' WHERE id % 5 = 2")
    site.settled()
    newest = json.loads(site.records("orders")[-1].value or b"{}")
    assert newest["__source_epoch"] == "1"
    # Records of the old epoch have greater places in their log; read again they win over nothing.
    for name in (LAKE, SERVING):
        act.rewind(site.contract, site.stream(name), site.clients, act.Earliest(), log=site.log, actor=ACTOR)
    site.compare(
        this_test,
        [
            "RESET BINARY LOGS AND GTIDS, new epoch, repaired",
            "copies of old records behind the deletes of their rows, repaired",
            "topics of two epochs replayed from their first record",
        ],
    )
