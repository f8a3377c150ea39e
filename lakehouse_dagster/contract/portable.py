"""Whether a mart's SQL means the same in Doris as in Trino, whose dialect it is written in.

sqlglot rewrites syntax. What the same words compute it does not compare, and where it knows no translation
it writes the text through: `date_diff('minute', ...)` becomes a difference in days, `approx_percentile` a
function that Doris lacks. So this is a list of what may be used, not of what may not: an expression that is
not known to compute the same is refused with what to write instead. Facts are from Trino's and Doris 4.x's
function references; those that decide:

=========================  ==========================================  =====================================
expression                 Trino                                       Doris
=========================  ==========================================  =====================================
``integer / integer``      cut to an integer                           a double
``decimal / decimal``      the larger scale, rounded                   four digits more
``x / 0``, ``x % 0``       an error, Infinity for a double             NULL
``CAST(2.5 AS bigint)``    rounded                                     cut
``CAST('x' AS integer)``   an error                                    NULL
``CAST(t AS timestamp)``   milliseconds                                seconds
``avg(decimal)``           the column's scale                          at least four digits
arithmetic on ``real``     real                                        double
``ORDER BY x``             NULL last                                   NULL first (rendered explicitly)
``LIKE``                   no escape character                         the backslash escapes
``lower``, ``trim``        all of Unicode                              ASCII, blanks only
``stddev``                 of a sample                                 of the population
=========================  ==========================================  =====================================
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Literal

from sqlglot import exp
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify

from lakehouse_dagster.contract.errors import ContractError, ContractErrors
from lakehouse_dagster.contract.marts import DIALECT, LAKE, lake_types, line_of, parse_select
from lakehouse_dagster.contract.schema import TableSchema

DORIS_NEXT: Final = "__next"
"""Suffix of a view in Doris that is being built to take another's place."""

IMPLIED: Final = "implied"
"""Key in the ``meta`` of a cast that only says a type; what renders the query takes it out again."""

Kind = Literal[
    "integer", "decimal", "real", "double", "boolean", "text", "date", "timestamp", "interval", "other", ""
]
"""What rules depend on, of a type; empty where the SQL does not settle it."""

Refusal = tuple[str, str]
"""Why the two engines differ, and what to write instead."""

_Type = exp.DType
_KINDS: Final[dict[exp.DType, Kind]] = {
    **dict.fromkeys((_Type.TINYINT, _Type.SMALLINT, _Type.INT, _Type.BIGINT), "integer"),
    _Type.DECIMAL: "decimal",
    _Type.FLOAT: "real",
    _Type.DOUBLE: "double",
    _Type.BOOLEAN: "boolean",
    **dict.fromkeys((_Type.VARCHAR, _Type.TEXT), "text"),
    _Type.DATE: "date",
    _Type.TIMESTAMP: "timestamp",
    _Type.INTERVAL: "interval",
    **dict.fromkeys((_Type.UNKNOWN, _Type.NULL), ""),
}
_NUMBERS: Final = frozenset({"integer", "decimal", "double"})
_TIMES: Final = frozenset({"date", "timestamp"})

_TO_DOUBLE: Final = "write CAST(... AS double) around it"
_GUARD: Final = "write nullif(divisor, 0), which gives NULL in both"
_OUTPUT_NAME: Final = re.compile(r"(?!mva?_|__doris_)[A-Za-z_][A-Za-z0-9_]{0,63}", re.IGNORECASE)
_ISO_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_ISO_TIMESTAMP: Final = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}(\.\d{1,6})?")
_EXACT_UNITS: Final = frozenset({"SECOND", "MINUTE", "HOUR", "DAY"})
"""Units of a constant length: a difference in them is the same in every calendar."""
_UNITS: Final = _EXACT_UNITS | {"WEEK", "MONTH", "QUARTER", "YEAR"}


