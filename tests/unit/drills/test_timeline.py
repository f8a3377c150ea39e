from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lakehouse_dagster.drills.timeline import Sign, Timeline, first_sign, is_sign
from lakehouse_dagster.streams.memory import Event, EventKind


def event(kind: EventKind, at: float, *, rule: str = "", stream: str = "lake") -> Event:
    return Event("flights", stream, kind, rule=rule, at=datetime.fromtimestamp(at, UTC))


def test_seconds_follow_from_times() -> None:
    timeline = Timeline(100.0, gone=100.5, ended=112.0, detected=Sign(101.0, "supervisor"), repaired=130.0)
    assert timeline.detect_seconds == 1.0
    assert timeline.away_seconds == 12.0
    assert timeline.repair_seconds == 18.0


def test_what_did_not_happen_has_no_seconds() -> None:
    nothing = Timeline(100.0)
    assert (nothing.detect_seconds, nothing.away_seconds, nothing.repair_seconds) == (None, None, None)
    never_back = Timeline(100.0, gone=100.1, detected=Sign(100.2, "x"), repaired=None)
    assert never_back.repair_seconds is None
    at_once = Timeline(100.0, ended=100.0, repaired=105.0)
    assert at_once.away_seconds is None
    assert at_once.repair_seconds == 5.0


def test_a_clock_that_differs_a_little_gives_no_negative_seconds() -> None:
    timeline = Timeline(100.0, ended=110.0, detected=Sign(99.99, "x"), repaired=109.99)
    assert timeline.detect_seconds == 0.0
    assert timeline.repair_seconds == 0.0


@pytest.mark.parametrize(
    ("kind", "rule", "sign"),
    [
        (EventKind.DECISION, "running", False),
        (EventKind.DECISION, "paused", False),
        (EventKind.DECISION, "unreachable", True),
        (EventKind.DECISION, "absent or failed", True),
        (EventKind.START, "", True),
        (EventKind.GAP, "", True),
        (EventKind.BAD_CHECKPOINT, "", True),
        (EventKind.CALM, "", False),
        (EventKind.RELEASED, "", False),
        (EventKind.DECLARED, "", False),
    ],
)
def test_what_is_a_sign(kind: EventKind, rule: str, sign: bool) -> None:
    assert is_sign(event(kind, 1.0, rule=rule)) is sign


def test_the_first_one_to_notice_is_named() -> None:
    events = [
        event(EventKind.DECISION, 99.0, rule="unreachable"),  # of an earlier trouble
        event(EventKind.DECISION, 103.0, rule="running", stream="serving"),
        event(EventKind.START, 107.0),
        event(EventKind.DECISION, 105.0, rule="unreachable", stream="connector"),
    ]
    assert first_sign(100.0, events) == Sign(105.0, "connector: unreachable")
    assert first_sign(106.0, events) == Sign(107.0, "lake: start")
    supervisor = Sign(101.0, "supervisor")
    assert first_sign(100.0, events, supervisor) == supervisor
    assert first_sign(100.0, events, Sign(106.0, "supervisor")) == Sign(105.0, "connector: unreachable")
    assert first_sign(200.0, events) is None
