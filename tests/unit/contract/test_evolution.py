from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lakehouse_dagster.contract import Column, Pipeline, SchemaLock, Table, TableSchema
from lakehouse_dagster.contract.evolution import (
    Answer,
    Change,
    Kind,
    SchemaPolicy,
    TableSchemaPolicy,
    Verdict,
    column_change,
    decide,
    diff,
    diff_table,
    not_safe,
    policy_of,
    target,
    with_tables,
)


def column(
    kind: str, *, nullable: bool = True, charset: str | None = None, generated: bool = False
) -> Column:
    return Column(
        name="c", mysql_type=kind, nullable=nullable, position=1, charset=charset, generated=generated
    )


def table(*described: str, key: tuple[str, ...] = ("id",), name: str = "t") -> TableSchema:
    made = []
    for position, text in enumerate(described, start=1):
        column_name, _, kind = text.rstrip("!").partition(" ")
        made.append(
            Column(name=column_name, mysql_type=kind, nullable=not text.endswith("!"), position=position)
        )
    return TableSchema(name=name, columns=tuple(made), primary_key=key)


def kinds(changes: list[Change]) -> list[tuple[str, str | None]]:
    return [(change.kind.value, change.column) for change in changes]


INTS = [
    ("tinyint", -128, 127),
    ("smallint", -(2**15), 2**15 - 1),
    ("mediumint", -(2**23), 2**23 - 1),
    ("int", -(2**31), 2**31 - 1),
    ("bigint", -(2**63), 2**63 - 1),
    ("tinyint unsigned", 0, 255),
    ("smallint unsigned", 0, 2**16 - 1),
    ("mediumint unsigned", 0, 2**24 - 1),
    ("int unsigned", 0, 2**32 - 1),
    ("bigint unsigned", 0, 2**64 - 1),
]


@pytest.mark.parametrize(("old", "new"), list(itertools.product(INTS, INTS)))
def test_whole_numbers_widen_exactly_when_their_range_grows(
    old: tuple[str, int, int], new: tuple[str, int, int]
) -> None:
    holds = new[1] <= old[1] and old[2] <= new[2]
    expected = None if old == new else Kind.WIDEN if holds else Kind.NARROW
    assert column_change(column(old[0]), column(new[0])) == expected


