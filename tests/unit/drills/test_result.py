from __future__ import annotations

import json
from pathlib import Path

import pytest

from lakehouse_dagster.drills.model import DRILLS
from lakehouse_dagster.drills.result import (
    Difference,
    Result,
    Verification,
    Writes,
    append,
    judge,
    newest,
    read,
)
from lakehouse_dagster.drills.timeline import Sign, Timeline

DRILL = DRILLS["kill-kafka"]
EQUAL = Verification(rows=60_000, copies=12, seconds=31.5)
WRITES = Writes(changes=900, transactions=210)
GOOD = Timeline(1_000.0, gone=1_000.2, ended=1_010.0, detected=Sign(1_000.4, "supervisor"), repaired=1_030.0)


def judged(
    timeline: Timeline = GOOD, writes: Writes = WRITES, verification: Verification | None = EQUAL
) -> Result:
    return judge(DRILL, timeline, writes, verification)


def test_a_good_drill_passes() -> None:
    result = judged()
    assert result.passed
    assert (result.detect, result.away, result.repair) == (0.4, 10.0, 20.0)
    assert result.at == "1970-01-01T00:16:40+00:00"


@pytest.mark.parametrize(
    ("timeline", "problem"),
    [
        (Timeline(1_000.0, gone=1_000.2), "did not come back"),
        (Timeline(1_000.0, ended=1_010.0), "not repaired in time"),
        (Timeline(1_000.0, ended=1_010.0, repaired=1_071.0), "repaired after 61 s, allowed are 60 s"),
    ],
)
def test_late_or_never_fails(timeline: Timeline, problem: str) -> None:
    result = judged(timeline)
    assert not result.passed
    assert problem in result.problems[0]


def test_repair_at_the_limit_passes() -> None:
    assert judged(Timeline(1_000.0, ended=1_010.0, repaired=1_070.0)).passed


@pytest.mark.parametrize("difference", [Difference(missing=1), Difference(extra=1), Difference(different=1)])
def test_one_row_that_differs_fails(difference: Difference) -> None:
    found = Verification(rows=10, copies=12, differences={"flights/trino": difference})
    result = judged(verification=found)
    assert not result.passed
    assert "flights/trino" in result.problems[0]
    assert found.total == difference


def test_differences_are_summed_over_the_copies() -> None:
    found = Verification(
        rows=10,
        copies=12,
        differences={"a/trino": Difference(1, 2, 3), "a/paimon": Difference(10, 20, 30)},
    )
    assert found.total == Difference(11, 22, 33)


def test_what_has_not_arrived_fails_even_when_all_is_equal() -> None:
    assert not judged(verification=Verification(rows=1, copies=1, unsettled=("lake is behind",))).passed


def test_a_drill_without_writes_proves_nothing() -> None:
    assert not judged(writes=Writes()).passed


def test_the_platforms_own_failings_count() -> None:
    assert not judge(DRILL, GOOD, WRITES, EQUAL, problems=["the circuit did not open"]).passed


def test_writes_are_counted_from_a_point() -> None:
    assert Writes(10, 4, 1) - Writes(3, 1, 1) == Writes(7, 3, 0)


def test_results_survive_their_file(tmp_path: Path) -> None:
    file = tmp_path / "drills" / "results.jsonl"
    assert read(file) == []
    bad = Verification(rows=5, copies=2, differences={"a/b": Difference(1, 2, 3)}, unsettled=("x",))
    results = [
        judged(),
        judge(DRILL, Timeline(5.0), Writes(), bad, notes=("a note",)),
        judged(verification=None),
    ]
    for result in results:
        append(file, result)
    assert read(file) == results
    line = json.loads(file.read_text().splitlines()[1])
    assert line["passed"] is False
    assert line["total"] == {"missing": 1, "extra": 2, "different": 3}


def test_the_newest_of_each_drill_counts() -> None:
    old, new = judged(Timeline(5.0)), judged()
    assert newest([old, new]) == {"kill-kafka": new}
