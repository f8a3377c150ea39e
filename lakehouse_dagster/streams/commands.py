"""Commands of the streams: `lakehouse streams list`, `history`, `pause` and the rest.

They work without Dagster: what is wanted and what happened lies in PostgreSQL, and whoever acts on a stream
holds its lock, so a command and the sensor never act on one stream at the same time.
"""

from __future__ import annotations

import getpass
import json as json_module
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.loader import discover
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.governance.commands import find_contract
from lakehouse_dagster.streams.assets import Stream, stream_of, streams_of
from lakehouse_dagster.streams.decision import Verb
from lakehouse_dagster.streams.events import description, rounded
from lakehouse_dagster.streams.job_config import check_tables, check_topics, parse_offset, parse_time
from lakehouse_dagster.streams.lag import Lag
from lakehouse_dagster.streams.memory import Event
from lakehouse_dagster.streams.operations import NotDone, Operator, rewind_target, told
from lakehouse_dagster.streams.samples import present_lags
from lakehouse_dagster.streams.store import StreamStore
from lakehouse_dagster.streams.survey import Look, survey

#: Exit codes.
DONE, FAILED, BAD_INPUT = 0, 1, 2
TIMEOUT_SECONDS = 10.0

app = typer.Typer(
    help="The streams of a pipeline: the connector and the Flink jobs. See and change what should run.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Pipeline = Annotated[str, typer.Argument(help="Name of the pipeline.")]
AnyPipeline = Annotated[str | None, typer.Argument(help="Name of the pipeline; all when none is given.")]
StreamArgument = Annotated[str, typer.Argument(help="connector, lake or serving.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON list, nothing else.")]


@app.command("list")
def list_command(pipeline: AnyPipeline = None, json: Json = False) -> None:
    """Show how each stream stands, and why. Exits 1 when one that should run does not."""
    rows = [row for contract in _contracts(pipeline) for row in _rows(contract)]
    if json:
        typer.echo(json_module.dumps(rows, indent=2))
    else:
        _console().print(streams_table(rows))
    if any(row["bad"] for row in rows):
        raise typer.Exit(FAILED)


@app.command("history")
def history_command(
    pipeline: AnyPipeline = None,
    stream: Annotated[str | None, typer.Option("--stream", help="Only this stream.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="Newest rows.")] = 30,
    json: Json = False,
) -> None:
    """Show what was decided, done and declared, the newest last."""
    contract = find_contract(pipeline) if pipeline else None
    if contract is not None and stream is not None:
        _stream(contract, stream)
    with _failures(), _clients() as clients:
        name = contract.name if contract else None
        rows = StreamStore(clients.postgres).history(name, stream, limit=limit)[::-1]
    if json:
        typer.echo(json_module.dumps([event_json(row) for row in rows], indent=2))
    else:
        _console().print(history_table(rows))


@app.command("reconcile")
def reconcile_command(
    pipeline: Pipeline,
    stream: Annotated[str | None, typer.Argument(help="connector, lake or serving; all by default.")] = None,
    savepoint: Annotated[
        str | None, typer.Option(help="Start a Flink job from this checkpoint or savepoint (s3://...).")
    ] = None,
) -> None:
    """Bring a stream, or all, to what is declared now, as the sensor does. Safe at any time."""
    contract = find_contract(pipeline)
    streams = streams_of(contract) if stream is None else (_stream(contract, stream),)
    if savepoint is not None and stream is None:
        _bad_input("a savepoint belongs to one stream; name it")
    left = []
    with _failures(), _operator(contract) as operator:
        for one in streams:
            done = operator.reconcile(one, savepoint=savepoint)
            _say(one, told(done))
            if done.action.verb in (Verb.WAIT, Verb.HALT):
                left.append(one.name)
    if left:
        raise typer.Exit(FAILED)


@app.command("pause")
def pause_command(
    pipeline: Pipeline,
    stream: StreamArgument,
    reason: Annotated[
        str, typer.Option("--reason", "-r", help="Shown wherever it is said to be paused.")
    ] = "",
) -> None:
    """Stop a stream (a Flink job with a savepoint) and keep it stopped until it is resumed."""
    contract = find_contract(pipeline)
    one = _stream(contract, stream)
    with _failures(), _operator(contract) as operator:
        _say(one, told(operator.pause(one, reason)))


@app.command("resume")
def resume_command(pipeline: Pipeline, stream: StreamArgument) -> None:
    """Run a paused stream again from where it stopped; also closes an open circuit breaker."""
    contract = find_contract(pipeline)
    one = _stream(contract, stream)
    with _failures(), _operator(contract) as operator:
        _say(one, told(operator.resume(one)))


@app.command("upgrade")
def upgrade_command(pipeline: Pipeline, stream: StreamArgument) -> None:
    """Stop a stream with a savepoint and start what the contract says now, also when nothing changed."""
    contract = find_contract(pipeline)
    one = _stream(contract, stream)
    with _failures(), _operator(contract) as operator:
        _say(one, told(operator.upgrade(one)))


@app.command("rewind")
def rewind_command(
    pipeline: Pipeline,
    stream: Annotated[str, typer.Argument(help="lake or serving.")],
    earliest: Annotated[bool, typer.Option("--earliest", help="To the oldest records there are.")] = False,
    time: Annotated[
        str | None, typer.Option("--time", help="To the first records written then or later; ISO 8601.")
    ] = None,
    offset: Annotated[
        list[str] | None,
        typer.Option("--offset", help="topic:partition=N, for each partition to be moved."),
    ] = None,
) -> None:
    """Let a Flink job read its topics again. Nothing is doubled; publication waits until it has caught up."""
    contract = find_contract(pipeline)
    one = _stream(contract, stream)
    if earliest + (time is not None) + bool(offset) != 1:
        _bad_input("say where to: one of --earliest, --time or --offset")
    try:
        moment = parse_time(time) if time is not None else None
        offsets = dict(parse_offset(text) for text in offset or [])
        check_topics(contract, one.name, offsets)
    except ValueError as error:
        _bad_input(str(error))
    with _failures(), _operator(contract) as operator:
        _say(one, told(operator.rewind(one, rewind_target(time=moment, offsets=offsets))))


@app.command("resnapshot")
def resnapshot_command(
    pipeline: Pipeline,
    tables: Annotated[list[str], typer.Argument(help="Tables of the source.")],
    where: Annotated[
        str | None, typer.Option("--where", help="Only rows of which this SQL condition is true.")
    ] = None,
) -> None:
    """Read TABLES from the source again while changes go on flowing."""
    contract = find_contract(pipeline)
    if where is not None and not where.strip():
        _bad_input("the condition is empty; leave --where out to read whole tables")
    _check_tables(contract, tables)
    with _failures(), _operator(contract) as operator:
        done = operator.resnapshot(tables, where)
    _console().print(f"{done.rows:,} row(s) of {', '.join(done.tables)} in {done.seconds:.1f} s")


@app.command("repair")
def repair_command(
    pipeline: Pipeline,
    tables: Annotated[
        list[str] | None, typer.Argument(help="Tables; all that lack changes by default.")
    ] = None,
) -> None:
    """Make up for lost changes: read tables again, remove what was deleted meanwhile, compare every row."""
    contract = find_contract(pipeline)
    _check_tables(contract, tables or [])
    with _failures(), _operator(contract) as operator:
        _console().print(Text(f"repaired: {operator.repair(tables or [])}"))


# --- what is shown --------------------------------------------------------------------------------


def streams_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the streams as people read them."""
    table = Table(box=None, pad_edge=False, title_justify="left")
    right = {"down", "checkpoint", "lag", "restarts", "slots"}
    for column in ("stream", "state", "down", "checkpoint", "lag", "restarts", "slots", "spec", "why"):
        table.add_column(column, justify="right" if column in right else "left", no_wrap=column != "why")
    for row in rows:
        bad = row["bad"]
        table.add_row(
            f"{row['pipeline']}/{row['stream']}",
            Text(str(row["state"]), "red" if bad else "green" if row["state"] == "running" else "yellow"),
            _seconds(row["down_seconds"]),
            _seconds(row["checkpoint_age_seconds"]),
            _lag(row),
            "-" if row["restarts"] is None else str(row["restarts"]),
            "-" if row["slots_free"] is None else f"{row['slots_free']}/{row['slots_total']}",
            str(row["running_spec"] or "-")[:8],
            Text(str(row["reason"]), "red" if bad else "dim"),
        )
    return table


def look_json(contract: Contract, look: Look, lag: Lag | None = None) -> dict[str, Any]:
    """Return one stream as `lakehouse streams list --json` prints it; null is what is not known.

    `lag_records` of the connector is null, because the binary log is not counted in records. `bad` tells that
    it should run and does not, or that this is not known.
    """
    health, memory = look.health, look.memory
    declared = memory.declared
    down = memory.seconds_down(datetime.now(UTC)) if look.down or look.unknown else None
    return {
        "pipeline": contract.name,
        "stream": look.stream.name,
        "engine_name": look.stream.engine_name,
        "desired": declared.desired.value,
        "declared_by": declared.by,
        "declared_reason": declared.reason,
        "state": "unknown" if look.facts.unreachable else _state(look),
        "rule": look.action.rule,
        "verb": look.action.verb.value,
        "reason": look.action.reason,
        "down_since": memory.down_since.isoformat() if memory.down_since and down is not None else None,
        "down_seconds": None if down is None else round(down, 1),
        "checkpoint": health.checkpoint,
        "checkpoint_age_seconds": rounded(health.checkpoint_age_seconds),
        "lag_records": health.lag_records,
        "lag_seconds": None if lag is None else round(lag.seconds, 1),
        "lag_at_least": lag is not None and lag.at_least,
        "restarts": health.restarts,
        "starts_that_did_not_last": look.facts.failed_starts,
        "slots_free": health.slots_free,
        "slots_total": health.slots_total,
        "job_id": health.job_id,
        "spec": look.facts.spec or None,
        "running_spec": health.running_spec,
        "gap": look.facts.gap,
        "bad": look.down or look.unknown,
    }


def history_table(rows: Sequence[Event]) -> Table:
    """Return the history as people read it."""
    table = Table(box=None, pad_edge=False)
    for column in ("id", "at (UTC)", "stream", "down", "what", "by"):
        right = column in {"id", "down"}
        table.add_column(column, justify="right" if right else "left", no_wrap=column not in {"what", "by"})
    for row in rows:
        table.add_row(
            str(row.id),
            f"{row.at:%m-%d %H:%M:%S}" if row.at else "",
            f"{row.pipeline}/{row.stream}",
            _seconds(row.seconds_down),
            Text(description(row), "" if row.ok else "red"),
            Text(row.actor, "dim"),
        )
    return table


def event_json(row: Event) -> dict[str, Any]:
    """Return one row of the history as `lakehouse streams history --json` prints it."""
    return {
        "id": row.id,
        "at": row.at.isoformat() if row.at else None,
        "pipeline": row.pipeline,
        "stream": row.stream,
        "kind": str(row.kind),
        "state": row.state,
        "verb": row.verb,
        "rule": row.rule,
        "reason": row.reason,
        "checkpoint": row.checkpoint,
        "job_id": row.job_id,
        "spec_hash": row.spec_hash,
        "seconds_down": rounded(row.seconds_down),
        "actor": row.actor,
        "ok": row.ok,
    }


def _state(look: Look) -> str:
    return "paused" if look.action.rule == "paused" else look.facts.state.value


# --- helpers --------------------------------------------------------------------------------------


class _Source:
    """Hands out clients of the installation, one set per thread that asks."""

    def clients(self, *, timeout: float = TIMEOUT_SECONDS) -> Clients:
        """Return new clients, to be closed by the caller."""
        from lakehouse_dagster.runtime.endpoints import load_endpoints
        from lakehouse_dagster.runtime.submitter import flink_submitter

        return Clients(load_endpoints(), timeout=timeout, submitter=flink_submitter)


@contextmanager
def _clients() -> Iterator[Clients]:
    with _Source().clients() as clients:
        yield clients


@contextmanager
def _operator(contract: Contract) -> Iterator[Operator]:
    with _clients() as clients:
        yield Operator(contract, clients, f"{getpass.getuser()} (lakehouse streams)", _progress)


@contextmanager
def _failures() -> Iterator[None]:
    """Turn what goes wrong into a message and an exit code."""
    from lakehouse_dagster.runtime.errors import RuntimeFailure

    try:
        yield
    except ValueError as error:
        _bad_input(str(error))
    except (EngineError, NotDone, RuntimeFailure) as error:
        _complain(str(error))
        raise typer.Exit(FAILED) from error


def _rows(contract: Contract) -> list[dict[str, Any]]:
    names = [stream.name for stream in streams_of(contract)]
    with _failures(), _clients() as clients:
        memories = StreamStore(clients.postgres).memory(contract.name, names)
        patience = 3 * TIMEOUT_SECONDS
        looks = survey(contract, _Source(), memories, timeout=TIMEOUT_SECONDS, patience=patience)
        lags = present_lags(clients.postgres, contract.name, looks)
    return [look_json(contract, look, lags[look.stream.name]) for look in looks]


def _contracts(pipeline: str | None) -> list[Contract]:
    return list(discover()) if pipeline is None else [find_contract(pipeline)]


def _stream(contract: Contract, name: str) -> Stream:
    try:
        return stream_of(contract, name)
    except KeyError as error:
        _bad_input(str(error.args[0]))


def _check_tables(contract: Contract, tables: Sequence[str]) -> None:
    try:
        check_tables(contract, tables)
    except ValueError as error:
        _bad_input(str(error))


def _bad_input(text: str) -> NoReturn:
    _complain(text)
    raise typer.Exit(BAD_INPUT)


def _complain(text: str) -> None:
    Console(stderr=True, soft_wrap=True).print(Text("error: ", "red") + Text(text))


def _say(stream: Stream, text: str) -> None:
    _console().print(Text(f"{stream.name}: {text}"), soft_wrap=True)


def _progress(line: str) -> None:
    Console(stderr=True, soft_wrap=True).print(Text(line, "dim"))


def _console() -> Console:
    # Wide enough for every column where the output goes into a file.
    return Console(width=None if sys.stdout.isatty() else 200)


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"


def _lag(row: Mapping[str, Any]) -> str:
    """Seconds, and records where they are counted."""
    told = "-" if row["lag_seconds"] is None else _seconds(row["lag_seconds"])
    if row["lag_at_least"]:
        told = f"> {told}"
    return told if row["lag_records"] is None else f"{told}, {row['lag_records']:,}"
