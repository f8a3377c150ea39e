"""Layer ``marts``: tables that Trino computes from the published lake; Dagster owns their refreshes.

A refresh writes the mart on a Nessie branch, runs its checks there and merges it. The checks are asset
checks, and one of severity ``error`` that fails leaves the published mart as it was.
"""

import time
from collections.abc import Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.mart_header import body
from lakehouse_dagster.contract.model import Mart
from lakehouse_dagster.engines.clients import ClientSource
from lakehouse_dagster.layers import keys
from lakehouse_dagster.layers.automation import refresh_at_ticks, refresh_on_news
from lakehouse_dagster.layers.describe import asset_spec, column_lineage
from lakehouse_dagster.lineage.columns import mart_columns
from lakehouse_dagster.render.trino import CheckQuery, mart_checks

if TYPE_CHECKING:
    from lakehouse_dagster.governance.marts import MartRows
    from lakehouse_dagster.governance.wap import Audit, Published

LAYER = "marts"
POOL = "trino"

_SEVERITY: Final = {"error": dg.AssetCheckSeverity.ERROR, "warn": dg.AssetCheckSeverity.WARN}


class Refresh(dg.Config):
    """What a refresh computes beside what has changed. Dates are ISO, such as 2013-01-31, both included."""

    everything: bool = False
    first: str = ""
    last: str = ""


def mart_assets(contract: Contract) -> list[dg.AssetsDefinition]:
    """Return one materializable asset per mart that is kept in Trino."""
    return [_mart_asset(contract, mart) for mart in contract.marts if "trino" in mart.engines]


def mart_spec(contract: Contract, mart: Mart) -> dg.AssetSpec:
    """Return what Dagster shows of a mart."""
    query = contract.queries[mart.name]
    spec = asset_spec(
        contract,
        LAYER,
        keys.mart(contract.name, mart.name),
        description=(
            (mart.description + "\n\n" if mart.description else "")
            + "Computed in Trino from what Nessie shows on `main`, checked on a branch, then published; "
            + _said(mart)
            + f"\n\n```sql\n{body(contract.mart_sql(mart.name))}\n```"
        ),
        kinds={"trino", "iceberg", "sql"},
        # Both: the tables for the lineage, the publication because readers see nothing newer than it.
        deps=[
            *(keys.lake(contract.name, table) for table in contract.mart_tables(mart.name)),
            keys.publication(contract.name),
        ],
        owner=mart.owner,
        columns=dg.TableSchema(
            columns=[_column(mart, column.name, column.type) for column in query.columns],
        ),
        lineage=column_lineage(contract, LAYER, mart.name),
        metadata={"columns": column_table(contract, mart.name)},
        table_name=f"{contract.marts_schema}.{mart.name}",
        uri=f"trino://{contract.marts_schema}/{mart.name}",
        code=(contract.folder / "marts" / f"{mart.name}.sql",),
    )
    return spec.replace_attributes(automation_condition=_automation(mart))


def _said(mart: Mart) -> str:
    by_partition = (
        f" The days of `{mart.partition}` whose source has changed are computed anew, the others are kept; "
        "the run's config asks for more."
        if mart.partition
        else ""
    )
    match mart.automation:
        case "on_news":
            when = f"refreshed at most by `{mart.refresh}` (UTC) and only when the tables it reads have news."
        case "schedule":
            when = f"refreshed by `{mart.refresh}` (UTC)."
        case "by_hand":
            when = "refreshed by hand only."
    return when + by_partition


def _automation(mart: Mart) -> dg.AutomationCondition[dg.AssetKey] | None:
    match mart.automation:
        case "on_news":
            return refresh_on_news(mart.refresh)
        case "schedule":
            return refresh_at_ticks(mart.refresh)
        case "by_hand":
            return None


def _column(mart: Mart, name: str, kind: str) -> dg.TableColumn:
    never_null = {*mart.key, *([mart.partition] if mart.partition else [])}
    for check in mart.checks:
        if check.severity == "error" and check.not_null is not None:
            never_null |= set(check.not_null)
    of_key = [f"key column {mart.key.index(name) + 1} of {len(mart.key)}"] if name in mart.key else []
    return dg.TableColumn(
        name,
        kind,
        constraints=dg.TableColumnConstraints(
            nullable=name not in never_null, unique=mart.key == (name,), other=of_key
        ),
    )


