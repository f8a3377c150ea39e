from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse_dagster.contract.ddl import (
    Ddl,
    Effect,
    Place,
    TableName,
    UnreadableRecord,
    effects,
    histories,
    read_record,
    shadow_of,
)


def record(ddl: str = "ALTER TABLE t ADD n int", **more: Any) -> dict[str, Any]:
    """As Debezium 3.6.1 writes it (`HistoryRecord` as a struct, without schemas)."""
    return {
        "source": {
            "version": "3.6.1.Final", "connector": "mysql", "name": "shop", "ts_ms": 1_700_000_000_000,
            "snapshot": "false", "db": "shop", "sequence": None, "ts_us": 1_700_000_000_000_000,
            "ts_ns": 1_700_000_000_000_000_000, "table": "t", "server_id": 1, "gtid": "u-u-i-d:7",
            "file": "binlog.000003", "pos": 1234, "row": 0, "thread": None, "query": None,
        },
        "ts_ms": 1_700_000_000_100,
        "databaseName": "shop",
        "schemaName": None,
        "ddl": ddl,
        "tableChanges": [
            {
                "type": "ALTER",
                "id": '"shop"."t"',
                "table": {
                    "defaultCharsetName": "utf8mb4", "primaryKeyColumnNames": ["id"], "columns": [],
                    "comment": None,
                },
            }
        ],
    } | more  # fmt: skip


def read(body: object, offset: int = 5) -> Ddl | None:
    return read_record(json.dumps(body).encode(), offset)


def test_a_record() -> None:
    found = read(record())
    assert found is not None
    assert (found.offset, found.database, found.tables) == (5, "shop", ("t",))
    assert found.place == Place("binlog.000003", 1234)
    assert (found.gtid, found.ts_us) == ("u-u-i-d:7", 1_700_000_000_000_000)
    assert found.effects == (Effect("alter", TableName(None, "t"), added={"n": True}),)


@pytest.mark.parametrize("mark", ["true", "first", "last", "initial", True])
def test_the_snapshots_statements_are_no_changes(mark: object) -> None:
    body = record()
    body["source"]["snapshot"] = mark
    assert read(body) is None


def test_what_belongs_to_no_database_is_left_out() -> None:
    assert read_record(None, 1) is None
    assert read(record("SET character_set_server=utf8mb4", databaseName="", tableChanges=[])) is None


def broken(path: str, value: object) -> dict[str, Any]:
    body = record()
    holder: Any = body
    *parts, last = path.split(".")
    for part in parts:
        holder = holder[int(part)] if part.isdigit() else holder[part]
    holder[last] = value
    return body


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([], "not an object"),
        ({}, "'source' is missing"),
        (broken("source.file", None), "'file' is missing"),
        (broken("source.file", "binlog"), "not the name of a binary log file"),
        (broken("source.pos", "12"), "'pos' is '12', not int"),
        (broken("source.pos", True), "'pos'"),
        (broken("ddl", 5), "'ddl' is 5, not str"),
        (broken("tableChanges", None), "'tableChanges' is missing"),
        (broken("tableChanges.0.type", "SPLIT"), "type 'SPLIT'"),
        (broken("tableChanges.0.id", "shop.t"), "not of the form"),
        (broken("tableChanges.0.id", '"a"."b"."c"."d"'), "not of the form"),
    ],
)
def test_another_form_is_refused(body: object, said: str) -> None:
    with pytest.raises(UnreadableRecord, match=r"record 5 of the schema-change topic") as caught:
        read(body)
    assert said in str(caught.value)


def test_no_json() -> None:
    with pytest.raises(UnreadableRecord, match="not JSON"):
        read_record(b"{", 1)


@given(st.binary(max_size=60) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["source", "ddl", "tableChanges", "databaseName", "file", "pos"]), inner, max_size=4),
    max_leaves=8).map(lambda body: json.dumps(body).encode()))  # fmt: skip
def test_anything_is_read_or_refused(value: bytes) -> None:
    with contextlib.suppress(UnreadableRecord):
        read_record(value, 0)


