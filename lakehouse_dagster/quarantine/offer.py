"""What is offered for quarantined records: the jobs, with a run configuration that is ready, and commands."""

from __future__ import annotations

from collections.abc import Sequence

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.quarantine.model import Quarantined, shown
from lakehouse_dagster.streams.repair_offer import ready

_MARKUP = frozenset("\\`*_[]<>|~#&")

SHOWN = 10
"""Records that a check or an event shows."""


def replay_job_name(contract: Contract) -> str:
    """Return the name of the job that replays records."""
    return f"{contract.name}_replay_quarantine"


def drop_job_name(contract: Contract) -> str:
    """Return the name of the job that drops records."""
    return f"{contract.name}_drop_quarantine"


def offer(contract: Contract, table: str, *, truncated: bool = False) -> str:
    """Return, as Markdown, how the open records of a table are replayed; a ``truncated`` one is repaired."""
    job = replay_job_name(contract)
    run_config, launchpad = ready(job, {"tables": [table], **({"repair": True} if truncated else {})})
    command = f"lakehouse quarantine replay {contract.name} --table {table}"
    done = (
        f"`{command} --repair`. It reads the table from the source again and removes the rows that are gone "
        "there from every place"
        if truncated
        else f"`{command}`. It writes what the source says now of the records' rows"
    )
    return (
        f"Launch [`{job}`]({launchpad}) with this configuration:\n\n```yaml\n{run_config}```\n\n"
        f"or run {done}. To leave a record out for good, use `{drop_job_name(contract)}`, or "
        f"`lakehouse quarantine drop {contract.name} ID --why TEXT`."
    )


def records_markdown(records: Sequence[Quarantined], total: int) -> str:
    """Return records as a Markdown table, and how many more there are."""
    lines = ["| record | reason | key | begins with |", "|---|---|---|---|"]
    lines += [
        f"| {_cell(str(one.place).encode())} | {_cell(one.reason.encode(), 200)} | {_cell(one.key)} "
        f"| {_cell(one.raw)} |"
        for one in records
    ]
    if total > len(records):
        lines.append(f"\n{total - len(records):,} older ones are not shown.")
    return "\n".join(lines)


def _cell(value: bytes | None, limit: int = 80) -> str:
    """Return bytes as text that ends no cell and is no markup."""
    return "".join(f"&#{ord(one)};" if one in _MARKUP else one for one in shown(value, limit))
