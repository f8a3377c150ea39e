from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import example, given
from hypothesis import strategies as st

from lakehouse_dagster.governance.hold import Hold, PublicationHeldError, advanced, merge, progress

HOLD = Hold("p", "lake", "the job went back", {"t:0": 10, "t:1": 5}, datetime(2026, 3, 1, 12, tzinfo=UTC))
DONE = {"t:0": 10, "t:1": 7}

Look = tuple[dict[str, int], str, int]
targets = st.dictionaries(st.sampled_from(["t:0", "t:1", "u:0"]), st.integers(0, 4))
looks = st.lists(st.tuples(targets, st.sampled_from(["one", "two"]), st.integers(1, 4)), max_size=12)


def test_every_partition_has_to_come_up_to_its_target() -> None:
    assert progress(HOLD, {}, "j", 1) == "behind"
    assert progress(HOLD, {"t:0": 100, "t:1": 4}, "j", 1) == "behind"
    assert progress(HOLD, {"t:0": 100}, "j", 1) == "behind"
    assert progress(HOLD, DONE, "j", 1) == "reached"
    assert HOLD.missing({"t:0": 8}) == {"t:0": 2, "t:1": 5}


def test_a_partition_without_records_need_not_be_committed() -> None:
    assert progress(replace(HOLD, targets={"t:0": 0}), {}, "j", 1) == "reached"


def test_the_tables_of_the_checkpoint_that_reached_it_may_not_be_committed_yet() -> None:
    reached = advanced(HOLD, DONE, "j", 7)
    assert reached is not None
    assert (reached.reached_job, reached.reached_checkpoint) == ("j", 7)
    assert advanced(reached, DONE, "j", 7) == reached
    assert advanced(reached, DONE, "j", 8) is None


def test_another_job_begins_anew_and_so_does_one_that_fell_back() -> None:
    reached = replace(HOLD, reached_job="j", reached_checkpoint=7)
    other = advanced(reached, DONE, "k", 9)
    assert other == replace(HOLD, reached_job="k", reached_checkpoint=9)
    assert advanced(reached, {}, "j", 8) == HOLD


def test_going_back_again_keeps_the_greater_target_and_forgets_what_was_reached() -> None:
    reached = replace(HOLD, reached_job="j", reached_checkpoint=7)
    merged = merge(reached, "it went back again", {"t:0": 3, "t:1": 50, "u:0": 1})
    assert merged == replace(HOLD, reason="it went back again", targets={"t:0": 10, "t:1": 50, "u:0": 1})


def test_the_error_names_pipeline_reason_and_time() -> None:
    said = str(PublicationHeldError(HOLD))
    for part in ("publication of p", "2026-03-01 12:00:00 UTC", "the job went back"):
        assert part in said


@given(targets, looks)
@example({"t:0": 1}, [({"t:0": 1}, "one", 1), ({"t:0": 1}, "two", 2), ({"t:0": 1}, "two", 3)])
@example({"t:0": 1}, [({"t:0": 1}, "one", 1), ({}, "one", 2), ({"t:0": 1}, "one", 3)])
def test_released_exactly_when_a_later_checkpoint_follows_the_one_that_reached_it(
    wanted: dict[str, int], seen: list[Look]
) -> None:
    """Against the plain words: of the looks in a row up to now, by one job, all showing every target
    committed, the newest shows a later checkpoint than the first.
    """
    hold: Hold | None = replace(HOLD, targets=wanted)
    row: list[tuple[str, int]] = []
    for committed, job, checkpoint in seen:
        assert hold is not None
        met = all(committed.get(name, 0) >= target for name, target in wanted.items())
        if not met:
            row = []
        elif row and row[-1][0] != job:
            row = [(job, checkpoint)]
        else:
            row.append((job, checkpoint))
        released = bool(row) and checkpoint > row[0][1]
        assert (progress(hold, committed, job, checkpoint) == "released") is released
        hold = advanced(hold, committed, job, checkpoint)
        assert (hold is None) is released
        if hold is None:
            return


@given(targets, targets, st.integers(1, 9))
def test_a_job_that_goes_on_is_released_after_two_checkpoints(
    first: dict[str, int], second: dict[str, int], checkpoint: int
) -> None:
    merged = merge(replace(HOLD, targets=first), "again", second)
    committed = dict(merged.targets)
    reached = advanced(merged, committed, "j", checkpoint)
    assert reached is not None
    assert advanced(reached, committed, "j", checkpoint + 1) is None


@given(targets, targets)
def test_a_merged_hold_is_never_easier_to_meet_than_either(
    first: dict[str, int], second: dict[str, int]
) -> None:
    merged = merge(replace(HOLD, targets=first), "again", second)
    assert set(merged.targets) == {*first, *second}
    for name, target in merged.targets.items():
        assert target == max(first.get(name, 0), second.get(name, 0))
