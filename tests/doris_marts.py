"""Which marts could be kept in Doris, whatever their headers say."""

from __future__ import annotations

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.errors import ContractError
from lakehouse_dagster.contract.portable import check_portable


def portable(contract: Contract, mart: str) -> bool:
    """Whether a mart is known to compute the same in Doris."""
    schemas = {table.name: contract.schema(table.name) for table in contract.tables}
    try:
        check_portable(contract.mart_sql(mart), "m.sql", schemas)
    except ContractError:
        return False
    return True
