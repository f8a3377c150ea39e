"""Events in OpenLineage's own models: what the client reads back is what was meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import attr
import pytest
from openlineage.client import event_v2, facet_v2
from openlineage.client.naming import dataset as naming
from openlineage.client.serde import Serde

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.engines.nessie import IcebergTable
from lakehouse_dagster.governance.decision import TableVersion
from lakehouse_dagster.lineage import publications
from lakehouse_dagster.lineage.columns import Dataset, Layer
from lakehouse_dagster.lineage.emitter import Emitter
from lakehouse_dagster.lineage.marts import mart_run
from lakehouse_dagster.lineage.model import Engine
from lakehouse_dagster.lineage.naming import dataset_name, published_name
from lakehouse_dagster.lineage.publications import emit_publication
from lakehouse_dagster.lineage.streams import stream_runs
from lakehouse_dagster.streams.memory import Event, EventKind
from tests.unit.lineage.conftest import events

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FACETS: Mapping[str, Any] = {
    "processing_engine": facet_v2.processing_engine_run.ProcessingEngineRunFacet,
    "errorMessage": facet_v2.error_message_run.ErrorMessageRunFacet,
    "parent": facet_v2.parent_run.ParentRunFacet,
    "tags": facet_v2.tags_run.TagsRunFacet,
    "jobType": facet_v2.job_type_job.JobTypeJobFacet,
    "documentation": facet_v2.documentation_job.DocumentationJobFacet,
    "ownership": facet_v2.ownership_job.OwnershipJobFacet,
    "sql": facet_v2.sql_job.SQLJobFacet,
    "schema": facet_v2.schema_dataset.SchemaDatasetFacet,
    "columnLineage": facet_v2.column_lineage_dataset.ColumnLineageDatasetFacet,
    "version": facet_v2.dataset_version_dataset.DatasetVersionDatasetFacet,
    "symlinks": facet_v2.symlinks_dataset.SymlinksDatasetFacet,
    "storage": facet_v2.storage_dataset.StorageDatasetFacet,
    "catalog": facet_v2.catalog_dataset.CatalogDatasetFacet,
    "dataSource": facet_v2.datasource_dataset.DatasourceDatasetFacet,
    "outputStatistics": facet_v2.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet,
}


def checked(body: dict[str, Any]) -> event_v2.RunEvent:
    """The client's model of a line in the file: it must take every field, and write the very same again."""
    event = event_v2.RunEvent(
        eventType=event_v2.RunState(body["eventType"]),
        eventTime=body["eventTime"],
        producer=body["producer"],
        run=event_v2.Run(body["run"]["runId"], facets=facets(body["run"]["facets"])),
        job=event_v2.Job(**{**body["job"], "facets": facets(body["job"]["facets"])}),
        inputs=[event_v2.InputDataset(**dataset(one)) for one in body["inputs"]],
        outputs=[event_v2.OutputDataset(**dataset(one)) for one in body["outputs"]],
    )
    assert Serde.to_dict(event) == body
    return event


def dataset(body: dict[str, Any]) -> dict[str, Any]:
    return {name: facets(value) if name.endswith("acets") else value for name, value in body.items()}


def facets(bodies: dict[str, Any]) -> dict[str, Any]:
    made = {}
    for name, body in bodies.items():
        kind = FACETS[name]
        wanted = {field.name for field in attr.fields(kind)}
        given = {key: value for key, value in body.items() if not key.startswith("_")}
        assert set(given) <= wanted, f"{name} has {set(given) - wanted}, which its model has not"
        made[name] = kind(**given)
        assert made[name]._schemaURL == body["_schemaURL"]
        # The producer is the client's own setting, and not the event's.
        made[name]._producer = body["_producer"]
    return made


@dataclass
class Published:
    hash: str
    changed: Sequence[str]
    tables: Mapping[str, TableVersion]
    seconds: float = 0.5


def version(table: str, snapshot: int) -> TableVersion:
    content = IcebergTable(f"s3://lake/{table}/v{snapshot}.metadata.json", snapshot, 0)
    return TableVersion(table, ("flights", table), content, snapshot, 7, NOW.isoformat(), rows=3, bytes=99)


def publication(*changed: str) -> Published:
    tables = {
        name: version(name, 40 + at) for at, name in enumerate(["flights", "airlines", "freshness_probe"])
    }
    return Published("abc123", changed, tables)


