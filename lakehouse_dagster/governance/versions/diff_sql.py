"""SQL of a comparison of one table in two versions, for Trino; both are catalogs that show one commit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lakehouse_dagster.render.quoting import double

ROWS_AT_ONCE = 250_000
"""A larger table is compared in parts, by a hash of its key, so that Trino's memory holds one part."""

MARK = "_there"


@dataclass(frozen=True)
class Compared:
    """One table in both versions. ``columns`` are those that both have, key first; ``ignored`` are shown
    nowhere and make no difference.
    """

    schema: str
    table: str
    before: str
    """Catalog."""
    after: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    binary: frozenset[str] = frozenset()
    """Columns of type varbinary, which have no text."""

    @property
    def values(self) -> tuple[str, ...]:
        """Columns that are not of the key."""
        return tuple(column for column in self.columns if column not in self.key)


def parts(rows: int) -> int:
    """In how many parts a table of so many rows (the greater of both versions) is compared."""
    return max(1, math.ceil(rows / ROWS_AT_ONCE))


def counts_sql(one: Compared, part: int = 0, of: int = 1) -> str:
    """A query with one row: rows added, removed, changed, and the same."""
    if not one.key:
        return _multiset_counts(one, part, of)
    differs = _differs(one)
    return (
        f"SELECT count_if(b.{MARK} IS NULL), count_if(a.{MARK} IS NULL),\n"
        f"  count_if(b.{MARK} AND a.{MARK} AND ({differs})),\n"
        f"  count_if(b.{MARK} AND a.{MARK} AND NOT ({differs}))\n{_joined(one, part, of)}"
    )


def sample_sql(one: Compared, limit: int, part: int = 0, of: int = 1) -> str:
    """A query of rows that differ: what happened, then every column before, then every column after."""
    if not one.key:
        return _multiset_sample(one, limit, part, of)
    listed = ", ".join(f"{side}.{double(name)}" for side in ("b", "a") for name in one.columns)
    order = ", ".join(f"coalesce(b.{double(name)}, a.{double(name)})" for name in one.key)
    return (
        f"SELECT CASE WHEN b.{MARK} IS NULL THEN 'added' WHEN a.{MARK} IS NULL THEN 'removed' "
        f"ELSE 'changed' END, {listed}\n{_joined(one, part, of)}\n"
        f"WHERE b.{MARK} IS NULL OR a.{MARK} IS NULL OR {_differs(one)}\n"
        f"ORDER BY {order} LIMIT {limit}"
    )


def rows_sql(one: Compared) -> str:
    """A query with one row: how many rows there are before and after."""
    return f"SELECT (SELECT count(*) FROM {_name(one, one.before)}), (SELECT count(*) FROM {_name(one, one.after)})"  # noqa: S608, E501


def _name(one: Compared, catalog: str) -> str:
    return double(catalog, one.schema, one.table)


def _differs(one: Compared) -> str:
    found = [f"b.{double(name)} IS DISTINCT FROM a.{double(name)}" for name in one.values]
    return " OR ".join(found) or "false"


def _joined(one: Compared, part: int, of: int) -> str:
    on = " AND ".join(f"b.{double(name)} = a.{double(name)}" for name in one.key)
    return (
        f"FROM ({_side(one, one.before, part, of)}) AS b\n"
        f"FULL OUTER JOIN ({_side(one, one.after, part, of)}) AS a ON {on}"
    )


def _side(one: Compared, catalog: str, part: int, of: int) -> str:
    listed = ", ".join(double(name) for name in one.columns)
    return f"SELECT {listed}, true AS {MARK} FROM {_name(one, catalog)}{_where(one, part, of)}"  # noqa: S608


def _where(one: Compared, part: int, of: int) -> str:
    if of == 1:
        return ""
    # A hash of the first column parts a table without key; every row falls into one part on both sides.
    texts = ", ".join(_text(one, name) for name in one.key or one.columns[:1])
    digest = f"from_big_endian_64(xxhash64(to_utf8(concat_ws('|', {texts}))))"
    return f" WHERE mod(mod({digest}, {of}) + {of}, {of}) = {part}"


def _text(one: Compared, name: str) -> str:
    column = double(name)
    text = f"to_hex({column})" if name in one.binary else f"CAST({column} AS varchar)"
    return f"coalesce({text}, '')"


def _multiset(one: Compared, part: int, of: int) -> str:
    """Rows of a table without key, grouped, with how many times each is there before and after."""
    listed = ", ".join(double(name) for name in one.columns)
    where = _where(one, part, of)
    return (
        f"SELECT {listed}, sum(_before) AS _before, sum(_after) AS _after FROM (\n"  # noqa: S608
        f"  SELECT {listed}, 1 AS _before, 0 AS _after FROM {_name(one, one.before)}{where}\n"
        f"  UNION ALL SELECT {listed}, 0, 1 FROM {_name(one, one.after)}{where}\n) GROUP BY {listed}"
    )


def _multiset_counts(one: Compared, part: int, of: int) -> str:
    return (
        "SELECT coalesce(sum(greatest(_after - _before, 0)), 0), "
        "coalesce(sum(greatest(_before - _after, 0)), 0), 0, coalesce(sum(least(_before, _after)), 0)\n"
        f"FROM ({_multiset(one, part, of)})"
    )


def _multiset_sample(one: Compared, limit: int, part: int, of: int) -> str:
    listed = ", ".join(double(name) for name in one.columns)
    before = ", ".join(f"CASE WHEN _before > _after THEN {double(n)} END" for n in one.columns)
    after = ", ".join(f"CASE WHEN _after > _before THEN {double(n)} END" for n in one.columns)
    return (
        f"SELECT CASE WHEN _after > _before THEN 'added' ELSE 'removed' END, {before}, {after}\n"
        f"FROM ({_multiset(one, part, of)}) WHERE _after <> _before ORDER BY {listed} LIMIT {limit}"
    )


def schema_changes(
    before: Sequence[tuple[str, str]], after: Sequence[tuple[str, str]]
) -> dict[str, list[str]]:
    """What differs between the columns (name, type) of two versions: added, removed, and changed types."""
    old, new = dict(before), dict(after)
    return {
        "added": [f"{name} {kind}" for name, kind in after if name not in old],
        "removed": [f"{name} {kind}" for name, kind in before if name not in new],
        "changed": [
            f"{name} {old[name]} -> {kind}" for name, kind in after if name in old and old[name] != kind
        ],
    }
