from __future__ import annotations

import base64
import json
import math
import struct
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse_dagster.contract import Column
from lakehouse_dagster.contract.canonical import canonical, canonicalizer


def column(mysql_type: str) -> Column:
    return Column(name="c", mysql_type=mysql_type, nullable=True, position=1)


@given(st.integers(0, 2**64 - 1))
def test_integers(number: int) -> None:
    for value in (number, str(number), Decimal(number)):
        assert canonical(column("bigint unsigned"), value) == str(number)


@given(st.decimals(min_value=-(10**8), max_value=10**8, places=4))
def test_decimals_have_the_columns_scale(number: Decimal) -> None:
    convert = canonicalizer(column("decimal(20,6)"))
    expected = f"{number + 0:.6f}" if number else "0.000000"
    for value in (number, f"{number:f}", str(number), f"{number:E}", f"{number:.6f}"):
        assert convert(value) == expected


def test_a_decimal_that_lost_or_gained_digits_differs() -> None:
    convert = canonicalizer(column("decimal(10,2)"))
    assert convert("1.1") == convert(Decimal("1.10")) == "1.10"
    assert convert("1.101") == "1.101"
    assert convert("-0.00") == "0.00"
    assert convert("007.5") == "7.50"
    assert canonical(column("decimal(65,30)"), "1E-30") == "0." + "0" * 29 + "1"


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_doubles_to_the_bit(number: float) -> None:
    convert = canonicalizer(column("double"))
    text = convert(number)
    assert text is not None
    assert convert(repr(number)) == convert(f"{number:.17g}") == convert(json.dumps(number)) == text
    assert float(text) == number
    if number != 0:
        assert convert(math.nextafter(number, 0)) != text


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_floats_to_the_bit_of_32(number: float) -> None:
    convert = canonicalizer(column("float"))
    # Nine digits are enough for a 32-bit value; Java and MySQL print fewer where that suffices.
    assert convert(number) == convert(f"{number:.9g}") == convert(f"{number:.17g}")
    (bits,) = struct.unpack("<i", struct.pack("<f", number))
    if 0 < bits < 0x7F7FFFFF:
        (neighbour,) = struct.unpack("<f", struct.pack("<i", bits + 1))
        assert convert(neighbour) != convert(number)


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)))
def test_timestamps_from_every_place(moment: datetime) -> None:
    convert = canonicalizer(column("datetime(6)"))
    expected = moment.strftime("%m-%dT%H:%M:%S.%f") + "Z"
    expected = f"{moment.year:04d}-{expected}"
    spaced = moment.isoformat(" ", "microseconds")
    zoned = moment.replace(tzinfo=UTC).astimezone(timezone(timedelta(hours=5, minutes=30)))
    for value in (
        moment,
        moment.replace(tzinfo=UTC),
        zoned,
        spaced,
        f"{spaced} UTC",
        moment.isoformat() + "Z",
    ):
        assert convert(value) == expected


def test_timestamps_with_fewer_digits_and_wrong_ones() -> None:
    convert = canonicalizer(column("timestamp(6)"))
    assert (
        convert("2013-01-01 05:15:00") == convert("2013-01-01T05:15:00.0Z") == "2013-01-01T05:15:00.000000Z"
    )
    assert convert("2013-01-01 05:15:00.123456000") == "2013-01-01T05:15:00.123456Z"
    assert convert("2013-01-01 05:15:00.123456789") == "!'2013-01-01 05:15:00.123456789'"
    assert convert("0000-00-00") == "!'0000-00-00'"


@given(st.dates())
def test_dates(day: date) -> None:
    convert = canonicalizer(column("date"))
    for value in (day, day.isoformat(), f"{day.isoformat()}Z", datetime(day.year, day.month, day.day)):
        assert convert(value) == day.isoformat()


@given(st.binary())
def test_bytes(data: bytes) -> None:
    convert = canonicalizer(column("varbinary(10)"))
    text = base64.b64encode(data).decode()
    assert convert(data) == convert(bytearray(data)) == convert(memoryview(data)) == convert(text) == text


