"""The component that turns one pipeline's contract into everything Dagster shows and does for it."""

from __future__ import annotations

from typing import Any, Self

import dagster as dg
from pydantic import BaseModel

from lakehouse_dagster.components.scaffold import CdcPipelineScaffolder
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.loader import load_contract
from lakehouse_dagster.contract.model import Pipeline
from lakehouse_dagster.governance.versions.defs import build_version_defs
from lakehouse_dagster.layers.doris_marts import build_doris_defs
from lakehouse_dagster.layers.lake import lake_specs
from lakehouse_dagster.layers.marts import mart_assets
from lakehouse_dagster.layers.proofs import build_proof_defs
from lakehouse_dagster.layers.publication import publication_spec
from lakehouse_dagster.layers.publication_checks import publication_checks, publication_sensor
from lakehouse_dagster.layers.publish import publish_job
from lakehouse_dagster.layers.sensors import lake_watch, topic_watch
from lakehouse_dagster.layers.sources import source_specs
from lakehouse_dagster.layers.topics import topic_specs
from lakehouse_dagster.layers.views import view_specs
from lakehouse_dagster.proof.freshness_checks import freshness_checks, freshness_sensor
from lakehouse_dagster.quarantine.defs import build_quarantine_defs
from lakehouse_dagster.streams.assets import stream_specs
from lakehouse_dagster.streams.checks import stream_checks
from lakehouse_dagster.streams.evolve_defs import build_evolution_defs
from lakehouse_dagster.streams.jobs import stream_jobs
from lakehouse_dagster.streams.sensor import streams_sensor


@dg.scaffold_with(CdcPipelineScaffolder)
class CdcPipeline(dg.Component, dg.Model, dg.Resolvable):
    """MySQL tables, captured: to Kafka, to lake tables readable in Trino, to serving views and to marts.

    The attributes are exactly the pipeline's contract; columns and keys are locked beside it in
    ``schema.lock.json``. Templates (``{{ ... }}``) are not resolved on purpose: the command line and the
    publisher read the same file.
    """

    pipeline: Pipeline

    @classmethod
    def model(cls) -> type[BaseModel]:
        """Return the shape of ``attributes``: the contract itself, described in one place only."""
        return Pipeline

    @classmethod
    def resolve_from_model(cls, context: dg.ResolutionContext, model: BaseModel) -> Self:
        """Make the component from parsed ``attributes``."""
        return cls.model_validate({"pipeline": model})

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """Describe the component type to ``dg list components``."""
        return dg.ComponentTypeSpec(
            description="Change data capture from MySQL to the lake, serving views and marts.",
            tags=["mysql", "kafka", "flink", "paimon", "nessie", "trino", "cassandra", "couchdb"],
        )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the pipeline's definitions.

        Raises ``ContractError`` naming file, field and fix when the contract is wrong. No engine is asked.
        """
        return pipeline_definitions(load_contract(context.path, self.pipeline))


def pipeline_definitions(contract: Contract) -> dg.Definitions:
    """Return assets, checks, sensors and jobs of one valid contract. They need the resource ``lakehouse``."""
    reconcile, *others = stream_jobs(contract)
    assets: list[Any] = [
        *source_specs(contract),
        *stream_specs(contract),
        *topic_specs(contract),
        *lake_specs(contract),
        publication_spec(contract),
        *view_specs(contract),
        *mart_assets(contract),
    ]
    probe = contract.pipeline.probe
    own = dg.Definitions(
        assets=assets,
        asset_checks=[
            stream_checks(contract),
            publication_checks(contract),
            *([freshness_checks(contract, probe)] if probe else []),
        ],
        jobs=[reconcile, *others, publish_job(contract)],
        sensors=[
            streams_sensor(contract, reconcile),
            lake_watch(contract),
            topic_watch(contract),
            publication_sensor(contract),
            *([freshness_sensor(contract, probe)] if probe else []),
        ],
    )
    return dg.Definitions.merge(
        own,
        build_proof_defs(contract),
        build_quarantine_defs(contract),
        build_evolution_defs(contract),
        build_doris_defs(contract),
        build_version_defs(contract),
    )
