"""How each MySQL type travels: on the wire, in Flink, Paimon, Cassandra, CouchDB and Trino.

One frozen :class:`TypeMapping` per type, chosen by :func:`mapping`. A type that cannot be carried exactly
is refused with the reason; nothing is ever approximated. The rules behind the table:

* Debezium runs with ``decimal.handling.mode=string``, ``bigint.unsigned.handling.mode=precise`` and
  ``time.precision.mode=isostring``. Precise ``BIGINT UNSIGNED`` is Kafka Connect's Decimal, which the JSON
  converter writes as a number only with ``decimal.format=NUMERIC`` (base64 bytes otherwise).
* With ``isostring`` every date and time ends in ``Z`` (``2013-01-01Z``, ``2013-01-01T05:15:00Z``).
* The Flink format ``lakehouse-record`` (``flink_jobs/connectors``) makes the lake's value of the wire's, by
  :attr:`TypeMapping.kind`. What it cannot carry exactly makes the whole record one for the quarantine.
* Paimon's Iceberg output (1.3.1) refuses timestamps of a precision below 4, so all are ``TIMESTAMP(6)``.
  Small integers are ``INT`` in the lake because Iceberg has no smaller type.
* ``TINYINT(1)`` is an integer in MySQL and stays one. Debezium may send it as ``true``/``false`` when the
  column was created by a streamed ``BOOLEAN`` DDL and as a number otherwise; both are accepted.
* Cassandra's ``timestamp`` holds milliseconds, so types with more precision are text there:
  ``YYYY-MM-DDTHH:MM:SS.ffffffZ``, which sorts like the time.
* MySQL prints a ``FLOAT`` with six significant digits in its text protocol, which loses bits; it has to be
  read as ``CAST(column AS DOUBLE)`` (:attr:`TypeMapping.mysql_read`), also by Debezium's snapshot.
* A date that is in no calendar (zero, zero in parts, of year 0, 30 February) is MySQL's text on the wire. No
  engine's date holds it: its record is quarantined, unless the contract carries the column ``as_text``.
* Text is read by its character set; a column of one that is not read as MySQL reads it is refused
  (:data:`CHARSETS`).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal

from lakehouse_dagster.contract.schema import Column, TableSchema

Family = Literal[
    "integer",
    "decimal",
    "float",
    "double",
    "boolean",
    "bits",
    "date",
    "timestamp",
    "time",
    "text",
    "json",
    "bytes",
    "geometry",
    "vector",
]


CHARSETS: Final = frozenset(
    {
        *("ascii", "latin1", "latin2", "latin5", "latin7", "cp850", "cp852", "koi8r", "macce", "macroman"),
        *("utf8", "utf8mb3", "utf8mb4", "utf16", "utf16le", "utf32"),
    }
)
"""Character sets that are read as MySQL reads them; of those of one byte every code was compared."""


class UncarryableType(ValueError):  # noqa: N818 - names what the value is, like the message
    """A column's type cannot be carried exactly; the message says why, ``fix`` what to do about it."""

    def __init__(self, why: str, fix: str = "change its type in the source, or leave the table out") -> None:
        super().__init__(why)
        self.fix = fix


class TextColumn(Column):
    """A DATE, DATETIME or TIMESTAMP that the contract carries as the text that MySQL prints of it."""