WIDE = [
    ("tinyint(1)", "tinyint"),
    ("tinyint", "tinyint(1)"),
    ("int(11)", "int"),
    ("int(5) unsigned zerofill", "bigint"),
    ("year", "smallint"),
    ("decimal(10,2)", "decimal(12,2)"),
    ("decimal(10,2)", "decimal(12,4)"),
    ("decimal(10,2) unsigned", "decimal(10,2)"),
    ("decimal", "decimal(11,0)"),
    ("numeric(5,1)", "decimal(6,1)"),
    ("float", "double"),
    ("float(7,4)", "float"),
    ("double unsigned", "double"),
    ("char(4)", "char(5)"),
    ("char(4)", "varchar(4)"),
    ("varchar(10)", "varchar(11)"),
    ("varchar(63)", "tinytext"),
    ("varchar(16383)", "text"),
    ("tinytext", "text"),
    ("text", "longtext"),
    ("char(4)", "text"),
    ("varbinary(4)", "varbinary(5)"),
    ("varbinary(255)", "tinyblob"),
    ("blob", "mediumblob"),
    ("enum('a','b')", "enum('a','b','c')"),
    ("set('a')", "set('a','b')"),
    ("enum('a','bb')", "varchar(2)"),
    ("set('a','bb')", "varchar(4)"),
    ("datetime", "datetime(6)"),
    ("timestamp(3)", "timestamp(6)"),
    ("time", "time(3)"),
    ("bit(3)", "bit(9)"),
]
NARROW = [
    ("decimal(10,2)", "decimal(10,3)"),
    ("decimal(10,2)", "decimal(12,1)"),
    ("decimal(10,2)", "decimal(10,2) unsigned"),
    ("double", "float"),
    ("float", "float(7,4)"),
    ("double", "double unsigned"),
    ("char(5)", "char(4)"),
    ("varchar(4)", "char(4)"),
    ("varchar(4)", "char(400)"),
    ("varchar(10)", "varchar(9)"),
    ("varchar(64)", "tinytext"),
    ("text", "varchar(16383)"),
    ("text", "tinytext"),
    ("text", "char(255)"),
    ("binary(3)", "binary(4)"),
    ("binary(3)", "varbinary(3)"),
    ("varbinary(256)", "tinyblob"),
    ("blob", "varbinary(65535)"),
    ("enum('a','b')", "enum('b','a')"),
    ("enum('a','b')", "enum('a')"),
    ("enum('a','b')", "enum('a','c','b')"),
    ("enum('a','bb')", "varchar(1)"),
    ("varchar(1)", "enum('a')"),
    ("set('a','b')", "set('b','a','c')"),
    ("datetime(6)", "datetime"),
    ("datetime", "timestamp"),
    ("timestamp", "datetime"),
    ("date", "datetime"),
    ("time(3)", "time"),
    ("bit(9)", "bit(3)"),
    ("bit(1)", "bit(8)"),
    ("int", "decimal(20,0)"),
    ("int", "double"),
    ("int", "varchar(20)"),
    ("varchar(20)", "int"),
    ("varchar(4)", "varbinary(4)"),
    ("json", "longtext"),
    ("longtext", "json"),
    ("smallint", "year"),
    ("point", "geometry"),
    ("vector(3)", "vector(4)"),
    ("int", "§"),
    ("bit(1)", "tinyint(1)"),
    ("date", "varchar(10)"),
]


@pytest.mark.parametrize(("old", "new"), WIDE)
def test_every_value_stays(old: str, new: str) -> None:
    assert column_change(column(old), column(new)) is Kind.WIDEN


def test_two_spellings_of_one_type() -> None:
    assert column_change(column("real"), column("double")) is None
    assert column_change(column("NUMERIC(5,1)"), column("decimal(5,1)")) is None


@pytest.mark.parametrize(("old", "new"), NARROW)
def test_what_is_not_proven_is_narrow(old: str, new: str) -> None:
    assert column_change(column(old), column(new)) is Kind.NARROW


@pytest.mark.parametrize(
    ("kind", "old", "new_kind", "new", "expected"),
    [
        ("varchar(9)", "latin1", "varchar(9)", "utf8mb4", Kind.WIDEN),
        ("varchar(9)", "utf8mb4", "varchar(9)", "utf8mb3", Kind.NARROW),
        ("varchar(9)", "utf8", "varchar(9)", "utf8mb3", None),
        ("varchar(9)", "sjis", "varchar(9)", "utf8mb4", Kind.NARROW),
        ("text", "utf8mb3", "text", "utf8mb4", Kind.WIDEN),
        ("text", "latin1", "text", "utf8mb4", Kind.NARROW),
        ("text", "latin1", "mediumtext", "utf8mb4", Kind.WIDEN),
        ("enum('a')", "latin1", "enum('a')", "utf8mb4", Kind.WIDEN),
        ("enum('a')", "utf8mb4", "enum('a')", "latin1", Kind.NARROW),
        ("varchar(9)", "latin1", "varchar(8)", "utf8mb4", Kind.NARROW),
        ("varchar(9)", None, "varchar(9)", "utf8mb4", Kind.NARROW),
    ],
)
def test_character_sets(
    kind: str, old: str | None, new_kind: str, new: str | None, expected: Kind | None
) -> None:
    assert column_change(column(kind, charset=old), column(new_kind, charset=new)) is expected


