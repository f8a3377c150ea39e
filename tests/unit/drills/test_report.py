from __future__ import annotations

import io

import pytest
from rich.console import Console

from lakehouse_dagster.drills.model import DRILLS
from lakehouse_dagster.drills.report import (
    COLUMNS,
    Origin,
    cells,
    explanation,
    fill_section,
    markdown,
    measured,
    soak_text,
    table,
)
from lakehouse_dagster.drills.result import Difference, Result, Verification, Writes, judge
from lakehouse_dagster.drills.timeline import Sign, Timeline

ORIGIN = Origin("made by `make drills`", "2 cores", "abc1234")


def result(
    drill: str = "kill-kafka", *, repaired: float | None = 1_020.0, missing: int = 0, verified: bool = True
) -> Result:
    differences = {"flights/trino": Difference(missing=missing)} if missing else {}
    return judge(
        DRILLS[drill],
        Timeline(1_000.0, 1_000.1, 1_008.0, Sign(1_000.5, "supervisor"), repaired),
        Writes(1_234, 300, 2),
        Verification(60_000, 12, differences, seconds=30.0) if verified else None,
        notes=("a note",),
    )


def test_a_line_has_a_cell_per_column() -> None:
    assert cells(result()) == (
        "kill-kafka",
        "0.5 s",
        "8.0 s",
        "12.0 s",
        "1,234",
        "0",
        "0",
        "0",
        "PASS",
    )
    assert len(cells(result())) == len(COLUMNS)


def test_what_is_not_known_is_a_dash_and_not_a_nought() -> None:
    assert cells(result(repaired=None, verified=False))[3:] == ("-", "1,234", "-", "-", "-", "FAIL")


def test_lost_rows_are_shown() -> None:
    assert cells(result(missing=3))[5:] == ("3", "0", "0", "FAIL")
    assert any("3 missing" in line for line in explanation(result(missing=3)))


def test_the_terminal_shows_every_cell() -> None:
    shown = io.StringIO()
    Console(width=140, file=shown).print(table([result(), result("cancel-job", missing=7)], "Drills"))
    text = shown.getvalue()
    assert all(cell in text for cell in (*cells(result()), "cancel-job", "FAIL"))


def test_bars_do_not_break_a_markdown_table() -> None:
    lines = markdown(("a", "b"), [("x|y", "z")]).splitlines()
    assert lines == ["| a | b |", "| --- | --- |", r"| x\|y | z |"]


def test_the_section_of_results_names_its_origin_and_keeps_the_order() -> None:
    text = measured([result("cancel-job"), result("kill-mysql")], [], ORIGIN)
    assert "2 cores; commit abc1234; made by `make drills`." in text
    assert text.index("kill-mysql") < text.index("cancel-job")
    assert "* `kill-mysql`: a note" in text
    assert "supervisor" in text


def test_without_results_nothing_is_claimed() -> None:
    text = measured([], [], ORIGIN)
    assert text.startswith("No results yet")
    assert "PASS" not in text


def test_the_soak_is_summed_up() -> None:
    kills = [
        result("kill-mysql", verified=False),
        result("kill-mysql", repaired=1_030.0, verified=False),
        result("kill-trino", repaired=1_090.0, missing=2),
    ]
    text = soak_text(kills)
    assert "Soak: 3 kills, 3,702 changes meanwhile, 1 verifications: 2 rows lost" in text
    assert "22.0 s (median), 82.0 s at worst" in text
    assert "1 failed." in text
    assert "| kill-mysql | 2 |" in text
    assert "flights/trino: 2 missing" in text
    assert "All passed." in soak_text([result()])


def test_only_the_marked_section_is_replaced() -> None:
    document = "before\n<!-- x: begin -->\nold\\1\n<!-- x: end -->\nafter\n"
    filled = fill_section(document, "x", r"new \g<0>")
    assert filled == "before\n<!-- x: begin -->\nnew \\g<0>\n<!-- x: end -->\nafter\n"
    assert fill_section(filled, "x", "new") == document.replace("old\\1", "new")
    with pytest.raises(ValueError, match="no section marked"):
        fill_section(document, "y", "")
