"""The contract of a pipeline: what is copied, served and computed, checked before anything runs. Pure, no
Dagster."""

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.errors import ContractError, ContractErrors, PositionOverflow
from lakehouse_dagster.contract.loader import discover, load_contract
from lakehouse_dagster.contract.model import Mart, Pipeline, Source, Table, View
from lakehouse_dagster.contract.schema import Column, SchemaLock, TableSchema

__all__ = [
    "Column",
    "Contract",
    "ContractError",
    "ContractErrors",
    "Mart",
    "Pipeline",
    "PositionOverflow",
    "SchemaLock",
    "Source",
    "Table",
    "TableSchema",
    "View",
    "discover",
    "load_contract",
]