def test_null_and_generation() -> None:
    assert column_change(column("int", nullable=False), column("int")) is Kind.WIDEN
    assert column_change(column("int"), column("int", nullable=False)) is Kind.NARROW
    assert column_change(column("int", nullable=False), column("smallint")) is Kind.NARROW
    assert column_change(column("int", generated=True), column("int")) is Kind.WIDEN
    assert column_change(column("int"), column("int", generated=True)) is Kind.NARROW


ALL_TYPES = sorted({kind for pair in (*WIDE, *NARROW) for kind in pair} | {name for name, _, _ in INTS})


@given(st.sampled_from(ALL_TYPES), st.sampled_from(ALL_TYPES), st.sampled_from(ALL_TYPES))
def test_widening_twice_is_widening(a: str, b: str, c: str) -> None:
    def wide(x: str, y: str) -> bool:
        return column_change(column(x), column(y)) in (Kind.WIDEN, None)

    if wide(a, b) and wide(b, c):
        assert wide(a, c)


@given(st.sampled_from(ALL_TYPES))
def test_a_type_is_like_itself(kind: str) -> None:
    assert column_change(column(kind), column(kind)) is None


# --- whole tables ---------------------------------------------------------------------------------

OLD = table("id int!", "a int", "b varchar(9)", "c date")


def test_kinds_of_a_table() -> None:
    assert diff_table(OLD, OLD) == []
    assert kinds(diff_table(OLD, None)) == [("dropped_table", None)]
    assert kinds(diff_table(OLD, table("id int!", "new int", "a int", "b varchar(9)", "c date"))) == [
        ("add", "new")
    ]
    assert kinds(diff_table(OLD, table("id int!", "b varchar(9)", "c date"))) == [("drop", "a")]
    assert kinds(diff_table(OLD, table("id int!", "b varchar(9)", "a int", "c date"))) == [("reorder", None)]
    assert kinds(diff_table(OLD, table("id bigint!", "a int", "b varchar(9)", "c date"))) == [("widen", "id")]
    assert kinds(diff_table(OLD, table("id int!", "a int", "b varchar(9)", "c date", key=("id", "a")))) == [
        ("key", None)
    ]


def test_comments_are_no_change() -> None:
    said = tuple(c.model_copy(update={"comment": "said"}) for c in OLD.columns)
    assert diff_table(OLD, OLD.model_copy(update={"columns": said, "comment": "more"})) == []


def test_a_rename_is_seen_only_with_its_text() -> None:
    new = table("id int!", "z int", "b varchar(9)", "c date")
    assert kinds(diff_table(OLD, new)) == [("drop", "a"), ("add", "z")]
    (found,) = diff_table(OLD, new, {"a": "z"})
    assert (found.kind, found.old, found.new) == (Kind.RENAME, "a", "z")
    wider = table("id int!", "z bigint", "b varchar(9)", "c date")
    assert kinds(diff_table(OLD, wider, {"a": "z"})) == [("rename", "z"), ("widen", "z")]


def test_renames_that_the_shapes_deny_are_not_believed() -> None:
    new = table("id int!", "z int", "b varchar(9)", "c date")
    for wrong in ({"a": "y"}, {"x": "z"}, {"a": "z", "b": "z"}):
        assert ("rename", "z") not in kinds(diff_table(OLD, new, wrong))


def test_names_that_changed_places() -> None:
    old, new = table("id int!", "a int", "b int"), table("id int!", "b int", "a int")
    assert kinds(diff_table(old, new)) == [("reorder", None)]
    assert kinds(diff_table(old, new, {"a": "b", "b": "a"})) == [("rename", "b"), ("rename", "a")]


def test_a_name_taken_over() -> None:
    new = table("id int!", "b int", "c date")
    found = diff_table(table("id int!", "a int", "b int", "c date"), new, {"a": "b"})
    assert kinds(found) == [("drop", "b"), ("rename", "b")]


def test_a_renamed_key_is_another_key() -> None:
    new = table("nr int!", "a int", "b varchar(9)", "c date", key=("nr",))
    assert kinds(diff_table(OLD, new, {"id": "nr"})) == [("rename", "nr"), ("key", None)]


