"""Documents of a serving view in CouchDB."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from lakehouse_dagster.contract.names import SERVING_POSITION
from lakehouse_dagster.engines.couchdb import CouchDbClient
from lakehouse_dagster.proof.subject import Key, PlaceName, PlaceRow, Subject

MOST_LOOKED_UP = 20_000
"""More keys than that are not asked for: the whole database is read."""
_WRONG = "!document id "


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
        yield from _rows(subject, self._client.all_docs(subject.label))

    def look_up(self, wanted: Mapping[Subject, Collection[Key]]) -> Iterator[tuple[Subject, PlaceRow]]:
        """The documents of the wanted keys; all documents where that is cheaper."""
        for subject, keys in wanted.items():
            if len(keys) > MOST_LOOKED_UP:
                docs = self._client.all_docs(subject.label)
            else:
                docs = self._client.docs(subject.label, [_asked(subject, key) for key in keys])
            for row in _rows(subject, docs):
                yield subject, row

    def close(self) -> None:
        """Nothing to do."""


def document_id(key: Sequence[str | None]) -> str:
    """The id of a key's document: its texts joined by colons, escaped in all but the last."""
    *first, last = (text or "" for text in key)
    return ":".join([*(text.replace("%", "%25").replace(":", "%3A") for text in first), last])


def _asked(subject: Subject, key: Key) -> str:
    """The id to ask for: a wrong document's key has its id in place of the first column."""
    wrong = key[0] or ""
    return wrong.removeprefix(_WRONG) if wrong.startswith(_WRONG) else document_id(key)


def _rows(subject: Subject, docs: Iterable[Mapping[str, Any]]) -> Iterator[PlaceRow]:
    convert = subject.projection.canonicalizers()
    names = subject.projection.names
    keys = subject.projection.key_positions
    for doc in docs:
        values = [f(doc.get(name)) for f, name in zip(convert, names, strict=True)]
        if doc["_id"] != document_id([values[at] for at in keys]):
            values[keys[0]] = f"{_WRONG}{doc['_id']}"
        position = doc.get(SERVING_POSITION)
        # Numbers above 2^53 may travel as text.
        yield PlaceRow(tuple(values), None if position is None else int(position))
