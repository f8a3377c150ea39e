"""Commands of versions: `lakehouse tag`, `branch`, `diff`, `rollback`, `log` and `retain`.

They work without Dagster. Exit codes: 0 done, 1 refused or not done, 2 bad input.
"""

from __future__ import annotations

import getpass
import json as json_module
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.governance.commands import find_contract

if TYPE_CHECKING:
    from lakehouse_dagster.engines.clients import Clients
    from lakehouse_dagster.engines.nessie import Key
    from lakehouse_dagster.governance.versions.diff import Diff, TableDiff
    from lakehouse_dagster.governance.versions.freeze import Frozen, Kind, Listed
    from lakehouse_dagster.governance.versions.history import Published
    from lakehouse_dagster.governance.versions.merge import MergeResult

FAILED, BAD_INPUT = 1, 2
TIMEOUT_SECONDS = 30.0


def _app(help: str) -> typer.Typer:
    return typer.Typer(help=help, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


tag_app = _app("Versions that stay readable for as long as they exist, whatever is expired since.")
branch_app = _app("A team's own writable version of a pipeline, readable in Trino and Spark by name.")

Pipeline = Annotated[str, typer.Argument(help="Name of the pipeline.")]
Name = Annotated[str, typer.Argument(help="Lower-case letters, digits and underscores.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, nothing else.")]
From = Annotated[
    str,
    typer.Option("--from", help="A branch, a tag, a commit's hash, main~N, or a time (ISO 8601)."),
]
KeepDays = Annotated[
    float | None,
    typer.Option("--keep-days", min=0.0, help="Delete it after so many days; never if left out."),
]


# --- tags -----------------------------------------------------------------------------------------


@tag_app.command("create")
def tag_create(
    pipeline: Pipeline,
    name: Name,
    source: From = "main",
    metadata_only: Annotated[
        bool,
        typer.Option(
            "--metadata-only",
            help="Leave the data where it is and have Paimon keep it: for very large tables.",
        ),
    ] = False,
    keep_days: KeepDays = None,
    json: Json = False,
) -> None:
    """Tag what main (or --from) shows of all tables and marts, with copies of their files."""
    _freeze("tag", pipeline, name, source, metadata_only, keep_days, json)


@tag_app.command("list")
def tag_list(pipeline: Pipeline, json: Json = False) -> None:
    """Show the tags, also those that were made elsewhere."""
    _list("tag", pipeline, json)


@tag_app.command("delete")
def tag_delete(pipeline: Pipeline, name: Name) -> None:
    """Delete a tag; its copies go with the next `lakehouse retain` after the grace period."""
    _end("tag", pipeline, name)


# --- branches -------------------------------------------------------------------------------------


@branch_app.command("create")
def branch_create(
    pipeline: Pipeline, name: Name, source: From = "main", keep_days: KeepDays = None, json: Json = False
) -> None:
    """Make a branch and its Trino catalog lake_NAME; lake tables and marts on it are copies."""
    _freeze("branch", pipeline, name, source, False, keep_days, json)


@branch_app.command("list")
def branch_list(pipeline: Pipeline, json: Json = False) -> None:
    """Show the branches, also those that were made elsewhere."""
    _list("branch", pipeline, json)


@branch_app.command("catalog")
def branch_catalog(name: Name) -> None:
    """Give a branch or tag that was made elsewhere its Trino catalog lake_NAME."""
    from lakehouse_dagster.governance.versions.freeze import give_catalog

    with failures(), open_clients() as clients:
        catalog = give_catalog(clients, name)
    _console().print(f"Trino shows {name} in the catalog {catalog}")


@branch_app.command("delete")
def branch_delete(pipeline: Pipeline, name: Name) -> None:
    """Delete a branch with what was not merged; files go with `lakehouse retain` after the grace period."""
    _end("branch", pipeline, name)


@branch_app.command("merge")
def branch_merge(
    pipeline: Pipeline,
    name: Name,
    check: Annotated[
        list[str] | None,
        typer.Option("--check", help="A query over the branch that must return no row; may be repeated."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and say what would be merged.")] = False,
    json: Json = False,
) -> None:
    """Merge what a team made on a branch into main, after checks. Lake tables are never merged.

    Exits 1, and nothing is merged, when a check returns rows or main has changed the same table.
    """
    from lakehouse_dagster.governance.versions.merge import merge_branch

    contract = find_contract(pipeline)
    with failures(), open_clients() as clients:
        done = merge_branch(clients, contract, name, checks=check or (), dry_run=dry_run, actor=actor())
    if json:
        typer.echo(json_module.dumps(merge_json(name, done), indent=2, default=str))
    else:
        _print_merge(name, done)
    if not done.mergeable:
        raise typer.Exit(FAILED)


# --- looking --------------------------------------------------------------------------------------


def log_command(
    pipeline: Pipeline,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="Newest publications.")] = 20,
    look: Annotated[
        bool, typer.Option("--look/--no-look", help="Whether to look for every file they need.")
    ] = True,
    json: Json = False,
) -> None:
    """Show what was published of PIPELINE, newest first, and whether it can still be read."""
    from lakehouse_dagster.governance.hold import said
    from lakehouse_dagster.governance.versions.history import history

    contract = find_contract(pipeline)
    with failures(), open_clients() as clients:
        found, pin = history(clients, contract, limit=limit, look=look)
    if json:
        body = {
            "pipeline": contract.name,
            "pinned": None if pin is None else {"by": pin.by, "reason": pin.reason, "target": pin.target},
            "publications": [published_json(one, look) for one in found],
        }
        typer.echo(json_module.dumps(body, indent=2))
        return
    console = _console()
    table = _table("hash", "at (UTC)", "moved", "rows", "position", "asked by", "names", "readable")
    for one in found:
        readable = Text("?" if not look else "yes" if not one.missing else "no", "red" if one.missing else "")
        table.add_row(
            one.hash[:12],
            one.at[:19].replace("T", " "),
            Text(("rolled back: " if one.kind == "rollback" else "") + ", ".join(one.moved)),
            f"{one.rows:,}",
            "" if one.position is None else str(one.position),
            Text(one.requested_by),
            ", ".join(one.references),
            readable,
        )
    console.print(table)
    if pin is not None:
        console.print(Text(said(pin), "yellow"))


def diff_command(
    pipeline: Pipeline,
    before: Annotated[str, typer.Argument(help="A branch, a tag, a commit's hash, main~N, or a time.")],
    after: Annotated[str, typer.Argument(help="The same, the newer one.")] = "main",
    table: Annotated[str | None, typer.Option("--table", help="Only this lake table or mart.")] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", "-n", min=0, max=100_000, help="Rows to show of each table (10)."),
    ] = None,
    json: Json = False,
) -> None:
    """Show rows added, removed and changed between two versions, by primary key."""
    from lakehouse_dagster.governance.versions.diff import diff

    contract = find_contract(pipeline)
    with failures(), open_clients() as clients:
        found = diff(clients, contract, before, after, table=table, limit=limit, report=progress)
    if json:
        typer.echo(json_module.dumps(diff_json(found), indent=2, default=str))
        return
    _print_diff(found)