def typed(sql: str, file: str, schemas: Mapping[str, TableSchema]) -> exp.Query:
    """A mart's query with every column qualified, stars expanded, and the type of every expression.

    Where sqlglot does not know a type, or another than Trino's, a cast that changes nothing says it; such
    casts have :data:`IMPLIED` in their ``meta``.
    """
    catalog: dict[str, object] = {LAKE: lake_types(schemas)}
    query = parse_select(sql, file)
    for literal in list(query.find_all(exp.Literal)):
        if not literal.is_string and re.fullmatch(r"\d*\.\d*", literal.name):
            digits = literal.name.replace(".", "").lstrip("0") or "0"
            scale = len(literal.name.partition(".")[2])
            _say(literal, exp.DataType.build(f"decimal({max(len(digits), scale)}, {scale})", dialect=DIALECT))
    query = qualify(query, schema=catalog, dialect=DIALECT, quote_identifiers=False)
    while True:
        query = annotate_types(query, schema=catalog, dialect=DIALECT)
        unsaid = [(node, said) for node in query.walk() if (said := _implied(node)) is not None]
        if not unsaid:
            return query
        for node, said in unsaid:
            _say(node, said)


def check_portable(sql: str, file: str, schemas: Mapping[str, TableSchema]) -> None:
    """Check that SQL which is valid by :func:`~lakehouse_dagster.contract.marts.read_mart` is one for Doris.

    Raises:
        ContractErrors: Every expression that means something else in Doris, or is not known to mean the same.
    """
    problems: list[ContractError] = []
    for node, (why, fix) in _refusals(typed(sql, file, schemas)):
        text = _unimplied(node.copy()).sql(DIALECT)
        shown = text if len(text) <= 80 else f"{text[:77]}..."
        problem = ContractError(
            file, "", f"{shown} is not the same in Doris: {why}", f"{fix}, or take doris out of its engines",
            line_of(node),
        )  # fmt: skip
        if str(problem) not in map(str, problems):
            problems.append(problem)
    if problems:
        raise ContractErrors(problems)


def kind(node: exp.Expr | None) -> Kind:
    """The kind of a typed expression's type."""
    if node is None or node.type is None:
        return ""
    return _KINDS.get(node.type.this, "other")


def unimplied(query: exp.Query) -> exp.Query:
    """The query without the casts that only say a type."""
    without = _unimplied(query)
    assert isinstance(without, exp.Query)
    return without


def _unimplied(node: exp.Expr) -> exp.Expr:
    for cast in reversed(list(node.find_all(exp.Cast))):  # those inside before those around them
        if cast.meta.get(IMPLIED) and cast is not node:
            cast.replace(cast.this)
    return node.this if node.meta.get(IMPLIED) and isinstance(node.this, exp.Expr) else node


def _say(node: exp.Expr, said: exp.DataType) -> None:
    cast = exp.Cast(this=node.copy(), to=said.copy())
    cast.meta[IMPLIED] = True
    node.replace(cast)


def _implied(node: exp.Expr) -> exp.DataType | None:
    """What Trino makes of an expression, where sqlglot says something else or nothing."""
    if node.parent is None or node.parent.meta.get(IMPLIED):
        return None
    if isinstance(node, exp.ApproxQuantile):
        said = exp.DataType.build("bigint") if kind(node.this) == "integer" else node.this.type
    elif isinstance(node, (exp.TimestampTrunc, exp.DateTrunc)):
        said = node.this.type
    elif isinstance(node, _PARTS):
        said = exp.DataType.build("bigint")
    else:
        return None
    return said if isinstance(said, exp.DataType) and said.this != _Type.UNKNOWN else None


_PARTS: Final = (
    exp.Year, exp.Quarter, exp.Month, exp.Day, exp.Hour, exp.Minute, exp.Second, exp.DayOfWeekIso,
)  # fmt: skip
"""Functions that take one part of a date or timestamp."""

_SAME: Final = frozenset(
    {
        # the query
        *(
            exp.Select,
            exp.From,
            exp.Where,
            exp.Group,
            exp.Having,
            exp.CTE,
            exp.Subquery,
            exp.Order,
            exp.Alias,
        ),
        *(exp.TableAlias, exp.Table, exp.Column, exp.Identifier, exp.Star, exp.Paren, exp.Tuple, exp.Var),
        *(exp.DataType, exp.DataTypeParam, exp.Distinct, exp.Exists, exp.Ordered),
        # values and comparisons
        *(exp.Literal, exp.Boolean, exp.Null, exp.And, exp.Or, exp.Not, exp.EQ, exp.NEQ, exp.GT, exp.GTE),
        *(exp.LT, exp.LTE, exp.Between, exp.In, exp.Is, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Case, exp.If),
        *(exp.Coalesce, exp.Nullif, exp.Neg, exp.Abs, exp.Floor, exp.Ceil, exp.Greatest, exp.Least),
        # text
        *(exp.Length, exp.DPipe, exp.Concat),
        # aggregates and windows
        *(exp.Count, exp.CountIf, exp.Window, exp.WindowSpec, exp.RowNumber, exp.Rank),
        *(exp.DenseRank, exp.Lag, exp.Lead, exp.FirstValue, exp.LastValue),
    }
)
"""What computes the same in both, or is rendered so that it does."""

