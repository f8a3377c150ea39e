"""A bound on how fast the source is read: a token bucket of rows."""

from __future__ import annotations

import time
from collections.abc import Callable


class Throttle:
    """Lets at most `rate` rows per second pass in the long run, and at most `burst` at once.

    Rows are paid after they were read, because nobody knows how many there will be: a debt is slept off
    before the next are read. `rate` None sets no bound. `clock` gives seconds, `sleep` waits for some.
    """

    def __init__(
        self,
        rate: float | None,
        *,
        burst: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if rate is not None and rate <= 0:
            raise ValueError(f"a rate of {rate} rows per second lets nothing pass")
        self.rate = rate
        self.rows = 0
        self.waited = 0.0
        self._burst = burst if burst is not None else (rate or 0.0)
        self._clock = clock
        self._sleep = sleep
        self._level = self._burst
        self._at = clock()

    def wait(self) -> None:
        """Return when the next rows may be read."""
        if self.rate is None:
            return
        self._fill()
        if self._level < 0:
            seconds = -self._level / self.rate
            self._sleep(seconds)
            self.waited += seconds
            self._fill()

    def paid(self, rows: int) -> None:
        """Take down that so many rows were read."""
        self.rows += rows
        if self.rate is not None:
            self._fill()
            self._level -= rows

    def _fill(self) -> None:
        assert self.rate is not None
        now = self._clock()
        self._level = min(self._burst, self._level + (now - self._at) * self.rate)
        self._at = now
