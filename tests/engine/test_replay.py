"""The replay against the real MySQL, in databases made for the test."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.engines.errors import EngineError, EngineUnavailable
from lakehouse_dagster.engines.mysql import MySqlClient
from lakehouse_dagster.runtime.secrets import load_secrets
from lakehouse_dagster.runtime.settings import Settings
from lakehouse_dagster.samples.flights.commands import replay
from lakehouse_dagster.samples.flights.data import FIRST_DAY, FlightData
from lakehouse_dagster.samples.flights.events import Kind, operations
from lakehouse_dagster.samples.flights.tables import REFERENCE, ReplayError, session

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

DAYS = 2
SEED = 7
NO_SUCH_TABLE = 1146


@pytest.fixture(scope="module")
def data() -> FlightData:
    return FlightData()


@pytest.fixture
def scratch(endpoints: Endpoints) -> Iterator[Callable[[], str]]:
    """Makes empty databases the application's user may write to, and drops them at the end."""
    root = load_secrets(Settings.load().secrets_file).mysql_root
    administrator = MySqlClient(endpoints.mysql.model_copy(update={"user": "root", "password": root}))
    user = endpoints.mysql.user
    made: list[str] = []

    def make() -> str:
        name = f"replay_test_{uuid4().hex[:12]}"
        administrator.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        made.append(name)
        administrator.execute(f"GRANT ALL PRIVILEGES ON {name}.* TO '{user}'@'%'")
        return name

    with administrator:
        yield make
        for name in made:
            administrator.execute(f"DROP DATABASE {name}")
            administrator.execute(f"REVOKE ALL PRIVILEGES ON {name}.* FROM '{user}'@'%'")


@pytest.fixture
def mysql(endpoints: Endpoints) -> Iterator[MySqlClient]:
    with MySqlClient(endpoints.mysql) as client:
        yield client


def rows(mysql: MySqlClient, database: str, table: str) -> list[dict[str, Any]]:
    """All rows in key order, without the column that holds the server's clock."""
    found = mysql.query(f"SELECT * FROM {database}.{table} ORDER BY 1, 2")
    return [{name: value for name, value in row.items() if name != "updated_at"} for row in found]


