"""The command `lakehouse freshness PIPELINE`."""

from __future__ import annotations

import json as json_module
import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.model import Probe
from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.governance.commands import find_contract
from lakehouse_dagster.proof.freshness import LATE_SECONDS, Freshness, probe_places, summarize

#: Exit codes: every place is within the pipeline's limit, one is not, nothing is known or could be asked.
FRESH, STALE, UNKNOWN = 0, 1, 2

WATCH_SECONDS = 5.0
MEASURED_EVERY_SECONDS = 2.0
"""Seconds between two beats of a measurement in the foreground, at most."""


def freshness_command(
    pipeline: Annotated[str, typer.Argument(help="Name of the pipeline.")],
    minutes: Annotated[float, typer.Option(min=1.0, help="The last so many minutes.")] = 10.0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object, nothing else.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every few seconds.")] = False,
    measure: Annotated[
        float | None,
        typer.Option(min=5.0, help="Measure for so many seconds in the foreground, without the service."),
    ] = None,
) -> None:
    """Show how many seconds a committed change of PIPELINE takes until each place can be read with it.

    Exits 0 when 95 of 100 changes were within the pipeline's `slo_seconds` everywhere, 1 when not, and 2 when
    nothing is known or an engine that is needed does not answer.
    """
    from lakehouse_dagster.runtime.endpoints import load_endpoints
    from lakehouse_dagster.runtime.errors import RuntimeFailure

    contract = find_contract(pipeline)
    errors = Console(stderr=True)
    probe = contract.pipeline.probe
    if probe is None:
        errors.print(f"[red]{contract.name} names no probe in its defs.yaml[/red]", highlight=False)
        raise typer.Exit(UNKNOWN)
    if watch and (json or measure is not None):
        errors.print("[red]--watch goes with neither --json nor --measure[/red]", highlight=False)
        raise typer.Exit(UNKNOWN)
    try:
        endpoints = load_endpoints()
        if measure is not None:
            found = measured(contract, probe, endpoints, measure, _reporter(errors, json))
            said = f"{measure:.0f} s measured in the foreground"
        else:
            window = timedelta(minutes=minutes)
            if watch:
                _watch(contract, endpoints, window)
                return
            with ExitStack() as stack:
                found = stack.enter_context(_Stored(contract, endpoints)).read(window)
            said = f"the last {minutes:g} minutes"
    except (EngineError, RuntimeFailure) as error:
        errors.print(f"[red]the freshness of {contract.name} is not known:[/red] {error}", highlight=False)
        raise typer.Exit(UNKNOWN) from error
    if json:
        typer.echo(json_module.dumps(to_json(contract.name, probe, found)))
    else:
        Console().print(table(contract.name, probe, found, said))
    raise typer.Exit(verdict(found, probe))


def measured(
    contract: Contract,
    probe: Probe,
    endpoints: Endpoints,
    seconds: float,
    report: Callable[[str], None] = lambda _: None,
) -> list[Freshness]:
    """Write beats for so long and follow each in every place, Trino included; then wait for the last ones.

    The service may run beside it: both write the same row, and each follows its own beats.
    """
    from lakehouse_dagster.proof.freshness_prober import Probing

    every = min(probe.every_seconds, MEASURED_EVERY_SECONDS)
    probing = Probing(contract, lambda: endpoints, every_seconds=every, sparing=False)
    probing.start()
    try:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(1.0, left))
            report(probing.idle or f"measuring, {left:.0f} s left")
        probing.rest()
        end = time.monotonic() + LATE_SECONDS + 1
        while time.monotonic() < end and (names := probing.ledger.unfinished()):
            report(f"waiting for {', '.join(names)}")
            time.sleep(0.5)
        now = datetime.now(UTC)
        rows = probing.ledger.minute(time.monotonic(), now.timestamp())
    finally:
        probing.stop()
    if not probing.ledger.beats:
        raise EngineError("mysql", probing.idle or "no beat was written")
    return summarize([place.name for place in probe_places(contract)], rows, datetime.now(UTC))


class _Stored:
    """The prober's rows, over one connection."""

    def __init__(self, contract: Contract, endpoints: Endpoints) -> None:
        from lakehouse_dagster.engines.postgres import PostgresClient
        from lakehouse_dagster.proof.freshness_store import FreshnessStore

        self._contract = contract
        self._postgres = PostgresClient(endpoints.postgres)
        self._store = FreshnessStore(self._postgres)

    def __enter__(self) -> _Stored:
        return self

    def __exit__(self, *_: object) -> None:
        self._postgres.close()

    def read(self, window: timedelta) -> list[Freshness]:
        """One entry per place."""
        rows = self._store.minutes(self._contract.name, window)
        names = [place.name for place in probe_places(self._contract)]
        return summarize(names, rows, datetime.now(UTC))


def _watch(contract: Contract, endpoints: Endpoints, window: timedelta) -> None:
    probe = contract.pipeline.probe
    assert probe is not None, "asked before"
    said = f"the last {window.total_seconds() / 60:g} minutes"
    with _Stored(contract, endpoints) as stored, Live(console=Console(), refresh_per_second=1) as live:
        try:
            while True:
                live.update(table(contract.name, probe, stored.read(window), said))
                time.sleep(WATCH_SECONDS)
        except KeyboardInterrupt:
            return


def _reporter(console: Console, silent: bool) -> Callable[[str], None]:
    last = ""

    def report(line: str) -> None:
        nonlocal last
        said = line.split(",")[0]
        if not silent and said != last:
            console.print(line, highlight=False, markup=False)
        last = said

    return report


def verdict(found: Sequence[Freshness], probe: Probe) -> int:
    """The exit code."""
    known = [item.figures.p95 for item in found if item.figures.p95 is not None]
    if len(known) < len(found):
        return UNKNOWN
    return FRESH if all(value <= probe.slo_seconds for value in known) else STALE


def to_json(pipeline: str, probe: Probe, found: Sequence[Freshness]) -> dict[str, Any]:
    """What `lakehouse freshness --json` prints. Seconds; null where unknown, or where beats never arrived."""
    return {
        "pipeline": pipeline,
        "table": probe.table,
        "every_seconds": probe.every_seconds,
        "slo_seconds": probe.slo_seconds,
        "within_slo": verdict(found, probe) == FRESH,
        "places": [item.to_json() for item in found],
    }


def table(pipeline: str, probe: Probe, found: Sequence[Freshness], said: str) -> Table:
    """Seconds from commit to readable, one line per place."""
    shown = Table(title=f"{pipeline}: seconds from commit to readable, {said}", title_justify="left")
    shown.add_column("place")
    for column in ("beats", "p50", "p95", "p99", "max", "missed", "newest beat", "behind"):
        shown.add_column(column, justify="right")
    shown.add_column("")
    for item in found:
        figures = item.figures
        late = figures.p95 is not None and figures.p95 > probe.slo_seconds
        percentiles = (figures.p50, figures.p95, figures.p99, figures.greatest)
        shown.add_row(
            item.place,
            str(figures.beats),
            *(_seconds(value) for value in percentiles),
            str(item.missed),
            "-" if item.age is None else f"{item.age:.0f} s ago",
            f"{item.behind:.1f}",
            item.problem or ("nothing is stored: `lakehouse up prober`" if item.told is None else ""),
            style="red" if late else None,
        )
    return shown


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f">{LATE_SECONDS:.0f}" if math.isinf(value) else f"{value:.2f}"
