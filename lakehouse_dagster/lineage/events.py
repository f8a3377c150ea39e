"""Events in OpenLineage's own models. Importing the client takes a second: only what emits imports this."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from openlineage.client import event_v2, facet_v2
from openlineage.client.event_v2 import InputDataset, OutputDataset, RunEvent, RunState

from lakehouse_dagster.contract.column_lineage import Derivation
from lakehouse_dagster.lineage.model import DatasetFacts, Field, FieldOrigin, Job, RunFacts

PRODUCER = "urn:lakehouse-dagster:lineage"

_SUBTYPE = {
    Derivation.IDENTITY: "IDENTITY",
    Derivation.TRANSFORMATION: "TRANSFORMATION",
    Derivation.AGGREGATION: "AGGREGATION",
}


def run_event(facts: RunFacts, namespace: str) -> RunEvent:
    """The event of a run; ``namespace`` is that of the jobs.

    Raises:
        ValueError: ``run_id`` is no UUID or ``at`` no time.
    """
    return RunEvent(
        eventType=RunState(facts.state.value),
        eventTime=facts.at,
        producer=PRODUCER,
        run=event_v2.Run(runId=facts.run_id, facets=_run_facets(facts, namespace)),
        job=event_v2.Job(namespace=namespace, name=facts.job.name, facets=_job_facets(facts.job)),
        inputs=[
            InputDataset(facts.id.namespace, facts.id.name, facets=_dataset_facets(facts))
            for facts in facts.inputs
        ],
        outputs=[_output(facts) for facts in facts.outputs],
    )


def _run_facets(facts: RunFacts, namespace: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if facts.engine is not None:
        found["processing_engine"] = facet_v2.processing_engine_run.ProcessingEngineRunFacet(
            version=facts.engine.version, name=facts.engine.name
        )
    if facts.parent is not None:
        parent = facet_v2.parent_run
        found["parent"] = parent.ParentRunFacet(
            run=parent.Run(runId=facts.parent.run_id),
            job=parent.Job(namespace=namespace, name=facts.parent.job),
        )
    if facts.error:
        found["errorMessage"] = facet_v2.error_message_run.ErrorMessageRunFacet(
            message=facts.error, programmingLanguage="PYTHON"
        )
    if facts.asked_by:
        found["tags"] = facet_v2.tags_run.TagsRunFacet(
            tags=[facet_v2.tags_run.TagsRunFacetFields("requested_by", facts.asked_by, "lakehouse")]
        )
    return found


def _job_facets(job: Job) -> dict[str, Any]:
    found: dict[str, Any] = {
        "jobType": facet_v2.job_type_job.JobTypeJobFacet(
            processingType=job.processing, integration=job.integration, jobType=job.type
        )
    }
    if job.description:
        found["documentation"] = facet_v2.documentation_job.DocumentationJobFacet(description=job.description)
    if job.owner:
        ownership = facet_v2.ownership_job
        found["ownership"] = ownership.OwnershipJobFacet(owners=[ownership.Owner(name=job.owner)])
    if job.sql:
        found["sql"] = facet_v2.sql_job.SQLJobFacet(query=job.sql, dialect=job.dialect or None)
    return found


def _output(facts: DatasetFacts) -> OutputDataset:
    counted: dict[str, Any] = {}
    if facts.rows is not None or facts.bytes is not None:
        counted["outputStatistics"] = (
            facet_v2.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
                rowCount=facts.rows, size=facts.bytes
            )
        )
    return OutputDataset(
        facts.id.namespace, facts.id.name, facets=_dataset_facets(facts), outputFacets=counted
    )


def _dataset_facets(facts: DatasetFacts) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if facts.fields:
        schema = facet_v2.schema_dataset
        found["schema"] = schema.SchemaDatasetFacet(
            fields=[_field(schema, number, field) for number, field in enumerate(facts.fields, start=1)]
        )
    if facts.origins:
        lineage = facet_v2.column_lineage_dataset
        found["columnLineage"] = lineage.ColumnLineageDatasetFacet(
            fields={
                name: lineage.Fields(inputFields=[_origin(lineage, origin) for origin in came])
                for name, came in facts.origins.items()
                if came
            }
        )
    if facts.version is not None:
        found["version"] = facet_v2.dataset_version_dataset.DatasetVersionDatasetFacet(facts.version)
    if facts.also:
        links = facet_v2.symlinks_dataset
        found["symlinks"] = links.SymlinksDatasetFacet(
            identifiers=[links.Identifier(other.namespace, other.name, "TABLE") for other in facts.also]
        )
    if facts.storage is not None:
        found["storage"] = facet_v2.storage_dataset.StorageDatasetFacet(facts.storage, "parquet")
    if facts.catalog is not None:
        catalog = facts.catalog
        found["catalog"] = facet_v2.catalog_dataset.CatalogDatasetFacet(
            framework=catalog.framework,
            type=catalog.type,
            name=catalog.name,
            metadataUri=catalog.uri,
            warehouseUri=catalog.warehouse,
        )
    source = facts.id.namespace
    found["dataSource"] = facet_v2.datasource_dataset.DatasourceDatasetFacet(
        name=source, uri=quote(source, safe=":/@[]")
    )
    return found


def _field(schema: Any, number: int, field: Field) -> Any:
    return schema.SchemaDatasetFacetFields(
        name=field.name,
        type=field.type or None,
        description=field.description or None,
        ordinal_position=number,
    )


def _origin(lineage: Any, origin: FieldOrigin) -> Any:
    return lineage.InputField(
        namespace=origin.dataset.namespace,
        name=origin.dataset.name,
        field=origin.field,
        transformations=[lineage.Transformation(type="DIRECT", subtype=_SUBTYPE[origin.how])],
    )
