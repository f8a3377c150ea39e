"""Commands around the contract: ``lakehouse lock``, ``lakehouse render`` and ``lakehouse check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lakehouse_dagster.contract.errors import ContractError
from lakehouse_dagster.contract.loader import DEFS_FILE, DEFS_ROOT, discover, load_contract, read_pipeline
from lakehouse_dagster.contract.lock import compare, pipeline_folder

PipelineArgument = Annotated[str, typer.Argument(help="Name of the pipeline.")]


def lock_command(
    pipeline: PipelineArgument,
    check: Annotated[
        bool, typer.Option("--check", help="Only compare; exit 1 when the source's schema differs.")
    ] = False,
) -> None:
    """Write the source's schema into the pipeline's schema.lock.json and show what changed."""
    # Engines and the runtime are above the contract: only this command, never the contract itself, uses them.
    from lakehouse_dagster.engines.endpoints import READER
    from lakehouse_dagster.engines.errors import EngineError
    from lakehouse_dagster.engines.mysql import MySqlClient
    from lakehouse_dagster.runtime.endpoints import load_endpoints
    from lakehouse_dagster.runtime.errors import RuntimeFailure

    try:
        folder = pipeline_folder(pipeline, DEFS_ROOT)
        model = read_pipeline(folder / DEFS_FILE)
        with MySqlClient(load_endpoints().mysql.acting(READER)) as client:
            new = client.read_schema(model.source.database, [table.name for table in model.tables])
    except (ContractError, EngineError, RuntimeFailure) as error:
        raise _failure(error) from error
    change = compare(folder, new)
    if not change.diff:
        typer.echo(f"{change.path} is up to date ({len(new.tables)} tables).")
        return
    typer.echo(change.diff, nl=False)
    if check:
        typer.echo(f"The source differs from {change.path}; run `lakehouse lock {pipeline}`.", err=True)
        raise typer.Exit(1)
    new.write(folder)
    typer.echo(f"Wrote {change.path} ({len(new.tables)} tables).")
    try:
        load_contract(folder)
    except ContractError as error:
        raise _failure(error) from error


def render_command(
    pipeline: PipelineArgument,
    what: Annotated[
        str | None, typer.Argument(help="One artefact, such as lake.flink.sql; all if left out.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="Write the artefacts to files below this folder, and print nothing.")
    ] = None,
) -> None:
    """Print what a pipeline's contract renders to: connector, topics, Flink SQL, schemas and marts."""
    from lakehouse_dagster.render.artefacts import artefacts
    from lakehouse_dagster.runtime.settings import Settings

    try:
        contract = load_contract(pipeline_folder(pipeline, DEFS_ROOT))
    except ContractError as error:
        raise _failure(error) from error
    settings = Settings.load()
    texts = artefacts(
        contract,
        mysql_port=settings.port("mysql"),
        kafka_bootstrap=f"127.0.0.1:{settings.port('kafka')}",
    )
    if what is not None and what not in texts:
        typer.echo(f"There is no artefact {what!r}; there are: {', '.join(sorted(texts))}.", err=True)
        raise typer.Exit(2)
    if to is not None:
        for name, text in texts.items():
            if what in (None, name):
                path = to / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
        return
    if what is not None:
        typer.echo(texts[what], nl=False)
        return
    for name, text in sorted(texts.items()):
        typer.echo(f"===== {name} =====\n{text}")


def check_command() -> None:
    """Check every pipeline's contract and name everything that is wrong."""
    try:
        contracts = discover()
    except ContractError as error:
        raise _failure(error) from error
    for contract in contracts:
        typer.echo(
            f"{contract.name}: {len(contract.tables)} tables, {len(contract.views)} views,"
            f" {len(contract.marts)} marts"
        )


def _failure(error: Exception) -> typer.Exit:
    typer.echo(str(error), err=True)
    return typer.Exit(1)
