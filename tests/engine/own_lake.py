"""A small lake of its own, written by Flink, published to Nessie's `main`, with a mart made by Trino.

There is no source and no topic: batch jobs insert what a test wants, and a streaming job keeps writing for as
long as it is let. Paimon keeps as little as it can of this lake, so that what happens to another in a year
happens to this one with the next commit.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.marts import MartQuery
from lakehouse_dagster.contract.model import Mart, Pipeline, Retention, Source, Table
from lakehouse_dagster.contract.schema import Column, SchemaLock, TableSchema
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.endpoints import FLINK
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.flink import script_environment
from lakehouse_dagster.engines.nessie import Delete, IcebergTable, Key, Reference
from lakehouse_dagster.engines.s3 import ObjectStore
from lakehouse_dagster.engines.trino_catalogs import catalog_name, drop_catalog
from lakehouse_dagster.governance.hold import HoldStore
from lakehouse_dagster.governance.publisher import Publication, Publisher, PublisherState
from lakehouse_dagster.governance.versions.procedures import expire_snapshots
from lakehouse_dagster.governance.versions.references import tables_of
from lakehouse_dagster.render import paimon
from lakehouse_dagster.render.flink_sql import FlinkScript

FORGETFUL = ("metadata.iceberg.previous-versions-max", "1")
"""Not fewer snapshots, too: with one retained, Paimon's compactions of a batch job lose their base."""


