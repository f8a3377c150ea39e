"""Write, audit, publish: what readers see after each way it can end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.nessie import Key
from lakehouse_dagster.governance.wap import (
    Audit,
    AuditFailed,
    Branch,
    PublishConflict,
    Published,
    branch_name,
    remove_leftovers,
    write_audit_publish,
)
from tests.unit.governance.marts_world import Branches, Queries

KEY: Key = ("p_marts", "m")
GOOD = Audit("rows", "error", "There are some.", 0)
WARN = Audit("nice", "warn", "It is nice.", 2)
BAD = Audit("key", "error", "It is one.", 3)


def publish(
    branches: Branches,
    *,
    audits: Sequence[Audit] = (GOOD,),
    write: Any = None,
    attempts: int = 3,
) -> Published[Any]:
    return write_audit_publish(
        branches.client,
        "p.m",
        [KEY],
        open_catalog=Queries(branches).open,
        write=write or (lambda branch: branches.write(branch.name, KEY, 2)),
        audit=lambda branch: audits,
        message="refresh",
        properties={"lakehouse.run-id": "r1"},
        attempts=attempts,
    )


def test_what_passes_is_merged_with_what_it_was_made_of() -> None:
    branches = Branches()
    done = publish(branches, audits=(GOOD, WARN))
    assert branches.tables == {"main": {("p", "t"): 1, KEY: 2}}
    assert (done.read, done.hash, done.attempts) == ("h0", branches.hashes["main"], 1)
    assert branches.properties == {
        "lakehouse.run-id": "r1",
        "lakehouse.read-hash": "h0",
        "lakehouse.checks-passed": "rows",
    }


def test_a_failed_check_leaves_main_as_it_was() -> None:
    branches = Branches()
    with pytest.raises(AuditFailed, match=r"key \(3 rows\)") as caught:
        publish(branches, audits=(GOOD, WARN, BAD))
    assert caught.value.audits == (GOOD, WARN, BAD)
    assert branches.tables == {"main": {("p", "t"): 1}}
    assert branches.hashes == {"main": "h0"}


def test_a_write_that_fails_leaves_main_as_it_was() -> None:
    branches = Branches()

    def write(branch: Branch) -> None:
        branches.write(branch.name, KEY, 2)
        raise EngineError("trino", "out of memory")

    with pytest.raises(EngineError, match="out of memory"):
        publish(branches, write=write)
    assert branches.tables == {"main": {("p", "t"): 1}}


def test_nothing_written_is_nothing_merged() -> None:
    branches = Branches()
    done = publish(branches, write=lambda branch: None)
    assert done.hash is None
    assert branches.hashes == {"main": "h0"}


def test_whoever_was_quicker_makes_it_begin_anew_from_what_they_published() -> None:
    branches = Branches()
    read: list[int] = []

    def write(branch: Branch) -> None:
        read.append(branches.tables[branch.name].get(KEY, 0))
        branches.write(branch.name, KEY, 10 + len(read))

    def other() -> None:
        branches.before_merge = lambda: None
        branches.write("main", KEY, 7)

    branches.before_merge = other
    done = publish(branches, write=write)
    assert read == [0, 7]
    assert done.attempts == 2
    assert branches.tables == {"main": {("p", "t"): 1, KEY: 12}}


def test_it_does_not_begin_anew_for_ever() -> None:
    branches = Branches()
    versions = iter(range(100, 200))
    branches.before_merge = lambda: branches.write("main", KEY, next(versions))
    with pytest.raises(PublishConflict, match=r"p_marts\.m meanwhile, 3 times"):
        publish(branches)
    assert branches.tables["main"][KEY] == 102
    assert list(branches.hashes) == ["main"]


def test_other_tables_on_the_branch_are_never_merged() -> None:
    branches = Branches()

    def write(branch: Branch) -> None:
        branches.write(branch.name, KEY, 2)
        branches.write(branch.name, ("p", "t"), 5)

    with pytest.raises(EngineError, match=r"changes of others: p\.t"):
        publish(branches, write=write)
    assert branches.tables == {"main": {("p", "t"): 1}}


def test_what_dead_runs_left_is_removed_and_nothing_else() -> None:
    branches = Branches()
    main = branches.get_reference()
    dead, longer, theirs = branch_name("p.m"), branch_name("p.m_2"), "wap.p.m.notes"
    for name in (dead, longer, theirs):
        branches.create_reference(name, main)
    assert remove_leftovers(branches.client, "p.m") == [dead]
    assert set(branches.hashes) == {"main", longer, theirs}
