"""What is remembered of the streams, on the real PostgreSQL; every test has a database of its own."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from lakehouse_dagster.engines.endpoints import PostgresEndpoint
from lakehouse_dagster.engines.errors import EngineError, EngineUnavailable
from lakehouse_dagster.engines.postgres import PostgresClient
from lakehouse_dagster.governance.hold import HoldStore
from lakehouse_dagster.streams import store as module
from lakehouse_dagster.streams.decision import Desired
from lakehouse_dagster.streams.landed import Landed, LandedStore
from lakehouse_dagster.streams.lock import lock_name, starter_lock
from lakehouse_dagster.streams.memory import (
    ATTEMPTS,
    FRESH_STARTS,
    Declared,
    Event,
    EventKind,
    Mark,
    Memory,
    Starts,
)
from lakehouse_dagster.streams.store import KEPT, StreamStore, forget

pytestmark = pytest.mark.engine

STREAMS = ("connector", "lake", "serving")
DECISION = Event("p", "lake", EventKind.DECISION)
START = Event("p", "lake", EventKind.START, spec_hash="a")

# A process of its own that works in the test's database: `postgres`, `store`, `holds`, and `go` to wait.
PROCESS = """
import sys, time
from lakehouse_dagster.engines.postgres import PostgresClient
from lakehouse_dagster.governance.hold import HoldStore
from lakehouse_dagster.runtime.endpoints import load_endpoints
from lakehouse_dagster.streams.lock import starter_lock
from lakehouse_dagster.streams.memory import Event, EventKind
from lakehouse_dagster.streams.store import StreamStore
endpoint = load_endpoints().postgres.model_copy(update={"database": sys.argv[1]})
postgres = PostgresClient(endpoint)
store, holds = StreamStore(postgres), HoldStore(postgres)
def go():
    print("ready", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def postgres(endpoint: PostgresEndpoint) -> Iterator[PostgresClient]:
    with PostgresClient(endpoint) as found:
        yield found


@pytest.fixture
def store(postgres: PostgresClient) -> StreamStore:
    return StreamStore(postgres)


@contextmanager
def process(endpoint: PostgresEndpoint, code: str) -> Iterator[subprocess.Popen[str]]:
    """Run ``code`` in a process of its own; at the end of the block it is gone."""
    found = subprocess.Popen(
        [sys.executable, "-c", PROCESS + code, endpoint.database],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield found
    finally:
        found.kill()
        found.communicate()


def ready(worker: subprocess.Popen[str]) -> None:
    assert worker.stdout is not None
    assert worker.stdout.readline().strip() == "ready"


def go(worker: subprocess.Popen[str]) -> None:
    assert worker.stdin is not None
    worker.stdin.write("\n")
    worker.stdin.flush()


def eventually(condition: Callable[[], bool], seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_several_processes_make_the_tables_once(endpoint: PostgresEndpoint, postgres: PostgresClient) -> None:
    code = "go(); store.record(Event('p', 'lake', EventKind.CALM)); holds.held('p')"
    with (
        process(endpoint, code) as one,
        process(endpoint, code) as two,
        process(endpoint, code) as three,
        process(endpoint, code) as four,
    ):
        workers = (one, two, three, four)
        for worker in workers:
            ready(worker)
        for worker in workers:
            go(worker)
        assert [worker.wait(30) for worker in workers] == [0, 0, 0, 0]
    versions = postgres.query("SELECT component, version FROM lakehouse.schema_version ORDER BY component")
    assert [(row["component"], row["version"]) for row in versions] == [
        ("publication holds", 1),
        ("publication pins", 1),
        ("streams", 1),
    ]
    assert len(StreamStore(postgres).history("p")) == 4


def test_tables_of_a_newer_release_are_left_alone(store: StreamStore, postgres: PostgresClient) -> None:
    store.record(START)
    postgres.execute("UPDATE lakehouse.schema_version SET version = 99")
    with (
        PostgresClient(postgres.endpoint) as other,
        pytest.raises(EngineError, match="version 99, made by a newer release"),
    ):
        StreamStore(other).history()


def test_a_further_step_is_run_once_and_a_failing_one_leaves_nothing(postgres: PostgresClient) -> None:
    first = "CREATE TABLE lakehouse.t (a int)"
    postgres.migrate("t", (first,))
    with PostgresClient(postgres.endpoint) as other:
        with pytest.raises(EngineError, match="syntax error"):
            other.migrate("t", (first, "CREATE TABLE lakehouse.u (a int)", "nonsense"))
        assert other.query("SELECT to_regclass('lakehouse.u') AS u") == [{"u": None}]
        other.migrate("t", (first, "ALTER TABLE lakehouse.t ADD b int"))
        other.migrate("t", (first, "ALTER TABLE lakehouse.t ADD b int"))
        assert other.query("SELECT * FROM lakehouse.t") == []


def test_an_event_comes_back_as_it_was_recorded(store: StreamStore) -> None:
    event = Event(
        "p",
        "lake",
        EventKind.START,
        state="failed",
        verb="start",
        rule="absent or failed",
        reason="100% „ö“\n'; DROP TABLE",
        checkpoint="s3://lake/flink/checkpoints/x",
        job_id="j",
        spec_hash="a",
        seconds_down=1.25,
        actor="run 1",
        ok=False,
    )
    before = datetime.now(UTC)
    number = store.record(event)
    (found,) = store.history()
    assert found.at is not None
    assert found.at.utcoffset() == timedelta(0)
    assert abs((found.at - before).total_seconds()) < 5
    assert found == replace(event, id=number, at=found.at)
    # A trace of an engine may hold what PostgreSQL cannot.
    store.record(replace(event, reason="a\0b"))
    assert store.history(limit=1)[0].reason == "ab"


def test_the_history_can_be_read_on_from_where_one_was(store: StreamStore) -> None:
    ids = [
        store.record(Event(pipeline, stream, EventKind.CALM))
        for pipeline, stream in (("p", "lake"), ("p", "serving"), ("q", "lake"), ("p", "lake"))
    ]

    def numbers(*names: str, after: int = 0, limit: int = 50, newest_first: bool = True) -> list[int]:
        found = store.history(*names, after=after, limit=limit, newest_first=newest_first)
        return [event.id for event in found]

    assert numbers() == ids[::-1]
    assert numbers("p") == [ids[3], ids[1], ids[0]]
    assert numbers("p", "lake", limit=1) == [ids[3]]
    assert numbers(after=ids[0], limit=2, newest_first=False) == [ids[1], ids[2]]
    assert numbers("q", after=ids[2]) == []


def test_no_event_appears_below_one_that_was_already_read(
    endpoint: PostgresEndpoint, store: StreamStore
) -> None:
    """Two processes record while a third reads on from the greatest id it has seen: it misses none."""
    code = """
store.history()
go()
for number in range(400):
    store.record(Event('p', 'lake', EventKind.CALM, reason=str(number)))
"""
    seen: list[int] = []

    def read_on() -> None:
        after = seen[-1] if seen else 0
        seen.extend(event.id for event in store.history("p", after=after, limit=1000, newest_first=False))

    store.history()
    with process(endpoint, code) as one, process(endpoint, code) as two:
        ready(one)
        ready(two)
        go(one)
        go(two)
        while one.poll() is None or two.poll() is None:
            read_on()
        assert (one.returncode, two.returncode) == (0, 0)
    read_on()
    assert len(seen) == 800
    assert seen == sorted(event.id for event in store.history("p", limit=1000))


def remembered(events: list[Event], stream: str, now: datetime) -> Memory:
    """What ``memory`` must say, in the plain words of its documentation. ``events`` are oldest first."""
    mine = [event for event in events if event.stream == stream]
    decisions = [event for event in mine if event.kind == EventKind.DECISION]
    down: list[Event] = []
    for event in decisions:
        down = [] if event.mark in (Mark.RUNNING, Mark.PAUSED) else [*down, event]
    attempts: dict[str, list[Event]] = {}
    for event in mine:
        if event.kind in FRESH_STARTS:
            attempts = {}
        elif event.kind in ATTEMPTS:
            attempts.setdefault(event.spec_hash or "", []).append(event)
    starts = {}
    for spec, found in attempts.items():
        newest = found[-1].at
        assert newest is not None
        starts[spec] = Starts(len(found), (now - newest).total_seconds())
    return Memory(
        last=decisions[-1] if decisions else None,
        down_since=down[0].at if down else None,
        starts=starts,
        seen_before=any(event.mark in (Mark.RUNNING, Mark.STARTED) for event in mine),
    )


@pytest.mark.parametrize("seed", range(3))
def test_the_memory_of_three_streams_follows_from_their_history(store: StreamStore, seed: int) -> None:
    chance = random.Random(seed)
    for step in range(150):
        store.record(
            Event(
                chance.choice(["p", "p", "p", "another"]),
                chance.choice(STREAMS),
                chance.choice([EventKind.DECISION] * 4 + [EventKind.START] * 4 + list(EventKind)),
                state=chance.choice(["running", "absent"]),
                rule=chance.choice(["running", "paused", "outdated", "absent or failed", "unreachable"]),
                spec_hash=chance.choice(["a", "b", None]),
                ok=chance.random() < 0.5,
            )
        )
        if step % 10:
            continue
        events = store.history("p", limit=1000, newest_first=False)
        now = datetime.now(UTC) + timedelta(seconds=5)
        assert store.memory("p", STREAMS, now=now) == {
            stream: remembered(events, stream, now) for stream in STREAMS
        }


def test_what_an_operator_declares_is_remembered_and_counts_starts_anew(store: StreamStore) -> None:
    assert store.memory("p", STREAMS)["lake"] == Memory()
    store.record(START)
    store.record(replace(START, spec_hash="b", ok=False))
    assert {spec: starts.recent for spec, starts in store.memory("p", ["lake"])["lake"].starts.items()} == {
        "a": 1,
        "b": 1,
    }
    store.declare("p", "lake", Desired.PAUSED, by="ann", reason="maintenance")
    found = store.memory("p", STREAMS)
    assert found["lake"].declared == Declared(Desired.PAUSED, "ann", "maintenance", found["lake"].declared.at)
    assert found["lake"].declared.at is not None
    assert found["lake"].starts == {}
    assert found["serving"].declared == Declared()
    store.declare("p", "lake", Desired.RUNNING, by="bob")
    assert store.memory("p", ["lake"])["lake"].declared.desired is Desired.RUNNING
    assert [(event.verb, event.actor) for event in store.history(stream="lake", limit=2)] == [
        ("running", "bob"),
        ("paused", "ann"),
    ]


def test_the_age_of_a_start_is_by_the_databases_clock(store: StreamStore) -> None:
    store.record(START)
    time.sleep(0.3)
    age = store.memory("p", ["lake"])["lake"].starts_of("a").seconds_since_last
    assert age is not None
    assert 0.3 <= age < 5


def test_a_bad_checkpoint_and_a_floor_are_remembered(store: StreamStore) -> None:
    floor = datetime(2026, 3, 1, 12, tzinfo=UTC)
    store.mark_bad("p", "lake", "s3://x/chk-1", "cannot be read")
    store.mark_bad("p", "lake", "s3://x/chk-1", "said again")
    store.mark_bad("p", "lake", "s3://x/chk-2", "neither\0")
    store.mark_bad("p", "serving", "s3://x/chk-3", "another stream's")
    store.set_state_floor("p", "lake", floor)
    store.set_state_floor("p", "lake", floor - timedelta(days=1))
    found = store.memory("p", STREAMS)["lake"]
    assert found.bad_checkpoints == {"s3://x/chk-1", "s3://x/chk-2"}
    assert found.state_floor == floor
    assert found.declared == Declared()
    # Said again is no news.
    assert [event.reason for event in store.history("p", "lake")] == ["neither", "cannot be read"]
    with pytest.raises(ValueError, match="no zone"):
        store.set_state_floor("p", "lake", datetime(2026, 3, 1))


def test_a_gap_is_opened_once_and_closed_table_by_table(store: StreamStore) -> None:
    gap = store.open_gap("p", "lake", ["b", "a"], "offsets 0 to 9 are gone")
    assert gap.tables == ("a", "b")
    assert store.open_gap("p", "lake", ["a"], "offsets 0 to 9 are gone") == gap
    wider = store.open_gap("p", "lake", ["c"], "offsets 0 to 9 are gone")
    assert wider == replace(gap, tables=("a", "b", "c"))
    other = store.open_gap("p", "lake", ["a"], "something else")
    nameless = store.open_gap("p", "lake", [], "nobody knows which")
    store.open_gap("p", "serving", ["a"], "another stream's")
    assert store.memory("p", ["lake"])["lake"].gaps == (wider, other, nameless)

    assert store.close_gaps("p", "lake", by="ann", tables=["a"]) == 1
    assert store.memory("p", ["lake"])["lake"].gaps == (replace(wider, tables=("b", "c")), nameless)
    assert store.close_gaps("p", "lake", by="ann", tables=["a", "zz"]) == 0
    assert store.close_gaps("p", "lake", by="ann") == 2
    assert store.close_gaps("p", "lake", by="ann") == 0
    assert len(store.memory("p", ["serving"])["serving"].gaps) == 1
    kinds = [event.kind for event in store.history("p", "lake", newest_first=False)]
    assert kinds == [EventKind.GAP] * 4 + [EventKind.REPAIRED] * 4
    # Closed, the same loss is a new one.
    assert store.open_gap("p", "lake", ["a"], "something else").id > nameless.id


def test_two_who_see_the_same_gap_open_one(endpoint: PostgresEndpoint, store: StreamStore) -> None:
    code = "store.history(); go(); store.open_gap('p', 'lake', ['a'], 'the same')"
    with process(endpoint, code) as one, process(endpoint, code) as two:
        ready(one)
        ready(two)
        go(one)
        go(two)
        assert (one.wait(30), two.wait(30)) == (0, 0)
    assert len(store.memory("p", ["lake"])["lake"].gaps) == 1


def fill(postgres: PostgresClient, rows: int, *, age: str = "0") -> None:
    """Write a long history of ten pipelines as it would come about, one event a second."""
    postgres.execute(
        "INSERT INTO lakehouse.stream_event"
        " (at, pipeline, stream, kind, state, verb, rule, reason, spec_hash, actor, ok, mark)"
        " SELECT now() - %(age)s::interval - (%(rows)s - n) * interval '1 second', 'p' || n %% 10,"
        " (ARRAY['connector', 'lake', 'serving'])[n / 10 %% 3 + 1],"
        " (ARRAY['decision', 'start', 'decision', 'calm'])[n / 30 %% 4 + 1], '', '',"
        " (ARRAY['absent or failed', '', 'running', ''])[n / 30 %% 4 + 1], repeat('x', 100), 'a', '', true,"
        " (ARRAY[NULL, 'started', 'running', 'started'])[n / 30 %% 4 + 1]"
        " FROM generate_series(1, %(rows)s) AS n",
        {"rows": rows, "age": age},
    )


def test_a_long_history_makes_nothing_slow(store: StreamStore, postgres: PostgresClient) -> None:
    store.record(START)
    fill(postgres, 100_000)
    # The worst case: a stream that was never up, and whose every decision and attempt still counts.
    for number in range(40):
        store.record(replace(DECISION, pipeline="q", rule=("backing off", "circuit open")[number % 2]))
        store.record(replace(START, pipeline="q", ok=False))
    postgres.execute("ANALYZE lakehouse.stream_event")

    def best(call: Callable[[], object]) -> float:
        taken = []
        for _ in range(7):
            started = time.perf_counter()
            call()
            taken.append(time.perf_counter() - started)
        return min(taken)

    taken = {
        "memory": best(lambda: store.memory("p1", STREAMS)),
        "memory of a troubled stream": best(lambda: store.memory("q", STREAMS)),
        "memory of an unknown stream": best(lambda: store.memory("zz", STREAMS)),
        "history of a stream": best(lambda: store.history("p1", "lake")),
        "history of a pipeline": best(lambda: store.history("p1")),
        "history of a quiet pipeline": best(lambda: store.history("q", limit=10)),
        "history from the end": best(lambda: store.history(after=99_990, newest_first=False)),
        "record": best(lambda: store.record(replace(DECISION, pipeline="p1"))),
    }
    print({name: f"{seconds * 1000:.1f} ms" for name, seconds in taken.items()})
    assert not {name: seconds for name, seconds in taken.items() if seconds > 0.05}


def test_old_events_go_and_the_memory_stays(
    store: StreamStore, postgres: PostgresClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.declare("p1", "lake", Desired.PAUSED, by="ann")
    store.mark_bad("p1", "lake", "s3://x/chk-1", "bad")
    store.mark_bad("p1", "lake", "s3://x/chk-2", "bad")
    postgres.execute(
        "UPDATE lakehouse.bad_checkpoint SET at = now() - %s WHERE checkpoint ~ '1$'", (KEPT * 2,)
    )
    fill(postgres, 5_000, age="91 days")
    kept = store.record(replace(START, pipeline="p1"))
    store.open_gap("p1", "lake", ["a"], "gone")
    before = store.memory("p1", STREAMS)
    with postgres.transaction() as session:
        assert forget(session, KEPT) > 4_500
    after = store.memory("p1", STREAMS)
    for stream in STREAMS:
        assert after[stream].last == before[stream].last
        assert after[stream].down_since == before[stream].down_since
        assert after[stream].seen_before
        assert after[stream].declared == before[stream].declared
        assert after[stream].gaps == before[stream].gaps
    assert after["lake"].bad_checkpoints == {"s3://x/chk-2"}
    assert kept in [event.id for event in store.history("p1", "lake")]
    # It happens by itself while events are recorded.
    fill(postgres, 1_000, age="91 days")
    monkeypatch.setattr(module, "FORGET_EVERY", 10)
    for _ in range(10):
        store.record(START)
    assert len(store.history(limit=1000)) < 300


def test_a_stream_is_busy_while_another_connection_holds_its_lock(
    endpoint: PostgresEndpoint, store: StreamStore
) -> None:
    assert not store.busy("p", "lake")
    with starter_lock(endpoint, lock_name("p", "lake")) as mine:
        assert mine
        assert store.busy("p", "lake")
        assert not store.busy("p", "serving")
        assert not store.busy("q", "lake")
        with starter_lock(endpoint, lock_name("p", "lake")) as second:
            assert not second
    assert eventually(lambda: not store.busy("p", "lake"))


def test_an_actor_that_is_killed_is_busy_no_longer(endpoint: PostgresEndpoint, store: StreamStore) -> None:
    code = """
with starter_lock(endpoint, 'p/lake') as mine:
    go()
"""
    with process(endpoint, code) as actor:
        ready(actor)
        assert store.busy("p", "lake")
        actor.kill()
        actor.wait()
        assert eventually(lambda: not store.busy("p", "lake"))


def end_connections(endpoint: PostgresEndpoint) -> None:
    """End every connection to the test's database, as a restart of the server does."""
    with PostgresClient(endpoint) as other:
        other.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_a_lost_connection_is_opened_again(endpoint: PostgresEndpoint, store: StreamStore) -> None:
    store.record(START)
    for _ in range(3):
        end_connections(endpoint)
        time.sleep(0.1)
        store.record(START)
    end_connections(endpoint)
    time.sleep(0.1)
    assert store.memory("p", ["lake"])["lake"].starts_of("a").recent == 4


def test_a_database_made_anew_gets_its_tables(endpoint: PostgresEndpoint, store: StreamStore) -> None:
    """As after a reset of the instance under a process that lives on."""
    store.record(START)
    with PostgresClient(endpoint) as other:
        other.execute("DROP SCHEMA lakehouse CASCADE")
    end_connections(endpoint)
    time.sleep(0.1)
    store.record(START)
    assert len(store.history()) == 1


def test_a_statement_cut_short_is_an_error_once(endpoint: PostgresEndpoint, postgres: PostgresClient) -> None:
    threading.Timer(0.3, end_connections, [endpoint]).start()
    with pytest.raises(EngineUnavailable, match="no answer at"):
        postgres.query("SELECT pg_sleep(30)")
    assert postgres.query("SELECT 1 AS one") == [{"one": 1}]


def test_a_transaction_cut_short_took_no_effect(endpoint: PostgresEndpoint, postgres: PostgresClient) -> None:
    postgres.migrate("t", ("CREATE TABLE lakehouse.t (a int)",))

    def insert_twice() -> None:
        with postgres.transaction() as session:
            session.execute("INSERT INTO lakehouse.t VALUES (1)")
            end_connections(endpoint)
            session.execute("INSERT INTO lakehouse.t VALUES (2)")

    with pytest.raises(EngineUnavailable):
        insert_twice()
    assert postgres.query("SELECT * FROM lakehouse.t") == []


def test_an_error_inside_a_transaction_rolls_it_back(postgres: PostgresClient) -> None:
    postgres.migrate("t", ("CREATE TABLE lakehouse.t (a int)",))

    def insert_and_fail(wrong: Callable[[], object]) -> None:
        with postgres.transaction() as session:
            session.execute("INSERT INTO lakehouse.t VALUES (1)")
            wrong()

    with pytest.raises(ZeroDivisionError):
        insert_and_fail(lambda: 1 / 0)
    # Statements that would slip out of the transaction are refused.
    with pytest.raises(RuntimeError, match="go to its session"):
        insert_and_fail(lambda: postgres.query("SELECT 1"))
    assert postgres.query("SELECT * FROM lakehouse.t") == []


def test_errors_say_whether_the_server_is_away_or_says_no(
    endpoint: PostgresEndpoint, postgres: PostgresClient
) -> None:
    with pytest.raises(EngineError, match="SQLSTATE 42P01") as wrong:
        postgres.query("SELECT * FROM nowhere")
    assert not isinstance(wrong.value, EngineUnavailable)
    nobody = endpoint.model_copy(update={"port": 1})
    with pytest.raises(EngineUnavailable, match="lakehouse up postgres"):
        StreamStore(PostgresClient(nobody)).memory("p", STREAMS)
    for change in ({"password": SecretStr("wrong")}, {"database": "zz_nowhere"}):
        with pytest.raises(EngineError, match="FATAL") as refused:
            PostgresClient(endpoint.model_copy(update=change)).query("SELECT 1")
        assert not isinstance(refused.value, EngineUnavailable)
    with (
        PostgresClient(endpoint, timeout=0.3) as hasty,
        pytest.raises(EngineUnavailable, match=r"no result within 0\.3 s"),
    ):
        hasty.query("SELECT pg_sleep(5)")


def test_a_hold_lasts_until_the_job_has_caught_up(postgres: PostgresClient) -> None:
    holds = HoldStore(postgres)
    assert holds.held("p") is None
    assert not holds.advance("p", {"t:0": 10}, "j", 1)
    holds.hold("p", "lake", "the job went back", {"t:0": 10})
    first = holds.held("p")
    assert first is not None
    assert first.since.utcoffset() == timedelta(0)
    holds.hold("p", "lake", "and again", {"t:0": 7, "t:1": 5})
    holds.hold("q", "lake", "another pipeline's", {"t:0": 1})
    held = holds.held("p")
    assert held == replace(first, reason="and again", targets={"t:0": 10, "t:1": 5})
    committed = {"t:0": 10, "t:1": 5}
    assert not holds.advance("p", {"t:0": 10, "t:1": 4}, "j", 1)
    assert not holds.advance("p", committed, "j", 2)
    assert not holds.advance("p", committed, "j", 2)
    assert not holds.advance("p", committed, "k", 3)
    assert not holds.advance("p", {}, "k", 4)
    assert not holds.advance("p", committed, "k", 5)
    assert holds.held("p") is not None
    assert holds.advance("p", committed, "k", 6)
    assert holds.held("p") is None
    assert not holds.advance("p", committed, "k", 7)
    assert holds.held("q") is not None
    assert holds.release("q") is not None
    assert holds.release("q") is None
    assert holds.held("q") is None


def test_holds_set_at_once_are_merged(endpoint: PostgresEndpoint, postgres: PostgresClient) -> None:
    code = """
holds.held('p')
go()
for number in range(30):
    holds.hold('p', 'lake', 'again', {'t:0': number, 't:1': 30 - number, sys.argv[1]: 1})
"""
    with process(endpoint, code) as one, process(endpoint, code) as two:
        ready(one)
        ready(two)
        go(one)
        go(two)
        assert (one.wait(30), two.wait(30)) == (0, 0)
    held = HoldStore(postgres).held("p")
    assert held is not None
    assert held.targets == {"t:0": 29, "t:1": 30, endpoint.database: 1}


def test_what_has_landed(postgres: PostgresClient) -> None:
    store = LandedStore(postgres)
    assert store.load("p", "lake") == Landed()
    first = Landed().seen("j", 3, {"t:0": 2**40, "u:1": 5})
    store.save("p", "lake", first)
    assert store.load("p", "lake") == first
    second = first.seen("j", 5, {"t:0": 2**41})
    store.save("p", "lake", second)
    assert store.load("p", "lake") == second
    assert second.offsets == {"t:0": 2**40, "u:1": 5}
    store.forget("p", "serving")
    assert store.load("p", "lake") == second
    store.forget("p", "lake")
    assert store.load("p", "lake") == Landed()
