"""Hostile names through every renderer and every client that makes SQL of its own.

Each statement is read back by the rules of its engine's quoting, and must have the same structure as with
harmless names, with the hostile name as one identifier or one literal.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError
from sqlglot.dialects.trino import Trino
from sqlglot.tokens import TokenType

from lakehouse_dagster.contract import Contract, Mart, Pipeline, Source, View
from lakehouse_dagster.contract.names import column_name_problem, table_name_problem
from lakehouse_dagster.engines import cassandra as cassandra_engine
from lakehouse_dagster.engines import mysql as mysql_engine
from lakehouse_dagster.engines import trino as trino_engine
from lakehouse_dagster.engines.cassandra import CassandraClient
from lakehouse_dagster.engines.endpoints import READER, CassandraEndpoint, Login
from lakehouse_dagster.render import evolution, keyed, quoting
from lakehouse_dagster.render.connector import connector
from lakehouse_dagster.runtime.services.mysql import source_grants
from tests.unit.render.test_quoting import (
    Backticks,
    contract,
    flink_statements,
    kinds,
    names,
    texts,
    unplaced,
)

PROJECT = Path(__file__).resolve().parents[3]
few = settings(max_examples=25, suppress_health_check=[HealthCheck.filter_too_much])


def program(name: str) -> ModuleType:
    """A program of the Flink client environment, which is no package."""
    path = PROJECT / "flink_jobs" / f"{name}.py"
    found = importlib.util.spec_from_file_location(f"injected_{name}", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    found.loader.exec_module(module)
    return module


def same(dialect: type[Any], ours: str, theirs: str, renamed: Mapping[str, str]) -> None:
    """Both statements are the same, but for names."""
    assert kinds(dialect, theirs) == kinds(dialect, ours)
    for kind in (TokenType.IDENTIFIER, TokenType.STRING):
        expected = [renamed.get(text, text) for text in texts(dialect, ours, kind)]
        assert texts(dialect, theirs, kind) == expected


# --- engines' own SQL


@given(names)
def test_what_clients_quote_is_one_token(name: str) -> None:
    for dialect, quoted in (
        (Trino, trino_engine.identifier(name)),
        (Trino, cassandra_engine.identifier(name)),
        (Backticks, mysql_engine.quote(name)),
    ):
        assert texts(dialect, quoted, TokenType.IDENTIFIER) == [name]
        assert len(kinds(dialect, quoted)) == 1
    assert texts(Trino, trino_engine.literal(name), TokenType.STRING) == [name]
    assert len(kinds(Trino, trino_engine.literal(name))) == 1


@given(names, names, names)
def test_what_clients_select_keeps_its_structure(column: str, schema: str, table: str) -> None:
    ours = trino_engine.select(["c"], "lake", "s", "t")
    theirs = trino_engine.select([column], "lake", schema, table)
    assert kinds(Trino, theirs) == kinds(Trino, ours)
    assert texts(Trino, theirs, TokenType.IDENTIFIER) == [column, "lake", schema, table]


@given(names, names)
def test_rights_are_granted_on_one_keyspace_to_one_role(keyspace: str, role: str) -> None:
    said: list[str] = []
    endpoint = CassandraEndpoint(
        host="h",
        port=1,
        username="u",
        password=SecretStr("x"),
        datacenter="d",
        keyspace="k",
        identities={READER: Login(name=role)},
    )
    client = CassandraClient(endpoint)
    client.execute = Mock(side_effect=said.append)  # type: ignore[method-assign]
    client.admit(keyspace)
    assert texts(Trino, said[0], TokenType.IDENTIFIER) == [keyspace, role]
    assert kinds(Trino, said[0]) == kinds(Trino, 'GRANT SELECT ON KEYSPACE "k" TO "r"')


@given(names, names)
def test_rights_in_the_source_are_on_one_database(database: str, table: str) -> None:
    for ours, theirs in zip(source_grants({"d": {"t"}}), source_grants({database: {table}}), strict=True):
        assert kinds(Backticks, theirs) == kinds(Backticks, ours)
        # MySQL takes _ and % in a database's name for wildcards, where they are not escaped.
        escaped = re.sub(r"[_%]", lambda match: f"\\{match[0]}", database)
        renamed = {"d": database if "`t`" in ours else escaped, "t": table}
        expected = [renamed[text] for text in texts(Backticks, ours, TokenType.IDENTIFIER)]
        assert texts(Backticks, theirs, TokenType.IDENTIFIER) == expected


# --- renderers that the tests of quoting leave out


@few
@given(unplaced, unplaced, unplaced)
def test_altering_the_lake_keeps_its_structure(table: str, column: str, old: str) -> None:
    assume(len({column, old, "id", "f", "o"}) == 5)

    def altered(made: Contract, table: str, column: str, old: str) -> tuple[str, ...]:
        there = [(old, "TIMESTAMP(6)"), (f"{column}gone", "INT"), ("id", "INT NOT NULL"), ("f", "FLOAT")]
        found = evolution.paimon_alteration(made, table, there, ["id"], {old: column})
        assert found.first, found
        return found.first

    ours = altered(contract("t", "c", ""), "t", "c", "o")
    theirs = altered(contract(table, column, ""), table, column, old)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        same(Backticks, one, other, {"t": table, "c": column, "o": old, "cgone": f"{column}gone"})


@few
@given(names, names)
def test_altering_a_view_keeps_its_structure(column: str, old: str) -> None:
    assume(len({column, old, "id", "f", "o"}) == 5)

    def altered(column: str, old: str) -> tuple[str, ...]:
        made = contract("t", column, "")
        view = made.views[0].model_copy(update={"partition_key": ("id",), "clustering_key": ()})
        there = {old: "text", "id": "int", "source_position": "bigint"}
        found = evolution.cassandra_alteration(made, view, there)
        return (*found.first, *found.last)

    ours, theirs = altered("c", "o"), altered(column, old)
    assert ours
    for one, other in zip(ours, theirs, strict=True):
        same(Trino, one, other, {"c": column, "o": old})


@few
@given(names, names)
def test_reading_the_source_by_keys_keeps_its_structure(table: str, column: str) -> None:
    assume(column not in {"id", "f"})

    def statements(made: Contract, table: str) -> list[str]:
        schema = replace_key(made, table)
        return [
            keyed.first_page(schema, table, 5),
            keyed.remaining(schema, table, 5),
            filled(*keyed.next_page(schema, table, ["2024-01-01", 7], 5)),
            filled(*keyed.by_keys(schema, table, [["2024-01-01", 7], ["2024-01-02", 8]])),
        ]

    ours = statements(contract("t", "c", ""), "t")
    for one, other in zip(ours, statements(contract(table, column, ""), table), strict=True):
        same(Backticks, one, other, {"t": table, "c": column})


def replace_key(made: Contract, table: str) -> Contract:
    """The contract with the hostile column in the key."""
    schema = made.schema(table)
    keyed_by = schema.model_copy(update={"primary_key": (schema.columns[0].name, "id")})
    return replace(made, lock=made.lock.model_copy(update={"tables": {table: keyed_by}}))


def filled(sql: str, args: list[Any]) -> str:
    """The statement as the driver sends it, which puts arguments in by Python's own formatting."""
    return sql % tuple(repr(value) for value in args)


