"""The whole flow: MySQL to every place, run by Dagster, compared row for row."""

from __future__ import annotations

import itertools
import json
import subprocess
import time
from collections.abc import Callable

import psutil
import pytest

from lakehouse_dagster.engines.mysql import quote
from tests.conftest import lakehouse
from tests.e2e.conftest import Flow, Verify

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

LAKE_TABLES = ("airlines", "airports", "flights", "planes", "weather")
PROBE = "freshness_probe"
PLACES = {(table, place) for table in (*LAKE_TABLES, PROBE) for place in ("paimon", "trino")} | {
    (table, place) for table in ("flights", PROBE) for place in ("cassandra", "couchdb")
}


def until(question: Callable[[], bool], what: str, timeout: float = 120.0) -> None:
    deadline = time.monotonic() + timeout
    while not question():
        assert time.monotonic() < deadline, f"{what}: not within {timeout:.0f} s"
        time.sleep(1)


def assert_equal_everywhere(verify: Verify) -> None:
    code, results = verify()
    assert set(results) == PLACES
    counts = ("missing", "extra", "different")
    differing = {key: entry for key, entry in results.items() if any(entry[name] for name in counts)}
    assert code == 0, differing
    assert not differing
    assert all(entry["rows"] == entry["source_rows"] > 0 for entry in results.values())


def jobs_running(flow: Flow) -> dict[str, str]:
    return {job.name: job.id for job in flow.clients.flink.jobs() if job.state == "RUNNING"}


def test_every_row_and_column_arrives_in_every_place(flow: Flow, verify: Verify) -> None:
    """Inserts, updates, deletes and moved view keys of three real days, compared whole."""
    operations = flow.clients.mysql.query("SELECT status, count(*) AS n FROM flights GROUP BY status")
    assert {row["status"] for row in operations} >= {"landed"}
    assert_equal_everywhere(verify)


def test_view_keys_did_move(flow: Flow) -> None:
    """The data really exercises moved keys: delayed flights sit at their actual departure, once."""
    moved = flow.clients.mysql.query(
        "SELECT count(*) AS n FROM flights WHERE departs_at <> scheduled_departure"
    )[0]["n"]
    assert moved > 100
    source = flow.clients.mysql.query("SELECT count(*) AS n FROM flights")[0]["n"]
    found = flow.clients.cassandra.execute("SELECT count(*) FROM flights.departures_by_airport")[0][0]
    assert found == source


def test_mart_is_built_through_dagster_and_agrees_with_the_source(flow: Flow) -> None:
    run = flow.dagster.materialize([("flights", "marts", "delay_by_carrier_hour")])
    flow.dagster.require_success(run, timeout=300)
    event = flow.dagster.latest_materialization(("flights", "marts", "delay_by_carrier_hour"))
    assert event is not None
    mart = flow.clients.trino.execute(
        "SELECT carrier, sum(flights), sum(departed) FROM delay_by_carrier_hour GROUP BY carrier",
        schema="flights_marts",
    )
    expected = flow.clients.mysql.query(
        "SELECT carrier, count(*) AS flights, count(departed_at) AS departed FROM flights GROUP BY carrier"
    )
    assert {tuple(row) for row in mart.rows} == {
        (row["carrier"], row["flights"], row["departed"]) for row in expected
    }
    count = flow.clients.trino.scalar("SELECT count(*) FROM delay_by_carrier_hour", schema="flights_marts")
    assert event.metadata["dagster/row_count"] == count > 0


def test_every_asset_has_news_in_dagster(flow: Flow) -> None:
    """After the replay each topic, lake table and view shows a materialization with live metadata."""
    wanted = [("flights", "topics", table) for table in LAKE_TABLES]
    wanted += [("flights", "lake", table) for table in LAKE_TABLES]
    wanted += [("flights", "views", "departures_by_airport"), ("flights", "views", "flight_documents")]
    wanted += [("flights", "publication")]
    missing = list(wanted)

    def all_there() -> bool:
        missing[:] = [key for key in missing if flow.dagster.latest_materialization(key) is None]
        return not missing

    until(all_there, f"materializations of {missing}")
    flights = flow.dagster.latest_materialization(("flights", "lake", "flights"))
    assert flights is not None
    rows = flow.clients.mysql.query("SELECT count(*) AS n FROM flights")[0]["n"]
    until(
        lambda: (
            flow.dagster.latest_materialization(("flights", "lake", "flights")).metadata["dagster/row_count"]
            == rows
        ),
        f"the lake table's row count to become {rows}",
    )


def test_snapshots_are_each_covered_once(flow: Flow) -> None:
    """Materializations of a lake table cover consecutive, disjoint ranges of Paimon snapshots."""
    events = flow.dagster.materializations(("flights", "lake", "flights"), limit=200)
    ranges = sorted((event.metadata["first_snapshot"], event.metadata["last_snapshot"]) for event in events)
    assert ranges[0][0] == 1
    for (_, last), (first, _) in itertools.pairwise(ranges):
        assert first == last + 1


def test_streams_outlive_dagster(flow: Flow, verify: Verify) -> None:
    """Dagster killed: jobs run on, changes arrive; Dagster comes back by itself and starts nothing twice."""
    before = jobs_running(flow)
    assert set(before) == {"flights-lake", "flights-serving"}
    status = json.loads(lakehouse("status", "--json", check=False).stdout)
    for row in status["services"]:
        if row["service"].startswith("dagster"):
            psutil.Process(row["pid"]).kill()
    flow.clients.mysql.execute("UPDATE flights SET tailnum = 'KILLED' ORDER BY id LIMIT 5")
    assert_equal_everywhere(verify)
    until(lambda: lakehouse("status", check=False).returncode == 0, "everything ready again", 180)
    time.sleep(25)  # two ticks of the stream sensor
    assert jobs_running(flow) == before


def test_a_cancelled_job_is_started_again_by_the_sensor(flow: Flow, verify: Verify) -> None:
    before = jobs_running(flow)["flights-lake"]
    flow.clients.flink.cancel(before)
    flow.clients.mysql.execute("UPDATE flights SET tailnum = 'AGAIN' ORDER BY id DESC LIMIT 5")
    until(lambda: jobs_running(flow).get("flights-lake", before) != before, "a new lake job", 240)
    assert_equal_everywhere(verify)


def test_stopping_and_starting_everything_loses_nothing(flow: Flow, verify: Verify) -> None:
    lakehouse("down", timeout=300)
    lakehouse("up", timeout=900)
    flow.clients.mysql.close()
    flow.clients.mysql.execute(f"DELETE FROM {quote('flights')} ORDER BY id LIMIT 3")
    until(lambda: set(jobs_running(flow)) == {"flights-lake", "flights-serving"}, "both jobs", 240)
    assert_equal_everywhere(verify)


def test_no_secret_is_in_a_log_or_a_command_line(flow: Flow) -> None:
    secrets = [
        value
        for engine in flow.endpoints.revealed().values()
        for key, value in engine.items()
        if key in ("password", "secret_key")
    ]
    assert len(secrets) >= 5
    command_lines = "\n".join(
        " ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])
    )
    for secret in secrets:
        assert secret not in command_lines
        found = subprocess.run(
            ["grep", "-rlF", "-f", "-", str(flow.data / "logs")], input=secret, text=True, capture_output=True
        )
        assert found.stdout == "", "a secret is in a log"
