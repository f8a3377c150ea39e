"""Commands of lineage: ``lakehouse trace`` and ``lakehouse lineage``."""

from __future__ import annotations

import json as json_module
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.governance.commands import find_contract

if TYPE_CHECKING:
    from lakehouse_dagster.lineage.columns import ColumnGraph

NEVER_SEEN = 1
FAILED = 2

PipelineArgument = Annotated[str, typer.Argument(help="Name of the pipeline.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def trace_command(
    pipeline: PipelineArgument,
    key: Annotated[
        list[str],
        typer.Option(
            "--key",
            help="The primary key: a value, COLUMN=VALUE for each column, or a JSON object.",
            show_default=False,
        ),
    ],
    table: Annotated[
        str | None,
        typer.Option("--table", help="The source table; by default the one called like the pipeline."),
    ] = None,
    position: Annotated[
        int | None,
        typer.Option("--position", help="Source position of the change; the newest by default."),
    ] = None,
    most: Annotated[
        int, typer.Option("--most", min=1, help="Records of the topic that are read at most.")
    ] = 2_000_000,
    json: JsonOption = False,
) -> None:
    """Show one row's newest change on its way: transaction, record, snapshot, publication, views.

    Exits 0 when the change was found, 1 when the key was never seen, 2 when it cannot be told.
    """
    from lakehouse_dagster.engines.clients import Clients
    from lakehouse_dagster.lineage.journey import Arrival
    from lakehouse_dagster.lineage.show import show_journey
    from lakehouse_dagster.lineage.trace import NeverSeen, WrongKey, parse_key, trace
    from lakehouse_dagster.runtime.endpoints import load_endpoints
    from lakehouse_dagster.runtime.errors import RuntimeFailure

    console = Console(stderr=True)
    contract = find_contract(pipeline)
    name = _table(contract, table, console)
    try:
        wanted = parse_key(contract, name, given_key(key))
        with Clients(load_endpoints()) as clients, console.status("") as status:
            journey = trace(
                contract,
                clients,
                name,
                wanted,
                position=position,
                most=most,
                report=lambda line: status.update(escape(line)),
            )
    except NeverSeen as answer:
        if json:
            typer.echo(json_module.dumps({"pipeline": contract.name, "table": name, "change": None}))
        console.print(f"[yellow]{escape(str(answer))}[/yellow]", soft_wrap=True)
        raise typer.Exit(NEVER_SEEN) from answer
    except (EngineError, RuntimeFailure, WrongKey) as error:
        console.print(f"[red]{escape(str(error))}[/red]", soft_wrap=True)
        raise typer.Exit(FAILED) from error
    if json:
        typer.echo(json_module.dumps(journey.to_json(), indent=2))
    else:
        show_journey(journey, Console())
    if any(hop.arrival is Arrival.FAILED for hop in journey.hops):
        raise typer.Exit(FAILED)


def given_key(options: list[str]) -> dict[str, Any] | str:
    """What ``--key`` says: texts by column, or one text for a key of one column.

    A single ``12345`` is a value, ``id=12345`` a column's, ``{"id": 12345}`` an object of all columns.

    Raises:
        WrongKey: Several options of which one names no column.
    """
    from lakehouse_dagster.lineage.trace import WrongKey

    if len(options) == 1:
        (only,) = options
        if only.lstrip().startswith("{"):
            try:
                body = json_module.loads(only)
            except ValueError as error:
                raise WrongKey(f"--key {only!r} is no JSON object: {error}") from error
            return {str(name): value for name, value in body.items()}
        if "=" not in only:
            return only
    found = {}
    for option in options:
        name, mark, text = option.partition("=")
        if not mark:
            raise WrongKey(f"--key {option!r} names no column: write --key COLUMN=VALUE for each")
        found[name] = text
    return found


def _table(contract: Contract, name: str | None, console: Console) -> str:
    known = [table.name for table in contract.tables]
    if name is None:
        name = contract.name if contract.name in known else (known[0] if len(known) == 1 else None)
    if name not in known:
        said = f"{contract.name} has no table {name!r}" if name else "say which table with --table"
        console.print(f"[red]{said}; its tables: {', '.join(known)}[/red]")
        raise typer.Exit(FAILED)
    return str(name)


def lineage_command(
    pipeline: PipelineArgument,
    column: Annotated[
        str | None,
        typer.Option(
            "--column",
            help="DATASET.COLUMN (the first on the way), LAYER/DATASET.COLUMN; all marts if left out.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show what a column comes from and what comes from it, as trees.

    Asks no engine. Exits 2 when there is no such column.
    """
    from lakehouse_dagster.lineage.columns import ColumnGraph, Layer
    from lakehouse_dagster.lineage.show import lineage_json, show_lineage

    graph = ColumnGraph(find_contract(pipeline))
    if column is None:
        wanted = [one for one in graph.upstream if one.dataset.layer is Layer.MARTS]
    else:
        wanted = graph.find(column)
        if not wanted:
            Console(stderr=True).print(f"[red]{escape(_no_column(graph, column))}[/red]", soft_wrap=True)
            raise typer.Exit(FAILED)
        if "/" not in column:
            # A table's column is called the same all the way; its tree from the beginning shows all of it.
            del wanted[1:]
    if json:
        typer.echo(json_module.dumps([lineage_json(graph, one) for one in wanted], indent=2))
        return
    show_lineage(graph, wanted, Console(), both=column is not None)


def _no_column(graph: ColumnGraph, name: str) -> str:
    from difflib import get_close_matches

    known = {f"{column.dataset.name}.{column.name}" for column in graph.upstream}
    near = get_close_matches(name.rpartition("/")[2], known, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "name it DATASET.COLUMN, as flights.dep_delay"
    return f"there is no column {name!r}: {hint}"
