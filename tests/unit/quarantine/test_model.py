"""What a dead letter tells, and how bytes are shown."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse_dagster.engines.kafka_records import Record
from lakehouse_dagster.quarantine.model import HEAD_BYTES, Place, fingerprint, quarantined, shown
from lakehouse_dagster.quarantine.offer import records_markdown
from tests.unit.quarantine.fakes import NOW, ORDERS, letter

DEAD = "orders.dead-letter"


def test_a_dead_letter_tells_where_its_record_is_and_why() -> None:
    found = quarantined(DEAD, letter(7, at=42, reason="column total: 'x' is no decimal"))
    assert found.place == Place(ORDERS, 0, 42)
    assert found.reason == "column total: 'x' is no decimal"
    assert (found.key, found.raw, found.size, found.letter) == (b'{"id":1}', b"{bad", 4, 7)
    assert found.recorded_at.timestamp() == NOW.timestamp() + 0.007
    assert not found.malformed


def test_only_the_first_bytes_are_kept_but_all_are_counted() -> None:
    found = quarantined(DEAD, letter(0, value=b"x" * 100_000))
    assert found.raw == b"x" * HEAD_BYTES
    assert found.size == 100_000
    assert found.fingerprint != quarantined(DEAD, letter(0, value=b"x" * 99_999)).fingerprint


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"topic": None}, "header topic is missing"),
        ({"topic": b""}, "header topic is empty"),
        ({"offset": b"-1"}, "header offset is no number: -1"),
        ({"offset": b"9" * 19}, "header offset is no number"),
        ({"partition": "٣".encode()}, "header partition is no number"),
        ({"offset": b"\xff"}, r"header offset is not UTF-8: \xff"),
        ({"reason": None}, "header reason is missing"),
    ],
)
def test_a_malformed_dead_letter_is_shown_as_such_at_its_own_place(
    headers: dict[str, Any], said: str
) -> None:
    found = quarantined(DEAD, letter(9, at=3, headers=headers))
    assert found.malformed
    assert found.place == Place(DEAD, 0, 9)
    assert said in found.reason
    assert found.key == b'{"id":1}'


def test_a_record_without_anything_is_malformed_too() -> None:
    found = quarantined(DEAD, Record(3, None, None))
    assert found.malformed
    assert (found.key, found.raw, found.size) == (None, None, 0)


def test_null_and_empty_are_not_the_same_record() -> None:
    values = (None, b"", b"-")
    marks = {fingerprint(key, value) for key in values for value in values}
    assert len(marks) == 9


@given(st.binary(max_size=400), st.integers(min_value=10, max_value=80))
def test_whatever_the_bytes_what_is_shown_is_one_printable_line(value: bytes, limit: int) -> None:
    text = shown(value, limit)
    assert text.isprintable()
    assert len(text) <= limit


def test_what_is_shown_of_plain_text_is_the_text() -> None:
    assert shown(b'{"id":1,"name":"\xc3\xa9"}') == '{"id":1,"name":"é"}'
    assert shown(None) == "(none)"
    assert shown(b"\x1b[2J") == "\\x1b[2J"
    assert shown("\u202egnp".encode()) == "\\u202egnp"


def test_places_are_named_as_they_are_printed() -> None:
    assert str(Place.parse("orders.shop.orders:0:42")) == "orders.shop.orders:0:42"


@pytest.mark.parametrize(
    "text", ["", "orders", "orders:0", ":0:1", "orders:x:1", "orders:0:-1", "a:0:1:2", "a:²:1"]
)
def test_what_names_no_place_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="topic:partition:offset"):
        Place.parse(text)


def test_a_cell_of_markdown_cannot_be_left() -> None:
    one = quarantined(DEAD, letter(0, value=b"a|b`c\n<img>", reason="x | y\n\n# z"))
    table = records_markdown([one], 3)
    rows = table.splitlines()
    assert len(rows) == 5
    assert rows[2].count("|") == 5
    assert "<" not in table
    assert rows[-1] == "2 older ones are not shown."
