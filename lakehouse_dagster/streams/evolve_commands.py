"""``lakehouse schema diff|approve|commit|history``: the source's schema and what became of its changes."""

from __future__ import annotations

import getpass
import json as json_module
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lakehouse_dagster.contract.applied import current, look
from lakehouse_dagster.contract.errors import ContractError
from lakehouse_dagster.contract.loader import DEFS_FILE, DEFS_ROOT, read_pipeline
from lakehouse_dagster.contract.lock import pipeline_folder
from lakehouse_dagster.contract.schema import LOCK_FILE
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.governance.commands import find_contract
from lakehouse_dagster.streams import evolve
from lakehouse_dagster.streams.evolve_store import SchemaStore

if TYPE_CHECKING:
    from lakehouse_dagster.engines.clients import Clients

#: Exit codes.
DONE, FAILED, BAD_INPUT = 0, 1, 2

app = typer.Typer(
    help="Changes of the source's schema: see them, approve them, and what was done about them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Pipeline = Annotated[str, typer.Argument(help="Name of the pipeline.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON value, nothing else.")]


@app.command("diff")
def diff_command(pipeline: Pipeline, json: Json = False) -> None:
    """Show how the source differs from the lock, and what becomes of it. Exits 1 when something is held."""
    contract = find_contract(pipeline)
    with _failures(), _clients() as clients:
        situation = evolve.look(current(contract), clients, SchemaStore(clients.postgres))
    if json:
        typer.echo(json_module.dumps(shown(situation), indent=2))
    else:
        for line in lines(situation):
            typer.echo(line)
    if situation.held or situation.doubtful or any(situation.locked_by_hand.values()):
        raise typer.Exit(FAILED)


@app.command("approve")
def approve_command(
    pipeline: Pipeline,
    table: Annotated[
        str | None, typer.Argument(help="Only changes of this table; of all by default.")
    ] = None,
    change: Annotated[
        list[str] | None, typer.Option("--change", help="Id of a change, as `diff` shows it; all by default.")
    ] = None,
) -> None:
    """Approve changes that are held, and apply them now. Exits 1 when one of them cannot be applied."""
    contract = find_contract(pipeline)
    with _failures(), _clients() as clients:
        done = evolve.follow(
            current(contract),
            clients,
            log=lambda line: typer.echo(line, err=True),
            actor=f"{getpass.getuser()} (lakehouse schema)",
            approval=evolve.Approval(table, tuple(change or ())),
        )
    for said in done.applied:
        typer.echo(f"applied: {said}")
    for said in done.held:
        typer.echo(f"held: {said}", err=True)
    if done.refused:
        raise typer.Exit(FAILED)


@app.command("commit")
def commit_command(pipeline: Pipeline) -> None:
    """Write the schema in force into the pipeline's schema.lock.json, to be committed to git."""
    with _failures():
        folder = pipeline_folder(pipeline, DEFS_ROOT)
        found = look(folder, read_pipeline(folder / DEFS_FILE).name)
        if found.state != "ahead":
            typer.echo(f"{folder / LOCK_FILE} is up to date")
            return
        typer.echo(f"wrote {found.lock.write(folder)}; commit it to git")


@app.command("history")
def history_command(
    pipeline: Pipeline,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="Newest rows.")] = 30,
    json: Json = False,
) -> None:
    """Show what was approved and applied, the newest last."""
    contract = find_contract(pipeline)
    with _failures(), _clients() as clients:
        rows = SchemaStore(clients.postgres).history(contract.name, limit)
    if json:
        typer.echo(json_module.dumps([{**vars(row), "at": row.at.isoformat()} for row in rows], indent=2))
        return
    for row in rows:
        typer.echo(f"{row.at:%Y-%m-%d %H:%M:%S} {row.kind:9} {row.what} [{row.by}]")


def shown(situation: evolve.Situation) -> dict[str, Any]:
    """A situation as JSON."""
    return {
        "pipeline": situation.contract.name,
        "uncommitted": list(situation.uncommitted),
        "under_way": situation.order is not None,
        "rows_in_doubt": list(situation.doubtful),
        "changed_back": list(situation.passed),
        "locked_by_hand": {table: list(found) for table, found in situation.locked_by_hand.items()},
        "tables": [
            {
                "table": verdict.table,
                "answer": verdict.answer,
                "flow": verdict.flow,
                "reasons": list(verdict.reasons),
                "changes": [
                    {
                        "id": item.change.id,
                        "kind": item.change.kind.value,
                        "column": item.change.column,
                        "locked": item.change.old,
                        "source": item.change.new,
                        "answer": item.answer,
                        "why": item.why,
                    }
                    for item in verdict.decided
                ],
            }
            for verdict in situation.verdicts.values()
        ],
    }


def lines(situation: evolve.Situation) -> Iterator[str]:
    """A situation in words."""
    if not (situation.verdicts or situation.doubtful or situation.locked_by_hand or situation.passed):
        yield "the source is as locked"
    for verdict in situation.verdicts.values():
        yield f"{verdict.table}: {verdict.answer}, flows: {verdict.flow}"
        for item in verdict.decided:
            yield f"  {item.change.id}  {item.change}  [{item.answer}: {item.why}]"
        for reason in verdict.reasons:
            yield f"  ! {reason}"
    for table in situation.doubtful:
        yield f"{table}: emptied or made anew; rows may be gone (`lakehouse schema approve` looks for them)"
    for table, obstacles in situation.locked_by_hand.items():
        yield f"{table}: locked by hand; {'; '.join(obstacles) or 'its places are about to be altered'}"
    for table in situation.passed:
        yield f"{table}: changed and changed back; it is about to be read again"
    if situation.uncommitted:
        yield (
            f"applied and not committed yet: {', '.join(situation.uncommitted)}; run "
            f"`lakehouse schema commit {situation.contract.name}`"
        )


@contextmanager
def _clients() -> Iterator[Clients]:
    from lakehouse_dagster.streams.commands import _clients as clients

    with clients() as made:
        yield made


@contextmanager
def _failures() -> Iterator[None]:
    """Turn what goes wrong into a message and an exit code."""
    from lakehouse_dagster.runtime.errors import RuntimeFailure

    try:
        yield
    except ValueError as error:
        if isinstance(error, ContractError):
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(FAILED) from error
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(BAD_INPUT) from error
    except (EngineError, RuntimeFailure) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(FAILED) from error
