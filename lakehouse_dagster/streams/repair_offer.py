"""What is offered for a gap: the job that repairs it, with a run configuration that is ready."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import yaml

from lakehouse_dagster.contract.contract import Contract

LOCATION = "lakehouse_dagster"
"""The code location's name in workspace.yaml, which is part of the UI's addresses."""


@dataclass(frozen=True)
class Offer:
    """A repair: the job's name, its run configuration, and both in words."""

    job: str
    run_config: str
    launchpad: str
    """Address of the job's launchpad with the configuration, relative to the UI's own."""
    markdown: str


def resnapshot_job_name(contract: Contract) -> str:
    """Return the name of the job that snapshots tables anew."""
    return f"{contract.name}_resnapshot"


def repair_offer(contract: Contract, tables: Sequence[str]) -> Offer:
    """Return what repairs a gap in ``tables``; all tables when none is named."""
    job = resnapshot_job_name(contract)
    chosen: dict[str, object] = {"repair": True, **({"tables": list(tables)} if tables else {})}
    run_config, launchpad = ready(job, chosen)
    command = " ".join(["lakehouse streams repair", contract.name, *tables])
    markdown = (
        f"Launch [`{job}`]({launchpad}) with this configuration:\n\n```yaml\n{run_config}```\n\n"
        f"or run `{command}`. It reads the tables from the source again, removes what was deleted there "
        "meanwhile, compares every row, and closes the gap when nothing differs."
    )
    return Offer(job, run_config, launchpad, markdown)


def ready(job: str, config: Mapping[str, object]) -> tuple[str, str]:
    """Return the run configuration of a job of one step, and the launchpad's address with it filled in."""
    run_config = yaml.safe_dump({"ops": {f"{job}_op": {"config": dict(config)}}}, sort_keys=False)
    return run_config, f"/locations/{LOCATION}/jobs/{job}/playground/setup?config={quote(run_config)}"
