"""Everything a contract renders to, by name: what ``lakehouse render`` prints and golden tests compare."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.render import cassandra, couchdb, doris, flink_sql, mysql, proof, topics, trino
from lakehouse_dagster.render.connector import connector
from lakehouse_dagster.render.flink_sql import FlinkScript


def artefacts(
    contract: Contract,
    *,
    mysql_host: str = "127.0.0.1",
    mysql_port: int = 13306,
    kafka_bootstrap: str = "127.0.0.1:19092",
) -> dict[str, str]:
    """Render a contract completely.

    Returns:
        Text of each artefact by its name: ``connector.json``, ``topics.json``, ``lake.flink.sql``,
        ``serving.flink.sql``, ``proof.flink.sql``, ``cassandra.cql``, ``couchdb.json``, ``mysql.sql``,
        ``marts/<mart>.trino.sql`` and ``doris/*.sql``. What a contract does not use is left out.
    """
    rendered = connector(
        contract, mysql_host=mysql_host, mysql_port=mysql_port, kafka_bootstrap=kafka_bootstrap
    )
    texts = {
        "connector.json": rendered.to_json(),
        "topics.json": _json([asdict(topic) for topic in topics.topics(contract)]),
        "lake.flink.sql": script_sql(flink_sql.lake_script(contract)),
        "mysql.sql": _statements(mysql.source_select(contract, table.name) for table in contract.tables),
        "proof.flink.sql": script_sql(proof.proof_script(contract, "s3://lake/proof/00000000")),
    }
    serving = flink_sql.serving_script(contract)
    if serving is not None:
        texts["serving.flink.sql"] = script_sql(serving)
    cql = cassandra.statements(contract)
    if cql:
        texts["cassandra.cql"] = _statements(cql)
    databases = couchdb.databases(contract)
    if databases:
        texts["couchdb.json"] = _json([asdict(database) for database in databases])
    for mart in contract.marts:
        if "trino" in mart.engines:
            texts[f"marts/{mart.name}.trino.sql"] = _mart(contract, mart.name)
    texts |= doris.artefacts(contract)
    return texts


def _mart(contract: Contract, mart: str) -> str:
    """How a mart is built, what tells which of its partitions to build again, and its checks."""
    text = _statements(trino.mart_statements(contract, mart))
    if contract.mart(mart).partition:
        asked = [trino.partitions_now(contract, mart), trino.other_tables_now(contract, mart)]
        text += "\n-- what its partitions are computed from\n" + _statements(sql for sql in asked if sql)
    for check in trino.mart_checks(contract, mart):
        text += f"\n-- check {check.name} ({check.severity}): returns no rows\n" + _statements([check.sql])
    return text


def script_sql(script: FlinkScript) -> str:
    """A Flink script as readable SQL: its settings, its DDL, and its inserts as one statement set."""
    settings = "\n".join(f"SET '{key}' = '{value}';" for key, value in sorted(script.settings.items()))
    ddl = "\n".join(f"\n{statement};" for statement in script.statements)
    inserts = "\n".join(f"\n{statement};" for statement in script.inserts)
    return f"-- {script.name}\n{settings}\n{ddl}\n\nBEGIN STATEMENT SET;\n{inserts}\n\nEND;\n"


def _statements(statements: Iterable[str]) -> str:
    return "\n\n".join(f"{statement};" for statement in statements) + "\n"


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
