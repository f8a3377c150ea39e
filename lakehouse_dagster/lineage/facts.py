"""What is known of a pipeline's datasets without asking any engine: names, columns and their origins."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lakehouse_dagster.contract.column_lineage import Derivation
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.marts import AUDIT_TYPES
from lakehouse_dagster.contract.names import QUARANTINE_TABLE, SERVING_POSITION
from lakehouse_dagster.contract.schema import Column
from lakehouse_dagster.contract.types import TypeMapping, mapping
from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.lineage.columns import RECORD_FIELDS, Dataset, Layer, Origins, inputs, origins
from lakehouse_dagster.lineage.model import DatasetFacts, DatasetName, Field, FieldOrigin
from lakehouse_dagster.lineage.naming import catalog, dataset_name, nessie_name, published_name
from lakehouse_dagster.render.paimon import AUDIT_COLUMNS

Name = Callable[[Dataset], DatasetName]


def dataset_facts(contract: Contract, endpoints: Endpoints, dataset: Dataset) -> DatasetFacts:
    """A dataset as the streams read and write it; a mart as Trino does.

    Raises:
        KeyError: The pipeline has no such dataset.
    """
    if dataset.layer is Layer.MARTS:
        return mart_facts(contract, endpoints, dataset.name)

    def name(other: Dataset) -> DatasetName:
        return dataset_name(contract, endpoints, other)

    return DatasetFacts(
        id=name(dataset),
        fields=_fields(contract, dataset),
        origins=_origins(origins(contract, dataset), name),
        storage="paimon" if dataset.layer is Layer.LAKE else None,
    )


def input_facts(contract: Contract, endpoints: Endpoints, dataset: Dataset) -> tuple[DatasetFacts, ...]:
    """The datasets that one is made from; a mart's are published tables."""
    if dataset.layer is Layer.MARTS:
        return tuple(
            published_facts(contract, endpoints, table, origin=False)
            for table in contract.mart_tables(dataset.name)
        )
    return tuple(dataset_facts(contract, endpoints, one) for one in inputs(contract, dataset))


def published_facts(
    contract: Contract, endpoints: Endpoints, table: str, *, origin: bool = True
) -> DatasetFacts:
    """A lake table as readers see it. Its columns are those of the lake table (told when ``origin``)."""
    found = DatasetFacts(
        id=published_name(contract, endpoints, table),
        also=(nessie_name(endpoints, contract.name, table),),
        catalog=catalog(endpoints),
        storage="iceberg",
    )
    if table == QUARANTINE_TABLE:
        return found
    schema = contract.schema(table)
    own = tuple(_field(contract, table, column, lambda types: types.trino) for column in schema.columns)
    fields = (*own, *(Field(name, kind) for name, kind in AUDIT_TYPES.items()))
    came: dict[str, tuple[FieldOrigin, ...]] = {}
    if origin:
        lake = dataset_name(contract, endpoints, Dataset(Layer.LAKE, table))
        came = {field.name: (FieldOrigin(lake, field.name, Derivation.IDENTITY),) for field in fields}
    return DatasetFacts(found.id, fields, came, also=found.also, catalog=found.catalog, storage=found.storage)


def mart_facts(contract: Contract, endpoints: Endpoints, mart: str) -> DatasetFacts:
    """A mart in Trino; its columns come from published tables."""
    dataset = Dataset(Layer.MARTS, mart)

    def name(other: Dataset) -> DatasetName:
        return published_name(contract, endpoints, other.name)

    return DatasetFacts(
        id=dataset_name(contract, endpoints, dataset),
        fields=tuple(Field(column.name, column.type) for column in contract.queries[mart].columns),
        origins=_origins(origins(contract, dataset), name),
        also=(nessie_name(endpoints, contract.marts_schema, mart),),
        catalog=catalog(endpoints),
        storage="iceberg",
    )


def _origins(found: Origins, name: Name) -> Mapping[str, tuple[FieldOrigin, ...]]:
    return {
        column: tuple(
            FieldOrigin(name(came.column.dataset), came.column.name, came.how) for came in all_of_it
        )
        for column, all_of_it in found.items()
    }


def _fields(contract: Contract, dataset: Dataset) -> tuple[Field, ...]:
    if dataset.layer is Layer.VIEWS:
        view = contract.view(dataset.name)
        cassandra = view.engine == "cassandra"
        columns = tuple(
            _field(
                contract,
                view.table,
                column,
                (lambda types: types.cassandra) if cassandra else (lambda types: types.couchdb),
            )
            for column in contract.view_columns(view)
        )
        return (*columns, Field(SERVING_POSITION, "bigint" if cassandra else "number"))
    columns = tuple(
        _field(contract, dataset.name, column, _TYPE[dataset.layer])
        for column in contract.schema(dataset.name).columns
    )
    if dataset.layer is Layer.TOPICS:
        return (*columns, *(Field(name, kind, said) for name, (kind, said) in RECORD_FIELDS.items()))
    if dataset.layer is Layer.LAKE:
        return (*columns, *(Field(name, kind) for name, kind in AUDIT_COLUMNS))
    return columns


_TYPE: Mapping[Layer, Callable[[TypeMapping], str] | None] = {
    Layer.SOURCE: None,
    Layer.TOPICS: lambda types: types.wire,
    Layer.LAKE: lambda types: types.lake,
}


def _field(
    contract: Contract, table: str, column: Column, type_of: Callable[[TypeMapping], str] | None
) -> Field:
    said = contract.table(table).columns.get(column.name) or column.comment or ""
    return Field(column.name, column.mysql_type if type_of is None else type_of(mapping(column)), said)
