"""Layer ``proof``: that every place holds all of a table up to a position of the source."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from lakehouse_dagster.contract.applied import current
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.errors import ContractError
from lakehouse_dagster.engines.clients import ClientSource
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.layers import keys
from lakehouse_dagster.layers.describe import asset_spec
from lakehouse_dagster.layers.marts import markdown_table
from lakehouse_dagster.proof.proofs import (
    DEFAULT_RATE,
    DEFAULT_ROUNDS,
    FRESH_INTERVALS,
    SCHEDULE,
    SCHEDULE_SECONDS,
    Proof,
)
from lakehouse_dagster.proof.subject import Subject, subjects

if TYPE_CHECKING:
    from lakehouse_dagster.proof.prove import ProofReport

LAYER = "proof"
COMPLETE = "complete"
SETTLED = "settled"
FRESH = "proof_is_fresh"
LONGEST_SECONDS = 6 * 3600
"""A run that lasts longer is ended by Dagster."""
TIMEOUT_SECONDS = 15.0
WATCH_SECONDS = 60
CHECK_AGAIN_SECONDS = 1800
"""A check whose result stays the same is reported so often."""
FRESH_SECONDS = FRESH_INTERVALS * SCHEDULE_SECONDS

_DESCRIPTIONS = {
    COMPLETE: "Every place was compared, and no row is missing, extra or different.",
    SETTLED: "No row kept changing so that it could neither be proven nor found wrong.",
    FRESH: f"In every place the newest proof is at most {FRESH_SECONDS / 3600:g} h old.",
}


def build_proof_defs(contract: Contract) -> dg.Definitions:
    """Return assets, checks, the job, its schedule and the sensor that judges the proofs' age."""
    job = prove_job(contract)
    return dg.Definitions(
        assets=[proof_assets(contract)],
        asset_checks=[fresh_checks(contract)],
        jobs=[job],
        schedules=[
            dg.ScheduleDefinition(
                name=f"{contract.name}_prove_schedule",
                job=job,
                cron_schedule=SCHEDULE,
                execution_timezone="UTC",
                default_status=dg.DefaultScheduleStatus.RUNNING,
                description="Proves every table in every place, while all of them are being written.",
                tags={"pipeline": contract.name},
            )
        ],
        sensors=[proof_watch(contract)],
    )


# --- the assets -----------------------------------------------------------------------------------


def proof_specs(contract: Contract) -> list[dg.AssetSpec]:
    """Return one asset per table."""
    return [
        asset_spec(
            contract,
            LAYER,
            keys.proof(contract.name, table.name),
            description=(
                f"Every row and column of `{contract.database}.{table.name}` as of one position of the "
                "source, compared with every place once it has passed that position; rows that changed since "
                "are settled in further rounds, and those that could not be are counted. Nothing is stopped "
                f"for it. Also `lakehouse prove {contract.name} --table {table.name}`; what is proven: "
                f"`lakehouse proofs {contract.name}`."
            ),
            kinds={"mysql", "python"},
            deps=[
                keys.source(contract.name, table.name),
                keys.lake(contract.name, table.name),
                keys.publication(contract.name),
                *(keys.view(contract.name, view.name) for view in contract.views_of(table.name)),
            ],
            owner=table.owner,
            table_name=f"{contract.database}.{table.name}",
        )
        for table in contract.tables
    ]


def proof_assets(contract: Contract) -> dg.AssetsDefinition:
    """Return the assets; one run proves all that are selected by one read of the source."""

    @dg.multi_asset(
        name=f"{contract.name}_proof",
        specs=proof_specs(contract),
        check_specs=[
            dg.AssetCheckSpec(
                name=name, asset=keys.proof(contract.name, table.name), description=_DESCRIPTIONS[name]
            )
            for table in contract.tables
            for name in (COMPLETE, SETTLED)
        ],
        can_subset=True,
        op_tags={"pipeline": contract.name},
    )
    def proof(context: dg.AssetExecutionContext, lakehouse: dg.ResourceParam[ClientSource]) -> Iterator[Any]:
        # Late: the engines' clients come with it.
        from lakehouse_dagster.proof.prove import prove

        tables = [
            table.name
            for table in contract.tables
            if keys.proof(contract.name, table.name) in context.selected_asset_keys
        ]
        try:
            with lakehouse.clients(timeout=TIMEOUT_SECONDS) as clients:
                report = prove(
                    current(contract),
                    clients,
                    tables=tables,
                    rate=DEFAULT_RATE,
                    rounds=DEFAULT_ROUNDS,
                    actor=f"dagster run {context.run_id}",
                    report=context.log.info,
                )
        except (EngineError, ContractError) as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        wanted = context.selected_asset_check_keys
        for table in tables:
            proofs = [outcome.proof for outcome in report.outcomes if outcome.proof.table == table]
            if proofs:
                yield dg.MaterializeResult[None](
                    asset_key=keys.proof(contract.name, table), metadata=metadata(proofs)
                )
            for result in check_results(contract, table, report):
                if dg.AssetCheckKey(keys.proof(contract.name, table), result.check_name or "") in wanted:
                    yield result
        if report.problems:
            said = "; ".join(f"{where}: {why}" for where, why in report.problems.items())
            raise dg.Failure(f"not everything could be compared: {said}", allow_retries=False)

    return proof


