"""Which folders of ended jobs may go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from lakehouse_dagster.engines.s3 import StoredObject
from lakehouse_dagster.streams.checkpoints import abandoned

NOW = datetime(2026, 11, 23, tzinfo=UTC)
BEFORE = NOW - timedelta(hours=24)
RUNNING = "f" * 32


def folder(number: int, shape: str = "shape") -> str:
    return f"flink/checkpoints/p-lake/{shape}/{number:032x}/"


def written(where: str, name: str, hours: float) -> StoredObject:
    return StoredObject(f"{where}{name}", 10, NOW - timedelta(hours=hours))


def choose(found: list[StoredObject], *kept: str, most: int = 300) -> tuple[str, ...]:
    return abandoned(found, kept=kept, running=RUNNING, before=BEFORE, most=most)


def test_old_folders_go_whole_whatever_their_shape_the_oldest_first() -> None:
    found = [
        written(folder(1), "chk-7/_metadata", 30),
        written(folder(1), "shared/x", 90),
        written(folder(2, "older-shape"), "chk-1/_metadata", 40),
        written(folder(3), "taskowned/x", 50),
    ]
    assert choose(found) == (folder(3), folder(2, "older-shape"), folder(1))


def test_one_young_file_keeps_its_folder() -> None:
    assert choose([written(folder(1), "chk-1/_metadata", 90), written(folder(1), "shared/x", 23)]) == ()


def test_a_folder_of_which_one_checkpoint_can_be_used_stays_whole() -> None:
    found = [written(folder(1), f"chk-{n}/_metadata", 30) for n in range(3)]
    assert choose(found, f"s3://lake/{folder(1)}chk-2") == ()
    # A savepoint lies elsewhere and keeps no folder of checkpoints.
    assert choose(found, "s3://lake/flink/savepoints/p-lake/shape/savepoint-1") == (folder(1),)


def test_the_running_jobs_own_folder_stays() -> None:
    own = f"flink/checkpoints/p-lake/shape/{RUNNING}/"
    assert choose([written(own, "chk-1/_metadata", 90)]) == ()


def test_what_is_no_jobs_folder_is_left_alone() -> None:
    keys = ("_metadata", "chk-1/_metadata", f"{'a' * 31}/chk-1/_metadata", f"{'g' * 32}/chk-1/_metadata")
    found = [written("flink/checkpoints/p-lake/shape/", key, 90) for key in keys]
    assert choose([*found, written(f"flink/savepoints/p-lake/shape/{'a' * 32}/", "_metadata", 90)]) == ()


def test_a_start_deletes_no_more_than_it_may_but_always_something() -> None:
    found = [written(folder(n), f"shared/{at}", 90 - n) for n in range(4) for at in range(10)]
    assert choose(found, most=25) == (folder(0), folder(1))
    assert choose(found, most=5) == (folder(0),)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 48)), max_size=40),
    st.sets(st.integers(0, 5)),
    st.integers(1, 20),
)
def test_nothing_that_is_needed_ever_goes(ages: list[tuple[int, int]], needed: set[int], most: int) -> None:
    found = [written(folder(n), f"chk-{at}/_metadata", age) for at, (n, age) in enumerate(ages)]
    chosen = choose(found, *(f"s3://lake/{folder(n)}chk-1" for n in needed), most=most)
    young = {folder(n) for n, age in ages if age <= 24}
    assert not set(chosen) & (young | {folder(n) for n in needed})
    deleted = [item for item in found if item.key.startswith(chosen)]
    assert len(deleted) <= most or len(chosen) == 1
