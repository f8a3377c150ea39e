"""Layer ``topics``: one Kafka topic per table, written by the Debezium connector, keyed by primary key."""

from __future__ import annotations

import dagster as dg

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.layers import keys
from lakehouse_dagster.layers.describe import asset_spec, column_lineage, column_schema
from lakehouse_dagster.lineage.columns import RECORD_FIELDS

LAYER = "topics"

_FIELDS = [dg.TableColumn(name, kind, meaning) for name, (kind, meaning) in RECORD_FIELDS.items()]


def topic_specs(contract: Contract) -> list[dg.AssetSpec]:
    """Return one external asset per table's topic."""
    return [
        asset_spec(
            contract,
            LAYER,
            keys.topic(contract.name, table.name),
            description=(
                f"Every committed change of `{contract.database}.{table.name}` in commit "
                "order per key, "
                "as flat JSON with the position in the source's binary log."
            ),
            kinds={"kafka", "debezium"},
            deps=[keys.source(contract.name, table.name), keys.stream(contract.name, "connector")],
            owner=table.owner,
            columns=column_schema(
                contract.schema(table.name), table, lambda types: types.wire, extra=_FIELDS
            ),
            lineage=column_lineage(contract, LAYER, table.name),
            table_name=contract.topic(table.name),
            uri=f"kafka://{contract.topic(table.name)}",
        )
        for table in contract.tables
    ]
