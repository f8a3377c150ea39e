"""No record counts as landed before it has: a job's life, its commits and the looks at it in any order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lakehouse_dagster.streams.landed import Landed

#: What happens next: records are read, a checkpoint completes (its offsets are committed at once, its tables
#: one checkpoint later at worst), somebody looks, or the job dies and comes back from its last checkpoint.
STEPS = st.lists(st.sampled_from(["read", "checkpoint", "look", "die"]), max_size=200)


@given(STEPS)
def test_what_counts_as_landed_is_in_the_tables(steps: list[str]) -> None:
    read = committed = in_tables = 0
    job, number = 1, 0
    landed = Landed()
    for step in steps:
        if step == "read":
            read += 1
        elif step == "checkpoint":
            # The sinks may still be at it with the last one; the one before they have committed.
            in_tables, committed, number = committed, read, number + 1
        elif step == "look" and number:
            landed = landed.seen(f"job {job}", number, {"t:0": committed})
        elif step == "die":
            read, job, number = committed, job + 1, 0
        assert landed.offsets.get("t:0", 0) <= in_tables


def test_it_moves_on_with_a_job_that_does() -> None:
    landed = Landed()
    for number in range(1, 20):
        landed = landed.seen("j", number, {"t:0": 100 * number})
    assert landed.offsets == {"t:0": 1700}
    assert landed.seen("k", 1, {"t:0": 1950}).offsets == {"t:0": 1700}


def test_a_look_at_the_same_checkpoint_changes_nothing() -> None:
    landed = Landed().seen("j", 4, {"t:0": 1})
    assert landed.seen("j", 5, {"t:0": 2}) is landed
