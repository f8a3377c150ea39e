"""The publisher against the real object store and the real Nessie.

The lake tables are made by hand here: Iceberg metadata as Paimon writes it, without data. So every moment of
a publication can be brought about on purpose; the end-to-end tests publish what Flink writes.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.engines.errors import ConflictError, EngineError, EngineUnavailable
from lakehouse_dagster.engines.nessie import Operation, PutTable, Reference
from lakehouse_dagster.engines.postgres import PostgresClient
from lakehouse_dagster.governance import drift
from lakehouse_dagster.governance import publisher as module
from lakehouse_dagster.governance.gate import PublicationRefusedError
from lakehouse_dagster.governance.hold import HoldStore, PublicationHeldError
from lakehouse_dagster.governance.publisher import Publisher, PublisherState, follow
from tests.engine.handmade_lake import Lake

pytestmark = pytest.mark.engine


@pytest.fixture
def lake(clients: Clients) -> Iterator[Lake]:
    found = Lake(clients)
    yield found
    found.drop()


@pytest.fixture
def branch(clients: Clients) -> Iterator[str]:
    name = f"zz-{uuid.uuid4().hex[:8]}"
    clients.nessie.create_reference(name, clients.nessie.get_reference("main"))
    yield name
    clients.nessie.delete_reference(clients.nessie.get_reference(name))


@pytest.fixture
def publisher(endpoints: Endpoints, branch: str) -> Iterator[Publisher]:
    found = Publisher(endpoints, branch=branch, requested_by="a test")
    yield found
    found.close()


def commits(clients: Clients, branch: str) -> list[str]:
    return [entry.message for entry in clients.nessie.log(branch, limit=20)]


def test_nothing_is_published_before_there_are_tables(lake: Lake, publisher: Publisher, branch: str) -> None:
    state = PublisherState()
    before = lake.clients.nessie.get_reference(branch)
    assert publisher.publish_once(lake.contract) is None
    assert publisher.publish_once(lake.contract, state) is None
    assert publisher.publish_once(lake.contract, state) is None
    assert lake.clients.nessie.get_reference(branch) == before


def test_all_tables_go_into_one_commit_with_what_they_hold(
    lake: Lake, publisher: Publisher, branch: str
) -> None:
    lake.write("a", 3)
    lake.write("b", 7)
    before = commits(lake.clients, branch)
    publication = publisher.publish_once(lake.contract)
    assert publication is not None
    assert publication.changed == ("a", "b")
    assert publication.tables["a"].position == 3000
    assert publication.tables["a"].rows == 30
    assert publication.tables["a"].committed_at == "2013-01-01T00:26:40.000003+00:00"
    assert lake.shown(branch) == {"a": 3, "b": 7}
    entry = lake.clients.nessie.log(branch, limit=1)[0]
    assert entry.hash == publication.hash
    assert entry.properties["lakehouse.table.a.paimon-snapshot"] == "3"
    assert entry.properties["lakehouse.table.b.position"] == "7000"
    assert entry.properties["lakehouse.requested-by"] == "a test"
    assert entry.properties["lakehouse.publisher"] == publisher.id
    assert len(commits(lake.clients, branch)) == min(20, len(before) + 1)


def test_records_that_could_not_be_carried_can_be_read_with_sql(
    lake: Lake, publisher: Publisher, branch: str
) -> None:
    state = PublisherState()
    lake.write("a", 1)
    first = publisher.publish_once(lake.contract, state)
    assert first is not None
    assert first.changed == ("a",)
    lake.write("_quarantine", 1)
    second = publisher.publish_once(lake.contract, state)
    assert second is not None
    assert second.changed == ("_quarantine",)
    key = tuple(lake.contract.quarantine_path)
    shown = lake.clients.nessie.get_tables([key], lake.clients.nessie.get_reference(branch))
    assert shown[key].snapshot_id == 1


def test_publishing_again_changes_nothing(lake: Lake, publisher: Publisher, branch: str) -> None:
    lake.write("a", 1)
    assert publisher.publish_once(lake.contract) is not None
    head = lake.clients.nessie.get_reference(branch)
    assert publisher.publish_once(lake.contract) is None
    assert publisher.publish_once(lake.contract, PublisherState()) is None
    assert lake.clients.nessie.get_reference(branch) == head


def test_only_the_table_that_moved_is_touched(lake: Lake, publisher: Publisher, branch: str) -> None:
    state = PublisherState()
    lake.write("a", 1)
    lake.write("b", 1)
    assert publisher.publish_once(lake.contract, state) is not None
    lake.write("b", 2)
    publication = publisher.publish_once(lake.contract, state)
    assert publication is not None
    assert publication.changed == ("b",)
    assert set(publication.tables) == {"a", "b"}
    assert lake.shown(branch) == {"a": 1, "b": 2}
    assert commits(lake.clients, branch)[0] == f"publish {lake.name}: b@2"


def test_a_hint_to_metadata_that_is_gone_is_never_published(
    lake: Lake, publisher: Publisher, branch: str
) -> None:
    state = PublisherState()
    lake.write("a", 1)
    assert publisher.publish_once(lake.contract, state) is not None
    lake.write("a", 2, metadata=False)
    with pytest.raises(EngineError, match="does not exist"):
        publisher.publish_once(lake.contract, state)
    assert lake.shown(branch) == {"a": 1}
    lake.write("a", 2)
    # The news survived the error.
    assert publisher.publish_once(lake.contract, state) is not None
    assert lake.shown(branch) == {"a": 2}


def test_the_hint_is_read_again_when_the_metadata_it_named_is_gone(
    lake: Lake, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.write("a", 2)
    real = publisher.paimon.store.get
    stale = [b"1"]

    def get(location: str) -> bytes | None:
        return stale.pop() if stale and location.endswith("version-hint.text") else real(location)

    monkeypatch.setattr(publisher.paimon.store, "get", get)
    found = publisher.paimon.iceberg(lake.name, "a")
    assert found is not None
    assert found.version == 2


def test_a_lost_race_is_run_again_with_what_the_winner_left(
    lake: Lake, publisher: Publisher, branch: str, endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = PublisherState()
    lake.write("a", 1)
    assert publisher.publish_once(lake.contract, state) is not None
    lake.write("a", 2)
    lake.write("b", 1)
    other = Publisher(endpoints, branch=branch)
    real = publisher.nessie.commit
    lost: list[ConflictError] = []

    def commit(operations: list[Operation], message: str, **kwargs: Any) -> Reference:
        if not lost:
            # Somebody is quicker, and the lake has moved on since.
            assert other.publish_once(lake.contract) is not None
            lake.write("a", 3)
        try:
            return real(operations, message, **kwargs)
        except ConflictError as error:
            lost.append(error)
            raise

    monkeypatch.setattr(publisher.nessie, "commit", commit)
    publication = publisher.publish_once(lake.contract, state)
    other.close()
    assert len(lost) == 1
    assert publication is not None
    assert publication.changed == ("a",)
    assert lake.shown(branch) == {"a": 3, "b": 1}


def test_two_publishers_at_once_never_move_a_table_back(
    lake: Lake, endpoints: Endpoints, branch: str
) -> None:
    """Both follow the lake while it is written: the branch ends at the newest and went only forward."""
    stop = threading.Event()
    errors: list[BaseException] = []

    def run() -> None:
        publisher, state = Publisher(endpoints, branch=branch), PublisherState()
        try:
            while not stop.is_set():
                publisher.publish_once(lake.contract, state, attempts=20)
        except BaseException as error:
            errors.append(error)
        finally:
            publisher.close()

    lake.write("a", 1)
    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for version in range(2, 40):
        lake.write("a", version)
        lake.write("b", version)
    deadline = time.monotonic() + 20
    while lake.shown(branch) != {"a": 39, "b": 39} and time.monotonic() < deadline:
        time.sleep(0.1)
    stop.set()
    for thread in threads:
        thread.join()
    assert not errors
    assert lake.shown(branch) == {"a": 39, "b": 39}
    history = [entry for entry in lake.clients.nessie.log(branch, limit=500) if lake.name in entry.message]
    for table in ("a", "b"):
        moved = [
            int(part.partition("@")[2])
            for entry in reversed(history)
            for part in entry.message.partition(": ")[2].split(", ")
            if part.startswith(f"{table}@")
        ]
        assert moved == sorted(set(moved)), f"table {table} went {moved}"


def test_what_somebody_else_moved_stays_until_the_next_change(
    lake: Lake, publisher: Publisher, branch: str, caplog: pytest.LogCaptureFixture
) -> None:
    state = PublisherState()
    lake.write("a", 1)
    lake.write("a", 2)
    assert publisher.publish_once(lake.contract, state) is not None
    key = (lake.name, "a")
    head = lake.clients.nessie.get_reference(branch)
    held = lake.clients.nessie.get_tables([key], head)[key]
    older = replace(held, metadata_location=f"{lake.folder('a')}/v1.metadata.json", snapshot_id=1)
    lake.clients.nessie.commit([PutTable(key, older)], "roll back", reference=head)
    state.next_recheck = 0.0
    with caplog.at_level(logging.WARNING):
        assert publisher.publish_once(lake.contract, state) is None
    assert "somebody else moved a" in caplog.text
    assert lake.shown(branch) == {"a": 1}
    lake.write("a", 3)
    assert publisher.publish_once(lake.contract, state) is not None
    assert lake.shown(branch) == {"a": 3}


def test_a_table_the_branch_lost_comes_back(lake: Lake, publisher: Publisher, branch: str) -> None:
    from lakehouse_dagster.engines.nessie import Delete

    state = PublisherState()
    lake.write("a", 1)
    assert publisher.publish_once(lake.contract, state) is not None
    head = lake.clients.nessie.get_reference(branch)
    lake.clients.nessie.commit([Delete((lake.name, "a"))], "drop", reference=head)
    assert lake.shown(branch) == {}
    state.next_recheck = 0.0
    assert publisher.publish_once(lake.contract, state) is not None
    assert lake.shown(branch) == {"a": 1}


def test_a_publisher_killed_at_any_point_leaves_nothing_to_mend(
    lake: Lake, publisher: Publisher, branch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the commit nothing happened, after it everything; a new publisher goes on either way."""
    state = PublisherState()
    lake.write("a", 1)
    real = publisher.nessie.commit

    def die_before(*_: object, **__: object) -> Reference:
        raise KeyboardInterrupt

    def die_after(*arguments: Any, **kwargs: Any) -> Reference:
        real(*arguments, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(publisher.nessie, "commit", die_before)
    with pytest.raises(KeyboardInterrupt):
        publisher.publish_once(lake.contract, state)
    assert lake.shown(branch) == {}
    monkeypatch.setattr(publisher.nessie, "commit", die_after)
    with pytest.raises(KeyboardInterrupt):
        publisher.publish_once(lake.contract, PublisherState())
    assert lake.shown(branch) == {"a": 1}
    monkeypatch.setattr(publisher.nessie, "commit", real)
    assert publisher.publish_once(lake.contract, PublisherState()) is None
    assert publisher.publish_once(lake.contract, state) is None


@pytest.fixture
def holds(lake: Lake) -> Iterator[HoldStore]:
    found = HoldStore(lake.clients.postgres)
    yield found
    found.release(lake.name)


def test_nothing_is_published_while_it_is_held_back(
    lake: Lake, publisher: Publisher, branch: str, holds: HoldStore, caplog: pytest.LogCaptureFixture
) -> None:
    state = PublisherState()
    lake.write("a", 2)
    assert publisher.publish_once(lake.contract, state) is not None
    holds.hold(lake.name, "lake", "the lake job started without a checkpoint", {"t:0": 5})
    with caplog.at_level(logging.INFO):
        # The lake goes back, and comes again bit by bit.
        for version in (3, 4):
            lake.write("a", version)
            for _ in range(2):
                assert publisher.publish_once(lake.contract, state) is None
        with pytest.raises(PublicationHeldError, match="the lake job started without a checkpoint"):
            publisher.publish_once(lake.contract)
        # A publisher that was started meanwhile knows of it too.
        assert publisher.publish_once(lake.contract, PublisherState()) is None
        assert lake.shown(branch) == {"a": 2}
        assert not holds.advance(lake.name, {"t:0": 5}, "j", 1)
        assert publisher.publish_once(lake.contract, state) is None
        assert holds.advance(lake.name, {"t:0": 5}, "j", 2)
        publication = publisher.publish_once(lake.contract, state)
    assert publication is not None
    assert publication.changed == ("a",)
    assert lake.shown(branch) == {"a": 4}
    assert caplog.text.count("is held back since") == 2  # one per publisher
    assert caplog.text.count("no longer held back") == 1


def test_what_was_read_before_a_hold_began_is_not_published_after(
    lake: Lake, publisher: Publisher, branch: str, holds: HoldStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = publisher.paimon.iceberg
    began: list[int] = []

    def iceberg(database: str, table: str) -> Any:
        if not began:
            holds.hold(lake.name, "lake", "it begins now", {"t:0": 1})
            began.append(1)
        return real(database, table)

    monkeypatch.setattr(publisher.paimon, "iceberg", iceberg)
    lake.write("a", 1)
    state = PublisherState()
    assert publisher.publish_once(lake.contract, state) is None
    assert began
    assert lake.shown(branch) == {}
    holds.release(lake.name)
    assert publisher.publish_once(lake.contract, state) is not None
    assert lake.shown(branch) == {"a": 1}


def test_a_hold_that_ends_during_a_round_lets_nothing_through_that_was_read_before(
    lake: Lake, publisher: Publisher, branch: str, holds: HoldStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def iceberg(database: str, table: str) -> Any:
        # The hold ends after the lake was read and before the commit.
        state = real(database, table)
        holds.release(lake.name)
        return state

    real = publisher.paimon.iceberg
    monkeypatch.setattr(publisher.paimon, "iceberg", iceberg)
    lake.write("a", 1)
    holds.hold(lake.name, "lake", "it ends in a moment", {"t:0": 1})
    assert publisher.publish_once(lake.contract, PublisherState()) is None
    assert lake.shown(branch) == {}


def test_nothing_is_published_while_nobody_can_say_whether_it_is_held_back(
    lake: Lake, publisher: Publisher, branch: str, endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = PublisherState()
    lake.write("a", 1)
    away = endpoints.postgres.model_copy(update={"port": 1})
    with monkeypatch.context() as patch:
        patch.setattr(publisher, "holds", HoldStore(PostgresClient(away)))
        for known in (state, None):
            with pytest.raises(EngineUnavailable, match="postgres: no answer"):
                publisher.publish_once(lake.contract, known)
    assert lake.shown(branch) == {}
    # The news survived.
    assert publisher.publish_once(lake.contract, state) is not None
    assert lake.shown(branch) == {"a": 1}


def test_following_waits_for_unreachable_engines_and_then_publishes(
    lake: Lake,
    endpoints: Endpoints,
    branch: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked: list[int] = []

    def addresses() -> Endpoints:
        asked.append(1)
        if len(asked) == 1:
            raise EngineUnavailable("nessie", "nowhere", "start it")
        return endpoints

    monkeypatch.setattr(module, "BRANCH", branch)
    monkeypatch.setattr(module, "discover", lambda _: [lake.contract])
    lake.write("a", 1)
    stop = threading.Event()
    with caplog.at_level(logging.INFO):
        thread = threading.Thread(target=follow, args=(addresses, stop), kwargs={"defs_root": tmp_path})
        thread.start()
        try:
            deadline = time.monotonic() + 15
            while lake.shown(branch) != {"a": 1} and time.monotonic() < deadline:
                time.sleep(0.1)
            assert lake.shown(branch) == {"a": 1}
            written = time.monotonic()
            lake.write("a", 2)
            while lake.shown(branch) != {"a": 2} and time.monotonic() < deadline:
                time.sleep(0.05)
            # The pause between tries, which grew to seconds while nothing answered, is over.
            assert time.monotonic() - written < module.MAX_BACKOFF_SECONDS
        finally:
            stop.set()
            thread.join(10)
    assert not thread.is_alive()
    assert caplog.text.count("no answer at nowhere") == 1
    assert "engines answer again" in caplog.text


# --- the audit gate -------------------------------------------------------------------------------


def test_a_lake_that_went_back_is_refused_until_a_person_says_so(
    lake: Lake, publisher: Publisher, branch: str
) -> None:
    state = PublisherState()
    lake.write("a", 5)
    lake.write("b", 5)
    assert publisher.publish_once(lake.contract, state) is not None
    lake.write("a", 4)
    lake.write("b", 6)
    for known in (state, None):
        with pytest.raises(PublicationRefusedError, match=r"a: the lake went back to snapshot 4"):
            publisher.publish_once(lake.contract, known)
    # The whole set: readers never get b of one publication beside a of another.
    assert lake.shown(branch) == {"a": 5, "b": 5}
    assert [failure.check for failure in publisher.refusals(lake.contract)] == ["order"]
    assert publisher.publish_once(lake.contract, waive=["order"]) is not None
    assert lake.shown(branch) == {"a": 4, "b": 6}
    told = lake.clients.nessie.log(branch, limit=1)[0].properties
    assert told["lakehouse.checks"] == "hold, metadata, identity, schema"
    assert "went back to snapshot 4" in told["lakehouse.checks-waived"]
    assert publisher.refusals(lake.contract) == []


def test_a_column_that_readers_have_is_not_taken_from_them(
    lake: Lake, publisher: Publisher, branch: str
) -> None:
    state = PublisherState()
    lake.write("a", 1)
    assert publisher.publish_once(lake.contract, state) is not None
    told = lake.clients.nessie.log(branch, limit=1)[0].properties
    assert told["lakehouse.checks"] == "hold, metadata, identity, schema, order"
    lake.write("a", 2, columns=("id", "_position", "_committed_at"))
    with pytest.raises(PublicationRefusedError, match=r"a: the contract has note, readers have it"):
        publisher.publish_once(lake.contract, state)
    lake.write("a", 3)
    assert publisher.publish_once(lake.contract, state) is not None
    assert lake.shown(branch) == {"a": 3}


def test_a_table_made_anew_is_published_from_its_first_snapshot(
    lake: Lake, publisher: Publisher, branch: str
) -> None:
    lake.write("a", 9)
    assert publisher.publish_once(lake.contract) is not None
    lake.write("a", 1, **{"table-uuid": "another"})
    assert publisher.publish_once(lake.contract) is not None
    assert lake.shown(branch) == {"a": 1}


def test_versions_of_which_readers_would_get_a_part_wait_for_a_complete_one(
    lake: Lake, publisher: Publisher, branch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = PublisherState()
    lake.write("a", 1, lake_rows=30)
    assert publisher.publish_once(lake.contract, state) is not None
    lake.write("a", 2, lake_rows=35, visible=1)
    assert publisher.publish_once(lake.contract, state) is None
    # Another publisher, which remembers nothing, sees it the same way.
    assert publisher.publish_once(lake.contract, PublisherState()) is None
    # The complete one is found although it is not the newest any more.
    lake.write("a", 3, lake_rows=30)
    lake.write("a", 4, lake_rows=41, visible=3)
    assert publisher.publish_once(lake.contract, state) is not None
    assert lake.shown(branch) == {"a": 3}
    # What is published must not expire, and nothing waits for ever.
    lake.write("a", 3 + module.KEEP_ALIVE, lake_rows=50, visible=3)
    assert publisher.publish_once(lake.contract, state) is not None
    assert lake.shown(branch) == {"a": 33}
    lake.write("a", 34, lake_rows=51, visible=3)
    assert publisher.publish_once(lake.contract, state) is None
    monkeypatch.setattr(module, "STILL_SECONDS", 0.0)
    assert publisher.publish_once(lake.contract, state) is not None
    assert lake.shown(branch) == {"a": 34}


# --- drift ----------------------------------------------------------------------------------------


def drift_of(lake: Lake, branch: str, **how: Any) -> dict[str, tuple[str, ...]]:
    found = drift.look(lake.contract, lake.clients.paimon, lake.clients.nessie, branch=branch, **how)
    return {table.table: table.problems for table in found.tables if table.problems}


def test_drift_names_what_is_old_foreign_or_gone(lake: Lake, publisher: Publisher, branch: str) -> None:
    lake.write("a", 1, lake_rows=30)
    lake.write("b", 1, lake_rows=30)
    assert publisher.publish_once(lake.contract) is not None
    assert drift_of(lake, branch) == {}
    # Too old: with no slack at all it is so at once, and while publication is held back it may be.
    lake.write("a", 2, lake_rows=30)
    time.sleep(0.1)
    assert drift_of(lake, branch) == {}
    (said,) = drift_of(lake, branch, slack=0.0)["a"]
    assert "readers do not see what has been in the lake" in said
    assert drift_of(lake, branch, slack=0.0, held=True) == {}
    assert publisher.publish_once(lake.contract) is not None
    # Moved by somebody else.
    key, head = (lake.name, "a"), lake.clients.nessie.get_reference(branch)
    held = lake.clients.nessie.get_tables([key], head)[key]
    older = replace(held, metadata_location=f"{lake.folder('a')}/v1.metadata.json", snapshot_id=1)
    lake.clients.nessie.commit([PutTable(key, older)], "by somebody", reference=head)
    assert drift_of(lake, branch) == {
        "a": ("somebody else moved it to snapshot 1; the newest publication says 2",)
    }
    assert publisher.publish_once(lake.contract) is not None
    assert drift_of(lake, branch) == {}
    # A file that a reader needs is gone.
    lake.flink.delete_prefix(f"{lake.folder('b')}/manifest-1.avro")
    assert "manifest-1.avro has expired" in drift_of(lake, branch)["b"][0]
    lake.flink.delete_prefix(f"{lake.folder('b')}/v1.metadata.json")
    lake.flink.delete_prefix(f"{lake.folder('b')}/version-hint.text")
    assert "v1.metadata.json does not exist" in drift_of(lake, branch)["b"][0]
