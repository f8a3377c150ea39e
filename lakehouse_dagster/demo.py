"""``lakehouse demo``: from a fresh machine to verified, live data, in one command.

Every step is a command or a Dagster run that a user could issue; the demo only puts them in order, waits for
what Dagster does by itself (the streams are started by its sensor) and prints what came out.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.dagster_api import DagsterApi
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.proof.verify import Report, Verifier, places
from lakehouse_dagster.runtime.endpoints import load_endpoints
from lakehouse_dagster.runtime.errors import RuntimeFailure
from lakehouse_dagster.runtime.settings import Settings
from lakehouse_dagster.runtime.status import resident_bytes
from lakehouse_dagster.samples.flights.latency import Latency
from lakehouse_dagster.samples.flights.tables import ReplayError

PIPELINE = "flights"
STREAMS = ("connector", "lake", "serving")
MART = (PIPELINE, "marts", "delay_by_carrier_hour")
FIRST_DAY = date(2013, 1, 1)
GIB = 1024**3


@dataclass
class Memory:
    """Samples the resident memory of the whole instance while the demo runs."""

    settings: Settings
    peak: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Sample every two seconds until the block ends."""
        thread = threading.Thread(target=self._sample, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(timeout=10)

    def _sample(self) -> None:
        while not self._stop.wait(2):
            self.peak = max(self.peak, resident_bytes(self.settings))


class Steps:
    """Numbered steps with their seconds, so that people see where the time goes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()
        self._number = 0

    @property
    def elapsed(self) -> float:
        """Seconds since the demo began."""
        return time.monotonic() - self._started

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Announce a step and, when it is through, its seconds."""
        self._number += 1
        self._console.rule(f"[bold]{self._number}. {title}", align="left")
        began = time.monotonic()
        yield
        self._console.print(f"[dim]{time.monotonic() - began:.0f} s[/dim]")


def demo_command(
    days: int = typer.Option(3, min=1, help="Days of January 2013 to replay."),
    rate: float = typer.Option(400.0, min=1, help="Changes per second at most."),
    seed: int = typer.Option(2013, help="Seed of the replayed operations."),
) -> None:
    """Install, start, replay real flights through every engine, verify every row, leave the UI open."""
    # Where there is no terminal to measure (CI, a pipe) the closing table needs more than 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 120)
    try:
        equal = _run(console, days=days, rate=rate, seed=seed)
    except (EngineError, RuntimeFailure, ReplayError) as error:
        console.print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(1) from None
    raise typer.Exit(0 if equal else 1)


def _run(console: Console, *, days: int, rate: float, seed: int) -> bool:
    from lakehouse_dagster.governance.commands import find_contract
    from lakehouse_dagster.runtime.commands import install_and_start
    from lakehouse_dagster.runtime.submitter import flink_submitter
    from lakehouse_dagster.samples.flights.commands import replay
    from lakehouse_dagster.samples.flights.latency import measure

    settings = Settings.load()
    memory = Memory(settings)
    steps = Steps(console)
    with memory.watched():
        with steps.step("Install what is missing and start every engine"):
            install_and_start(settings)
        endpoints = load_endpoints(settings)
        dagster = DagsterApi(endpoints.dagster)
        with steps.step("Create the source and load the reference tables"):
            replay(endpoints, reference_only=True)
        with steps.step("Dagster's sensor starts the streams"):
            wait_for_streams(dagster, console.print)
        with steps.step(f"Replay {days} day(s) of flights from {FIRST_DAY}: inserts, updates, deletes"):
            replay(endpoints, day=FIRST_DAY, days=days, rate=rate, seed=seed)
        with steps.step("Build the mart through Dagster"):
            run = dagster.materialize([MART])
            dagster.require_success(run, timeout=600)
            console.print(f"run {run} built {'/'.join(MART)}")
        with steps.step("Compare every row and column with the source"):
            contract = find_contract(PIPELINE)
            with Clients(endpoints, submitter=flink_submitter) as clients:
                report = Verifier(contract, clients, places(contract, clients), report=console.print).run()
        with steps.step("Seconds from commit to readable"):
            latencies = measure(endpoints)
    console.print(summary(report, latencies))
    console.print(
        f"{steps.elapsed / 60:.1f} minutes, peak memory of all engines {memory.peak / GIB:.1f} GiB.\n"
        f"Dagster UI: [bold]{endpoints.dagster.url}[/bold]   stop everything: [bold]lakehouse down[/bold]"
    )
    return report.equal


def wait_for_streams(
    dagster: DagsterApi,
    say: Callable[[str], None] = lambda _: None,
    *,
    pipeline: str = PIPELINE,
    timeout: float = 420.0,
) -> None:
    """Wait until Dagster has started every stream of a pipeline.

    A stream counts as started when its asset has a materialization, which the run that started it reports.
    Raises ``EngineError`` after ``timeout`` seconds, with the errors of the sensor's last ticks.
    """
    deadline = time.monotonic() + timeout
    waiting = list(STREAMS)
    while waiting:
        for stream in list(waiting):
            event = dagster.latest_materialization((pipeline, "streams", stream))
            if event is not None:
                say(f"{pipeline}/{stream}: {event.metadata.get('reason', 'started')}")
                waiting.remove(stream)
        if waiting and time.monotonic() > deadline:
            errors = "; ".join(dagster.sensor_errors(f"{pipeline}_streams")) or "its ticks show no error"
            raise EngineError(
                "dagster", f"streams not started after {timeout:.0f} s: {', '.join(waiting)} ({errors})"
            )
        time.sleep(2)


def summary(report: Report, latencies: list[Latency]) -> Table:
    """One line per table and place: rows, differences, and how fast the place shows a commit."""
    by_place = {latency.place: latency for latency in latencies}
    table = Table(title="Every copy against the source")
    for column in ("table", "place", "source rows", "rows", "missing", "extra", "different", "seconds"):
        table.add_column(column, justify="left" if column in ("table", "place") else "right")
    for result in report.results:
        subject, found = result.subject, result.comparison
        latency = by_place.get(subject.place) if subject.table == "flights" else None
        name = f"{subject.table} ({subject.view})" if subject.view else subject.table
        numbers = (found.source_rows, found.rows, found.missing, found.extra, found.different)
        table.add_row(
            name, subject.place, *(f"{n:,}" for n in numbers), f"{latency.median:.1f}" if latency else ""
        )
    return table
