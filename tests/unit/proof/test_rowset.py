from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse_dagster.proof.rowset import RowSet, compare, digest

Row = tuple[str, str | None]


def rowset(rows: list[Row], memory_bytes: int = 1 << 20) -> RowSet:
    found = RowSet(memory_bytes=memory_bytes)
    for key, value in rows:
        found.add([key], [key, value])
    return found


def test_digest_tells_null_empty_and_split_texts_apart() -> None:
    texts: list[list[str | None]] = [
        [None],
        [""],
        ["-"],
        ["ab", "c"],
        ["a", "bc"],
        ["abc"],
        ["abc", None],
        [],
    ]
    assert len({digest(values) for values in texts}) == len(texts)
    assert len(digest(["x"])) == 16


def test_digest_takes_text_that_is_no_valid_unicode() -> None:
    assert digest(["\udcff"]) != digest(["?"])


def test_equal_sets_in_another_order() -> None:
    rows: list[Row] = [(str(n), f"value {n}") for n in range(5000)]
    mixed = rows.copy()
    random.Random(7).shuffle(mixed)
    found = compare(rowset(rows), rowset(mixed))
    assert found.equal
    assert (found.source_rows, found.rows) == (5000, 5000)
    assert not found.keys


def test_each_kind_of_difference_is_counted_once() -> None:
    source: list[Row] = [("a", "1"), ("b", "2"), ("c", None), ("d", "4")]
    place: list[Row] = [("a", "1"), ("b", "3"), ("c", ""), ("e", "5")]
    found = compare(rowset(source), rowset(place))
    assert (found.missing, found.extra, found.different) == (1, 1, 2)
    assert not found.equal
    kinds = {key: found.keys[digest([key])] for key in "bcde"}
    assert kinds == {"b": "different", "c": "different", "d": "missing", "e": "extra"}


def test_a_second_row_of_a_key_is_extra_even_if_it_is_equal() -> None:
    found = compare(rowset([("a", "1")]), rowset([("a", "1"), ("a", "1")]))
    assert (found.missing, found.extra, found.different) == (0, 1, 0)


def test_a_wrong_row_before_the_right_one_of_the_same_key_is_seen() -> None:
    found = compare(rowset([("a", "1")]), rowset([("a", "2"), ("a", "1")]))
    assert (found.extra, found.different) == (1, 1)


def test_an_empty_place_misses_everything() -> None:
    found = compare(rowset([("a", "1"), ("b", "2")]), rowset([]))
    assert (found.source_rows, found.rows, found.missing) == (2, 0, 2)


def test_the_remembered_keys_are_bounded_but_the_counts_are_not() -> None:
    found = compare(rowset([(str(n), None) for n in range(500)]), rowset([]), limit=20)
    assert found.missing == 500
    assert len(found.keys) == 20


def test_spilling_to_files_changes_nothing() -> None:
    rows: list[Row] = [(str(n), str(n * n)) for n in range(20_000)]
    other: list[Row] = [(k, "x" if k == "777" else v) for k, v in rows if k != "12345"]
    with rowset(rows, memory_bytes=4096) as left, rowset(other, memory_bytes=4096) as right:
        assert any(file is not None for file in left._files)
        found = compare(left, right)
        assert (found.missing, found.extra, found.different) == (1, 0, 1)
        # The files can be read a second time, and added to in between.
        left.add(["new"], ["new", None])
        assert compare(left, right).missing == 2


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(st.text(max_size=3), st.none() | st.text(max_size=3), max_size=30),
    st.dictionaries(st.text(max_size=3), st.none() | st.text(max_size=3), max_size=30),
)
def test_counts_agree_with_a_plain_comparison(
    source: dict[str, str | None], place: dict[str, str | None]
) -> None:
    found = compare(rowset(list(source.items()), 64), rowset(list(place.items()), 64))
    assert found.missing == len(source.keys() - place.keys())
    assert found.extra == len(place.keys() - source.keys())
    assert found.different == sum(1 for key in source.keys() & place.keys() if source[key] != place[key])
    assert found.equal == (source == place)


def test_a_closed_set_holds_nothing() -> None:
    rows = rowset([("a", "1")], memory_bytes=64)
    rows.close()
    assert all(not list(rows.bucket(number)) for number in range(64))


@pytest.mark.parametrize("count", [0, 1, 4095, 4096, 4097])
def test_every_record_comes_back_whatever_the_chunk(count: int) -> None:
    rows = RowSet(memory_bytes=64)
    key = bytes(16)
    for number in range(count):
        rows.add_digests(key, number.to_bytes(16, "big"))
    assert [int.from_bytes(value, "big") for _, value in rows.bucket(0)] == list(range(count))