def test_places_are_ordered_by_the_number_of_the_file() -> None:
    assert Place("a.999999", 9) < Place("a.1000000", 4)
    assert Place("a.000002", 4) < Place("a.000002", 90)


# --- statements -----------------------------------------------------------------------------------


def alter(**more: Any) -> tuple[Effect, ...]:
    return (Effect("alter", TableName(None, "t"), **more),)


def emptied(*tables: str) -> tuple[Effect, ...]:
    return tuple(Effect("truncate", TableName(None, table)) for table in tables)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("ALTER TABLE t RENAME COLUMN a TO b, DROP COLUMN c", alter(renames={"a": "b"}, dropped=("c",))),
        ("alter table t change column a b bigint not null", alter(renames={"a": "b"})),
        ("ALTER TABLE t CHANGE a a BIGINT", alter()),
        ("ALTER TABLE t CHANGE `a b` `c``d` ENUM('x,y','z)')", alter(renames={"a b": "c`d"})),
        ("ALTER TABLE t MODIFY a INT FIRST", alter()),
        ("ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (a, b)", alter()),
        ("ALTER TABLE t DROP `key`, DROP KEY k, DROP INDEX i, DROP c", alter(dropped=("key", "c"))),
        ("ALTER TABLE t RENAME INDEX i TO j, RENAME KEY k TO l", alter()),
        ("ALTER TABLE t TRUNCATE PARTITION p0, p1", emptied("t")),
        ("ALTER TABLE t DROP PARTITION p0", emptied("t")),
        ("ALTER TABLE t DROP `partition`", alter(dropped=("partition",))),
        ("ALTER TABLE t EXCHANGE PARTITION p WITH TABLE u WITHOUT VALIDATION", emptied("t", "u")),
        ("ALTER TABLE t IMPORT TABLESPACE", emptied("t")),
        ("ALTER TABLE t REORGANIZE PARTITION p INTO (PARTITION q VALUES LESS THAN (9))", alter()),
        ("ALTER TABLE t ADD PARTITION (PARTITION q VALUES LESS THAN (9))", alter()),
        ("ALTER TABLE t ENGINE=InnoDB", alter()),
        ("ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4", alter()),
        ("ALTER TABLE t ADD INDEX (a), ADD UNIQUE KEY u (b), ADD CONSTRAINT c CHECK (a > 0)", alter()),
        ("ALTER TABLE t ADD (a INT, b INT NOT NULL, INDEX (a))", alter(added={"a": True, "b": False})),
        ("/* gh */ ALTER TABLE t ADD COLUMN n INT -- why", alter(added={"n": True})),
        ("ALTER TABLE t ADD n INT DEFAULT NULL AFTER a", alter(added={"n": True})),
        ("ALTER TABLE t ADD n INT DEFAULT 5", alter(added={"n": False})),
        ("ALTER TABLE t ADD n VARCHAR(9) DEFAULT 'x' NULL", alter(added={"n": False})),
        ("ALTER TABLE t ADD n VARCHAR(9) DEFAULT 'NULL'", alter(added={"n": False})),
        ("ALTER TABLE t ADD n CHAR(36) DEFAULT (uuid())", alter(added={"n": False})),
        ("ALTER TABLE t ADD n INT AS (a + 1)", alter(added={"n": False})),
        ("ALTER TABLE t ADD n INT GENERATED ALWAYS AS (a + 1) STORED", alter(added={"n": False})),
        ("ALTER TABLE t ADD n TIMESTAMP", alter(added={"n": False})),
        ("ALTER TABLE t ADD n TIMESTAMP NULL", alter(added={"n": True})),
        ("ALTER TABLE t ADD n DATETIME(6) COMMENT 'NOT NULL'", alter(added={"n": True})),
        ("ALTER TABLE t ADD n INT NOT NULL", alter(added={"n": False})),
        ("TRUNCATE t", (Effect("truncate", TableName(None, "t")),)),
        ("TRUNCATE TABLE `s`.`t`", (Effect("truncate", TableName("s", "t")),)),
        ("DROP TABLE IF EXISTS `s`.`t`, u /* generated by server */",
         (Effect("drop", TableName("s", "t")), Effect("drop", TableName(None, "u")))),
        ("CREATE TABLE IF NOT EXISTS t LIKE u", (Effect("create", TableName(None, "t"), if_missing=True),)),
        ("CREATE TABLE t (a INT)", (Effect("create", TableName(None, "t")),)),
        ("CREATE INDEX i ON t (a)", (Effect("other", TableName(None, "t")),)),
        ("CREATE UNIQUE INDEX `i` USING BTREE ON `s`.`t` (a)", (Effect("other", TableName("s", "t")),)),
        ("DROP INDEX i ON t", (Effect("other", TableName(None, "t")),)),
        ("RENAME TABLE t TO _t_del, s._t_gho TO t",
         (Effect("rename", TableName(None, "_t_del"), TableName(None, "t")),
          Effect("rename", TableName("s", "t"), TableName("s", "_t_gho")))),
        ("ALTER TABLE s.t RENAME TO u", (Effect("rename", TableName("s", "u"), TableName("s", "t")),)),
        ("ALTER TABLE t RENAME AS u", (Effect("rename", TableName(None, "u"), TableName(None, "t")),)),
        ("CREATE TEMPORARY TABLE t (a INT)", ()), ("CREATE VIEW v AS SELECT 1", ()), ("DROP VIEW t", ()),
        ("CREATE INDEX i", ()), ("INSERT INTO t VALUES (1)", ()), ("", ()), ("ALTER TABLE", ()),
        ("SELECT 'unfinished", ()), ("RENAME TABLE t", ()), ("DROP TABLE 'x'", ()), ("ALTER USER u", ()),
    ],
)  # fmt: skip
def test_what_a_statement_does(statement: str, expected: tuple[Effect, ...]) -> None:
    assert effects(statement) == expected


