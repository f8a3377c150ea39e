"""``docs/types.md``: how each MySQL type is carried, written from the mapping itself."""

from __future__ import annotations

from typing import Final

from lakehouse_dagster.contract.types import CHARSETS, TypeMapping, text_mapping, type_mapping

TYPES: Final = (
    "tinyint",
    "tinyint(1)",
    "tinyint unsigned",
    "smallint",
    "smallint unsigned",
    "mediumint",
    "mediumint unsigned",
    "int",
    "int unsigned",
    "int(8) unsigned zerofill",
    "bigint",
    "bigint unsigned",
    "year",
    "decimal(10,2)",
    "decimal(38,20)",
    "decimal(65,30)",
    "float",
    "double",
    "bit(1)",
    "bit(64)",
    "date",
    "datetime",
    "datetime(3)",
    "datetime(6)",
    "timestamp",
    "timestamp(6)",
    "time",
    "time(6)",
    "char(10)",
    "varchar(255)",
    "longtext",
    "enum('a','b')",
    "set('a','b')",
    "json",
    "binary(4)",
    "varbinary(300)",
    "longblob",
    "point",
    "geometry",
    "vector(3)",
)
"""One spelling of every type that is carried differently, and of some that are not."""

TEXT_TYPES: Final = ("date", "datetime(6)", "timestamp")
"""Types that a contract may have carried as text."""

_DORIS: Final = {
    "INT": "int",
    "BIGINT": "bigint",
    "FLOAT": "float",
    "DOUBLE": "double",
    "BOOLEAN": "boolean",
    "STRING": "string",
    "BYTES": "varbinary",
    "DATE": "date",
    "TIMESTAMP(6)": "datetime(6)",
    "ARRAY<FLOAT>": "array<float>",
}

_HEAD: Final = """# Types

How each MySQL type is carried, from `lakehouse_dagster/contract/types.py`. Every value arrives bit for bit as
MySQL holds it, or the record is set aside and named (`lakehouse quarantine`). The pipeline `canary` holds
every type with its edges and is compared in every place like any other.

| MySQL | on the wire | Flink, Paimon | Iceberg, Trino | Cassandra | CouchDB | Doris |
| --- | --- | --- | --- | --- | --- | --- |
"""

_CHARSETS: Final = ", ".join(f"`{name}`" for name in sorted(CHARSETS))

_NOTES: Final = f"""
Choices that a reader should know:

* `TIME` may be negative or longer than a day, which no engine's own type can hold: it is carried as signed
  microseconds.
* `DATETIME` and `TIMESTAMP` are UTC without a zone everywhere. The source's server has to run in UTC.
* A date that is in no calendar fits no engine's date: `0000-00-00`, `2024-05-00`, `0000-05-10`, `2024-02-30`.
  Its record is set aside. Where such dates are meant, the contract names the column in `as_text` of its
  table, and every value of it is carried as the text that MySQL prints. It cannot be part of a key then.
* `DECIMAL` of more than 38 digits is text: its digits as MySQL prints them.
* Spatial values are MySQL's own bytes: the SRID in four bytes (little-endian), then WKB
  (`ST_GeomFromBinary(substr(column, 5))` in Trino). They cannot be in the key of a Cassandra view.
* `BIT(n)` with more than one bit is carried as its bytes, least significant first.
* JSON is MySQL's own text, character by character, in snapshot and stream alike.
* CouchDB's clients read numbers as doubles: integers above 2^53 are strings there.
* Cassandra's `timestamp` holds milliseconds: `DATETIME` and `TIMESTAMP` with more digits are text there,
  which sorts as the time does.
* A text column whose character set is not read as MySQL reads it is refused when the contract is loaded.
  These are read so: {_CHARSETS}.
"""


def page() -> str:
    """The page's text, in Markdown."""
    rows = [(_spelled(mysql_type), type_mapping(mysql_type)) for mysql_type in TYPES]
    rows += [(f"{_spelled(mysql_type)} as text", text_mapping(mysql_type)) for mysql_type in TEXT_TYPES]
    return _HEAD + "\n".join(_row(name, carried) for name, carried in rows) + "\n" + _NOTES


def _spelled(mysql_type: str) -> str:
    return mysql_type.upper().replace("'A','B'", "'a','b'")


def _row(name: str, carried: TypeMapping) -> str:
    cells = (
        name,
        carried.wire,
        carried.lake,
        carried.trino,
        carried.cassandra,
        carried.couchdb,
        doris_type(carried.lake),
    )
    return f"| {' | '.join(_cell(cell, number) for number, cell in enumerate(cells))} |"


def doris_type(lake: str) -> str:
    """The type by which Doris reads a lake column (its Paimon catalog's type mapping)."""
    return lake.lower() if lake.startswith("DECIMAL") else _DORIS[lake]


def _cell(text: str, number: int) -> str:
    return text if number in {1, 5} else f"`{text}`"
