"""Doris SQL: parsed by sqlglot where it can, and checked by the project's own rules for the rest."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import ClassVar

import pytest
import sqlglot
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.tokens import Tokenizer, TokenType

from lakehouse_dagster.contract import Contract, load_contract
from lakehouse_dagster.contract.loader import DEFS_ROOT, discover
from lakehouse_dagster.contract.marts import read_mart
from lakehouse_dagster.render import doris
from lakehouse_dagster.render.artefacts import artefacts

GOLDEN = Path(__file__).resolve().parents[2] / "golden"

PARSED = ("SELECT", "CREATE DATABASE", "CREATE MATERIALIZED VIEW", "DROP MATERIALIZED VIEW")
"""Statements that sqlglot's dialect for Doris understands."""
OPAQUE = (
    "CREATE CATALOG", "ALTER CATALOG", "CREATE ROLE", "CREATE USER", "ALTER USER", "GRANT", "REFRESH CATALOG",
    "REFRESH TABLE", "REFRESH MATERIALIZED VIEW", "ALTER MATERIALIZED VIEW", "SHOW CREATE MATERIALIZED VIEW",
)  # fmt: skip
"""Those it does not: checked by ``doris.problems`` and by their shape below."""

SHAPES = {
    "CREATE CATALOG": r"CREATE CATALOG IF NOT EXISTS `\w+` PROPERTIES \(\n[^)]*\n\)",
    "ALTER CATALOG": r"ALTER CATALOG `\w+` SET PROPERTIES \(\n[^)]*\n\)",
    "CREATE ROLE": r"CREATE ROLE IF NOT EXISTS `\w+`",
    "CREATE USER": r"CREATE USER IF NOT EXISTS '\w+'@'%' IDENTIFIED BY '\$\{\w+\}'",
    "ALTER USER": r"ALTER USER '\w+'@'%' IDENTIFIED BY '\$\{\w+\}'",
    "GRANT": r"GRANT (SELECT_PRIV ON `\w+`\.`\w+`\.\* TO ROLE '\w+'|'\w+' TO '\w+'@'%')",
    "REFRESH CATALOG": r"REFRESH CATALOG `\w+`",
    "REFRESH TABLE": r"REFRESH TABLE `\w+`\.`\w+`\.`[^`]+`",
    "REFRESH MATERIALIZED VIEW": r"REFRESH MATERIALIZED VIEW `\w+`\.`\w+` (COMPLETE|AUTO)",
    "ALTER MATERIALIZED VIEW": (
        r"ALTER MATERIALIZED VIEW `\w+`\.`\w+` REPLACE WITH MATERIALIZED VIEW `\w+` "
        r"PROPERTIES \('swap' = 'false'\)"
    ),
    "SHOW CREATE MATERIALIZED VIEW": r"SHOW CREATE MATERIALIZED VIEW `\w+`\.`\w+`",
}
"""By the grammar of Doris 4.1 (``DorisParser.g4``)."""


def on_doris(contract: Contract) -> Contract:
    """The contract with all its marts in Doris too."""
    marts = tuple(mart.model_copy(update={"engines": ("trino", "doris")}) for mart in contract.marts)
    return dataclasses.replace(contract, marts=marts)


CONTRACTS = {
    contract.name: on_doris(contract)
    for contract in (load_contract(DEFS_ROOT / "flights"), load_contract(GOLDEN / "zoo"))
} | {f"{contract.name}, as it is": contract for contract in discover() if doris.doris_marts(contract)}


def statements(contract: Contract) -> list[str]:
    found = list(doris.setup(contract))
    for mart in doris.doris_marts(contract):
        said = doris.view(contract, mart.name)
        found += [said.create, said.create_next, said.drop_next, said.replace, *said.refresh_sources]
        found += [said.refresh, said.refresh_next, doris.tasks_query(said.database, said.view)]
        found += [doris.views_query(said.database), doris.definition_query(said.database, said.view)]
        found += [doris.count_query(said.database, said.view)]
    return found


def kind_of(statement: str) -> str:
    (found,) = [kind for kind in (*PARSED, *OPAQUE) if statement.startswith(f"{kind} ")]
    return found


@pytest.mark.parametrize("name", CONTRACTS)
def test_sqlglot_understands_every_statement_that_it_can(name: str) -> None:
    seen = set()
    for statement in statements(CONTRACTS[name]):
        seen.add(kind_of(statement))
        if kind_of(statement) in PARSED:
            (tree,) = sqlglot.parse(statement, read="doris")
            assert tree is not None
            assert tree.find(exp.Command) is None, statement
            unknown = {found.name.upper() for found in tree.find_all(exp.Anonymous)}
            assert unknown <= {"PERCENTILE_APPROX", "TASKS", "MV_INFOS"}, statement
        else:
            assert re.fullmatch(SHAPES[kind_of(statement)], statement), statement
    assert seen == {*PARSED, *OPAQUE}


