"""Changes that are lost for good: named, halted on, repaired by one command, and proven equal again.

Once the records are gone from a topic before a job has read them, once the binary log before the connector
has. In both cases rows were deleted, moved, changed and added in the source meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import pymysql
import pytest
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.proof.settle import settle
from lakehouse_dagster.proof.verify import Verifier, places
from lakehouse_dagster.runtime.secrets import load_secrets
from lakehouse_dagster.runtime.settings import Settings
from lakehouse_dagster.streams import act
from lakehouse_dagster.streams.assets import CONNECTOR, LAKE, SERVING, stream_of, streams_of
from lakehouse_dagster.streams.decision import Verb
from lakehouse_dagster.streams.repair import Repair, repair
from lakehouse_dagster.streams.store import StreamStore
from tests.e2e.conftest import Flow

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

ACTOR = "test"
ROWS = 40
"""Rows of `flights` that each kind of change is made to."""
NEW = 90_000_000
"""Above the ids of all real flights."""


@dataclass(frozen=True)
class Site:
    """A pipeline that runs, and what happened to it."""

    clients: Clients
    contract: Contract
    log: Callable[[str], None]

    @property
    def store(self) -> StreamStore:
        return StreamStore(self.clients.postgres)

    def pause(self, name: str) -> None:
        act.pause(self.contract, stream_of(self.contract, name), self.clients, log=self.log, actor=ACTOR)

    def resume(self, name: str) -> act.Outcome:
        stream = stream_of(self.contract, name)
        for _ in range(60):
            outcome = act.resume(self.contract, stream, self.clients, log=self.log, actor=ACTOR)
            if outcome.action.rule != "busy":  # the sensor looks at it just now
                return outcome
            time.sleep(1)
        raise AssertionError(f"{name} is busy all the time")

    def gaps(self) -> list[str]:
        names = [stream.name for stream in streams_of(self.contract)]
        memory = self.store.memory(self.contract.name, names)
        return [gap.description for name in names for gap in memory[name].gaps]

    def repair(self) -> Repair:
        return repair(self.contract, self.clients, self.store, log=self.log, actor=ACTOR)

    def settled(self) -> None:
        gtids = self.clients.mysql.executed_gtids()
        assert settle(self.contract, self.clients, gtids, timeout=180, report=self.log) == ()

    def equal(self) -> bool:
        """Every row and column of every place, by the proof itself."""
        all_places = places(self.contract, self.clients)
        return Verifier(self.contract, self.clients, all_places, report=self.log).run().equal

    def ids(self, count: int, skip: int) -> list[int]:
        rows = self.clients.mysql.query(
            "SELECT id FROM flights ORDER BY id LIMIT %s OFFSET %s", (count, skip)
        )
        assert len(rows) == count
        return [int(row["id"]) for row in rows]

    @contextmanager
    def changed(self, skip: int) -> Iterator[None]:
        """Delete, move, change and add rows of `flights`; in the end they are as they were again."""
        execute, backup = self.clients.mysql.execute, f"repair_backup_{skip}"
        deleted, moved, changed, copied = (self.ids(ROWS, skip + n * ROWS) for n in range(4))
        names = [column.name for column in self.contract.schema("flights").columns if column.name != "id"]
        listed = ", ".join(f"`{name}`" for name in names)
        ids = ", ".join(str(key) for key in (*deleted, *moved, *changed, *copied))
        execute(f"CREATE TABLE {backup} AS SELECT * FROM flights WHERE id IN ({ids})")
        try:
            execute(
                f"INSERT INTO flights (id, {listed}) SELECT id + {NEW}, {listed} FROM flights"
                f" WHERE id IN ({', '.join(map(str, copied))})"
            )
            for key in deleted:
                execute("DELETE FROM flights WHERE id = %s", (key,))
            for key in moved:
                # departs_at is in the key of a view, and not in the table's.
                execute(
                    "UPDATE flights SET departs_at = departs_at + INTERVAL 7 MINUTE WHERE id = %s", (key,)
                )
            for key in changed:
                execute("UPDATE flights SET tailnum = 'CHANGED' WHERE id = %s", (key,))
            yield
        finally:
            execute("DELETE FROM flights WHERE id > %s", (NEW,))
            execute(f"REPLACE INTO flights SELECT * FROM {backup}")
            execute(f"DROP TABLE {backup}")


def topic_gap(site: Site) -> Repair:
    """Records are deleted from a topic while both jobs that read it are paused."""
    site.settled()
    for name in (SERVING, LAKE):
        site.pause(name)
    with site.changed(skip=0):
        done = _topic_gap(site)
    site.settled()
    assert site.equal()
    return done


def _topic_gap(site: Site) -> Repair:
    contract, clients = site.contract, site.clients
    goal = clients.mysql.executed_gtids()
    for _ in range(240):
        held = clients.connect.offsets(contract.connector_name)[0]["offset"]["gtids"]
        if not clients.mysql.missing_gtids(held, goal):
            break
        time.sleep(0.5)
    topic = contract.topic("flights")
    (end,) = clients.kafka.end_offsets([topic]).values()
    with closing(KafkaAdminClient(bootstrap_servers=clients.endpoints.kafka.bootstrap)) as admin:
        admin.delete_records({TopicPartition(topic, 0): end})
    for name in (LAKE, SERVING):
        outcome = site.resume(name)
        assert outcome.action.verb is Verb.HALT, outcome
        assert f"{topic}:0" in outcome.action.reason
        assert "was deleted from offset" in outcome.action.reason
    assert len(site.gaps()) == 2
    done = site.repair()
    assert done.equal
    assert done.gaps_closed == 2
    assert done.resnapshot is not None
    assert done.resnapshot.rows == clients.mysql.query("SELECT COUNT(*) AS n FROM flights")[0]["n"]
    assert done.tables == ("flights",)
    assert done.deleted == ROWS
    assert done.moved == ROWS
    assert site.gaps() == []
    return done


def binlog_gap(site: Site) -> Repair:
    """The binary log is purged while the connector is paused."""
    site.settled()
    site.pause(CONNECTOR)
    with site.changed(skip=4 * ROWS):
        done = _binlog_gap(site)
    # The stream goes on where it was begun anew.
    site.settled()
    assert site.equal()
    return done


def _binlog_gap(site: Site) -> Repair:
    contract, clients = site.contract, site.clients
    settings = Settings.load()
    secrets = load_secrets(settings.data / "secrets.json")
    with (
        closing(
            pymysql.connect(
                host=clients.endpoints.mysql.host,
                port=clients.endpoints.mysql.port,
                user="root",
                password=secrets.mysql_root.get_secret_value(),
                autocommit=True,
            )
        ) as root,
        closing(root.cursor()) as cursor,
    ):
        cursor.execute("FLUSH BINARY LOGS")
        cursor.execute("PURGE BINARY LOGS TO %s", (clients.mysql.position().file,))
    outcome = site.resume(CONNECTOR)
    assert outcome.action.verb is Verb.HALT, outcome
    assert "purged from the binary log" in outcome.action.reason
    assert len(site.gaps()) == 1
    done = site.repair()
    assert done.equal
    assert done.gaps_closed == 1
    assert done.resnapshot is None, "the connector has read the whole source anew instead"
    assert done.deleted == ROWS
    assert done.moved == ROWS
    assert set(done.tables) == {table.name for table in contract.tables}
    assert site.gaps() == []
    return done


@pytest.fixture
def site(flow: Flow, capsys: pytest.CaptureFixture[str]) -> Site:
    def log(line: str) -> None:
        with capsys.disabled():
            print(line, flush=True)

    return Site(flow.clients, flow.contract, log)


@pytest.mark.parametrize(
    "core",
    [
        pytest.param(topic_gap, id="topic_gap", marks=pytest.mark.slow),
        pytest.param(binlog_gap, id="binlog_gap"),
    ],
)
def test_repair(core: Callable[[Site], Any], site: Site) -> None:
    core(site)
