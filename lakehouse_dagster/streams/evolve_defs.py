"""Schema changes in Dagster: a check on every source table, a sensor that looks, and the jobs that apply."""

import hashlib
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lakehouse_dagster.contract.applied import current
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.errors import ContractError
from lakehouse_dagster.engines.clients import Clients, ClientSource
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.layers import keys
from lakehouse_dagster.layers.one_op_job import one_op_job
from lakehouse_dagster.streams import evolve, runs
from lakehouse_dagster.streams.assets import CONNECTOR
from lakehouse_dagster.streams.events import RUN_ACTOR
from lakehouse_dagster.streams.evolve_store import SchemaStore
from lakehouse_dagster.streams.repair_offer import ready
from lakehouse_dagster.streams.store import StreamStore

CHECK = "schema_matches"
UNLISTED = "no_unlisted_table"
TICK_SECONDS = 15
CHECK_AGAIN_SECONDS = 300
"""Results that stay the same are reported so often."""
LONGEST_PAUSE_SECONDS = 600
"""Runs for the same thing, which failed, are asked for with pauses that double up to this."""
TIMEOUT_SECONDS = 15.0
LONGEST_SECONDS = 24 * 3600
"""Rows of a table may have to be read again."""

Lakehouse = dg.ResourceParam[ClientSource]


class ApproveSchemaConfig(dg.Config):
    """Apply changes of the source's schema that are held, and repair tables whose rows are in doubt."""

    table: str | None = Field(default=None, description="Only changes of this table; of all by default.")
    changes: list[str] = Field(
        default=[],
        description="Ids of changes, as the check shows them: these and no others. All of them by default, "
        "and what is in doubt.",
    )


def approve_job_name(contract: Contract) -> str:
    """Name of the job by which a person approves."""
    return f"{contract.name}_approve_schema_change"


def apply_job_name(contract: Contract) -> str:
    """Name of the job that the sensor asks for."""
    return f"{contract.name}_apply_schema_change"


def build_evolution_defs(contract: Contract) -> dg.Definitions:
    """Return checks, jobs and the sensor of a pipeline's schema changes. They need the resource
    ``lakehouse``.
    """
    apply = apply_job(contract)
    return dg.Definitions(
        asset_checks=[schema_checks(contract)],
        jobs=[approve_job(contract), apply],
        sensors=[schema_sensor(contract, apply)],
    )


# --- judging --------------------------------------------------------------------------------------


def outcome(
    situation: evolve.Situation, table: str
) -> tuple[bool, dg.AssetCheckSeverity, str, dict[str, Any]]:
    """Judge one table: whether its shape is the lock's, how bad it is, in words, and the difference."""
    verdict = situation.verdicts.get(table)
    severe = dg.AssetCheckSeverity.ERROR
    if verdict is None or verdict.answer == "ignore":
        if obstacles := situation.locked_by_hand.get(table):
            return False, severe, f"locked anew by hand, and cannot be made so: {'; '.join(obstacles)}", {}
        if table in situation.locked_by_hand or table in situation.passed:
            return False, dg.AssetCheckSeverity.WARN, "its change is being applied", {}
        if table in situation.doubtful:
            job = approve_job_name(situation.contract)
            said = f"{table} was emptied or made anew: rows may be gone; run the job {job} to look for them"
            run_config, launchpad = ready(job, {"table": table})
            offer = f"Launch [`{job}`]({launchpad}) with this configuration:\n\n```yaml\n{run_config}```"
            return False, severe, said, {"approve": dg.MetadataValue.md(offer)}
        left_out = len(verdict.changes) if verdict is not None else 0
        said = f"as locked; {left_out} change(s) are left out" if left_out else "as locked"
        metadata: dict[str, Any] = _shown(situation, table)
        if table in situation.uncommitted:
            name = situation.contract.name
            said = f"{said}, with changes that are not committed yet: run `lakehouse schema commit {name}`"
            return False, dg.AssetCheckSeverity.WARN, said, metadata
        return True, severe, said, metadata
    metadata = _shown(situation, table)
    if verdict.answer == "apply":
        return False, dg.AssetCheckSeverity.WARN, "its change is being applied", metadata
    flow = "it does not flow meanwhile" if verdict.flow == "stopped" else "its old shape flows on meanwhile"
    said = f"{'; '.join(verdict.reasons)}; {flow}. The job {approve_job_name(situation.contract)} approves it"
    metadata["approve"] = dg.MetadataValue.md(approval(situation, [verdict.table]))
    return False, severe, said, metadata


