"""What was published when, and whether it can still be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.nessie import IcebergTable, Key, LogEntry, Reference
from lakehouse_dagster.governance.hold import Pin
from lakehouse_dagster.governance.versions.copies import missing_files
from lakehouse_dagster.governance.versions.references import (
    KIND,
    MAIN,
    PUBLICATION,
    REQUESTED_BY,
    facts_of,
    publications,
)

if TYPE_CHECKING:
    from lakehouse_dagster.engines.clients import Clients


@dataclass(frozen=True)
class Published:
    """One publication: ``moved`` are the tables whose version it changed, ``facts`` what it says of all."""

    hash: str
    kind: str
    at: str
    moved: tuple[str, ...]
    facts: dict[str, dict[str, str]]
    requested_by: str
    references: tuple[str, ...]
    missing: tuple[str, ...]
    """Files of its lake tables that are gone; empty: readable."""

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(int(fact.get("rows", 0)) for fact in self.facts.values())

    @property
    def position(self) -> int | None:
        """The greatest source position among all tables."""
        found = [int(fact["position"]) for fact in self.facts.values() if "position" in fact]
        return max(found, default=None)


def history(
    clients: Clients, contract: Contract, *, limit: int = 20, look: bool = True
) -> tuple[list[Published], Pin | None]:
    """The newest publications, and the pin when the pipeline is rolled back.

    ``look`` asks the object store for every file that they need; without it all count as readable.
    """
    from lakehouse_dagster.governance.hold import HoldStore
    from lakehouse_dagster.governance.versions.freeze import listed

    nessie = clients.nessie
    entries = list(islice(publications(nessie, contract.name), limit + 1))
    named: dict[str, list[str]] = {}
    for one in (*listed(clients, "tag", contract.name), *listed(clients, "branch", contract.name)):
        named.setdefault(one.publication, []).append(one.name)
    contents = [_tables(clients, contract, entry) for entry in entries]
    known: dict[str, tuple[str, ...]] = {}
    found = []
    for number, entry in enumerate(entries[:limit]):
        shown = contents[number]
        earlier = contents[number + 1] if number + 1 < len(contents) else {}
        found.append(
            Published(
                hash=entry.hash,
                kind=entry.properties.get(KIND, "publication"),
                at=entry.commit_time,
                moved=tuple(
                    key[1] for key, table in shown.items()
                    if key not in earlier or earlier[key].metadata_location != table.metadata_location
                ),
                facts=facts_of(entry.properties),
                requested_by=entry.properties.get(REQUESTED_BY, entry.author),
                references=tuple(
                    named.get(entry.properties.get(PUBLICATION, entry.hash), ())
                    if entry.properties.get(KIND) is None
                    else ()
                ),
                missing=_missing(clients, list(shown.values()), known) if look else (),
            )
        )  # fmt: skip
    return found, HoldStore(clients.postgres).pinned(contract.name)


def _tables(clients: Clients, contract: Contract, entry: LogEntry) -> dict[Key, IcebergTable]:
    from lakehouse_dagster.governance.publisher import published

    keys = [(path.database, path.table) for path in published(contract).values()]
    return clients.nessie.get_tables(keys, Reference(MAIN, entry.hash))


def _missing(
    clients: Clients, tables: Sequence[IcebergTable], known: dict[str, tuple[str, ...]]
) -> tuple[str, ...]:
    new = [table for table in tables if table.metadata_location not in known]
    for table in new:
        known[table.metadata_location] = tuple(missing_files(clients.store, [table]))
    return tuple(name for table in tables for name in known[table.metadata_location])
