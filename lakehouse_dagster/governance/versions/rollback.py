"""Moving what readers see to an earlier version, and forward again, while the streams go on.

The earlier version is copied first, because Paimon goes on deleting its files; then a pin keeps the publisher
from moving `main`; then one commit puts all tables of the pipeline back. Forward lets go of the pin and
publishes the newest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.errors import ConflictError, EngineError
from lakehouse_dagster.engines.iceberg import MissingFileError
from lakehouse_dagster.engines.nessie import Delete, IcebergTable, Key, Operation, PutTable, Reference
from lakehouse_dagster.governance.decision import PREFIX, same_version
from lakehouse_dagster.governance.hold import HoldStore, Pin, PublicationHeldError
from lakehouse_dagster.governance.versions.copies import missing_files, new_folder
from lakehouse_dagster.governance.versions.freeze import (
    copy_where_possible,
    has_metadata_only,
    in_paimon,
    listed,
    own_schemas,
)
from lakehouse_dagster.governance.versions.references import (
    CREATED_AT,
    FOLDER,
    KIND,
    MAIN,
    PIPELINE,
    PUBLICATION,
    REQUESTED_BY,
    SOURCE,
    TEAM_OF,
    NotReadableError,
    Version,
    publications,
    resolve,
    tables_of,
)

if TYPE_CHECKING:
    from lakehouse_dagster.engines.clients import Clients

ATTEMPTS = 10
SETTLE_SECONDS = 1.0
"""A publisher that asked whether it may just before the pin was set has committed within this time."""

Report = Callable[[str], None]


@dataclass(frozen=True)
class RolledBack:
    """What readers of `main` see now. ``hash`` is the commit that did it, ``target`` the version shown."""

    hash: str
    target: str
    moved: tuple[Key, ...]
    removed: tuple[Key, ...]
    newer: tuple[Key, ...]
    """Marts that the earlier version does not have; they stay as they are."""
    seconds: float
    """Until readers saw the earlier version, with the copying."""


@dataclass(frozen=True)
class Forwarded:
    """``published`` is the commit that shows the newest, None when it showed it already or may not yet."""

    published: str | None
    marts: tuple[Key, ...]
    held: str
    """Why the newest is not published although the pin is gone; empty when nothing is in the way."""
    seconds: float


def plan_rollback(
    current: Mapping[Key, IcebergTable], target: Mapping[Key, IcebergTable], lake_schema: str
) -> tuple[list[Operation], tuple[Key, ...], tuple[Key, ...], tuple[Key, ...]]:
    """Operations that make ``current`` show ``target``; the keys moved, removed, and newer than the target.

    Lake tables that the target does not have are removed; the publisher brings them back. A mart that it does
    not have could not be brought back by anything but its next refresh, so it stays.
    """
    moved, operations = [], list[Operation]()
    for key, table in sorted(target.items()):
        held = current.get(key)
        if held is not None and same_version(held, table):
            continue
        operations.append(PutTable(key, replace(table, id=held.id if held else None)))
        moved.append(key)
    absent = sorted(set(current) - set(target))
    removed = tuple(key for key in absent if key[0] == lake_schema)
    newer = tuple(key for key in absent if key[0] != lake_schema)
    operations += [Delete(key) for key in removed]
    return operations, tuple(moved), removed, newer


def roll_back(
    clients: Clients,
    contract: Contract,
    to: str,
    *,
    reason: str = "",
    actor: str,
    report: Report = lambda _: None,
) -> RolledBack:
    """Let `main` show an earlier version of a pipeline until `forward` is asked for.

    Raises UnknownVersionError, and NotReadableError naming what is gone and the tags there are.
    """
    started = time.monotonic()
    nessie, holds = clients.nessie, HoldStore(clients.postgres)
    version = resolve(nessie, contract.name, to)
    target = _lasting(clients, contract, version, report)
    main = nessie.get_reference(MAIN)
    was_pinned = holds.pinned(contract.name)
    holds.pin(contract.name, by=actor, reason=reason or f"to {to}", target=version.hash, before=main.hash)
    try:
        done = _put(clients, contract, version, target, actor, started)
    except BaseException:
        if was_pinned is None:
            # Nothing has moved, so nothing must stay pinned; when even this fails, the log shows the pin.
            with suppress(EngineError):
                holds.unpin(contract.name)
        raise
    report(f"{MAIN} shows {to}; publication of {contract.name} is held back until --forward")
    _settle(clients, contract, version, target, actor)
    return done


def _lasting(
    clients: Clients, contract: Contract, version: Version, report: Report
) -> dict[Key, IcebergTable]:
    """The version's tables, those in Paimon's hands copied to where they last."""
    entries = tables_of(clients.nessie.entries(version.reference))
    mine = {key: table for key, table in entries.items() if key[0] in own_schemas(contract)}
    if not any(key[0] == contract.name for key in mine):
        raise ValueError(f"{version.spec} shows no table of {contract.name}")
    missing = missing_files(clients.store, mine.values())
    folder = new_folder(contract.name, "rollback")
    if not missing:
        light = has_metadata_only(clients, version)
        fleeting = {key: table for key, table in mine.items() if light or in_paimon(clients, table)}
        try:
            copied, _ = copy_where_possible(clients, fleeting, folder, report=report)
            return {**mine, **copied.tables}
        except MissingFileError as error:
            clients.store.delete_prefix(folder)
            missing = [error.location]
    tags = ", ".join(tag.name for tag in listed(clients, "tag", contract.name))
    advice = f"a tag always is: {tags}" if tags else "there is no tag, which always is"
    raise NotReadableError(f"{version.spec} of {contract.name}", missing, advice)


def _put(
    clients: Clients,
    contract: Contract,
    version: Version,
    target: Mapping[Key, IcebergTable],
    actor: str,
    started: float,
) -> RolledBack:
    nessie = clients.nessie
    shown = next(publications(nessie, contract.name, version.reference.pinned), None)
    facts = dict(shown.properties) if shown else {}
    if version.reference.type == "TAG":
        made = next(nessie.history(version.reference.pinned), None)
        facts = dict(made.properties) if made else facts
    properties = {
        **{name: value for name, value in facts.items() if name.startswith(f"{PREFIX}.table.")},
        KIND: "rollback",
        PIPELINE: contract.name,
        PUBLICATION: facts.get(PUBLICATION) or (shown.hash if shown else version.hash),
        SOURCE: version.hash,
        REQUESTED_BY: actor,
        CREATED_AT: datetime.now(UTC).isoformat(timespec="seconds"),
    }
    folder = next(iter({_folder(table) for key, table in target.items() if key[0] == contract.name}), "")
    properties[FOLDER] = folder
    for attempt in range(1, ATTEMPTS + 1):
        main = nessie.get_reference(MAIN)
        current = _mine(clients, contract, main)
        operations, moved, removed, newer = plan_rollback(current, target, contract.name)
        if not operations:
            return RolledBack(main.hash, version.hash, moved, removed, newer, time.monotonic() - started)
        try:
            at = nessie.commit(
                operations,
                f"roll back {contract.name} to {version.hash[:12]} ({version.spec})",
                reference=main,
                properties=properties,
                author=actor,
            )
        except ConflictError:
            # The publisher, just before it saw the pin, or a mart's refresh.
            if attempt == ATTEMPTS:
                raise
            continue
        return RolledBack(at.hash, version.hash, moved, removed, newer, time.monotonic() - started)
    raise AssertionError("unreachable")


def _settle(
    clients: Clients,
    contract: Contract,
    version: Version,
    target: Mapping[Key, IcebergTable],
    actor: str,
) -> None:
    """Put back what a publisher has moved that had asked whether it may just before the pin was set."""
    lake = {key: table for key, table in target.items() if key[0] == contract.name}
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        time.sleep(SETTLE_SECONDS / 4)
        current = _mine(clients, contract, clients.nessie.get_reference(MAIN))
        shown = {key: table for key, table in current.items() if key[0] == contract.name}
        if plan_rollback(shown, lake, contract.name)[0]:
            _put(clients, contract, version, target, actor, time.monotonic())


def forward(clients: Clients, contract: Contract, *, actor: str) -> Forwarded:
    """Let publication go on and publish the newest at once. ValueError when nothing is rolled back."""
    # Late: the publisher brings more engines' clients than a rollback needs.
    from lakehouse_dagster.governance.publisher import publish_once

    started = time.monotonic()
    holds = HoldStore(clients.postgres)
    pin = holds.pinned(contract.name)
    if pin is None:
        raise ValueError(f"{contract.name} is not rolled back: publication is not pinned")
    marts = _marts_forward(clients, contract, pin, actor)
    holds.unpin(contract.name)
    try:
        publication = publish_once(contract, clients.endpoints, requested_by=actor)
    except PublicationHeldError as error:
        return Forwarded(None, marts, str(error), time.monotonic() - started)
    return Forwarded(publication.hash if publication else None, marts, "", time.monotonic() - started)


def _marts_forward(clients: Clients, contract: Contract, pin: Pin, actor: str) -> tuple[Key, ...]:
    """Put the marts to what they were before the rollback, but those that were refreshed since."""
    nessie, schema = clients.nessie, contract.pipeline.marts_schema
    for _ in range(ATTEMPTS):
        main = nessie.get_reference(MAIN)
        before = _mine(clients, contract, Reference("", pin.before, "DETACHED"))
        rolled = _mine(clients, contract, Reference("", _rollback_commit(clients, contract), "DETACHED"))
        now = _mine(clients, contract, main)
        wanted = {
            key: table
            for key, table in before.items()
            if key[0] == schema
            and key in now
            and key in rolled
            and same_version(now[key], rolled[key])
            and not same_version(now[key], table)
        }
        readable = {key: t for key, t in wanted.items() if not missing_files(clients.store, [t])}
        if not readable:
            return ()
        try:
            nessie.commit(
                [PutTable(key, replace(table, id=now[key].id)) for key, table in readable.items()],
                f"marts of {contract.name} forward to {pin.before[:12]}",
                reference=main,
                properties={KIND: "forward", TEAM_OF: contract.name, REQUESTED_BY: actor},
                author=actor,
            )
        except ConflictError:
            continue
        return tuple(sorted(readable))
    return ()


def _rollback_commit(clients: Clients, contract: Contract) -> str:
    """The newest rollback on `main`; `main` itself where none was needed."""
    for entry in publications(clients.nessie, contract.name):
        if entry.properties.get(KIND) == "rollback":
            return entry.hash
    return clients.nessie.get_reference(MAIN).hash


def _mine(clients: Clients, contract: Contract, reference: Reference) -> dict[Key, IcebergTable]:
    entries = tables_of(clients.nessie.entries(reference))
    return {key: table for key, table in entries.items() if key[0] in own_schemas(contract)}


def _folder(table: IcebergTable) -> str:
    """Where a copy lives: everything before the table's own folder."""
    return table.metadata_location.rsplit("/", 3)[0]
