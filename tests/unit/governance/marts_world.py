"""Nessie's branches and Trino's answers in memory, as far as a mart's refresh uses them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from types import SimpleNamespace
from typing import Any, cast

from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.nessie import Difference, IcebergTable, Key, Merge, NessieClient, Reference
from lakehouse_dagster.engines.trino import TrinoClient, TrinoResult

_HASHES = count(1)


@dataclass
class Branches:
    """References, each with its tables; a commit gives a reference a new hash."""

    tables: dict[str, dict[Key, int]] = field(default_factory=lambda: {"main": {("p", "t"): 1}})
    hashes: dict[str, str] = field(default_factory=lambda: {"main": "h0"})
    bases: dict[str, dict[Key, int]] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    before_merge: Callable[[], None] = lambda: None

    @property
    def client(self) -> NessieClient:
        return cast(NessieClient, self)

    engine = "nessie"

    def write(self, branch: str, key: Key, version: int) -> None:
        self.tables[branch][key] = version
        self.hashes[branch] = f"h{next(_HASHES)}"

    def ensure_namespace(self, name: str) -> bool:
        return False

    def get_reference(self, name: str = "main") -> Reference:
        if name not in self.hashes:
            raise EngineError("nessie", f"no {name}", status=404)
        return Reference(name, self.hashes[name])

    def references(self) -> list[Reference]:
        return [Reference(name, at) for name, at in self.hashes.items()]

    def create_reference(self, name: str, source: Reference) -> Reference:
        self.tables[name] = dict(self.tables[source.name])
        self.bases[name] = dict(self.tables[source.name])
        self.hashes[name] = source.hash
        return Reference(name, source.hash)

    def delete_reference(self, reference: Reference) -> None:
        del self.tables[reference.name], self.hashes[reference.name]

    def diff(self, before: Reference, after: Reference) -> list[Difference]:
        base, now = self.bases[after.name], self.tables[after.name]
        return [Difference(key, None, None) for key in {*base, *now} if base.get(key) != now.get(key)]

    def get_tables(self, keys: list[Key], reference: Reference) -> dict[Key, IcebergTable]:
        found = self.tables[reference.name]
        return {key: IcebergTable(f"at {found[key]}", found[key], 0) for key in keys if key in found}

    def merge(self, source: Reference, into: Reference, message: str, *, properties: dict[str, str]) -> Merge:
        self.before_merge()
        base, theirs, ours = self.bases[source.name], self.tables[source.name], self.tables["main"]
        changed = {key for key in theirs if theirs[key] != base.get(key)}
        conflicts = tuple(key for key in changed if ours.get(key) != base.get(key))
        if conflicts:
            return Merge(False, None, conflicts)
        for key in changed:
            ours[key] = theirs[key]
        self.hashes["main"] = f"h{next(_HASHES)}"
        self.properties = properties
        return Merge(True, self.hashes["main"])


@dataclass
class Queries:
    """Trino over one branch: keeps what it was asked, and answers checks with ``failing`` rows by number."""

    branches: Branches
    asked: list[str] = field(default_factory=list)
    failing: dict[int, int] = field(default_factory=dict)
    catalog: str = "lake_wap"
    branch: str = ""
    key: Key = ("flights_marts", "delay_by_carrier_hour")

    @contextmanager
    def open(self, *arguments: Any) -> Iterator[TrinoClient]:
        self.branch = arguments[-1]
        yield cast(TrinoClient, self)

    def execute(self, sql: str) -> TrinoResult:
        self.asked.append(sql)
        if sql.startswith("CREATE OR REPLACE"):
            self.branches.write(self.branch, self.key, len(self.asked) + 100)
            return TrinoResult((), (), [])
        if sql.startswith("SELECT 0 AS number"):
            checks = sql.count(" AS number, ")
            rows = [(number, self.failing.get(number, 0)) for number in range(checks)]
            return TrinoResult(("number", "failing"), ("integer", "bigint"), cast(Any, rows))
        return TrinoResult(("carrier", "note"), ("varchar(2)", "varchar"), [("AA", None), ("UA", "a|b")])

    def scalar(self, sql: str) -> Any:
        self.asked.append(sql)
        return 1234


def clients(branches: Branches) -> Any:
    return SimpleNamespace(nessie=branches, endpoints=SimpleNamespace(postgres=None))
