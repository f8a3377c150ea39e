from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse_dagster.proof.ranges import BUCKETS, NO_POSITION, RANGES, RangedRows, RangeSums, range_of
from lakehouse_dagster.proof.rowset import digest, packed, unpacked

Rows = list[tuple[str, str | None]]


def ranged(rows: Rows, memory_bytes: int = 1 << 20) -> RangedRows:
    found = RangedRows(memory_bytes=memory_bytes)
    for number, (key, value) in enumerate(rows):
        found.add([key], [key, value], number or None)
    return found


@given(st.lists(st.none() | st.text(), max_size=5))
def test_packed_texts_come_back(values: list[str | None]) -> None:
    assert unpacked(packed(values)) == tuple(values)


def test_the_sums_do_not_depend_on_the_order() -> None:
    rows: Rows = [(str(n), f"v{n}") for n in range(3000)]
    mixed = rows.copy()
    random.Random(3).shuffle(mixed)
    assert ranged(rows).sums == ranged(mixed).sums


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.text(max_size=2), st.none() | st.text(max_size=2), max_size=40),
    st.dictionaries(st.text(max_size=2), st.none() | st.text(max_size=2), max_size=40),
)
def test_exactly_the_ranges_with_another_row_differ(
    one: dict[str, str | None], other: dict[str, str | None]
) -> None:
    differing = ranged(list(one.items())).sums.differing(ranged(list(other.items())).sums)
    assert set(differing) == {range_of(digest([key])) for key, _ in set(one.items()) ^ set(other.items())}


def test_the_same_row_twice_is_not_the_row_once() -> None:
    assert ranged([("a", "1"), ("a", "1")]).sums.differing(ranged([("a", "1")]).sums)
    assert ranged([("a", "1")]).sums.differing(ranged([]).sums) == [range_of(digest(["a"]))]


def test_sums_are_kept_in_24_bytes_per_range() -> None:
    sums = ranged([(str(n), None) for n in range(100)]).sums
    content = sums.dump()
    assert len(content) == RANGES * 24
    assert RangeSums.load(content) == sums
    with pytest.raises(ValueError, match="not the sums"):
        RangeSums.load(content[:-1])


@pytest.mark.parametrize("memory_bytes", [1, 8192, 1 << 24])
def test_every_row_comes_back_whole_in_its_bucket(memory_bytes: int) -> None:
    rows: Rows = [(f"key {n}", str(n)) for n in range(4000)]
    with ranged(rows, memory_bytes) as found:
        assert bool(found.spilled) == (memory_bytes < 1 << 24)
        back = {}
        for number in range(BUCKETS):
            for entry in found.bucket(number):
                assert entry.key[0] == number
                back[unpacked(entry.packed_key)[0]] = (entry.values, entry.position)
        expected = {
            key: (digest([key, value]), number or NO_POSITION) for number, (key, value) in enumerate(rows)
        }
        assert back == expected
        number = range_of(digest(["key 17"]))
        assert found.newest(number) >= 17
    assert not list(found.bucket(0))
    assert sum(found.sums.rows) == 4000
