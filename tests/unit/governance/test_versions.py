from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse_dagster.engines.nessie import Delete, IcebergTable, PutTable
from lakehouse_dagster.engines.s3 import StoredObject
from lakehouse_dagster.governance.hold import Pin, PublicationHeldError
from lakehouse_dagster.governance.versions.diff_sql import (
    ROWS_AT_ONCE,
    Compared,
    counts_sql,
    parts,
    rows_sql,
    sample_sql,
    schema_changes,
)
from lakehouse_dagster.governance.versions.merge import plan_merge
from lakehouse_dagster.governance.versions.references import check_name, facts_of, parse_time
from lakehouse_dagster.governance.versions.retention_plan import (
    MIN_SNAPSHOTS,
    Dated,
    expired,
    snapshots_to_retain,
    sweep,
)
from lakehouse_dagster.governance.versions.rollback import plan_rollback

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def ago(hours: float) -> datetime:
    return NOW - timedelta(hours=hours)


# --- mark and sweep -------------------------------------------------------------------------------


def stored(key: str, hours: float) -> StoredObject:
    return StoredObject(key, 10, ago(hours))


def test_only_what_nothing_has_needed_for_the_grace_period_goes() -> None:
    objects = [stored("needed", 90), stored("old", 90), stored("young", 0.5), stored("just seen", 90)]
    since = {"old": ago(2), "young": ago(2), "needed": ago(90)}
    plan = sweep(objects, {"needed"}, since, NOW, HOUR)
    assert [item.key for item in plan.delete] == ["old"]
    assert plan.waiting == {"young": ago(2), "just seen": NOW}
    assert plan.reachable == 1
    assert plan.bytes == 10


keys = st.sampled_from([f"k{n}" for n in range(8)])


@settings(max_examples=50)
@given(
    st.dictionaries(keys, st.floats(0, 100)),
    st.sets(keys),
    st.dictionaries(keys, st.floats(0, 100)),
    st.floats(0, 50),
)
def test_nothing_reachable_or_young_ever_goes(
    objects: dict[str, float], reachable: set[str], since: dict[str, float], grace: float
) -> None:
    listed = [stored(key, hours) for key, hours in objects.items()]
    seen = {key: ago(hours) for key, hours in since.items()}
    plan = sweep(listed, reachable, seen, NOW, timedelta(hours=grace))
    gone = {item.key for item in plan.delete}
    assert not gone & reachable
    assert all(NOW - item.modified >= timedelta(hours=grace) for item in plan.delete)
    assert gone | set(plan.waiting) == set(objects) - reachable
    # A second look, after the grace period, takes what was waiting.
    later = NOW + timedelta(hours=grace)
    again = sweep(
        [o for o in listed if o.key not in gone], reachable, plan.waiting, later, timedelta(hours=grace)
    )
    assert {item.key for item in again.delete} == set(plan.waiting)


def test_references_end_by_lifetime_or_idleness_and_only_our_own() -> None:
    day = timedelta(days=1)
    references = [
        Dated("forever", True, "p", ago(9999)),
        Dated("over", True, "p", ago(1), expires_at=ago(1)),
        Dated("not yet", True, "p", ago(1), expires_at=NOW + HOUR),
        Dated("idle", False, "p", ago(25)),
        Dated("busy", False, "p", ago(23)),
        Dated("theirs", False, "q", ago(9999)),
        Dated("elsewhere", False, "", ago(9999)),
    ]
    assert set(expired(references, "p", NOW, day)) == {"over", "idle"}
    assert set(expired(references, "p", NOW, None)) == {"over"}


def test_paimon_snapshots_stay_from_the_oldest_that_a_reference_shows() -> None:
    kept = {number: ago(100 - number) for number in range(50, 100)}
    assert snapshots_to_retain(kept, (), ago(0)) == MIN_SNAPSHOTS
    assert snapshots_to_retain(kept, {70}, ago(0)) == 30
    assert snapshots_to_retain(kept, {70}, ago(40)) == 40
    assert snapshots_to_retain(kept, {7}, ago(0)) == MIN_SNAPSHOTS
    assert snapshots_to_retain({}, {7}, ago(0)) == 0
    assert snapshots_to_retain({1: ago(5)}, (), ago(0)) == 1


# --- rollback and merge ---------------------------------------------------------------------------


def version(location: str, id: str | None = "c") -> IcebergTable:
    return IcebergTable(location, 1, 0, id=id)


