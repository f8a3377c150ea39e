"""Layer ``lake``: one Paimon primary-key table per source table, written by the lake stream."""

from __future__ import annotations

import dagster as dg

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.layers import keys
from lakehouse_dagster.layers.describe import asset_spec, column_lineage, column_schema
from lakehouse_dagster.render.paimon import AUDIT_COLUMNS

LAYER = "lake"

_AUDIT = {
    "_position": "Position of the change in the source's binary log; of two versions the greater one wins.",
    "_gtid": "Global transaction id of the change; null in rows of the first snapshot.",
    "_committed_at": "When the source committed the change (UTC).",
    "_op": "How the row was written: '+I'; a '-D' removes it, so it is never read.",
}


def lake_specs(contract: Contract) -> list[dg.AssetSpec]:
    """Return one external asset per lake table."""
    audit = [dg.TableColumn(name, kind, _AUDIT.get(name)) for name, kind in AUDIT_COLUMNS]
    return [
        asset_spec(
            contract,
            LAYER,
            keys.lake(contract.name, table.name),
            description=(
                (table.description + "\n\n" if table.description else "")
                + f"The current rows of `{contract.database}.{table.name}`, deletes applied, "
                "newest "
                f"source position wins; committed every {contract.pipeline.checkpoint_interval_seconds} s."
            ),
            kinds={"paimon", "iceberg", "flink"},
            deps=[keys.topic(contract.name, table.name), keys.stream(contract.name, "lake")],
            owner=table.owner,
            columns=column_schema(contract.schema(table.name), table, lambda types: types.lake, extra=audit),
            lineage=column_lineage(contract, LAYER, table.name),
            table_name=f"{contract.name}.{table.name}",
            uri=f"paimon://{contract.lake_path(table.name)}",
        )
        for table in contract.tables
    ]
