"""The pure part: beats, what places show of them, percentiles, and what is stored and shown."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.loader import DEFS_ROOT, load_contract
from lakehouse_dagster.proof.freshness import (
    BUCKETS,
    LATE_SECONDS,
    MOST_WAITING,
    QUICKEST,
    SHARE,
    SLOWEST,
    Beat,
    Follower,
    Minute,
    every_nth,
    figures,
    histogram,
    pause,
    percentile,
    probe_places,
    summarize,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SECONDS = st.floats(min_value=0, max_value=1000, allow_nan=False)


@pytest.fixture(scope="module")
def contract() -> Contract:
    return load_contract(DEFS_ROOT / "flights")


def beat(number: int, at: float) -> Beat:
    return Beat(number, at, 1_700_000_000 + at)


def test_the_places_follow_from_the_contract(contract: Contract) -> None:
    probe = contract.pipeline.probe
    assert probe is not None
    places = {place.name: place for place in probe_places(contract)}
    assert list(places) == ["kafka", "paimon", "nessie", "trino", "cassandra", "couchdb"]
    assert (places["nessie"].after, places["trino"].after) == ("paimon", "nessie")
    assert places["couchdb"].view == "freshness_documents"
    assert [every_nth(place, probe) for place in places.values()] == [1, 1, 1, 3, 1, 1]


def test_a_beat_is_readable_when_it_or_a_later_one_is_shown() -> None:
    follower = Follower()
    for number, at in ((7, 100.0), (8, 105.0), (9, 110.0)):
        assert follower.committed(beat(number, at)) is None
    assert follower.shown(6, 111.0) == []
    assert follower.shown(8, 112.0) == [12.0, 7.0]
    assert follower.oldest == beat(9, 110.0)
    assert follower.shown(8, 113.0) == []
    assert follower.shown(20, 114.0) == [4.0]
    assert follower.tally(115.0).seconds == (12.0, 7.0, 4.0)
    assert follower.tally(116.0).seconds == ()


def test_a_place_quicker_than_the_writer_is_noticed() -> None:
    follower = Follower()
    assert follower.shown(5, 100.2) == []
    assert follower.committed(beat(5, 100.0)) == pytest.approx(0.2)
    assert follower.committed(beat(6, 105.0)) is None
    assert follower.oldest is not None
    assert follower.oldest.number == 6


def test_a_place_that_shows_less_than_before_changes_nothing() -> None:
    follower = Follower()
    follower.committed(beat(5, 100.0))
    assert follower.shown(5, 101.0) == [1.0]
    follower.committed(beat(6, 105.0))
    assert follower.shown(3, 106.0) == []
    assert follower.shown(6, 107.0) == [2.0]


def test_late_beats_are_missed_once_and_still_counted_when_they_come() -> None:
    follower = Follower()
    for number in range(3):
        follower.committed(beat(number, 5.0 * number))
    assert follower.look(59.9) == 0
    assert follower.look(60.0) == 1
    assert follower.look(60.0) == 0
    tally = follower.tally(66.0)
    assert (tally.missed, tally.waiting, tally.behind, tally.seconds) == (2, 2, 66.0, ())
    assert follower.shown(2, 90.0) == [90.0, 85.0, 80.0]
    after = follower.tally(90.0)
    assert (after.missed, after.waiting, after.behind, len(after.seconds)) == (0, 0, 0.0, 3)
    assert after.newest == beat(2, 10.0)


def test_only_every_nth_beat_is_followed_where_asking_is_dear() -> None:
    follower = Follower(every=3)
    for number in range(9):
        follower.committed(beat(100 + number, float(number)))
    assert follower.shown(108, 20.0) == [20.0, 17.0, 14.0]


def test_what_is_waited_for_is_bounded() -> None:
    follower = Follower()
    for number in range(MOST_WAITING + 10):
        follower.committed(beat(number, float(number)))
    assert follower.oldest == beat(10, 10.0)
    assert follower.tally(MOST_WAITING + 10.0 + LATE_SECONDS).waiting == MOST_WAITING


@given(
    st.lists(st.tuples(st.sampled_from(["beat", "show", "look", "tally"]), st.integers(0, 40), SECONDS)),
    st.integers(1, 4),
)
def test_every_followed_beat_counts_once_with_its_true_seconds(
    steps: list[tuple[str, int, float]], every: int
) -> None:
    """Against a plain model: whatever the order, each followed beat gets one figure, at the first answer that
    covers it, and nothing is both counted and waited for.
    """
    follower = Follower(every)
    now, number, count = 0.0, 0, 0
    shown_at: dict[int, float] = {}  # the greatest number an answer had, and when it first had it
    waiting: dict[int, float] = {}
    expected: list[float] = []
    got: list[float] = []
    missed = 0
    highest = -1
    for what, value, passed in steps:
        now += passed
        match what:
            case "beat":
                number += 1 + value % 3
                count += 1
                at_once = follower.committed(beat(number, now))
                if (count - 1) % every:
                    assert at_once is None
                elif highest >= number:
                    expected.append(max(0.0, shown_at[highest] - now))
                    assert at_once == pytest.approx(expected[-1])
                else:
                    waiting[number] = now
            case "show":
                seen = follower.shown(value, now)
                if value > highest:
                    highest = value
                    shown_at[value] = now
                    ready = [n for n in sorted(waiting) if n <= value]
                    expected += [now - waiting.pop(n) for n in ready]
                    assert len(seen) == len(ready)
                else:
                    assert seen == []
            case "look":
                missed += follower.look(now)
            case "tally":
                tally = follower.tally(now)
                got += tally.seconds
                assert tally.waiting == sum(1 for at in waiting.values() if now - at >= LATE_SECONDS)
                assert tally.behind == pytest.approx(now - min(waiting.values()) if waiting else 0.0)
    got += follower.tally(now).seconds
    assert got == pytest.approx(expected)
    assert all(seconds >= 0 for seconds in got)


@given(st.lists(SECONDS, min_size=1), st.sampled_from([0.01, 0.5, 0.95, 0.99, 1.0]))
def test_a_percentile_is_the_smallest_value_that_covers_its_share(values: list[float], share: float) -> None:
    ordered = sorted(values)
    found = percentile(ordered, share)
    assert found in ordered
    assert sum(value <= found for value in ordered) >= share * len(ordered) - 1e-6
    assert sum(value < found for value in ordered) < share * len(ordered)


def test_percentiles_of_whole_hundreds_are_exact() -> None:
    ordered = [float(n) for n in range(1, 101)]
    assert [percentile(ordered, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50.0, 95.0, 99.0, 100.0]
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 0.5)


@given(st.lists(SECONDS))
def test_a_histogram_counts_everything_once_and_a_bound_belongs_to_its_bucket(values: list[float]) -> None:
    counts = histogram(values)
    assert len(counts) == len(BUCKETS) + 1
    assert sum(counts) == len(values)
    for at, bound in enumerate(BUCKETS):
        assert sum(counts[: at + 1]) == sum(value <= bound for value in values)


def test_late_beats_push_percentiles_to_infinity_and_never_make_a_place_look_well() -> None:
    assert figures([]).p50 is None
    some = figures([1.0, 2.0, 3.0], waiting=1)
    assert (some.beats, some.waiting, some.p50) == (3, 1, 2.0)
    assert some.p95 == math.inf
    assert figures([], waiting=1).p50 == math.inf


@given(st.floats(min_value=0, max_value=LATE_SECONDS - 1))
def test_the_pause_is_at_most_a_tenth_of_the_wait_or_the_quickest(waited: float) -> None:
    found = pause(waited)
    assert QUICKEST <= found <= SLOWEST
    assert found <= max(QUICKEST, SHARE * waited)


def test_asking_costs_few_questions() -> None:
    waited, questions = 0.0, 0
    while waited < 5.0:
        waited += pause(waited)
        questions += 1
    assert questions < 40


def minute(place: str, ago: float, **changes: object) -> Minute:
    return Minute("flights", place, NOW - timedelta(seconds=ago), **changes)  # type: ignore[arg-type]


def test_minutes_come_together_by_place_with_the_newest_state() -> None:
    rows = [
        minute("paimon", 0, seconds=(3.0,), waiting=0, behind=1.5, problem="refused"),
        minute(
            "paimon",
            60,
            seconds=(1.0, 2.0),
            missed=2,
            waiting=5,
            newest_beat=9,
            newest_at=NOW - timedelta(seconds=70),
        ),
        minute("other", 0, seconds=(9.0,)),
    ]
    kafka, paimon = summarize(["kafka", "paimon"], rows, NOW)
    assert kafka.figures.beats == 0
    assert kafka.told is None
    assert (paimon.figures.p50, paimon.figures.greatest, paimon.missed) == (2.0, 3.0, 2)
    assert paimon.figures.waiting == 0
    assert (paimon.newest_beat, paimon.age, paimon.behind, paimon.problem) == (9, 70.0, 1.5, "refused")
    shown = paimon.to_json()
    assert shown["p95"] == 3.0
    assert sum(shown["histogram"].values()) == 3
    assert list(shown["histogram"])[-1] == "+Inf"


def test_json_has_no_infinity() -> None:
    (found,) = summarize(["paimon"], [minute("paimon", 0, waiting=3, behind=99.0)], NOW)
    assert found.figures.p95 == math.inf
    assert found.to_json()["p95"] is None
    assert found.to_json()["waiting"] == 3
