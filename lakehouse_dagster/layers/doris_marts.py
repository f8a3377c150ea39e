"""Marts in Doris: materialized views over the lake's Paimon tables, whose refreshes Dagster owns.

Only contracts with a mart that names doris have any of this. Doris is not part of every installation: what is
here fails with a clear message where none is configured, and nothing asks for it by itself before a person
has turned the sensor on.
"""

import dagster as dg

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.model import Mart
from lakehouse_dagster.engines.clients import ClientSource
from lakehouse_dagster.engines.errors import EngineError, EngineUnavailable
from lakehouse_dagster.layers import keys
from lakehouse_dagster.layers.automation import refresh_on_news
from lakehouse_dagster.layers.describe import asset_spec
from lakehouse_dagster.render.doris import (
    ICEBERG_CATALOG,
    PAIMON_CATALOG,
    doris_marts,
    partition_note,
    reporting_role,
    select,
    setup,
    view,
)

LAYER = "marts"
POOL = "doris"


def build_doris_defs(contract: Contract) -> dg.Definitions:
    """Return an asset per mart in Doris, the job that prepares Doris, and the sensor for the refreshes.

    Empty for a contract without such marts.
    """
    marts = doris_marts(contract)
    if not marts:
        return dg.Definitions()
    assets = [_mart_asset(contract, mart) for mart in marts]
    sensor = dg.AutomationConditionSensorDefinition(
        name=f"{contract.name}_doris_automation",
        target=dg.AssetSelection.assets(*(keys.doris_mart(contract.name, mart.name) for mart in marts)),
        default_status=dg.DefaultSensorStatus.STOPPED,
        minimum_interval_seconds=30,
        description=(
            "Refreshes the marts in Doris on news. Off until a Doris is configured (docs/doris.md): turn it "
            f"on after `{contract.name}_doris_setup` has run."
        ),
    )
    return dg.Definitions(assets=assets, jobs=[setup_job(contract)], sensors=[sensor])


def doris_mart_spec(contract: Contract, mart: Mart) -> dg.AssetSpec:
    """Return what Dagster shows of a mart in Doris."""
    note = partition_note(contract, mart.name)
    return asset_spec(
        contract,
        LAYER,
        keys.doris_mart(contract.name, mart.name),
        description=(
            (mart.description + "\n\n" if mart.description else "")
            + f"A materialized view in Doris over what Paimon holds (`{PAIMON_CATALOG}`), seconds old; "
            f"refreshed at most by `{mart.refresh}` (UTC), once `{contract.name}_doris_automation` is on."
            + (f"\n\nIt is {note}." if note else "")
            + f"\n\n```sql\n{select(contract, mart.name)}\n```"
        ),
        kinds={"doris", "sql"},
        deps=[keys.lake(contract.name, table) for table in contract.mart_tables(mart.name)],
        owner=mart.owner,
        columns=dg.TableSchema(
            columns=[
                dg.TableColumn(column.name, column.type) for column in contract.queries[mart.name].columns
            ]
        ),
        table_name=f"{contract.marts_schema}.{mart.name}",
        uri=f"doris://{contract.marts_schema}/{mart.name}",
        code=(contract.folder / "marts" / f"{mart.name}.sql",),
    ).replace_attributes(automation_condition=refresh_on_news(mart.refresh))


def _mart_asset(contract: Contract, mart: Mart) -> dg.AssetsDefinition:
    @dg.multi_asset(
        specs=[doris_mart_spec(contract, mart)],
        name=f"{contract.name}_doris_{mart.name}",
        pool=POOL,
        retry_policy=dg.RetryPolicy(max_retries=3, delay=3, backoff=dg.Backoff.EXPONENTIAL),
    )
    def refresh(
        context: dg.AssetExecutionContext, lakehouse: dg.ResourceParam[ClientSource]
    ) -> dg.MaterializeResult[None]:
        said = view(contract, mart.name)
        with lakehouse.clients() as clients:
            _require_doris(clients.endpoints.doris)
            try:
                applied = clients.doris.apply_mart(said)
                context.log.info(f"the view {said.database}.{said.view} is {applied.did}")
                # One that was replaced has been built just now.
                done = applied.refreshed or clients.doris.refresh_mart(said)
            except EngineUnavailable:
                raise
            except EngineError as error:
                # Doris has answered: the same request would get the same answer, and cost it the same work.
                raise dg.Failure(
                    f"{error}\nIf a catalog or the database is missing: run {contract.name}_doris_setup.",
                    allow_retries=False,
                ) from error
        task = done.task
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": done.rows,
                "seconds": round(done.seconds, 2),
                "task_id": task.id,
                "task_seconds": task.seconds if task.seconds is not None else dg.MetadataValue.null(),
                "task_created": task.created,
                "refresh_mode": task.mode,
                "definition": applied.did,
                "fingerprint": applied.fingerprint,
            }
        )

    return refresh


def setup_job(contract: Contract) -> dg.JobDefinition:
    """Return the job that makes catalogs, database, role, user and views in Doris by the contract."""

    @dg.op(
        name=f"{contract.name}_doris_setup_op",
        description="Applies the pipeline's definitions in Doris; may run again and again.",
        tags={"pipeline": contract.name},
    )
    def apply(context: dg.OpExecutionContext, lakehouse: dg.ResourceParam[ClientSource]) -> None:
        with lakehouse.clients() as clients:
            _require_doris(clients.endpoints.doris)
            doris = clients.doris
            left = doris.apply_setup(setup(contract), clients.endpoints)
            if left:
                context.log.warning(
                    "the reporting user was not made: no password is configured for it "
                    "(LAKEHOUSE_DORIS_REPORTER_PASSWORD_FILE)"
                )
            applied = [doris.apply_mart(view(contract, mart.name)) for mart in doris_marts(contract)]
            foreign = sorted(
                set(doris.views(contract.marts_schema)) - {mart.name for mart in doris_marts(contract)}
            )
        for one in applied:
            context.log.info(f"view {one.mart}: {one.did}")
        if foreign:
            context.log.warning(f"views of no mart of the contract, left alone: {', '.join(foreign)}")
        context.add_output_metadata(
            {
                "views": {one.mart: one.did for one in applied},
                "role": reporting_role(contract),
                "catalogs": [PAIMON_CATALOG, ICEBERG_CATALOG],
                "left_out": len(left),
                "foreign_views": foreign,
            }
        )

    @dg.job(
        name=f"{contract.name}_doris_setup",
        description=(
            f"Makes catalogs, reporting role and materialized views of `{contract.name}` in Doris as the "
            "contract has them now. Needs a configured Doris (docs/doris.md)."
        ),
        tags={"pipeline": contract.name, "owner": contract.owner},
    )
    def job() -> None:
        apply()

    return job


def _require_doris(endpoint: object) -> None:
    if endpoint is None:
        # Late: the client's module brings the driver, which loading the definitions does not need.
        from lakehouse_dagster.engines.doris import unconfigured

        error = unconfigured()
        raise dg.Failure(str(error), allow_retries=False) from error