_REAL_MAY_STAND_IN: Final = (
    exp.Alias, exp.Cast, exp.Column, exp.Count, exp.Distinct, exp.Min, exp.Max, exp.Is, exp.Group, exp.Select,
    exp.Tuple, exp.Window,
)  # fmt: skip


def _refusals(query: exp.Query) -> Iterator[tuple[exp.Expr, Refusal]]:
    for projection in query.selects:
        if not _OUTPUT_NAME.fullmatch(projection.alias_or_name):
            yield (
                projection,
                (
                    "it cannot be a column's name there",
                    "name it with ASCII letters, digits and underscores, not beginning with mv_ or mva_",
                ),
            )
        if kind(projection) == "other":
            yield (
                projection,
                ("its type cannot be a column of a materialized view", "leave the column out"),
            )
    for node in query.walk():
        if node.meta.get(IMPLIED):
            continue
        rule = _RULES.get(type(node))
        if rule is not None:
            found = rule(node)
            if found is not None:
                yield node, found
        elif type(node) not in _SAME:
            yield node, _unknown(node)
        if not isinstance(node, _REAL_MAY_STAND_IN) and any(
            kind(child) == "real" for child in node.iter_expressions() if isinstance(child, exp.Condition)
        ):
            yield (
                node,
                ("Trino computes with real, Doris with double", "write CAST(... AS double) around the real"),
            )


def _unknown(node: exp.Expr) -> Refusal:
    what = "this" if isinstance(node, exp.Func) else f"{node.key.upper()}"
    return (
        f"{what} is not known to compute the same there",
        "write it with arithmetic, CASE, count, sum, avg, min, max, round, date_trunc, date_diff or the like",
    )


# --- one rule per kind of expression ------------------------------------------------------------------------


def _guarded(divisor: exp.Expr) -> bool:
    plain = divisor.unnest()
    while isinstance(plain, exp.Cast):
        plain = plain.this.unnest()
    if isinstance(plain, exp.Literal):
        return float(plain.name) != 0
    if isinstance(plain, exp.Count) and isinstance(plain.this, exp.Star):
        select = plain.find_ancestor(exp.Select)
        group = select.args.get("group") if select is not None else None
        return group is not None and bool(group.expressions)  # a group has at least one row
    return (
        isinstance(plain, exp.Nullif)
        and isinstance(plain.expression.unnest(), exp.Literal)
        and float(plain.expression.unnest().name) == 0
    )


def _division(node: exp.Expr) -> Refusal | None:
    kinds = {kind(node.left), kind(node.right)}  # type: ignore[attr-defined]
    if "double" not in kinds:
        if kinds == {"integer"}:
            return "Trino cuts the quotient to an integer, Doris makes it a double", _to_double(node)
        if kinds <= _NUMBERS:
            return "the quotient of decimals has other digits", _to_double(node)
        return "it takes knowing that one side is a double", _to_double(node)
    return None if _guarded(node.right) else ("dividing by zero gives NULL there", _GUARD)  # type: ignore[attr-defined]


def _to_double(node: exp.Expr) -> str:
    left = _unimplied(node.left.copy()).sql(DIALECT)  # type: ignore[attr-defined]
    return f"write CAST({left} AS double) / ..."


def _modulo(node: exp.Expr) -> Refusal | None:
    if {kind(node.left), kind(node.right)} != {"integer"}:  # type: ignore[attr-defined]
        return "the rest is only the same for integers", "take the rest of integers"
    return None if _guarded(node.right) else ("the rest by zero is NULL there", _GUARD)  # type: ignore[attr-defined]


