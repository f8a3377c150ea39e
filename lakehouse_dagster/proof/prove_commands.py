"""Commands of the running proof: `lakehouse prove PIPELINE` and `lakehouse proofs PIPELINE`."""

from __future__ import annotations

import getpass
import json as json_module
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.governance.commands import find_contract
from lakehouse_dagster.proof.commands import describe, reporter
from lakehouse_dagster.proof.proof_store import ProofStore
from lakehouse_dagster.proof.proofs import DEFAULT_RATE, DEFAULT_ROUNDS, DEFAULT_TIMEOUT, Proof
from lakehouse_dagster.proof.prove import ProofReport, prove
from lakehouse_dagster.proof.subject import PLACES, PlaceName, subjects

#: Exit codes: every row proven, a row is wrong, something could not be compared, rows remain unsettled.
COMPLETE, DIFFERENT, UNREADABLE, UNSETTLED = 0, 1, 2, 3


def prove_command(
    pipeline: Annotated[str, typer.Argument(help="Name of the pipeline.")],
    table: Annotated[
        list[str] | None, typer.Option("--table", help="Only this table; may be given several times.")
    ] = None,
    place: Annotated[
        list[str] | None,
        typer.Option("--place", help=f"Only this place ({', '.join(PLACES)}); may be given several times."),
    ] = None,
    rate: Annotated[
        float, typer.Option(help="Rows per second read from the source at most; 0 sets no bound.", min=0)
    ] = DEFAULT_RATE,
    rounds: Annotated[
        int, typer.Option(help="Consistent reads of the source at most.", min=1)
    ] = DEFAULT_ROUNDS,
    timeout: Annotated[
        float, typer.Option(help="Seconds that a place is waited for in each round.")
    ] = DEFAULT_TIMEOUT,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object, nothing else.")] = False,
) -> None:
    """Prove that every place of PIPELINE holds all of the source up to a position, while it is written.

    Exits 0 when every row was proven, 1 when a row is wrong, 2 when something could not be compared, and 3
    when nothing is wrong but rows kept changing and remain unsettled.
    """
    from lakehouse_dagster.runtime.endpoints import load_endpoints
    from lakehouse_dagster.runtime.errors import RuntimeFailure
    from lakehouse_dagster.runtime.submitter import flink_submitter

    contract = find_contract(pipeline)
    only = _places(contract, place)
    _check_tables(contract, table)
    errors = Console(stderr=True)
    try:
        with (
            Clients(load_endpoints(), submitter=flink_submitter) as clients,
            reporter(errors, "proving") as say,
        ):
            report = prove(
                contract,
                clients,
                tables=table or None,
                only=only,
                rate=rate or None,
                rounds=rounds,
                timeout=timeout,
                actor=f"{getpass.getuser()} (lakehouse prove)",
                report=say,
            )
    except (EngineError, RuntimeFailure) as error:
        errors.print(f"[red]cannot prove {contract.name}:[/red] {error}", highlight=False)
        raise typer.Exit(UNREADABLE) from error
    if json:
        typer.echo(json_module.dumps(report_json(report)))
    else:
        show(report, Console())
    raise typer.Exit(exit_code(report))


def proofs_command(
    pipeline: Annotated[str, typer.Argument(help="Name of the pipeline.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON list, nothing else.")] = False,
) -> None:
    """Show the newest proof of each table and place: complete up to where, and how old that is.

    Exits 1 when the newest proof of some table and place is not complete or there is none, and 2 when the
    history cannot be read.
    """
    from lakehouse_dagster.runtime.endpoints import load_endpoints
    from lakehouse_dagster.runtime.errors import RuntimeFailure

    contract = find_contract(pipeline)
    try:
        with Clients(load_endpoints()) as clients:
            store = ProofStore(clients.postgres)
            newest, complete = store.newest(contract.name), store.newest(contract.name, complete=True)
    except (EngineError, RuntimeFailure) as error:
        Console(stderr=True).print(f"[red]{error}[/red]", highlight=False)
        raise typer.Exit(UNREADABLE) from error
    rows = standing(contract, newest, complete, datetime.now(UTC))
    if json:
        typer.echo(json_module.dumps(rows))
    else:
        Console().print(standing_table(contract.name, rows))
    if not all(row["complete"] for row in rows):
        raise typer.Exit(DIFFERENT)


def exit_code(report: ProofReport) -> int:
    """The exit code of a report; the worst of what was found."""
    if report.differences:
        return DIFFERENT
    if report.problems or not report.outcomes:
        return UNREADABLE
    return UNSETTLED if report.unsettled else COMPLETE


def report_json(report: ProofReport) -> dict[str, object]:
    """As `lakehouse prove --json` prints it."""
    return {
        "pipeline": report.pipeline,
        "complete": exit_code(report) == COMPLETE,
        "position": {
            "file": report.position.file,
            "pos": report.position.pos,
            "gtids": report.position.gtids,
        },
        "as_of": report.as_of.isoformat(),
        "seconds": round(report.seconds, 1),
        "problems": dict(report.problems),
        "tables": [outcome.proof.to_json() for outcome in report.outcomes],
    }


