"""The audit gate: what must hold of a set of table versions before readers see it. Pure.

Only what is certainly wrong is refused. Fewer rows, an older newest row, a table that is empty now: each is
what a delete, a TRUNCATE or a repair looks like, and none can be told from a loss by looking at the lake.
(That the lake has what the source has is for the proofs to say.)
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.names import AUDIT_COLUMNS, QUARANTINE_TABLE
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.governance.decision import TableVersion

Check = Literal["hold", "metadata", "identity", "schema", "order"]

DESCRIPTIONS: Final[Mapping[Check, str]] = {
    "hold": "Publication is not held back, neither before the lake was read nor just before the commit.",
    "metadata": "Each table's metadata object, list of manifests and manifests are there and can be read.",
    "identity": "Each metadata object is the table's own, and of the Paimon snapshot that it is named after.",
    "schema": "Each table has its key and the source position, and no column of the contract that readers "
    "have now is gone.",
    "order": "No table goes back to an older snapshot of the same line of versions.",
}
"""The checks in the order in which they are made. ``hold`` and ``metadata`` are made while reading, and stop
it; the others by ``examine``."""

WAIVABLE: Final[tuple[Check, ...]] = ("identity", "schema", "order")
"""Checks that a person may waive by hand, for one publication."""


@dataclass(frozen=True)
class Failure:
    """A check that failed for a table, and why, with the fix."""

    check: Check
    table: str
    said: str

    def __str__(self) -> str:
        return f"{self.table}: {self.said} (check {self.check})"


class PublicationRefusedError(EngineError):
    """Nothing was published, because a check failed."""

    def __init__(self, pipeline: str, failures: Collection[Failure]) -> None:
        said = "; ".join(map(str, failures))
        super().__init__("publisher", f"publication of {pipeline} is refused: {said}")
        self.failures = tuple(failures)


def examine(
    contract: Contract,
    wanted: Mapping[str, TableVersion],
    shown: Mapping[str, TableVersion],
    locations: Mapping[str, str],
) -> list[Failure]:
    """Every failed check of the versions that are to be published.

    Args:
        contract: The contract with the lock in force now.
        wanted: The versions that would move, by table.
        shown: What readers see now of those, as far as it can be read.
        locations: The folder of each lake table, as an ``s3://`` address.
    """
    return [
        failure
        for table, version in wanted.items()
        for found in (
            _identity(version, locations[table]),
            _schema(contract, version, shown.get(table)),
            _order(version, shown.get(table)),
        )
        for failure in found
    ]


def _identity(version: TableVersion, location: str) -> Iterator[Failure]:
    if version.location is not None and version.location.rstrip("/") != location:
        yield Failure(
            "identity",
            version.table,
            f"its metadata is of the table at {version.location}, not of {location}; restore the folder's "
            "metadata, or have the lake table made anew",
        )
    expected = f"{location}/metadata/v{version.paimon_snapshot}.metadata.json"
    if version.content.metadata_location != expected:
        yield Failure(
            "identity",
            version.table,
            f"{version.content.metadata_location} holds snapshot {version.paimon_snapshot}; let the lake job "
            "commit once more",
        )


def _schema(contract: Contract, version: TableVersion, shown: TableVersion | None) -> Iterator[Failure]:
    needed, promised = _columns(contract, version.table)
    missing = [name for name in needed if name not in version.columns]
    if missing:
        yield Failure(
            "schema",
            version.table,
            f"it has no column {', '.join(missing)}, without which rows cannot be told apart or placed; "
            "somebody has altered the lake table: have it made anew",
        )
    before = shown.columns if shown is not None else ()
    lost = [name for name in promised if name in before and name not in version.columns]
    if lost:
        yield Failure(
            "schema",
            version.table,
            f"the contract has {', '.join(lost)}, readers have it, and the new version has not; look at "
            f"`lakehouse schema diff {contract.name}`",
        )


def _columns(contract: Contract, table: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns that a lake table cannot be without (its key, and the source position), and the others that the
    contract promises.
    """
    if table == QUARANTINE_TABLE:
        return ("topic", "partition", "offset"), ()
    schema = contract.schema(table)
    key = schema.primary_key
    others = tuple(column.name for column in schema.columns if column.name not in key)
    return (*key, AUDIT_COLUMNS[0]), others


def _order(version: TableVersion, shown: TableVersion | None) -> Iterator[Failure]:
    if shown is None or shown.uuid is None or shown.uuid != version.uuid:
        return  # nothing to compare with: the table is new, or was made anew
    if version.paimon_snapshot < shown.paimon_snapshot:
        yield Failure(
            "order",
            version.table,
            f"the lake went back to snapshot {version.paimon_snapshot}, readers see {shown.paimon_snapshot} "
            "of the same table; if it was set back on purpose, publish by hand with `--waive order`",
        )


def properties(waived: Collection[Failure]) -> dict[str, str]:
    """What a commit says of its checks: those that passed, and what was waived by hand."""
    failed = {failure.check for failure in waived}
    found = {"checks": ", ".join(check for check in get_args(Check) if check not in failed)}
    if waived:
        found["checks-waived"] = "; ".join(map(str, waived))
    return found