@few
@given(names)
def test_a_connectors_settings_are_values_of_their_own(name: str) -> None:
    """Whatever a name holds: it makes no setting of its own, and stays within its JSON string."""
    made = connector(contract("t", "c", name), mysql_host=name, mysql_port=1, kafka_bootstrap=name)
    plain = connector(contract("t", "c", "d"), mysql_host="h", mysql_port=1, kafka_bootstrap="k")
    read = json.loads(made.to_json())["config"]
    assert read == made.config
    assert set(read) == set(plain.config)
    changed = {key for key in read if read[key] != plain.config[key]}
    assert changed <= {"database.hostname", "schema.history.internal.kafka.bootstrap.servers"}


# --- placeholders


SECRET = "hunter2'; DROP TABLE x; --"


def test_a_name_that_looks_like_a_placeholder_is_never_filled_in() -> None:
    """No renderer lets it into a Flink script, so what submits the script has nothing to replace."""
    for hostile in ("${S3_SECRET_KEY}", "a${S3_SECRET_KEY}b", "${"):
        assert column_name_problem(hostile) is not None
        assert table_name_problem(hostile) is not None
        with pytest.raises(ValueError, match="placeholder"):
            quoting.flink(hostile)
        for table, column in (("t", hostile), (hostile, "c")):
            with pytest.raises(ValueError, match="placeholder"):
                list(flink_statements(contract(table, column, "")))