def test_a_publication_leads_from_lake_tables_to_what_readers_see(
    emitter: Emitter, contract: Contract, endpoints: Endpoints
) -> None:
    emit_publication(contract, endpoints, publication("flights", "airlines"), to=emitter)  # type: ignore[arg-type]
    begun, done = events(emitter)
    assert emitter.failed == 0
    event = checked(done)
    assert checked(begun).run.runId == event.run.runId
    assert (begun["eventType"], done["eventType"]) == ("START", "COMPLETE")
    assert begun["eventTime"] < done["eventTime"]
    assert (event.job.namespace, event.job.name) == ("lakehouse", "flights.publication")
    assert [(one["namespace"], one["name"]) for one in done["inputs"]] == [
        ("s3://lake", "paimon/flights.db/flights"),
        ("s3://lake", "paimon/flights.db/airlines"),
    ]
    assert [one["facets"]["version"]["datasetVersion"] for one in done["inputs"]] == ["40", "41"]
    flights = done["outputs"][0]
    assert (flights["namespace"], flights["name"]) == ("trino://127.0.0.1:18080", "lake.flights.flights")
    assert flights["facets"]["version"]["datasetVersion"] == "abc123"
    assert flights["outputFacets"]["outputStatistics"] == flights["outputFacets"]["outputStatistics"] | {
        "rowCount": 3,
        "size": 99,
    }
    (came,) = flights["facets"]["columnLineage"]["fields"]["dep_delay"]["inputFields"]
    assert (came["namespace"], came["name"], came["field"]) == (
        "s3://lake",
        "paimon/flights.db/flights",
        "dep_delay",
    )
    assert came["transformations"][0]["subtype"] == "IDENTITY"
    names = [field["name"] for field in flights["facets"]["schema"]["fields"]]
    assert names == [*contract.schema("flights").column_names, "_position", "_gtid", "_committed_at", "_op"]
    assert flights["facets"]["catalog"]["metadataUri"] == "http://127.0.0.1:19120/iceberg"


def test_a_publication_told_twice_is_one_run(
    emitter: Emitter, contract: Contract, endpoints: Endpoints
) -> None:
    for _ in range(2):
        emit_publication(contract, endpoints, publication("airlines"), to=emitter)  # type: ignore[arg-type]
    assert len({event["run"]["runId"] for event in events(emitter)}) == 1


