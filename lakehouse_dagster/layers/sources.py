"""Layer ``source``: the tables of the MySQL database, which Dagster knows and never touches."""

from __future__ import annotations

import dagster as dg

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.layers import keys
from lakehouse_dagster.layers.describe import asset_spec, column_schema

LAYER = "source"


def source_specs(contract: Contract) -> list[dg.AssetSpec]:
    """Return one external asset per source table."""
    database = contract.database
    return [
        asset_spec(
            contract,
            LAYER,
            keys.source(contract.name, table.name),
            description=table.description or f"Table `{database}.{table.name}` of the operational database.",
            kinds={"mysql", "source"},
            owner=table.owner,
            columns=column_schema(contract.schema(table.name), table, None),
            table_name=f"{database}.{table.name}",
            uri=f"mysql://{database}/{table.name}",
        )
        for table in contract.tables
    ]
