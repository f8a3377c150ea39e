"""What the schema-change topic tells: which statement changed which table, and where in the binary log. Pure.

Debezium writes one record per table that a statement touches, as JSON without schemas::

    {"source": {"file": "binlog.000003", "pos": 1234, "gtid": "...", "ts_ms": ..., "ts_us": ...,
                "snapshot": "false", "db": "shop", ...},
     "ts_ms": ..., "databaseName": "shop", "schemaName": null, "ddl": "ALTER TABLE ...",
     "tableChanges": [{"type": "ALTER", "id": "\\"shop\\".\\"orders\\"", "table": {...}}]}

The table's columns in it are Debezium's reading of the statement, not the server's, so they are not used:
the shape is always read from ``information_schema``. What only the statement can tell is taken from its text:
that a column or a table was renamed, and at which place of the binary log.

Statements are read by their tokens (sqlglot's, for MySQL) and not as syntax trees, because sqlglot's parser
leaves out parts of MySQL's DDL: ``RENAME TABLE``, ``ALTER TABLE ... ADD (...)``, ``CONVERT TO``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import total_ordering
from typing import Any, Final, Literal

import sqlglot
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import TokenType

from lakehouse_dagster.contract.position import file_number

Verb = Literal["create", "alter", "drop", "truncate", "rename", "other"]


class UnreadableRecord(ValueError):  # noqa: N818 - names what it is
    """A record of the schema-change topic is not of the form that Debezium writes; the message says where."""


@total_ordering
@dataclass(frozen=True)
class Place:
    """A place in the source's binary log; greater is later."""

    file: str
    pos: int

    @property
    def _order(self) -> tuple[int, int]:
        return file_number(self.file), self.pos

    def __lt__(self, other: Place) -> bool:
        return self._order < other._order

    def __str__(self) -> str:
        return f"{self.file}:{self.pos}"


@dataclass(frozen=True)
class TableName:
    """A table, with its database when it is named."""

    database: str | None
    table: str