def test_beats_of_our_own_probe_are_told_once_a_minute(
    emitter: Emitter, contract: Contract, endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(publications, "_probe_told", {})
    monkeypatch.setattr(publications.time, "monotonic", lambda: clock[0])
    for clock[0] in (100.0, 105.0, 159.0, 161.0):
        emit_publication(contract, endpoints, publication("freshness_probe"), to=emitter)  # type: ignore[arg-type]
    assert len(events(emitter)) == 2 * 2
    emit_publication(contract, endpoints, publication("freshness_probe", "flights"), to=emitter)  # type: ignore[arg-type]
    assert len(events(emitter)) == 3 * 2


def test_the_quarantine_is_published_without_an_input(
    emitter: Emitter, contract: Contract, endpoints: Endpoints
) -> None:
    told = publication("_quarantine")
    told.tables = {**told.tables, "_quarantine": version("_quarantine", 1)}
    emit_publication(contract, endpoints, told, to=emitter)  # type: ignore[arg-type]
    done = events(emitter)[-1]
    checked(done)
    assert done["inputs"] == []
    assert done["outputs"][0]["name"] == "lake.flights._quarantine"


def test_a_marts_run_is_below_dagsters(emitter: Emitter, contract: Contract, endpoints: Endpoints) -> None:
    parent = "6d1f0e52-6f0c-4a3e-8f4e-6a6a5d3b8f11"
    with mart_run(
        contract,
        endpoints,
        "delay_by_carrier_hour",
        dagster_run=parent,
        dagster_job="__ASSET_JOB",
        engine=Engine("Trino", "476"),
        to=emitter,
    ) as run:
        run.read("before")
        run.wrote(nessie_hash="after", rows=5, columns={"carrier": "varchar"})
    begun, done = events(emitter)
    assert begun["eventType"] == "START"
    event = checked(done)
    assert UUID(event.run.runId)
    assert done["run"]["facets"]["parent"]["run"]["runId"] == parent
    assert done["run"]["facets"]["processing_engine"] == done["run"]["facets"]["processing_engine"] | {
        "name": "Trino",
        "version": "476",
    }
    assert "approx_percentile" in done["job"]["facets"]["sql"]["query"]
    assert {one["name"] for one in done["inputs"]} == {"lake.flights.flights", "lake.flights.airlines"}
    assert {one["facets"]["version"]["datasetVersion"] for one in done["inputs"]} == {"before"}
    (mart,) = done["outputs"]
    assert mart["name"] == "lake.flights_marts.delay_by_carrier_hour"
    assert mart["facets"]["version"]["datasetVersion"] == "after"
    assert mart["outputFacets"]["outputStatistics"]["rowCount"] == 5
    assert [field["name"] for field in mart["facets"]["schema"]["fields"]] == ["carrier"]
    lineage = mart["facets"]["columnLineage"]["fields"]
    assert {(one["name"], one["field"]) for one in lineage["airline"]["inputFields"]} == {
        ("lake.flights.airlines", "name")
    }
    assert (
        lineage["average_delay_minutes"]["inputFields"][0]["transformations"][0]["subtype"] == "AGGREGATION"
    )
    assert "flights" not in lineage  # count(*) comes from no column


def row(number: int, kind: EventKind, *, ok: bool = True, stream: str = "lake", reason: str = "") -> Event:
    at = NOW + timedelta(seconds=number)
    return Event("flights", stream, kind, reason=reason, ok=ok, id=number, at=at, actor="sensor")


def lives(
    contract: Contract, endpoints: Endpoints, rows: list[Event], before: list[Event]
) -> list[tuple[str, str]]:
    found = list(stream_runs(contract, endpoints, rows, before))
    numbers = {
        run_id: f"life {at}" for at, run_id in enumerate(dict.fromkeys(f.run_id for f in found), start=1)
    }
    return [(numbers[fact.run_id], fact.state.value) for fact in found]


def test_a_streams_life_goes_from_its_start_to_what_ends_it(contract: Contract, endpoints: Endpoints) -> None:
    rows = [
        row(1, EventKind.START),
        row(2, EventKind.CALM),
        row(3, EventKind.UPGRADE),  # the new shape takes over
        row(4, EventKind.START, reason="the job has failed"),  # it was found dead
        row(5, EventKind.STOP),
        row(6, EventKind.START, ok=False),
        row(7, EventKind.START),
    ]
    whole = lives(contract, endpoints, rows, [])
    assert whole == [
        ("life 1", "START"),
        ("life 1", "COMPLETE"),
        ("life 2", "START"),
        ("life 2", "FAIL"),
        ("life 3", "START"),
        ("life 3", "COMPLETE"),
        ("life 4", "START"),
        ("life 4", "FAIL"),
        ("life 5", "START"),
    ]
    # Read in two parts, the same is told.
    for cut in (2, 5):
        first = list(stream_runs(contract, endpoints, rows[:cut], []))
        rest = list(stream_runs(contract, endpoints, rows[cut:], rows[:cut]))
        told = [(fact.run_id, fact.state) for fact in (*first, *rest)]
        assert told == [(fact.run_id, fact.state) for fact in stream_runs(contract, endpoints, rows, [])]


def test_streams_say_what_they_carry(emitter: Emitter, contract: Contract, endpoints: Endpoints) -> None:
    rows = [row(at, EventKind.START, stream=name) for at, name in enumerate(("connector", "lake", "serving"))]
    emitter.emit(stream_runs(contract, endpoints, rows, [], {"lake": Engine("Flink", "1.20.5")}))
    connector, lake, serving = events(emitter)
    for body in (connector, lake, serving):
        checked(body)
    assert connector["job"]["facets"]["jobType"]["processingType"] == "STREAMING"
    assert {one["name"] for one in connector["inputs"]} >= {"airline.flights", "airline.planes"}
    assert connector["inputs"][0]["namespace"] == "mysql://127.0.0.1:13306"
    assert lake["run"]["facets"]["processing_engine"]["version"] == "1.20.5"
    position = lake["outputs"][0]["facets"]["columnLineage"]["fields"]["_position"]["inputFields"]
    assert {one["field"] for one in position} == {
        "__source_epoch",
        "__source_file",
        "__source_pos",
        "__source_row",
    }
    assert {one["namespace"].partition(":")[0] for one in serving["outputs"]} == {"cassandra", "couchdb"}


def test_names_are_those_of_the_clients_own_conventions(contract: Contract, endpoints: Endpoints) -> None:
    def ours(layer: Layer, name: str) -> tuple[str, str]:
        return tuple(dataset_name(contract, endpoints, Dataset(layer, name)))  # type: ignore[return-value]

    def theirs(kind: Any) -> tuple[str, str]:
        return kind.get_namespace(), kind.get_name()

    host = "127.0.0.1"
    assert ours(Layer.SOURCE, "flights") == theirs(naming.MySQL(host, "13306", "airline", "flights"))
    topic = "flights.airline.flights"
    assert ours(Layer.TOPICS, "flights") == theirs(naming.Kafka(host, "19092", topic))
    assert ours(Layer.LAKE, "flights") == theirs(naming.S3("lake", "paimon/flights.db/flights"))
    assert ours(Layer.VIEWS, "departures_by_airport") == theirs(
        naming.Cassandra(host, "19042", "flights", "departures_by_airport")
    )
    assert ours(Layer.VIEWS, "flight_documents") == ("couchdb://127.0.0.1:15984", "flight_documents")
    mart = "delay_by_carrier_hour"
    assert ours(Layer.MARTS, mart) == theirs(naming.Trino(host, "18080", "lake", "flights_marts", mart))
    assert tuple(published_name(contract, endpoints, "flights")) == theirs(
        naming.Trino(host, "18080", "lake", "flights", "flights")
    )
    several = endpoints.model_copy(
        update={"kafka": endpoints.kafka.model_copy(update={"bootstrap": "one:1, two:2"})}
    )
    assert dataset_name(contract, several, Dataset(Layer.TOPICS, "flights")).namespace == "kafka://one:1"


def test_an_event_without_a_time_is_refused_by_the_clients_model(
    contract: Contract, endpoints: Endpoints, emitter: Emitter
) -> None:
    (fact,) = stream_runs(contract, endpoints, [row(1, EventKind.START)], [])
    emitter.emit([replace(fact, at="yesterday")])
    assert (emitter.emitted, emitter.failed) == (0, 1)