@given(st.text(max_size=80) | st.lists(st.sampled_from(
    ["ALTER", "TABLE", "t", "ADD", "(", ")", ",", "RENAME", "COLUMN", "TO", "CHANGE", "`a`", "'x'", ".", ";"]
), max_size=12).map(" ".join))  # fmt: skip
def test_no_statement_is_too_strange(statement: str) -> None:
    effects(statement)


# --- histories ------------------------------------------------------------------------------------


def told(*statements: str, database: str = "shop") -> list[Ddl]:
    return [
        Ddl(number, database, text, Place("b.000001", 100 * number), None, number, (), effects(text))
        for number, text in enumerate(statements, start=1)
    ]


def history(*statements: str) -> Any:
    return histories(told(*statements), "shop", ["t", "u"]).get("t")


def test_renames_follow_one_another() -> None:
    found = history("ALTER TABLE t RENAME COLUMN a TO b", "ALTER TABLE t CHANGE b c INT")
    assert found.renames == {"a": "c"}
    assert (found.explained, found.replaced, found.place) == (True, False, Place("b.000001", 100))
    assert history("ALTER TABLE t CHANGE a b INT", "ALTER TABLE t CHANGE b a INT").renames == {}
    assert history("ALTER TABLE t CHANGE a b INT", "ALTER TABLE t DROP b").renames == {}
    swapped = history("ALTER TABLE t RENAME COLUMN a TO b, RENAME COLUMN b TO a")
    assert swapped.renames == {"a": "b", "b": "a"}


def test_new_columns_that_are_empty() -> None:
    found = history("ALTER TABLE t ADD a INT, ADD b INT DEFAULT 1", "ALTER TABLE t RENAME COLUMN a TO c")
    assert found.null_at_first == {"c"}
    assert (
        history(
            "ALTER TABLE t ADD a INT", "ALTER TABLE t DROP a", "ALTER TABLE t ADD a INT NOT NULL"
        ).null_at_first
        == set()
    )