class OwnLake:
    """Tables `a` and `b` (id, v) and the mart `m` of one pipeline."""

    def __init__(self, clients: Clients, *, forgetful: bool = True) -> None:
        self.clients = clients
        self.name = f"zz_versions_{uuid.uuid4().hex[:8]}"
        columns = (
            Column(name="id", mysql_type="int", nullable=False, position=1),
            Column(name="v", mysql_type="varchar(20)", nullable=True, position=2),
        )
        tables = {t: TableSchema(name=t, columns=columns, primary_key=("id",)) for t in ("a", "b")}
        lock = SchemaLock(database="airline", tables=tables)
        folder = Path(tempfile.mkdtemp(prefix=self.name))
        lock.write(folder)
        self.contract = Contract(
            folder=folder,
            pipeline=Pipeline(
                name=self.name,
                owner="team:test",
                source=Source(database="airline"),
                tables=(Table(name="a"), Table(name="b")),
                retention=Retention(publications_hours=0, grace_hours=0),
            ),
            lock=lock,
            queries=dict[str, MartQuery](),
            marts=(Mart(name="m", key=("v",)),),
        )
        self.forgetful = forgetful
        self.position = 0
        self.references: list[str] = []
        self._publisher = Publisher(clients.endpoints, requested_by="a test")

    # --- what Flink does ---

    def insert(
        self, table: str, rows: Sequence[tuple[int, str | None]], *, deleted: Sequence[int] = ()
    ) -> None:
        """Write rows, newer than all before, and delete those with the keys ``deleted``."""
        values = []
        for key, value, op in (*((*row, "+I") for row in rows), *((key, None, "-D") for key in deleted)):
            self.position += 16
            told = "CAST(NULL AS STRING)" if value is None else f"'{value}'"
            stamp = "TIMESTAMP '2026-01-01 00:00:00.000000'"
            values.append(f"({key}, {told}, CAST({self.position} AS BIGINT), 'g', {stamp}, '{op}')")
        sql = f"INSERT INTO {paimon.table_name(self.contract, table)} VALUES {', '.join(values)}"
        self._submit(f"insert-{table}", (sql,))

    def expire(self) -> None:
        """Have Paimon forget all that it may."""
        expire_snapshots(self.clients, {(self.name, table): 1 for table in ("a", "b")})

    @contextmanager
    def stream(self, rows_per_second: int = 20) -> Iterator[str]:
        """A streaming job that writes to `a` at checkpoints of one second, cancelled at the end."""
        source = (
            "CREATE TEMPORARY TABLE src (id INT, n INT) WITH ('connector' = 'datagen', "
            f"'rows-per-second' = '{rows_per_second}', 'fields.id.min' = '101', 'fields.id.max' = '150', "
            "'fields.n.min' = '1', 'fields.n.max' = '1000000')"
        )
        # Newer than everything that was inserted, and than itself a moment ago.
        sql = (
            f"INSERT INTO {paimon.table_name(self.contract, 'a')} SELECT id, CAST(n AS STRING), "
            "1000000000000 + UNIX_TIMESTAMP(), 'g', LOCALTIMESTAMP, '+I' FROM src"
        )
        job = self._submit("stream", (sql,), more=(source,), streaming=True)
        assert job is not None
        try:
            yield job
        finally:
            self.clients.flink.cancel(job)

    def _submit(
        self,
        name: str,
        inserts: tuple[str, ...],
        *,
        more: tuple[str, ...] = (),
        streaming: bool = False,
    ) -> str | None:
        statements = (
            paimon.catalog(),
            paimon.database(self.contract),
            *(self._ddl(table) for table in ("a", "b")),
            *more,
        )
        script = FlinkScript(
            name=f"{self.name}-{name}",
            settings={
                "pipeline.name": f"{self.name}-{name}",
                "execution.runtime-mode": "STREAMING" if streaming else "BATCH",
                "parallelism.default": "1",
                "table.local-time-zone": "UTC",
                **({"execution.checkpointing.interval": "1 s"} if streaming else {}),
            },
            statements=statements,
            inserts=inserts,
            wait=not streaming,
        )
        environment = script_environment(self.clients.endpoints)
        return self.clients.submitter.submit(script, environment)

    def _ddl(self, table: str) -> str:
        sql = paimon.table(self.contract, table)
        if self.forgetful:
            option, value = FORGETFUL
            before, found, after = sql.partition(f"'{option}' = '")
            assert found, option
            sql = f"{before}{found}{value}'{after.partition(chr(39))[2]}"
        return sql

    # --- publication and reading ---

    def publish(self) -> Publication | None:
        """Publish what is new."""
        return self._publisher.publish_once(self.contract)

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """Publish all the time, as the publisher does."""
        ended = threading.Event()

        def run() -> None:
            publisher, state = Publisher(self.clients.endpoints), PublisherState()
            try:
                while not ended.wait(0.3):
                    with suppress(EngineError):
                        publisher.publish_once(self.contract, state)
            finally:
                publisher.close()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(30)

    def make_mart(self, catalog: str = "lake") -> None:
        """Compute the mart from `a`, as Dagster does."""
        trino = self.clients.trino
        trino.execute(f'CREATE SCHEMA IF NOT EXISTS "{catalog}"."{self.name}_marts"')
        trino.execute(
            f'CREATE OR REPLACE TABLE "{catalog}"."{self.name}_marts"."m" AS '
            f'SELECT v, count(*) AS n FROM "{catalog}"."{self.name}"."a" GROUP BY v'
        )

    def shown(self, reference: Reference | None = None) -> dict[Key, IcebergTable]:
        """What a reference (`main` by default) holds of it."""
        found = tables_of(self.clients.nessie.entries(reference or self.clients.nessie.get_reference()))
        return {key: table for key, table in found.items() if key[0].startswith(self.name)}

    def rows(self, table: str, catalog: str = "lake") -> list[tuple[Any, ...]]:
        """All rows of a table or, as `_marts.m`, of the mart."""
        schema, _, name = table.rpartition(".")
        sql = f'SELECT * FROM "{catalog}"."{self.name}{schema}"."{name}" ORDER BY 1, 2'
        return self.clients.trino.execute(sql).rows

    def values(self, table: str, catalog: str = "lake") -> dict[int, str | None]:
        """`v` by `id`."""
        return {row[0]: row[1] for row in self.rows(table, catalog)}

    def discard(self) -> None:
        """Delete everything it has made."""
        self._publisher.close()
        shutil.rmtree(self.contract.folder)
        clients, nessie = self.clients, self.clients.nessie
        HoldStore(clients.postgres).unpin(self.name)
        for reference in nessie.references():
            if self.name in reference.name or reference.name in self.references:
                nessie.delete_reference(reference)
        for row in clients.trino.execute("SHOW CATALOGS").rows:
            if row[0] in {catalog_name(name) for name in self.references}:
                drop_catalog(clients.trino, row[0])
        for _ in range(10):
            main = nessie.get_reference()
            keys = [key for key in nessie.entries(main) if key[0].startswith(self.name)]
            if not keys:
                break
            # Tables before their namespaces.
            with suppress(EngineError):
                nessie.commit([Delete(k) for k in keys if len(k) > 1], "clean up", reference=main)
            for key in keys:
                if len(key) == 1:
                    with suppress(EngineError):
                        nessie.commit([Delete(key)], "clean up", reference=nessie.get_reference())
        # Only Flink's keys may delete what Flink has written.
        ObjectStore(clients.endpoints.s3.acting(FLINK)).delete_prefix(
            f"{clients.paimon.warehouse}/{self.name}.db/"
        )
        for prefix in (
            f"versions/{self.name}/",
            f"maintenance/{self.name}/",
            f"warehouse/{self.name}_marts/",
            f"warehouse/{self.name}_team/",
        ):
            clients.store.delete_prefix(prefix)

    def reference(self, name: str) -> str:
        """A name for a branch or tag that is deleted at the end."""
        full = f"{self.name}_{name}"
        self.references.append(full)
        return full


def wait_for(condition: Any, what: str, seconds: float = 60.0) -> None:
    """Return when ``condition`` holds; AssertionError when it does not within so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.3)
