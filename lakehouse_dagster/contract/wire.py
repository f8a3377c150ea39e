"""From canonical text back to the wire: a value as the connector puts it into a record.

A repair writes records of its own into a topic, made from rows as the proof reads them (canonical texts).
What a reader makes of such a record must be the very value the text stands for, so every conversion is the
inverse of :func:`lakehouse_dagster.contract.canonical.canonical`, or there is none.

=========  ===========================================================
family     on the wire
=========  ===========================================================
integer    number
decimal    string of digits
float      number, the double equal to the 32-bit value
double     number
boolean    ``true`` or ``false``
bits       base64, little-endian, as many bytes as the column has
date       ``YYYY-MM-DDZ``
timestamp  ``YYYY-MM-DDTHH:MM:SS.ffffffZ``
time       ``[-]HH:MM:SS.ffffff``
text       string
json       string holding JSON
bytes      base64 string
geometry   object of ``srid`` and ``wkb``
vector     array of numbers
=========  ===========================================================
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from typing import Final

from lakehouse_dagster.contract.canonical import canonical
from lakehouse_dagster.contract.schema import Column
from lakehouse_dagster.contract.types import Family, TypeMapping, mapping

WireValue = str | int | float | bool | list[float] | dict[str, str | int] | None


_SRID_BYTES: Final = 4


class NoWireForm(ValueError):  # noqa: N818 - names what the value is, like the message
    """A canonical text stands for no value that the wire could carry; the message names the column."""


def to_wire(column: Column, text: str | None) -> WireValue:
    """The value that a record carries for a canonical text; ``None`` stays ``None``.

    Raises:
        NoWireForm: The text is not the canonical form of any value of the column's type, as that of a row
            which somebody wrote past the pipeline.
    """
    if text is None:
        return None
    carried = mapping(column)
    try:
        value = _FAMILIES[carried.family](carried, text)
    except (ValueError, ArithmeticError) as error:
        raise NoWireForm(_said(column, text)) from error
    if canonical(column, value) != text:
        raise NoWireForm(_said(column, text))
    return value


def _said(column: Column, text: str) -> str:
    shown = text if len(text) <= 60 else f"{text[:57]}..."
    return f"column {column.name}: {shown!r} is no value of type {column.mysql_type}"


def _integer(carried: TypeMapping, text: str) -> int:
    return int(text)


def _as_it_is(carried: TypeMapping, text: str) -> str:
    return text


def _number(carried: TypeMapping, text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _boolean(carried: TypeMapping, text: str) -> bool:
    return {"true": True, "false": False}[text] if text in {"true", "false"} else _refuse(text)


def _refuse(text: str) -> bool:
    raise ValueError(text)


def _bits(carried: TypeMapping, text: str) -> str:
    return base64.b64encode(int(text).to_bytes(carried.length, "little")).decode("ascii")


def _date(carried: TypeMapping, text: str) -> str:
    return f"{text}Z"


def _time(carried: TypeMapping, text: str) -> str:
    micros = abs(int(text))
    seconds, fraction = divmod(micros, 1_000_000)
    sign = "-" if text.startswith("-") else ""
    return f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:06}"


def _geometry(carried: TypeMapping, text: str) -> dict[str, str | int]:
    raw = base64.b64decode(text, validate=True)
    if len(raw) <= _SRID_BYTES:
        raise ValueError(text)
    srid = int.from_bytes(raw[:_SRID_BYTES], "little")
    return {"srid": srid, "wkb": base64.b64encode(raw[_SRID_BYTES:]).decode("ascii")}


def _vector(carried: TypeMapping, text: str) -> list[float]:
    return [_number(carried, str(number)) for number in json.loads(text)]


_FAMILIES: Final[dict[Family, Callable[[TypeMapping, str], WireValue]]] = {
    "integer": _integer,
    "decimal": _as_it_is,
    "float": _number,
    "double": _number,
    "boolean": _boolean,
    "bits": _bits,
    "date": _date,
    "timestamp": _as_it_is,
    "text": _as_it_is,
    "json": _as_it_is,
    "bytes": _as_it_is,
    "time": _time,
    "geometry": _geometry,
    "vector": _vector,
}
