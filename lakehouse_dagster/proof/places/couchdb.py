"""Documents of a serving view in CouchDB."""

from __future__ import annotations

from collections.abc import Iterator

from lakehouse_dagster.contract.names import SERVING_POSITION
from lakehouse_dagster.engines.couchdb import CouchDbClient
from lakehouse_dagster.proof.subject import PlaceName, PlaceRow, Subject


class CouchDbPlace:
    """Serving views as documents; the database is named like the view."""

    name: PlaceName = "couchdb"

    def __init__(self, client: CouchDbClient) -> None:
        self._client = client

    def prepare(self, subjects: list[Subject]) -> None:
        """Nothing to do."""

    def rows(self, subject: Subject) -> Iterator[PlaceRow]:
        """All documents of the view.

        An absent field counts as null. A document whose id is not made of its own key is a wrong row even
        if its fields are right: its key is replaced by the id, so that it shows as extra (and the right one
        as missing).
        """
        convert = subject.projection.canonicalizers()
        names = subject.projection.names
        keys = subject.projection.key_positions
        for doc in self._client.all_docs(subject.label):
            values = [f(doc.get(name)) for f, name in zip(convert, names, strict=True)]
            expected = ":".join(values[at] or "" for at in keys)
            if doc["_id"] != expected:
                values[keys[0]] = f"!document id {doc['_id']}"
            position = doc.get(SERVING_POSITION)
            # Numbers above 2^53 may travel as text.
            yield PlaceRow(tuple(values), None if position is None else int(position))

    def close(self) -> None:
        """Nothing to do."""
