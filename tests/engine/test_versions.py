"""Tags, branches, differences, rollback and retention on a lake that Flink writes and Paimon expires."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from lakehouse_dagster.components.resources import LakehouseResource
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.engines.trino_catalogs import catalog_name
from lakehouse_dagster.governance import drift
from lakehouse_dagster.governance.hold import HoldStore, PublicationHeldError
from lakehouse_dagster.governance.versions import freeze as freezing
from lakehouse_dagster.governance.versions.defs import build_version_defs
from lakehouse_dagster.governance.versions.diff import diff
from lakehouse_dagster.governance.versions.freeze import end, freeze, give_catalog, listed
from lakehouse_dagster.governance.versions.history import history
from lakehouse_dagster.governance.versions.jobs import version_jobs
from lakehouse_dagster.governance.versions.merge import merge_branch
from lakehouse_dagster.governance.versions.references import (
    NotReadableError,
    UnknownVersionError,
    resolve,
)
from lakehouse_dagster.governance.versions.retention import retain
from lakehouse_dagster.governance.versions.rollback import forward, roll_back
from lakehouse_dagster.runtime.submitter import flink_submitter
from tests.engine.own_lake import OwnLake, wait_for

pytestmark = pytest.mark.engine

ACTOR = "a test"


@pytest.fixture(scope="module")
def whole_lake(endpoints: Endpoints) -> Iterator[OwnLake]:
    with Clients(endpoints, submitter=flink_submitter) as clients:
        found = OwnLake(clients)
        try:
            found.insert("a", [(1, "one"), (2, "two"), (3, None)])
            found.insert("b", [(1, "b")])
            assert found.publish() is not None
            found.make_mart()
            yield found
        finally:
            found.discard()


@pytest.fixture
def lake(whole_lake: OwnLake) -> OwnLake:
    """The lake with its newest version published, whatever the test before has left."""
    whole_lake.publish()
    return whole_lake


def age(lake: OwnLake) -> None:
    """What a year does to a lake: newer commits, compaction, and everything expired that may be."""
    lake.insert("a", [(1, f"later{lake.position}"), (9, "new")])
    lake.insert("b", [(1, f"later{lake.position}")])
    lake.expire()
    lake.publish()
    lake.make_mart()


def sweep(lake: OwnLake, **options: Any) -> Any:
    return retain(lake.clients, lake.contract, schemas=[f"{lake.name}_marts", f"{lake.name}_team"], **options)


def test_a_tag_is_readable_by_name_after_everything_expired_that_may(lake: OwnLake) -> None:
    before = {table: lake.rows(table) for table in ("a", "b", "_marts.m")}
    old = resolve(lake.clients.nessie, lake.name, "main")
    name = lake.reference("tag")
    began = time.monotonic()
    made = freeze(lake.clients, lake.contract, "tag", name, actor=ACTOR)
    print(f"tag of {len(made.copied.rows)} tables: {time.monotonic() - began:.2f} s")
    assert lake.shown() == lake.shown(old.reference), "main moved"
    age(lake)
    done = sweep(lake)
    assert done.trouble == ()
    # The untagged version really is gone: else this test shows nothing.
    with pytest.raises(NotReadableError):
        roll_back(lake.clients, lake.contract, old.hash, actor=ACTOR)
    began = time.monotonic()
    assert {table: lake.rows(table, made.catalog) for table in before} == before
    print(f"query of 3 tables of the tag after expiry: {time.monotonic() - began:.2f} s")
    assert lake.rows("a") != before["a"]
    told = listed(lake.clients, "tag", lake.name)
    assert [(one.name, one.requested_by, one.catalog) for one in told] == [(name, ACTOR, made.catalog)]
    properties = next(lake.clients.nessie.history(name)).properties
    assert properties["lakehouse.publication"] == made.publication
    assert properties["lakehouse.table.a.rows"] == "3"
    # Deleted, its copies go, and nothing else.
    end(lake.clients, lake.contract, "tag", name)
    gone = sweep(lake)
    assert gone.deleted
    assert not list(lake.clients.store.list(made.copied.folder))
    assert lake.rows("_marts.m")
    assert sweep(lake).deleted == ()


def test_a_copy_that_loses_its_files_to_paimon_is_begun_anew_from_what_is_published_then(
    lake: OwnLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tries = freezing.copy_tables, list[int]()

    def copy(*arguments: Any, **options: Any) -> Any:
        tries.append(1)
        if len(tries) == 1:
            # Between the reading of Nessie and the copying, Paimon deletes what Nessie shows.
            lake.insert("b", [(1, "after")])
            lake.expire()
            lake.publish()
        return real(*arguments, **options)

    monkeypatch.setattr(freezing, "copy_tables", copy)
    said: list[str] = []
    made = freeze(lake.clients, lake.contract, "tag", lake.reference("race"), actor=ACTOR, report=said.append)
    assert len(tries) == 2
    assert any("has expired meanwhile" in line for line in said)
    assert lake.values("b", made.catalog)[1] == "after"
    folders = {item.key.split("/")[2] for item in lake.clients.store.list(f"versions/{lake.name}/")}
    assert [name for name in folders if name.startswith(f"{lake.name}_race-")] == [
        made.copied.folder.split("/")[2]
    ]


@pytest.mark.parametrize("step", ["copy", "branch", "commit", "tag"])
def test_a_crash_while_tagging_leaves_no_tag_and_nothing_that_retention_does_not_find(
    lake: OwnLake, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients, name = lake.clients, lake.reference(f"crash_{step}")
    nessie, store = clients.nessie, clients.store

    def die(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    create, copied = nessie.create_reference, list[int]()

    def dying_copy(*arguments: Any, **options: Any) -> bool:
        copied.append(1)
        if len(copied) > 1:
            raise KeyboardInterrupt
        return type(store).copy(store, *arguments, **options)

    def dying_create(new: str, *arguments: Any, **options: Any) -> Any:
        if (options.get("type") == "TAG") == (step == "tag"):
            raise KeyboardInterrupt
        return create(new, *arguments, **options)

    with monkeypatch.context() as patch:
        # A process that is killed cleans up nothing behind itself.
        patch.setattr(nessie, "delete_reference", die)
        if step == "copy":
            patch.setattr(store, "copy", dying_copy)
        elif step == "commit":
            patch.setattr(nessie, "commit", die)
        else:
            patch.setattr(nessie, "create_reference", dying_create)
        with pytest.raises(KeyboardInterrupt):
            freeze(clients, lake.contract, "tag", name, actor=ACTOR)
    assert name not in {one.name for one in nessie.references()}
    left = [one.name for one in nessie.references() if one.name.startswith(f"tmp_{lake.name}-{name}")]
    assert len(left) == (step in ("commit", "tag"))
    folder = f"versions/{lake.name}/{name}-"
    assert list(store.list(folder))
    dry = sweep(lake, dry_run=True)
    assert set(left) <= set(dry.temporary)
    assert list(store.list(folder)), "a dry run deletes nothing"
    sweep(lake)
    assert not list(store.list(folder))
    assert not [one for one in nessie.references() if one.name in left]


def test_a_team_writes_on_its_branch_and_merges_what_it_made_but_never_the_lake(lake: OwnLake) -> None:
    clients, trino = lake.clients, lake.clients.trino
    name = lake.reference("team")
    made = freeze(clients, lake.contract, "branch", name, actor=ACTOR)
    there, main = f'"{made.catalog}"."{lake.name}', f'"lake"."{lake.name}'
    on_main = {table: lake.rows(table) for table in ("a", "b", "_marts.m")}
    with pytest.raises(ValueError, match="nothing was changed"):
        merge_branch(clients, lake.contract, name, actor=ACTOR)

    # The copies of the lake's tables can be written as any Iceberg table.
    trino.execute(f'UPDATE {there}"."b" SET v = \'team\' WHERE id = 1')
    trino.execute(f'DELETE FROM {there}"."a" WHERE id = 2')
    assert lake.values("b", made.catalog)[1] == "team"
    assert 2 not in lake.values("a", made.catalog)
    with pytest.raises(ValueError, match="only lake tables were changed"):
        merge_branch(clients, lake.contract, name, actor=ACTOR)

    trino.execute(f'CREATE SCHEMA {there}_team"')
    trino.execute(f'CREATE TABLE {there}_team"."t" AS SELECT id, v FROM {there}"."b"')
    check = f'SELECT * FROM "{lake.name}_team"."t" WHERE v IS NULL'
    bad = f'SELECT id, v FROM "{lake.name}_team"."t" WHERE v = \'team\''
    tried = merge_branch(clients, lake.contract, name, checks=[check], dry_run=True, actor=ACTOR)
    assert tried.mergeable
    assert tried.hash is None
    assert (lake.name, "b") in tried.plan.kept_out
    failed = merge_branch(clients, lake.contract, name, checks=[check, bad], actor=ACTOR)
    assert [one.sql for one in failed.failed] == [bad]
    assert failed.failed[0].rows == ((1, "team"),)
    assert not trino.has_table(f"{lake.name}_team", "t"), "a failed check leaves main as it was"
    done = merge_branch(clients, lake.contract, name, checks=[check], actor=ACTOR)
    assert done.hash is not None
    assert {table: lake.rows(table) for table in on_main} == on_main
    assert trino.execute(f'SELECT v FROM {main}_team"."t" WHERE id = 1').rows == [("team",)]
    entry = next(e for e in clients.nessie.history("main") if e.hash == done.hash)
    assert entry.properties["lakehouse.requested-by"] == ACTOR

    # Both sides change the table: named, and nothing is merged.
    trino.execute(f'INSERT INTO {there}_team"."t" VALUES (7, \'branch\')')
    trino.execute(f'INSERT INTO {main}_team"."t" VALUES (8, \'main\')')
    conflict = merge_branch(clients, lake.contract, name, actor=ACTOR)
    assert conflict.conflicts == ((f"{lake.name}_team", "t"),)
    assert conflict.hash is None
    assert trino.scalar(f'SELECT count(*) FROM {main}_team"."t" WHERE id = 7') == 0

    # What was merged outlives the branch; what was not goes.
    end(clients, lake.contract, "branch", name)
    sweep(lake)
    assert made.catalog not in {row[0] for row in trino.execute("SHOW CATALOGS").rows}
    assert trino.scalar(f'SELECT count(*) FROM {main}_team"."t"') == len(on_main["b"]) + 1
    assert {table: lake.rows(table) for table in on_main} == on_main


def test_a_branch_made_elsewhere_gets_its_catalog_and_an_idle_one_ends(lake: OwnLake) -> None:
    clients, name = lake.clients, lake.reference("foreign")
    clients.nessie.create_reference(name, clients.nessie.get_reference())
    assert give_catalog(clients, name) == catalog_name(name)
    assert lake.rows("a", catalog_name(name)) == lake.rows("a")
    with pytest.raises(ValueError, match="made elsewhere"):
        end(clients, lake.contract, "branch", name)
    mine = lake.reference("idle")
    freeze(clients, lake.contract, "branch", mine, actor=ACTOR)
    policy = lake.contract.pipeline.retention.model_copy(update={"branches_days": 0.0})
    done = sweep(lake, policy=policy)
    assert mine in done.references
    assert name not in done.references
    names = {one.name for one in clients.nessie.references()}
    assert name in names
    assert mine not in names
    # The catalog of a reference that vanished answers nothing, and goes.
    clients.nessie.delete_reference(clients.nessie.get_reference(name))
    assert catalog_name(name) in sweep(lake).catalogs


def test_a_diff_names_rows_columns_and_tables(lake: OwnLake) -> None:
    clients = lake.clients
    lake.insert("a", [(20, "stays"), (21, "old"), (22, "goes"), (23, None)])
    lake.publish()
    old = lake.reference("old")
    freeze(clients, lake.contract, "tag", old, actor=ACTOR)
    lake.insert("a", [(20, "stays"), (21, "new"), (23, "told"), (24, "added")], deleted=[22])
    lake.publish()
    found = diff(clients, lake.contract, old, "main")
    assert set(found.identical) == {"m"} or "m" not in {one.table for one in found.tables}
    (a,) = [one for one in found.tables if one.table == "a"]
    assert (a.added, a.removed, a.changed) == (1, 1, 2)
    assert {(row.change, (row.after or row.before)["id"]) for row in a.rows} == {
        ("added", 24),
        ("removed", 22),
        ("changed", 21),
        ("changed", 23),
    }
    changed = {row.after["id"]: row for row in a.rows if row.change == "changed"}
    assert changed[21].before["v"] == "old"
    assert changed[21].after["v"] == "new"
    assert changed[23].before["v"] is None
    assert "_position" not in changed[21].after
    # Copies of the same version: other files, the same rows.
    (b,) = diff(clients, lake.contract, old, "main", table="b").tables
    assert b.equal
    assert b.same == len(lake.rows("b"))
    with pytest.raises(UnknownVersionError, match="there is no version"):
        diff(clients, lake.contract, "nosuch", "main")
    with pytest.raises(ValueError, match="has a table zz"):
        diff(clients, lake.contract, old, "main", table="zz")


def test_readers_go_back_and_forward_while_the_stream_writes_on(lake: OwnLake) -> None:
    clients = lake.clients
    good = {table: lake.rows(table) for table in ("a", "b")}
    tag = lake.reference("good")
    freeze(clients, lake.contract, "tag", tag, actor=ACTOR)
    with lake.stream(), lake.publishing():
        wait_for(lambda: lake.rows("a") != good["a"], "the stream's rows are published")
        done = roll_back(clients, lake.contract, tag, reason="bad rows", actor=ACTOR)
        print(f"rollback: {done.seconds:.2f} s")
        assert {table: lake.rows(table) for table in good} == good
        snapshot = clients.paimon.latest_id(lake.name, "a")
        assert snapshot is not None
        wait_for(lambda: (clients.paimon.latest_id(lake.name, "a") or 0) > snapshot + 2, "it writes on")
        assert {table: lake.rows(table) for table in good} == good, "nothing was published meanwhile"
        with pytest.raises(PublicationHeldError, match=r"bad rows.*--forward"):
            lake.publish()
        # What a stream reports of its progress ends no pin.
        assert not HoldStore(clients.postgres).advance(lake.name, {}, "job", 9)
        told, pin = history(clients, lake.contract, limit=3)
        assert pin is not None
        assert pin.reason == "bad rows"
        assert told[0].kind == "rollback"
        assert told[0].missing == ()
        # What readers are shown on purpose is no drift.
        assert drift.look(lake.contract, clients.paimon, clients.nessie, held=True).problems == []
        # What went back last a while ago is copied as well: readable whatever Paimon does.
        gone = forward(clients, lake.contract, actor=ACTOR)
        print(f"forward: {gone.seconds:.2f} s")
        wait_for(lambda: lake.rows("a") != good["a"], "the newest is published again")
    assert lake.publish() is not None or lake.rows("a") != good["a"]
    with pytest.raises(ValueError, match="is not rolled back"):
        forward(clients, lake.contract, actor=ACTOR)


def test_a_recent_publication_is_a_target_as_well(lake: OwnLake) -> None:
    """By hash, without a tag: its files are copied, so it stays readable although Paimon goes on."""
    clients = lake.clients
    shown = {table: lake.rows(table) for table in ("a", "b")}
    here = resolve(clients.nessie, lake.name, "main~0")
    done = roll_back(clients, lake.contract, here.hash, actor=ACTOR)
    assert set(done.moved) == {(lake.name, "a"), (lake.name, "b")}
    lake.insert("a", [(1, f"later{lake.position}")])
    lake.expire()
    sweep(lake)
    assert {table: lake.rows(table) for table in shown} == shown
    gone = forward(clients, lake.contract, actor=ACTOR)
    assert gone.published is not None
    assert lake.rows("a") != shown["a"]


@pytest.mark.slow
def test_only_metadata_is_copied_and_paimon_keeps_the_data(lake: OwnLake) -> None:
    clients, name = lake.clients, lake.reference("light")
    before = lake.rows("a")
    made = freeze(clients, lake.contract, "tag", name, metadata_only=True, actor=ACTOR)
    assert made.copied.bytes == 0
    lake.insert("a", [(1, f"later{lake.position}")])
    lake.expire()
    sweep(lake)
    assert lake.rows("a", made.catalog) == before
    # A branch made of it copies the data, for it may outlive the tag.
    branch = freeze(clients, lake.contract, "branch", lake.reference("of_light"), source=name, actor=ACTOR)
    assert branch.copied.files > 0
    end(clients, lake.contract, "tag", name)
    lake.expire()
    assert not list(clients.store.list(f"{clients.paimon.location(lake.name, 'a')}/tag/tag-"))
    assert lake.rows("a", branch.catalog) == before


def test_dagster_does_the_same(lake: OwnLake, instance: Any) -> None:
    definitions = build_version_defs(lake.contract)
    jobs = version_jobs(lake.contract)
    name = lake.reference("by_dagster")
    resources = {"lakehouse": LakehouseResource()}

    def run(job: str, config: dict[str, Any], *, fails: str = "") -> Any:
        found = next(one for one in jobs if one.name == f"{lake.name}_{job}")
        done = found.execute_in_process(
            run_config={"ops": {f"{lake.name}_{job}_op": {"config": config}}},
            resources=resources,
            raise_on_error=False,
        )
        assert done.success == (not fails)
        if fails:
            (failure,) = done.filter_events(lambda event: event.is_step_failure)
            assert fails in str(failure.step_failure_data.user_failure_data or failure)
        return done

    run("tag", {"name": name})
    assert [one.requested_by.startswith("dagster run") for one in listed(lake.clients, "tag", lake.name)
            if one.name == name] == [True]  # fmt: skip
    done = run("diff", {"before": name, "after": "main"})
    (event,) = done.filter_events(lambda e: e.is_successful_output)
    assert "differences" in event.step_output_data.metadata
    run("rollback", {"to": "nosuch"}, fails="there is no version")
    run("tag", {"name": name, "delete": True})
    asset = next(iter(definitions.assets or ()))
    result = dg.materialize([asset], resources=resources)
    assert result.success
    (made,) = result.asset_materializations_for_node(f"{lake.name}_retention_op")
    assert made.metadata["objects_before"].value >= made.metadata["objects_after"].value
