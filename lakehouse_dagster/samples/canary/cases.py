"""The edges of every column of the canary's tables, as SQL expressions.

Row number *n* of ``every_type`` holds, of each column's list, the value at place *n* - 1 modulo its length.
The lists have different lengths, so the edges meet in ever new company. Row 0 is all NULL.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

_ALL_BYTES: Final = f"x'{bytes(range(256)).hex()}'"
_EMOJI: Final = "'a👩‍🚀\\t\"quoted\" \\\\ \\n ü 𝒳'"

CASES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "a_tinyint": ("-128", "-1", "0", "127"),
        "a_tinyint_unsigned": ("0", "128", "255"),
        "a_boolean": ("0", "1", "7", "-128"),
        "a_smallint": ("-32768", "0", "32767"),
        "a_smallint_unsigned": ("0", "32768", "65535"),
        "a_mediumint": ("-8388608", "0", "8388607"),
        "a_mediumint_unsigned": ("0", "8388608", "16777215"),
        "a_int": ("-2147483648", "0", "2147483647"),
        "a_int_unsigned": ("0", "2147483648", "4294967295"),
        "a_int_zerofill": ("7", "0", "4294967295"),
        "a_bigint": ("-9223372036854775808", "0", "9007199254740993", "9223372036854775807"),
        "a_bigint_unsigned": ("0", "9223372036854775808", "18446744073709551615"),
        "a_year": ("0", "1901", "2155", "2013"),
        "d_decimal": ("-99999999.99", "0.00", "0.01", "99999999.99"),
        "d_decimal_unsigned": ("0", "0.0000000001", "9999999999.9999999999"),
        "d_decimal_38": (
            "-999999999999999999.99999999999999999999",
            "0.00000000000000000001",
            "999999999999999999.99999999999999999999",
        ),
        "d_decimal_65": (
            "-99999999999999999999999999999999999.999999999999999999999999999999",
            "0.000000000000000000000000000001",
            "99999999999999999999999999999999999.999999999999999999999999999999",
        ),
        "f_float": ("3.4028234e38", "1.17549435e-38", "1.4e-45", "0.1", "16777217", "-0.33333334"),
        "f_float_7_4": ("-999.9999", "0.0001", "123.4567"),
        "f_double": (
            "1.7976931348623157e308",
            "2.2250738585072014e-308",
            "5e-324",
            "0.1",
            "1e10",
            "-123456789.12345678",
            "-0e0",
        ),
        "b_bit": ("b'0'", "b'1'"),
        "b_bit_10": ("b'0'", "b'1000000001'", "b'1111111111'"),
        "b_bit_64": ("b'0'", "0x8000000000000001", "0xFFFFFFFFFFFFFFFF", "0x0102030405060708"),
        "t_date": (
            "'0001-01-01'",
            "'1000-01-01'",
            "'1582-10-10'",
            "'1970-01-01'",
            "'2024-02-29'",
            "'9999-12-31'",
        ),
        "t_datetime": ("'0001-01-01 00:00:00'", "'1582-10-10 12:00:00'", "'9999-12-31 23:59:59'"),
        "t_datetime_1": ("'1000-01-01 00:00:00.9'", "'2024-02-29 23:59:59.9'"),
        "t_datetime_3": ("'1969-12-31 23:59:59.999'", "'9999-12-31 23:59:59.999'"),
        "t_datetime_4": ("'1900-03-01 01:02:03.0001'", "'2100-02-28 00:00:00.9999'"),
        "t_datetime_6": (
            "'0001-01-01 00:00:00.000001'",
            "'2013-03-10 02:30:00'",
            "'9999-12-31 23:59:59.999999'",
        ),
        "t_timestamp": ("'1970-01-01 00:00:01'", "'2013-03-10 02:30:00'", "'2038-01-19 03:14:07'"),
        "t_timestamp_3": ("'1970-01-01 00:00:01.001'", "'2038-01-19 03:14:07.999'"),
        "t_timestamp_6": (
            "'1970-01-01 00:00:01.000001'",
            "'2038-01-19 03:14:07.999999'",
            "'2013-11-03 01:30:00'",
        ),
        "z_date": (
            "'0000-00-00'",
            "'2024-00-00'",
            "'2024-05-00'",
            "'0000-05-10'",
            "'2024-02-30'",
            "'2024-02-29'",
        ),
        "z_datetime": ("'0000-00-00 00:00:00'", "'2024-00-00 12:34:56'", "'2024-05-10 12:34:56'"),
        "z_datetime_3": (
            "'0000-00-00 00:00:00'",
            "'2024-05-00 23:59:59.999'",
            "'0000-05-10 00:00:00.001'",
            "'1582-10-10 12:00:00.5'",
        ),
        "z_timestamp": ("'0000-00-00 00:00:00'", "'2013-03-10 02:30:00'"),
        "z_timestamp_6": ("'2038-01-19 03:14:07.999999'", "'0000-00-00 00:00:00'"),
        "t_time": ("'-838:59:59'", "'-00:00:01'", "'00:00:00'", "'24:00:00'", "'838:59:59'"),
        "t_time_3": ("'-00:00:00.001'", "'12:34:56.789'", "'-100:00:00.500'"),
        "t_time_6": ("'-00:00:00.000001'", "'-00:00:01.500000'", "'838:59:58.999999'", "'-838:59:58.999999'"),
        "s_char": ("''", "'null'", "'a  '", "'äöü'"),
        "s_varchar": ("''", "'null'", "'  a  '", _EMOJI, "'NULL'", "CONCAT('a', CHAR(0), 'b')"),
        "s_latin1": ("'äöüß'", "''", "'£'"),
        "s_koi8r": ("'Привет, ёж'", "'a'", "''"),
        "s_utf16": ("'中文👩'", "'ü'", "''"),
        "s_tinytext": ("''", "REPEAT('x', 255)"),
        "s_text": ("REPEAT('ü', 1000)", "'\\r\\n'", "''"),
        "s_mediumtext": ("REPEAT('👩', 20000)", "'a'"),
        "s_longtext": ("REPEAT('b', 100000)", '\'{"not": "json"}\''),
        "s_enum": ("''", "'a'", "'it''s'", "'ö'", "'p,q'", "'back\\\\slash'"),
        "s_set": ("''", "'x'", "'x,y,z''s'"),
        "s_json": (
            '\'{"b": 1, "a": [true, false, null, {}], "long key": "ü👩"}\'',
            "'[18446744073709551615, -9223372036854775808, 9007199254740993]'",
            "'[1e308, 0.1, 5e-324, -0.0]'",
            "'{}'",
            "'[]'",
            "'null'",
            "'\"\"'",
            '\'"a \\\\"quote\\\\" and \\\\\\\\ and \\\\u0001"\'',
            "JSON_OBJECT('d', CAST('12.340' AS DECIMAL(10, 3)))",
        ),
        "y_binary": ("x'00000000'", "x'61000000'", "x'FF'", "x'FFFEFDFC'"),
        "y_varbinary": (_ALL_BYTES, "''", "x'00'"),
        "y_tinyblob": ("REPEAT(x'FF', 255)", "''"),
        "y_blob": (f"REPEAT({_ALL_BYTES}, 10)", "x'C328'"),
        "y_mediumblob": (f"REPEAT({_ALL_BYTES}, 300)", "''"),
        "y_longblob": ("x'00FF'", f"REPEAT({_ALL_BYTES}, 1000)"),
        "g_point": ("ST_GeomFromText('POINT(1 2)')", "ST_GeomFromText('POINT(-33.5 151.2)', 4326)"),
        "g_geometry": (
            "ST_GeomFromText('LINESTRING(0 0, 1 1, 2 4.5)')",
            "ST_GeomFromText('POLYGON((0 0, 4 0, 4 4, 0 4, 0 0), (1 1, 2 1, 2 2, 1 1))')",
            "ST_GeomFromText('MULTIPOINT(1 1, 2 2)', 4326)",
            "ST_GeomFromText('MULTIPOLYGON(((0 0, 1 0, 1 1, 0 0)))')",
            "ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1), LINESTRING(0 0, 1 1))')",
            "ST_GeomFromText('GEOMETRYCOLLECTION EMPTY')",
        ),
        "v_vector": (
            "STRING_TO_VECTOR('[0.1, -1.2e-38, 3.4028234e38]')",
            "STRING_TO_VECTOR('[1, 2, 3]')",
            "STRING_TO_VECTOR('[-0.0, 16777217, 1.17549435e-38]')",
        ),
        "c_invisible": ("1", "-1"),
    }
)
"""Values of each column of ``every_type`` that can be written, besides ``id`` and ``c_default``."""

TWO_KEYS: Final = (
    ("0", "x''", "'empty second'"),
    ("0", "x'00'", "'a zero byte'"),
    ("18446744073709551615", "x'FFFE'", "NULL"),
    ("9223372036854775808", "x'6120'", "'null'"),
    ("9223372036854775808", "x'61'", "''"),
)
"""Rows of ``keys_of_two``: first, second, note."""

TEXT_KEYS: Final = (
    ("'a'", "'lower'"),
    ("'A'", "'upper'"),
    ("'ä'", "'umlaut'"),
    ("'a '", "'a blank behind'"),
    ("' a'", "'a blank before'"),
    ("'null'", "NULL"),
    # CouchDB's native stand-in lists no document whose id begins beyond the basic plane (U+FFFF).
    ("'x👩‍🚀/x?y=1&z#%41'", "'what a path would take apart'"),
)
"""Rows of ``keys_of_text``: name, note."""

FOLDED_KEYS: Final = (("'Name'", "'case'"), ("'blank  '", "'blanks behind'"), ("'straße'", "NULL"))
"""Rows of ``keys_folded``, whose keys MySQL compares without case and blanks behind: name, note."""

TIME_KEYS: Final = (
    ("'-838:59:59'", "'the least'"),
    ("'-00:00:00.000001'", "'just below nought'"),
    ("'00:00:00'", "'nought'"),
    ("'24:00:00.5'", "NULL"),
    ("'838:59:58.999999'", "'the greatest'"),
)
"""Rows of ``keys_of_time``: at, note."""


def rows() -> int:
    """How many rows show every edge: the longest list, and the row of NULLs."""
    return max(map(len, CASES.values())) + 1


def values(number: int) -> dict[str, str]:
    """Column to SQL expression of row ``number`` (0 is all NULL)."""
    if number == 0:
        return dict.fromkeys(CASES, "NULL")
    return {name: found[(number - 1) % len(found)] for name, found in CASES.items()}


def statements(first_id: int) -> Iterator[str]:
    """INSERTs of one round of ``every_type``: one row per edge, ids counted from ``first_id``."""
    for number in range(rows()):
        chosen = values(number)
        names = ", ".join(("id", *chosen))
        yield f"INSERT INTO every_type ({names}) VALUES ({first_id + number}, {', '.join(chosen.values())})"  # noqa: S608


def updates(first_id: int) -> Iterator[str]:
    """UPDATEs that take every row of a round to the edges of the next row."""
    for number in range(rows()):
        chosen = values((number + 1) % rows())
        sets = ", ".join(f"{name} = {value}" for name, value in chosen.items())
        yield f"UPDATE every_type SET {sets} WHERE id = {first_id + number}"  # noqa: S608
