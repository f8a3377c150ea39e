"""Lag in seconds from samples of positions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lakehouse_dagster.streams.lag import MOST_SAMPLES, Lag, Sample, lag, sampled


def series(*points: tuple[int, int]) -> tuple[Sample, ...]:
    samples: tuple[Sample, ...] = ()
    for time, available in points:
        samples = sampled(samples, time, available)
    return samples


def test_a_reader_at_the_end_has_no_lag_however_old_the_end_is() -> None:
    assert lag(series((0, 10)), 5000, 10) == Lag(0.0)


def test_the_lag_is_the_time_since_what_was_read_was_all_there_was() -> None:
    samples = series((100, 10), (105, 20), (110, 30))
    assert lag(samples, 110, 20) == Lag(5.0)
    assert lag(samples, 110, 29) == Lag(5.0)
    assert lag(samples, 112, 30) == Lag(0.0)
    assert lag(samples, 112, 12) == Lag(12.0)


def test_beyond_what_is_remembered_it_is_at_least_that_old() -> None:
    found = lag(series((100, 10), (105, 20)), 160, 9)
    assert found == Lag(60.0, at_least=True)
    assert str(found) == "at least 60 s"


def test_a_quiet_source_counts_from_its_last_quiet_moment() -> None:
    """Nothing was written from 100 to 200: whoever is at 10 at 205 lacks what came after 200."""
    samples = series(*((time, 10) for time in range(100, 201, 5)), (205, 11))
    assert len(samples) == 2
    assert lag(samples, 205, 10) == Lag(5.0)


def test_nothing_known_is_said_as_such() -> None:
    assert lag((), 5, 5) is None
    assert lag(series((1, 1)), 5, None) is None
    assert sampled(series((1, 1)), 2, None) == series((1, 1))


def test_positions_that_went_back_begin_a_new_series() -> None:
    assert series((1, 100), (2, 200), (3, 5)) == (Sample(3, 5),)


def test_an_hour_of_steady_writing_fits_and_reaches_back() -> None:
    samples = series(*((5 * tick, 100 * tick) for tick in range(720)))
    assert len(samples) <= MOST_SAMPLES
    found = lag(samples, 3600, 100 * 360)
    assert found is not None
    assert not found.at_least
    assert 1800 <= found.seconds < 1.5 * 1800, "half an hour, told coarsely"
    for behind in (10, 30, 120, 600):
        recent = lag(samples, 3600, 100 * (720 - behind // 5))
        assert recent is not None
        assert behind <= recent.seconds <= 1.5 * behind + 5


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 50)), min_size=1, max_size=200),
    st.integers(0, 5000),
)
def test_a_lag_is_never_understated(steps: list[tuple[int, int]], behind: int) -> None:
    time = available = 0
    truth: list[tuple[int, int]] = []
    samples: tuple[Sample, ...] = ()
    for seconds, written in steps:
        time, available = time + seconds, available + written
        truth.append((time, available))
        samples = sampled(samples, time, available)
        assert len(samples) <= MOST_SAMPLES
    read = max(0, available - behind)
    found = lag(samples, time, read)
    assert found is not None
    exact = [then for then, could in truth if could <= read]
    if read >= available:
        assert found.seconds == 0
    elif exact:
        assert found.seconds >= time - exact[-1] or found.at_least
    else:
        assert found.at_least
