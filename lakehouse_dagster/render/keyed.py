"""Reading a source table page by page in the order of its key, or by key."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Final

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.schema import Column
from lakehouse_dagster.contract.types import mapping
from lakehouse_dagster.render import quoting
from lakehouse_dagster.render.mysql import read_expression

#: Types whose values compare as they sort. An ENUM sorts by its number and compares as text.
_PAGED: Final = re.compile(
    r"(tinyint|smallint|mediumint|int|integer|bigint|year|decimal|numeric|char|varchar|binary|varbinary|date"
    r"|datetime|timestamp)\b",
    re.IGNORECASE,
)
_ALL_ROWS: Final = 2**64 - 1


def pageable(contract: Contract, table: str) -> bool:
    """Whether a table can be read page by page after its key's values."""
    return all(_PAGED.match(column.mysql_type.strip()) for column in _key(contract, table))


def goes_on(key: Sequence[Any]) -> bool:
    """Whether the next page can begin after these values: a date that is none cannot be compared with."""
    return all(isinstance(value, int | Decimal | str | bytes | date) for value in key) and not any(
        isinstance(value, str) and value.startswith("0000-00-00") for value in key
    )


def first_page(contract: Contract, table: str, rows: int) -> str:
    """SELECT of the first rows in the order of the key."""
    return f"{_select(contract, table)}\nORDER BY {_order(contract, table)}\nLIMIT {int(rows)}"


def next_page(contract: Contract, table: str, after: Sequence[Any], rows: int) -> tuple[str, list[Any]]:
    """SELECT of the rows after a key, and its arguments."""
    names = [quoting.mysql(column.name) for column in _key(contract, table)]
    # The first condition is what the index is searched by; the second picks the rows exactly.
    condition, args = _after(names, list(after))
    if len(names) > 1:
        condition, args = f"{_escaped(names[0])} >= %s AND ({condition})", [after[0], *args]
    sql = (
        f"{_escaped(_select(contract, table))}\nWHERE {condition}\n"
        f"ORDER BY {_escaped(_order(contract, table))}\nLIMIT {int(rows)}"
    )
    return sql, args


def remaining(contract: Contract, table: str, skipped: int) -> str:
    """SELECT of all rows in the order of the key but the first so many."""
    order = _order(contract, table)
    return f"{_select(contract, table)}\nORDER BY {order}\nLIMIT {_ALL_ROWS} OFFSET {int(skipped)}"


def all_rows(contract: Contract, table: str) -> str:
    """SELECT of all rows in no order."""
    return _select(contract, table)


def by_keys(contract: Contract, table: str, keys: Sequence[Sequence[Any]]) -> tuple[str, list[Any]]:
    """SELECT of the rows of some primary keys (arguments as `argument` makes them), and its arguments."""
    names = [quoting.mysql(column.name) for column in _key(contract, table)]
    if len(names) == 1:
        left, mark = names[0], "%s"
    else:
        left, mark = f"({', '.join(names)})", f"({', '.join(['%s'] * len(names))})"
    sql = f"{_escaped(_select(contract, table))}\nWHERE {_escaped(left)} IN ({', '.join([mark] * len(keys))})"
    return sql, [value for key in keys for value in key]


def argument(column: Column, text: str | None) -> Any:
    """A canonical text as what MySQL compares the column with.

    Raises:
        ValueError: It is the text of no value of the column's type (or of none that can be a key).
    """
    if text is None:
        raise ValueError(f"{column.name} is NULL, which no key is")
    carried = mapping(column)
    try:
        match carried.family:
            case "integer" | "bits":
                return int(text)
            case "decimal":
                return Decimal(text)
            case "float" | "double":
                return float(text)
            case "boolean":
                return {"true": 1, "false": 0}[text]
            case "bytes":
                return base64.b64decode(text, validate=True)
            case "timestamp":
                if text.startswith("!"):
                    raise ValueError(text)
                return text.removesuffix("Z").replace("T", " ")
            case "date":
                return date.fromisoformat(text).isoformat()
            case "time":
                return _time(int(text))
            case "text":
                return text
    except (ArithmeticError, KeyError, ValueError) as error:
        raise ValueError(f"{column.name}: {text[:60]!r} is no value of type {column.mysql_type}") from error
    raise ValueError(f"{column.name}: a {carried.family} is never a key")


def _time(micros: int) -> str:
    seconds, fraction = divmod(abs(micros), 1_000_000)
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    return f"{'-' if micros < 0 else ''}{hours:02}:{minute:02}:{second:02}.{fraction:06}"


def _after(names: Sequence[str], values: Sequence[Any]) -> tuple[str, list[Any]]:
    name = _escaped(names[0])
    if len(names) == 1:
        return f"{name} > %s", [values[0]]
    rest, args = _after(names[1:], values[1:])
    return f"{name} > %s OR ({name} = %s AND ({rest}))", [values[0], values[0], *args]


def _select(contract: Contract, table: str) -> str:
    columns = ", ".join(read_expression(column) for column in contract.schema(table).columns)
    source = f"{quoting.mysql(contract.database)}.{quoting.mysql(table)}"
    return f"SELECT {columns}\nFROM {source}"


def _order(contract: Contract, table: str) -> str:
    return ", ".join(quoting.mysql(column.name) for column in _key(contract, table))


def _key(contract: Contract, table: str) -> list[Column]:
    schema = contract.schema(table)
    return [schema.column(name) for name in schema.primary_key]


def _escaped(sql: str) -> str:
    return sql.replace("%", "%%")
