"""Layer ``views``: tables in Cassandra and databases in CouchDB for applications, written by the serving
stream.
"""

from __future__ import annotations

import dagster as dg

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.model import View
from lakehouse_dagster.layers import keys
from lakehouse_dagster.layers.describe import asset_spec, column_lineage, column_schema

LAYER = "views"


def view_specs(contract: Contract) -> list[dg.AssetSpec]:
    """Return one external asset per serving view."""
    return [_view_spec(contract, view) for view in contract.views]


def _view_spec(contract: Contract, view: View) -> dg.AssetSpec:
    cassandra = view.engine == "cassandra"
    schema = contract.schema(view.table)
    position = dg.TableColumn(
        "source_position",
        "bigint" if cassandra else "number",
        "Position in the source's binary log of the change that wrote this row; older changes are ignored.",
    )
    written = (
        "at the source position as write timestamp" if cassandra else "unless its stored position is newer"
    )
    return asset_spec(
        contract,
        LAYER,
        keys.view(contract.name, view.name),
        description=(
            (view.description + "\n\n" if view.description else "")
            + f"Served from {'Cassandra' if cassandra else 'CouchDB'}, kept equal to `{view.table}`: every "
            "change is "
            f"written {written}, so replays are harmless."
        ),
        kinds={view.engine, "flink"},
        deps=[keys.topic(contract.name, view.table), keys.stream(contract.name, "serving")],
        owner=view.owner,
        columns=column_schema(
            schema,
            contract.table(view.table),
            (lambda types: types.cassandra) if cassandra else (lambda types: types.couchdb),
            columns=contract.view_columns(view),
            key=contract.view_key(view),
            extra=(position,),
        ),
        lineage=column_lineage(contract, LAYER, view.name),
        table_name=view.name,
        uri=f"{view.engine}://{view.name}",
    )