@dataclass(frozen=True, slots=True)
class TypeMapping:
    """One MySQL type in every place.

    Attributes:
        family: Which canonical text form and comparison applies
            (:mod:`lakehouse_dagster.contract.canonical`).
        kind: What the record holds and how it becomes the lake's value, as ``lakehouse-record`` names it.
        wire: What the JSON record holds, in words.
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
    kind: str
    wire: str
    lake: str
    cassandra: str
    couchdb: str
    trino: str
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


_INT = TypeMapping("integer", "integer", "number", "INT", "int", "number", "integer")
_BIGINT = TypeMapping(
    "integer", "integer", "number", "BIGINT", "bigint", "number, string above 2^53", "bigint"
)
_BIGINT_UNSIGNED = TypeMapping(
    "integer",
    "integer",
    "number (Connect Decimal, decimal.format=NUMERIC)",
    "DECIMAL(20, 0)",
    "decimal",
    "string",
    "decimal(20, 0)",
)
_TINYINT_1 = replace(_INT, kind="boolean_integer", wire="number, or true/false after a streamed BOOLEAN DDL")
_FLOAT = TypeMapping(
    "float", "float", "number", "FLOAT", "float", "number", "real", mysql_read="CAST({} AS DOUBLE)"
)
_DOUBLE = TypeMapping("double", "double", "number", "DOUBLE", "double", "number", "double")
_BOOLEAN = TypeMapping(
    "boolean", "boolean", "true/false", "BOOLEAN", "boolean", "true/false", "boolean",
    mysql_read="CAST({} AS UNSIGNED)",
)  # fmt: skip
_BYTES = TypeMapping("bytes", "bytes", "base64 string", "BYTES", "blob", "base64 string", "varbinary")
_BITS = replace(_BYTES, family="bits", wire="base64 string, little-endian", mysql_read="CAST({} AS UNSIGNED)")
_DATE = TypeMapping("date", "date", "YYYY-MM-DDZ", "DATE", "date", "YYYY-MM-DD", "date")
_TIMESTAMP_MILLIS = TypeMapping(
    "timestamp",
    "timestamp",
    "ISO-8601 UTC with Z",
    "TIMESTAMP(6)",
    "timestamp",
    "YYYY-MM-DDTHH:MM:SS.ffffffZ",
    "timestamp(6)",
)
_TIMESTAMP_MICROS = replace(
    _TIMESTAMP_MILLIS,
    cassandra="text",
    # The cast always writes six digits, so the text sorts as the time does.
    to_cassandra="CONCAT(REPLACE(CAST({} AS STRING), ' ', 'T'), 'Z')",
    cassandra_flink="STRING",
)
_TIME = TypeMapping(
    "time",
    "time",
    "[-]HH:MM:SS.ffffff",
    "BIGINT",
    "bigint",
    "number of microseconds",
    "bigint",
    mysql_read="CAST({} AS CHAR)",
)
_TEXT = TypeMapping("text", "text", "string", "STRING", "text", "string", "varchar")
_JSON = replace(_TEXT, family="json", kind="json", wire="string holding JSON", couchdb="string holding JSON")
_DATE_TEXT = replace(
    _TEXT, kind="date_text", wire="YYYY-MM-DD as MySQL prints it", mysql_read="CAST({} AS CHAR)"
)
_TIMESTAMP_TEXT = replace(
    _DATE_TEXT, kind="timestamp_text", wire="YYYY-MM-DD HH:MM:SS[.f] as MySQL prints it"
)
_AS_TEXT: Final[dict[Family, TypeMapping]] = {"date": _DATE_TEXT, "timestamp": _TIMESTAMP_TEXT}
_GEOMETRY = replace(_BYTES, family="geometry", kind="geometry", wire="object of srid and wkb (base64)")
_VECTOR = TypeMapping(
    "vector",
    "vector",
    "array of numbers",
    "ARRAY<FLOAT>",
    "frozen<list<float>>",
    "array of numbers",
    "array(real)",
    mysql_read="CONCAT('0x', HEX({}))",
)

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
    "time": _TIME,
    "vector": _VECTOR,
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
        _GEOMETRY,
    ),
}

_TYPE = re.compile(
    r"\s*(?P<base>[a-z]+)\s*(?:\((?P<args>.*)\))?(?P<flags>[a-z ]*)", re.IGNORECASE | re.DOTALL
)
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
        length = (bits + 7) // 8
        return _BOOLEAN if bits == 1 else replace(_BITS, kind=f"bits:{length}", length=length)
    if base in {"datetime", "timestamp"}:
        fraction = _number(mysql_type, args, 0)
        return replace(_TIMESTAMP_MILLIS if fraction <= 3 else _TIMESTAMP_MICROS, fraction=fraction)
    if base in _SIMPLE:
        return _SIMPLE[base]
    raise UncarryableType(f"type {mysql_type!r} is not known")


def text_mapping(mysql_type: str) -> TypeMapping:
    """The mapping of a column that is carried as the text that MySQL prints of its dates.

    Raises:
        UncarryableType: The type is none of a date.
    """
    family = type_mapping(mysql_type).family
    if family not in _AS_TEXT:
        raise UncarryableType(
            f"only DATE, DATETIME and TIMESTAMP can be carried as text, not {mysql_type}",
            "take it out of as_text",
        )
    return _AS_TEXT[family]


def mapping(column: Column) -> TypeMapping:
    """The mapping of a column.

    Raises:
        UncarryableType: The type is unknown or cannot be carried exactly.
    """
    if column.charset is not None and column.charset not in CHARSETS:
        raise UncarryableType(
            f"some texts of the character set {column.charset} are read other than MySQL reads them",
            "convert the column to utf8mb4 in the source (ALTER TABLE ... MODIFY ... CHARACTER SET utf8mb4), "
            "or leave the table out",
        )
    if isinstance(column, TextColumn):
        return text_mapping(column.mysql_type)
    return type_mapping(column.mysql_type)


def with_texts(schema: TableSchema, as_text: Collection[str]) -> TableSchema:
    """A table's schema in which the named columns are carried as text; names of no column say nothing."""
    if not as_text:
        return schema
    columns = tuple(
        TextColumn.model_construct(**dict(column)) if column.name in as_text else column
        for column in schema.columns
    )
    return schema.model_copy(update={"columns": columns})


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
        return replace(_TEXT, family="decimal", kind="decimal_text", wire="string of digits", scale=scale)
    lake = f"DECIMAL({precision}, {scale})"
    return TypeMapping(
        "decimal",
        "decimal",
        "string of digits",
        lake,
        "decimal",
        "string",
        f"decimal({precision}, {scale})",
        scale=scale,
    )
