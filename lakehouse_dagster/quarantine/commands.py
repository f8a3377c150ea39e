"""Commands of the quarantine: `lakehouse quarantine list`, `replay` and `drop`. They work without Dagster."""

from __future__ import annotations

import base64
import getpass
import json as json_module
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.governance.commands import find_contract
from lakehouse_dagster.quarantine.model import Quarantined, shown
from lakehouse_dagster.quarantine.operations import Quarantine, Wanted, check_tables

#: Exit codes.
DONE, FAILED, BAD_INPUT = 0, 1, 2
TIMEOUT_SECONDS = 30.0

app = typer.Typer(
    help="Records that could not be carried: see them, replay them, or leave them out for good.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Pipeline = Annotated[str, typer.Argument(help="Name of the pipeline.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, nothing else.")]
Records = Annotated[
    list[str] | None, typer.Argument(metavar="ID...", help="Records, as topic:partition:offset.")
]


@app.command("list")
def list_command(
    pipeline: Pipeline,
    table: Annotated[str | None, typer.Option("--table", help="Only of this table.")] = None,
    decided: Annotated[bool, typer.Option("--all", help="Also those that were replayed or dropped.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="Newest records.")] = 100,
    json: Json = False,
) -> None:
    """Show the records about which nothing is decided, the newest first. Exits 1 when there are any."""
    contract = find_contract(pipeline)
    with _failures(), _quarantine(contract) as quarantine:
        check_tables(contract, [] if table is None else [table])
        found = quarantine.listing(table=table, decided=decided, limit=limit)
    if json:
        body = {
            "pipeline": contract.name,
            "total": found.counts.total,
            "open": found.counts.open,
            "records": [record_json(one) for one in found.records],
        }
        typer.echo(json_module.dumps(body, indent=2))
    else:
        console = _console()
        if found.records:
            console.print(records_table(found.records, decided=decided))
        every = found.counts.total if decided else found.counts.open
        more = (
            f" ({every - len(found.records):,} older ones are not shown)"
            if every > len(found.records)
            else ""
        )
        console.print(f"{found.counts.open:,} open of {found.counts.total:,}{more}")
    if found.counts.open:
        raise typer.Exit(FAILED)


@app.command("replay")
def replay_command(
    pipeline: Pipeline,
    records: Records = None,
    table: Annotated[
        list[str] | None, typer.Option("--table", help="All open records of this table; may be repeated.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All open records.")] = False,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="With --table: read the whole table again and compare every row. For records that do not "
            "tell which row they are about.",
        ),
    ] = False,
) -> None:
    """Write what the source says now of the records' rows, and wait until it is in the lake.

    The old record itself is never written again: a change that is older than a later delete would bring the
    row back.
    """
    contract = find_contract(pipeline)
    with _failures(), _quarantine(contract) as quarantine:
        wanted = Wanted.parse(contract, records or (), table or (), everything)
        done = quarantine.replay(wanted, repair=repair)
    _console().print(Text(str(done)), soft_wrap=True)
    for failure in done.failures:
        _complain(str(failure))
    if done.failed:
        raise typer.Exit(FAILED)


@app.command("drop")
def drop_command(
    pipeline: Pipeline,
    records: Annotated[
        list[str], typer.Argument(metavar="ID...", help="Records, as topic:partition:offset.")
    ],
    why: Annotated[str, typer.Option("--why", help="The reason, kept with the record.")],
) -> None:
    """Leave records out for good. Their bytes stay in the dead-letter topic and in the lake's table."""
    contract = find_contract(pipeline)
    with _failures(), _quarantine(contract) as quarantine:
        count = quarantine.drop(Wanted.parse(contract, records).places, why)
    _console().print(f"{count:,} record(s) dropped")


# --- what is shown --------------------------------------------------------------------------------


def records_table(records: Sequence[Quarantined], *, decided: bool = False) -> Table:
    """Return records as people read them."""
    table = Table(box=None, pad_edge=False)
    for column in ("id", "recorded (UTC)", "reason", "key", "bytes", "begins with"):
        right = column == "bytes"
        table.add_column(
            column, justify="right" if right else "left", no_wrap=column in {"recorded (UTC)", "bytes"},
            overflow="fold",
        )  # fmt: skip
    if decided:
        table.add_column("decision", overflow="fold")
    for one in records:
        cells = [
            Text(shown(str(one.place).encode(), 300)),
            Text(f"{one.recorded_at:%Y-%m-%d %H:%M:%S}"),
            Text(shown(one.reason.encode(), 300), "red" if one.decision is None else ""),
            Text(shown(one.key)),
            Text(f"{one.size:,}"),
            Text(shown(one.raw), "dim"),
        ]
        table.add_row(*cells, *([Text(decision_text(one))] if decided else []))
    return table


def decision_text(one: Quarantined) -> str:
    """Return what was decided about a record in one line; empty when nothing was."""
    told = one.decision
    if told is None:
        return ""
    why = shown((told.why or told.proof).encode(), 200)
    return f"{told.verdict} by {told.by} at {told.at:%Y-%m-%d %H:%M}: {why}"


def record_json(one: Quarantined) -> dict[str, Any]:
    """Return one record as `lakehouse quarantine list --json` prints it; bytes are base64."""
    told = one.decision
    return {
        "id": str(one.place),
        "topic": one.place.topic,
        "partition": one.place.partition,
        "offset": one.place.offset,
        "reason": one.reason,
        "malformed": one.malformed,
        "recorded_at": one.recorded_at.isoformat(),
        "key": _base64(one.key),
        "size": one.size,
        "first_bytes": _base64(one.raw),
        "dead_letter": one.letter,
        "decision": None
        if told is None
        else {
            "verdict": str(told.verdict),
            "by": told.by,
            "at": told.at.isoformat(),
            "why": told.why,
            "proof": told.proof,
        },
    }


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode("ascii")


# --- helpers --------------------------------------------------------------------------------------


def open_clients() -> Clients:
    """Return new clients of the installation, to be closed by the caller."""
    from lakehouse_dagster.runtime.endpoints import load_endpoints
    from lakehouse_dagster.runtime.submitter import flink_submitter

    return Clients(load_endpoints(), timeout=TIMEOUT_SECONDS, submitter=flink_submitter)


@contextmanager
def _quarantine(contract: Contract) -> Iterator[Quarantine]:
    with open_clients() as clients:
        yield Quarantine(contract, clients, f"{getpass.getuser()} (lakehouse quarantine)", _progress)


@contextmanager
def _failures() -> Iterator[None]:
    """Turn what goes wrong into a message and an exit code."""
    from lakehouse_dagster.runtime.errors import RuntimeFailure

    try:
        yield
    except ValueError as error:
        _bad_input(str(error))
    except (EngineError, RuntimeFailure) as error:
        _complain(str(error))
        raise typer.Exit(FAILED) from error


def _bad_input(text: str) -> NoReturn:
    _complain(text)
    raise typer.Exit(BAD_INPUT)


def _complain(text: str) -> None:
    Console(stderr=True, soft_wrap=True).print(Text("error: ", "red") + Text(text))


def _progress(line: str) -> None:
    Console(stderr=True, soft_wrap=True).print(Text(line, "dim"))


def _console() -> Console:
    # Wide enough for every column where the output goes into a file.
    return Console(width=None if sys.stdout.isatty() else 200)