def unlisted_outcome(situation: evolve.Situation) -> tuple[bool, dg.AssetCheckSeverity, str, dict[str, Any]]:
    """Judge the tables of the database that the contract does not list."""
    severe = dg.AssetCheckSeverity.ERROR
    known = {table.name for table in situation.contract.tables}
    held = [verdict.table for verdict in situation.held if verdict.table not in known]
    if not held:
        return True, severe, "no table waits to be listed or to be left out", {}
    said = (
        f"the database has tables that are not copied: {', '.join(held)}; list them in `tables` and run "
        f"`lakehouse lock {situation.contract.name}`, or leave them out for good with the job "
        f"{approve_job_name(situation.contract)}"
    )
    return False, severe, said, {"approve": dg.MetadataValue.md(approval(situation, held))}


def approval(situation: evolve.Situation, tables: Sequence[str]) -> str:
    """How to approve the changes of some tables as they are now, in Markdown."""
    job = approve_job_name(situation.contract)
    ids = [change.id for table in tables for change in situation.verdicts[table].changes]
    run_config, launchpad = ready(job, {"changes": ids})
    options = " ".join(f"--change {number}" for number in ids)
    return (
        f"Launch [`{job}`]({launchpad}) with this configuration:\n\n```yaml\n{run_config}```\n\n"
        f"or run `lakehouse schema approve {situation.contract.name} {options}`. Exactly these changes are "
        "approved: one that is made meanwhile is held again."
    )


def _shown(situation: evolve.Situation, table: str) -> dict[str, Any]:
    if table not in situation.verdicts:
        return {}
    return {"difference": dg.MetadataValue.md(difference(situation, table))}


def difference(situation: evolve.Situation, table: str) -> str:
    """The difference of one table as a Markdown table, with the statements behind it."""
    verdict = situation.verdicts[table]
    lines = ["| id | change | locked | source | answer |", "| --- | --- | --- | --- | --- |"]
    for item in verdict.decided:
        change = item.change
        what = change.kind.value.replace("_", " ") + (f" {change.column}" if change.column else "")
        lines.append(
            f"| {change.id} | {_cell(what)} | {_cell(change.old)} | {_cell(change.new)} | "
            f"{item.answer}: {_cell(item.why)} |"
        )
    history = situation.histories.get(table)
    for ddl in history.ddls if history is not None else ():
        lines += ["", f"{ddl.place}, {_time(ddl.ts_us)} UTC:", "", f"    {' '.join(ddl.statement.split())}"]
    return "\n".join(lines)


def _time(ts_us: int) -> str:
    return f"{datetime.fromtimestamp(ts_us / 1_000_000, UTC):%Y-%m-%d %H:%M:%S}"


def _cell(text: str | None) -> str:
    return "" if text is None else text.replace("|", "\\|").replace("\n", " ")


def check_specs(contract: Contract) -> list[dg.AssetCheckSpec]:
    """One check per source table, and one about all others of the database."""
    unlisted = dg.AssetCheckSpec(
        name=UNLISTED,
        asset=keys.stream(contract.name, CONNECTOR),
        description="The database has no table that the policy `new_table` wants a person to see first.",
    )
    matches = [
        dg.AssetCheckSpec(
            name=CHECK,
            asset=keys.source(contract.name, table.name),
            description="The source's table has the shape that is locked; if not, the check shows the "
            "difference and what becomes of it.",
        )
        for table in contract.tables
    ]
    return [*matches, unlisted]


