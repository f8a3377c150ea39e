"""Commands of governance: `lakehouse publish PIPELINE`."""

from __future__ import annotations

import json as json_module
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.errors import ContractError
from lakehouse_dagster.contract.loader import discover
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.governance.gate import WAIVABLE
from lakehouse_dagster.governance.publisher import Publication, publish_once


def publish_command(
    pipeline: Annotated[str, typer.Argument(help="Name of the pipeline.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    waive: Annotated[
        list[str] | None,
        typer.Option(help=f"A check that need not pass this time: {', '.join(WAIVABLE)}."),
    ] = None,
) -> None:
    """Make the newest version of every lake table of PIPELINE visible in Nessie, in one commit.

    The publisher does this all the time by itself; by hand it also takes back what somebody else put on
    the branch for these tables. Exits 2 when an engine cannot be reached, or when a check refuses it.
    """
    from lakehouse_dagster.runtime.endpoints import load_endpoints

    contract = find_contract(pipeline)
    waived = [check for check in WAIVABLE if check in (waive or ())]
    unknown = sorted(set(waive or ()) - set(waived))
    if unknown:
        message = f"{', '.join(unknown)} cannot be waived; name some of: {', '.join(WAIVABLE)}"
        Console(stderr=True).print(f"[red]{message}[/red]")
        raise typer.Exit(2)
    try:
        publication = publish_once(contract, load_endpoints(), requested_by="lakehouse publish", waive=waived)
    except EngineError as error:
        Console(stderr=True).print(f"[red]{error}[/red]")
        raise typer.Exit(2) from error
    if json:
        typer.echo(json_module.dumps(publication_json(contract.name, publication)))
        return
    if publication is None:
        typer.echo(f"{contract.name}: Nessie already shows the newest version of every table")
        return
    table = Table(title=f"{contract.name} published as {publication.hash[:12]}")
    for column in ("table", "moved", "Paimon snapshot", "rows", "source position"):
        table.add_column(column, justify="left" if column in {"table", "moved"} else "right")
    for name, version in publication.tables.items():
        table.add_row(
            name,
            "yes" if name in publication.changed else "",
            str(version.paimon_snapshot),
            "" if version.rows is None else str(version.rows),
            "" if version.position is None else str(version.position),
        )
    Console().print(table)


def publication_json(pipeline: str, publication: Publication | None) -> dict[str, object]:
    """What `lakehouse publish --json` prints; `hash` is null when there was nothing to publish."""
    if publication is None:
        return {"pipeline": pipeline, "hash": None, "changed": [], "tables": []}
    return {
        "pipeline": pipeline,
        "hash": publication.hash,
        "changed": list(publication.changed),
        "tables": [
            {
                "table": name,
                "paimon_snapshot": version.paimon_snapshot,
                "iceberg_snapshot": version.content.snapshot_id,
                "position": version.position,
                "committed_at": version.committed_at,
                "rows": version.rows,
                "bytes": version.bytes,
            }
            for name, version in publication.tables.items()
        ],
    }


def find_contract(pipeline: str) -> Contract:
    """The contract of that name; exits 2 with the problem and the known names otherwise."""
    console = Console(stderr=True)
    try:
        contracts = {contract.name: contract for contract in discover()}
    except ContractError as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(2) from error
    if pipeline not in contracts:
        known = ", ".join(sorted(contracts)) or "none"
        console.print(f"[red]there is no pipeline {pipeline!r}; known pipelines: {known}[/red]")
        raise typer.Exit(2)
    return contracts[pipeline]
