"""The running proof of a large table: rows per second and memory, against at least one place.

    .venv/bin/python -m bench.prove_scale [--rows 5000000] [--place couchdb] [--rate 0] [--writes 50] [--keep]

Makes a table of its own in the source of the running instance and fills it with ``--rows`` synthetic rows,
fills the places by hand (no stream is needed: nothing is waited for), proves it and prints one JSON object:
rows per second of loading and of reading each side, seconds of the whole proof, and the greatest resident
size of the process that proves. ``paimon`` and ``trino`` are filled by one Flink batch job that reads nothing
but its own row generator; ``couchdb`` and ``cassandra`` through their clients, for small numbers of rows.
``--writes`` updates so many rows per second meanwhile, in the source only: they are unsettled or equal, since
nothing carries them to the places. Everything made is dropped again, unless ``--keep``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.model import Pipeline, Source, Table, View
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.endpoints import FLINK
from lakehouse_dagster.engines.flink import script_environment
from lakehouse_dagster.engines.nessie import Delete
from lakehouse_dagster.engines.s3 import ObjectStore
from lakehouse_dagster.governance.publisher import publish_once
from lakehouse_dagster.proof.prove import Prover
from lakehouse_dagster.proof.subject import PLACES, PlaceName
from lakehouse_dagster.proof.verify import places
from lakehouse_dagster.render import cassandra, paimon
from lakehouse_dagster.render.flink_sql import FlinkScript
from lakehouse_dagster.runtime.endpoints import load_endpoints
from lakehouse_dagster.runtime.submitter import flink_submitter

COLUMNS = (
    "id BIGINT NOT NULL PRIMARY KEY, part CHAR(3) NOT NULL, amount DECIMAL(12,2) NOT NULL, note VARCHAR(40),"
    " flag INT NOT NULL"
)
BATCH = 10_000


def row(number: int) -> tuple[Any, ...]:
    """One synthetic row."""
    part = ("EWR", "JFK", "LGA")[number % 3]
    return number, part, f"{number % 100_000}.25", f"note {number % 9973}", number % 7


class Scale:
    """A table, its copies, and what measuring them takes."""

    def __init__(self, clients: Clients, rows: int, chosen: Sequence[PlaceName]) -> None:
        self.clients, self.rows, self.chosen = clients, rows, chosen
        self.name = f"zz_scale_{uuid.uuid4().hex[:6]}"
        self.database = clients.endpoints.mysql.database
        clients.mysql.execute(f"CREATE TABLE {self.database}.{self.name} ({COLUMNS})")
        self.board = View(name="board", engine="cassandra", table=self.name, partition_key=("id",))
        self.documents = View(name=f"{self.name}_docs", engine="couchdb", table=self.name)
        views = [view for view in (self.board, self.documents) if view.engine in chosen]
        self.contract = Contract(
            folder=Path("/nonexistent"),
            pipeline=Pipeline(
                name=self.name,
                owner="team:bench",
                source=Source(database=self.database),
                tables=(Table(name=self.name),),
                views=tuple(views),
            ),
            lock=clients.mysql.read_schema(self.database, [self.name]),
            queries={},
        )

    def load(self) -> float:
        """Fill the source; returns rows per second."""
        started = time.monotonic()
        insert = f"INSERT INTO {self.name} VALUES (%s, %s, %s, %s, %s)"  # noqa: S608 - our own name
        with (
            contextlib.closing(self.clients.mysql.connect(autocommit=False)) as connection,
            connection.cursor() as cursor,
        ):
            # Nobody reads these changes: they need not be in the binary log, if the user may say so.
            with contextlib.suppress(Exception):
                cursor.execute("SET SESSION sql_log_bin = 0")
            for start in range(0, self.rows, BATCH):
                cursor.executemany(insert, [row(n) for n in range(start, min(start + BATCH, self.rows))])
                connection.commit()
        return self.rows / (time.monotonic() - started)

    def fill(self) -> dict[str, float]:
        """Fill the places; returns the seconds of each."""
        seconds = {}
        if {"paimon", "trino"} & set(self.chosen):
            started = time.monotonic()
            self._lake()
            seconds["lake"] = time.monotonic() - started
        if "couchdb" in self.chosen:
            started = time.monotonic()
            self._couchdb()
            seconds["couchdb"] = time.monotonic() - started
        if "cassandra" in self.chosen:
            started = time.monotonic()
            self._cassandra()
            seconds["cassandra"] = time.monotonic() - started
        return seconds

    def _lake(self) -> None:
        table = paimon.table_name(self.contract, self.name)
        generated = (
            "CREATE TEMPORARY TABLE generated (n BIGINT) WITH ('connector' = 'datagen',"
            f" 'number-of-rows' = '{self.rows}', 'fields.n.kind' = 'sequence', 'fields.n.start' = '0',"
            f" 'fields.n.end' = '{self.rows - 1}')"
        )
        insert = (
            f"INSERT INTO {table} SELECT n,"  # noqa: S608 - our own names
            " CASE MOD(n, 3) WHEN 0 THEN 'EWR' WHEN 1 THEN 'JFK' ELSE 'LGA' END,"
            " CAST(CONCAT(CAST(MOD(n, 100000) AS STRING), '.25') AS DECIMAL(12, 2)),"
            " CONCAT('note ', CAST(MOD(n, 9973) AS STRING)), CAST(MOD(n, 7) AS INT),"
            " CAST(1 AS BIGINT), 'g', TIMESTAMP '2013-01-01 00:00:00', '+I' FROM generated"
        )
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
                generated,
            ),
            inserts=(insert,),
            wait=True,
        )
        secrets = script_environment(self.clients.endpoints)
        self.clients.submitter.submit(script, secrets, timeout=3600)
        publish_once(self.contract, self.clients.endpoints)

    def _couchdb(self) -> None:
        couch = self.clients.couchdb
        couch.ensure_database(self.documents.name)
        for start in range(0, self.rows, 1000):
            docs = []
            for number in range(start, min(start + 1000, self.rows)):
                ident, part, amount, note, flag = row(number)
                docs.append(
                    {
                        "_id": str(ident),
                        "id": ident,
                        "part": part,
                        "amount": amount,
                        "note": note,
                        "flag": flag,
                        "source_position": 1,
                    }
                )
            couch.bulk(self.documents.name, docs)

    def _cassandra(self) -> None:
        from cassandra.concurrent import execute_concurrent_with_args

        for statement in cassandra.statements(self.contract):
            self.clients.cassandra.execute(statement)
        self.clients.cassandra.admit(self.name)
        session = self.clients.cassandra.session()
        insert = session.prepare(
            f'INSERT INTO "{self.name}".board (id, part, amount, note, flag, source_position)'  # noqa: S608
            " VALUES (?, ?, ?, ?, ?, 1)"
        )
        from decimal import Decimal

        for start in range(0, self.rows, BATCH):
            made = (row(n) for n in range(start, min(start + BATCH, self.rows)))
            execute_concurrent_with_args(
                session, insert, [(i, p, Decimal(a), n, f) for i, p, a, n, f in made]
            )

    @contextlib.contextmanager
    def writing(self, per_second: float) -> Iterator[None]:
        """Update rows of the source while the block lasts."""
        stop = threading.Event()

        def write() -> None:
            with (
                contextlib.closing(self.clients.mysql.connect()) as connection,
                connection.cursor() as cursor,
            ):
                number = 0
                while not stop.wait(1 / per_second):
                    number = (number + 7919) % self.rows
                    cursor.execute(f"UPDATE {self.name} SET flag = flag + 7 WHERE id = %s", (number,))  # noqa: S608

        thread = threading.Thread(target=write, daemon=True)
        if per_second > 0:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            if per_second > 0:
                thread.join(30)

    def prove(self, rate: float | None) -> dict[str, Any]:
        """Prove, and tell the figures."""
        lines: list[tuple[float, str]] = []
        started = time.monotonic()

        def report(line: str) -> None:
            lines.append((time.monotonic() - started, line))
            sys.stderr.write(f"{time.monotonic() - started:8.1f} s  {line}\n")

        chosen = {n: p for n, p in places(self.contract, self.clients).items() if n in self.chosen}
        found = Prover(
            self.contract,
            self.clients,
            chosen,
            rate=rate,
            rounds=1,
            report=report,
            wait=lambda *args, **_: ((name, ()) for name in args[3]),
        ).run()
        return {
            "seconds": round(found.seconds, 1),
            "steps": [f"{at:.1f} s {line}" for at, line in lines],
            "problems": dict(found.problems),
            "places": [outcome.proof.to_json() for outcome in found.outcomes],
        }

    def drop(self) -> None:
        """Remove everything."""
        self.clients.mysql.execute(f"DROP TABLE IF EXISTS {self.database}.{self.name}")
        if "cassandra" in self.chosen:
            self.clients.cassandra.execute(f'DROP KEYSPACE IF EXISTS "{self.name}"')
        if "couchdb" in self.chosen:
            self.clients.couchdb.delete_database(self.documents.name)
        if {"paimon", "trino"} & set(self.chosen):
            nessie = self.clients.nessie
            keys = [(self.name, self.name), (self.name,)]
            held = nessie.get_contents(keys, nessie.get_reference())
            for key in keys:
                if key in held:
                    nessie.commit([Delete(key)], "clean up", reference=nessie.get_reference())
            ObjectStore(self.clients.endpoints.s3.acting(FLINK)).delete_prefix(
                f"{self.clients.paimon.warehouse}/{self.name}.db/"
            )


def main() -> int:
    """Measure once and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--place", action="append", choices=PLACES, help="default: paimon and trino")
    parser.add_argument("--rate", type=float, default=0.0, help="rows per second; 0: no bound")
    parser.add_argument("--writes", type=float, default=0.0, help="updates per second meanwhile")
    parser.add_argument("--keep", action="store_true")
    chosen = parser.parse_args()
    with Clients(load_endpoints(), timeout=120.0, submitter=flink_submitter) as clients:
        scale = Scale(clients, chosen.rows, chosen.place or ["paimon", "trino"])
        try:
            loaded = scale.load()
            filled = scale.fill()
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            with scale.writing(chosen.writes):
                found = scale.prove(chosen.rate or None)
        finally:
            if not chosen.keep:
                scale.drop()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found |= {
        "rows": chosen.rows,
        "load_rows_per_second": round(loaded),
        "fill_seconds": {name: round(value, 1) for name, value in filled.items()},
        "rss_before_proof_mb": round(before / 1024),
        "rss_peak_mb": round(peak / 1024),
    }
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
