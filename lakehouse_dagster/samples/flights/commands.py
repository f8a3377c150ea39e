"""The command ``lakehouse replay flights``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from typing import Annotated, Any

import typer
from pymysql.connections import Connection
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.mysql import MySqlClient
from lakehouse_dagster.runtime.endpoints import load_endpoints
from lakehouse_dagster.runtime.errors import RuntimeFailure
from lakehouse_dagster.samples.flights.data import FIRST_DAY, DataError, FlightData
from lakehouse_dagster.samples.flights.events import earliest
from lakehouse_dagster.samples.flights.replay import Plan, Status, Summary, run_plan
from lakehouse_dagster.samples.flights.tables import (
    REFERENCE,
    ReplayError,
    create_tables,
    empty_tables,
    load_reference,
    session,
)

PLAIN_SECONDS = 5.0
"""Seconds between two lines of progress when the output is not a terminal."""

replay_command = typer.Typer(no_args_is_help=True, help="Play a source system against MySQL, with real data.")


@replay_command.callback()
def _samples() -> None:
    # Keeps the sample's name a subcommand although there is only one.
    pass


@replay_command.command("flights")
def flights(
    day: Annotated[
        datetime, typer.Option(formats=["%Y-%m-%d"], help="First day, 2013-01-01 to 2013-12-31.")
    ] = datetime(FIRST_DAY.year, FIRST_DAY.month, FIRST_DAY.day),
    days: Annotated[int, typer.Option(help="Number of days.")] = 1,
    speed: Annotated[
        float,
        typer.Option(help="Simulated seconds per second: 600 plays a day in 2.4 minutes; 0 is no clock."),
    ] = 0.0,
    rate: Annotated[float, typer.Option(help="At most this many changes per second; 0 is no limit.")] = 0.0,
    seed: Annotated[
        int, typer.Option(help="Chooses when flights are entered, who gets estimates, transactions' sizes.")
    ] = 2013,
    reference_only: Annotated[
        bool, typer.Option("--reference-only", help="Only create the tables and load the reference tables.")
    ] = False,
    reset: Annotated[bool, typer.Option("--reset", help="Delete all rows of the sample first.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before deleting.")] = False,
    database: Annotated[
        str | None, typer.Option(help="Another database than the sample's; it must exist.")
    ] = None,
) -> None:
    """Play the airlines' operations system for flights that left New York in 2013.

    Flights are inserted when scheduled, updated when they are delayed, depart and land, and deleted when
    cancelled, in small transactions. Tables are created and the reference tables loaded when missing.
    Interrupted at any point, the same command goes on where it stopped.
    """
    errors = Console(stderr=True, highlight=False)
    try:
        plan = Plan(day.date(), days, seed, speed, rate)
        endpoints = load_endpoints()
        if reset and not yes:
            target = database or endpoints.mysql.database
            typer.confirm(f"Delete all rows of the sample's tables in database {target}?", abort=True)
        _replay(endpoints, plan, reference_only=reference_only, reset=reset, database=database)
    except KeyboardInterrupt:
        errors.print("stopped; the same command goes on from here")
        raise typer.Exit(130) from None
    except (ReplayError, DataError, EngineError, RuntimeFailure) as error:
        errors.print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(1) from None


def replay(
    endpoints: Endpoints,
    *,
    day: date = FIRST_DAY,
    days: int = 1,
    speed: float = 0.0,
    rate: float = 0.0,
    seed: int = 2013,
    reference_only: bool = False,
    reset: bool = False,
    database: str | None = None,
    console: Console | None = None,
) -> Summary | None:
    """Do what ``lakehouse replay flights`` does, without asking; None with `reference_only`.

    Raises EngineUnavailable when MySQL does not answer, ReplayError when the replay cannot go on.
    """
    plan = Plan(day, days, seed, speed, rate)
    return _replay(
        endpoints, plan, reference_only=reference_only, reset=reset, database=database, console=console
    )


def _replay(
    endpoints: Endpoints,
    plan: Plan,
    *,
    reference_only: bool,
    reset: bool,
    database: str | None,
    console: Console | None = None,
) -> Summary | None:
    console = console or Console(highlight=False)
    target = database or endpoints.mysql.database
    data = FlightData()
    with session(MySqlClient(endpoints.mysql), target) as connection:
        created = create_tables(connection)
        if created:
            console.print(f"created tables {', '.join(created)}")
        if reset:
            console.print(f"deleted {empty_tables(connection):,} rows of database {target}")
        _load(console, connection, data)
        if reference_only:
            return None
        with _shown(console, plan) as show:
            summary = run_plan(connection, data, plan, show)
    _report(console, plan, summary)
    return summary


def _load(console: Console, connection: Connection[Any], data: FlightData) -> None:
    started = time.monotonic()
    written = load_reference(connection, data)
    if written:
        seconds = time.monotonic() - started
        console.print(f"loaded {written:,} rows into {', '.join(REFERENCE)} in {seconds:.1f} s")


@contextmanager
def _shown(console: Console, plan: Plan) -> Iterator[Callable[[Status], None]]:
    """Give a function that shows a Status: a bar on a terminal, a line now and then elsewhere."""
    begin = earliest(plan.dates[0])
    end = earliest(plan.dates[-1]) + timedelta(hours=40)
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[changes]:,} changes  {task.fields[rate]:,.0f}/s"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("starting", total=(end - begin).total_seconds(), changes=0, rate=0.0)

        def show(status: Status) -> None:
            bar.update(
                task,
                description=f"{status.clock:%Y-%m-%d %H:%M} UTC",
                completed=(status.clock - begin).total_seconds(),
                changes=status.changes,
                rate=status.per_second,
            )

        yield show
        bar.update(task, completed=(end - begin).total_seconds())


class _Lines:
    """A line of progress every few seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = PLAIN_SECONDS

    def __call__(self, status: Status) -> None:
        if status.seconds >= self._next:
            self._next = status.seconds + PLAIN_SECONDS
            self._console.print(
                f"{status.clock:%Y-%m-%d %H:%M} UTC  {status.changes:,} changes  {status.per_second:,.0f}/s"
            )


def _report(console: Console, plan: Plan, summary: Summary) -> None:
    last = plan.dates[-1]
    span = str(plan.first_day) if plan.days == 1 else f"{plan.first_day} to {last}"
    if not summary.total:
        console.print(f"{span} was replayed before; choose other days, or start over with --reset")
        return
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(summary.changes.items()))
    console.print(
        f"{span}: {summary.total:,} changes ({kinds}) in {summary.transactions:,} transactions,"
        f" {summary.seconds:.1f} s, {summary.per_second:,.0f} changes/s",
        soft_wrap=True,
    )
    if summary.resumed:
        console.print(f"{summary.resumed:,} changes had been made before")
    if summary.unmatched:
        console.print(
            f"[yellow]{summary.unmatched:,} changes met no such flight: somebody else deleted it[/yellow]"
        )
