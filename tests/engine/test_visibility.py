"""Rows that become visible at an interval, and partitioned tables, from Flink's writer to Trino's answer."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.model import Every, Pipeline, Source, Table
from lakehouse_dagster.contract.schema import Column, SchemaLock, TableSchema
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.flink import script_environment
from lakehouse_dagster.engines.trino import TrinoClient
from lakehouse_dagster.engines.trino_catalogs import catalog_name, create_catalog, drop_catalog
from lakehouse_dagster.governance import drift
from lakehouse_dagster.governance.decision import TableVersion
from lakehouse_dagster.governance.publisher import Publisher, PublisherState
from lakehouse_dagster.render import paimon
from lakehouse_dagster.render.flink_sql import FlinkScript
from lakehouse_dagster.streams.drift import layout_drift

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

EVERY = 4
ROWS = 600
WITHIN_SECONDS = 240


def contract() -> Contract:
    columns = (
        Column(name="day", mysql_type="int", nullable=False, position=1),
        Column(name="id", mysql_type="int", nullable=False, position=2),
    )
    tables = (
        Table(name="whole", visible=Every(every=EVERY)),
        Table(name="parts", visible=Every(every=EVERY), partition_by=("day",), buckets=2),
    )
    name = f"zz_publish_{uuid.uuid4().hex[:6]}"
    pipeline = Pipeline(
        name=name,
        owner="team:test",
        source=Source(database="airline"),
        tables=tables,
        checkpoint_interval_seconds=1,
    )
    shapes = {t.name: TableSchema(name=t.name, columns=columns, primary_key=("day", "id")) for t in tables}
    return Contract(Path("/nonexistent"), pipeline, SchemaLock(database="airline", tables=shapes), {})


def script(mine: Contract) -> FlinkScript:
    """Writes rows 1 to ``ROWS`` into each table, 50 a second, and then runs on without any."""
    sources = (
        "CREATE TEMPORARY TABLE `rows` (`n` INT) WITH ('connector' = 'datagen', 'rows-per-second' = '50', "
        f"'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '{ROWS}')",
        "CREATE TEMPORARY TABLE `endless` (`n` INT) WITH ('connector' = 'datagen', 'rows-per-second' = '1', "
        "'fields.n.min' = '1', 'fields.n.max' = '9')",
    )
    inserts = tuple(
        f"INSERT INTO {paimon.table_name(mine, t.name)}{paimon.write_options(mine, t.name)} "
        "(`day`, `id`, `_position`, `_gtid`, `_committed_at`, `_op`) "
        "SELECT MOD(`n`, 3), `n`, CAST(`n` AS BIGINT), CAST(NULL AS STRING), "
        "CAST(CURRENT_ROW_TIMESTAMP() AS TIMESTAMP(6)), '+I' "
        "FROM (SELECT `n` FROM `rows` UNION ALL SELECT `n` FROM `endless` WHERE `n` < 0)"
        for t in mine.tables
    )
    settings = {
        "pipeline.name": mine.name,
        "execution.runtime-mode": "STREAMING",
        "parallelism.default": "1",
        "execution.checkpointing.interval": "1 s",
        "table.local-time-zone": "UTC",
        "table.exec.sink.upsert-materialize": "NONE",
    }
    tables = (paimon.table(mine, table.name) for table in mine.tables)
    return FlinkScript(
        mine.name, settings, (paimon.catalog(), paimon.database(mine), *tables, *sources), inserts
    )


@pytest.fixture
def mine(clients: Clients) -> Iterator[Contract]:
    found = contract()
    clients.nessie.create_reference(found.name, clients.nessie.get_reference("main"))
    try:
        yield found
    finally:
        for job in clients.flink.alive(found.name):
            clients.flink.cancel(job.id)
        clients.nessie.delete_reference(clients.nessie.get_reference(found.name))
        deadline = time.monotonic() + 60
        while clients.flink.alive(found.name) and time.monotonic() < deadline:
            time.sleep(0.5)
        clients.store.delete_prefix(f"{clients.paimon.warehouse}/{found.name}.db/")


@pytest.fixture
def trino(clients: Clients, mine: Contract) -> Iterator[TrinoClient]:
    """Shows the test's branch."""
    name = catalog_name(mine.name)
    client = TrinoClient(clients.endpoints.trino, catalog=name)
    create_catalog(clients.endpoints, client, name, mine.name)
    yield client
    drop_catalog(client, name)


def test_rows_become_visible_together_and_all_of_them_once_it_is_quiet(
    clients: Clients, mine: Contract, trino: TrinoClient
) -> None:
    clients.submitter.submit(script(mine), script_environment(clients.endpoints))
    paths = {table.name: mine.lake_path(table.name) for table in mine.tables}
    for table, path in paths.items():
        schema = clients.paimon.schema(*path)
        assert schema is not None
        assert layout_drift(mine, table, schema) == []
    publisher, state = Publisher(clients.endpoints, branch=mine.name), PublisherState()
    published: dict[str, list[TableVersion]] = {table: [] for table in paths}
    deadline = time.monotonic() + WITHIN_SECONDS
    # Until the last row is visible, although no row comes after it any more.
    while any(not versions or versions[-1].rows != ROWS for versions in published.values()):
        assert time.monotonic() < deadline, f"published: {published}"
        done = publisher.publish_once(mine, state, attempts=20)
        for table in done.changed if done else ():
            published[table].append(done.tables[table])  # type: ignore[union-attr]
        time.sleep(0.3)
    publisher.close()
    for table, path in paths.items():
        # Only the first may be one of which readers get a part: there was nothing else yet.
        assert all(version.complete for version in published[table][1:]), table
        newest = clients.paimon.latest(*path)
        assert newest is not None
        kinds = [
            snapshot.kind
            for number in range(1, newest.id + 1)
            if (snapshot := clients.paimon.snapshot(*path, number)) is not None
        ]
        # The table says every commit; the job's hint says otherwise, and wins.
        assert kinds.count("COMPACT") < kinds.count("APPEND"), table
        where = f'"{trino.catalog}"."{mine.name}"."{table}"'
        days = list(trino.rows(f"SELECT day, count(*) FROM {where} GROUP BY 1 ORDER BY 1"))
        assert [tuple(row) for row in days] == [(day, ROWS // 3) for day in range(3)]
        one = trino.scalar(f"SELECT count(*) FROM {where} WHERE day = 1")
        assert one == ROWS // 3
    partitions = f'"{trino.catalog}"."{mine.name}"."parts$partitions"'
    assert trino.scalar(f"SELECT count(*) FROM {partitions}") == 3
    found = drift.look(mine, clients.paimon, clients.nessie, branch=mine.name, slack=30.0)
    assert found.problems == []