def metadata(proofs: Sequence[Proof]) -> dict[str, Any]:
    """What Dagster shows of one table's proof; the proofs are of one run, and not none."""
    first = proofs[0]
    columns = ("place", "view", "source rows", "rows", "missing", "extra", "different", "unsettled", "rounds")
    rows = [
        (p.place, p.view, p.source_rows, p.rows, p.missing, p.extra, p.different, p.unsettled, p.rounds)
        for p in proofs
    ]
    return {
        "complete_up_to": first.position,
        "gtids": first.gtids,
        "as_of": dg.MetadataValue.timestamp(first.as_of.timestamp()),
        "dagster/row_count": first.source_rows,
        "rows_compared": sum(p.rows for p in proofs),
        "differences": sum(p.differences for p in proofs),
        "unsettled": sum(p.unsettled for p in proofs),
        "seconds": round(first.seconds, 1),
        "source_rows_per_second": round(first.source_rows_per_second),
        "places": dg.MetadataValue.md(markdown_table(columns, rows)),
    }


def check_results(contract: Contract, table: str, report: "ProofReport") -> list[dg.AssetCheckResult]:
    """Judge one table's part of a proof."""
    proofs = [outcome.proof for outcome in report.outcomes if outcome.proof.table == table]
    wanted = [subject for subject in subjects(contract) if subject.table == table]
    there = {(p.place, p.view) for p in proofs}
    absent = [s for s in wanted if (s.place, s.view) not in there]
    wrong = [p for p in proofs if p.differences]
    open_ = [p for p in proofs if p.unsettled]
    said = [f"{p.place} {p.view or p.table}: {_counts(p)}" for p in wrong]
    why = f" ({report.problems[table]})" if table in report.problems else ""
    said += [f"{s.place} {s.label}: not compared{why}" for s in absent]
    rows = sum(p.rows for p in proofs)
    key = keys.proof(contract.name, table)
    examples = {f"{p.place}/{p.view or p.table}": [dict(e) for e in p.examples] for p in wrong}
    return [
        dg.AssetCheckResult(
            asset_key=key,
            check_name=COMPLETE,
            passed=not said,
            description="; ".join(said) or f"{rows:,} rows in {len(proofs)} place(s), none is wrong",
            metadata={"wrong_rows": dg.MetadataValue.json(examples)} if examples else {},
        ),
        dg.AssetCheckResult(
            asset_key=key,
            check_name=SETTLED,
            passed=not open_,
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(f"{p.place} {p.view or p.table}: {p.unsettled:,} rows" for p in open_)
            or "every row was settled",
        ),
    ]


def _counts(proof: Proof) -> str:
    counts = ((proof.missing, "missing"), (proof.extra, "extra"), (proof.different, "different"))
    return ", ".join(f"{count:,} {name}" for count, name in counts if count)


def prove_job(contract: Contract) -> Any:
    """Return the job that proves all tables."""
    return dg.define_asset_job(
        name=f"{contract.name}_prove",
        selection=dg.AssetSelection.assets(*(spec.key for spec in proof_specs(contract))),
        description=f"Proves every table of `{contract.name}` in every place, by one consistent read of the "
        f"source at {DEFAULT_RATE:,.0f} rows per second at most. Safe at any time; one proof at a time.",
        tags={
            "pipeline": contract.name,
            "owner": contract.owner,
            "dagster/max_runtime": str(LONGEST_SECONDS),
        },
    )


# --- how old the proofs are -----------------------------------------------------------------------


@dataclass(frozen=True)
class Age:
    """The judgement of one table's proofs by their age."""

    table: str
    passed: bool
    said: str
    severe: bool = True
    metadata: Mapping[str, Any] = field(default_factory=dict)


def ages(contract: Contract, newest: Sequence[Proof], now: datetime) -> list[Age]:
    """Judge the newest proofs of each table; the oldest place decides."""
    last = {(p.table, p.place, p.view): p for p in newest}
    found = []
    for table in contract.tables:
        mine = [subject for subject in subjects(contract) if subject.table == table.name]
        proofs = [last.get((s.table, s.place, s.view)) for s in mine]
        found.append(_age(table.name, list(zip(mine, proofs, strict=True)), now))
    return found