# --- moving ---------------------------------------------------------------------------------------


def rollback_command(
    pipeline: Pipeline,
    to: Annotated[
        str | None, typer.Option("--to", help="A tag, a commit's hash, main~N, or a time (ISO 8601).")
    ] = None,
    forward: Annotated[bool, typer.Option("--forward", help="Go on publishing, beginning now.")] = False,
    why: Annotated[str, typer.Option("--why", help="The reason, shown to whoever asks.")] = "",
    json: Json = False,
) -> None:
    """Let readers of main see an earlier version of PIPELINE, while the streams go on, until --forward."""
    from lakehouse_dagster.governance.versions.rollback import forward as go_forward
    from lakehouse_dagster.governance.versions.rollback import roll_back

    contract = find_contract(pipeline)
    if (to is None) == (not forward):
        complain("give one of --to and --forward")
        raise typer.Exit(BAD_INPUT)
    with failures(), open_clients() as clients:
        if to is None:
            gone = go_forward(clients, contract, actor=actor())
            body: dict[str, Any] = {
                "pipeline": contract.name,
                "published": gone.published,
                "marts": _names(gone.marts),
                "held": gone.held,
                "seconds": round(gone.seconds, 2),
            }
            shown = "publication goes on; " + (
                f"the newest is published as {gone.published[:12]}" if gone.published else
                gone.held or "main shows the newest already"
            )  # fmt: skip
        else:
            done = roll_back(clients, contract, to, reason=why, actor=actor(), report=progress)
            body = {
                "pipeline": contract.name,
                "hash": done.hash,
                "target": done.target,
                "moved": _names(done.moved),
                "removed": _names(done.removed),
                "newer": _names(done.newer),
                "seconds": round(done.seconds, 2),
            }
            newer = (
                f"; not in it, and left as they are: {', '.join(_names(done.newer))}" if done.newer else ""
            )
            shown = (
                f"main shows {to} of {contract.name}, {done.seconds:.2f} s after you asked; publication "
                f"is held back until `lakehouse rollback {contract.name} --forward`{newer}"
            )
    typer.echo(json_module.dumps(body, indent=2) if json else shown)


