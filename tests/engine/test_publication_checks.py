"""The checks of the publication as Dagster runs them, against the real engines and the branch ``main``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.engines.nessie import Delete, PutTable
from lakehouse_dagster.governance.hold import HoldStore
from lakehouse_dagster.governance.publisher import publish_once
from lakehouse_dagster.layers import keys
from lakehouse_dagster.layers.publication_checks import publication_checks
from lakehouse_dagster.layers.publish import publish_job
from tests.engine.handmade_lake import Lake

pytestmark = pytest.mark.engine


class Source:
    """What hands out clients."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints

    @contextmanager
    def clients(self, *, timeout: float = 10.0) -> Iterator[Clients]:
        with Clients(self._endpoints, timeout=timeout) as found:
            yield found


@pytest.fixture
def lake(clients: Clients, tmp_path: Path) -> Iterator[Lake]:
    found = Lake(clients)
    found.contract.lock.write(tmp_path)
    found.contract = replace(found.contract, folder=tmp_path)
    yield found
    HoldStore(clients.postgres).release(found.name)
    for key in ((found.name, "a"), (found.name, "b"), (found.name,)):
        head = clients.nessie.get_reference()
        if key in clients.nessie.get_contents([key], head):
            clients.nessie.commit([Delete(key)], "clean up", reference=head)
    found.drop()


def judged(contract: Contract, endpoints: Endpoints) -> dict[str, dg.AssetCheckEvaluation]:
    definitions = dg.Definitions(
        assets=[dg.AssetSpec(keys.publication(contract.name))],
        asset_checks=[publication_checks(contract)],
        jobs=[dg.define_asset_job("judge", selection=dg.AssetSelection.all_asset_checks())],
        resources={"lakehouse": dg.ResourceDefinition.hardcoded_resource(Source(endpoints))},
    )
    with dg.DagsterInstance.ephemeral() as instance:
        done = definitions.resolve_job_def("judge").execute_in_process(instance=instance)
    assert done.success
    return {found.check_name: found for found in done.get_asset_check_evaluations()}


def test_the_checks_pass_and_name_what_is_wrong(lake: Lake, endpoints: Endpoints) -> None:
    lake.write("a", 5, lake_rows=30)
    lake.write("b", 5, lake_rows=30)
    assert publish_once(lake.contract, endpoints) is not None
    found = judged(lake.contract, endpoints)
    assert {name: check.passed for name, check in found.items()} == {"publishable": True, "no_drift": True}
    table = str(found["no_drift"].metadata["tables"].value)
    assert "| a | 5 | 5 | 0 s | 60 s | 2 |" in table or "| a | 5 | 5 | 0 s | 60 s | 0 |" in table
    # Somebody moves a table, and the lake of the other goes back.
    nessie = lake.clients.nessie
    head, key = nessie.get_reference(), (lake.name, "a")
    held = nessie.get_tables([key], head)[key]
    lake.write("a", 4, lake_rows=30)
    lake.write("a", 5, lake_rows=30)
    moved = replace(held, metadata_location=f"{lake.folder('a')}/v4.metadata.json", snapshot_id=4)
    nessie.commit([PutTable(key, moved)], "by somebody", reference=head)
    lake.write("b", 3, lake_rows=30)
    found = judged(lake.contract, endpoints)
    assert not found["publishable"].passed
    assert "the lake went back to snapshot 3" in (found["publishable"].description or "")
    assert not found["no_drift"].passed
    assert "a: somebody else moved it to snapshot 4" in (found["no_drift"].description or "")


def test_a_run_is_named_in_its_commit_and_a_hold_is_a_warning(lake: Lake, endpoints: Endpoints) -> None:
    lake.write("a", 1, lake_rows=30)
    resources = {"lakehouse": Source(endpoints)}
    done = publish_job(lake.contract).execute_in_process(resources=resources)
    assert done.success
    told = lake.clients.nessie.log(limit=20)
    [mine] = [entry for entry in told if entry.properties.get("lakehouse.pipeline") == lake.name]
    assert mine.properties["lakehouse.run-id"] == done.run_id
    HoldStore(lake.clients.postgres).hold(lake.name, "lake", "it starts anew", {"t:0": 5})
    lake.write("a", 2, lake_rows=30)
    found = judged(lake.contract, endpoints)
    assert not found["publishable"].passed
    assert found["publishable"].severity is dg.AssetCheckSeverity.WARN
    assert found["no_drift"].passed
    assert (
        not publish_job(lake.contract).execute_in_process(resources=resources, raise_on_error=False).success
    )
