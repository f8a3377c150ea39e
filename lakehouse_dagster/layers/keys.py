"""Keys of the assets: one prefix per pipeline, then the layer, then the name in that layer."""

from __future__ import annotations

import dagster as dg


def source(pipeline: str, table: str) -> dg.AssetKey:
    """A table of the source database."""
    return dg.AssetKey([pipeline, "source", table])


def topic(pipeline: str, table: str) -> dg.AssetKey:
    """The topic that carries a table's changes."""
    return dg.AssetKey([pipeline, "topics", table])


def lake(pipeline: str, table: str) -> dg.AssetKey:
    """The Paimon table."""
    return dg.AssetKey([pipeline, "lake", table])


def publication(pipeline: str) -> dg.AssetKey:
    """What Nessie shows of the pipeline's lake tables."""
    return dg.AssetKey([pipeline, "publication"])


def view(pipeline: str, view: str) -> dg.AssetKey:
    """A serving view."""
    return dg.AssetKey([pipeline, "views", view])


def proof(pipeline: str, table: str) -> dg.AssetKey:
    """The proof that every place holds all of a table."""
    return dg.AssetKey([pipeline, "proof", table])


def mart(pipeline: str, mart: str) -> dg.AssetKey:
    """A mart in Trino."""
    return dg.AssetKey([pipeline, "marts", mart])


def doris_mart(pipeline: str, mart: str) -> dg.AssetKey:
    """A mart in Doris."""
    return dg.AssetKey([pipeline, "doris", mart])


def stream(pipeline: str, stream: str) -> dg.AssetKey:
    """A stream: ``connector``, ``lake`` or ``serving``."""
    return dg.AssetKey([pipeline, "streams", stream])
