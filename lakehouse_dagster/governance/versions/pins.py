"""Trino catalogs that show one commit for the length of a task."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.nessie import Reference
from lakehouse_dagster.engines.trino import TrinoClient
from lakehouse_dagster.engines.trino_catalogs import create_catalog, drop_catalog

if TYPE_CHECKING:
    from lakehouse_dagster.engines.clients import Clients

PIN = "lake_pin_"
SLOTS = 8
"""Trino keeps some memory of every catalog that ever was, so the same few names are used in turn."""


@contextmanager
def shown_at(clients: Clients, reference: Reference) -> Iterator[TrinoClient]:
    """Give a client whose catalog shows one commit, whatever is published meanwhile.

    Several at once, of several processes, do not disturb each other: a name is taken by creating it.
    """
    name = _take(clients, f"@{reference.hash}")
    try:
        yield TrinoClient(clients.endpoints.trino, catalog=name)
    finally:
        # What went wrong before is what the caller must hear of; retention drops what is left.
        with suppress(EngineError):
            drop_catalog(clients.trino, name)


def _take(clients: Clients, prefix: str) -> str:
    trouble: EngineError | None = None
    for name in (*(f"{PIN}{slot}" for slot in range(SLOTS)), f"{PIN}{uuid.uuid4().hex[:12]}"):
        try:
            create_catalog(clients.endpoints, clients.trino, name, prefix, exclusive=True)
        except EngineError as error:
            if "exist" not in error.message.lower():
                raise
            trouble = error
        else:
            return name
    assert trouble is not None
    raise trouble
