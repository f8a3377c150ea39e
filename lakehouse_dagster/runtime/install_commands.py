"""`lakehouse install`: fill the cache of engines, or check what is in it."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from lakehouse_dagster.runtime.bundles import bundles, with_needs
from lakehouse_dagster.runtime.errors import RuntimeFailure
from lakehouse_dagster.runtime.progress import LiveProgress, PlainProgress
from lakehouse_dagster.runtime.provision import ENGINE_NAMES, NotInstalled, provision, prune, verify
from lakehouse_dagster.runtime.settings import Settings
from lakehouse_dagster.runtime.versions import load_versions


def install(
    names: Annotated[list[str] | None, typer.Argument(help="Engines; all when none is named.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only check what is installed; exit 1 on damage.")
    ] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Compare every byte, not only sizes.")] = False,
    remove_old: Annotated[
        bool, typer.Option("--prune", help="Remove versions that the pins no longer name, then stop.")
    ] = False,
) -> None:
    """Install the engines into the shared cache LAKEHOUSE_HOME; what is complete is left alone."""
    settings = Settings.load()
    output, errors = Console(), Console(stderr=True)
    try:
        if remove_old:
            removed = prune(settings.home)
            output.print(f"{len(removed)} removed from {settings.home}", highlight=False, soft_wrap=True)
            return
        wanted = [bundle.name for bundle in with_needs(bundles(load_versions()), names or ENGINE_NAMES)]
        if check:
            raise typer.Exit(0 if _check(settings, wanted, output, deep=deep) else 1)
        if errors.is_terminal:
            with LiveProgress(errors) as progress:
                done = provision(settings.home, names or None, progress=progress, deep=deep)
        else:
            done = provision(settings.home, names or None, progress=PlainProgress(errors), deep=deep)
    except KeyboardInterrupt:
        errors.print("interrupted; run `lakehouse install` again: it resumes", highlight=False)
        raise typer.Exit(130) from None
    except RuntimeFailure as error:
        errors.print(f"error: {error.problem}", style="red", highlight=False, markup=False, soft_wrap=True)
        if error.fix:
            errors.print(f"  fix: {error.fix}", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(1) from error
    output.print(f"{len(done)} installations complete in {settings.home}", highlight=False, soft_wrap=True)


def _check(settings: Settings, names: list[str], output: Console, *, deep: bool) -> bool:
    """Print one line per engine; return whether all are there and intact."""
    intact = True
    for name in names:
        try:
            problems = verify(settings.home, name, deep=deep)
        except NotInstalled:
            problems = ["not installed"]
        intact = intact and not problems
        output.print(
            f"{name}: {'; '.join(problems[:5]) or 'intact'}", highlight=False, markup=False, soft_wrap=True
        )
        if len(problems) > 5:
            output.print(f"  and {len(problems) - 5} more", highlight=False)
    if not intact:
        output.print("  fix: run `lakehouse install`" + (" --deep" if deep else ""), highlight=False)
    return intact