def _mart_asset(contract: Contract, mart: Mart) -> dg.AssetsDefinition:
    key = keys.mart(contract.name, mart.name)

    @dg.multi_asset(
        specs=[mart_spec(contract, mart)],
        name=f"{contract.name}_mart_{mart.name}",
        check_specs=[_check_spec(key, check) for check in mart_checks(contract, mart.name)],
        pool=POOL,
        retry_policy=dg.RetryPolicy(
            max_retries=3, delay=3, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
        ),
    )
    def refresh(
        context: dg.AssetExecutionContext, config: Refresh, lakehouse: dg.ResourceParam[ClientSource]
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
        # Late: these bring their engines' clients, which loading the definitions does not need.
        from lakehouse_dagster.governance.marts import Wanted, refresh_mart
        from lakehouse_dagster.governance.wap import AuditFailed
        from lakehouse_dagster.lineage.marts import mart_run

        first, last = _day("first", config.first), _day("last", config.last)
        if mart.partition is None and (first or last):
            raise dg.Failure(
                f"{mart.name} has no partitions, so it is always computed whole; leave out first and last",
                allow_retries=False,
            )
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
            try:
                done = refresh_mart(
                    contract,
                    mart.name,
                    clients,
                    run_id=context.run_id,
                    wanted=Wanted(config.everything, first, last),
                    log=context.log.info,
                )
            except AuditFailed as error:
                yield from _check_results(key, error.audits)
                # Trying again would give the same answer.
                raise dg.Failure(
                    f"{error}; readers keep the version before",
                    metadata={audit.name: _failing(audit) for audit in error.audits if audit.blocks},
                    allow_retries=False,
                ) from error
            run.read(done.read)
            rows = done.written
            run.wrote(
                nessie_hash=done.hash,
                rows=rows.rows,
                columns=dict(zip(rows.columns, rows.types, strict=True)),
            )
        metadata = _metadata(mart, done, time.monotonic() - started)
        metadata["dagster/column_lineage"] = column_lineage(contract, LAYER, mart.name)
        yield dg.MaterializeResult(asset_key=key, metadata=metadata)
        yield from _check_results(key, done.audits)

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


def _day(name: str, text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise dg.Failure(
            f"{name} is {text!r}, which is no date; write it as 2013-01-31", allow_retries=False
        ) from error


def _check_spec(key: dg.AssetKey, check: CheckQuery) -> dg.AssetCheckSpec:
    blocking = check.severity == "error"
    return dg.AssetCheckSpec(
        check.name,
        asset=key,
        description=f"{check.description} "
        + ("A mart that fails it is not published." if blocking else "A mart that fails it is published."),
        blocking=blocking,
    )


def _check_results(key: dg.AssetKey, audits: Sequence["Audit"]) -> Iterator[dg.AssetCheckResult]:
    for audit in audits:
        yield dg.AssetCheckResult(
            asset_key=key,
            check_name=audit.name,
            passed=audit.passed,
            severity=_SEVERITY[audit.severity],
            description=None if audit.passed else f"{audit.failing} rows: {audit.description}",
            metadata={"failing rows": audit.failing, **({} if audit.passed else {"sample": _failing(audit)})},
        )


def _failing(audit: "Audit") -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(markdown_table(audit.columns, audit.sample))


def _metadata(mart: Mart, done: "Published[MartRows]", seconds: float) -> dict[str, Any]:
    rows, plan = done.written, done.written.plan
    told = {
        "dagster/row_count": rows.rows,
        "preview": dg.MetadataValue.md(markdown_table(rows.columns, rows.sample)),
        "nessie_hash": done.read,
        "published_as": done.hash or "nothing to publish: no source has changed",
        "seconds": round(seconds, 2),
        "dagster/column_schema": dg.TableSchema(
            columns=[_column(mart, name, kind) for name, kind in zip(rows.columns, rows.types, strict=True)]
        ),
    }
    if plan is not None:
        told["partitions_computed"] = len(plan.days)
        told["computed_because"] = plan.reason
    return told


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return rows as a Markdown table; a cell is what the value prints as, NULL is left empty."""

    def line(cells: Sequence[Any]) -> str:
        return "| " + " | ".join(_cell(cell) for cell in cells) + " |"

    return "\n".join([line(columns), "|" + "---|" * len(columns), *(line(row) for row in rows)])


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
