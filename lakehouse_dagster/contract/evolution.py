"""How a source's schema has changed since it was locked, and what is to be done about it. Pure.

Comparing two shapes tells what is there and what is not. It cannot tell a renamed column from one that was
dropped beside another that was added: only the text of the statement can
(:mod:`lakehouse_dagster.contract.ddl`). Without that text a rename is shown as the two changes it looks like,
and a table that shows both is never changed without being asked.

A change of a column's definition is ``widen`` when it is proven that every value of the old definition is the
same value in the new one, and ``narrow`` in every other case: also when it is only not known. A change of the
family of types (a number that becomes text, a date that becomes a time) is always ``narrow``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from lakehouse_dagster.contract.schema import Column, SchemaLock, TableSchema
from lakehouse_dagster.contract.types import UncarryableType, mapping

Answer = Literal["apply", "hold", "ignore"]


class Kind(StrEnum):
    """Kinds of change; the names are those of the policy's fields."""

    ADD = "add"
    DROP = "drop"
    RENAME = "rename"
    WIDEN = "widen"
    NARROW = "narrow"
    REORDER = "reorder"
    KEY = "key"
    NEW_TABLE = "new_table"
    DROPPED_TABLE = "dropped_table"


# --- what a pipeline wants ------------------------------------------------------------------------


