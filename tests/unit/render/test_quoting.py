"""No name or text of a contract ever becomes SQL: tokens stay what they were, whatever the text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sqlglot.dialects.dialect import Dialect
from sqlglot.dialects.trino import Trino
from sqlglot.tokens import Tokenizer, TokenType

from lakehouse_dagster.contract import (
    Column,
    Contract,
    Mart,
    Pipeline,
    SchemaLock,
    Source,
    Table,
    TableSchema,
    View,
)
from lakehouse_dagster.contract.incremental import Partitioning
from lakehouse_dagster.contract.mart_checks import Accepted, MartCheck, Range
from lakehouse_dagster.contract.marts import MartQuery
from lakehouse_dagster.contract.names import column_name_problem, table_name_problem
from lakehouse_dagster.render import cassandra, flink_sql, mysql, proof, quoting, trino
from lakehouse_dagster.render.artefacts import artefacts
from lakehouse_dagster.render.connector import connector

PLACEHOLDERS = {
    "KAFKA_BOOTSTRAP", "S3_ENDPOINT", "S3_ACCESS_KEY", "S3_SECRET_KEY", "PAIMON_WAREHOUSE", "CASSANDRA_HOST",
    "CASSANDRA_PORT", "CASSANDRA_USERNAME", "CASSANDRA_PASSWORD", "COUCHDB_URL", "COUCHDB_USERNAME",
    "COUCHDB_PASSWORD",
}  # fmt: skip


class Backticks(Dialect):
    """Lexical rules of Flink SQL and of MySQL's identifiers: doubled quotes, no backslashes."""

    class Tokenizer(Tokenizer):
        IDENTIFIERS: ClassVar = ["`"]
        IDENTIFIER_ESCAPES: ClassVar = ["`"]
        QUOTES: ClassVar = ["'"]
        STRING_ESCAPES: ClassVar = ["'"]


nasty = st.sampled_from(
    ["`", '"', "'", "''", "``", '""', "\\", "\\'", ";", "--", "/*", "*/", "\n", "{", "${S3_SECRET_KEY}", "%s",
     " ", ")", "x", "É", "😀", "\u2028", "'; DROP TABLE a; --", "` (x INT); --", '" UNION SELECT 1 --', "$$"]
)  # fmt: skip
names = st.one_of(
    st.lists(nasty, min_size=1, max_size=5).map("".join), st.text(min_size=1, max_size=12)
).filter(lambda text: "\x00" not in text and not any(0xD800 <= ord(char) <= 0xDFFF for char in text))

unplaced = names.filter(lambda name: "${" not in name)
"""Names that are no placeholder of a Flink script: those are refused (test_injection)."""


def kinds(dialect: type[Dialect], sql: str) -> list[TokenType]:
    return [token.token_type for token in dialect().tokenize(sql)]


def texts(dialect: type[Dialect], sql: str, kind: TokenType) -> list[str]:
    return [token.text for token in dialect().tokenize(sql) if token.token_type == kind]


@given(unplaced)
def test_a_quoted_name_is_one_token_with_the_same_text(name: str) -> None:
    for dialect, quoted in (
        (Backticks, quoting.flink(name)),
        (Backticks, quoting.mysql(name)),
        (Trino, quoting.double(name)),
    ):
        assert kinds(dialect, f"SELECT {quoted} FROM t")[1:3] == [TokenType.IDENTIFIER, TokenType.FROM]
        assert texts(dialect, quoted, TokenType.IDENTIFIER) == [name]
    for dialect in (Backticks, Trino):
        assert texts(dialect, quoting.literal(name), TokenType.STRING) == [name]


def test_nul_is_refused() -> None:
    for quote in (quoting.flink, quoting.mysql, quoting.double, quoting.literal):
        with pytest.raises(ValueError, match="NUL"):
            quote("a\x00b")


def contract(table: str, column: str, text: str) -> Contract:
    """A contract that skipped every check."""
    schema = TableSchema(
        name=table,
        columns=(
            Column(name=column, mysql_type="datetime(6)", nullable=False, position=1),
            Column(name="id", mysql_type="int", nullable=False, position=2),
            Column(name="f", mysql_type="float", nullable=True, position=3),
        ),
        primary_key=("id",),
    )
    pipeline = Pipeline(
        name="p",
        owner="team:x",
        source=Source(database="d"),
        tables=(Table(name=table, description=text),),
        views=(
            View(
                name="v",
                engine="cassandra",
                table=table,
                description=text,
                partition_key=(column,),
                clustering_key=("id",),
            ),
            View(name="w", engine="couchdb", table=table, description=text),
        ),
    )
    mart = Mart(
        name="m",
        # Never blank: a blank description is none, and makes no comment.
        description=f"d{text}",
        key=(column,),
        partition="day",
        checks=(
            MartCheck(not_null=(column,)),
            MartCheck(unique=(column,)),
            MartCheck(range=Range(column=column, min=text, max=text)),
            MartCheck(accepted=Accepted(column=column, values=(text,))),
        ),
    )
    sql = f"SELECT {quoting.double(column)} AS {quoting.double(column)} FROM lake.{quoting.double(table)}"
    parts = Partitioning(table, quoting.double(column), (column,), {table: (column,)})
    return Contract(
        folder=Path(),
        pipeline=pipeline,
        lock=SchemaLock(database="d", tables={table: schema}),
        queries={"m": MartQuery(sql=sql, tables=(table,), columns=(), partitioning=parts)},
        marts=(mart,),
    )