@pytest.mark.parametrize("name", CONTRACTS)
def test_every_statement_passes_the_own_checks(name: str) -> None:
    contract = CONTRACTS[name]
    for statement in statements(contract):
        assert list(doris.problems(statement, contract)) == []


@pytest.mark.parametrize("name", CONTRACTS)
def test_views_are_built_and_refreshed_on_request_only(name: str) -> None:
    contract = CONTRACTS[name]
    for mart in doris.doris_marts(contract):
        said = doris.view(contract, mart.name)
        tree = sqlglot.parse_one(said.create, read="doris")
        (built,) = tree.find_all(exp.BuildProperty)
        (refresh,) = tree.find_all(exp.RefreshTriggerProperty)
        assert (built.name, refresh.args["kind"]) == ("DEFERRED", "MANUAL")
        assert [column.name for column in tree.this.expressions] == [
            column.name for column in contract.queries[mart.name].columns
        ]
        read = {
            (table.catalog, table.db, table.name)
            for table in tree.expression.find_all(exp.Table)
            if table.db  # not a common table expression
        }
        assert read == {
            (doris.PAIMON_CATALOG, *contract.lake_path(table)) for table in contract.mart_tables(mart.name)
        }


def test_only_contracts_with_a_mart_for_doris_have_its_files() -> None:
    contract = load_contract(GOLDEN / "zoo")
    trino = tuple(mart.model_copy(update={"engines": ("trino",)}) for mart in contract.marts)
    assert {name for name in artefacts(contract) if name.startswith("doris/")} == {
        "doris/01_catalogs.sql", "doris/02_database.sql", "doris/03_grants.sql", "doris/10_prices.sql",
        "doris/operations/prices.sql",
    }  # fmt: skip
    assert not [n for n in artefacts(dataclasses.replace(contract, marts=trino)) if n.startswith("doris/")]


# --- the own checks find what they are for ------------------------------------------------------------------


def spoiled(old: str, new: str) -> list[str]:
    contract = CONTRACTS["zoo"]
    found = []
    for statement in statements(contract):
        if old in statement:
            found += list(doris.problems(statement.replace(old, new), contract))
    return found


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("'minio.endpoint'", "'s3a.endpoint'", "'s3a.endpoint' is not one that Doris 4.1 documents"),
        ("'replication_num'", "'replicas'", "the number of replicas is not said"),
        ("ON MANUAL", "ON COMMIT", "not refreshed by Dagster alone"),
        ("ON MANUAL", "ON SCHEDULE EVERY 1 MINUTE", "not refreshed by Dagster alone"),
        ("BUILD DEFERRED", "BUILD IMMEDIATE", "built at its creation"),
        ("`Select`", "`Selected`", "the lake has no table zoo.Selected"),
        ("${S3_SECRET_KEY}", "hunter2", "'minio.secret_key' is not a placeholder"),
        ("${DORIS_REPORTER_PASSWORD}", "hunter2", "a password is not a placeholder"),
    ],
)
def test_the_own_checks_see(old: str, new: str, problem: str) -> None:
    assert any(problem in found for found in spoiled(old, new))


# --- changes are seen ---------------------------------------------------------------------------------------


def test_the_fingerprint_changes_with_the_definition_and_only_then() -> None:
    contract = CONTRACTS["flights"]
    name = contract.marts[0].name
    first = doris.view(contract, name)
    assert doris.view(contract, name) == first
    assert doris.fingerprint_of(first.create) == doris.fingerprint_of(first.create_next) == first.fingerprint
    said = contract.mart_sql(name)
    schemas = {table.name: contract.schema(table.name) for table in contract.tables}

    def of(sql: str) -> str:
        queries = {**contract.queries, name: read_mart(sql, "marts/m.sql", schemas)}
        return doris.view(dataclasses.replace(contract, queries=queries), name).fingerprint

    assert of(f"-- a comment more\n{said}") == first.fingerprint
    assert of(said.replace("> 15", "> 16")) != first.fingerprint
    assert doris.fingerprint_of("CREATE MATERIALIZED VIEW a AS SELECT 1") is None


def test_why_a_declared_partition_is_none_is_said() -> None:
    contract = CONTRACTS["flights"]
    (mart,) = contract.marts[:1]
    declared = mart.model_copy(update={"partition": "scheduled_day"})
    text = doris.artefacts(dataclasses.replace(contract, marts=(declared,)))[f"doris/10_{mart.name}.sql"]
    assert text.startswith("-- not partitioned by scheduled_day: Doris takes")
    assert "PARTITION BY (" not in text