def retain_command(
    pipeline: Pipeline,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    json: Json = False,
) -> None:
    """Delete what the retention policy lets go: references, copies nobody needs, old files."""
    from lakehouse_dagster.governance.versions.retention import retain, retained_json

    contract = find_contract(pipeline)
    with failures(), open_clients() as clients:
        done = retain(clients, contract, dry_run=dry_run, report=progress)
    if json:
        typer.echo(json_module.dumps(retained_json(contract.name, done), indent=2))
    else:
        table = _table("what", "before", "after")
        table.add_row("objects", f"{done.objects_before:,}", f"{done.objects_after:,}")
        table.add_row("MB", f"{done.bytes_before / 1e6:,.1f}", f"{done.bytes_after / 1e6:,.1f}")
        for name, (was, now) in done.snapshots.items():
            table.add_row(f"Paimon snapshots of {name}", f"{was:,}", f"{now:,}")
        console = _console()
        console.print("would be, if this were no dry run:" if dry_run else "done:")
        console.print(table)
        for name, why in done.references.items():
            console.print(Text(f"deleted: {name} ({why})"))
        for kind, names in (
            ("temporary branches", done.temporary),
            ("catalogs", done.catalogs),
            ("Paimon tags", done.paimon_tags),
        ):
            if names:
                console.print(f"{kind} deleted: {', '.join(names)}")
        if done.waiting:
            console.print(f"{done.waiting:,} object(s) that nothing needs wait for the grace period's end")
    for line in done.trouble:
        complain(line)
    if done.trouble:
        raise typer.Exit(FAILED)


# --- what is shown --------------------------------------------------------------------------------


def frozen_json(made: Frozen) -> dict[str, Any]:
    """What `lakehouse tag create --json` and `branch create --json` print."""
    return {
        "kind": made.kind,
        "name": made.name,
        "hash": made.hash,
        "catalog": made.catalog,
        "publication": made.publication,
        "tables": [{"table": ".".join(key), "rows": rows} for key, rows in made.copied.rows.items()],
        "left_in_place": _names(made.left_in_place),
        "files": made.copied.files,
        "bytes": made.copied.bytes,
        "seconds": round(made.seconds, 2),
        "trouble": made.trouble,
    }


def listed_json(one: Listed) -> dict[str, Any]:
    """One branch or tag as `list --json` prints it."""
    return dict(vars(one))


def published_json(one: Published, looked: bool) -> dict[str, Any]:
    """One publication as `lakehouse log --json` prints it; ``readable`` is null where nobody looked."""
    return {
        "hash": one.hash,
        "kind": one.kind,
        "at": one.at,
        "moved": list(one.moved),
        "rows": one.rows,
        "position": one.position,
        "tables": one.facts,
        "requested_by": one.requested_by,
        "references": list(one.references),
        "readable": None if not looked else not one.missing,
        "missing": list(one.missing),
    }


