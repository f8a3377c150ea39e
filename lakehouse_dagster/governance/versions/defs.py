"""What Dagster shows and does about a pipeline's versions: jobs, and the asset that forgets."""

import dagster as dg

from lakehouse_dagster.contract.applied import current
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.clients import ClientSource
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.governance.versions.jobs import LONGEST_SECONDS, TIMEOUT_SECONDS, version_jobs
from lakehouse_dagster.layers import keys
from lakehouse_dagster.layers.describe import asset_spec

LAYER = "maintenance"
SCHEDULE = "17 3 * * *"


def build_version_defs(contract: Contract) -> dg.Definitions:
    """Return jobs, the retention's asset and its schedule, which is off; they need ``lakehouse``."""
    job = dg.define_asset_job(
        f"{contract.name}_retention",
        selection=dg.AssetSelection.assets(retention_key(contract.name)),
        description="Deletes what the retention policy lets go and nothing needs.",
        tags={
            "pipeline": contract.name,
            "owner": contract.owner,
            "dagster/max_runtime": str(LONGEST_SECONDS),
        },
    )
    return dg.Definitions(
        assets=[retention_asset(contract)],
        jobs=[*version_jobs(contract), job],
        schedules=[
            dg.ScheduleDefinition(
                name=f"{contract.name}_retention_schedule",
                job=job,
                cron_schedule=SCHEDULE,
                execution_timezone="UTC",
                default_status=dg.DefaultScheduleStatus.STOPPED,
                description="Deletes every night what the retention policy lets go. Switch it on once the "
                "policy in the contract is what you want.",
                tags={"pipeline": contract.name},
            )
        ],
    )


def retention_key(pipeline: str) -> dg.AssetKey:
    """The asset that stands for what is kept of a pipeline's versions."""
    return dg.AssetKey([pipeline, LAYER, "retention"])


def retention_asset(contract: Contract) -> dg.AssetsDefinition:
    """Return the asset whose materialization deletes what may go and tells figures before and after."""
    rule = contract.pipeline.retention
    branches = "never" if rule.branches_days is None else f"after {rule.branches_days:g} days"

    @dg.multi_asset(
        name=f"{contract.name}_retention_op",
        specs=[
            asset_spec(
                contract,
                LAYER,
                retention_key(contract.name),
                description=(
                    "What is kept of the pipeline's versions. Each materialization deletes tags and branches "
                    "whose lifetime is over, copies and marts' files that no reference leads to, what a "
                    "crash has left behind, and old Paimon snapshots. Everything that any Nessie reference "
                    "leads to is kept.\n\n"
                    f"Policy: earlier commits on `main` stay readable {rule.publications_hours:g} h, "
                    f"branches without a commit end {branches}, files go when nothing has needed them for "
                    f"{rule.grace_hours:g} h. Also `lakehouse retain {contract.name} --dry-run`."
                ),
                kinds={"nessie", "iceberg", "paimon"},
                deps=[keys.publication(contract.name)],
                table_name=contract.name,
                uri=f"nessie://main/{contract.name}",
            )
        ],
        op_tags={"pipeline": contract.name},
    )
    def retention(
        context: dg.AssetExecutionContext, lakehouse: dg.ResourceParam[ClientSource]
    ) -> dg.MaterializeResult[None]:
        # Late: the engines' clients come with it.
        from lakehouse_dagster.governance.versions.retention import retain, retained_json

        try:
            with lakehouse.clients(timeout=TIMEOUT_SECONDS) as clients:
                done = retain(clients, current(contract), report=context.log.info)
        except (EngineError, ValueError) as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        for line in done.trouble:
            context.log.warning(line)
        told = retained_json(contract.name, done)
        deleted = told.pop("deleted")
        return dg.MaterializeResult(
            metadata={
                "objects_before": done.objects_before,
                "objects_after": done.objects_after,
                "bytes_before": done.bytes_before,
                "bytes_after": done.bytes_after,
                "objects_deleted": len(deleted),
                "references_deleted": ", ".join(done.references) or "none",
                "paimon_snapshots_before": sum(before for before, _ in done.snapshots.values()),
                "paimon_snapshots_after": sum(after for _, after in done.snapshots.values()),
                "seconds": round(done.seconds, 2),
                "retention": dg.MetadataValue.json(told),
            }
        )

    return retention
