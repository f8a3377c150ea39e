"""The jobs of versions: what the command line does, with a form in the UI."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
from pydantic import Field, model_validator

from lakehouse_dagster.contract.applied import current
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.clients import Clients, ClientSource
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.layers.marts import markdown_table
from lakehouse_dagster.layers.one_op_job import one_op_job

TIMEOUT_SECONDS = 30.0
LONGEST_SECONDS = 6 * 3600
"""A run that lasts longer is ended by Dagster."""
VERSION = "A branch, a tag, a commit's hash, main~N (publications ago), or a time (ISO 8601)."

Context = dg.OpExecutionContext
Lakehouse = dg.ResourceParam[ClientSource]


class TagConfig(dg.Config):
    """Make or delete a tag."""

    name: str = Field(description="Lower-case letters, digits and underscores.")
    source: str = Field(default="main", description=VERSION)
    metadata_only: bool = Field(
        default=False,
        description="Leave the data where it is and have Paimon keep it: for very large tables.",
    )
    keep_days: float | None = Field(default=None, ge=0, description="Delete it after so many days.")
    delete: bool = Field(default=False, description="Delete the tag of this name instead.")


class BranchConfig(dg.Config):
    """Make or delete a branch."""

    name: str = Field(description="Lower-case letters, digits and underscores.")
    source: str = Field(default="main", description=VERSION)
    keep_days: float | None = Field(default=None, ge=0, description="Delete it after so many days.")
    delete: bool = Field(default=False, description="Delete the branch of this name instead, unmerged.")


class MergeConfig(dg.Config):
    """Merge a branch."""

    name: str = Field(description="Of the branch.")
    checks: list[str] = Field(default=[], description="Queries over the branch that must return no row.")
    dry_run: bool = Field(default=False, description="Check, and say what would be merged.")


class RollbackConfig(dg.Config):
    """Roll back, or go forward again."""

    to: str = Field(default="", description=VERSION)
    forward: bool = Field(default=False, description="Go on publishing, beginning now.")
    why: str = Field(default="", description="The reason, shown to whoever asks.")

    @model_validator(mode="after")
    def _one(self) -> "RollbackConfig":
        if bool(self.to) == self.forward:
            raise ValueError("give one of `to` and `forward: true`")
        return self


class DiffConfig(dg.Config):
    """Compare two versions."""

    before: str = Field(description=VERSION)
    after: str = Field(default="main", description=VERSION)
    table: str | None = Field(default=None, description="Only this lake table or mart.")
    limit: int = Field(default=10, ge=0, le=1000, description="Rows to show of each table.")


def version_jobs(contract: Contract) -> list[dg.JobDefinition]:
    """Return the jobs of the versions of ``contract``."""
    return [
        tag_job(contract),
        branch_job(contract),
        merge_job(contract),
        rollback_job(contract),
        diff_job(contract),
    ]


def tag_job(contract: Contract) -> dg.JobDefinition:
    """Return the job that makes a tag."""
    name = f"{contract.name}_tag"

    @dg.op(name=f"{name}_op", description="Copies all tables and tags the copies.")
    def tag(context: Context, config: TagConfig, lakehouse: Lakehouse) -> None:
        _freeze(
            contract,
            context,
            lakehouse,
            "tag",
            config.name,
            config.delete,
            {
                "source": config.source,
                "metadata_only": config.metadata_only,
                "keep_days": config.keep_days,
            },
        )

    return _job(
        contract,
        name,
        "Tags what `main` (or another version) shows of all lake tables and marts. The tag holds copies of "
        "their files, so it stays readable whatever is expired or compacted since; Trino shows it as the "
        "catalog `lake_<name>`.",
        tag,
    )


def branch_job(contract: Contract) -> dg.JobDefinition:
    """Return the job that makes a branch."""
    name = f"{contract.name}_branch"

    @dg.op(name=f"{name}_op", description="Copies all tables and makes a branch of the copies.")
    def branch(context: Context, config: BranchConfig, lakehouse: Lakehouse) -> None:
        _freeze(
            contract,
            context,
            lakehouse,
            "branch",
            config.name,
            config.delete,
            {"source": config.source, "keep_days": config.keep_days},
        )

    return _job(
        contract,
        name,
        "Gives a team its own writable version of the pipeline, in Trino as the catalog `lake_<name>`. The "
        f"streams go on writing `main`. Merge what the team makes with `{contract.name}_merge`.",
        branch,
    )


def merge_job(contract: Contract) -> dg.JobDefinition:
    """Return the job that merges a branch."""
    name = f"{contract.name}_merge"

    @dg.op(name=f"{name}_op", description="Runs the checks on a branch and merges exactly that.")
    def merge(context: Context, config: MergeConfig, lakehouse: Lakehouse) -> None:
        from lakehouse_dagster.governance.versions.commands import merge_json
        from lakehouse_dagster.governance.versions.merge import merge_branch

        with _clients(lakehouse) as clients:
            done = merge_branch(
                clients,
                current(contract),
                config.name,
                checks=config.checks,
                dry_run=config.dry_run,
                actor=_actor(context),
            )
        told = merge_json(config.name, done)
        context.add_output_metadata({"merge": dg.MetadataValue.json(_plain(told))})
        if not done.mergeable:
            raise dg.Failure(
                f"nothing is merged: checks failed: {[check.sql for check in done.failed]}, in conflict: "
                f"{told['conflicts']}",
                allow_retries=False,
            )
        context.log.info(f"brought: {told['brought']}; not merged (lake tables): {told['kept_out']}")

    return _job(
        contract,
        name,
        "Merges what a team made on its branch into `main`, after queries over the branch that must return "
        "no row. Nothing is merged when one does, or when `main` has changed the same table. Lake tables are "
        "never merged: on `main` only Flink writes them.",
        merge,
    )


def rollback_job(contract: Contract) -> dg.JobDefinition:
    """Return the job that rolls back and forward."""
    name = f"{contract.name}_rollback"

    @dg.op(name=f"{name}_op", description="Shows readers an earlier version, or the newest again.")
    def rollback(context: Context, config: RollbackConfig, lakehouse: Lakehouse) -> None:
        from lakehouse_dagster.governance.versions.rollback import forward, roll_back

        with _clients(lakehouse) as clients:
            if config.forward:
                gone = forward(clients, current(contract), actor=_actor(context))
                context.log.info(f"published {gone.published}; {gone.held or 'publication goes on'}")
                context.add_output_metadata({"seconds": round(gone.seconds, 2)})
                return
            done = roll_back(
                clients,
                current(contract),
                config.to,
                reason=config.why,
                actor=_actor(context),
                report=context.log.info,
            )
        context.add_output_metadata(
            {
                "nessie_hash": done.hash,
                "target": done.target,
                "moved": ", ".join(".".join(key) for key in done.moved),
                "seconds": round(done.seconds, 2),
            }
        )

    return _job(
        contract,
        name,
        "Lets readers of `main` see an earlier version of all tables, while the streams go on; publication "
        "is held back until a run with `forward: true`. Refused, naming what is gone, when the version is "
        "not readable any more; a tag always is.",
        rollback,
    )


def diff_job(contract: Contract) -> dg.JobDefinition:
    """Return the job that compares two versions."""
    name = f"{contract.name}_diff"

    @dg.op(name=f"{name}_op", description="Compares two versions row by row, in Trino.")
    def compare(context: Context, config: DiffConfig, lakehouse: Lakehouse) -> None:
        from lakehouse_dagster.governance.versions.commands import diff_json
        from lakehouse_dagster.governance.versions.diff import diff

        with _clients(lakehouse) as clients:
            found = diff(
                clients,
                current(contract),
                config.before,
                config.after,
                table=config.table,
                limit=config.limit,
                report=context.log.info,
            )
        rows = [
            (
                one.table,
                f"only in {one.only_in}" if one.only_in else one.added,
                one.removed,
                one.changed,
                one.same,
            )
            for one in found.tables
        ]
        context.add_output_metadata(
            {
                "differences": dg.MetadataValue.md(
                    markdown_table(("table", "added", "removed", "changed", "same"), rows)
                ),
                "identical": ", ".join(found.identical),
                "diff": dg.MetadataValue.json(_plain(diff_json(found))),
            }
        )

    return _job(
        contract,
        name,
        "Compares two versions by primary key: rows added, removed and changed of every table, some of them "
        "with their values before and after, as metadata of the run.",
        compare,
    )


def _freeze(
    contract: Contract,
    context: Context,
    lakehouse: Any,
    kind: Any,
    name: str,
    delete: bool,
    options: dict[str, Any],
) -> None:
    from lakehouse_dagster.governance.versions.commands import frozen_json
    from lakehouse_dagster.governance.versions.freeze import end, freeze

    with _clients(lakehouse) as clients:
        if delete:
            context.log.info(f"{kind} {name} was at {end(clients, current(contract), kind, name).hash}")
            return
        made = freeze(
            clients,
            current(contract),
            kind,
            name,
            actor=_actor(context),
            report=context.log.info,
            **options,
        )
    if made.trouble:
        context.log.warning(made.trouble)
    context.add_output_metadata(
        {
            "nessie_hash": made.hash,
            "catalog": made.catalog,
            "seconds": round(made.seconds, 2),
            kind: dg.MetadataValue.json(frozen_json(made)),
        }
    )


def _job(contract: Contract, name: str, description: str, op: dg.OpDefinition) -> dg.JobDefinition:
    return one_op_job(contract, name, description, op, longest_seconds=LONGEST_SECONDS)


@contextmanager
def _clients(lakehouse: Any) -> Iterator[Clients]:
    """Give clients; what goes wrong becomes the run's failure, in plain words."""
    try:
        with lakehouse.clients(timeout=TIMEOUT_SECONDS) as clients:
            yield clients
    except (EngineError, ValueError) as error:
        raise dg.Failure(str(error), allow_retries=False) from error


def _actor(context: Any) -> str:
    return f"dagster run {context.run_id}"


def _plain(value: Any) -> Any:
    """Values as JSON has them; a date, a decimal or bytes as the text that Python prints."""
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
