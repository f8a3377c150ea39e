"""``lakehouse canary``: one round of every edge of every type."""

from __future__ import annotations

import typer

from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.samples.canary.play import play


def canary_command() -> None:
    """Insert, update and delete rows with every edge of every type in the source's database `canary`.

    Compare them with `lakehouse verify canary`.
    """
    from lakehouse_dagster.runtime.endpoints import load_endpoints

    try:
        with Clients(load_endpoints()) as clients:
            done = play(clients.mysql)
    except EngineError as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        raise typer.Exit(2) from error
    typer.echo(
        f"round {done.number}: {done.inserted} inserted, {done.updated} updated, {done.deleted} deleted"
    )