def _product(node: exp.Expr) -> Refusal | None:
    if {kind(node.left), kind(node.right)} <= _NUMBERS:  # type: ignore[attr-defined]
        return None
    return "it takes knowing the types of both sides", _TO_DOUBLE


def _total(node: exp.Expr) -> Refusal | None:
    of = node.this.expressions[0] if isinstance(node.this, exp.Distinct) else node.this
    return None if kind(of) in _NUMBERS else ("it takes knowing the type", _TO_DOUBLE)


def _sum(node: exp.Expr) -> Refusal | None:
    kinds = {kind(node.left), kind(node.right)}  # type: ignore[attr-defined]
    if kinds <= _NUMBERS:
        return None
    if kinds & _TIMES and "interval" in kinds:
        return None
    if kinds <= _TIMES:
        return "the difference of times is a plain number there", "write date_diff('second', earlier, later)"
    return "it takes knowing the types of both sides", "write CAST(... AS double) or date_diff(...)"


def _average(node: exp.Expr) -> Refusal | None:
    of = node.this.expressions[0] if isinstance(node.this, exp.Distinct) else node.this
    if kind(of) in {"integer", "double"}:
        return None
    return "the mean of decimals has other digits", f"write avg(CAST({of.sql(DIALECT)} AS double))"


def _extreme(node: exp.Expr) -> Refusal | None:
    if node.expressions:
        return "the n greatest are an array", "take the one greatest"
    return None if kind(node.this) not in {"boolean", ""} else (
        "it takes knowing that the type is ordered alike", "write it over numbers, text, dates or timestamps"
    )  # fmt: skip


def _round(node: exp.Expr) -> Refusal | None:
    digits = node.args.get("decimals")
    if digits is not None and not (isinstance(digits, exp.Literal) and digits.is_int):
        return "the number of digits must be a constant", "write it as a number"
    return None if kind(node.this) in _NUMBERS else ("it takes knowing the type", _TO_DOUBLE)


def _cast(node: exp.Expr) -> Refusal | None:
    source, target = node.this, node.args["to"]
    of, to = kind(source), _KINDS.get(target.this, "other")
    if source.is_string:
        iso = {"date": _ISO_DATE, "timestamp": _ISO_TIMESTAMP}.get(to)
        if iso is not None and iso.fullmatch(source.name):
            return None
    if of == to and of in {"boolean", "date", "double", "integer", "text"} and not target.expressions:
        return None
    match of, to:
        case ("integer" | "decimal" | "real", "double") | ("integer", "decimal"):
            return None
        case ("date" | "timestamp", "timestamp"):
            precise = [param.name for param in target.expressions] == ["6"]
            return None if precise else ("it has another precision there", "write CAST(... AS timestamp(6))")
        case ("timestamp", "date"):
            return None
        case ("integer", "text"):
            return None if not target.expressions else ("it cuts otherwise", "write CAST(... AS varchar)")
        case ("double" | "decimal", "integer"):
            whole = isinstance(
                source.unnest(), (exp.Round, exp.Floor, exp.Ceil)
            ) and not source.unnest().args.get("decimals")
            return None if whole else ("Trino rounds, Doris cuts", "write CAST(round(...) AS bigint)")
        case ("text", _):
            return (
                "text that is no such value is NULL there",
                "keep the text, or change the type in the source",
            )
        case _:
            return "the cast has other rules there", "cast to double, bigint, date or timestamp(6)"


def _like(node: exp.Expr) -> Refusal | None:
    pattern = node.expression
    if isinstance(pattern, exp.Literal) and "\\" not in pattern.name:
        return None
    return "the backslash escapes there", "write the pattern as a constant without backslashes"


def _substring(node: exp.Expr) -> Refusal | None:
    start = node.args.get("start")
    if isinstance(start, exp.Literal) and start.is_int and int(start.name) > 0:
        return None
    return "positions below 1 count otherwise", "write the start as a number from 1"


def _unit(node: exp.Expr) -> str:
    unit = node.args.get("unit")
    return unit.name.upper() if isinstance(unit, exp.Expr) else ""