def show(report: ProofReport, console: Console) -> None:
    """Print a report for people."""
    table = Table(title=f"{report.pipeline}: proven while it was written", title_justify="left")
    table.add_column("table")
    table.add_column("place")
    numbers = ("source rows", "rows", "missing", "extra", "different", "unsettled", "rounds")
    for column in numbers:
        table.add_column(column, justify="right")
    for outcome in report.outcomes:
        proof = outcome.proof
        counts = [proof.source_rows, proof.rows, proof.missing, proof.extra, proof.different, proof.unsettled]
        style = "red" if proof.differences else "yellow" if proof.unsettled else None
        table.add_row(
            proof.label, proof.place, *(f"{count:,}" for count in counts), str(proof.rounds), style=style
        )
    console.print(table)
    for outcome in report.outcomes:
        if outcome.examples:
            console.print(f"\n[bold]{outcome.proof.place}: {outcome.subject.label}[/bold]")
        for example in outcome.examples:
            console.print(f"  {describe(example)}", highlight=False, markup=False, soft_wrap=True)
    for where, why in report.problems.items():
        console.print(Text(f"not compared: {where}: {why}", "red"), soft_wrap=True)
    said = {
        COMPLETE: "[green]complete[/green]",
        DIFFERENT: "[red]differences found[/red]",
        UNREADABLE: "[red]not everything could be compared[/red]",
        UNSETTLED: "[yellow]nothing is wrong; rows that kept changing remain unsettled[/yellow]",
    }[exit_code(report)]
    console.print(
        f"{said} up to {report.position.file}:{report.position.pos}, the source of "
        f"{report.as_of:%Y-%m-%d %H:%M:%S} UTC ({report.seconds:.1f} s)",
        highlight=False,
    )


def standing(
    contract: Contract, newest: Sequence[Proof], complete: Sequence[Proof], now: datetime
) -> list[dict[str, object]]:
    """The newest proof of each table and place of the contract, those included that were never proven.

    `complete_age_seconds` is how old the newest state of the source is that was proven whole.
    """
    last = {(p.table, p.place, p.view): p for p in newest}
    whole = {(p.table, p.place, p.view): p for p in complete}
    rows: list[dict[str, object]] = []
    for subject in subjects(contract):
        key = (subject.table, subject.place, subject.view)
        proof, proven = last.get(key), whole.get(key)
        row: dict[str, object] = {"table": subject.table, "place": subject.place, "view": subject.view}
        row["complete"] = proof is not None and proof.complete
        row["newest"] = None if proof is None else proof.to_json()
        row["age_seconds"] = None if proof is None else round(proof.age(now), 1)
        row["complete_up_to"] = None if proven is None else proven.to_json()["complete_up_to"]
        row["complete_age_seconds"] = None if proven is None else round(proven.age(now), 1)
        rows.append(row)
    return rows


def standing_table(pipeline: str, rows: Sequence[dict[str, object]]) -> Table:
    """The newest proofs as people read them."""
    table = Table(title=f"{pipeline}: what is proven", title_justify="left")
    for column in ("table", "place", "complete up to", "this old", "rows", "newest proof"):
        right = column in {"this old", "rows"}
        table.add_column(column, justify="right" if right else "left", no_wrap=column != "newest proof")
    for row in rows:
        newest, proven = row["newest"], row["complete_up_to"]
        view = f" as {row['view']}" if row["view"] else ""
        table.add_row(
            f"{row['table']}{view}",
            str(row["place"]),
            f"{proven['file']}:{proven['pos']}" if isinstance(proven, dict) else "-",
            age_text(row["complete_age_seconds"]),
            f"{newest['rows']:,}" if isinstance(newest, dict) else "-",
            Text(_said(newest), "green" if row["complete"] else "red" if newest else "yellow"),
        )
    return table


def _said(newest: object) -> str:
    if not isinstance(newest, dict):
        return "never proven"
    if newest["complete"]:
        return "complete"
    counts = ((newest[name], name) for name in ("missing", "extra", "different", "unsettled"))
    return ", ".join(f"{count:,} {name}" for count, name in counts if count)


def age_text(seconds: object) -> str:
    """An age in its largest unit or two."""
    if not isinstance(seconds, int | float):
        return "-"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _places(contract: Contract, names: Sequence[str] | None) -> list[PlaceName] | None:
    if not names:
        return None
    there = {subject.place for subject in subjects(contract)}
    wrong = [name for name in names if name not in there]
    if wrong:
        _bad_input(f"{contract.name} has no place {', '.join(wrong)}; it has {', '.join(sorted(there))}")
    return [name for name in PLACES if name in names]


def _check_tables(contract: Contract, names: Sequence[str] | None) -> None:
    known = [table.name for table in contract.tables]
    wrong = [name for name in names or () if name not in known]
    if wrong:
        _bad_input(f"{contract.name} has no table {', '.join(wrong)}; it has {', '.join(known)}")


def _bad_input(said: str) -> NoReturn:
    Console(stderr=True).print(f"[red]{said}[/red]", highlight=False)
    raise typer.Exit(UNREADABLE)