def test_tables() -> None:
    other = table("id int!", name="other")
    locked = SchemaLock(database="d", tables={"t": OLD, "u": table("id int!", name="u")})
    live = SchemaLock(database="d", tables={"t": OLD, "other": other})
    assert [(c.kind, c.table) for c in diff(locked, live, ["t", "u"])] == [
        (Kind.DROPPED_TABLE, "u"),
        (Kind.NEW_TABLE, "other"),
    ]
    assert with_tables(locked, {"u": other.model_copy(update={"name": "u"})}).tables["t"] is OLD


NAMES = ("a", "b", "c", "d", "e")


@st.composite
def shapes(draw: st.DrawFn) -> TableSchema:
    chosen = draw(st.permutations(NAMES))[: draw(st.integers(0, len(NAMES)))]
    types = draw(st.lists(st.sampled_from(["int", "bigint", "text"]), min_size=5, max_size=5))
    return table("id int!", *(f"{name} {kind}" for name, kind in zip(chosen, types, strict=False)))


APPLY = SchemaPolicy(**{kind.value: "apply" for kind in Kind})


@given(shapes(), shapes())
def test_changes_tell_two_shapes_apart(old: TableSchema, new: TableSchema) -> None:
    found = diff_table(old, new)
    assert bool(found) == (old.columns != new.columns)
    assert len({change.id for change in found}) == len(found)
    for verdict in decide(found, APPLY, explained=["t"]):
        assert target(old, new, verdict) == new


@given(shapes(), shapes())
def test_what_is_ignored_stays_as_it_was(old: TableSchema, new: TableSchema) -> None:
    policy = APPLY.model_copy(update={"add": "ignore", "drop": "ignore"})
    for verdict in decide(diff_table(old, new), policy, explained=["t"]):
        shape = target(old, new, verdict)
        assert set(shape.column_names) == set(old.column_names)
        # Once it is applied, nothing is left but what is ignored.
        left = decide(diff_table(shape, new), policy, explained=["t"])
        assert all(item.answer == "ignore" for item in left if verdict.answer == "apply")


# --- decisions ------------------------------------------------------------------------------------


def verdict(changes: list[Change], policy: SchemaPolicy | None = None, **more: object) -> Verdict:
    (found,) = decide(changes, policy or SchemaPolicy(), **more)  # type: ignore[arg-type]
    return found


def test_the_defaults() -> None:
    wanted: dict[str, Answer] = {
        "add": "apply",
        "drop": "hold",
        "rename": "hold",
        "widen": "apply",
        "narrow": "hold",
        "reorder": "apply",
        "key": "hold",
        "new_table": "ignore",
        "dropped_table": "hold",
    }
    assert SchemaPolicy().model_dump() == wanted
    assert {kind: SchemaPolicy().answer(kind) for kind in Kind} == {Kind(k): v for k, v in wanted.items()}


def test_the_model_has_the_policies() -> None:
    made = Pipeline.model_validate(
        {
            "name": "shop",
            "owner": "team:x",
            "source": {"database": "shop"},
            "schema_changes": {"add": "hold"},
            "tables": [{"name": "t", "schema_changes": {"drop": "apply"}}, {"name": "u"}],
        }
    )
    own = policy_of(made.schema_changes, made.tables[0].schema_changes)
    assert (own.add, own.drop, own.widen) == ("hold", "apply", "apply")
    assert policy_of(made.schema_changes, made.tables[1].schema_changes) == made.schema_changes
    for wrong in ({"schema_changes": {"add": "maybe"}}, {"schema_changes": {"new_table": "apply"}}):
        with pytest.raises(ValidationError):
            Table.model_validate({"name": "t", **wrong})


ADD = diff_table(OLD, table("id int!", "a int", "b varchar(9)", "c date", "n int"))
DROP = diff_table(OLD, table("id int!", "b varchar(9)", "c date"))