def flink_statements(made: Contract) -> Iterator[str]:
    for script in (*flink_sql.scripts(made), proof.proof_script(made, "s3://lake/proof/x")):
        yield from script.statements
        yield from script.inserts


def mart_sql(made: Contract, text: str) -> Iterator[str]:
    yield from trino.mart_statements(made, "m")
    yield trino.mart_insert(made, "m", [date(2013, 1, 1), None])
    yield trino.mart_delete(made, "m", [date(2013, 1, 1), None])
    yield trino.partitions_now(made, "m")
    yield trino.other_tables_now(made, "m") or ""
    yield trino.partitions_create(made, "m", [(None, 1, text)], text)
    yield trino.partitions_insert(made, "m", [(None, 1, text)])
    yield from (check.sql for check in trino.mart_checks(made, "m"))


@settings(max_examples=60, suppress_health_check=[HealthCheck.filter_too_much])
@given(unplaced, unplaced, names)
def test_hostile_names_never_change_a_statement(table: str, column: str, text: str) -> None:
    assume(column not in {"id", "f"})
    plain, hostile = contract("t", "c", "d"), contract(table, column, text)
    for ours, theirs in zip(flink_statements(plain), flink_statements(hostile), strict=True):
        assert kinds(Backticks, theirs) == kinds(Backticks, ours)
        ids = texts(Backticks, ours, TokenType.IDENTIFIER)
        expected = [
            {
                "t": table,
                "c": column,
                "source_t": f"source_{table}",
                "proof_t": f"proof_{table}",
                "__before_c": f"__before_{column}",
            }.get(name, name)
            for name in ids
        ]
        assert texts(Backticks, theirs, TokenType.IDENTIFIER) == expected
    for ours, theirs in (
        (mysql.source_select(plain, "t"), mysql.source_select(hostile, table)),
        (mysql.snapshot_override(plain, "t") or "", mysql.snapshot_override(hostile, table) or ""),
    ):
        assert kinds(Backticks, theirs) == kinds(Backticks, ours)
    for ours, theirs in (
        *zip(cassandra.statements(plain), cassandra.statements(hostile), strict=True),
        *zip(mart_sql(plain, "d"), mart_sql(hostile, text), strict=True),
    ):
        assert kinds(Trino, theirs) == kinds(Trino, ours)


@given(names)
def test_what_the_contract_lets_through_is_safe_outside_sql_too(name: str) -> None:
    """Option lists, placeholders and selectors have no quoting: such characters must not get that far."""
    if column_name_problem(name) is None:
        assert not set(name) & set(".,:;$`'\"\\\n\r\t(){}[]/*")
        assert name == name.strip()
    if table_name_problem(name) is None:
        assert re.fullmatch(r"[A-Za-z0-9_-]+", name)


@given(
    st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_-]{0,20}\Z"),
    st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_-]{0,20}\Z"),
)
def test_the_connector_matches_exactly_its_own_tables(table: str, other: str) -> None:
    made = contract(table, "c", "")
    config = connector(made, mysql_host="h", mysql_port=1, kafka_bootstrap="k").config
    assert (
        json.loads(connector(made, mysql_host="h", mysql_port=1, kafka_bootstrap="k").to_json())["config"]
        == config
    )
    for pattern, prefix in (
        (config["table.include.list"], "d."),
        (config[f"predicates.flatten_{table}.pattern"], "p.d."),
    ):
        assert re.fullmatch(pattern, f"{prefix}{table}")
        assert bool(re.fullmatch(pattern, f"{prefix}{other}")) == (table == other)
        assert not re.fullmatch(pattern, f"{prefix[:-1]}x{table}")


def test_placeholders_and_secrets() -> None:
    made = contract("t", "c", "${env:MYSQL_CDC_PASSWORD} ${S3_SECRET_KEY}")
    for name, text in artefacts(made).items():
        found = set(re.findall(r"\$\{([^}]*)\}", text))
        if name.endswith(".flink.sql"):
            assert found <= PLACEHOLDERS
    config = connector(made, mysql_host="h", mysql_port=1, kafka_bootstrap="k").config
    placeholders = {value for value in config.values() if "${" in value}
    assert placeholders == {"${env:MYSQL_CDC_USER}", "${env:MYSQL_CDC_PASSWORD}"}


def test_the_spec_hash_follows_the_script() -> None:
    one, same, other = (flink_sql.lake_script(contract(table, "c", "")) for table in ("t", "t", "u"))
    assert one.spec_hash == same.spec_hash != other.spec_hash
    assert re.fullmatch("[0-9a-f]{16}", one.spec_hash)
    assert json.loads(one.to_json())["name"] == "p-lake"
