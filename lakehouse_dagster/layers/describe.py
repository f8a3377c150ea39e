"""What all assets have in common: owner, group, kinds, description, columns, where the thing is, and the code
behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import dagster as dg

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.model import Table
from lakehouse_dagster.contract.schema import Column, TableSchema
from lakehouse_dagster.contract.types import TypeMapping, mapping
from lakehouse_dagster.lineage.columns import Column as ColumnOf
from lakehouse_dagster.lineage.columns import Dataset, Layer, origins


def asset_spec(
    contract: Contract,
    layer: str,
    key: dg.AssetKey,
    *,
    description: str,
    kinds: Iterable[str],
    deps: Iterable[dg.AssetKey] = (),
    owner: str | None = None,
    columns: dg.TableSchema | None = None,
    lineage: dg.TableColumnLineage | None = None,
    table_name: str | None = None,
    uri: str | None = None,
    tags: Mapping[str, str] | None = None,
    code: Sequence[Path] = (),
    metadata: Mapping[str, object] | None = None,
) -> dg.AssetSpec:
    """Return the spec of one asset of ``layer``; its group is ``<pipeline>_<layer>``."""
    facts: dict[str, object] = {**(metadata or {})}
    if columns is not None:
        facts["dagster/column_schema"] = columns
    if lineage is not None:
        facts["dagster/column_lineage"] = lineage
    if table_name is not None:
        facts["dagster/table_name"] = table_name
    if uri is not None:
        facts["dagster/uri"] = uri
    if code:
        # The line in defs.yaml is added by Dagster itself, for everything a component makes.
        facts["dagster/code_references"] = code_references(code)
    return dg.AssetSpec(
        key=key,
        deps=list(deps),
        description=description,
        group_name=f"{contract.name}_{layer}",
        kinds=set(kinds),
        owners=[owner or contract.owner],
        tags={"pipeline": contract.name, "layer": layer, **(tags or {})},
        metadata=facts,
    )


def code_references(files: Sequence[Path]) -> dg.CodeReferencesMetadataValue:
    """Return links to the files that define an asset."""
    return dg.CodeReferencesMetadataValue(
        code_references=[dg.LocalFileCodeReference(file_path=str(file)) for file in files]
    )


def column_schema(
    schema: TableSchema,
    table: Table,
    type_of: Callable[[TypeMapping], str] | None,
    *,
    columns: Sequence[Column] | None = None,
    key: Sequence[str] | None = None,
    extra: Sequence[dg.TableColumn] = (),
) -> dg.TableSchema:
    """Return the columns as the UI shows them.

    ``type_of`` picks the type in the engine at hand (``None``: the source's own), ``key`` names the key's
    columns there (default: the source's primary key), ``extra`` columns come last.
    """
    keys = tuple(schema.primary_key if key is None else key)
    listed = [
        dg.TableColumn(
            name=column.name,
            type=column.mysql_type if type_of is None else type_of(mapping(column)),
            description=table.columns.get(column.name) or column.comment or None,
            constraints=dg.TableColumnConstraints(
                nullable=column.nullable and column.name not in keys,
                unique=len(keys) == 1 and column.name == keys[0],
                other=[f"key column {keys.index(column.name) + 1} of {len(keys)}"]
                if column.name in keys
                else [],
            ),
        )
        for column in (schema.columns if columns is None else columns)
    ]
    return dg.TableSchema(columns=[*listed, *extra])


def column_lineage(contract: Contract, layer: str, name: str) -> dg.TableColumnLineage:
    """Return what each column of a dataset comes from, in Dagster's terms.

    A column that comes from no other (one of the source, a count of rows) has no entry.
    """
    found = origins(contract, Dataset(Layer(layer), name))
    return dg.TableColumnLineage(
        deps_by_column={
            column: [
                dg.TableColumnDep(
                    asset_key=_asset_of(contract, origin.column), column_name=origin.column.name
                )
                for origin in came
            ]
            for column, came in found.items()
            if came
        }
    )


def _asset_of(contract: Contract, column: ColumnOf) -> dg.AssetKey:
    return dg.AssetKey([contract.name, str(column.dataset.layer), column.dataset.name])