def _truncate(node: exp.Expr) -> Refusal | None:
    if _unit(node) in _UNITS and kind(node.this) in _TIMES:
        return None
    return "it takes a constant unit, and a date or timestamp", "write date_trunc('day', ...) or the like"


def _difference(node: exp.Expr) -> Refusal | None:
    if _unit(node) not in _EXACT_UNITS:
        return "months of different lengths count otherwise", "use second, minute, hour or day"
    if {kind(node.this), kind(node.expression)} <= _TIMES:
        return None
    return "it takes dates or timestamps", "write CAST(... AS timestamp(6))"


def _move(node: exp.Expr) -> Refusal | None:
    if _unit(node) in _UNITS and kind(node.this) in _TIMES and kind(node.expression) == "integer":
        return None
    return "it takes a constant unit, an integer, and a date or timestamp", "write date_add('day', 1, ...)"


def _interval(node: exp.Expr) -> Refusal | None:
    if _unit(node) in _UNITS and isinstance(node.this, exp.Literal) and node.this.name.isdigit():
        return None
    return "only whole numbers of one unit are the same", "write INTERVAL '1' DAY or the like"


def _part(node: exp.Expr) -> Refusal | None:
    of = node.expression if isinstance(node, exp.Extract) else node.this
    if isinstance(node, exp.Extract) and node.name.upper() not in {
        "YEAR", "QUARTER", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND",
    }:  # fmt: skip
        return "weeks and days of the week count otherwise", "use year(...), month(...), day_of_week(...)"
    return None if kind(of) in _TIMES else ("it takes a date or timestamp", "write CAST(... AS timestamp(6))")


def _join(node: exp.Expr) -> Refusal | None:
    if node.args.get("method") or node.args.get("kind") not in (None, "", "INNER", "OUTER", "CROSS"):
        return "this join is not known there", "write INNER, LEFT, RIGHT, FULL or CROSS JOIN with ON"
    return None


def _set(node: exp.Expr) -> Refusal | None:
    if isinstance(node, exp.Union) or node.args.get("distinct"):
        return None
    return "there is no ALL of it", "leave ALL out"


def _with(node: exp.Expr) -> Refusal | None:
    return ("recursion is not the same", "write it without RECURSIVE") if node.args.get("recursive") else None


def _limit(node: exp.Expr) -> Refusal | None:
    if node.parent is not None and node.parent.args.get("order"):
        return None
    return "which rows are kept is each engine's choice", "say ORDER BY, over columns without ties"


def _quantile(node: exp.Expr) -> Refusal | None:
    share = node.args.get("quantile")
    plain = share.this if isinstance(share, exp.Cast) and share.meta.get(IMPLIED) else share
    if node.args.get("weight") or node.args.get("accuracy") or not isinstance(plain, exp.Literal):
        return "it takes one constant share", "write approx_percentile(x, 0.5) or the like"
    return None if kind(node.this) in {"integer", "double"} else ("it takes knowing the type", _TO_DOUBLE)


def _filter(node: exp.Expr) -> Refusal | None:
    if isinstance(node.this, (exp.Count, exp.Sum, exp.Avg, exp.Min, exp.Max)):
        return None
    return "FILTER is only rendered for count, sum, avg, min and max", "write CASE inside the aggregate"


_RULES: Final[dict[type[exp.Expr], Callable[[exp.Expr], Refusal | None]]] = {
    exp.Div: _division,
    exp.Mod: _modulo,
    exp.Mul: _product,
    exp.Add: _sum,
    exp.Sub: _sum,
    exp.Sum: _total,
    exp.Avg: _average,
    exp.Min: _extreme,
    exp.Max: _extreme,
    exp.Round: _round,
    exp.Cast: _cast,
    exp.Like: _like,
    exp.Substring: _substring,
    exp.TimestampTrunc: _truncate,
    exp.DateTrunc: _truncate,
    exp.DateDiff: _difference,
    exp.DateAdd: _move,
    exp.Interval: _interval,
    exp.Extract: _part,
    **dict.fromkeys(_PARTS, _part),
    exp.Join: _join,
    exp.Union: _set,
    exp.Except: _set,
    exp.Intersect: _set,
    exp.With: _with,
    exp.Limit: _limit,
    exp.ApproxQuantile: _quantile,
    exp.Filter: _filter,
}
