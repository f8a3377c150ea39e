from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse_dagster.proof.throttle import Throttle


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds


def throttle(clock: Clock, rate: float | None, burst: float | None = None) -> Throttle:
    return Throttle(rate, burst=burst, clock=clock, sleep=clock.sleep)


def test_without_a_rate_nothing_waits() -> None:
    clock = Clock()
    free = throttle(clock, None)
    for _ in range(10):
        free.wait()
        free.paid(1_000_000)
    assert clock.now == 100.0
    assert free.rows == 10_000_000


@given(st.floats(1, 1e6), st.lists(st.integers(1, 5000), min_size=1, max_size=50), st.floats(0, 0.5))
def test_no_more_than_the_rate_and_one_burst(rate: float, pages: list[int], work: float) -> None:
    clock = Clock()
    bound = throttle(clock, rate)
    for page in pages:
        bound.wait()
        clock.now += work
        bound.paid(page)
    bound.wait()
    # What was read in all, but for the first burst, has taken its time.
    assert sum(pages) <= rate * (clock.now - 100.0) + rate + 1e-3 * sum(pages)
    assert bound.rows == sum(pages)


def test_a_slow_reader_saves_no_more_than_one_burst() -> None:
    clock = Clock()
    bound = throttle(clock, 100.0, burst=50.0)
    clock.now += 1000
    bound.paid(150)
    bound.wait()
    assert bound.waited == pytest.approx(1.0)


@pytest.mark.parametrize("rate", [0, -1.0])
def test_a_rate_that_lets_nothing_pass_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="lets nothing pass"):
        Throttle(rate)