def start(database: str, *options: str) -> subprocess.Popen[str]:
    """Run the command as a user would."""
    program = str(Path(sys.executable).parent / "lakehouse")
    return subprocess.Popen(
        [program, "replay", "flights", "--database", database, "--seed", str(SEED), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def applied(mysql: MySqlClient, database: str, streams: str) -> int:
    try:
        found = mysql.query(
            f"SELECT SUM(applied) AS n FROM {database}.replay_progress WHERE stream LIKE %s", (streams,)
        )
    except EngineError as error:
        if error.status != NO_SUCH_TABLE:
            raise
        return 0
    return int(found[0]["n"] or 0)


def kill_when(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    """SIGKILL the process in the middle of its work."""
    deadline = time.monotonic() + 120
    while not reached():
        assert process.poll() is None, f"ended by itself: {process.stdout and process.stdout.read()}"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    assert process.wait(10) == -9


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def test_killed_twice_and_resumed_it_ends_like_a_straight_run(
    endpoints: Endpoints, scratch: Callable[[], str], mysql: MySqlClient, data: FlightData
) -> None:
    straight, killed = scratch(), scratch()
    summary = replay(endpoints, days=DAYS, seed=SEED, database=straight)
    assert summary is not None
    expected = [operations(data.flights(FIRST_DAY + timedelta(days=n)), SEED) for n in range(DAYS)]
    assert summary.total == sum(map(len, expected))
    assert (summary.resumed, summary.unmatched) == (0, 0)
    assert summary.total / 20 < summary.transactions < summary.total / 5
    print(f"straight run: {summary.per_second:,.0f} changes/s in {summary.transactions} transactions")

    options = ["--days", str(DAYS), "--rate", "700"]
    kill_when(start(killed, *options), lambda: applied(mysql, killed, "flights:%") > 600)
    first = applied(mysql, killed, "flights:%")
    assert 600 < first < summary.total
    kill_when(start(killed, *options), lambda: applied(mysql, killed, "flights:%") > first + 900)
    second = applied(mysql, killed, "flights:%")
    assert first + 900 < second < summary.total
    output = finish(start(killed, "--days", str(DAYS)))
    assert f"{summary.total - second:,} changes (" in output
    assert f"{second:,} changes had been made before" in output

    flights = rows(mysql, killed, "flights")
    assert flights == rows(mysql, straight, "flights")
    assert flights == [
        {
            **flight._asdict(),
            "departs_at": flight.departed_at,
            "status": "departed" if flight.arrived_at is None else "landed",
        }
        for number in range(DAYS)
        for flight in data.flights(FIRST_DAY + timedelta(days=number))
        if not flight.cancelled
    ]
    for table in (*REFERENCE, "replay_progress"):
        assert rows(mysql, killed, table) == rows(mysql, straight, table)


def test_reference_tables_hold_every_value_exactly_also_after_a_kill(
    endpoints: Endpoints, scratch: Callable[[], str], mysql: MySqlClient, data: FlightData
) -> None:
    database = scratch()
    kill_when(start(database, "--reference-only"), lambda: applied(mysql, database, "table:%") > 3000)
    assert applied(mysql, database, "table:%") < 16 + 1458 + 3322 + 26115
    replay(endpoints, reference_only=True, database=database)
    for table, typed in {
        "airlines": data.airlines(),
        "airports": data.airports(),
        "planes": data.planes(),
        "weather": data.weather(),
    }.items():
        stored = {tuple(row.values()) for row in mysql.query(f"SELECT * FROM {database}.{table}")}
        assert stored == {tuple(row) for row in typed}, table


def test_what_the_user_changes_stays_and_a_finished_day_is_left_alone(
    endpoints: Endpoints, scratch: Callable[[], str], mysql: MySqlClient
) -> None:
    database = scratch()
    replay(endpoints, seed=SEED, database=database)
    mysql.execute(f"UPDATE {database}.airlines SET name = 'Mine' WHERE carrier = 'UA'")
    mysql.execute(f"DELETE FROM {database}.planes LIMIT 10")
    before = {table: rows(mysql, database, table) for table in ("flights", "planes", "airlines")}
    gtids = mysql.executed_gtids()
    again = replay(endpoints, seed=SEED + 1, database=database)  # finished: its seed does not matter any more
    assert again is not None
    assert (again.total, again.transactions) == (0, 0)
    assert {table: rows(mysql, database, table) for table in before} == before
    # Nothing is written to the binary log either, not even statements that do nothing.
    assert mysql.executed_gtids() == gtids


def test_days_may_be_added_in_any_order(
    endpoints: Endpoints, scratch: Callable[[], str], mysql: MySqlClient, data: FlightData
) -> None:
    database = scratch()
    third = date(2013, 1, 3)
    replay(endpoints, day=third, seed=SEED, database=database)
    summary = replay(endpoints, day=FIRST_DAY, days=3, seed=SEED, database=database)
    assert summary is not None
    assert summary.changes[Kind.SCHEDULE] == 842 + 943
    left = sum(not f.cancelled for n in range(3) for f in data.flights(FIRST_DAY + timedelta(days=n)))
    assert len(rows(mysql, database, "flights")) == left == 2677


def test_reset_deletes_row_by_row_and_starts_over(
    endpoints: Endpoints, scratch: Callable[[], str], mysql: MySqlClient
) -> None:
    database = scratch()
    first = replay(endpoints, seed=SEED, database=database)
    output = finish(start(database, "--reset", "--yes", "--reference-only"))
    assert f"deleted {838 + 16 + 1458 + 3322 + 26115:,} rows" in output
    assert rows(mysql, database, "flights") == []
    assert len(rows(mysql, database, "weather")) == 26115
    second = replay(endpoints, seed=SEED, database=database)
    assert first is not None
    assert second is not None
    assert second.changes == first.changes


def test_refusals_say_what_to_do(
    endpoints: Endpoints, scratch: Callable[[], str], mysql: MySqlClient
) -> None:
    database = scratch()
    process = start(database, "--rate", "200")
    kill_when(process, lambda: applied(mysql, database, "flights:%") > 100)
    with pytest.raises(ReplayError, match=rf"2013-01-01 was begun with --seed {SEED}.*--reset"):
        replay(endpoints, seed=SEED + 1, database=database)
    mysql.execute(f"DELETE FROM {database}.replay_progress WHERE stream LIKE 'flights:%%'", ())
    with pytest.raises(ReplayError, match=r"holds flights that this replay did not insert.*--reset"):
        replay(endpoints, seed=SEED, database=database)
    with (
        session(MySqlClient(endpoints.mysql), database),
        pytest.raises(ReplayError, match=f"another replay is at work in database '{database}'"),
    ):
        replay(endpoints, seed=SEED, database=database)
    with pytest.raises(ReplayError, match=r"no database .replay_test_nowhere.*--database"):
        replay(endpoints, database="replay_test_nowhere")
    nobody = endpoints.model_copy(update={"mysql": endpoints.mysql.model_copy(update={"port": 1})})
    with pytest.raises(EngineUnavailable, match=r"127\.0\.0\.1:1\b.*lakehouse up mysql"):
        replay(nobody, database=database)


def test_a_change_to_a_flight_that_somebody_deleted_is_counted_not_fatal(
    endpoints: Endpoints, scratch: Callable[[], str], mysql: MySqlClient
) -> None:
    database = scratch()
    kill_when(start(database, "--rate", "300"), lambda: applied(mysql, database, "flights:%") > 100)
    mysql.execute(f"DELETE FROM {database}.flights WHERE status = 'scheduled' LIMIT 5")
    summary = replay(endpoints, seed=SEED, database=database)
    assert summary is not None
    assert 5 <= summary.unmatched <= 15


def test_speed_follows_the_simulated_clock(
    endpoints: Endpoints, scratch: Callable[[], str], data: FlightData
) -> None:
    database = scratch()
    replay(endpoints, reference_only=True, database=database)
    changes = operations(data.flights(FIRST_DAY), SEED)
    simulated = (changes[-1].at - changes[0].at).total_seconds()
    summary = replay(endpoints, seed=SEED, speed=simulated / 10, database=database)
    assert summary is not None
    assert 9.5 < summary.seconds < 15
    # The clock, and not only the drawn size, ends a transaction: no change waits for one that is not due.
    assert summary.transactions >= 30
