from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import dagster as dg

from lakehouse_dagster.components.resources import LakehouseResource
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.mysql import SourcePosition
from lakehouse_dagster.layers.proofs import (
    CHECK_AGAIN_SECONDS,
    FRESH_SECONDS,
    ages,
    build_proof_defs,
    check_results,
    metadata,
    news,
)
from lakehouse_dagster.proof.proofs import Proof
from lakehouse_dagster.proof.prove import Outcome, ProofReport
from lakehouse_dagster.proof.ranges import RANGES, RangeSums
from lakehouse_dagster.proof.subject import Subject, subjects

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SUMS = RangeSums((0,) * RANGES, (0,) * RANGES)


def proof_of(subject: Subject) -> Proof:
    return Proof(
        pipeline="flights",
        table=subject.table,
        place=subject.place,
        view=subject.view,
        file="binlog.000002",
        pos=400,
        gtids="u:1-9",
        as_of=NOW - timedelta(minutes=10),
        source_rows=100,
        rows=100,
        rounds=2,
    )


def report(*proofs: tuple[Subject, Proof], problems: dict[str, str] | None = None) -> ProofReport:
    outcomes = tuple(Outcome(subject, proof, (), SUMS, SUMS) for subject, proof in proofs)
    return ProofReport(
        "flights", SourcePosition("u:1-9", "binlog.000002", 400), NOW, outcomes, problems or {}
    )


def of_table(contract: Contract, table: str) -> list[tuple[Subject, Proof]]:
    return [(subject, proof_of(subject)) for subject in subjects(contract) if subject.table == table]


def test_a_table_that_was_left_out_is_not_complete(contract: Contract) -> None:
    complete, _ = check_results(contract, "flights", report(problems={"flights": "it is stopped: why"}))
    assert not complete.passed
    assert "not compared (it is stopped: why)" in (complete.description or "")


def test_all_places_equal_pass_both_checks(contract: Contract) -> None:
    complete, settled = check_results(contract, "flights", report(*of_table(contract, "flights")))
    assert (complete.passed, settled.passed) == (True, True)
    assert "400 rows in 4 place(s)" in (complete.description or "")
    assert complete.asset_key == dg.AssetKey(["flights", "proof", "flights"])


def test_wrong_and_unsettled_rows_are_told_by_place(contract: Contract) -> None:
    found = of_table(contract, "flights")
    wrong = replace(found[2][1], missing=1, different=2, unsettled=7, examples=({"kind": "missing"},))
    found[2] = (found[2][0], wrong)
    complete, settled = check_results(contract, "flights", report(*found))
    assert not complete.passed
    assert complete.severity is dg.AssetCheckSeverity.ERROR
    assert complete.description == "cassandra departures_by_airport: 1 missing, 2 different"
    assert "cassandra/departures_by_airport" in str(complete.metadata["wrong_rows"])
    assert not settled.passed
    assert settled.severity is dg.AssetCheckSeverity.WARN
    assert settled.description == "cassandra departures_by_airport: 7 rows"


def test_a_place_that_was_not_compared_is_not_complete(contract: Contract) -> None:
    found = of_table(contract, "flights")[:-1]
    complete, _ = check_results(contract, "flights", report(*found, problems={"couchdb": "away"}))
    assert not complete.passed
    assert complete.description == "couchdb flight_documents: not compared"


def test_metadata_tells_the_position_and_every_place(contract: Contract) -> None:
    shown = metadata([proof for _, proof in of_table(contract, "flights")])
    assert shown["complete_up_to"] == "binlog.000002:400"
    assert (shown["rows_compared"], shown["differences"], shown["unsettled"]) == (400, 0, 0)
    assert shown["places"].value.count("\n") == 5


def test_the_oldest_place_decides_about_freshness(contract: Contract) -> None:
    every = [proof_of(subject) for subject in subjects(contract)]
    assert all(age.passed for age in ages(contract, every, NOW))
    stale = [
        replace(p, as_of=NOW - timedelta(seconds=FRESH_SECONDS + 60)) if p.place == "trino" else p
        for p in every
        if p.table == "planes" or p.place == "paimon"
    ]
    by_table = {age.table: age for age in ages(contract, stale, NOW)}
    assert not by_table["planes"].passed
    assert by_table["planes"].severe
    assert "the proof of trino planes is 2.0 h old" in by_table["planes"].said
    assert not by_table["flights"].passed
    assert not by_table["flights"].severe, "never proven yet is no alarm"
    assert "trino flights" in by_table["flights"].said


def test_a_judgement_is_told_when_it_is_new_and_now_and_then(contract: Contract) -> None:
    found = ages(contract, [proof_of(subject) for subject in subjects(contract)], NOW)
    due, cursor = news(found, None, 1000.0)
    assert due == found
    assert news(found, cursor, 1010.0) == ([], cursor)
    due, later = news(found, cursor, 1000.0 + CHECK_AGAIN_SECONDS)
    assert due == found
    failed = [replace(found[0], passed=False), *found[1:]]
    due, _ = news(failed, later, 1000.0 + CHECK_AGAIN_SECONDS + 1)
    assert due == failed[:1]
    assert news(found, "rubbish", 0.0)[0] == found
    assert json.loads(cursor)


def test_the_definitions_of_the_layer(contract: Contract) -> None:
    engines = dg.Definitions(resources={"lakehouse": LakehouseResource()})
    definitions = dg.Definitions.merge(build_proof_defs(contract), engines)
    graph = definitions.resolve_asset_graph()
    assert {key.path[-1] for key in graph.get_all_asset_keys() if graph.get(key).is_executable} == {
        table.name for table in contract.tables
    }
    assert len(graph.asset_check_keys) == 3 * len(contract.tables)
    schedule = definitions.get_repository_def().get_schedule_def("flights_prove_schedule")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    assert schedule.job_name == "flights_prove"
