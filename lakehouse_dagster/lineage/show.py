"""Lineage for people: a change's way as a table, columns as trees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from lakehouse_dagster.lineage.columns import Column, ColumnGraph, Origin
from lakehouse_dagster.lineage.journey import NO_CLOCK, Arrival, Hop, Journey

_STYLES: Final[Mapping[Arrival, str]] = {
    Arrival.HERE: "green",
    Arrival.PASSED: "cyan",
    Arrival.WAITING: "yellow",
    Arrival.UNKNOWN: "yellow",
    Arrival.FAILED: "red",
}
_STREAM: Final = {True: "the stream is past the record", False: "the stream is not past the record"}
_SHORT: Final = 12
"""Characters of a commit's hash that are shown."""


def show_journey(journey: Journey, console: Console) -> None:
    """Print a change's way, hop by hop."""
    change = journey.change
    key = ", ".join(f"{name}={text}" for name, text in change.key.items())
    begun = change.committed_at
    console.print(
        f"[bold]{change.operation.value} of {change.table} ({escape(key)})[/bold], "
        f"committed {begun:%Y-%m-%d %H:%M:%S}.{begun.microsecond:06} UTC, position {change.position}",
        soft_wrap=True,
    )
    table = Table()
    table.add_column("hop", overflow="fold")
    table.add_column("what it shows", overflow="fold", ratio=1)
    table.add_column("at (UTC)", no_wrap=True)
    table.add_column("after", justify="right", no_wrap=True)
    table.add_column("change", no_wrap=True)
    for hop in journey.hops:
        style = _STYLES[hop.arrival]
        table.add_row(
            f"{hop.place}\n[dim]{escape(hop.name)}[/dim]",
            escape("\n".join([*_told(hop), *([hop.note] if hop.note not in ("", NO_CLOCK) else [])])),
            "" if hop.at is None else _clock(hop.at, begun),
            _after(journey.seconds(hop)),
            f"[{style}]{hop.arrival.value}[/{style}]",
        )
    console.print(table)
    if any(hop.note.startswith(NO_CLOCK) for hop in journey.hops):
        console.print("Cassandra and CouchDB keep the source position with a row, and no time of arrival.")
    if len(journey.offsets) > 1:
        newest = ", ".join(str(offset) for offset in journey.offsets[-8:])
        console.print(f"records of this key at offsets {'... ' if len(journey.offsets) > 8 else ''}{newest}")


def _told(hop: Hop) -> list[str]:
    """The facts of a hop in a few short lines."""
    facts = hop.facts
    match hop.place:
        case "mysql":
            binlog = f"{facts['binlog_file']}:{facts['binlog_pos']} row {facts['binlog_row']}"
            epoch = f", epoch {facts['epoch']}" if facts["epoch"] else ""
            return [f"GTID {facts['gtid'] or 'not told'}", f"{binlog}{epoch}", f"row: {facts['row_now']}"]
        case "kafka":
            return [f"partition {facts['partition']}, offset {facts['offset']}"]
        case "paimon":
            return _lines(
                facts, {"snapshot": "snapshot {}", "no_later_than_snapshot": "snapshot {} or before"}
            )
        case "nessie":
            shown = {**facts, "commit": facts["commit"][:_SHORT]} if "commit" in facts else facts
            return _lines(shown, {"commit": "commit {}", "paimon_snapshot": "of snapshot {}"})
        case "trino":
            shown = {**facts, "commit": facts["commit"][:_SHORT]} if facts.get("commit") else facts
            return _lines(shown, {"row": "row {}", "position": "position {}", "commit": "as of commit {}"})
        case _:
            lines = _lines(facts, {"row": "row {}", "write_time": "write time {}", "revision": "revision {}"})
            if facts.get("position") is not None and "write_time" not in facts:
                lines.append(f"position {facts['position']}")
            if facts.get("row") == "absent" or facts.get("stream_is_past") is False:
                lines.append(_STREAM[facts["stream_is_past"]])
            return lines


def _lines(facts: Mapping[str, Any], forms: Mapping[str, str]) -> list[str]:
    return [form.format(facts[name]) for name, form in forms.items() if facts.get(name) is not None]


def _clock(moment: datetime, begun: datetime) -> str:
    """The time of day, with the day where it is another one than the commit's."""
    form = "%H:%M:%S.%f" if moment.date() == begun.date() else "%Y-%m-%d %H:%M:%S.%f"
    return moment.strftime(form)[:-3]


def _after(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.3f} s"


def show_lineage(graph: ColumnGraph, columns: Sequence[Column], console: Console, *, both: bool) -> None:
    """Print a tree per column: what it comes from and, if ``both``, what comes from it."""
    for column in columns:
        tree = Tree(f"[bold]{escape(str(column))}[/bold]")
        came = tree.add("[dim]comes from[/dim]") if both else tree
        _grow(came, graph.upstream, column)
        if both:
            _grow(tree.add("[dim]goes into[/dim]"), graph.downstream, column)
        console.print(tree)


def _grow(tree: Tree, edges: Mapping[Column, tuple[Origin, ...]], column: Column) -> None:
    for origin in edges[column]:
        how = "" if origin.how.value == "identity" else f" [dim]({origin.how.value})[/dim]"
        _grow(tree.add(f"{escape(str(origin.column))}{how}"), edges, origin.column)


def lineage_json(graph: ColumnGraph, column: Column) -> dict[str, Any]:
    """A column's lineage as plain values: one step each way, and the columns at its beginning."""

    def plain(origins: Sequence[Origin]) -> list[dict[str, str]]:
        return [{"column": str(origin.column), "how": origin.how.value} for origin in origins]

    return {
        "column": str(column),
        "comes_from": plain(graph.upstream[column]),
        "goes_into": plain(graph.downstream[column]),
        "sources": [str(source) for source in graph.sources(column) if source != column],
    }