def diff_json(found: Diff) -> dict[str, Any]:
    """What `lakehouse diff --json` prints."""
    return {
        "before": found.before,
        "after": found.after,
        "identical": list(found.identical),
        "tables": [
            {
                "table": one.table,
                "key": list(one.key),
                "only_in": one.only_in,
                "added": one.added,
                "removed": one.removed,
                "changed": one.changed,
                "same": one.same,
                "schema": dict(one.schema),
                "rows": [
                    {"change": row.change, "before": dict(row.before), "after": dict(row.after)}
                    for row in one.rows
                ],
                "rows_left_out": one.rows_left_out,
            }
            for one in found.tables
        ],
    }


def merge_json(name: str, done: MergeResult) -> dict[str, Any]:
    """What `lakehouse branch merge --json` prints."""
    return {
        "branch": name,
        "hash": done.hash,
        "dry_run": done.dry_run,
        "mergeable": done.mergeable,
        "brought": _names(done.plan.brought),
        "kept_out": _names(done.plan.kept_out),
        "conflicts": _names(done.conflicts),
        "checks": [
            {
                "sql": check.sql,
                "passed": not check.rows,
                "rows": [dict(zip(check.columns, row, strict=True)) for row in check.rows],
            }
            for check in done.checks
        ],
    }


def _print_merge(name: str, done: MergeResult) -> None:
    console = _console()
    if done.hash:
        console.print(
            f"{name} is merged into main as {done.hash[:12]}: {', '.join(_names(done.plan.brought))}"
        )
    elif done.mergeable:
        console.print(f"{name} can be merged; it would bring {', '.join(_names(done.plan.brought))}")
    if done.plan.kept_out:
        kept = ", ".join(_names(done.plan.kept_out))
        console.print(Text(f"not merged, because on main only Flink writes them: {kept}", "yellow"))
    for check in done.failed:
        complain(f"check failed: {check.sql}")
        table = _table(*check.columns)
        for row in check.rows:
            table.add_row(*(Text(str(value)) for value in row))
        console.print(table)
    if done.conflicts:
        complain(
            f"main has changed the same since: {', '.join(_names(done.conflicts))}; make a new branch from "
            "main and do the work again"
        )


def _print_diff(found: Diff) -> None:
    console = _console()
    table = _table("table", "added", "removed", "changed", "same", "columns")
    for one in found.tables:
        if one.only_in is not None:
            table.add_row(one.table, f"only in {one.only_in}")
            continue
        columns = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in one.schema.items() if names)
        counts = (one.added, one.removed, one.changed, one.same)
        table.add_row(one.table, *(f"{count:,}" for count in counts), Text(columns))
    for name in found.identical:
        table.add_row(Text(name, "dim"), Text("the very same files", "dim"))
    console.print(table)
    for one in found.tables:
        if one.rows:
            console.print(diff_rows(one))


def diff_rows(one: TableDiff) -> Table:
    """Rows that differ as people read them: a changed row shows old -> new where they differ."""
    table = Table(
        title=one.table + (" (not all)" if one.rows_left_out else ""), box=None, title_justify="left"
    )
    columns = list((one.rows[0].after or one.rows[0].before).keys())
    for column in ("", *columns):
        table.add_column(column, overflow="fold")
    style = {"added": "green", "removed": "red", "changed": "yellow"}
    for row in one.rows:
        cells = [Text(row.change, style[row.change])]
        for column in columns:
            old, new = row.before.get(column), row.after.get(column)
            moved = row.change == "changed" and old != new
            value = f"{_cell(old)} -> {_cell(new)}" if moved else _cell(new if row.after else old)
            cells.append(Text(value, "yellow" if moved else ""))
        table.add_row(*cells)
    return table


def _cell(value: Any) -> str:
    return "NULL" if value is None else str(value)


