"""Layer ``marts``: tables that Trino computes from the published lake; Dagster owns their refreshes."""

import time
from collections.abc import Sequence
from typing import Any

import dagster as dg

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.model import Mart
from lakehouse_dagster.engines.clients import ClientSource
from lakehouse_dagster.layers import keys
from lakehouse_dagster.layers.automation import refresh_on_news
from lakehouse_dagster.layers.describe import asset_spec, column_lineage
from lakehouse_dagster.lineage.columns import mart_columns
from lakehouse_dagster.render.trino import mart_statements, mart_table

LAYER = "marts"
POOL = "trino"
PREVIEW_ROWS = 10


def mart_assets(contract: Contract) -> list[dg.AssetsDefinition]:
    """Return one materializable asset per mart."""
    return [_mart_asset(contract, mart) for mart in contract.marts]


def mart_spec(contract: Contract, mart: Mart) -> dg.AssetSpec:
    """Return what Dagster shows of a mart."""
    return asset_spec(
        contract,
        LAYER,
        keys.mart(contract.name, mart.name),
        description=(
            (mart.description + "\n\n" if mart.description else "")
            + f"Computed in Trino from what Nessie shows on `main`; refreshed at most by `{mart.refresh}` "
            "(UTC) and only "
            "when the tables it reads have news.\n\n```sql\n" + contract.mart_sql(mart.name).strip() + "\n```"
        ),
        kinds={"trino", "iceberg", "sql"},
        # Both: the tables for the lineage, the publication because readers see nothing newer than it.
        deps=[
            *(keys.lake(contract.name, table) for table in contract.mart_tables(mart.name)),
            keys.publication(contract.name),
        ],
        owner=mart.owner,
        columns=dg.TableSchema(
            columns=[
                dg.TableColumn(column.name, column.type) for column in contract.queries[mart.name].columns
            ]
        ),
        lineage=column_lineage(contract, LAYER, mart.name),
        metadata={"columns": column_table(contract, mart.name)},
        table_name=f"{contract.marts_schema}.{mart.name}",
        uri=f"trino://{contract.marts_schema}/{mart.name}",
        code=(contract.folder / "marts" / f"{mart.name}.sql",),
    ).replace_attributes(automation_condition=refresh_on_news(mart.refresh))


def _mart_asset(contract: Contract, mart: Mart) -> dg.AssetsDefinition:
    @dg.multi_asset(
        specs=[mart_spec(contract, mart)],
        name=f"{contract.name}_mart_{mart.name}",
        pool=POOL,
        retry_policy=dg.RetryPolicy(
            max_retries=3, delay=3, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
        ),
    )
    def refresh(
        context: dg.AssetExecutionContext, lakehouse: dg.ResourceParam[ClientSource]
    ) -> dg.MaterializeResult[None]:
        # Late: what tells of runs brings more with it than loading the definitions needs.
        from lakehouse_dagster.lineage.marts import mart_run

        started = time.monotonic()
        with (
            lakehouse.clients() as clients,
            mart_run(
                contract,
                clients.endpoints,
                mart.name,
                dagster_run=context.run_id,
                dagster_job="dagster",
            ) as run,
        ):
            read = clients.nessie.get_reference("main").hash
            run.read(read)
            catalog = clients.trino.catalog
            for statement in mart_statements(contract, mart.name, catalog):
                context.log.info(statement)
                clients.trino.execute(statement)
            seconds = time.monotonic() - started
            # Names come quoted from the contract, never from outside.
            table = mart_table(contract, mart.name, catalog)
            sample = clients.trino.execute(f"SELECT * FROM {table} LIMIT {PREVIEW_ROWS}")  # noqa: S608
            rows = clients.trino.scalar(f"SELECT count(*) FROM {table}")  # noqa: S608
            run.wrote(
                nessie_hash=clients.nessie.get_reference("main").hash,
                rows=int(rows),
                columns=dict(zip(sample.columns, sample.types, strict=True)),
            )
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": int(rows),
                "preview": dg.MetadataValue.md(markdown_table(sample.columns, sample.rows)),
                "nessie_hash": read,
                "seconds": round(seconds, 2),
                "dagster/column_lineage": column_lineage(contract, LAYER, mart.name),
                "dagster/column_schema": dg.TableSchema(
                    columns=[
                        dg.TableColumn(name, kind)
                        for name, kind in zip(sample.columns, sample.types, strict=True)
                    ]
                ),
            }
        )

    return refresh


def column_table(contract: Contract, mart: str) -> dg.MarkdownMetadataValue:
    """Return a mart's columns with what they are computed as and which columns of the lake are in it.

    Dagster's own web interface keeps ``dagster/column_lineage`` for other tools and shows nothing of it.
    """
    rows = [
        (
            column.name,
            f"`{column.expression}`",
            ", ".join(f"{source.table}.{source.column}" for source in column.sources),
        )
        for column in mart_columns(contract, mart)
    ]
    return dg.MetadataValue.md(markdown_table(("column", "computed as", "from columns of the lake"), rows))


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return rows as a Markdown table; a cell is what the value prints as, NULL is left empty."""

    def line(cells: Sequence[Any]) -> str:
        return "| " + " | ".join(_cell(cell) for cell in cells) + " |"

    return "\n".join([line(columns), "|" + "---|" * len(columns), *(line(row) for row in rows)])


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
