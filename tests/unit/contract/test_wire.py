"""Every canonical text becomes a value on the wire that reads back as that text, or is refused by name."""

from __future__ import annotations

import base64
import json
import struct
from datetime import date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse_dagster.contract import Column
from lakehouse_dagster.contract.canonical import canonical
from lakehouse_dagster.contract.wire import NoWireForm, to_wire


def column(mysql_type: str) -> Column:
    return Column(name="c", mysql_type=mysql_type, nullable=True, position=1)


def finite(width: int) -> st.SearchStrategy[float]:
    return st.floats(width=width, allow_nan=False, allow_infinity=False)  # type: ignore[arg-type]


LONGEST_TIME = ((838 * 60 + 59) * 60 + 59) * 1_000_000


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "tinyint(1)": st.integers(-128, 127),
    "int": st.integers(-(2**31), 2**31 - 1),
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "bigint unsigned": st.integers(0, 2**64 - 1),
    "decimal(20,6)": st.decimals(min_value=-(10**13), max_value=10**13, places=6),
    "decimal(65,30)": st.decimals(min_value=-(10**20), max_value=10**20, places=30),
    "float": finite(32),
    "double": finite(64),
    "bit(1)": st.booleans(),
    "bit(20)": st.integers(0, 2**20 - 1),
    "date": st.dates(date(1000, 1, 1)),
    "datetime": st.datetimes(datetime(1000, 1, 1)).map(lambda moment: moment.replace(microsecond=0)),
    "timestamp(6)": st.datetimes(datetime(1970, 1, 2), datetime(2038, 1, 1)),
    "varchar(50)": st.text(),
    "json": st.recursive(
        st.none() | st.booleans() | st.integers() | finite(64) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    ).map(json.dumps),
    "varbinary(50)": st.binary(),
    "time(6)": st.integers(-LONGEST_TIME, LONGEST_TIME),
    "geometry": st.binary(min_size=5),
    "vector(3)": st.lists(finite(32)),
}


@pytest.mark.parametrize("mysql_type", VALUES)
@given(data=st.data())
def test_the_wire_reads_back_as_the_canonical_text(mysql_type: str, data: st.DataObject) -> None:
    carried = column(mysql_type)
    text = canonical(carried, data.draw(VALUES[mysql_type]))
    assert text is not None
    on_the_wire = json.loads(json.dumps(to_wire(carried, text), allow_nan=False))
    assert canonical(carried, on_the_wire) == text


def test_null_stays_null() -> None:
    assert to_wire(column("int"), None) is None


@pytest.mark.parametrize(
    ("mysql_type", "text", "value"),
    [
        # As Debezium 3.6.1 with this configuration writes them (tests/engine/test_resnapshot.py).
        ("bigint unsigned", "18446744073709551615", 18446744073709551615),
        ("tinyint(1)", "-5", -5),
        ("decimal(10,3)", "-1234567.891", "-1234567.891"),
        ("float", "0.3333333432674408", 0.3333333432674408),
        ("bit(1)", "true", True),
        ("bit(20)", "986895", base64.b64encode(b"\x0f\x0f\x0f").decode()),
        ("date", "9999-12-31", "9999-12-31Z"),
        ("timestamp(6)", "2038-01-19T03:14:07.999999Z", "2038-01-19T03:14:07.999999Z"),
        ("year", "2155", 2155),
        ("set('x','y')", "x,y", "x,y"),
        ("binary(4)", "AP8AAA==", "AP8AAA=="),
    ],
)
def test_the_form_is_debeziums(mysql_type: str, text: str, value: object) -> None:
    found = to_wire(column(mysql_type), text)
    assert found == value
    assert type(found) is type(value)


@given(finite(32))
def test_a_float_is_the_32_bit_value_for_a_reader_of_doubles(number: float) -> None:
    text = canonical(column("float"), number)
    found = to_wire(column("float"), text)
    assert isinstance(found, float)
    assert struct.unpack("<f", struct.pack("<f", found))[0] == found


@pytest.mark.parametrize(
    ("mysql_type", "text"),
    [
        ("int", "!document id two"),
        ("int", "1.5"),
        ("int", "007"),
        ("decimal(10,2)", "1.5"),
        ("float", "0.1"),
        ("double", "nan"),
        ("bit(1)", "yes"),
        ("bit(8)", "256"),
        ("date", "2013-02-01T00:00:00"),
        ("timestamp(6)", "yesterday"),
        ("json", "{"),
        ("blob", "not base64!"),
    ],
)
def test_what_is_no_value_of_the_type_is_refused_and_the_column_named(mysql_type: str, text: str) -> None:
    with pytest.raises(NoWireForm, match=r"column c: .*is no value of type"):
        to_wire(column(mysql_type), text)
