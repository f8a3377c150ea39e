"""What Dagster shows and does about a pipeline's quarantine."""

from __future__ import annotations

import dagster as dg

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.quarantine.checks import quarantine_checks
from lakehouse_dagster.quarantine.jobs import quarantine_jobs
from lakehouse_dagster.quarantine.sensor import quarantine_sensor


def build_quarantine_defs(contract: Contract) -> dg.Definitions:
    """Return checks, jobs and sensor of the quarantine; they need the resource ``lakehouse``."""
    return dg.Definitions(
        asset_checks=[quarantine_checks(contract)],
        jobs=quarantine_jobs(contract),
        sensors=[quarantine_sensor(contract)],
    )
