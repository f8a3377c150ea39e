"""OpenLineage events of what really happened: a mart's refresh in Trino, a publication in Nessie."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from lakehouse_dagster.components.resources import LakehouseResource
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.loader import DEFS_ROOT, load_contract
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.nessie import Reference
from lakehouse_dagster.governance.publisher import Publisher
from lakehouse_dagster.layers.marts import mart_assets
from lakehouse_dagster.lineage import emitter as emitters
from lakehouse_dagster.lineage.emitter import Emitter
from lakehouse_dagster.lineage.settings import LineageSettings
from lakehouse_dagster.lineage.streams import emit_streams
from lakehouse_dagster.streams.store import StreamStore

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("flow")]

MART = "delay_by_carrier_hour"


@pytest.fixture(scope="module")
def contract() -> Contract:
    return load_contract(DEFS_ROOT / "flights")


@pytest.fixture
def emitter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Emitter:
    """The emitter that everything in this process uses, with a file of its own."""
    own = Emitter(LineageSettings(tmp_path))
    monkeypatch.setattr(emitters, "_emitter", lambda _: own)
    return own


def events(emitter: Emitter) -> list[dict[str, Any]]:
    assert emitter.failed == 0
    return [json.loads(line) for line in emitter.file.path.read_text().splitlines()]


def test_a_marts_refresh_is_told_with_what_it_read_and_wrote(
    contract: Contract, clients: Clients, emitter: Emitter
) -> None:
    (asset,) = [one for one in mart_assets(contract) if one.key.path[-1] == MART]
    result = dg.materialize([asset], resources={"lakehouse": LakehouseResource()})
    assert result.success
    begun, done = events(emitter)
    assert (begun["eventType"], done["eventType"]) == ("START", "COMPLETE")
    assert done["run"]["facets"]["parent"]["run"]["runId"] == result.run_id
    (mart,) = done["outputs"]
    assert mart["name"] == f"lake.flights_marts.{MART}"
    rows = clients.trino.scalar(f"SELECT count(*) FROM lake.flights_marts.{MART}")
    assert mart["outputFacets"]["outputStatistics"]["rowCount"] == rows
    # The version is a commit that has the very table that is there now.
    key = ("flights_marts", MART)
    at = Reference("main", mart["facets"]["version"]["datasetVersion"])
    assert clients.nessie.get_tables([key], at) == clients.nessie.get_tables(
        [key], clients.nessie.get_reference()
    )
    types = {field["name"]: field["type"] for field in mart["facets"]["schema"]["fields"]}
    assert types == dict(
        clients.trino.execute(
            "SELECT column_name, data_type FROM lake.information_schema.columns "
            f"WHERE table_schema = 'flights_marts' AND table_name = '{MART}'"
        ).rows
    )
    (record,) = result.asset_materializations_for_node(asset.node_def.name)
    lineage = record.metadata["dagster/column_lineage"]
    assert isinstance(lineage, dg.TableColumnLineageMetadataValue)
    assert set(lineage.column_lineage.deps_by_column) == set(types) - {"flights"}


@pytest.fixture
def behind(clients: Clients) -> Iterator[Reference]:
    """A branch that shows the lake as it was some publications ago."""
    main = clients.nessie.get_reference()
    earlier = clients.nessie.log(limit=20)[-1].hash
    yield clients.nessie.create_reference(f"zz_lineage_{uuid.uuid4().hex[:8]}", Reference("main", earlier))
    assert main.name == "main"
    for reference in clients.nessie.references():
        if reference.name.startswith("zz_lineage_"):
            clients.nessie.delete_reference(reference)


def test_a_publication_is_told_with_its_commit_and_snapshots(
    contract: Contract, clients: Clients, emitter: Emitter, behind: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lakehouse_dagster.lineage.publications._probe_told", {})
    publisher = Publisher(clients.endpoints, branch=behind.name, requested_by="a test")
    try:
        made = publisher.publish_once(contract)
    finally:
        publisher.close()
    assert made is not None, "the probe's row has changed since"
    begun, done = events(emitter)
    assert (begun["eventType"], done["eventType"]) == ("START", "COMPLETE")
    newest = clients.nessie.log(behind.name, limit=1)[0]
    assert made.hash == newest.hash
    names = [one["name"] for one in done["outputs"]]
    assert names == [f"lake.flights.{table}" for table in made.changed]
    for table, read, written in zip(made.changed, done["inputs"], done["outputs"], strict=True):
        assert written["facets"]["version"]["datasetVersion"] == newest.hash
        told = newest.properties[f"lakehouse.table.{table}.paimon-snapshot"]
        assert read["facets"]["version"]["datasetVersion"] == told
        location = f"{read['namespace']}/{read['name']}"
        assert clients.store.exists(f"{location}/snapshot/snapshot-{told}"), "the input is where it says"
    assert done["run"]["facets"]["tags"]["tags"][0]["value"] == "a test"


def test_the_streams_history_makes_events(contract: Contract, clients: Clients, emitter: Emitter) -> None:
    store = StreamStore(clients.postgres)
    rows = store.history(contract.name, limit=500, newest_first=False)
    emit_streams(contract, clients, store, rows)
    started = [event for event in events(emitter) if event["eventType"] == "START"]
    assert {event["job"]["name"] for event in started} == {
        "flights.streams.connector",
        "flights.streams.lake",
        "flights.streams.serving",
    }
    flink = [event for event in started if event["job"]["facets"]["jobType"]["integration"] == "FLINK"]
    version = clients.flink.overview().version
    assert {event["run"]["facets"]["processing_engine"]["version"] for event in flink} == {version}