@given(st.integers(0, 2**10 - 1))
def test_bits_as_number_or_as_carried(number: int) -> None:
    convert = canonicalizer(column("bit(10)"))
    carried = number.to_bytes(2, "little")
    assert convert(number) == convert(carried) == convert(base64.b64encode(carried).decode()) == str(number)


@pytest.mark.parametrize("value", [True, 1, "true", "TRUE", b"\x01"])
def test_booleans(value: object) -> None:
    assert canonical(column("bit(1)"), value) == "true"


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner)
                    | st.dictionaries(st.text(), inner), max_leaves=8))  # fmt: skip
def test_json_by_its_text(value: object) -> None:
    convert = canonicalizer(column("json"))
    text = json.dumps(value, ensure_ascii=False)
    assert convert(text) == convert(text.encode()) == text


def test_json_that_was_printed_otherwise_differs() -> None:
    convert = canonicalizer(column("json"))
    assert convert('{"a": 1, "b": 2}') != convert('{"b": 2, "a": 1}')
    assert convert("1e10") != convert("10000000000")
    assert str(convert({"a": 1})).startswith("!")


@given(st.text())
def test_text_is_kept(text: str) -> None:
    assert canonical(column("varchar(10)"), text) == text


@pytest.mark.parametrize(
    ("mysql_type", "value"),
    [
        ("int", "1.5"),
        ("int", "x"),
        ("int", b"1"),
        ("decimal(10,2)", "NaN"),
        ("double", "x"),
        ("bit(1)", 2),
        ("date", "2013-01-01 05:15:00"),
        ("datetime", 5),
        ("json", "{"),
        ("blob", "not base64!"),
        ("float", "1e300"),
        ("varchar(3)", 5),
    ],
)
def test_a_value_of_another_type_never_raises_and_never_equals(mysql_type: str, value: object) -> None:
    assert canonical(column(mysql_type), value) == f"!{value!r}"


def test_null_stays_null() -> None:
    assert canonical(column("int"), None) is None


@given(st.integers(-((838 * 60 + 59) * 60 + 59) * 1_000_000, ((838 * 60 + 59) * 60 + 59) * 1_000_000))
def test_times_beyond_a_day_and_before_zero(micros: int) -> None:
    convert = canonicalizer(column("time(6)"))
    seconds, fraction = divmod(abs(micros), 1_000_000)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:06}"
    text = f"-{clock}" if micros < 0 else clock
    assert convert(text) == convert(micros) == convert(str(micros)) == str(micros)


def test_a_time_without_all_digits() -> None:
    convert = canonicalizer(column("time(2)"))
    assert convert("-00:00:00.50") == "-500000"
    assert convert("838:59:59") == "3020399000000"
    assert convert("1:00:00") == "!'1:00:00'"


def test_the_sign_of_zero_is_kept() -> None:
    for mysql_type in ("float", "double"):
        convert = canonicalizer(column(mysql_type))
        assert (convert("-0"), convert(-0.0), convert("0"), convert(0)) == ("-0.0", "-0.0", "0.0", "0.0")


def test_a_geometry_on_the_wire_is_its_bytes_in_mysql() -> None:
    convert = canonicalizer(column("point"))
    wkb = bytes.fromhex("0101000000000000000000F03F0000000000000040")
    stored = (4326).to_bytes(4, "little") + wkb
    wire = {"srid": 4326, "wkb": base64.b64encode(wkb).decode()}
    assert convert(stored) == convert(wire) == convert(base64.b64encode(stored).decode())
    assert convert({"srid": None, "wkb": wire["wkb"]}) == convert(bytes(4) + wkb)
    assert str(convert({"srid": 1})).startswith("!")


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_vectors_to_the_bit_of_32(numbers: list[float]) -> None:
    convert = canonicalizer(column("vector(3)"))
    stored = "0x" + struct.pack(f"<{len(numbers)}f", *numbers).hex()
    assert convert(stored) == convert(numbers) == convert(json.dumps(numbers)) == convert(tuple(numbers))
    if numbers:
        assert convert(numbers) != convert([*numbers[:-1], math.nextafter(numbers[-1], 1e39) * 2 + 1])