# --- what sqlglot would say otherwise -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trino", "in_doris"),
    [
        ("count_if(i > 1)", "COUNT(CASE WHEN `o`.`i` > 1 THEN 1 END)"),
        ("count(*) FILTER (WHERE i > 1)", "COUNT(CASE WHEN `o`.`i` > 1 THEN 1 END)"),
        ("sum(i) FILTER (WHERE i > 1)", "SUM(CASE WHEN `o`.`i` > 1 THEN `o`.`i` END)"),
        (
            "count(DISTINCT i) FILTER (WHERE i > 1)",
            "COUNT(DISTINCT CASE WHEN `o`.`i` > 1 THEN `o`.`i` END)",
        ),
        ("if(i > 1, 2)", "CASE WHEN `o`.`i` > 1 THEN 2 END"),
        ("date_diff('minute', t, t)", "TIMESTAMPDIFF(MINUTE, `o`.`t`, `o`.`t`)"),
        ("day_of_week(t)", "(((DAYOFWEEK(`o`.`t`) + 5) % 7) + 1)"),
        ("t + INTERVAL '1' DAY", "`o`.`t` + INTERVAL 1 DAY"),
        (
            "approx_percentile(i, 0.5)",
            "CAST(FLOOR(PERCENTILE_APPROX(CAST(`o`.`i` AS DOUBLE), 0.5) + 0.5) AS BIGINT)",
        ),
        ("approx_percentile(x, 0.5)", "PERCENTILE_APPROX(CAST(`o`.`x` AS DOUBLE), 0.5)"),
        (
            "sum(i) OVER (PARTITION BY s ORDER BY t)",
            "SUM(`o`.`i`) OVER (PARTITION BY `o`.`s` ORDER BY `o`.`t` NULLS LAST)",
        ),
        (
            "rank() OVER (ORDER BY t DESC NULLS FIRST)",
            "RANK() OVER (ORDER BY `o`.`t` DESC NULLS FIRST)",
        ),
        (r"s || 'it''s \ one'", r"CONCAT(`o`.`s`, 'it''s \\ one')"),
        ("length(s)", "CHAR_LENGTH(`o`.`s`)"),
        ("i * 0.5", "`o`.`i` * 0.5"),
    ],
)
def test_rendered_so_that_it_means_the_same(trino: str, in_doris: str) -> None:
    contract = CONTRACTS["flights"]
    columns = "dep_delay AS i, tailnum AS s, departed_at AS t, CAST(dep_delay AS double) AS x"
    sql = f"SELECT {trino} AS c FROM (SELECT {columns} FROM lake.flights) AS o"
    schemas = {table.name: contract.schema(table.name) for table in contract.tables}
    name = contract.marts[0].name
    queries = {name: read_mart(sql, "marts/m.sql", schemas)}
    rendered = " ".join(doris.select(dataclasses.replace(contract, queries=queries), name).split())
    assert f"SELECT {in_doris} AS `c` FROM" in re.sub(
        r"\( (?=\S)|(?<=\S) \)", lambda m: m[0].strip(), rendered
    )


# --- nothing becomes SQL ------------------------------------------------------------------------------------


class AsDoris(Dialect):
    """Lexical rules of Doris: doubled backticks; in strings doubled quotes and the backslash."""

    class Tokenizer(Tokenizer):
        IDENTIFIERS: ClassVar = ["`"]
        IDENTIFIER_ESCAPES: ClassVar = ["`"]
        QUOTES: ClassVar = ["'"]
        STRING_ESCAPES: ClassVar = ["'", "\\"]


texts = st.one_of(
    st.text(min_size=1, max_size=12),
    st.lists(
        st.sampled_from(["'", "\\", "\\'", "`", "``", '"', ";", "--", "${S3_SECRET_KEY}", "\n", "a"])
    ).map("".join),
).filter(lambda text: text and "\x00" not in text and not any(0xD800 <= ord(c) <= 0xDFFF for c in text))


@given(texts)
def test_a_name_stays_one_token(text: str) -> None:
    (token,) = AsDoris().tokenize(doris.name(text))
    assert (token.token_type, token.text) == (TokenType.IDENTIFIER, text)


@given(texts)
def test_a_literal_stays_one_token(text: str) -> None:
    (token,) = AsDoris().tokenize(doris.literal(text))
    assert (token.token_type, token.text) == (TokenType.STRING, text)


@given(texts)
def test_a_secret_stays_inside_its_literal(text: str) -> None:
    (token,) = AsDoris().tokenize(
        doris.filled("'${DORIS_REPORTER_PASSWORD}'", {"DORIS_REPORTER_PASSWORD": text})
    )
    assert (token.token_type, token.text) == (TokenType.STRING, text)


@settings(max_examples=15)
@given(texts)
def test_a_description_stays_a_comment_and_takes_no_secret(text: str) -> None:
    assume("[lakehouse:" not in text)
    contract = CONTRACTS["flights"]
    mart = contract.marts[0].model_copy(
        update={"description": f"{text} 'replication_num' = '${{DORIS_REPLICAS}}'"}
    )
    said = doris.view(dataclasses.replace(contract, marts=(mart,)), mart.name)
    create = doris.with_replicas(said.create, 3)
    strings = [token.text for token in AsDoris().tokenize(create) if token.token_type is TokenType.STRING]
    assert strings[0] == f"{mart.description} [lakehouse:{said.fingerprint}]".strip()
    assert strings[1:3] == ["replication_num", "3"]
    assert doris.fingerprint_of(create) == said.fingerprint
