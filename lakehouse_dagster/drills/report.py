"""Results as tables: for the terminal, and as Markdown for the documentation. Pure but for rendering."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.table import Table

from lakehouse_dagster.drills.model import DRILLS, Drill
from lakehouse_dagster.drills.result import Result

COLUMNS = (
    "drill",
    "detected after",
    "away",
    "repaired after",
    "changes",
    "lost",
    "extra",
    "different",
    "result",
)
_BEGIN, _END = "<!-- {}: begin -->", "<!-- {}: end -->"


@dataclass(frozen=True)
class Origin:
    """Where results come from: the command that made them, the machine, and the commit."""

    command: str
    machine: str
    commit: str


def cells(result: Result) -> tuple[str, ...]:
    """One line of the table: times in seconds, a dash where there is nothing to say."""
    total = result.verification.total if result.verification else None
    counts = (total.missing, total.extra, total.different) if total else (None, None, None)
    return (
        result.drill,
        seconds(result.detect),
        seconds(result.away),
        seconds(result.repair),
        f"{result.writes.changes:,}",
        *("-" if count is None else f"{count:,}" for count in counts),
        "PASS" if result.passed else "FAIL",
    )


def seconds(value: float | None) -> str:
    """A duration for a cell."""
    return "-" if value is None else f"{value:.1f} s"


def table(results: Iterable[Result], title: str) -> Table:
    """The table for a terminal."""
    shown = Table(title=title, title_justify="left")
    for number, column in enumerate(COLUMNS):
        shown.add_column(column, justify="left" if number in (0, len(COLUMNS) - 1) else "right")
    for result in results:
        shown.add_row(*cells(result), style=None if result.passed else "red")
    return shown


def explanation(result: Result) -> list[str]:
    """What the table has no room for: who noticed, what else was seen, and what is wrong."""
    lines = []
    if result.detected_by:
        lines.append(f"noticed by {result.detected_by}")
    if result.writes.unknown:
        lines.append(f"{result.writes.unknown} commits were never answered")
    lines += result.notes
    if result.verification is not None:
        checked = result.verification
        lines.append(f"{checked.rows:,} rows compared in {checked.copies} copies in {checked.seconds:.0f} s")
    return [*lines, *(f"problem: {problem}" for problem in result.problems)]


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; vertical bars in cells are escaped."""
    lines = [f"| {' | '.join(header)} |", f"| {' | '.join('---' for _ in header)} |"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines)


def catalogue(drills: Iterable[Drill] = DRILLS.values()) -> str:
    """The table of all drills: what each injects and what is expected."""
    rows = [(f"`{drill.name}`", drill.injects, drill.expected, f"{drill.limit:.0f} s") for drill in drills]
    return markdown(("drill", "injects", "expected", "allowed"), rows)


def measured(newest: Iterable[Result], soak: Sequence[Result], origin: Origin) -> str:
    """The section of results: one line per drill, and the soak in sum."""
    order = list(DRILLS)
    results = sorted(newest, key=lambda result: order.index(result.drill))
    if not results and not soak:
        return "No results yet: `make drills` and `make soak` make them."
    parts = [f"{origin.machine}; commit {origin.commit}; {origin.command}."]
    if results:
        rows = [(*cells(result), result.detected_by or "-") for result in results]
        parts.append(markdown((*COLUMNS, "noticed by"), rows))
        notes = [f"* `{result.drill}`: {text}" for result in results for text in _remarks(result)]
        if notes:
            parts.append("\n".join(notes))
    if soak:
        parts.append(soak_text(soak))
    return "\n\n".join(parts)


def _remarks(result: Result) -> list[str]:
    return [*result.notes, *(f"**{problem}**" for problem in result.problems)]


def soak_text(results: Sequence[Result]) -> str:
    """The soak in words and one table, by what was killed."""
    repairs = sorted(result.repair for result in results if result.repair is not None)
    checks = [result.verification for result in results if result.verification is not None]
    totals = [check.total for check in checks]
    late = [result for result in results if not result.passed]
    text = (
        f"Soak: {len(results)} kills, {sum(r.writes.changes for r in results):,} changes meanwhile, "
        f"{len(checks)} verifications: {sum(t.missing for t in totals)} rows lost, "
        f"{sum(t.extra for t in totals)} extra, {sum(t.different for t in totals)} different. "
    )
    if repairs:
        text += f"Repaired after {repairs[len(repairs) // 2]:.1f} s (median), {repairs[-1]:.1f} s at worst. "
    text += "All passed." if not late else f"{len(late)} failed."
    rows = []
    for name in DRILLS:
        mine = [result for result in results if result.drill == name]
        times = sorted(result.repair for result in mine if result.repair is not None)
        if mine:
            middle = times[len(times) // 2] if times else None
            worst = times[-1] if times else None
            failed = sum(not result.passed for result in mine)
            rows.append((name, str(len(mine)), seconds(middle), seconds(worst), str(failed)))
    lines = [text, markdown(("kill", "times", "repaired after (median)", "at worst", "failed"), rows)]
    problems = [f"* {result.drill} at {result.at}: {'; '.join(result.problems)}" for result in late]
    return "\n\n".join([*lines, *(["\n".join(problems)] if problems else [])])


def fill_section(document: str, name: str, content: str) -> str:
    """Put ``content`` between the comments that mark section ``name``.

    Raises ``ValueError`` when the document has none.
    """
    begin, end = _BEGIN.format(name), _END.format(name)
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(document):
        raise ValueError(f"the document has no section marked {begin} ... {end}")
    return pattern.sub(lambda _: f"{begin}\n{content}\n{end}", document)
