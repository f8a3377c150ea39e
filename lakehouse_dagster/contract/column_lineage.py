"""Which columns of the lake a SELECT's output columns are computed from, by sqlglot's lineage.

Lineage of values: a column counts when its value can become part of the output's, or decides which value it
is (the condition of a CASE, the partition and order of a window). What only decides which rows there are
(WHERE, HAVING, ON, GROUP BY, an EXISTS) is not value lineage and is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum, auto
from typing import Final

from sqlglot import exp
from sqlglot.lineage import Node, lineage

from lakehouse_dagster.contract.marts import AUDIT_TYPES, DIALECT, LAKE, lake_types, parse_select
from lakehouse_dagster.contract.schema import TableSchema


class Derivation(StrEnum):
    """How an output column comes from a column."""

    IDENTITY = auto()
    """It is the same value."""
    TRANSFORMATION = auto()
    """It is computed from values of the same row."""
    AGGREGATION = auto()
    """It is computed from values of many rows."""


@dataclass(frozen=True, order=True)
class LakeColumn:
    """A column of a lake table."""

    table: str
    column: str


@dataclass(frozen=True)
class SelectColumn:
    """An output column of a SELECT: what it is computed from and by which expression (Trino's SQL).

    ``sources`` is empty for what is computed from no column, as ``count(*)``.
    """

    name: str
    expression: str
    sources: Mapping[LakeColumn, Derivation]


def select_lineage(
    sql: str, schemas: Mapping[str, TableSchema], file: str = "the SQL"
) -> tuple[SelectColumn, ...]:
    """The output columns of a mart's SELECT over ``lake.<table>``, in order, with what they come from.

    Followed through common table expressions (recursive ones too), joins, subqueries, set operations,
    ``SELECT *``, ``USING``, UNNEST and window functions. ``schemas`` are those of the pipeline's tables.

    Raises:
        ContractError: The text is not one SELECT.
        sqlglot.errors.SqlglotError: It names a column that does not exist (a loaded contract has none such).
    """
    query = parse_select(sql, file)
    # Trino knows no case; the lake's own spelling is put back.
    columns = {
        (table.lower(), column.lower()): LakeColumn(table, column)
        for table, schema in schemas.items()
        for column in (*schema.column_names, *AUDIT_TYPES)
    }
    written = {
        projection.alias_or_name.lower(): projection.unalias().sql(DIALECT)
        for projection in query.selects
        if not projection.is_star
    }
    found = lineage(None, query, {LAKE: lake_types(schemas)}, dialect=DIALECT)
    result = []
    for name, node in found.items():
        reached = list(_leaves(node, Derivation.IDENTITY))
        # Where a recursive query comes back to itself, its values have been through all that is on the way.
        least = _strongest(how for column, how in reached if column is None)
        sources: dict[LakeColumn, Derivation] = {}
        for column, how in reached:
            if column is not None:
                known = columns[column]
                sources[known] = _strongest((how, least, sources.get(known, how)))
        # A column of a star has no expression of its own but its name.
        result.append(SelectColumn(name, written.get(name.lower(), name), dict(sorted(sources.items()))))
    return tuple(result)


_ORDER: Final = (Derivation.IDENTITY, Derivation.TRANSFORMATION, Derivation.AGGREGATION)


def _strongest(derivations: Iterable[Derivation]) -> Derivation:
    return max(derivations, key=_ORDER.index, default=Derivation.IDENTITY)


def _leaves(node: Node, how: Derivation) -> Iterator[tuple[tuple[str, str] | None, Derivation]]:
    """The columns of lake tables (in lower case) that a node ends in, each with the strongest derivation on
    the way to it; None is the place where a recursive query comes back to itself.
    """
    if isinstance(node.source, exp.Table):
        if node.source.db.lower() == LAKE:
            yield (node.source.name.lower(), node.name.rpartition(".")[2].strip('"').lower()), how
        return
    if isinstance(node.source, exp.Placeholder):
        yield None, how
        return
    here = _strongest((how, _derivation(node)))
    for below in node.downstream:
        yield from _leaves(below, here)


def _derivation(node: Node) -> Derivation:
    value = node.expression.unalias()
    if isinstance(value, exp.Column | exp.Subquery | exp.Query):
        return Derivation.IDENTITY
    return Derivation.AGGREGATION if value.find(exp.AggFunc) else Derivation.TRANSFORMATION
