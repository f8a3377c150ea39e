from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse_dagster.contract.errors import PositionOverflow
from lakehouse_dagster.contract.position import MAX_POSITION, decode, encode, file_number

parts = st.tuples(
    st.integers(0, 15), st.integers(0, 2**19 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**12 - 1)
)


@given(parts)
def test_decode_reverses_encode_up_to_16_bytes(part: tuple[int, int, int, int]) -> None:
    epoch, file, pos, row = part
    encoded = encode(epoch, file, pos, row)
    assert 0 <= encoded <= MAX_POSITION == 2**63 - 1
    assert decode(encoded) == (epoch, file, pos - pos % 16, row)


@given(parts, parts)
def test_order_of_positions_is_order_of_events(
    one: tuple[int, int, int, int], other: tuple[int, int, int, int]
) -> None:
    # Two events of one file are at least 19 bytes apart (the header's size), unless they are the same event.
    if one[:2] == other[:2] and 0 < abs(one[2] - other[2]) < 19:
        other = (other[0], other[1], one[2], other[3])
    assert (encode(*one) < encode(*other)) == (one < other)
    assert (encode(*one) == encode(*other)) == (one == other)


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ((16, 0, 0, 0), "epoch 16"),
        ((0, 2**19, 0, 0), "file 524288"),
        ((0, 0, 2**32, 0), "pos 4294967296"),
        ((0, 0, 0, 4096), "row 4096"),
        ((0, 0, 0, -1), "row -1"),
        ((0, 0, -1, 0), "pos -1"),
    ],
)
def test_overflow_is_refused_and_named(part: tuple[int, int, int, int], named: str) -> None:
    with pytest.raises(PositionOverflow, match=named):
        encode(*part)


VECTORS = json.loads((Path(__file__).parents[2] / "golden" / "source_position.json").read_text())["vectors"]


@pytest.mark.parametrize(
    "vector", VECTORS, ids=lambda vector: "-".join(str(part) for part in vector.values())
)
def test_vectors_shared_with_the_java_function(vector: dict[str, Any]) -> None:
    def encoded() -> int:
        return encode(vector["epoch"], file_number(vector["file"]), vector["pos"], vector["row"])

    if "position" in vector:
        assert encoded() == vector["position"]
    else:
        with pytest.raises(ValueError, match=r"source position|binary log file"):
            encoded()


def test_known_values() -> None:
    assert encode(0, 1, 4, 0) == 1 << 40
    assert encode(0, 3, 157, 2) == (3 << 40) + (9 << 12) + 2
    assert encode(15, 2**19 - 1, 2**32 - 1, 4095) == 2**63 - 1
    with pytest.raises(PositionOverflow):
        decode(2**63)


def test_file_number() -> None:
    assert file_number("binlog.000012") == 12
    assert file_number("my.host-bin.1000000") == 1_000_000
    for name in ("binlog", "binlog.", "binlog.x1", "binlog.-1", "binlog.١"):
        with pytest.raises(ValueError, match="binary log"):
            file_number(name)
