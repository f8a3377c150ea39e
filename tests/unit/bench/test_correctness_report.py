from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import correctness_report
from bench.event_results import EventResult, EventResults
from lakehouse_dagster.drills.result import Difference, Verification

EQUAL = Verification(rows=1234, copies=4, seconds=1.5)
WRONG = Verification(rows=10, copies=2, differences={"orders/paimon": Difference(1, 2, 3)})


@pytest.fixture
def results(tmp_path: Path) -> EventResults:
    return EventResults(tmp_path / "kept" / "events.jsonl")


def test_results_come_back_as_they_were(results: EventResults) -> None:
    results.add(EventResult("one", "a::b", "5 rows", verification=WRONG))
    results.add(EventResult("two", "a::c", refused="the reason"))
    one, two = results.newest()
    assert (one.event, one.verification, one.passed) == ("one", WRONG, False)
    assert (two.refused, two.passed) == ("the reason", True)
    assert one.at
    assert one.commit
    assert "cores" in one.machine


def test_of_an_event_the_newest_counts_and_full_size_before_all(results: EventResults) -> None:
    assert results.newest() == []
    for size, full in (("1", False), ("2", False), ("1,000,000", True), ("3", False)):
        results.add(EventResult("one", "t", size, full, verification=EQUAL))
    results.add(EventResult("other", "t", verification=EQUAL))
    assert [(one.event, one.size) for one in results.newest()] == [("one", "1,000,000"), ("other", "")]


def test_what_had_not_arrived_is_no_success() -> None:
    late = Verification(rows=1, copies=1, unsettled=("job x is not running",))
    assert not EventResult("e", "t", verification=late).passed
    assert not EventResult("e", "t").passed


def test_the_table_tells_failures_and_refusals() -> None:
    text = correctness_report.events(
        [
            EventResult("good", "t::a", "1 row", verification=EQUAL, commit="abc", machine="2 cores"),
            EventResult("bad", "t::b", verification=WRONG),
            EventResult("refused", "t::c", refused="said | aloud\n" + "x" * 500),
        ]
    )
    assert "2 cores; commit abc" in text
    assert "| good | 1 row | 1,234 | 4 | 0 | 0 | 0 | `t::a` |" in text
    assert "| **bad: FAILED** |  | 10 | 2 | 1 | 2 | 3 | `t::b` |" in text
    assert "refused aloud: said \\| aloud x" in text
    assert correctness_report.events([]).startswith("No results yet")


def test_the_document_has_every_section(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, results: EventResults
) -> None:
    results.add(EventResult("good", "t::a", verification=EQUAL))
    document = tmp_path / "correctness.md"
    document.write_text((correctness_report.PROJECT / "docs" / "correctness.md").read_text())
    entry = {"table": "t", "place": "trino", "view": None, "source_rows": 5_000_000, "rows": 5_000_000}
    counts = {"missing": 0, "extra": 0, "different": 0, "unsettled": 0}
    answers = {
        "canary": {"tables": [entry | counts]},
        "proof": {
            "rows": 5_000_000,
            "seconds": 61.5,
            "rss_peak_mb": 300,
            "rss_before_proof_mb": 100,
            "places": [entry | counts | {"source_rows_per_second": 90_000, "seconds": 60.0}],
        },
        "freshness": {
            "places": [
                {"place": "kafka", "beats": 9, "p50": 0.25, "p95": 0.5, "p99": None, "max": 1.0, "missed": 0}
            ]
        },
    }
    arguments = ["report", "--document", str(document), "--events", str(results.path)]
    for name, answer in answers.items():
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps(answer))
        arguments += [f"--{name}", str(file)]
    monkeypatch.setattr("sys.argv", arguments)
    assert correctness_report.main() == 0
    text = document.read_text()
    assert "| good |" in text
    assert "| `t` | trino | 5,000,000 | 5,000,000 | 0 | 0 | 0 |" in text
    assert "| trino | 5,000,000 | 0 | 0 | 90,000 | 60 s |" in text
    assert "| kafka | 9 | 0.25 s | 0.50 s | - | 1.00 s | 0 |" in text
    # Written once more, it is the same.
    correctness_report.main()
    assert document.read_text() == text
