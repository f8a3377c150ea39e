"""The ``lakehouse`` program: one list of commands, each loaded only when it is used.

So ``lakehouse --help`` is quick, and an area that cannot be loaded does not take the others with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True)
class _Area:
    """Where a command lives: a ``typer.Typer`` holding it, or the command's function itself."""

    module: str
    attribute: str
    help: str
    panel: str


_RUNTIME = "lakehouse_dagster.runtime.commands"

COMMANDS: dict[str, _Area] = {
    "up": _Area(_RUNTIME, "up", "Install what is missing and start every engine.", "Engines"),
    "down": _Area(_RUNTIME, "down", "Stop every engine; loses nothing.", "Engines"),
    "status": _Area(_RUNTIME, "status", "Show what runs and whether it answers.", "Engines"),
    "doctor": _Area(_RUNTIME, "doctor", "Check the machine and name the fixes.", "Engines"),
    "logs": _Area(_RUNTIME, "logs", "Print the end of an engine's log.", "Engines"),
    "reset": _Area(_RUNTIME, "reset", "Stop everything and delete this instance's data.", "Engines"),
    "endpoints": _Area(_RUNTIME, "endpoints", "Print addresses and credentials.", "Engines"),
    "install": _Area(
        "lakehouse_dagster.runtime.install_commands",
        "install",
        "Install the engines into the shared cache.",
        "Engines",
    ),
    "lock": _Area(
        "lakehouse_dagster.contract.commands", "lock_command", "Lock a pipeline's source schema.", "Pipelines"
    ),
    "check": _Area(
        "lakehouse_dagster.contract.commands",
        "check_command",
        "Check every pipeline's contract.",
        "Pipelines",
    ),
    "render": _Area(
        "lakehouse_dagster.contract.commands",
        "render_command",
        "Print what follows from a pipeline's contract.",
        "Pipelines",
    ),
    "publish": _Area(
        "lakehouse_dagster.governance.commands",
        "publish_command",
        "Publish a pipeline to Nessie.",
        "Pipelines",
    ),
    "log": _Area(
        "lakehouse_dagster.governance.versions.commands",
        "log_command",
        "Show what was published when, and whether it is readable.",
        "Pipelines",
    ),
    "tag": _Area(
        "lakehouse_dagster.governance.versions.commands",
        "tag_app",
        "Versions that stay readable for as long as they exist.",
        "Pipelines",
    ),
    "branch": _Area(
        "lakehouse_dagster.governance.versions.commands",
        "branch_app",
        "A team's own writable version; merge it after checks.",
        "Pipelines",
    ),
    "diff": _Area(
        "lakehouse_dagster.governance.versions.commands",
        "diff_command",
        "Show rows that differ between two versions.",
        "Pipelines",
    ),
    "rollback": _Area(
        "lakehouse_dagster.governance.versions.commands",
        "rollback_command",
        "Show readers an earlier version, and go forward again.",
        "Pipelines",
    ),
    "retain": _Area(
        "lakehouse_dagster.governance.versions.commands",
        "retain_command",
        "Delete what the retention policy lets go.",
        "Pipelines",
    ),
    "streams": _Area(
        "lakehouse_dagster.streams.commands",
        "app",
        "See, pause, resume, upgrade, rewind and repair a pipeline's streams.",
        "Pipelines",
    ),
    "schema": _Area(
        "lakehouse_dagster.streams.evolve_commands",
        "app",
        "See and approve changes of the source's schema.",
        "Pipelines",
    ),
    "verify": _Area(
        "lakehouse_dagster.proof.commands",
        "verify_command",
        "Compare every row of the source with every place.",
        "Pipelines",
    ),
    "freshness": _Area(
        "lakehouse_dagster.proof.freshness_commands",
        "freshness_command",
        "Show the seconds from commit to readable, place by place.",
        "Pipelines",
    ),
    "prove": _Area(
        "lakehouse_dagster.proof.prove_commands",
        "prove_command",
        "Prove every place up to a position of the source, while it is written.",
        "Pipelines",
    ),
    "proofs": _Area(
        "lakehouse_dagster.proof.prove_commands",
        "proofs_command",
        "Show up to where each place is proven, and how old that is.",
        "Pipelines",
    ),
    "trace": _Area(
        "lakehouse_dagster.lineage.commands",
        "trace_command",
        "Show one row's change on its way from MySQL to every place.",
        "Pipelines",
    ),
    "lineage": _Area(
        "lakehouse_dagster.lineage.commands",
        "lineage_command",
        "Show what columns come from and what comes from them.",
        "Pipelines",
    ),
    "quarantine": _Area(
        "lakehouse_dagster.quarantine.commands",
        "app",
        "See, replay or drop records that could not be carried.",
        "Pipelines",
    ),
    "replay": _Area(
        "lakehouse_dagster.samples.flights.commands",
        "replay_command",
        "Play the airline's operations system against MySQL.",
        "Sample",
    ),
    "canary": _Area(
        "lakehouse_dagster.samples.canary.commands",
        "canary_command",
        "Write rows with every edge of every type.",
        "Sample",
    ),
    "drill": _Area(
        "lakehouse_dagster.drills.commands",
        "drill_command",
        "Inject a fault under writes; time the repair; compare every row.",
        "Sample",
    ),
    "demo": _Area(
        "lakehouse_dagster.demo",
        "demo_command",
        "From nothing to verified, live data in one command.",
        "Sample",
    ),
}


class _LazyGroup(TyperGroup):
    """Knows names and help texts of all commands; imports one when it is about to run."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for name, area in COMMANDS.items():
            self.commands[name] = TyperCommand(name, help=area.help, rich_help_panel=area.panel)

    def list_commands(self, ctx: Any) -> list[str]:
        """Keep the order of the table."""
        del ctx
        return list(COMMANDS)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Load the real command."""
        name, command, rest = super().resolve_command(ctx, args)
        if name in COMMANDS:
            command = load_command(name)
        return name, command, rest


def load_command(name: str) -> Any:
    """Import command ``name``; ends the program with a clear message when its area cannot be loaded."""
    area = COMMANDS[name]
    try:
        target = getattr(import_module(area.module), area.attribute)
    except (ImportError, AttributeError) as error:
        typer.secho(f"error: `lakehouse {name}` cannot be loaded: {error}", fg="red", err=True)
        typer.echo("  fix: `make setup` in the repository, then try again", err=True)
        raise typer.Exit(1) from error
    if not isinstance(target, typer.Typer):
        wrapper = typer.Typer(add_completion=False)
        wrapper.command(name)(target)
        target = wrapper
    return typer.main.get_command(target)


app = typer.Typer(
    name="lakehouse",
    cls=_LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # a traceback with local variables could show a password
    help="A real-time lakehouse: MySQL to Paimon, Nessie, Trino, Cassandra and CouchDB, run by Dagster.",
)


@app.callback()
def _root() -> None:
    """A real-time lakehouse: MySQL to Paimon, Nessie, Trino, Cassandra and CouchDB, run by Dagster."""


def main() -> None:
    """Run the program."""
    app()