def _age(table: str, proofs: Sequence[tuple[Subject, Proof | None]], now: datetime) -> Age:
    never = [f"{subject.place} {subject.label}" for subject, proof in proofs if proof is None]
    old = [
        (proof.age(now), f"{subject.place} {subject.label}")
        for subject, proof in proofs
        if proof is not None and proof.age(now) > FRESH_SECONDS
    ]
    oldest = max((proof.age(now) for _, proof in proofs if proof is not None), default=None)
    shown = {} if oldest is None else {"oldest_seconds": round(oldest, 1)}
    if old:
        seconds, name = max(old)
        said = (
            f"the proof of {name} is {seconds / 3600:.1f} h old, at most {FRESH_SECONDS / 3600:g} h is well"
        )
        return Age(table, False, said, metadata=shown)
    if never:
        return Age(table, False, f"never proven: {', '.join(never)}", severe=False, metadata=shown)
    return Age(table, True, f"the oldest proof is {(oldest or 0.0) / 60:.0f} min old", metadata=shown)


def fresh_checks(contract: Contract) -> dg.AssetChecksDefinition:
    """Return the checks as they can be run by hand and after a proof; otherwise the sensor evaluates them."""
    specs = [
        dg.AssetCheckSpec(
            name=FRESH, asset=keys.proof(contract.name, table.name), description=_DESCRIPTIONS[FRESH]
        )
        for table in contract.tables
    ]

    @dg.multi_asset_check(
        name=f"{contract.name}_proof_checks",
        specs=specs,
        description=f"Judges how old the proofs of `{contract.name}` are.",
        can_subset=True,
    )
    def check(
        context: dg.AssetCheckExecutionContext, lakehouse: dg.ResourceParam[ClientSource]
    ) -> Iterator[dg.AssetCheckResult]:
        try:
            found = _look(contract, lakehouse)
        except EngineError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        for age in found:
            key = keys.proof(contract.name, age.table)
            if dg.AssetCheckKey(key, FRESH) in context.selected_asset_check_keys:
                yield dg.AssetCheckResult(
                    asset_key=key,
                    check_name=FRESH,
                    passed=age.passed,
                    severity=_severity(age),
                    description=age.said,
                    metadata=age.metadata,
                )

    return check


def proof_watch(contract: Contract) -> dg.SensorDefinition:
    """Return the sensor that judges the age of the proofs: one small question to PostgreSQL per tick."""

    @dg.sensor(
        name=f"{contract.name}_proof_watch",
        description="Judges how old the proofs are, so that a schedule that stands still is noticed.",
        minimum_interval_seconds=WATCH_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        tags={"pipeline": contract.name},
    )
    def watch(
        context: dg.SensorEvaluationContext, lakehouse: dg.ResourceParam[ClientSource]
    ) -> dg.SensorResult | dg.SkipReason:
        try:
            found = _look(contract, lakehouse)
        except EngineError as error:
            return dg.SkipReason(str(error))
        due, cursor = news(found, context.cursor, time.time())
        return dg.SensorResult(
            asset_events=[
                dg.AssetCheckEvaluation(
                    asset_key=keys.proof(contract.name, age.table),
                    check_name=FRESH,
                    passed=age.passed,
                    severity=_severity(age),
                    description=age.said,
                    metadata=age.metadata,
                )
                for age in due
            ],
            cursor=cursor,
            skip_reason=dg.SkipReason(
                "; ".join(age.said for age in found if not age.passed) or "all are fresh"
            ),
        )

    return watch


def news(found: Sequence[Age], cursor: str | None, now: float) -> tuple[list[Age], str]:
    """The judgements to report, which are new or were reported long ago, and the cursor after that."""
    try:
        told: dict[str, Any] = json.loads(cursor or "{}")
    except ValueError:
        told = {}
    due = []
    after = {}
    for age in found:
        state = [age.passed, age.severe]
        before = told.get(age.table) or [None, None, 0.0]
        if before[:2] == state and now - before[2] < CHECK_AGAIN_SECONDS:
            after[age.table] = before
            continue
        due.append(age)
        after[age.table] = [*state, now]
    return due, json.dumps(after)


def _look(contract: Contract, lakehouse: ClientSource) -> list[Age]:
    # Late, because the database's client comes with it.
    from lakehouse_dagster.proof.proof_store import ProofStore

    with lakehouse.clients(timeout=TIMEOUT_SECONDS) as clients:
        return ages(contract, ProofStore(clients.postgres).newest(contract.name), datetime.now(UTC))


def _severity(age: Age) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.ERROR if age.severe else dg.AssetCheckSeverity.WARN
