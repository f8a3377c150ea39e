"""Layer ``publication``: what Nessie shows of all lake tables of a pipeline, in one commit each time."""

from __future__ import annotations

import dagster as dg

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.layers import keys
from lakehouse_dagster.layers.describe import asset_spec

LAYER = "publication"


def publication_spec(contract: Contract) -> dg.AssetSpec:
    """Return the external asset that stands for the pipeline's published state."""
    return asset_spec(
        contract,
        LAYER,
        keys.publication(contract.name),
        description=(
            f"All lake tables of `{contract.name}` as readers see them: one Nessie commit moves every table "
            "at once, "
            "so joins over several tables are consistent. The publisher commits within a second of a new "
            "snapshot; "
            f"the job `{contract.name}_publish` does it by hand."
        ),
        kinds={"nessie", "iceberg"},
        deps=[keys.lake(contract.name, table.name) for table in contract.tables],
        table_name=contract.name,
        uri=f"nessie://main/{contract.name}",
    )
