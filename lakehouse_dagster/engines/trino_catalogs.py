"""Trino catalogs that show the lake as another Nessie reference has it: a branch, a tag, or one commit.

Trino resolves each table of a query by itself, so a query over several tables sees one version of the lake
only through a catalog that is pinned to a commit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.nessie import Reference
from lakehouse_dagster.engines.trino import TrinoClient, identifier, literal

REFERENCE_PATTERN = r"^[a-z][a-z0-9_]{0,60}$"
"""Names of branches and tags that are readable by name: Trino's catalogs take no other characters."""


def catalog_name(reference: str, catalog: str = "lake") -> str:
    """Name of the catalog that shows a reference: ``lake_<reference>``; ValueError where it cannot be one."""
    if not re.fullmatch(REFERENCE_PATTERN, reference):
        raise ValueError(
            f"{reference!r} cannot be the name of a catalog: use lower-case letters, digits and underscores, "
            "a letter first"
        )
    return f"{catalog}_{reference}"


def create_catalog(
    endpoints: Endpoints, trino: TrinoClient, name: str, prefix: str, *, exclusive: bool = False
) -> None:
    """Create a catalog over a reference, unless there is one of that name (``exclusive``: EngineError then).

    ``prefix`` is a branch or tag (the catalog moves along with it), ``@HASH`` or ``name@HASH`` (it never
    moves). The keys to the object store stay in Trino's environment; the statement names only variables.

    Raises ``ValueError`` for a prefix with a ``$``, which Trino would take for one of these variables.
    """
    if "$" in prefix:
        raise ValueError(f"{prefix!r} names no reference: Trino would put a variable of its own in its place")
    properties = {
        "iceberg.catalog.type": "rest",
        "iceberg.rest-catalog.uri": f"{endpoints.nessie.url}/iceberg",
        "iceberg.rest-catalog.prefix": prefix,
        "iceberg.rest-catalog.warehouse": endpoints.trino.catalog,
        # As in compose/trino/catalog/lake.properties: another reference may need what this one does not name.
        "iceberg.remove-orphan-files.min-retention": "36500d",
        "iceberg.expire-snapshots.min-retention": "36500d",
        "fs.native-s3.enabled": "true",
        "s3.endpoint": endpoints.s3.endpoint,
        "s3.region": "us-east-1",
        "s3.path-style-access": "true",
        "s3.aws-access-key": "${ENV:LAKE_S3_ACCESS_KEY}",
        "s3.aws-secret-key": "${ENV:LAKE_S3_SECRET_KEY}",
    }
    listed = ", ".join(f"{identifier(key)} = {literal(value)}" for key, value in properties.items())
    unless = "" if exclusive else "IF NOT EXISTS "
    trino.execute(f"CREATE CATALOG {unless}{identifier(name)} USING iceberg WITH ({listed})")


def drop_catalog(trino: TrinoClient, name: str) -> None:
    """Drop a catalog if it is there; queries that run already are not disturbed."""
    trino.execute(f"DROP CATALOG IF EXISTS {identifier(name)}")


@contextmanager
def pinned(endpoints: Endpoints, name: str, reference: Reference) -> Iterator[TrinoClient]:
    """Give a client whose catalog ``name`` shows one commit, whatever is published meanwhile.

    The catalog is dropped at the end. Reuse few names: Trino keeps about 1.5 MiB of each that ever was.
    """
    trino = TrinoClient(endpoints.trino, catalog=name)
    drop_catalog(trino, name)
    create_catalog(endpoints, trino, name, reference.pinned)
    try:
        yield trino
    finally:
        # What went wrong before is what the caller must hear of; the next use drops it.
        with suppress(EngineError):
            drop_catalog(trino, name)
