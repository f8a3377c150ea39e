"""The command ``lakehouse drill``."""

from __future__ import annotations

import json as json_module
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console
from rich.markup import escape

from lakehouse_dagster.drills.model import DRILLS, Drill, resolve
from lakehouse_dagster.drills.report import (
    Origin,
    catalogue,
    explanation,
    fill_section,
    measured,
    soak_text,
    table,
)
from lakehouse_dagster.drills.result import Result, newest, read
from lakehouse_dagster.drills.session import NotHealthyError, Session
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.runtime.errors import RuntimeFailure
from lakehouse_dagster.runtime.settings import Settings

PASSED, FAILED, REFUSED = 0, 1, 2
"""Exit codes: all passed, something did not, nothing could be done."""

SOAK = "soak"


def drill_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Drills, or `all`, or `soak`; without names they are listed.", metavar="[NAME]..."
        ),
    ] = None,
    rate: Annotated[float, typer.Option(min=1, help="Changes per second written meanwhile.")] = 60.0,
    seed: Annotated[int, typer.Option(help="Chooses what is written, and what the soak kills.")] = 1,
    kills: Annotated[int, typer.Option(min=1, help="Kills of the soak.")] = 50,
    allowed: Annotated[
        float | None, typer.Option(min=1, help="Seconds a repair may take, instead of each drill's own.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object per drill.")] = False,
    report: Annotated[
        Path | None,
        typer.Option(help="Write the results so far into this document's marked sections; drills nothing."),
    ] = None,
) -> None:
    """Inject a fault while the sample's source is written to; time the repair, then compare every row.

    Refuses an instance that is not healthy. Exits 0 when everything passed, 1 when not, 2 when the drill
    could not be done. Interrupted, it takes the fault back.
    """
    settings = Settings.load()
    if report is not None:
        write_report(settings, report)
        return
    if not names:
        typer.echo("\n".join(f"{drill.name:24} {drill.injects}" for drill in DRILLS.values()))
        typer.echo(f"{SOAK:24} random kills, one after the other (--kills, --seed)")
        return
    errors = Console(stderr=True, highlight=False)
    code = REFUSED
    try:
        with _terminable():
            code = (
                _soak(settings, rate, seed, kills, json)
                if names == [SOAK]
                else _drills(settings, _within(resolve(names), allowed), rate, seed, json)
            )
    except KeyboardInterrupt:
        errors.print("stopped; what the drill had done was taken back")
        raise typer.Exit(130) from None
    except KeyError as error:
        errors.print(f"[red]error:[/red] {escape(str(error.args[0]))}", soft_wrap=True)
    except NotHealthyError as error:
        errors.print(f"[red]refused:[/red] {escape(str(error))}", soft_wrap=True)
    except (EngineError, RuntimeFailure) as error:
        errors.print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True)
    raise typer.Exit(code)


def _within(drills: list[Drill], allowed: float | None) -> list[Drill]:
    return drills if allowed is None else [replace(drill, limit=allowed) for drill in drills]


def _drills(settings: Settings, drills: list[Drill], rate: float, seed: int, json: bool) -> int:
    session = Session(settings, rate, seed, results_file(settings), _log(json))
    results: list[Result] = []
    with session.open(f"drill {' '.join(drill.name for drill in drills)}"[:200]) as site:
        for drill in drills:
            session.log(f"-- {drill.name}: {drill.injects}")
            result = session.run(drill, site)
            results.append(result)
            _tell(result, json)
    if not json:
        Console(width=_width()).print(table(results, "Drills"))
    return PASSED if all(result.passed for result in results) else FAILED


def _soak(settings: Settings, rate: float, seed: int, kills: int, json: bool) -> int:
    session = Session(settings, rate, seed, soak_file(settings), _log(json))
    # A soak is one experiment: its file holds this one's results only.
    session.results.unlink(missing_ok=True)
    results: list[Result] = []
    with session.open(f"drill soak --kills {kills} --seed {seed}") as site:
        for result in session.soak(kills, site):
            results.append(result)
            _tell(result, json)
    if not json:
        Console(width=_width()).print(table(results, f"Soak, seed {seed}"))
        typer.echo(soak_text(results))
    done = len(results) == kills and all(result.passed for result in results)
    return PASSED if done else FAILED


def write_report(settings: Settings, document: Path) -> None:
    """Fill the sections ``drills`` and ``results`` of a Markdown document from the results so far.

    Raises ``ValueError`` when the document has no such sections.
    """
    text = document.read_text(encoding="utf-8")
    text = fill_section(text, "drills", catalogue())
    results = newest(read(results_file(settings))).values()
    text = fill_section(text, "results", measured(results, read(soak_file(settings)), origin(settings)))
    document.write_text(text, encoding="utf-8")
    typer.echo(f"wrote {len(results)} results into {document}")


def results_file(settings: Settings) -> Path:
    """Where the results of an instance's drills are kept."""
    return settings.data / "drills" / "results.jsonl"


def soak_file(settings: Settings) -> Path:
    """Where the results of an instance's last soak are kept."""
    return settings.data / "drills" / "soak.jsonl"


def origin(settings: Settings) -> Origin:
    """Describe this machine and the commit at work."""
    done = subprocess.run(
        ["git", "-C", str(settings.project), "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    memory = psutil.virtual_memory().total / 1024**3
    return Origin(
        command="made by `lakehouse drill NAME` (all of them: `make drills`, `make soak KILLS=50`), "
        "written here by `lakehouse drill --report docs/reliability.md`; what has no line here was not run "
        "for it",
        machine=f"{os.cpu_count()} cores, {memory:.0f} GiB of memory, everything on one machine",
        commit=done.stdout.strip() or "unknown",
    )


def _tell(result: Result, json: bool) -> None:
    if json:
        typer.echo(json_module.dumps(result.to_json()))
        return
    verdict = "[green]PASS[/green]" if result.passed else "[red]FAIL[/red]"
    console = Console(highlight=False, width=_width())
    console.print(f"{verdict} {result.drill}")
    for line in explanation(result):
        console.print(f"  {escape(line)}", soft_wrap=True)


def _log(json: bool) -> Callable[[str], None]:
    console = Console(stderr=json, highlight=False, markup=False, width=_width())
    began = time.monotonic()

    def log(line: str) -> None:
        console.print(f"{time.monotonic() - began:7.1f}  {line}", soft_wrap=True)

    return log


def _width() -> int | None:
    return None if sys.stdout.isatty() else 140


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does: a drill that is ended takes its fault back."""

    def interrupt(_number: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