def test_a_rollback_moves_removes_and_leaves_newer_marts() -> None:
    current = {("p", "a"): version("a2"), ("p", "b"): version("b1"), ("p", "n"): version("n"),
               ("p_marts", "m"): version("m")}  # fmt: skip
    target = {("p", "a"): version("a1", "other"), ("p", "b"): version("b1"), ("p", "gone"): version("g", "x")}
    operations, moved, removed, newer = plan_rollback(current, target, "p")
    assert operations == [
        PutTable(("p", "a"), version("a1", "c")),
        # A key that main does not have gets a new content id.
        PutTable(("p", "gone"), version("g", None)),
        Delete(("p", "n")),
    ]
    assert moved == (("p", "a"), ("p", "gone"))
    assert removed == (("p", "n"),)
    assert newer == (("p_marts", "m"),)


def test_a_merge_brings_what_the_team_changed_and_nothing_that_was_copied() -> None:
    parent: dict[tuple[str, ...], Any] = {("p",): 0, ("p", "a"): 1, ("p_marts", "m"): 1, ("q", "t"): 1}
    made: dict[tuple[str, ...], Any] = {("p",): 0, ("p", "a"): "copy", ("p_marts", "m"): "copy"}
    head = {**made, ("team",): 0, ("team", "t"): 1}
    plan = plan_merge(parent, made, head, ["p", "q"])
    assert plan.brought == (("team",), ("team", "t"))
    assert plan.kept_out == ()
    assert set(plan.left_out) == {("p",), ("p", "a"), ("p_marts", "m"), ("q", "t")}
    changed = plan_merge(parent, made, {**head, ("p", "a"): "written", ("p_marts", "m"): "new"}, ["p", "q"])
    assert changed.kept_out == (("p", "a"),)
    assert ("p_marts", "m") in changed.brought
    assert ("p_marts", "m") not in changed.left_out


# --- difference -----------------------------------------------------------------------------------


def compared(key: tuple[str, ...] = ("id",), columns: tuple[str, ...] = ("id", "v", 'w"x')) -> Compared:
    return Compared("s", "t", "old", "new", key, columns, frozenset({'w"x'}))


@pytest.mark.parametrize("key", [("id",), ("id", 'w"x'), ()])
@pytest.mark.parametrize("of", [1, 3])
def test_the_sql_of_a_difference_parses(key: tuple[str, ...], of: int) -> None:
    one = compared(key)
    for sql in (counts_sql(one, of - 1, of), sample_sql(one, 5, of - 1, of), rows_sql(one)):
        tree = sqlglot.parse_one(sql, dialect="trino")
        tables = {
            (table.catalog, table.db, table.name) for table in tree.find_all(sqlglot.exp.Table) if table.db
        }
        assert tables == {("old", "s", "t"), ("new", "s", "t")}


def test_a_table_of_nothing_but_its_key_has_no_changed_rows() -> None:
    assert "(false)" in counts_sql(compared(("id",), ("id",)))


def test_big_tables_are_compared_in_parts() -> None:
    assert parts(0) == 1
    assert parts(ROWS_AT_ONCE) == 1
    assert parts(ROWS_AT_ONCE + 1) == 2
    assert "WHERE" not in counts_sql(compared(), 0, 1).split("ON")[0]


def test_differences_of_the_schema_are_named() -> None:
    before = [("id", "integer"), ("v", "varchar"), ("w", "integer")]
    after = [("id", "integer"), ("v", "bigint"), ("x", "date")]
    assert schema_changes(before, after) == {
        "added": ["x date"],
        "removed": ["w integer"],
        "changed": ["v varchar -> bigint"],
    }


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["main", "tmp_x", "pin_0", "A", "a-b", "1a", "", "a" * 62, "a'b"])
def test_names_that_cannot_be_are_refused_with_the_rule(name: str) -> None:
    with pytest.raises(ValueError, match="lower-case letters"):
        check_name(name)


def test_times_are_utc_unless_they_say_otherwise() -> None:
    assert parse_time("2026-06-01T12:00") == NOW
    assert parse_time("2026-06-01T14:00+02:00") == NOW
    assert parse_time("2026-06-01T12:00:00.478239224Z") == NOW.replace(microsecond=478239)
    assert parse_time("20260601") is None
    assert parse_time("main") is None


def test_what_a_publication_says_of_its_tables() -> None:
    told = {"lakehouse.table.a.b.rows": "3", "lakehouse.table.a.b.position": "7", "lakehouse.pipeline": "p"}
    assert facts_of(told) == {"a.b": {"rows": "3", "position": "7"}}


def test_a_pin_says_how_a_person_lets_go_of_it() -> None:
    pin = Pin("p", "ann", "bad rows", NOW, "a" * 64, "b" * 64)
    text = str(PublicationHeldError(pin))
    assert "ann has rolled it back to aaaaaaaaaaaa (bad rows)" in text
    assert "lakehouse rollback p --forward" in text