def test_a_table_that_is_there_is_not_made_and_an_index_changes_nothing() -> None:
    found = history("CREATE TABLE IF NOT EXISTS t (a INT)", "CREATE INDEX i ON t (a)", "DROP INDEX i ON t")
    assert (len(found.ddls), found.explained, found.replaced) == (3, True, False)
    assert history("DROP TABLE t", "CREATE TABLE IF NOT EXISTS t (a INT)").replaced
    assert history("CREATE TABLE t (a INT)").replaced


def test_other_tables_and_databases_do_not_count() -> None:
    assert history("ALTER TABLE x ADD a INT", "ALTER TABLE other.t ADD a INT") is None
    assert histories(told("ALTER TABLE t ADD a INT", database="other"), "shop", ["t"]) == {}


@pytest.mark.parametrize(
    "statements",
    [
        ("CREATE TABLE _t_gho LIKE t", "ALTER TABLE _t_gho CHANGE a b INT, ADD n INT",
         "CREATE TABLE _t_ghc (id INT)", "RENAME TABLE t TO _t_del, _t_gho TO t", "DROP TABLE _t_ghc"),
        ("CREATE TABLE `shop`.`_t_new` (id INT)", "ALTER TABLE `shop`.`_t_new` CHANGE a b INT, ADD n INT",
         "RENAME TABLE `shop`.`t` TO `shop`.`_t_old`, `shop`.`_t_new` TO `shop`.`t`",
         "DROP TABLE IF EXISTS `shop`.`_t_old`"),
    ],
)  # fmt: skip
def test_online_changes(statements: tuple[str, ...]) -> None:
    found = history(*statements)
    assert found.renames == {"a": "b"}
    assert found.null_at_first == {"n"}
    assert (found.explained, found.replaced) == (True, False)
    (swap,) = found.ddls
    assert swap.statement.startswith("RENAME")


def test_an_online_change_goes_on_from_the_changes_before_it() -> None:
    found = history(
        "ALTER TABLE t CHANGE a b INT",
        "CREATE TABLE _t_gho LIKE t",
        "ALTER TABLE _t_gho CHANGE b c INT",
        "RENAME TABLE t TO _t_del, _t_gho TO t",
    )
    assert found.renames == {"a": "c"}
    assert found.place == Place("b.000001", 100)


def test_a_shadow_whose_beginning_is_not_known_explains_nothing() -> None:
    found = history("RENAME TABLE t TO _t_del, _t_gho TO t")
    assert (found.explained, found.replaced) == (False, False)


@pytest.mark.parametrize(
    "statements",
    [
        ("TRUNCATE t",),
        ("DROP TABLE t", "CREATE TABLE t (id INT)"),
        ("RENAME TABLE t TO x, y TO t",),
        ("ALTER TABLE other.t RENAME TO shop.t",),
        ("RENAME TABLE t TO other.t",),
        ("RENAME TABLE u TO x, t TO y, x TO t",),
    ],
)
def test_rows_that_may_be_others(statements: tuple[str, ...]) -> None:
    assert history(*statements).replaced


def test_what_the_text_does_not_say_is_not_explained() -> None:
    ddl = Ddl(1, "shop", "??", Place("b.000001", 4), None, 1, ("t",), ())
    assert histories([ddl], "shop", ["t"])["t"].explained is False


def test_one_statement_told_twice() -> None:
    one = Ddl(1, "shop", "DROP TABLE t, u", Place("b.000001", 4), None, 1, ("t",), effects("DROP TABLE t, u"))
    two = Ddl(2, "shop", "DROP TABLE t, u", Place("b.000001", 4), None, 1, ("u",), one.effects)
    found = histories([one, two], "shop", ["t", "u"])
    assert [len(found[name].ddls) for name in ("t", "u")] == [1, 1]


def test_shadows() -> None:
    assert shadow_of("_t_gho", ["t"]) == "t"
    assert shadow_of("__t_new", ["t"]) == "t"
    assert shadow_of("_t_gho", ["u"]) is None
    assert shadow_of("_t_gho", ["t", "_t_gho"]) is None
    assert shadow_of("t_new", ["t"]) is None
