"""What Dagster loads: every pipeline under ``defs/``, the platform's policies, and the sensor that runs
automation.

Loading asks no engine and imports no engine's client, so the code location stands while engines are down.
"""

from __future__ import annotations

import warnings
from datetime import timedelta
from pathlib import Path

import dagster as dg

from lakehouse_dagster.components.resources import LakehouseResource

FRESHNESS = {
    # A quiet source makes no snapshots, so these windows are about "nobody noticed for a day", not about
    # seconds; the seconds are in the metadata of every materialization.
    "lake": dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=24), warn_window=timedelta(hours=12)),
    "marts": dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=24), warn_window=timedelta(hours=12)),
}
"""Default freshness per layer; a spec that states its own keeps it."""


def with_platform_policies(spec: dg.AssetSpec) -> dg.AssetSpec:
    """Apply what holds for every asset of the platform: an owner is a must, freshness has a default."""
    if not spec.owners:
        raise ValueError(f"asset {spec.key.to_user_string()} has no owner; give one in its defs.yaml")
    policy = FRESHNESS.get(spec.tags.get("layer", ""))
    return dg.apply_freshness_policy(spec, policy, overwrite_existing=False) if policy else spec


@dg.definitions
def defs() -> dg.Definitions:
    """Load everything under ``defs/``."""
    loaded = dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
    with warnings.catch_warnings():
        # Marked as preview; dagster is pinned, and the load test would notice a change.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        governed = loaded.map_asset_specs(func=with_platform_policies)
    return dg.Definitions.merge(
        governed,
        dg.Definitions(
            resources={"lakehouse": LakehouseResource()},
            # A run is one short step; a process of its own for the step would double its start-up time.
            executor=dg.in_process_executor,
            sensors=[
                dg.AutomationConditionSensorDefinition(
                    name="automation",
                    # Doris is not in every installation; its marts have a sensor of their own, off at first.
                    target=dg.AssetSelection.all() - dg.AssetSelection.kind("doris"),
                    default_status=dg.DefaultSensorStatus.RUNNING,
                    minimum_interval_seconds=30,
                )
            ],
        ),
    )
