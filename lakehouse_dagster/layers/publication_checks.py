"""The checks of the publication: its audit gate, and drift between the lake and Nessie.

Both look at the engines themselves, not at what the publisher says of itself: they fail whether it refuses,
is down, or does the wrong thing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from lakehouse_dagster.contract.applied import current
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.errors import ContractError
from lakehouse_dagster.engines.clients import ClientSource
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.layers import keys
from lakehouse_dagster.streams.cursor import StreamCursor, Told

if TYPE_CHECKING:
    from lakehouse_dagster.engines.clients import Clients

LOOK_SECONDS: Final = 60
"""Least time between two looks of the sensor."""
REPORT_SECONDS: Final = 300
"""A check whose result stays the same is reported so often."""
TIMEOUT_SECONDS: Final = 5.0

DESCRIPTIONS: Final = {
    "publishable": "What the publisher would publish now passes the checks of the audit gate.",
    "no_drift": "Nessie shows every lake table as the publisher put it there, new enough for the table's "
    "policy, with all the files that a reader needs.",
}


@dataclass(frozen=True)
class Outcome:
    """The result of one check."""

    check: str
    passed: bool
    said: str
    severe: bool = True
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def severity(self) -> dg.AssetCheckSeverity:
        """Dagster's severity."""
        return dg.AssetCheckSeverity.ERROR if self.severe else dg.AssetCheckSeverity.WARN


def outcomes(contract: Contract, clients: "Clients") -> list[Outcome]:
    """Look and judge. Raises EngineUnavailable or EngineError when an engine cannot be asked."""
    # Late, because the code location must load without the engines' clients.
    from lakehouse_dagster.governance import drift
    from lakehouse_dagster.governance.gate import DESCRIPTIONS as CHECKS
    from lakehouse_dagster.governance.hold import HoldStore, said
    from lakehouse_dagster.governance.publisher import Publisher

    hold = HoldStore(clients.postgres).blocked(contract.name)
    failures = Publisher(clients.endpoints, clients=clients).refusals(contract)
    made = {"checks": dg.MetadataValue.md("\n".join(f"- `{name}`: {text}" for name, text in CHECKS.items()))}
    if failures:
        gate = Outcome(
            "publishable",
            False,
            "; ".join(map(str, failures)),
            metadata={**made, "failures": len(failures)},
        )
    elif hold is not None:
        gate = Outcome("publishable", False, said(hold), severe=False, metadata=made)
    else:
        gate = Outcome("publishable", True, "every check passes", metadata=made)
    found = drift.look(contract, clients.paimon, clients.nessie, held=hold is not None)
    return [
        gate,
        Outcome(
            "no_drift",
            not found.problems,
            drift.summary(found),
            metadata={
                "tables": dg.MetadataValue.md(found.markdown()),
                "nessie_hash": found.reference.hash,
                "behind_seconds": round(max((t.behind_seconds for t in found.tables), default=0.0), 1),
            },
        ),
    ]


def check_specs(contract: Contract) -> list[dg.AssetCheckSpec]:
    """Return the checks."""
    asset = keys.publication(contract.name)
    return [dg.AssetCheckSpec(name, asset=asset, description=text) for name, text in DESCRIPTIONS.items()]


def publication_checks(contract: Contract) -> dg.AssetChecksDefinition:
    """Return the checks as they can be run by hand; otherwise the sensor evaluates them."""

    @dg.multi_asset_check(
        name=f"{contract.name}_publication_checks",
        specs=check_specs(contract),
        description=f"Compares the lake tables of `{contract.name}` with what Nessie shows of them.",
        can_subset=True,
    )
    def check(
        context: dg.AssetCheckExecutionContext, lakehouse: dg.ResourceParam[ClientSource]
    ) -> Iterator[dg.AssetCheckResult]:
        asset = keys.publication(contract.name)
        with lakehouse.clients() as clients:
            found = outcomes(current(contract), clients)
        for item in found:
            if dg.AssetCheckKey(asset, item.check) in context.selected_asset_check_keys:
                yield dg.AssetCheckResult(
                    asset_key=asset,
                    check_name=item.check,
                    passed=item.passed,
                    severity=item.severity,
                    description=item.said,
                    metadata=item.metadata,
                )

    return check


def publication_sensor(contract: Contract) -> dg.SensorDefinition:
    """Return the sensor that reports the checks when their result changes, else every five minutes."""

    @dg.sensor(
        name=f"{contract.name}_publication",
        description="Looks whether what Nessie shows is what it should show, and what would be refused.",
        minimum_interval_seconds=LOOK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        tags={"pipeline": contract.name},
    )
    def watch(
        context: dg.SensorEvaluationContext, lakehouse: dg.ResourceParam[ClientSource]
    ) -> dg.SensorResult | dg.SkipReason:
        try:
            with lakehouse.clients(timeout=TIMEOUT_SECONDS) as clients:
                found = outcomes(current(contract), clients)
        except (EngineError, ContractError) as error:
            return dg.SkipReason(str(error))
        return tick(contract, found, datetime.now(UTC), StreamCursor.parse(context.cursor))

    return watch


def tick(contract: Contract, found: list[Outcome], now: datetime, cursor: StreamCursor) -> dg.SensorResult:
    """What one tick reports."""
    told, at = dict(cursor.checks), int(now.timestamp())
    events: list[dg.AssetObservation | dg.AssetMaterialization | dg.AssetCheckEvaluation] = []
    for item in found:
        before = told.get(item.check)
        if before is not None and before.passed == item.passed and at - before.time < REPORT_SECONDS:
            continue
        told[item.check] = Told(item.passed, at)
        events.append(
            dg.AssetCheckEvaluation(
                asset_key=keys.publication(contract.name),
                check_name=item.check,
                passed=item.passed,
                severity=item.severity,
                description=item.said,
                metadata=item.metadata,
            )
        )
    said = "; ".join(item.said for item in found)
    return dg.SensorResult(
        asset_events=events,
        cursor=replace(cursor, checks=told).dump(),
        skip_reason=dg.SkipReason(said),
    )
