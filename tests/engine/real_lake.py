"""Lake tables with real rows that Trino reads, in as many generations as a test wants.

Trino writes one small Iceberg table per generation on a branch of the test's own. A version of a lake table
is the metadata of one of them, put where Paimon would put it: readers get that generation's rows.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.nessie import Reference
from lakehouse_dagster.engines.trino import TrinoClient, identifier
from lakehouse_dagster.engines.trino_catalogs import catalog_name, create_catalog, drop_catalog
from tests.engine.handmade_lake import Lake

GENERATIONS = 4
ROWS = 3


class RealLake(Lake):
    """A hand-made lake whose versions have rows: version N has those of generation N modulo ``GENERATIONS``.

    ``catalog`` is a Trino catalog over ``branch``, on which all is published.
    """

    def __init__(self, clients: Clients) -> None:
        super().__init__(clients)
        self.branch = f"zz_publish_{uuid.uuid4().hex[:8]}"
        self.catalog = catalog_name(self.branch)
        self.trino = TrinoClient(clients.endpoints.trino, catalog=self.catalog)
        self._metadata: list[dict[str, Any]] = []

    @property
    def head(self) -> Reference:
        """The branch as it is now."""
        return self.clients.nessie.get_reference(self.branch)

    def set_up(self) -> None:
        """Make the branch, the catalog and the generations."""
        nessie, source = self.clients.nessie, f"{self.name}_rows"
        nessie.create_reference(self.branch, nessie.get_reference("main"))
        create_catalog(self.clients.endpoints, self.trino, self.catalog, self.branch)
        nessie.ensure_namespace(source, self.branch)
        for generation in range(GENERATIONS):
            values = ", ".join(
                f"({n}, BIGINT '{generation}', TIMESTAMP '2013-01-01 00:00:00.000000', {n})"
                for n in range(ROWS)
            )
            table = f"{identifier(self.catalog)}.{identifier(source)}.g{generation}"
            self.trino.execute(
                f"CREATE TABLE {table} (id, _position, _committed_at, note) AS VALUES {values}"
            )
            key = (source, f"g{generation}")
            content = nessie.get_tables([key], self.head)[key]
            raw = self.clients.store.get(content.metadata_location)
            assert raw is not None
            self._metadata.append(json.loads(raw))

    def tear_down(self) -> None:
        """Delete all of it."""
        drop_catalog(self.trino, self.catalog)
        self.clients.nessie.delete_reference(self.head)
        self.drop()
        for metadata in self._metadata:
            self.clients.store.delete_prefix(metadata["location"])

    def put(self, version: int) -> None:
        """Let both tables have a version."""
        body = json.loads(json.dumps(self._metadata[version % GENERATIONS]))
        [snapshot] = [s for s in body["snapshots"] if s["snapshot-id"] == body["current-snapshot-id"]]
        snapshot = {**snapshot, "snapshot-id": version}
        snapshot.pop("parent-snapshot-id", None)
        body |= {
            "current-snapshot-id": version,
            "snapshots": [snapshot],
            "refs": {"main": {"snapshot-id": version, "type": "branch"}},
            "snapshot-log": [],
            "metadata-log": [],
        }
        for table in ("a", "b"):
            folder = self.folder(table)
            body |= {
                "location": self.clients.paimon.location(self.name, table),
                "table-uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, folder)),
            }
            self.flink.put(f"{folder}/v{version}.metadata.json", json.dumps(body).encode())
            self.flink.put(f"{folder}/version-hint.text", str(version).encode())

    def read(self, trino: TrinoClient | None = None, catalog: str | None = None) -> tuple[int, int, int]:
        """Generations of a and b, and rows of both, in one query."""
        where = f"{identifier(catalog or self.catalog)}.{identifier(self.name)}"
        [row] = (trino or self.trino).rows(
            f"SELECT (SELECT max(_position) FROM {where}.a), (SELECT max(_position) FROM {where}.b), "
            f"(SELECT count(*) FROM {where}.a) + (SELECT count(*) FROM {where}.b)"
        )
        return row[0], row[1], row[2]