class _Policy(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SchemaPolicy(_Policy):
    """What to do about each kind of change: ``apply`` it, ``hold`` it until approved, ``ignore`` it."""

    add: Answer = Field(default="apply", description="A column was added.")
    drop: Answer = Field(default="hold", description="A column was dropped.")
    rename: Answer = Field(default="hold", description="A column was renamed.")
    widen: Answer = Field(default="apply", description="A column holds more values; all old ones stay.")
    narrow: Answer = Field(default="hold", description="A column's values may have changed.")
    reorder: Answer = Field(default="apply", description="Columns stand in another order.")
    key: Answer = Field(default="hold", description="The primary key is another one.")
    new_table: Answer = Field(default="ignore", description="The database has a table that is not copied.")
    dropped_table: Answer = Field(default="hold", description="A table that is copied is gone.")

    def answer(self, kind: Kind) -> Answer:
        """What is wanted for a kind of change."""
        found: Answer = getattr(self, kind.value)
        return found


class TableSchemaPolicy(_Policy):
    """The same for one table; what is left out is as the pipeline says."""

    add: Answer | None = None
    drop: Answer | None = None
    rename: Answer | None = None
    widen: Answer | None = None
    narrow: Answer | None = None
    reorder: Answer | None = None
    key: Answer | None = None
    dropped_table: Answer | None = None


def policy_of(pipeline: SchemaPolicy, table: TableSchemaPolicy | None) -> SchemaPolicy:
    """The policy of one table: its own answers, else the pipeline's."""
    own = {} if table is None else table.model_dump(exclude_none=True)
    return pipeline.model_copy(update=own)


# --- changes --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """One difference between the locked schema and the source's.

    Attributes:
        kind: Which kind.
        table: The source table.
        column: The column by its name in the source now (a dropped one by its locked name); None when the
            whole table is meant.
        old: What the lock says, in words; None for what is new.
        new: What the source says; None for what is gone.
        before: The locked column, of changes of one column.
        after: The source's column.
    """

    kind: Kind
    table: str
    column: str | None = None
    old: str | None = None
    new: str | None = None
    before: Column | None = None
    after: Column | None = None

    @property
    def id(self) -> str:
        """Twelve hex digits that stand for exactly this change: who approves it approves no other."""
        text = "\x00".join(
            "\x01" if part is None else part
            for part in (self.kind.value, self.table, self.column, self.old, self.new)
        )
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def __str__(self) -> str:
        where = self.table if self.column is None else f"{self.table}.{self.column}"
        return f"{where}: {self.kind.value.replace('_', ' ')} ({self.old or 'none'} -> {self.new or 'none'})"


def described(column: Column) -> str:
    """A column's definition as far as values depend on it."""
    parts = [column.mysql_type]
    if column.charset is not None:
        parts.append(f"charset {column.charset}")
    parts.append("NULL" if column.nullable else "NOT NULL")
    if column.generated:
        parts.append("generated")
    return " ".join(parts)


def diff(
    locked: SchemaLock,
    live: SchemaLock,
    tables: Sequence[str],
    *,
    renames: Mapping[str, Mapping[str, str]] | None = None,
) -> list[Change]:
    """Every change of the given tables, and every table that is not among them, in a fixed order.

    Comments count as no change, and neither does a position that only moved because another column came or
    went.

    Args:
        locked: The locked schema.
        live: The source's own: whoever wants to hear of new tables reads all of them.
        tables: The tables that are copied. One that the lock does not have is left out.
        renames: Old to new column names by table, known from the text of statements.
    """
    found: list[Change] = []
    for name in tables:
        if name in locked.tables:
            found += diff_table(locked.tables[name], live.tables.get(name), (renames or {}).get(name))
    found += [
        Change(Kind.NEW_TABLE, name, new=f"{len(live.tables[name].columns)} columns")
        for name in sorted(live.tables)
        if name not in tables
    ]
    return found


def diff_table(
    locked: TableSchema, live: TableSchema | None, renames: Mapping[str, str] | None = None
) -> list[Change]:
    """The changes of one table; ``live`` is None when the table is gone.

    ``renames`` that do not lead from a locked column to one of the source are not believed.
    """
    table = locked.name
    if live is None:
        return [Change(Kind.DROPPED_TABLE, table, old=f"{len(locked.columns)} columns")]
    moved = believed(locked, live, renames or {})
    now = {column.name: column for column in live.columns}
    # A column whose name another one has now, and which was not renamed itself, is gone.
    taken = set(moved.values())
    gone = [
        column
        for column in locked.columns
        if column.name not in moved and (column.name in taken or column.name not in now)
    ]
    then = {moved.get(column.name, column.name): column for column in locked.columns if column not in gone}
    found = [Change(Kind.DROP, table, column.name, old=described(column), before=column) for column in gone]
    for name, after in now.items():
        before = then.get(name)
        if before is None:
            found.append(Change(Kind.ADD, table, name, new=described(after), after=after))
            continue
        if before.name != name:
            found.append(
                Change(Kind.RENAME, table, name, old=before.name, new=name, before=before, after=after)
            )
        kind = column_change(before, after)
        if kind is not None:
            found.append(Change(kind, table, name, described(before), described(after), before, after))
    old_order = [name for name in then if name in now]
    new_order = [name for name in now if name in then]
    if old_order != new_order:
        found.append(Change(Kind.REORDER, table, old=", ".join(old_order), new=", ".join(new_order)))
    old_key = tuple(moved.get(name, name) for name in locked.primary_key)
    if old_key != live.primary_key or any(
        c.kind is Kind.RENAME and c.old in locked.primary_key for c in found
    ):
        found.append(
            Change(
                Kind.KEY,
                table,
                old=", ".join(locked.primary_key) or "none",
                new=", ".join(live.primary_key) or "none",
            )
        )
    return found


def believed(locked: TableSchema, live: TableSchema, renames: Mapping[str, str]) -> dict[str, str]:
    """Those renames that both shapes allow: from a locked column to one of the source, no two to the same.

    Columns may have changed names with one another, so a name may be in both shapes and mean two columns.
    """
    there, now = set(locked.column_names), set(live.column_names)
    possible = {old: new for old, new in renames.items() if old != new and old in there and new in now}
    targets = list(possible.values())
    return {old: new for old, new in possible.items() if targets.count(new) == 1}


def column_change(old: Column, new: Column) -> Kind | None:
    """Whether a column's definition is wider or narrower than it was; None when it is as it was."""
    kinds = {
        _type_change(old, new),
        None if old.nullable == new.nullable else Kind.WIDEN if new.nullable else Kind.NARROW,
        # A generated column that becomes a plain one keeps its values; the other way they are computed anew.
        None if old.generated == new.generated else Kind.NARROW if new.generated else Kind.WIDEN,
    }
    return Kind.NARROW if Kind.NARROW in kinds else Kind.WIDEN if Kind.WIDEN in kinds else None


# --- types ----------------------------------------------------------------------------------------

_TYPE: Final = re.compile(r"\s*([a-z]+)\s*(?:\((.*)\))?\s*([a-z0-9_ ]*)", re.IGNORECASE | re.DOTALL)
_VALUE: Final = re.compile(r"'((?:[^']|'')*)'")

_BITS: Final = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
_ALIASES: Final = {"integer": "int", "numeric": "decimal", "dec": "decimal", "real": "double"}
_TEXT_BYTES: Final = {
    "tinytext": 255, "text": 65_535, "mediumtext": 16_777_215, "longtext": 4_294_967_295,
}  # fmt: skip
_BLOB_BYTES: Final = {
    "tinyblob": 255, "blob": 65_535, "mediumblob": 16_777_215, "longblob": 4_294_967_295,
}  # fmt: skip
_FRACTIONS: Final = frozenset({"datetime", "timestamp", "time"})
_ENOUGH: Final = 4
"""No character set of MySQL takes more bytes for a character."""

_SUPERSETS: Final[Mapping[str, frozenset[str]]] = {
    "ascii": frozenset({"latin1", "utf8mb3", "utf8mb4"}),
    "latin1": frozenset({"utf8mb3", "utf8mb4"}),
    "ucs2": frozenset({"utf8mb3", "utf8mb4"}),
    "utf8mb3": frozenset({"utf8mb4"}),
    "utf16": frozenset({"utf8mb4"}),
    "utf16le": frozenset({"utf8mb4"}),
    "utf32": frozenset({"utf8mb4"}),
}
"""Character sets whose every character is in another one."""
_SAME_BYTES: Final = frozenset(
    {("ascii", "latin1"), ("ascii", "utf8mb3"), ("ascii", "utf8mb4"), ("utf8mb3", "utf8mb4")}
)
"""Pairs of which the second writes every character of the first in the same bytes."""


@dataclass(frozen=True)
class _Type:
    base: str
    args: str | None
    unsigned: bool

    @property
    def numbers(self) -> tuple[int, ...]:
        try:
            return tuple(int(part) for part in (self.args or "").split(",") if part.strip())
        except ValueError:
            return ()

    def number(self, default: int) -> int:
        return self.numbers[0] if self.numbers else default

    @property
    def values(self) -> tuple[str, ...]:
        """Values of an ENUM or SET."""
        return tuple(value.replace("''", "'") for value in _VALUE.findall(self.args or ""))

    @property
    def precision(self) -> tuple[int, int]:
        """Digits in all and after the point, of a DECIMAL."""
        return (*self.numbers, 0)[:2] if self.numbers else (10, 0)  # type: ignore[return-value]

    @property
    def range(self) -> tuple[int, int] | None:
        """Smallest and greatest value of a whole number."""
        if self.base == "year":
            return 0, 2155
        bits = _BITS.get(self.base)
        if bits is None:
            return None
        return (0, 2**bits - 1) if self.unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _parsed(mysql_type: str) -> _Type | None:
    match = _TYPE.fullmatch(mysql_type)
    if match is None:
        return None
    base = match[1].lower()
    flags = match[3].lower().split()
    return _Type(_ALIASES.get(base, base), match[2], "unsigned" in flags or "zerofill" in flags)


def _type_change(old: Column, new: Column) -> Kind | None:
    if old.mysql_type == new.mysql_type and _charset(old) == _charset(new):
        return None
    was, now = _parsed(old.mysql_type), _parsed(new.mysql_type)
    if was is None or now is None:
        return Kind.NARROW
    if was == now and _charset(old) == _charset(new):
        return None
    return Kind.WIDEN if _holds_all(was, now, _charset(old), _charset(new)) else Kind.NARROW


def _charset(column: Column) -> str | None:
    return "utf8mb3" if column.charset == "utf8" else column.charset


def _holds_all(was: _Type, now: _Type, old_charset: str | None, new_charset: str | None) -> bool:
    """Whether ``now`` has every value of ``was``, unchanged."""
    if was.range is not None and now.range is not None:
        if now.base == "year":
            return was.base == "year"  # 1 to 1900 are no years
        return now.range[0] <= was.range[0] and was.range[1] <= now.range[1]
    if was.base == now.base == "decimal":
        (digits, scale), (new_digits, new_scale) = was.precision, now.precision
        signs = was.unsigned or not now.unsigned
        return signs and new_scale >= scale and new_digits - new_scale >= digits - scale
    if {was.base, now.base} <= {"float", "double"}:
        grows = was.base == now.base or (was.base, now.base) == ("float", "double")
        # With digits given, values are rounded to them.
        return grows and (now.args is None or now.args == was.args) and (was.unsigned or not now.unsigned)
    if was.base == now.base == "bit":
        # A single bit is a truth value everywhere.
        return now.number(1) >= was.number(1) and (was.number(1) == 1) == (now.number(1) == 1)
    if was.base == now.base and was.base in _FRACTIONS:
        return now.number(0) >= was.number(0)
    if was.base == now.base and was.base in {"enum", "set"}:
        same_letters = old_charset == new_charset or new_charset in _SUPERSETS.get(old_charset or "", ())
        return same_letters and now.values[: len(was.values)] == was.values
    if _is_text(was) and _is_text(now):
        return _text_holds_all(was, now, old_charset, new_charset)
    if _is_bytes(was) and _is_bytes(now):
        return _bytes_hold_all(was, now)
    return False


def _is_text(kind: _Type) -> bool:
    return kind.base in {"char", "varchar", "enum", "set"} or kind.base in _TEXT_BYTES


def _is_bytes(kind: _Type) -> bool:
    return kind.base == "varbinary" or kind.base in _BLOB_BYTES


def _text_holds_all(was: _Type, now: _Type, old_charset: str | None, new_charset: str | None) -> bool:
    if old_charset is None or new_charset is None:
        return old_charset == new_charset and _text_fits(was, now, same_bytes=True)
    if old_charset != new_charset and new_charset not in _SUPERSETS.get(old_charset, ()):
        return False
    same_bytes = old_charset == new_charset or (old_charset, new_charset) in _SAME_BYTES
    return _text_fits(was, now, same_bytes=same_bytes)


def _text_fits(was: _Type, now: _Type, *, same_bytes: bool) -> bool:
    if was.base in {"enum", "set"}:
        joined = ",".join(was.values) if was.base == "set" else max(was.values, key=len, default="")
        longest = len(joined)
    else:
        longest = was.number(1) if was.base in {"char", "varchar"} else -1
    if now.base == "char":
        # VARCHAR and TEXT keep spaces at the end, CHAR gives them back without.
        return was.base == "char" and now.number(1) >= longest
    if now.base == "varchar":
        return longest >= 0 and now.number(1) >= longest
    capacity = _TEXT_BYTES.get(now.base)
    if capacity is None:
        return False
    if longest >= 0:
        return longest * _ENOUGH <= capacity
    return (_TEXT_BYTES[was.base] * (1 if same_bytes else _ENOUGH)) <= capacity


def _bytes_hold_all(was: _Type, now: _Type) -> bool:
    # BINARY(n) is left out on purpose: a longer one fills up every value with zeros.
    longest = was.number(1) if was.base == "varbinary" else _BLOB_BYTES[was.base]
    if now.base == "varbinary":
        return was.base == "varbinary" and now.number(1) >= longest
    return longest <= _BLOB_BYTES[now.base]


# --- the decision ---------------------------------------------------------------------------------

Flow = Literal["new", "old", "stopped"]
"""How a table goes on: in its new shape, in its old one, or not at all."""


@dataclass(frozen=True)
class Decided:
    """One change with the answer to it, and why."""

    change: Change
    answer: Answer
    why: str


@dataclass(frozen=True)
class Verdict:
    """What is to be done about one table.

    A table has one shape, so its changes are applied together: one that is held holds the others.

    Attributes:
        table: The source table.
        answer: The strictest of the answers; ``ignore`` when nothing has to be done.
        flow: How the table goes on meanwhile.
        decided: Each change with its answer.
        reasons: Why the table is held or stopped, in words for an operator; empty when it is neither.
    """

    table: str
    answer: Answer
    flow: Flow
    decided: tuple[Decided, ...]
    reasons: tuple[str, ...] = ()

    @property
    def changes(self) -> tuple[Change, ...]:
        """All its changes."""
        return tuple(item.change for item in self.decided)

    @property
    def applied(self) -> tuple[Change, ...]:
        """The changes that its new shape has; none unless the answer is ``apply``."""
        return self._answered("apply") if self.answer == "apply" else ()

    @property
    def ignored(self) -> tuple[Change, ...]:
        """The changes that its new shape leaves out."""
        return self._answered("ignore")

    def _answered(self, answer: Answer) -> tuple[Change, ...]:
        return tuple(item.change for item in self.decided if item.answer == answer)


def decide(
    changes: Sequence[Change],
    policy: SchemaPolicy,
    *,
    tables: Mapping[str, TableSchemaPolicy | None] | None = None,
    approved: Collection[str] = (),
    explained: Collection[str] = (),
    keys: Mapping[str, Collection[str]] | None = None,
    obstacles: Mapping[str, Sequence[str]] | None = None,
    blockers: Mapping[str, Sequence[str]] | None = None,
) -> list[Verdict]:
    """Decide about every table that has changes, in the order in which they come.

    Args:
        changes: As :func:`diff` gives them.
        policy: The pipeline's policy.
        tables: The tables' own policies.
        approved: Ids of changes that a person has approved: they are applied.
        explained: Tables whose statements are all known by their text, so that a drop beside an add is no
            rename.
        keys: Columns by table without which a row has no place (keys of views).
        obstacles: Reasons by table why its changes cannot be applied in place by themselves. They hold what
            would be applied unless a person has approved all that would be.
        blockers: Reasons by table why they cannot be applied at all before the contract itself is changed,
            whoever approves.
    """
    by_table: dict[str, list[Change]] = {}
    for change in changes:
        by_table.setdefault(change.table, []).append(change)
    return [
        _verdict(
            table,
            found,
            policy_of(policy, (tables or {}).get(table)),
            approved=approved,
            explained=table in explained,
            keys=(keys or {}).get(table, ()),
            obstacles=(obstacles or {}).get(table, ()),
            blockers=(blockers or {}).get(table, ()),
        )
        for table, found in by_table.items()
    ]


def _verdict(
    table: str,
    changes: Sequence[Change],
    policy: SchemaPolicy,
    *,
    approved: Collection[str],
    explained: bool,
    keys: Collection[str],
    obstacles: Sequence[str],
    blockers: Sequence[str],
) -> Verdict:
    ambiguous = not explained and {Kind.DROP, Kind.ADD} <= {change.kind for change in changes}
    decided: list[Decided] = []
    reasons: list[str] = []
    for change in changes:
        answer, why = _answer(change, policy, approved, ambiguous, keys)
        decided.append(Decided(change, answer, why))
        if answer == "hold":
            reasons.append(f"{change}: {why}")
    answers = {item.answer for item in decided}
    strictest: Answer = "hold" if "hold" in answers else "apply" if "apply" in answers else "ignore"
    if strictest == "apply":
        wanted = [item.change for item in decided if item.answer == "apply"]
        unasked = () if all(change.id in approved for change in wanted) else obstacles
        if unasked or blockers:
            strictest = "hold"
            reasons += [f"{table}: {reason}" for reason in (*blockers, *unasked)]
    stopping = [reason for change in changes if (reason := not_safe(change, keys)) is not None]
    if strictest == "apply":
        flow: Flow = "new"
    elif strictest == "hold" and stopping:
        flow = "stopped"
        reasons += stopping
    else:
        flow = "old"
    return Verdict(table, strictest, flow, tuple(decided), tuple(reasons))


def _answer(
    change: Change, policy: SchemaPolicy, approved: Collection[str], ambiguous: bool, keys: Collection[str]
) -> tuple[Answer, str]:
    if change.id in approved:
        # What people list in the contract is theirs to change: a table comes and goes by `tables` only.
        if change.kind is Kind.NEW_TABLE:
            return "ignore", "a person has seen it; it is copied when it is listed in `tables`"
        if change.kind is Kind.DROPPED_TABLE:
            return "ignore", "a person has seen it; its rows stay until it is removed from `tables`"
        return "apply", "a person has approved it"
    answer = policy.answer(change.kind)
    if change.kind is Kind.NEW_TABLE:
        # A table is copied when the contract names it, never by itself.
        held = "a table is copied when it is listed in `tables`; nothing is added to the contract by itself"
        return ("ignore", "the policy says so") if answer == "ignore" else ("hold", held)
    if change.kind is Kind.DROPPED_TABLE and answer == "apply":
        return "hold", "a table is left out when it is removed from `tables`, never by itself"
    if answer == "apply" and ambiguous and change.kind in (Kind.DROP, Kind.ADD):
        return "hold", (
            "a column was dropped and one was added, which may be a rename: the statement's text is not known"
        )
    if answer == "ignore":
        unsafe = not_safe(change, keys)
        if unsafe is not None:
            return "hold", f"it cannot be ignored: {unsafe}"
    return answer, f"the policy for {change.kind.value} is {answer}"


def not_safe(change: Change, keys: Collection[str] = ()) -> str | None:
    """Why rows of the source's new shape must not be written into the old one; None when they may.

    Records are read by the names of their fields: a field that is not expected is left out, one that is
    missing is NULL.
    """
    name = change.column
    match change.kind:
        case Kind.ADD | Kind.REORDER | Kind.NEW_TABLE | Kind.DROPPED_TABLE:
            return None
        case Kind.KEY:
            return f"{change.table}: rows are told apart by another key now ({change.old} -> {change.new})"
        case Kind.RENAME:
            return (
                f"{change.table}.{change.old}: under its old name every changed row would lose its value, "
                f"which is in {change.new} now"
            )
        case Kind.DROP:
            if name in keys:
                return f"{change.table}.{name}: a view's key needs it, and rows no longer have it"
            return None
        case Kind.WIDEN | Kind.NARROW:
            if (
                change.before is None
                or change.after is None
                or _travels_as(change.before) != _travels_as(change.after)
            ):
                return f"{change.table}.{name}: values of {change.new} do not fit {change.old}"
            if name in keys and change.after.nullable and not change.before.nullable:
                return f"{change.table}.{name}: a view's key may be NULL now"
            return None


def _travels_as(column: Column) -> object:
    try:
        return mapping(column)
    except UncarryableType as error:
        return f"not at all: {error}"


# --- the new shape --------------------------------------------------------------------------------


def target(locked: TableSchema, live: TableSchema, verdict: Verdict) -> TableSchema:
    """The shape that a table gets when its verdict is carried out: the source's, without what is ignored.

    Positions are counted anew when the shape is not the source's. A verdict that applies nothing gives
    ``locked``.
    """
    if verdict.answer != "apply":
        return locked
    if not verdict.ignored:
        return live
    ignored = {(change.kind, change.column): change for change in verdict.ignored}
    columns: list[Column] = []
    for column in live.columns:
        if (Kind.ADD, column.name) in ignored:
            continue
        kept = ignored.get((Kind.WIDEN, column.name)) or ignored.get((Kind.NARROW, column.name))
        before = kept.before if kept is not None else None
        columns.append(column if before is None else before.model_copy(update={"name": column.name}))
    for change in verdict.ignored:
        if change.kind is Kind.DROP and change.before is not None:
            columns.insert(min(change.before.position - 1, len(columns)), change.before)
    if (Kind.REORDER, None) in ignored:
        columns = list(_in_order(columns, locked))
    numbered = tuple(
        column.model_copy(update={"position": position}) for position, column in enumerate(columns, start=1)
    )
    return live.model_copy(update={"columns": numbered})


def _in_order(columns: Sequence[Column], locked: TableSchema) -> Iterator[Column]:
    """The locked columns in their locked order; what is new stays behind the column it stands behind."""
    by_name = {column.name: column for column in columns}
    followers: dict[str | None, list[Column]] = {}
    anchor: str | None = None
    for column in columns:
        if column.name in locked.column_names:
            anchor = column.name
        else:
            followers.setdefault(anchor, []).append(column)
    yield from followers.get(None, ())
    for name in locked.column_names:
        if name in by_name:
            yield by_name[name]
            yield from followers.get(name, ())


def with_tables(locked: SchemaLock, shapes: Mapping[str, TableSchema]) -> SchemaLock:
    """The lock with new shapes of some tables."""
    return locked.model_copy(update={"tables": {**locked.tables, **shapes}})