def test_descriptions_and_comments_reach_no_flink_script() -> None:
    hostile = "zz ${S3_SECRET_KEY} zz"
    made = contract("t", "c", hostile)
    schema = made.schema("t")
    columns = tuple(column.model_copy(update={"comment": hostile}) for column in schema.columns)
    commented = schema.model_copy(update={"comment": hostile, "columns": columns})
    made = replace(made, lock=made.lock.model_copy(update={"tables": {"t": commented}}))
    assert not [statement for statement in flink_statements(made) if "zz" in statement]


def test_a_value_stays_between_its_quotes() -> None:
    """Addresses and passwords are put in when a script is submitted; quotes in them end nothing."""
    run_sql = program("run_sql")
    for statement in flink_statements(contract("t", "c", "")):
        script = run_sql.Script("n", {}, (statement,), ("INSERT",))
        variables = set(re.findall(r"\$\{(\w+)\}", statement))
        harmless = script.resolved(dict.fromkeys(variables, "x")).statements[0]
        hostile = script.resolved(dict.fromkeys(variables, SECRET)).statements[0]
        assert kinds(Backticks, hostile) == kinds(Backticks, harmless)


@given(names)
def test_what_was_put_in_is_not_looked_through_again(value: str) -> None:
    """A value that looks like a placeholder stays that: nobody's password comes out of another variable."""
    run_sql = program("run_sql")
    script = run_sql.Script("n", {"key": "${A}"}, ("SELECT '${A}'",), ("INSERT",))
    done = script.resolved({"A": value, "S3_SECRET_KEY": SECRET})
    assert done.settings == {"key": value}
    assert texts(Backticks, done.statements[0], TokenType.STRING) == [value]


# --- the contract


@given(names)
def test_names_of_a_contract_are_refused_or_plain(name: str) -> None:
    """Names that stand where nothing can be quoted (addresses, option lists, regular expressions)."""
    makers: dict[str, Any] = {
        "pipeline": lambda: Pipeline(
            name=name, owner="team:x", source=Source(database="d"), tables=({"name": "t"},)
        ),
        "database": lambda: Source(database=name),
        "view": lambda: View(name=name, engine="couchdb", table="t"),
        "mart": lambda: Mart(name=name),
        "owner": lambda: Mart(name="m", owner=name),
    }
    for what, make in makers.items():
        try:
            make()
        except ValidationError as error:
            fields = {str(item["loc"][0]) for item in error.errors()}
        else:
            fields = set()
        allowed = {"database": r"[A-Za-z0-9_-]+", "owner": r"(?s).*"}.get(what, r"[a-z][a-z0-9_]*")
        # What is refused is refused by the field's name.
        assert fields & {"name", "database", "owner"} or re.fullmatch(allowed, name), (what, name)


@pytest.mark.parametrize(
    "name", ["a\n", "a\x00", "ａ", "a/../b", "a,b", "a;b", "a`", 'a"', "a.b", "a b", "A"]
)
def test_near_misses_are_refused(name: str) -> None:
    for make in (
        lambda: View(name=name, engine="couchdb", table="t"),
        lambda: Mart(name=name),
    ):
        with pytest.raises(ValidationError):
            make()
    if name != "A":
        with pytest.raises(ValidationError):
            Source(database=name)
        assert table_name_problem(name) is not None


@given(st.text(max_size=8))
def test_nul_gets_nowhere(text: str) -> None:
    hostile = f"{text}\x00"
    assert table_name_problem(hostile) is not None
    assert column_name_problem(hostile) is not None
