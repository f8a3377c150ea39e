"""How each MySQL type travels: on the wire, in Flink, Paimon, Cassandra, CouchDB and Trino.

One frozen :class:`TypeMapping` per type, chosen by :func:`mapping`. A type that cannot be carried exactly
is refused with the reason; nothing is ever approximated. The rules behind the table:

* Debezium runs with ``decimal.handling.mode=string``, ``bigint.unsigned.handling.mode=precise`` and
  ``time.precision.mode=isostring``. Precise ``BIGINT UNSIGNED`` is Kafka Connect's Decimal, which the JSON
  converter writes as a number only with ``decimal.format=NUMERIC`` (base64 bytes otherwise).
* With ``isostring`` every date and time ends in ``Z`` (``2013-01-01Z``, ``2013-01-01T05:15:00Z``). Flink's
  JSON format reads the latter as ``TIMESTAMP_LTZ`` under time zone UTC; a date has to be cut to ten
  characters first.
* Paimon's Iceberg output (1.3.1) refuses timestamps of a precision below 4, so all are ``TIMESTAMP(6)``.
  Small integers are ``INT`` in the lake because Iceberg has no smaller type.
* ``TINYINT(1)`` is an integer in MySQL and stays one. Debezium may send it as ``true``/``false`` when the
  column was created by a streamed ``BOOLEAN`` DDL and as a number otherwise; both are accepted.
* Cassandra's ``timestamp`` holds milliseconds, so types with more precision are text there:
  ``YYYY-MM-DDTHH:MM:SS.ffffffZ``, which sorts like the time.
* MySQL prints a ``FLOAT`` with six significant digits in its text protocol, which loses bits; it has to be
  read as ``CAST(column AS DOUBLE)`` (:attr:`TypeMapping.mysql_read`), also by Debezium's snapshot.
* A *zero date* is NULL on the wire (1970-01-01 in a NOT NULL column): the source must run with
  ``NO_ZERO_DATE``, which is MySQL's default.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal

from lakehouse_dagster.contract.schema import Column

Family = Literal[
    "integer", "decimal", "float", "double", "boolean", "bits", "date", "timestamp", "text", "json", "bytes"
]


class UncarryableType(ValueError):  # noqa: N818 - names what the value is, like the message
    """A column's type cannot be carried exactly; the message says why."""


@dataclass(frozen=True, slots=True)
class TypeMapping:
    """One MySQL type in every place.

    Attributes:
        family: Which canonical text form and comparison applies
            (:mod:`lakehouse_dagster.contract.canonical`).
        wire: What the JSON record holds, in words.
        flink_source: Type of the column in Flink's Kafka source table.
        from_wire: SQL expression from the source column (``{}``, already quoted) to the lake column.
        lake: Type in Flink and Paimon.
        cassandra: Cassandra type.
        to_cassandra: SQL expression from the lake column's value (``{}``) to the serving column.
        cassandra_flink: Type of the column in Flink's Cassandra sink table.
        couchdb: JSON form in CouchDB, in words.
        trino: Trino type of the lake column.
        mysql_read: SQL expression that reads the column (``{}``, quoted) from MySQL without losing anything.
        scale: Digits after the point, for decimals.
        fraction: Digits of the second in the source, for timestamps.
        length: Bytes, for ``bits`` (little-endian on the wire).
    """

    family: Family
    wire: str
    flink_source: str
    lake: str
    cassandra: str
    couchdb: str
    trino: str
    from_wire: str = "{}"
    to_cassandra: str = "{}"
    cassandra_flink: str = ""
    mysql_read: str = "{}"
    scale: int = 0
    fraction: int = 0
    length: int = 0

    @property
    def serving_cassandra(self) -> str:
        """Type of the column in Flink's Cassandra sink table (the lake's type unless it differs)."""
        return self.cassandra_flink or self.lake


_INT = TypeMapping("integer", "number", "INT", "INT", "int", "number", "integer")
_BIGINT = TypeMapping(
    "integer", "number", "BIGINT", "BIGINT", "bigint", "number, string above 2^53", "bigint"
)
_BIGINT_UNSIGNED = TypeMapping(
    "integer",
    "number (Connect Decimal, decimal.format=NUMERIC)",
    "DECIMAL(20, 0)",
    "DECIMAL(20, 0)",
    "decimal",
    "string",
    "decimal(20, 0)",
)
_TINYINT_1 = replace(
    _INT,
    wire="number, or true/false after a streamed BOOLEAN DDL",
    flink_source="STRING",
    from_wire="CASE {} WHEN 'true' THEN 1 WHEN 'false' THEN 0 ELSE CAST({} AS INT) END",
)
_FLOAT = TypeMapping(
    "float", "number", "FLOAT", "FLOAT", "float", "number", "real", mysql_read="CAST({} AS DOUBLE)"
)
_DOUBLE = TypeMapping("double", "number", "DOUBLE", "DOUBLE", "double", "number", "double")
_BOOLEAN = TypeMapping(
    "boolean", "true/false", "BOOLEAN", "BOOLEAN", "boolean", "true/false", "boolean",
    mysql_read="CAST({} AS UNSIGNED)",
)  # fmt: skip
_BYTES = TypeMapping("bytes", "base64 string", "BYTES", "BYTES", "blob", "base64 string", "varbinary")
_BITS = replace(_BYTES, family="bits", wire="base64 string, little-endian", mysql_read="CAST({} AS UNSIGNED)")
_DATE = TypeMapping(
    "date",
    "YYYY-MM-DDZ",
    "STRING",
    "DATE",
    "date",
    "YYYY-MM-DD",
    "date",
    from_wire="CAST(SUBSTRING({}, 1, 10) AS DATE)",
)
_TIMESTAMP_MILLIS = TypeMapping(
    "timestamp",
    "ISO-8601 UTC with Z",
    "TIMESTAMP_LTZ(6)",
    "TIMESTAMP(6)",
    "timestamp",
    "YYYY-MM-DDTHH:MM:SS.ffffffZ",
    "timestamp(6)",
    from_wire="CAST({} AS TIMESTAMP(6))",
)
_TIMESTAMP_MICROS = replace(
    _TIMESTAMP_MILLIS,
    cassandra="text",
    # The cast always writes six digits, so the text sorts as the time does.
    to_cassandra="CONCAT(REPLACE(CAST({} AS STRING), ' ', 'T'), 'Z')",
    cassandra_flink="STRING",
)
_TEXT = TypeMapping("text", "string", "STRING", "STRING", "text", "string", "varchar")
_JSON = replace(_TEXT, family="json", wire="string holding JSON", couchdb="string holding JSON")