def schema_checks(contract: Contract) -> dg.AssetChecksDefinition:
    """The checks as they can be run by hand; otherwise the sensor evaluates them."""

    @dg.multi_asset_check(
        name=f"{contract.name}_schema_checks",
        specs=check_specs(contract),
        description=f"Compares the source's tables with the locked schema of `{contract.name}`.",
        can_subset=True,
    )
    def check(context: dg.AssetCheckExecutionContext, lakehouse: Lakehouse) -> Iterator[dg.AssetCheckResult]:
        try:
            with lakehouse.clients(timeout=TIMEOUT_SECONDS) as clients:
                situation = _look(contract, clients)
        except (EngineError, ContractError) as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        for found in evaluations(situation):
            if found.asset_check_key in context.selected_asset_check_keys:
                yield dg.AssetCheckResult(
                    asset_key=found.asset_key,
                    check_name=found.check_name,
                    passed=found.passed,
                    severity=found.severity,
                    description=found.description,
                    metadata=found.metadata,
                )

    return check


def evaluations(situation: evolve.Situation) -> list[dg.AssetCheckEvaluation]:
    """The checks' results as a sensor reports them."""
    contract = situation.contract
    judged = [
        (keys.source(contract.name, table.name), CHECK, outcome(situation, table.name))
        for table in contract.tables
    ]
    judged.append((keys.stream(contract.name, CONNECTOR), UNLISTED, unlisted_outcome(situation)))
    return [
        dg.AssetCheckEvaluation(
            asset_key=asset,
            check_name=name,
            passed=passed,
            severity=severity,
            description=said,
            metadata=metadata,
        )
        for asset, name, (passed, severity, said, metadata) in judged
    ]


# --- looking --------------------------------------------------------------------------------------


