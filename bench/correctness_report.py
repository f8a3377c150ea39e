"""The figures of docs/correctness.md, written from what was measured; none of them is written by hand.

    .venv/bin/python -m bench.correctness_report [--document docs/correctness.md] [--events FILE]
        [--canary FILE] [--proof FILE] [--freshness FILE]

The events come from the file that the tests write (``bench.event_results``; ``make events``). The other
sections are written when the answer of the command that the document names beside them is given, as printed:

--canary     ``lakehouse verify canary --json``
--proof      ``python -m bench.prove_scale``
--freshness  ``lakehouse freshness flights --json``

Exit code 1 when an event has failed, or when none is known.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.event_results import PROJECT, EventResult, EventResults
from lakehouse_dagster.drills.report import fill_section, markdown

EVENTS = ("event", "size", "rows compared", "copies", "missing", "extra", "different", "test")
COMPARED = ("table", "place", "source rows", "rows", "missing", "extra", "different")
FRESH = ("place", "updates", "p50", "p95", "p99", "max", "missed")
MOST_SAID = 240
"""Characters of what the platform says that the document shows."""


def events(results: Iterable[EventResult]) -> str:
    """The events: where the figures come from, and the table."""
    found = list(results)
    if not found:
        return "No results yet: `make events` makes them."
    machines = "; ".join(dict.fromkeys(result.machine for result in found if result.machine))
    commits = ", ".join(dict.fromkeys(result.commit for result in found if result.commit))
    origin = (
        f"{machines}; commit {commits}; made by `make events` and `make events-full`. Rows are counted once "
        "for each copy."
    )
    return f"{origin}\n\n{markdown(EVENTS, (event_cells(result) for result in found))}"


def event_cells(result: EventResult) -> tuple[str, ...]:
    """One line of the events."""
    test = f"`{result.test}`"
    if result.verification is None:
        said = " ".join(result.refused.split())
        said = said if len(said) <= MOST_SAID else f"{said[: MOST_SAID - 3]}..."
        return (result.event, result.size, f"refused aloud: {said}", "-", "-", "-", "-", test)
    checked, total = result.verification, result.verification.total
    event = result.event if result.passed else f"**{result.event}: FAILED**"
    counts = (checked.rows, checked.copies, total.missing, total.extra, total.different)
    return (event, result.size, *(f"{count:,}" for count in counts), test)


def canary(verified: Mapping[str, Any]) -> str:
    """The canary's tables, place by place."""
    rows = (
        (
            f"`{entry['table']}`" + (f" as `{entry['view']}`" if entry["view"] else ""),
            entry["place"],
            *(f"{entry[name]:,}" for name in ("source_rows", "rows", "missing", "extra", "different")),
        )
        for entry in verified["tables"]
    )
    return markdown(COMPARED, rows)


def proof(measured: Mapping[str, Any]) -> str:
    """The running proof of a large table."""
    rows = (
        (
            entry["place"],
            f"{entry['source_rows']:,}",
            f"{entry['missing'] + entry['extra'] + entry['different']:,}",
            f"{entry['unsettled']:,}",
            f"{entry['source_rows_per_second']:,}",
            f"{entry['seconds']:.0f} s",
        )
        for entry in measured["places"]
    )
    header = ("place", "rows compared", "differences", "unsettled", "source rows per second", "seconds")
    memory = (
        f"{measured['rows']:,} rows in {measured['seconds']:.0f} s; the process that proves took "
        f"{measured['rss_peak_mb']:,} MB at most, {measured['rss_before_proof_mb']:,} MB before it began."
    )
    return f"{markdown(header, rows)}\n\n{memory}"


def freshness(measured: Mapping[str, Any]) -> str:
    """Seconds from commit to readable."""
    rows = (
        (
            entry["place"],
            f"{entry['beats']:,}",
            *(_seconds(entry[name]) for name in ("p50", "p95", "p99", "max")),
            f"{entry['missed']:,}",
        )
        for entry in measured["places"]
    )
    return markdown(FRESH, rows)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


SECTIONS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "canary": canary,
    "proof": proof,
    "freshness": freshness,
}


def main() -> int:
    """Write the sections."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--document", type=Path, default=PROJECT / "docs" / "correctness.md")
    parser.add_argument("--events", type=Path, default=None)
    for name in SECTIONS:
        parser.add_argument(f"--{name}", type=Path, default=None)
    chosen = parser.parse_args()
    results = (EventResults(chosen.events) if chosen.events else EventResults()).newest()
    text = fill_section(chosen.document.read_text(encoding="utf-8"), "events", events(results))
    for name, render in SECTIONS.items():
        file: Path | None = getattr(chosen, name)
        if file is not None:
            text = fill_section(text, name, render(json.loads(file.read_text(encoding="utf-8"))))
    chosen.document.write_text(text, encoding="utf-8")
    failed = [result.event for result in results if not result.passed]
    sys.stdout.write(f"wrote {len(results)} events into {chosen.document}\n")
    sys.stdout.writelines(f"FAILED: {event}\n" for event in failed)
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