@dataclass(frozen=True)
class Effect:
    """What a statement does to one table.

    Attributes:
        verb: What is done.
        table: The table, by the name it has afterwards.
        previous: Its name before, when it was renamed.
        renames: Old to new names of columns.
        dropped: Columns that are dropped.
        added: Columns that are added, and whether every row has NULL in them at first: they may be NULL, have
            no default and are not computed.
        if_missing: Whether nothing happens to a table that is there (CREATE TABLE IF NOT EXISTS, which goes
            to the binary log all the same).
    """

    verb: Verb
    table: TableName
    previous: TableName | None = None
    renames: Mapping[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    added: Mapping[str, bool] = field(default_factory=dict)
    if_missing: bool = False


@dataclass(frozen=True)
class Ddl:
    """One statement of the source's history, as far as it concerns its database.

    Attributes:
        offset: Of its record in the schema-change topic.
        database: The database it applies to.
        statement: Its text.
        place: Where in the binary log it begins.
        gtid: Its transaction, when the server gives any.
        ts_us: When the server executed it, microseconds since the epoch.
        tables: Tables of the database that Debezium says it touched.
        effects: What its text says; empty when it says nothing of a table.
    """

    offset: int
    database: str
    statement: str
    place: Place
    gtid: str | None
    ts_us: int
    tables: tuple[str, ...]
    effects: tuple[Effect, ...]


# --- records --------------------------------------------------------------------------------------


def read_record(value: bytes | None, offset: int) -> Ddl | None:
    """Read a record's value; None for what is no change of a schema: a tombstone, a statement of the snapshot
    (which only repeats what there is), or one that belongs to no database.

    Raises:
        UnreadableRecord: It is not of Debezium's form.
    """
    if value is None:
        return None
    try:
        body = json.loads(value)
    except ValueError as error:
        raise UnreadableRecord(f"record {offset} of the schema-change topic is not JSON: {error}") from error
    reader = _Reader(offset, body)
    source = reader.get(body, "source", dict)
    if str(source.get("snapshot", "false")).lower() not in {"false", "none", "null"}:
        return None
    statement = reader.get(body, "ddl", str, optional=True) or ""
    database = reader.get(body, "databaseName", str, optional=True) or ""
    changes = reader.get(body, "tableChanges", list)
    if not database:
        return None
    tables = [_table_id(reader, change) for change in changes]
    ts_us = source.get("ts_us")
    return Ddl(
        offset=offset,
        database=database,
        statement=statement,
        place=_place(reader, source),
        gtid=reader.get(source, "gtid", str, optional=True),
        ts_us=ts_us if isinstance(ts_us, int) else reader.get(source, "ts_ms", int) * 1000,
        tables=tuple(dict.fromkeys(name.table for name in tables if name.database in (None, database))),
        effects=effects(statement),
    )


@dataclass(frozen=True)
class _Reader:
    offset: int
    body: object

    def get(self, holder: object, name: str, kind: type, *, optional: bool = False) -> Any:
        if not isinstance(holder, dict):
            raise self.wrong(f"where {name!r} should be there is {type(holder).__name__}, not an object")
        value = holder.get(name)
        if value is None and optional:
            return None
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self.wrong(
                f"{name!r} is {'missing' if value is None else repr(value)[:60]}, not {kind.__name__}"
            )
        return value

    def wrong(self, said: str) -> UnreadableRecord:
        return UnreadableRecord(f"record {self.offset} of the schema-change topic: {said}")


def _place(reader: _Reader, source: Mapping[str, Any]) -> Place:
    place = Place(reader.get(source, "file", str), reader.get(source, "pos", int))
    try:
        file_number(place.file)
    except ValueError as error:
        raise reader.wrong(str(error)) from error
    return place


_ID_PART: Final = re.compile(r'"((?:[^"]|"")*)"')


def _table_id(reader: _Reader, change: object) -> TableName:
    kind = reader.get(change, "type", str)
    if kind not in {"CREATE", "ALTER", "DROP"}:
        raise reader.wrong(f"a change of type {kind!r}, which is not known")
    text = reader.get(change, "id", str)
    parts = [part.replace('""', '"') for part in _ID_PART.findall(text)]
    if not parts or len(parts) > 3 or ".".join(_quoted(part) for part in parts) != text:
        raise reader.wrong(f'table id {text!r} is not of the form "database"."table"')
    return TableName(parts[-2] if len(parts) > 1 else None, parts[-1])


def _quoted(part: str) -> str:
    return '"' + part.replace('"', '""') + '"'


# --- statements -----------------------------------------------------------------------------------


def effects(statement: str) -> tuple[Effect, ...]:
    """What a statement does to tables; empty for one that does nothing to any, or that is not understood."""
    words = _words(statement)
    if words is None:
        return ()
    match words.keyword():
        case "ALTER":
            words.skip("ONLINE", "OFFLINE", "IGNORE")
            return _alter(words) if words.take("TABLE") else ()
        case "RENAME":
            return _rename_tables(words) if words.take("TABLE", "TABLES") else ()
        case "TRUNCATE":
            words.take("TABLE")
            name = words.table()
            return () if name is None else (Effect("truncate", name),)
        case "DROP" if words.take("TABLE", "TABLES"):
            return _dropped_tables(words)
        case "DROP" if words.take("INDEX"):
            return _index(words)
        case "CREATE" if words.take("TABLE"):
            if_missing = words.take("IF")
            words.skip("NOT", "EXISTS")
            name = words.table()
            return () if name is None else (Effect("create", name, if_missing=if_missing),)
        case "CREATE":
            words.skip("UNIQUE", "FULLTEXT", "SPATIAL")
            return _index(words) if words.take("INDEX") else ()
        case _:
            return ()


def _index(words: _Words) -> tuple[Effect, ...]:
    """An index that comes or goes is known to change nothing else."""
    if words.name() is None:
        return ()
    words.skip("USING", "BTREE", "HASH")
    table = words.table() if words.take("ON") else None
    return () if table is None else (Effect("other", table),)


@dataclass(frozen=True)
class _Word:
    """A word or sign of a statement: ``plain``, a ``name`` in backticks, or a ``literal`` in quotes."""

    text: str
    kind: Literal["plain", "name", "literal"]


def _words(statement: str) -> _Words | None:
    try:
        # Behind another word: a statement that begins with RENAME would be one single token.
        tokens = sqlglot.tokenize(f"ALTER {statement}", read="mysql")[1:]
    except SqlglotError:
        return None
    found: list[_Word] = []
    for token in tokens:
        if token.token_type is TokenType.IDENTIFIER:
            found.append(_Word(token.text, "name"))
        elif token.token_type in (TokenType.STRING, TokenType.NATIONAL_STRING):
            found.append(_Word(token.text, "literal"))
        else:
            # PRIMARY KEY and the like are one token.
            found += [_Word(part, "plain") for part in token.text.split()]
    return _Words(found)


class _Words:
    """Words of a statement, read from the left."""

    def __init__(self, words: Sequence[_Word]) -> None:
        self._words = words
        self.at = 0

    def _next(self) -> _Word | None:
        word = self._words[self.at] if self.at < len(self._words) else None
        return None if word is None or word == _END else word

    def keyword(self) -> str:
        """The next plain word in capitals, taken; empty when there is none."""
        word = self._next()
        if word is None or word.kind != "plain":
            return ""
        self.at += 1
        return word.text.upper()

    def take(self, *words: str) -> bool:
        """Take the next word if it is one of these."""
        here = self.at
        if self.keyword() in words:
            return True
        self.at = here
        return False

    def skip(self, *words: str) -> None:
        """Take the next words as long as they are of these."""
        while self.take(*words):
            pass

    def name(self) -> str | None:
        """The next word as an identifier, taken."""
        word = self._next()
        if (
            word is None
            or word.kind == "literal"
            or (word.kind == "plain" and not _PLAIN_NAME.fullmatch(word.text))
        ):
            return None
        self.at += 1
        return word.text

    def table(self) -> TableName | None:
        """The next words as ``[database.]table``, taken."""
        first = self.name()
        if first is None or not self.take("."):
            return None if first is None else TableName(None, first)
        second = self.name()
        return None if second is None else TableName(first, second)

    def clauses(self) -> Iterator[_Words]:
        """The rest, split at the commas outside of parentheses."""
        depth = 0
        current: list[_Word] = []
        while (word := self._next()) is not None:
            self.at += 1
            depth += _depth(word)
            if word == _COMMA and depth == 0:
                yield _Words(current)
                current = []
            else:
                current.append(word)
        if current:
            yield _Words(current)

    def unwrapped(self) -> _Words | None:
        """What is inside the parentheses that begin here; None when none do."""
        depth = 0
        for number, word in enumerate(self._words[self.at :], start=self.at):
            depth += _depth(word)
            if depth == 0:
                return _Words(self._words[self.at + 1 : number]) if number > self.at else None
        return None

    def rest(self) -> list[str]:
        """The remaining words in capitals, without what is in parentheses; names and literals are empty."""
        found: list[str] = []
        depth = 0
        for word in self._words[self.at :]:
            depth += _depth(word)
            if depth == 0:
                found.append(word.text.upper() if word.kind == "plain" else "")
        return found


_END: Final = _Word(";", "plain")
_COMMA: Final = _Word(",", "plain")
_PLAIN_NAME: Final = re.compile(r"[\w$]+")


def _depth(word: _Word) -> int:
    return {"(": 1, ")": -1}.get(word.text, 0) if word.kind == "plain" else 0


_NO_COLUMN: Final = (
    "CONSTRAINT", "PRIMARY", "UNIQUE", "FOREIGN", "CHECK", "INDEX", "KEY", "FULLTEXT", "SPATIAL", "PARTITION",
)  # fmt: skip


def _alter(words: _Words) -> tuple[Effect, ...]:
    table = words.table()
    if table is None:
        return ()
    renames: dict[str, str] = {}
    dropped: list[str] = []
    added: dict[str, bool] = {}
    new_name: TableName | None = None
    emptied: list[TableName] = []
    for clause in words.clauses():
        match clause.keyword():
            # The rows of a partition come and go without any row of the log.
            case "TRUNCATE" | "DISCARD" | "IMPORT":
                emptied.append(table)
            case "EXCHANGE":
                emptied.append(table)
                clause.take("PARTITION")
                clause.name()
                clause.skip("WITH", "TABLE")
                if (other := clause.table()) is not None:
                    emptied.append(TableName(other.database or table.database, other.table))
            case "RENAME" if clause.take("COLUMN"):
                old = clause.name()
                if clause.take("TO") and old is not None and (new := clause.name()) is not None:
                    renames[old] = new
            case "RENAME" if not clause.take("INDEX", "KEY"):
                clause.skip("TO", "AS", "=")
                new_name = clause.table() or new_name
            case "CHANGE":
                clause.take("COLUMN")
                old, new = clause.name(), clause.name()
                if old is not None and new is not None and old != new:
                    renames[old] = new
            case "DROP" if clause.take("PARTITION"):
                emptied.append(table)
            case "DROP":
                if (clause.take("COLUMN") or not clause.take(*_NO_COLUMN)) and (name := clause.name()):
                    dropped.append(name)
            case "ADD":
                added |= _added(clause)
            case _:
                continue
    if emptied:  # nothing else can be done in the same statement
        return tuple(Effect("truncate", name) for name in dict.fromkeys(emptied))
    more = (renames, tuple(dropped), added)
    if new_name is None:
        return (Effect("alter", table, None, *more),)
    return (Effect("rename", TableName(new_name.database or table.database, new_name.table), table, *more),)


def _added(clause: _Words) -> dict[str, bool]:
    explicit = clause.take("COLUMN")
    if not explicit and clause.take(*_NO_COLUMN):
        return {}
    inner = clause.unwrapped()
    found: dict[str, bool] = {}
    for definition in (clause,) if inner is None else inner.clauses():
        if inner is not None and definition.take(*_NO_COLUMN):
            continue
        name = definition.name()
        if name is not None:
            found[name] = _null_at_first(definition.rest())
    return found


_FILLED: Final = frozenset({"AS", "GENERATED", "AUTO_INCREMENT", "PRIMARY", "SERIAL"})


def _null_at_first(words: Sequence[str]) -> bool:
    """Whether a new column's definition leaves NULL in every row."""
    pairs = list(zip(words, [*words[1:], ""], strict=True))
    if any(word == "DEFAULT" and following != "NULL" for word, following in pairs):
        return False
    if ("NOT", "NULL") in pairs or _FILLED & set(words):
        return False
    # Servers may give a TIMESTAMP that is not said to be NULL the present time.
    return "TIMESTAMP" not in words or "NULL" in words


def _rename_tables(words: _Words) -> tuple[Effect, ...]:
    found = []
    for clause in words.clauses():
        old = clause.table()
        if not clause.take("TO") or old is None or (new := clause.table()) is None:
            return ()
        found.append(Effect("rename", TableName(new.database or old.database, new.table), old))
    return tuple(found)


def _dropped_tables(words: _Words) -> tuple[Effect, ...]:
    if words.take("IF"):
        words.take("EXISTS")
    found = []
    for clause in words.clauses():
        name = clause.table()
        if name is None:
            return ()
        found.append(Effect("drop", name))
    return tuple(found)


# --- what became of a table -----------------------------------------------------------------------

_SHADOW: Final = re.compile(r"_+(?P<table>.+)_(?:gho|ghc|del|new|old)")
"""Tables that gh-ost (``_t_gho``, ``_t_ghc``, ``_t_del``) and pt-online-schema-change (``_t_new``,
``_t_old``) make beside the table that they change; pt adds underscores when a name is taken.
"""


def shadow_of(table: str, tables: Iterable[str]) -> str | None:
    """The copied table to whose online change a table belongs; None when it is a table of its own right."""
    known = set(tables)
    match = _SHADOW.fullmatch(table)
    return match["table"] if match and table not in known and match["table"] in known else None


@dataclass(frozen=True)
class History:
    """What is known of one table's statements since it was locked.

    Attributes:
        ddls: The statements that changed it, oldest first.
        renames: Old to new names of columns, from the first statement's old to the last one's new.
        explained: Whether the texts of all of them are understood, so that a drop is a drop.
        null_at_first: Columns that were added with NULL in every row.
        replaced: Whether its rows may have become others without a change of any row being told: it was
            emptied, made anew, or another table took its name.
    """

    ddls: tuple[Ddl, ...] = ()
    renames: Mapping[str, str] = field(default_factory=dict)
    explained: bool = False
    null_at_first: frozenset[str] = frozenset()
    replaced: bool = False

    @property
    def place(self) -> Place | None:
        """Where the first of them is in the binary log."""
        return min((ddl.place for ddl in self.ddls), default=None)


@dataclass
class _Story:
    ddls: list[Ddl] = field(default_factory=list)
    renames: dict[str, str] = field(default_factory=dict)
    null_at_first: set[str] = field(default_factory=set)
    explained: bool = True
    replaced: bool = False

    def follow(self, effect: Effect) -> None:
        # Old names are all of before the statement: two columns may change their names with one another.
        earlier = {last: first for first, last in self.renames.items()}
        for old, new in effect.renames.items():
            self.renames[earlier.get(old, old)] = new
        self.null_at_first = {effect.renames.get(name, name) for name in self.null_at_first}
        self.null_at_first -= {*effect.dropped, *effect.added}
        self.null_at_first |= {name for name, empty in effect.added.items() if empty}
        # Renamed and then dropped is dropped.
        self.renames = {old: new for old, new in self.renames.items() if new not in effect.dropped}
        self.replaced |= effect.verb == "truncate"

    def copy(self) -> _Story:
        return _Story(
            list(self.ddls), dict(self.renames), set(self.null_at_first), self.explained, self.replaced
        )


def histories(ddls: Iterable[Ddl], database: str, tables: Sequence[str]) -> dict[str, History]:
    """What the statements tell of each of ``tables``; those that nothing is told of are left out.

    An online schema change is followed: what was done to the shadow table becomes the table's own when the
    two are swapped, and the swap's place counts, because rows have the new shape only from then on.
    """
    tale = _Tale(database, tables)
    # One statement has a record for each table that it touches.
    once: dict[tuple[Place, str], Ddl] = {}
    for ddl in ddls:
        if ddl.database != database:
            continue
        same = once.setdefault((ddl.place, ddl.statement), ddl)
        if same is not ddl:
            known = tuple(dict.fromkeys((*same.tables, *ddl.tables)))
            once[(ddl.place, ddl.statement)] = replace(same, tables=known)
    for ddl in sorted(once.values(), key=lambda ddl: (ddl.place, ddl.offset)):
        tale.tell(ddl)
    return tale.ended()


class _Tale:
    """Follows all tables of a database through its statements."""

    def __init__(self, database: str, tables: Sequence[str]) -> None:
        self._database = database
        self._tables = tables
        self._stories: dict[str, _Story] = {}

    def ended(self) -> dict[str, History]:
        return {
            name: History(
                tuple(story.ddls),
                {old: new for old, new in story.renames.items() if old != new},
                story.explained,
                frozenset(story.null_at_first),
                story.replaced,
            )
            for name in self._tables
            if (story := self._stories.get(name)) is not None and story.ddls
        }

    def tell(self, ddl: Ddl) -> None:
        told: set[str] = set()
        for effect in ddl.effects:
            previous = effect.previous
            if self._ours(effect.table):
                told |= self._follow(ddl, effect)
            elif previous is not None and self._ours(previous):
                # It left for another database.
                self._stories[previous.table] = _Story([ddl], replaced=True)
                told.add(previous.table)
        for name in ddl.tables:
            if name not in told:  # it was changed, and the text does not say how
                story = self._stories.setdefault(name, _Story())
                story.ddls.append(ddl)
                story.explained = False

    def _ours(self, name: TableName) -> bool:
        return name.database in (None, self._database)

    def _follow(self, ddl: Ddl, effect: Effect) -> set[str]:
        """Take in one effect; returns the names that it accounts for."""
        name = effect.table.table
        previous = effect.previous
        if previous is not None and not (self._ours(previous) and previous.table == name):
            return self._renamed(ddl, effect, previous, name)
        if effect.verb == "drop":
            self._stories[name] = _Story([ddl], replaced=True)
            return {name}
        original = shadow_of(name, self._tables)
        if effect.verb == "create" and not (effect.if_missing and name in self._tables):
            # A shadow begins as its table is; any other new table is unlike what had its name.
            begun = self._stories.get(original, _Story()).copy() if original else _Story([ddl], replaced=True)
            self._stories[name] = begun
            return {name}
        story = self._stories.setdefault(name, _Story(explained=original is None))
        story.follow(effect)
        if original is None:
            story.ddls.append(ddl)
        return {name}

    def _renamed(self, ddl: Ddl, effect: Effect, previous: TableName, name: str) -> set[str]:
        if not self._ours(previous):
            self._stories[name] = _Story([ddl], explained=False, replaced=True)
            return {name}
        shadow = shadow_of(previous.table, self._tables) == name
        # A table that was not followed from its beginning: nobody knows what was done to it.
        story = self._stories.pop(previous.table, None) or _Story(explained=previous.table in self._tables)
        story.follow(effect)
        story.replaced |= not shadow
        story.ddls.append(ddl)
        self._stories[name] = story
        return {name, previous.table}
