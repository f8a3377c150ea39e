"""The commands of the native runtime. Imports of engines' clients wait until a command needs them."""

from __future__ import annotations

import json as json_module
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from lakehouse_dagster.runtime.errors import RuntimeFailure
from lakehouse_dagster.runtime.settings import Settings

if TYPE_CHECKING:
    from lakehouse_dagster.runtime.lifecycle import Event

app = typer.Typer(help="The native runtime: real engines as loopback processes.", no_args_is_help=True)

_MARKS = {
    "waiting": ("·", "dim"),
    "starting": ("…", "yellow"),
    "stopping": ("…", "yellow"),
    "ready": ("✓", "green"),
    "stopped": ("✓", "green"),
    "failed": ("✗", "red"),
    "skipped": ("-", "red"),
}

Names = Annotated[list[str] | None, typer.Argument(help="Services; all when none is given.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def up(names: Names = None) -> None:
    """Install what is missing, start every engine (or NAMES and what they need), wait until each answers."""
    with _failures():
        install_and_start(Settings.load(), tuple(names or ()))


@app.command()
def down(names: Names = None) -> None:
    """Stop everything (or NAMES and what depends on them), gently. Loses nothing."""
    from lakehouse_dagster.runtime.lifecycle import Down

    settings = Settings.load()
    console = Console()
    began = time.monotonic()
    with _failures(), _progress(console) as report:
        Down(settings, report, console.print).run(names or ())
    console.print(f"stopped in {time.monotonic() - began:.0f} s")


@app.command()
def status(json: Json = False) -> None:
    """Show what runs: version, process, port, memory, uptime, whether it answers. Exits 1 when not all do."""
    from lakehouse_dagster.runtime.status import human_bytes, human_seconds, read_status

    with _failures():
        found = read_status(Settings.load())
    if json:
        typer.echo(json_module.dumps(found.to_json(), indent=2))
    else:
        table = Table(box=None, pad_edge=False)
        for column in ("service", "version", "pid", "port", "memory", "uptime", "ready", ""):
            table.add_column(
                column, justify="right" if column in {"pid", "port", "memory", "uptime"} else "left"
            )
        for row in found.rows:
            table.add_row(
                row.service,
                row.version,
                str(row.pid or "-"),
                str(row.port or "-"),
                human_bytes(row.memory) if row.pid else "-",
                human_seconds(row.uptime),
                Text("yes", "green") if row.ready else Text("no" if row.pid else row.state, "red"),
                Text(row.detail, "dim"),
            )
        console = Console(width=None if sys.stdout.isatty() else 160)
        console.print(table)
        console.print(f"resident memory of all: {human_bytes(found.memory)}")
        if found.unwatched:
            console.print(
                f"[red]no supervisor runs, but {len(found.unwatched)} processes of this instance do: "
                "`lakehouse up` or `lakehouse down` puts that right[/]"
            )
        for row in found.rows:
            if row.note:
                console.print(Text(f"{row.service}: {row.note}", "dim"))
        for name, reason in found.absent.items():
            console.print(Text(f"{name}: {reason}", "dim"))
    if not found.ready:
        raise typer.Exit(1)


@app.command()
def doctor(json: Json = False) -> None:
    """Check what the machine must offer, name the fix for what it lacks. Exits 1 when it cannot work so."""
    from lakehouse_dagster.runtime.doctor import examine, healthy, to_json

    with _failures():
        findings = examine(Settings.load())
    if json:
        typer.echo(json_module.dumps(to_json(findings), indent=2))
    else:
        console = Console()
        for finding in findings:
            mark = "[green]✓[/]" if finding.ok else "[red]✗[/]" if finding.required else "[yellow]![/]"
            console.print(f"{mark} {escape(finding.check)}: {escape(finding.found)}", soft_wrap=True)
            if not finding.ok:
                console.print(f"    fix: {escape(finding.fix)}", soft_wrap=True)
    if not healthy(findings):
        raise typer.Exit(1)


@app.command()
def logs(
    name: Annotated[str, typer.Argument(help="A service, or `supervisord`.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing what is added.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Lines to begin with.")] = 50,
) -> None:
    """Print the end of a service's log."""
    from lakehouse_dagster.runtime.lifecycle import tail

    settings = Settings.load()
    path = settings.logs / f"{name}.log"
    with _failures():
        if "/" in name or not path.is_file():
            known = ", ".join(sorted(item.stem for item in settings.logs.glob("*.log"))) or "none yet"
            raise RuntimeFailure(f"there is no log of {name!r} in {settings.logs}", f"choose from: {known}")
    for line in tail(path, lines):
        typer.echo(line)
    if follow:
        with suppress(KeyboardInterrupt):
            for line in _follow(path):
                typer.echo(line, nl=False)


@app.command()
def reset(yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Stop everything and delete this instance's data, logs and credentials. Installed engines stay."""
    from lakehouse_dagster.runtime.lifecycle import reset as reset_instance

    settings = Settings.load()
    console = Console()
    if not settings.data.exists():
        console.print(f"nothing to delete: {settings.data} does not exist")
        return
    if not yes and not typer.confirm(f"Delete all data in {settings.data}?"):
        raise typer.Exit(1)
    with _failures(), _progress(console) as report:
        reset_instance(settings, report, console.print)
    console.print(f"deleted the data in {settings.data}")


@app.command()
def endpoints(json: Json = False) -> None:
    """Print where each engine answers and with which credentials (--json: readable by programs)."""
    from lakehouse_dagster.runtime.endpoints import load_endpoints

    with _failures():
        found = load_endpoints()
    if json:
        typer.echo(found.to_json())
        return
    console = Console()
    for name, values in found.model_dump(mode="json", exclude_none=True).items():
        identities = values.pop("identities", {})
        pairs = escape("  ".join(f"{key}={value}" for key, value in values.items()))
        console.print(f"[bold]{name}[/] {pairs}", soft_wrap=True, highlight=False)
        # For people the one to take comes first; it changes nothing.
        for identity in sorted(identities, key=lambda item: (item != "reader", item)):
            login = escape("  ".join(f"{key}={value}" for key, value in identities[identity].items()))
            console.print(f"    [cyan]{identity}[/] {login}", soft_wrap=True, highlight=False)
    console.print(
        "[dim]to look around, take the readers' logins: they change nothing. "
        "Passwords are shown by --json only[/]"
    )


def install_and_start(
    settings: Settings, names: tuple[str, ...] = (), console: Console | None = None
) -> None:
    """Do what `lakehouse up` does, with progress on ``console``.

    Raises ``RuntimeFailure`` (with the fix) for whatever prevents the start.
    """
    from lakehouse_dagster.runtime.lifecycle import Up
    from lakehouse_dagster.runtime.progress import LiveProgress, PlainProgress

    console = console or Console()
    began = time.monotonic()
    installing = LiveProgress(console) if console.is_terminal else PlainProgress(console)
    with _progress(console) as report:
        Up(settings, report, console.print, installing).run(names)
    where = "" if names and "dagster-webserver" not in names else f"; Dagster: {settings.url('dagster')}"
    console.print(f"up after {time.monotonic() - began:.0f} s{where}", soft_wrap=True)


@contextmanager
def _failures() -> Iterator[None]:
    """Print a failure as its problem and its fix, and end with exit code 1."""
    try:
        yield
    except RuntimeFailure as failure:
        _fail(str(failure))


def _fail(text: str) -> NoReturn:
    console = Console(stderr=True, soft_wrap=True)
    console.print(Text("error: ", "red") + Text(text))
    raise typer.Exit(1)


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[Event], None]]:
    """Show events as a live table on a terminal, as one line each elsewhere."""
    events: dict[str, tuple[Event, float]] = {}
    guard = threading.Lock()
    live: Live | None = None

    def table() -> Table:
        rows = Table(box=None, show_header=False, pad_edge=False)
        with guard:
            for event, since in events.values():
                mark, style = _MARKS[event.state]
                busy = event.state in ("starting", "stopping")
                seconds = event.seconds + (time.monotonic() - since if busy else 0)
                rows.add_row(
                    Text(mark, style),
                    event.service,
                    Text(event.state, style),
                    f"{seconds:.1f} s" if seconds else "",
                    Text(event.detail[:100], "dim"),
                )
        return rows

    def report(event: Event) -> None:
        nonlocal live
        with guard:
            events[event.service] = (event, time.monotonic())
        if not console.is_terminal:
            if event.state not in ("waiting", "starting", "stopping"):
                detail = f" ({event.detail})" if event.detail else ""
                seconds = f" in {event.seconds:.1f} s" if event.seconds else ""
                console.print(
                    Text(f"{event.service} {event.state}{seconds}{detail}"), soft_wrap=True, highlight=False
                )
        elif live is None:
            live = Live(get_renderable=table, console=console, refresh_per_second=4)
            live.start()

    try:
        yield report
    finally:
        if live is not None:
            live.stop()


def _follow(path: Path) -> Iterator[str]:
    """Yield what is added to a log, across rotations, until interrupted."""
    file = path.open(encoding="utf-8", errors="replace")
    file.seek(0, os.SEEK_END)
    while True:
        line = file.readline()
        if line:
            yield line
            continue
        time.sleep(0.2)
        try:
            current = path.stat()
        except FileNotFoundError:  # between the two steps of a rotation
            continue
        if current.st_ino != os.fstat(file.fileno()).st_ino or current.st_size < file.tell():
            file.close()
            file = path.open(encoding="utf-8", errors="replace")
