"""The checks of the quarantine: evaluated by its sensor, and by hand as a job."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.clients import Clients, ClientSource
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.layers import keys
from lakehouse_dagster.quarantine.model import TRUNCATED
from lakehouse_dagster.quarantine.offer import SHOWN, offer, records_markdown
from lakehouse_dagster.quarantine.store import Counts, QuarantineStore
from lakehouse_dagster.streams.assets import CONNECTOR, LAKE

NOTHING_QUARANTINED = "nothing_quarantined"
SKIPS_NOTHING = "connector_skips_nothing"
LOST = "Debezium has skipped events of the binary log, or met some that it could not understand"
"""What the gap is called that stands for such events."""


@dataclass(frozen=True)
class Outcome:
    """The result of one check on one asset."""

    asset: dg.AssetKey
    check: str
    passed: bool
    said: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Asset and check in one text."""
        return f"{self.asset.to_user_string()}/{self.check}"

    def evaluation(self) -> dg.AssetCheckEvaluation:
        """Return the outcome as what a sensor reports."""
        return dg.AssetCheckEvaluation(
            asset_key=self.asset,
            check_name=self.check,
            passed=self.passed,
            severity=dg.AssetCheckSeverity.ERROR,
            description=self.said,
            metadata=self.metadata,
        )

    def result(self) -> dg.AssetCheckResult:
        """Return the outcome as what a run yields."""
        return dg.AssetCheckResult(
            asset_key=self.asset,
            check_name=self.check,
            passed=self.passed,
            severity=dg.AssetCheckSeverity.ERROR,
            description=self.said,
            metadata=self.metadata,
        )


@dataclass(frozen=True)
class Ward:
    """The part of the quarantine that belongs to one asset: a lake table's records, or (table None) those
    that belong to no table of the contract.
    """

    asset: dg.AssetKey
    table: str | None
    counts: Counts
    topics: tuple[str, ...]


def wards(contract: Contract, counts: Mapping[tuple[str, bool], Counts]) -> list[Ward]:
    """Return all parts of the quarantine, one per lake table and one for the rest."""
    by_topic: dict[str, Counts] = {}
    for (topic, _), one in counts.items():
        by_topic[topic] = by_topic.get(topic, Counts()) + one
    found = []
    for table in contract.tables:
        topic = contract.topic(table.name)
        mine = by_topic.pop(topic, Counts())
        found.append(Ward(keys.lake(contract.name, table.name), table.name, mine, (topic,)))
    rest = sum(by_topic.values(), Counts())
    return [*found, Ward(keys.stream(contract.name, LAKE), None, rest, tuple(by_topic))]


def outcome(contract: Contract, store: QuarantineStore, ward: Ward) -> Outcome:
    """Judge one part of the quarantine; what is open is read only where something is."""
    metadata: dict[str, Any] = {"open": ward.counts.open, "quarantined_ever": ward.counts.total}
    if not ward.counts.open:
        said = "no record is quarantined" if not ward.counts.total else "all quarantined records are decided"
        return Outcome(ward.asset, NOTHING_QUARANTINED, True, said, metadata)
    newest = store.records(contract.name, topics=ward.topics, newest_first=True, limit=SHOWN)
    metadata["newest"] = dg.MetadataValue.md(records_markdown(newest, ward.counts.open))
    said = f"{ward.counts.open:,} record(s) could not be carried and wait for a decision"
    if ward.table is None:
        said = f"{ward.counts.open:,} dead letter(s) belong to no table of the contract"
    else:
        emptied = truncated(contract, store, ward)
        metadata["replay"] = dg.MetadataValue.md(offer(contract, ward.table, truncated=emptied))
        if emptied:
            said += (
                f"; {ward.table} was truncated in the source, and the rows that it had stay in the lake and "
                "its views until it is repaired, see `replay`"
            )
    if newest:
        said += f"; the newest: {newest[0].reason[:300]}"
    return Outcome(ward.asset, NOTHING_QUARANTINED, False, said, metadata)


def truncated(contract: Contract, store: QuarantineStore, ward: Ward) -> bool:
    """Whether a table was emptied in the source, and nothing is decided about that."""
    return bool(store.records(contract.name, topics=ward.topics, reason=TRUNCATED, limit=1))


def skips_outcome(contract: Contract, clients: Clients) -> Outcome | None:
    """Judge the connector's own counters; ``None`` when nobody serves them, or it does not stream."""
    from lakehouse_dagster.engines.connect_metrics import read_counters

    found = read_counters(clients.endpoints.connect.metrics_url).get(contract.name)
    if found is None:
        return None
    said = f"{found.skipped:,} event(s) skipped, {found.erroneous:,} erroneous since its start"
    if found.lost:
        said += (
            "; changes may be missing, and no other check can tell which: run "
            f"`lakehouse streams repair {contract.name}`, see `lakehouse logs connect` for the events, and "
            "restart the connector, which counts anew then"
        )
    metadata = {"skipped": found.skipped, "erroneous": found.erroneous, "filtered": found.filtered}
    return Outcome(keys.stream(contract.name, CONNECTOR), SKIPS_NOTHING, not found.lost, said, metadata)


def lost_events(outcome: Outcome) -> int:
    """How many events the connector counts that may be missing, by the outcome of ``skips_outcome``."""
    return int(outcome.metadata["skipped"]) + int(outcome.metadata["erroneous"])


def check_specs(contract: Contract) -> Sequence[dg.AssetCheckSpec]:
    """Return the checks of the quarantine of ``contract``."""
    described = {
        None: "Every dead letter belongs to a table and tells where its record is.",
        "": "No record of the table's topic waits in the quarantine; if one does, the check names it, why, "
        "and the job that replays it.",
    }
    return [
        *(
            dg.AssetCheckSpec(
                name=NOTHING_QUARANTINED,
                asset=ward.asset,
                description=described[None if ward.table is None else ""],
            )
            for ward in wards(contract, {})
        ),
        dg.AssetCheckSpec(
            name=SKIPS_NOTHING,
            asset=keys.stream(contract.name, CONNECTOR),
            description="Debezium has neither skipped an event nor met one that it could not understand.",
        ),
    ]


def quarantine_checks(contract: Contract) -> dg.AssetChecksDefinition:
    """Return the checks as they can be run by hand; otherwise the sensor evaluates them."""

    @dg.multi_asset_check(
        name=f"{contract.name}_quarantine_checks",
        specs=check_specs(contract),
        description=f"Reads the dead letters of `{contract.name}` that are new, and judges the quarantine.",
        can_subset=True,
    )
    def check(
        context: dg.AssetCheckExecutionContext, lakehouse: dg.ResourceParam[ClientSource]
    ) -> Iterator[dg.AssetCheckResult]:
        from lakehouse_dagster.quarantine.reading import sync

        selected = context.selected_asset_check_keys
        with lakehouse.clients(timeout=30.0) as clients:
            store = QuarantineStore(clients.postgres)
            sync(contract, clients, store)
            found = [outcome(contract, store, ward) for ward in wards(contract, store.counts(contract.name))]
            try:
                skips = skips_outcome(contract, clients)
            except EngineError as error:
                context.log.warning(f"the connector's counters are not known: {error}")
                skips = None
        for one in [*found, *([skips] if skips else [])]:
            if dg.AssetCheckKey(one.asset, one.check) in selected:
                yield one.result()

    return check
