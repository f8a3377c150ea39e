"""Cassandra schema of a pipeline's views."""

from __future__ import annotations

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.model import View
from lakehouse_dagster.contract.names import SERVING_POSITION
from lakehouse_dagster.contract.types import mapping
from lakehouse_dagster.render import quoting


def keyspace(contract: Contract, *, replication_factor: int = 1) -> str:
    """CREATE KEYSPACE of the pipeline."""
    replication = f"{{'class': 'SimpleStrategy', 'replication_factor': {replication_factor}}}"
    return (
        f"CREATE KEYSPACE IF NOT EXISTS {quoting.double(contract.keyspace)} WITH replication = {replication}"
    )


def table(contract: Contract, view: View) -> str:
    """CREATE TABLE of one view: its columns, the source position, and the view's key."""
    lines = [
        f"  {quoting.double(column.name)} {mapping(column).cassandra}"
        for column in contract.view_columns(view)
    ]
    lines.append(f"  {quoting.double(SERVING_POSITION)} bigint")
    partition = ", ".join(quoting.double(name) for name in view.partition_key)
    clustering = "".join(f", {quoting.double(name)}" for name in view.clustering_key)
    lines.append(f"  PRIMARY KEY (({partition}){clustering})")
    options: list[str] = []
    if view.clustering_key:
        order = ", ".join(f"{quoting.double(name)} ASC" for name in view.clustering_key)
        options.append(f"CLUSTERING ORDER BY ({order})")
    if view.description:
        options.append(f"comment = {quoting.literal(view.description)}")
    body = ",\n".join(lines)
    suffix = f"\nWITH {chr(10).join(options[:1])}" + "".join(f"\nAND {option}" for option in options[1:])
    return f"CREATE TABLE IF NOT EXISTS {quoting.double(contract.keyspace, view.name)} (\n{body}\n)" + (
        suffix if options else ""
    )


def statements(contract: Contract) -> tuple[str, ...]:
    """Everything to execute, in order; empty when the pipeline has no Cassandra view."""
    views = [view for view in contract.views if view.engine == "cassandra"]
    return (keyspace(contract), *(table(contract, view) for view in views)) if views else ()
