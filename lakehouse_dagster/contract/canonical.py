"""One canonical text form per type, by which the verifier compares the places a row lives in.

Every place hands out values in its own way: MySQL and Cassandra as Python objects, Flink and CouchDB as
text or JSON, Trino as a mixture. :func:`canonical` brings all of them to the same text; two values are
equal exactly when their canonical texts are. A value that is not of the column's type at all never raises:
its text begins with ``!`` and so differs from every real one.

=========  ===============================================================================================
family     canonical text
=========  ===============================================================================================
integer    decimal digits, ``-`` if negative
decimal    plain digits with exactly the column's scale (more only when the value has more: a difference)
float      shortest text of the double equal to the 32-bit value
double     shortest text that reads back as the same double
boolean    ``true`` or ``false``
bits       the number as unsigned decimal digits
date       ``YYYY-MM-DD``
timestamp  ``YYYY-MM-DDTHH:MM:SS.ffffffZ``
time       microseconds as decimal digits, ``-`` if negative
text       the text itself
json       the text itself, which must be JSON: every place holds it as MySQL prints it
bytes      base64
geometry   base64 of MySQL's own form: the SRID in four bytes (little-endian), then WKB
vector     JSON array, every number as for float
=========  ===============================================================================================
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Final

from lakehouse_dagster.contract.schema import Column
from lakehouse_dagster.contract.types import Family, TypeMapping, mapping

_TIMESTAMP = re.compile(
    r"(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(?:Z| UTC|\+00:?00)?", re.ASCII
)
_TIME = re.compile(r"(-?)(\d{2,3}):([0-5]\d):([0-5]\d)(?:\.(\d{1,6}))?", re.ASCII)
_DATE = re.compile(r"(\d{4}-\d{2}-\d{2})(?:Z|[T ]00:00:00(?:\.0+)?Z?)?", re.ASCII)


def canonical(column: Column, value: object) -> str | None:
    """Canonical text of a column's value from any place; ``None`` stays ``None``.

    Args:
        column: The source column.
        value: What the place handed out: text, or a Python object (int, Decimal, float, bool, bytes, date,
            datetime). Text for a binary or BIT(n) column is base64 (BIT(n): little-endian, as it is
            carried).
    """
    return canonicalizer(column)(value)


def canonicalizer(column: Column) -> Callable[[object], str | None]:
    """:func:`canonical` bound to one column, for loops over many rows."""
    carried = mapping(column)
    convert = _FAMILIES[carried.family]

    def apply(value: object) -> str | None:
        if value is None:
            return None
        try:
            return convert(carried, value)
        except (ValueError, TypeError, KeyError, ArithmeticError, binascii.Error, struct.error):
            return f"!{value!r}"

    return apply


def _integer(carried: TypeMapping, value: object) -> str:
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, (float, Decimal, str)):
        number = _to_decimal(value)
        if number != number.to_integral_value():
            raise ValueError(value)
        return str(int(number))
    raise TypeError(value)


def _to_decimal(value: object) -> Decimal:
    try:
        number = value if isinstance(value, Decimal) else Decimal(str(value).strip())
    except InvalidOperation as error:
        raise ValueError(value) from error
    if not number.is_finite():
        raise ValueError(value)
    return number


def _decimal(carried: TypeMapping, value: object) -> str:
    if isinstance(value, (bool, float)):  # a float has lost digits already; its text is what came
        value = str(value)
    number = _to_decimal(value)
    text = f"{number:f}"
    whole, _, fraction = text.partition(".")
    fraction = fraction.rstrip("0").ljust(carried.scale, "0")
    sign, digits = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    text = (digits.lstrip("0") or "0") + (f".{fraction}" if fraction else "")
    return text if number == 0 else sign + text


def _double(carried: TypeMapping, value: object) -> str:
    if isinstance(value, bytes):
        raise TypeError(value)
    number = float(value)  # type: ignore[arg-type]  # anything else raises TypeError, which is handled
    return repr(number)


def _float(carried: TypeMapping, value: object) -> str:
    if isinstance(value, bytes):
        raise TypeError(value)
    return repr(_nearest_float(float(value)))  # type: ignore[arg-type]


def _nearest_float(number: float) -> float:
    (nearest,) = struct.unpack("<f", struct.pack("<f", number))
    return float(nearest)


def _vector(carried: TypeMapping, value: object) -> str:
    """From the hexadecimal text (``0x...``) of 32-bit floats, little-endian, or from numbers."""
    numbers: Iterable[float]
    if isinstance(value, str) and value.startswith("0x"):
        numbers = (number for (number,) in struct.iter_unpack("<f", bytes.fromhex(value[2:])))
    elif isinstance(value, (str, list, tuple)):
        parsed = json.loads(value) if isinstance(value, str) else value
        numbers = (_nearest_float(float(number)) for number in parsed)
    else:
        raise TypeError(value)
    return f"[{','.join(map(repr, numbers))}]"


def _time(carried: TypeMapping, value: object) -> str:
    if isinstance(value, str) and ":" in value:
        match = _TIME.fullmatch(value)
        if match is None:
            raise ValueError(value)
        hours, minutes, seconds = int(match[2]), int(match[3]), int(match[4])
        micros = int((match[5] or "").ljust(6, "0"))
        total = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros
        return str(-total if match[1] else total)
    return _integer(carried, value)


_BOOLEANS: Final[dict[object, str]] = {
    "true": "true", "false": "false", "TRUE": "true", "FALSE": "false", "True": "true", "False": "false",
    "1": "true", "0": "false", b"\x01": "true", b"\x00": "false", 1: "true", 0: "false",
}  # fmt: skip


def _boolean(carried: TypeMapping, value: object) -> str:
    try:
        return _BOOLEANS[value]
    except KeyError as error:
        raise ValueError(value) from error


def _bits(carried: TypeMapping, value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str):
        value = base64.b64decode(value, validate=True)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return str(int.from_bytes(bytes(value), "little"))
    raise TypeError(value)


def _date(carried: TypeMapping, value: object) -> str:
    if isinstance(value, datetime):
        value = value.date()
    if isinstance(value, date):
        return value.isoformat()
    match = _DATE.fullmatch(str(value))  # also cassandra.util.Date
    if match is None:
        raise ValueError(value)
    return match[1]


def _timestamp(carried: TypeMapping, value: object) -> str:
    if isinstance(value, datetime):
        moment = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        return f"{moment.isoformat(timespec='microseconds')}Z"
    if not isinstance(value, str):
        raise TypeError(value)
    match = _TIMESTAMP.fullmatch(value)
    if match is None:
        raise ValueError(value)
    fraction = (match[3] or "").ljust(6, "0")
    if fraction[6:].strip("0"):
        raise ValueError(value)  # finer than microseconds: no source value looks like that
    return f"{match[1]}T{match[2]}.{fraction[:6]}Z"


def _text(carried: TypeMapping, value: object) -> str:
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8")
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _json(carried: TypeMapping, value: object) -> str:
    text = _text(carried, value)
    json.loads(text)
    return text


def _bytes(carried: TypeMapping, value: object) -> str:
    if isinstance(value, str):
        value = base64.b64decode(value, validate=True)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(bytes(value)).decode("ascii")
    raise TypeError(value)


def _geometry(carried: TypeMapping, value: object) -> str:
    if isinstance(value, dict):  # as it is on the wire; no SRID is the SRID 0
        value = int(value["srid"] or 0).to_bytes(4, "little") + base64.b64decode(value["wkb"], validate=True)
    return _bytes(carried, value)


_FAMILIES: Final[dict[Family, Callable[[TypeMapping, object], str]]] = {
    "integer": _integer,
    "decimal": _decimal,
    "float": _float,
    "double": _double,
    "boolean": _boolean,
    "bits": _bits,
    "date": _date,
    "timestamp": _timestamp,
    "text": _text,
    "json": _json,
    "bytes": _bytes,
    "time": _time,
    "geometry": _geometry,
    "vector": _vector,
}
