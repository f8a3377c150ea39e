"""CouchDB databases of a pipeline's views, and their indexes."""

from __future__ import annotations

from dataclasses import dataclass

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.model import View
from lakehouse_dagster.contract.names import SERVING_POSITION
from lakehouse_dagster.contract.types import mapping


@dataclass(frozen=True)
class CouchDbIndex:
    """A Mango index."""

    name: str
    fields: tuple[str, ...]

    def to_body(self) -> dict[str, object]:
        """Body of ``POST /database/_index``."""
        return {"index": {"fields": list(self.fields)}, "name": self.name, "ddoc": self.name, "type": "json"}


@dataclass(frozen=True)
class CouchDbDatabase:
    """A database: one document per row.

    Attributes:
        name: The database.
        id_fields: Columns whose values, joined by ``:``, are the document's id. ``%`` and ``:`` are escaped
            in all values but the last.
        fields: JSON form of each field, in words.
        indexes: Indexes to create.
    """

    name: str
    id_fields: tuple[str, ...]
    fields: dict[str, str]
    indexes: tuple[CouchDbIndex, ...]


def database(contract: Contract, view: View) -> CouchDbDatabase:
    """Render the database of one view, indexed by source position so that the newest change is found fast."""
    fields = {column.name: mapping(column).couchdb for column in contract.view_columns(view)}
    return CouchDbDatabase(
        name=view.name,
        id_fields=contract.view_key(view),
        fields={**fields, SERVING_POSITION: "number, string above 2^53"},
        indexes=(CouchDbIndex("by-source-position", (SERVING_POSITION,)),),
    )


def databases(contract: Contract) -> tuple[CouchDbDatabase, ...]:
    """All CouchDB databases of a pipeline."""
    return tuple(database(contract, view) for view in contract.views if view.engine == "couchdb")