_SIMPLE: Final[dict[str, TypeMapping]] = {
    "tinyint": _INT,
    "smallint": _INT,
    "mediumint": _INT,
    "year": _INT,
    "double": _DOUBLE,
    "real": _DOUBLE,
    "date": _DATE,
    "json": _JSON,
    "enum": _TEXT,
    "set": _TEXT,
    **dict.fromkeys(("char", "varchar", "tinytext", "text", "mediumtext", "longtext"), _TEXT),
    **dict.fromkeys(("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"), _BYTES),
}

_REFUSED: Final[dict[str, str]] = {
    "time": "TIME may be negative or longer than a day, which neither Debezium's ISO form nor Flink can hold",
    "vector": "VECTOR has no type in the lake yet",
    **dict.fromkeys(
        (
            "geometry",
            "point",
            "linestring",
            "polygon",
            "multipoint",
            "multilinestring",
            "multipolygon",
            "geometrycollection",
            "geomcollection",
        ),
        "spatial types arrive as a structure that the lake does not store yet",
    ),
}

_TYPE = re.compile(
    r"\s*(?P<base>[a-z]+)\s*(?:\((?P<args>.*)\))?(?P<flags>[a-z ]*)", re.IGNORECASE | re.DOTALL
)
_QUOTED: Final = re.compile(r"'((?:[^']|'')*)'")
_MAX_DECIMAL: Final = 38


@lru_cache(maxsize=4096)
def type_mapping(mysql_type: str) -> TypeMapping:
    """The mapping of a full MySQL column type such as ``decimal(10,2) unsigned``.

    Raises:
        UncarryableType: The type is unknown or cannot be carried exactly.
    """
    match = _TYPE.fullmatch(mysql_type)
    if match is None:
        raise UncarryableType(f"type {mysql_type!r} is not a MySQL type")
    base = match["base"].lower()
    args = match["args"]
    unsigned = "unsigned" in match["flags"].lower().split() or "zerofill" in match["flags"].lower().split()
    if base in _REFUSED:
        raise UncarryableType(_REFUSED[base])
    if base == "tinyint" and args == "1" and not unsigned:
        return _TINYINT_1
    if base in {"int", "integer"}:
        return _BIGINT if unsigned else _INT
    if base == "bigint":
        return _BIGINT_UNSIGNED if unsigned else _BIGINT
    if base in {"decimal", "numeric"}:
        return _decimal(mysql_type, args)
    if base == "float":
        # FLOAT(25..53) is stored as DOUBLE; information_schema already says so, a hand-written DDL may not.
        return _DOUBLE if args and args.strip().isdigit() and int(args) > 24 else _FLOAT
    if base == "bit":
        bits = _number(mysql_type, args, 1)
        return _BOOLEAN if bits == 1 else replace(_BITS, length=(bits + 7) // 8)
    if base in {"datetime", "timestamp"}:
        fraction = _number(mysql_type, args, 0)
        return replace(_TIMESTAMP_MILLIS if fraction <= 3 else _TIMESTAMP_MICROS, fraction=fraction)
    if base == "enum" and any("," in value or "\\" in value for value in _QUOTED.findall(args or "")):
        raise UncarryableType(
            "a value holds a comma or a backslash, escaped by Debezium when streaming but not in a snapshot"
        )
    if base in _SIMPLE:
        return _SIMPLE[base]
    raise UncarryableType(f"type {mysql_type!r} is not known")


def mapping(column: Column) -> TypeMapping:
    """The mapping of a column.

    Raises:
        UncarryableType: The type is unknown or cannot be carried exactly.
    """
    return type_mapping(column.mysql_type)


def _number(mysql_type: str, args: str | None, default: int) -> int:
    if args is None:
        return default
    try:
        return int(args)
    except ValueError:
        raise UncarryableType(f"type {mysql_type!r} is not a MySQL type") from None


def _decimal(mysql_type: str, args: str | None) -> TypeMapping:
    parts = (args or "10").split(",")
    precision = _number(mysql_type, parts[0], 10)
    scale = _number(mysql_type, parts[1], 0) if len(parts) > 1 else 0
    if precision > _MAX_DECIMAL:
        # Wider than any engine of the lake can hold as a number: its digits are kept as text.
        return replace(_TEXT, family="decimal", wire="string of digits", couchdb="string", scale=scale)
    lake = f"DECIMAL({precision}, {scale})"
    return TypeMapping(
        "decimal",
        "string of digits",
        lake,
        lake,
        "decimal",
        "string",
        f"decimal({precision}, {scale})",
        scale=scale,
    )
