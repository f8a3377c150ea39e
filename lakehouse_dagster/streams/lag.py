"""How far a stream is behind in seconds, from how far it could have been at earlier moments.

Engines tell positions (offsets, places in the binary log), not times. What a stream has read by now was all
there was at some earlier moment; the time since then is its lag. So the moments are kept as samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MOST_SAMPLES = 24
"""Kept per stream; they are written anew with every tick of the sensor."""
HORIZON_SECONDS = 3600
"""A lag beyond it is told as at least that long."""


@dataclass(frozen=True)
class Sample:
    """At ``time`` (whole seconds since 1970) a stream could have been at ``available`` and no further."""

    time: int
    available: int


@dataclass(frozen=True)
class Lag:
    """Seconds that a stream is behind; ``at_least`` when it is older than everything remembered."""

    seconds: float
    at_least: bool = False

    def __str__(self) -> str:
        return f"{'at least ' if self.at_least else ''}{self.seconds:.0f} s"


def sampled(samples: Sequence[Sample], time: float, available: int | None) -> tuple[Sample, ...]:
    """Return ``samples``, oldest first, with the one of now; at most ``MOST_SAMPLES``.

    Of each position only the last moment is kept, so a quiet source uses up none. When there are too many,
    the one goes that is missed least for its age: the further back, the coarser. A lag is overstated by that,
    never understated. Positions that went back (a topic made anew) begin a new series.
    """
    if available is None:
        return tuple(samples)
    kept = [sample for sample in samples if sample.available <= available]
    if len(kept) < len(samples):
        kept = []
    if kept and kept[-1].available == available:
        kept.pop()
    kept.append(Sample(int(time), available))
    while len(kept) > 2 and kept[1].time < time - HORIZON_SECONDS:
        kept.pop(0)
    if len(kept) > MOST_SAMPLES:
        del kept[min(range(1, len(kept) - 1), key=lambda index: _missed(kept, index, time))]
    return tuple(kept)


def _missed(samples: Sequence[Sample], index: int, time: float) -> float:
    """Return by which share of its age a lag would be overstated without the sample at ``index``."""
    before, after = samples[index - 1].time, samples[index + 1].time
    return (after - before) / max(1.0, time - before)


def lag(samples: Sequence[Sample], time: float, read: int | None) -> Lag | None:
    """Return the lag at ``time`` of a stream that has read up to ``read``; ``None`` when nothing is known."""
    if read is None or not samples:
        return None
    if read >= samples[-1].available:
        return Lag(0.0)
    for sample in reversed(samples):
        if sample.available <= read:
            return Lag(max(0.0, time - sample.time))
    return Lag(max(0.0, time - samples[0].time), at_least=True)
