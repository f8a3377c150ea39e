"""Time and memory of the running proof's comparison alone: digests, ranges and rounds, without any engine.

    .venv/bin/python -m bench.prove_memory [--rows 5000000] [--changed 100000] [--wrong 100]

``--rows`` synthetic rows of eight columns are made, digested and kept as the proof keeps the source's, then
once more as a place's. ``--changed`` of them have changed since in the place (a position after the source's),
of which half are equal at the next read of the source and half have to be read again; ``--wrong`` rows are
spoilt. Prints one JSON object; memory is the greatest resident size of this process.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Iterator

from lakehouse_dagster.proof.prove import MEMORY_BYTES
from lakehouse_dagster.proof.ranges import RangedRows
from lakehouse_dagster.proof.rounds import Held, Key, Reconciliation
from lakehouse_dagster.proof.rowset import digest

LIMIT = 1_000_000


def rows(count: int) -> Iterator[tuple[list[str | None], list[str | None]]]:
    """Key and values of each row, as canonical texts."""
    for number in range(count):
        key: list[str | None] = [str(number)]
        yield (
            key,
            [
                *key,
                "EWR" if number % 3 else "JFK",
                f"N{number % 4000:05}",
                "2013-01-01T05:15:00.000000Z",
                None if number % 7 else str(number % 180),
                f"{number % 1000}.50",
                f"note {number % 97}",
                "true",
            ],
        )


def main() -> int:
    """Measure once and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--changed", type=int, default=100_000)
    parser.add_argument("--wrong", type=int, default=100)
    chosen = parser.parse_args()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times: dict[str, float] = {}
    every = max(2, chosen.rows // max(1, chosen.changed))
    spoilt = max(1, chosen.rows // max(1, chosen.wrong))
    with (
        RangedRows(memory_bytes=MEMORY_BYTES // 2) as source,
        RangedRows(memory_bytes=MEMORY_BYTES // 2) as place,
    ):
        at = time.monotonic()
        for key, values in rows(chosen.rows):
            source.add(key, values)
        times["source_seconds"] = time.monotonic() - at
        at = time.monotonic()
        for number, (key, values) in enumerate(rows(chosen.rows)):
            if number % every == 1:
                place.add(key, [*values[:-1], "false"], LIMIT + 1)
            elif chosen.wrong and number % spoilt == 0:
                place.add(key, [*values[:-1], "spoilt"], LIMIT - 1)
            else:
                place.add(key, values, LIMIT - 1)
        times["place_seconds"] = time.monotonic() - at
        spilled = source.spilled + place.spilled
        at = time.monotonic()
        state = Reconciliation()
        state.first(source, place, LIMIT, lambda _key: False)
        times["compare_seconds"] = time.monotonic() - at
        pending = len(state.pending)
        at = time.monotonic()
        truth: dict[Key, bytes] = {}
        for number, key in enumerate(list(state.pending)):
            held = state.pending[key].values
            truth[key] = held if number % 2 and held is not None else digest(["changed again"])
        again = state.look_back(truth, LIMIT + 2)
        state.again(truth, {key: Held(truth[key], LIMIT + 2) for key in again}, LIMIT + 2, lambda _key: False)
        times["rounds_seconds"] = time.monotonic() - at
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = {
        "rows": chosen.rows,
        **{name: round(value, 1) for name, value in times.items()},
        "rows_per_second": round(2 * chosen.rows / (times["source_seconds"] + times["place_seconds"])),
        "ranges_looked_into": state.differing,
        "pending_after_first_round": pending,
        "read_again": len(again),
        "different": state.different,
        "unsettled": state.unsettled,
        "rss_at_start_mb": round(before / 1024),
        "rss_peak_mb": round(peak / 1024),
        "temporary_files_mb": round(spilled / (1 << 20)),
    }
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
