"""Whether a mart can be refreshed by partition: which table's rows decide a partition, and the proof that
nothing else does.

A partition of a mart is its rows with one value of the partition's column. It may be computed alone when it
depends on the rows of one table with that value only, and otherwise on tables that are looked at as a whole.
The rules below are sufficient for that, and what they cannot show is refused: a mart that was refreshed in
parts must be the same as one that was computed anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlglot import exp
from sqlglot.optimizer.scope import traverse_scope

DIALECT: Final = "trino"

_NOT_REPEATABLE: Final = (
    exp.CurrentDate,
    exp.CurrentTime,
    exp.CurrentTimestamp,
    exp.CurrentUser,
    exp.Localtime,
    exp.Localtimestamp,
    exp.Rand,
    exp.Uuid,
)
_NOT_REPEATABLE_NAMES: Final = frozenset({"now", "random", "rand", "uuid", "shuffle", "current_timezone"})


@dataclass(frozen=True)
class Partitioning:
    """What the partitions of a mart come from.

    Attributes:
        table: The source table whose rows belong to one partition each.
        expression: The partition of such a row, as Trino SQL over the table's columns without qualification.
        columns: Columns of that table that the mart reads, sorted.
        others: All other tables that it reads, each with the columns read, sorted. A change of any of these
            may concern every partition.
    """

    table: str
    expression: str
    columns: tuple[str, ...]
    others: Mapping[str, tuple[str, ...]]


class NotIncremental(ValueError):  # noqa: N818 - a property of the query, not an accident
    """Why a query cannot be refreshed by partition, and the ``fix``."""

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(problem)
        self.fix = fix


def partitioning(query: exp.Query, partition: str) -> Partitioning:
    """Show that a mart can be refreshed by partition.

    Args:
        query: The mart's query, qualified by sqlglot, tables named ``lake.<table>``.
        partition: Name of the output column.

    Raises:
        NotIncremental: It cannot be shown.
    """
    if not isinstance(query, exp.Select):
        raise NotIncremental("it is a set operation", "write it as one SELECT, or remove partition")
    for argument in ("limit", "offset", "sample"):
        if query.args.get(argument) is not None:
            raise NotIncremental(
                f"it has {argument.upper()}, which depends on all rows", "remove one of both"
            )
    for node in query.walk():
        if isinstance(node, _NOT_REPEATABLE) or (
            isinstance(node, exp.Anonymous) and node.name.lower() in _NOT_REPEATABLE_NAMES
        ):
            raise NotIncremental(
                f"{node.sql(DIALECT)} has another value at every refresh", "use values of the row instead"
            )
        if isinstance(node, exp.TableSample):
            raise NotIncremental("it samples a table", "read the whole table")
    value = next(item for item in query.selects if item.alias_or_name == partition).unalias()
    if value.find(exp.AggFunc, exp.Window, exp.Query):
        raise NotIncremental(
            f"{partition} is not computed from one row of a table", "take it from a column of one table"
        )
    aliases = {column.table for column in value.find_all(exp.Column)}
    base = _base(query, aliases, partition)
    _joined_safely(query, base)
    _grouped_by(query, value, partition)
    _windows(query, value, partition)
    read = columns_read(query)
    bare = value.copy()
    for column in bare.find_all(exp.Column):
        column.set("table", None)
        column.set("this", exp.to_identifier(column.name, quoted=True))
    if isinstance(bare, exp.Column):
        bare = exp.column(exp.to_identifier(bare.name, quoted=True))
    return Partitioning(
        table=base.name,
        expression=bare.sql(DIALECT),
        columns=tuple(sorted(read[base.name])),
        others={name: tuple(sorted(found)) for name, found in sorted(read.items()) if name != base.name},
    )


def columns_read(query: exp.Query) -> dict[str, set[str]]:
    """The columns of each lake table that a qualified query reads anywhere."""
    read: dict[str, set[str]] = {table.name: set() for table in query.find_all(exp.Table) if table.db}
    for scope in traverse_scope(query):
        for column in scope.columns:
            source = scope.sources.get(column.table)
            if isinstance(source, exp.Table) and source.db:
                read[source.name].add(column.name)
    return read


def _base(query: exp.Select, aliases: set[str], partition: str) -> exp.Table:
    if len(aliases) != 1:
        raise NotIncremental(
            f"{partition} is computed from {len(aliases)} tables", "take it from a column of one table"
        )
    (alias,) = aliases
    from_ = query.args.get("from_") or query.args.get("from")
    joins = query.args.get("joins") or []
    outermost = [from_.this if from_ else None, *(join.this for join in joins)]
    base = next(
        (source for source in outermost if isinstance(source, exp.Table) and source.alias_or_name == alias),
        None,
    )
    if base is None or not base.db:
        raise NotIncremental(
            f"{partition} comes out of a subquery", "take it from a table that the outermost FROM names"
        )
    if sum(1 for table in query.find_all(exp.Table) if table.db and table.name == base.name) > 1:
        raise NotIncremental(
            f"it reads lake.{base.name} more than once, so rows of one partition may decide another",
            "read it once, or remove partition",
        )
    return base


def _joined_safely(query: exp.Select, base: exp.Table) -> None:
    for join in query.args.get("joins") or []:
        sides = {join.side.upper(), join.kind.upper()}
        if sides & {"RIGHT", "FULL"} or (join.this is base and "LEFT" in sides):
            raise NotIncremental(
                f"lake.{base.name} may be missing from a row by its outer join",
                f"begin FROM with lake.{base.name} and join the others to it by LEFT or INNER JOIN",
            )


def _grouped_by(query: exp.Select, value: exp.Expr, partition: str) -> None:
    group = query.args.get("group")
    if group is not None:
        # Beside it may stand grouping sets of other columns: each of them is of one partition then.
        if value not in group.expressions:
            raise NotIncremental(
                f"{partition} is not in GROUP BY, so a group has rows of many partitions",
                f"add {value.sql(DIALECT)} to GROUP BY",
            )
        return
    for item in query.selects:
        for found in item.find_all(exp.AggFunc):
            if found.find_ancestor(exp.Window, exp.Query) is query:
                raise NotIncremental("it aggregates all rows into one", f"add GROUP BY {value.sql(DIALECT)}")


def _windows(query: exp.Select, value: exp.Expr, partition: str) -> None:
    for window in query.find_all(exp.Window):
        if window.find_ancestor(exp.Query) is query and value not in (window.args.get("partition_by") or []):
            raise NotIncremental(
                f"the window {window.sql(DIALECT)} spans many partitions",
                f"add {value.sql(DIALECT)} to its PARTITION BY, or remove partition",
            )