# --- helpers --------------------------------------------------------------------------------------


def _freeze(
    kind: Kind,
    pipeline: str,
    name: str,
    source: str,
    metadata_only: bool,
    keep_days: float | None,
    json: bool,
) -> None:
    from lakehouse_dagster.governance.versions.freeze import freeze

    contract = find_contract(pipeline)
    with failures(), open_clients() as clients:
        made = freeze(
            clients,
            contract,
            kind,
            name,
            source=source,
            metadata_only=metadata_only,
            keep_days=keep_days,
            actor=actor(),
            report=progress,
        )
    if json:
        typer.echo(json_module.dumps(frozen_json(made), indent=2))
        return
    _console().print(
        f"{kind} {name} of {contract.name} at {made.hash[:12]}: {len(made.copied.rows)} table(s), "
        f"{made.copied.files:,} file(s), {made.copied.bytes / 1e6:,.1f} MB in {made.seconds:.1f} s; in Trino "
        f"the catalog {made.catalog}"
    )
    if made.left_in_place:
        names = ", ".join(_names(made.left_in_place))
        _console().print(f"left where they are, because of their position deletes: {names}")
    if made.trouble:
        complain(made.trouble)


def _list(kind: Kind, pipeline: str, json: bool) -> None:
    from lakehouse_dagster.governance.versions.freeze import listed

    contract = find_contract(pipeline)
    with failures(), open_clients() as clients:
        found = listed(clients, kind, contract.name)
    if json:
        body = {"pipeline": contract.name, "references": [listed_json(one) for one in found]}
        typer.echo(json_module.dumps(body, indent=2))
        return
    table = _table("name", "hash", "made", "by", "publication", "newest commit", "until", "Trino catalog")
    for one in found:
        table.add_row(
            one.name,
            one.hash[:12],
            one.created_at[:16].replace("T", " ") or "elsewhere",
            Text(one.requested_by),
            one.publication[:12],
            one.last_commit_at[:16].replace("T", " "),
            one.expires_at[:16].replace("T", " "),
            one.catalog or "none",
        )
    _console().print(table)


def _end(kind: Kind, pipeline: str, name: str) -> None:
    from lakehouse_dagster.governance.versions.freeze import end

    contract = find_contract(pipeline)
    with failures(), open_clients() as clients:
        gone = end(clients, contract, kind, name)
    _console().print(f"{kind} {name} is deleted; it was at {gone.hash}")


def actor() -> str:
    """Who asks, as it is written into commits."""
    return f"{getpass.getuser()} (lakehouse)"


def open_clients() -> Clients:
    """Return new clients of the installation, to be closed by the caller."""
    from lakehouse_dagster.engines.clients import Clients
    from lakehouse_dagster.runtime.endpoints import load_endpoints
    from lakehouse_dagster.runtime.submitter import flink_submitter

    return Clients(load_endpoints(), timeout=TIMEOUT_SECONDS, submitter=flink_submitter)


@contextmanager
def failures() -> Iterator[None]:
    """Turn what goes wrong into a message and an exit code."""
    from lakehouse_dagster.runtime.errors import RuntimeFailure

    try:
        yield
    except ValueError as error:
        complain(str(error))
        raise typer.Exit(BAD_INPUT) from error
    except (EngineError, RuntimeFailure) as error:
        complain(str(error))
        raise typer.Exit(FAILED) from error


def complain(text: str) -> None:
    """Print an error."""
    Console(stderr=True, soft_wrap=True).print(Text("error: ", "red") + Text(text))


def progress(line: str) -> None:
    """Print what is going on."""
    Console(stderr=True, soft_wrap=True).print(Text(line, "dim"))


def _names(keys: Sequence[Key]) -> list[str]:
    return [".".join(key) for key in keys]


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    right = {"rows", "position", "added", "removed", "changed", "same", "before", "after"}
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def _console() -> Console:
    # Wide enough for every column where the output goes into a file.
    return Console(width=None if sys.stdout.isatty() else 200)
