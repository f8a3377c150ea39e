"""What is remembered of schema changes, on the real PostgreSQL."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lakehouse_dagster.contract.ddl import Ddl, Place, effects
from lakehouse_dagster.engines.postgres import PostgresClient
from lakehouse_dagster.runtime.endpoints import POSTGRES_SUPERUSER, load_endpoints
from lakehouse_dagster.runtime.secrets import load_secrets
from lakehouse_dagster.runtime.settings import Settings
from lakehouse_dagster.streams.evolve_store import Order, SchemaStore

pytestmark = pytest.mark.engine

ORDER = Order(
    lock="{}",
    stopped={"t": "why"},
    tables={"t": {"a": "b"}},
    places={"t": ("b.000001", 4)},
    read_again=("t",),
    repair=(),
    ddl_offset=1,
    changes=("t.b: rename (a -> b)",),
    by="me",
)


@pytest.fixture
def store(instance: Path) -> Iterator[SchemaStore]:
    """Over an empty database that belongs to Dagster's user."""
    assert instance.is_dir()
    dagster = load_endpoints().postgres
    password = load_secrets(Settings.load().secrets_file).postgres_superuser
    name = f"zz_{uuid.uuid4().hex[:8]}"
    superuser = {"user": POSTGRES_SUPERUSER, "password": password, "database": "postgres"}
    with PostgresClient(dagster.model_copy(update=superuser)) as admin:
        admin.execute(f"CREATE DATABASE {name} OWNER {dagster.user}")
        with PostgresClient(dagster.model_copy(update={"database": name})) as postgres:
            yield SchemaStore(postgres)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def ddl(offset: int, statement: str = "ALTER TABLE t ADD x INT") -> Ddl:
    place = Place("b.000001", 100 + offset)
    return Ddl(offset, "shop", statement, place, "g:1", 7, ("t",), effects(statement))


def test_statements_count_until_they_are_settled(store: SchemaStore) -> None:
    assert store.next_offset("p") == 0
    store.note("p", [ddl(0), ddl(1)], 2)
    store.note("p", [ddl(1), ddl(2, "ALTER TABLE t ADD y INT COMMENT '\0'")], 3)
    store.note("p", [], 1)
    assert store.next_offset("p") == 3
    assert [one.offset for one in store.pending("p", ["t", "u"])["t"]] == [0, 1, 2]
    assert store.pending("p", ["t"])["t"][0] == ddl(0)
    store.settle("p", 1, ["t"])
    store.settle("p", 0, ["t"])
    pending = store.pending("p", ["t", "u"])
    assert ([one.offset for one in pending["t"]], len(pending["u"])) == ([2], 3)
    assert store.pending("other", ["t"]) == {"t": []}
    store.forget("p", "the topic was made anew")
    assert (store.next_offset("p"), store.pending("p", ["t"])) == (0, {"t": []})
    assert [row.kind for row in store.history("p")] == ["forgotten"]


def test_a_statement_told_again_after_a_restart_is_the_one_already_settled(store: SchemaStore) -> None:
    store.note("p", [ddl(0), ddl(1)], 2)
    store.settle("p", 1, ["t"])
    later = replace(ddl(1), ts_us=8)
    store.note("p", [replace(ddl(1), offset=5), replace(later, offset=6)], 7)
    assert [one.offset for one in store.pending("p", ["t"])["t"]] == [6]
    assert store.next_offset("p") == 7


def test_an_order_is_there_until_it_is_ended(store: SchemaStore) -> None:
    store.note("p", [ddl(0), ddl(2)], 3)
    store.approve("p", {"c1": ("t", "t.b: rename"), "c2": ("u", "u: dropped table")}, by="me")
    store.approve("p", {"c1": ("t", "t.b: rename")}, by="somebody else")
    assert store.approved("p") == {"c1", "c2"}
    store.begin("p", ORDER)
    assert store.under_way("p") == ORDER
    assert store.under_way("other") is None
    store.end("p", ORDER)
    assert store.under_way("p") is None
    # An approval is good once.
    assert store.approved("p") == {"c2"}
    assert [one.offset for one in store.pending("p", ["t"])["t"]] == [2]
    told = [(row.kind, row.table, row.by) for row in store.history("p")]
    assert told == [("approved", "t", "me"), ("approved", "u", "me"), ("applied", "t", "me")]


def test_the_same_is_told_once(store: SchemaStore) -> None:
    for what in ("why", "why", "something else"):
        store.tell("p", "stopped", "t", what, by="me")
    assert [row.what for row in store.history("p")] == ["why", "something else"]
    assert [row.what for row in store.history("p", 1)] == ["something else"]
