"""Commands of the proof: `lakehouse verify PIPELINE`."""

from __future__ import annotations

import json as json_module
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.governance.commands import find_contract
from lakehouse_dagster.proof.verify import Example, Report, Result, Verifier, places

#: Exit codes: all rows equal, a difference was found, the comparison could not be made.
EQUAL, DIFFERENT, UNREADABLE = 0, 1, 2


def verify_command(
    pipeline: Annotated[str, typer.Argument(help="Name of the pipeline.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object, nothing else.")] = False,
    timeout: Annotated[
        float, typer.Option(help="Seconds to wait for changes under way before comparing anyway.")
    ] = 180.0,
) -> None:
    """Compare every row and column of PIPELINE's source with every place it was copied to.

    Exits 0 when nothing differs, 1 on any difference, and 2 when an engine cannot be read or a table was
    left out.
    """
    from lakehouse_dagster.runtime.endpoints import load_endpoints
    from lakehouse_dagster.runtime.submitter import flink_submitter

    contract = find_contract(pipeline)
    errors = Console(stderr=True)
    try:
        with Clients(load_endpoints(), submitter=flink_submitter) as clients:
            report = _run(Verifier(contract, clients, places(contract, clients), timeout), errors)
    except EngineError as error:
        errors.print(f"[red]cannot verify {contract.name}:[/red] {error}", highlight=False)
        raise typer.Exit(UNREADABLE) from error
    if json:
        typer.echo(json_module.dumps(report.to_json()))
    else:
        show(report, Console())
    raise typer.Exit(exit_code(report))


def exit_code(report: Report) -> int:
    """The exit code of a report; the worst of what was found."""
    if report.differs:
        return DIFFERENT
    return UNREADABLE if report.left_out else EQUAL


def _run(verifier: Verifier, console: Console) -> Report:
    with reporter(console, "verifying") as verifier.report:
        return verifier.run()


@contextmanager
def reporter(console: Console, doing: str) -> Iterator[Callable[[str], None]]:
    """Give what shows a line of progress: in place on a terminal, else one below the other."""

    def report(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    if not console.is_terminal:
        yield report
        return
    with console.status(doing) as status:
        yield lambda line: status.update(line)


def show(report: Report, console: Console) -> None:
    """Print a report for people: one table of counts, then the differing rows by name."""
    table = Table(title=f"{report.pipeline}: source against every place", title_justify="left")
    table.add_column("table")
    table.add_column("place")
    for column in ("source rows", "rows", "missing", "extra", "different"):
        table.add_column(column, justify="right")
    for result in report.results:
        found = result.comparison
        label = result.subject.table
        if result.subject.view:
            label = f"{label} as {result.subject.view}"
        numbers = [found.source_rows, found.rows, found.missing, found.extra, found.different]
        style = None if found.equal else "red"
        table.add_row(label, result.subject.place, *(f"{number:,}" for number in numbers), style=style)
    console.print(table)
    for reason in report.unsettled:
        console.print(f"[yellow]not settled:[/yellow] {reason}", highlight=False)
    for name, why in report.left_out.items():
        console.print(Text(f"not compared: {name}: {why}", "red"), soft_wrap=True)
    for result in report.results:
        _show_examples(result, console)
    if report.written and report.differs:
        newer = sum(result.newer for result in report.results)
        console.print(
            f"[yellow]the source was written during all {report.attempts} comparisons[/yellow] "
            f"({newer} of the differing rows are newer than the snapshot); stop the writers and verify again"
        )
    verdict = {
        EQUAL: "[green]no difference[/green]",
        DIFFERENT: "[red]differences found[/red]",
        UNREADABLE: "[red]not everything was compared[/red]",
    }[exit_code(report)]
    console.print(f"{verdict} at {report.position.file}:{report.position.pos} ({report.seconds:.1f} s)")


def _show_examples(result: Result, console: Console) -> None:
    if not result.examples:
        return
    console.print(f"\n[bold]{result.subject.place}: {result.subject.label}[/bold]")
    for example in result.examples:
        console.print(f"  {describe(example)}", highlight=False, markup=False, soft_wrap=True)


def describe(example: Example) -> str:
    """One differing row in one line."""
    key = ", ".join(f"{name}={value}" for name, value in example.key.items())
    if example.kind != "different":
        return f"{example.kind}: {key}"
    columns = ", ".join(
        f"{name} is {_shown(place)}, source has {_shown(source)}"
        for name, (source, place) in example.columns.items()
    )
    return f"different: {key}: {columns}"


def _shown(value: str | None) -> str:
    if value is None:
        return "NULL"
    return value if len(value) <= 60 else f"{value[:57]}..."