class Cursor(BaseModel):
    """What the sensor keeps between its ticks; times are seconds since 1970."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = 1
    told: str = ""
    """Stands for the results that were reported last."""
    told_at: int = 0
    wish: str = ""
    """Stands for what a run was asked for last."""
    asked_at: int = 0
    times: int = 0
    """How often it was asked for, one after the other."""

    @classmethod
    def parse(cls, text: str | None) -> "Cursor":
        """Read a stored cursor; what is none is an empty one, with which everything is told once more."""
        try:
            return cls.model_validate_json(text) if text else cls()
        except ValidationError:
            return cls()

    def telling(self, results: Sequence[dg.AssetCheckEvaluation], now: float) -> "Cursor | None":
        """The cursor after reporting ``results``; None when they need not be reported."""
        told = _digest(repr([(item.passed, item.severity, item.description) for item in results]))
        if told == self.told and now - self.told_at < CHECK_AGAIN_SECONDS:
            return None
        return self.model_copy(update={"told": told, "told_at": int(now)})

    def asking(self, wish: str | None, now: float) -> "Cursor | None":
        """The cursor after asking for a run; None when none is to be asked for now."""
        if wish is None:
            return None
        name = _digest(wish)
        times = self.times + 1 if name == self.wish else 1
        pause = min(LONGEST_PAUSE_SECONDS, TICK_SECONDS * 2 ** min(times - 1, 16))
        if times > 1 and now - self.asked_at < pause:
            return None
        return self.model_copy(update={"wish": name, "asked_at": int(now), "times": times})


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def schema_sensor(contract: Contract, job: dg.JobDefinition) -> dg.SensorDefinition:
    """Return the sensor that compares the source's schema with the lock, and asks for a run where a change is
    to be applied, a table is to be stopped, or an application was interrupted.
    """

    @dg.sensor(
        name=f"{contract.name}_schema_watch",
        job=job,
        description="Compares the source's schema with the lock in force, reads the statements of the "
        "schema-change topic, reports the checks `schema_matches`, and has changes applied that the policy "
        "lets pass.",
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        tags={"pipeline": contract.name},
    )
    def watch(context: dg.SensorEvaluationContext, lakehouse: Lakehouse) -> dg.SensorResult:
        cursor, now = Cursor.parse(context.cursor), time.time()
        try:
            with lakehouse.clients(timeout=TIMEOUT_SECONDS) as clients:
                situation = _look(contract, clients)
                order = situation.order or evolve.order_of(situation, by="the policy")
                followed = StreamStore(clients.postgres).busy(contract.name, evolve.LOCK_NAME)
        except (EngineError, ContractError) as error:
            return dg.SensorResult(skip_reason=str(error), cursor=context.cursor)
        results = evaluations(situation)
        told = cursor.telling(results, now)
        cursor = told or cursor
        unfinished = runs.unfinished_runs_of(context.instance, job.name)
        # A run without a process would else keep the next one away, and what it has begun would stay.
        runs.end_dead_runs(context.instance, unfinished, {"": followed})
        coming = followed or any(run.coming for run in unfinished)
        asking = None if coming else cursor.asking(order.dump() if order else None, now)
        cursor = asking or cursor
        said = "; ".join(item.description or "" for item in results if not item.passed) or "as locked"
        return dg.SensorResult(
            run_requests=[dg.RunRequest()] if asking else None,
            asset_events=results if told else [],
            cursor=cursor.model_dump_json(),
            skip_reason=None if asking else said,
        )

    return watch


def _look(contract: Contract, clients: Clients) -> evolve.Situation:
    return evolve.look(current(contract), clients, SchemaStore(clients.postgres))


# --- applying -------------------------------------------------------------------------------------


def apply_job(contract: Contract) -> dg.JobDefinition:
    """Return the job that applies what the policy lets pass."""
    name = apply_job_name(contract)

    @dg.op(name=f"{name}_op", description="Looks at the source's schema and does what the policy says.")
    def apply(context: dg.OpExecutionContext, lakehouse: Lakehouse) -> None:
        _follow(contract, context, lakehouse)

    return _job(
        contract,
        name,
        "Applies changes of the source's schema that the policy lets pass: alters the lake and the views, "
        "sends the jobs back to the statement and starts them with the new shape. Safe at any time.",
        apply,
    )


def approve_job(contract: Contract) -> dg.JobDefinition:
    """Return the job by which a person approves changes that are held; they are applied at once."""
    name = approve_job_name(contract)

    @dg.op(name=f"{name}_op", description="Takes down the approval and applies the changes.")
    def approve(context: dg.OpExecutionContext, config: ApproveSchemaConfig, lakehouse: Lakehouse) -> None:
        _follow(contract, context, lakehouse, config)

    return _job(
        contract,
        name,
        "Approves changes of the source's schema that are held, and applies them. Exactly the changes that "
        "the check shows are meant: one that is made later is held again.",
        approve,
    )


def _follow(
    contract: Contract,
    context: dg.OpExecutionContext,
    lakehouse: ClientSource,
    config: ApproveSchemaConfig | None = None,
) -> None:
    approval = None if config is None else evolve.Approval(config.table, tuple(config.changes))
    try:
        with lakehouse.clients(timeout=TIMEOUT_SECONDS) as clients:
            done = evolve.follow(
                current(contract),
                clients,
                log=context.log.info,
                actor=f"{RUN_ACTOR}{context.run_id}",
                approval=approval,
            )
    except (EngineError, ContractError, ValueError) as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    for said in done.held:
        context.log.warning(f"held: {said}")
    context.log.info(f"applied: {'; '.join(done.applied) or 'nothing'}")
    if done.refused:
        raise dg.Failure(f"still held: {'; '.join(done.refused)}", allow_retries=False)


def _job(contract: Contract, name: str, description: str, op: dg.OpDefinition) -> dg.JobDefinition:
    return one_op_job(contract, name, description, op, longest_seconds=LONGEST_SECONDS)