def test_applied_held_and_ignored() -> None:
    assert (verdict(ADD).answer, verdict(ADD).flow) == ("apply", "new")
    assert (verdict(DROP).answer, verdict(DROP).flow) == ("hold", "old")
    assert verdict(DROP).reasons
    ignored = verdict(ADD, SchemaPolicy(add="ignore"))
    assert (ignored.answer, ignored.flow, ignored.applied) == ("ignore", "old", ())


def test_one_held_change_holds_the_table() -> None:
    found = verdict([*ADD, *DROP], explained=["t"])
    assert found.answer == "hold"
    assert found.applied == ()


def test_a_drop_beside_an_add_may_be_a_rename() -> None:
    both = diff_table(OLD, table("id int!", "z int", "b varchar(9)", "c date"))
    free = SchemaPolicy(drop="apply")
    assert verdict(both, free).answer == "hold"
    assert "rename" in verdict(both, free).reasons[0]
    assert verdict(both, free, explained=["t"]).answer == "apply"


def test_approval_is_of_exactly_one_change() -> None:
    assert verdict(DROP, approved=[DROP[0].id]).answer == "apply"
    other = diff_table(OLD, table("id int!", "a int", "c date"))
    assert verdict(other, approved=[DROP[0].id]).answer == "hold"


def test_a_table_is_stopped_where_its_rows_would_be_wrong() -> None:
    renamed = diff_table(OLD, table("id int!", "z int", "b varchar(9)", "c date"), {"a": "z"})
    assert verdict(renamed).flow == "stopped"
    assert verdict(DROP, keys={"t": ["a"]}).flow == "stopped"
    longer = diff_table(OLD, table("id int!", "a int", "b varchar(3)", "c date"))
    assert verdict(longer).flow == "old"  # text stays text
    other = diff_table(OLD, table("id int!", "a varchar(9)", "b varchar(9)", "c date"))
    assert verdict(other).flow == "stopped"
    key = diff_table(OLD, table("id int!", "a int!", "b varchar(9)", "c date", key=("id", "a")))
    assert verdict(key).flow == "stopped"


def test_what_is_not_safe_cannot_be_ignored() -> None:
    wide = diff_table(OLD, table("id int!", "a bigint", "b varchar(9)", "c date"))
    found = verdict(wide, SchemaPolicy(widen="ignore"))
    assert (found.answer, found.flow) == ("hold", "stopped")
    assert not_safe(wide[0]) is not None


def test_obstacles_need_a_person_and_blockers_a_new_contract() -> None:
    ids = [change.id for change in ADD]
    assert verdict(ADD, obstacles={"t": ["made anew"]}).answer == "hold"
    assert verdict(ADD, obstacles={"t": ["made anew"]}, approved=ids).answer == "apply"
    found = verdict(ADD, blockers={"t": ["mart m reads it"]}, approved=ids)
    assert found.answer == "hold"
    assert "mart m reads it" in found.reasons[0]


def test_tables_come_and_go_only_by_the_contract() -> None:
    new = [Change(Kind.NEW_TABLE, "n", new="3 columns")]
    gone = [Change(Kind.DROPPED_TABLE, "t", old="3 columns")]
    assert verdict(new).answer == "ignore"
    assert verdict(new, SchemaPolicy(new_table="apply")).answer == "hold"
    assert verdict(gone, SchemaPolicy(dropped_table="apply")).answer == "hold"
    assert verdict(gone).flow == "old"
    # To have seen it is all that a person can say here.
    for change in (*new, *gone):
        found = verdict([change], SchemaPolicy(new_table="hold"), approved=[change.id])
        assert (found.answer, found.flow) == ("ignore", "old")


def test_the_tables_own_policy() -> None:
    assert verdict(ADD, tables={"t": TableSchemaPolicy(add="hold")}).answer == "hold"
    assert verdict(DROP, tables={"t": TableSchemaPolicy(drop="apply")}).answer == "apply"
