"""Making tags and branches whose tables stay readable for as long as they exist, and ending them.

The order makes it atomic: the copies first, then one commit on a temporary branch, then the reference on that
commit, which is the one step that shows. Whatever a crash leaves behind before it (copied files, a temporary
branch), retention finds and removes (`governance.versions.retention`).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.iceberg import MissingFileError
from lakehouse_dagster.engines.nessie import (
    Delete,
    IcebergTable,
    Key,
    LogEntry,
    Operation,
    PutTable,
    Reference,
)
from lakehouse_dagster.engines.trino_catalogs import catalog_name, create_catalog, drop_catalog
from lakehouse_dagster.governance.decision import PREFIX
from lakehouse_dagster.governance.publisher import published
from lakehouse_dagster.governance.versions.copies import FOLDER as COPIES
from lakehouse_dagster.governance.versions.copies import Copied, copy_tables, current_tree, new_folder
from lakehouse_dagster.governance.versions.procedures import create_tags, delete_tags, tags_of
from lakehouse_dagster.governance.versions.references import (
    CREATED_AT,
    EXPIRES_AT,
    FOLDER,
    KIND,
    MAIN,
    METADATA_ONLY,
    NAME,
    PIPELINE,
    PUBLICATION,
    REQUESTED_BY,
    SOURCE,
    TEMPORARY,
    NotReadableError,
    Version,
    check_name,
    origin,
    publications,
    resolve,
    tables_of,
)

if TYPE_CHECKING:
    from lakehouse_dagster.engines.clients import Clients

Kind = Literal["tag", "branch"]
ATTEMPTS = 8
"""How often a copy of ``main`` is begun anew when Paimon was quicker to delete than it to copy."""

Report = Callable[[str], None]


@dataclass(frozen=True)
class Frozen:
    """A branch or tag that was made. ``publication`` is the commit that published what it shows."""

    kind: Kind
    name: str
    hash: str
    catalog: str
    publication: str
    copied: Copied
    left_in_place: tuple[Key, ...]
    seconds: float
    trouble: str = ""
    """What went wrong after it was made: it is there, but Trino has no catalog for it yet."""


@dataclass(frozen=True)
class Listed:
    """A branch or tag as it stands; the last four are empty for one that this project has not made."""

    kind: Kind
    name: str
    hash: str
    catalog: str | None
    last_commit_at: str
    pipeline: str = ""
    publication: str = ""
    requested_by: str = ""
    created_at: str = ""
    expires_at: str = ""
    metadata_only: bool = False


def freeze(
    clients: Clients,
    contract: Contract,
    kind: Kind,
    name: str,
    *,
    source: str = MAIN,
    metadata_only: bool = False,
    keep_days: float | None = None,
    actor: str,
    report: Report = lambda _: None,
) -> Frozen:
    """Make a tag or branch of what ``source`` shows of a pipeline, with copies of all its tables.

    Raises ValueError for a name that cannot be or is taken, UnknownVersionError for the source,
    NotReadableError when files of the source are gone.
    """
    started = time.monotonic()
    check_name(name)
    nessie = clients.nessie
    taken = {reference.name for reference in nessie.references()}
    if name in taken:
        raise ValueError(f"there is a branch or tag {name} already; delete it first, or choose another name")
    version, copied, kept, dropped = _copied(clients, contract, name, source, metadata_only, report)
    publication = _publication(clients, contract, version)
    properties = {
        **{k: v for k, v in publication.properties.items() if k.startswith(f"{PREFIX}.table.")},
        KIND: kind,
        NAME: name,
        PIPELINE: contract.name,
        PUBLICATION: publication.properties.get(PUBLICATION) or publication.hash,
        SOURCE: version.hash,
        REQUESTED_BY: actor,
        CREATED_AT: datetime.now(UTC).isoformat(timespec="seconds"),
        FOLDER: copied.folder,
        METADATA_ONLY: str(metadata_only).lower(),
    }
    if keep_days is not None:
        expires = datetime.now(UTC) + timedelta(days=keep_days)
        properties[EXPIRES_AT] = expires.isoformat(timespec="seconds")
    operations: list[Operation] = [PutTable(key, table) for key, table in copied.tables.items()]
    operations += [Delete(key) for key in dropped]
    if not operations:
        raise ValueError(f"{source} shows no table of {contract.name}")
    temporary = nessie.create_reference(temporary_name(contract.name, name), version.reference)
    try:
        at = nessie.commit(
            operations,
            f"{kind} {name} of {contract.name}",
            reference=temporary,
            properties=properties,
            author=actor,
        )
        made = nessie.create_reference(name, at, type=kind.upper())
    finally:
        # What went wrong before is what the caller must hear of; retention removes what is left.
        with suppress(EngineError):
            nessie.delete_reference(nessie.get_reference(temporary.name))
    catalog, trouble = catalog_name(name), ""
    try:
        drop_catalog(clients.trino, catalog)
        create_catalog(clients.endpoints, clients.trino, catalog, name)
    except EngineError as error:
        trouble = f"Trino has no catalog {catalog} yet ({error}); `lakehouse branch catalog {name}` makes it"
    return Frozen(
        kind=kind,
        name=name,
        hash=made.hash,
        catalog=catalog,
        publication=properties[PUBLICATION],
        copied=copied,
        left_in_place=kept,
        seconds=time.monotonic() - started,
        trouble=trouble,
    )


def _copied(
    clients: Clients, contract: Contract, name: str, source: str, metadata_only: bool, report: Report
) -> tuple[Version, Copied, tuple[Key, ...], list[Key]]:
    """Copy the source's tables; begun anew from what ``main`` shows by then when a file has vanished."""
    for attempt in range(1, ATTEMPTS + 1):
        version = resolve(clients.nessie, contract.name, source)
        entries = tables_of(clients.nessie.entries(version.reference))
        mine = {key: table for key, table in entries.items() if key[0] in own_schemas(contract)}
        light = has_metadata_only(clients, version)
        wanted = {key: table for key, table in mine.items() if light or not is_copy(clients, table)}
        dropped = [key for key, table in entries.items() if key not in mine and in_paimon(clients, table)]
        folder = new_folder(contract.name, name)
        try:
            copied, kept = copy_where_possible(clients, wanted, folder, data=not metadata_only, report=report)
        except MissingFileError as error:
            clients.store.delete_prefix(folder)
            if source != MAIN or attempt == ATTEMPTS:
                raise NotReadableError(
                    f"{source} of {contract.name}", [error.location], "`lakehouse log` shows what is readable"
                ) from error
            report(f"{error.location} has expired meanwhile; once more from what is published now")
            continue
        if metadata_only and (held := {k: t.snapshot_id for k, t in wanted.items() if in_paimon(clients, t)}):
            report(f"tagging {len(held)} table(s) in Paimon, which then keeps their data")
            create_tags(clients, name, held)
        # Tables that are copies already, or stay where they are, are put as they are: the commit names all.
        unchanged = {key: table for key, table in mine.items() if key not in copied.tables}
        return version, replace(copied, tables={**copied.tables, **unchanged}), kept, dropped
    raise AssertionError("unreachable")


def copy_where_possible(
    clients: Clients,
    tables: Mapping[Key, IcebergTable],
    folder: str,
    *,
    data: bool = True,
    report: Report = lambda _: None,
) -> tuple[Copied, tuple[Key, ...]]:
    """Copy tables; those with files of position deletes, which name data files inside, stay in place.

    Only native Iceberg tables have such files, and those are kept by retention while a reference shows them.
    """
    kept = tuple(
        key
        for key, table in tables.items()
        if not in_paimon(clients, table)
        and any(file.deletes for file in current_tree(clients.store, table).data)
    )
    moving = {key: table for key, table in tables.items() if key not in kept}
    return copy_tables(clients.store, moving, folder, data=data, report=report), kept


def temporary_name(pipeline: str, name: str) -> str:
    """A name for a branch that lives only for a moment; a hyphen cannot be in a pipeline's name."""
    return f"{TEMPORARY}{pipeline}-{name}-{uuid.uuid4().hex[:8]}"


def own_schemas(contract: Contract) -> tuple[str, str]:
    """Schemas of a pipeline's lake tables and of its marts."""
    return contract.name, contract.pipeline.marts_schema


def in_paimon(clients: Clients, table: IcebergTable) -> bool:
    """Whether the files are Paimon's, which deletes them in its own time."""
    return table.metadata_location.startswith(f"{clients.paimon.warehouse.rstrip('/')}/")


def has_metadata_only(clients: Clients, version: Version) -> bool:
    """Whether a version's metadata is a copy and its data Paimon's: it lasts no longer than its tag."""
    if not version.reference.name:
        return False
    made = origin(clients.nessie, version.reference)
    return made is not None and made.properties.get(METADATA_ONLY) == "true"


def is_copy(clients: Clients, table: IcebergTable) -> bool:
    """Whether the files are a copy that was made here before."""
    return table.metadata_location.startswith(f"s3://{clients.store.bucket}/{COPIES}/")


def _publication(clients: Clients, contract: Contract, version: Version) -> LogEntry:
    """The newest commit up to a version that says what it shows of the pipeline."""
    found = next(publications(clients.nessie, contract.name, version.reference.pinned), None)
    if version.reference.type == "TAG" or found is None:
        made = next(clients.nessie.history(version.reference.pinned), None)
        found = made if made is not None and made.properties.get(PUBLICATION) else found
    if found is None:
        raise ValueError(f"nothing of {contract.name} is published at {version.spec}")
    return found


def listed(clients: Clients, kind: Kind, pipeline: str | None = None) -> list[Listed]:
    """All tags or branches (but ``main`` and temporary ones), by name; of one pipeline where one is named."""
    nessie = clients.nessie
    catalogs = catalogs_of(clients)
    found = []
    for reference in sorted(nessie.references(), key=lambda one: one.name):
        if reference.type != kind.upper() or reference.name == MAIN:
            continue
        if reference.name.startswith(TEMPORARY):
            continue
        try:
            made = origin(nessie, reference)
            newest = next(nessie.history(reference.pinned), None)
        except EngineError as error:
            if error.status == 404:
                continue  # deleted since
            raise
        if pipeline is not None and made is not None and made.properties.get(PIPELINE) != pipeline:
            continue
        catalog = _catalog_or_none(reference.name)
        told = made.properties if made else {}
        found.append(
            Listed(
                kind=kind,
                name=reference.name,
                hash=reference.hash,
                catalog=catalog if catalog in catalogs else None,
                last_commit_at=newest.commit_time if newest else "",
                pipeline=told.get(PIPELINE, ""),
                publication=told.get(PUBLICATION, ""),
                requested_by=told.get(REQUESTED_BY, ""),
                created_at=told.get(CREATED_AT, ""),
                expires_at=told.get(EXPIRES_AT, ""),
                metadata_only=told.get(METADATA_ONLY) == "true",
            )
        )
    return found


def catalogs_of(clients: Clients) -> set[str]:
    """Names of Trino's catalogs; none when it does not answer."""
    try:
        return {row[0] for row in clients.trino.execute("SHOW CATALOGS").rows}
    except EngineError:
        return set()


def _catalog_or_none(name: str) -> str | None:
    try:
        return catalog_name(name)
    except ValueError:
        return None


def give_catalog(clients: Clients, name: str) -> str:
    """Give a branch or tag, whoever has made it, its catalog in Trino; returns the catalog's name."""
    reference = existing(clients, name)
    catalog = catalog_name(reference.name)
    create_catalog(clients.endpoints, clients.trino, catalog, reference.name)
    return catalog


def end(clients: Clients, contract: Contract, kind: Kind, name: str) -> Reference:
    """Delete a tag or branch and its catalog; its files go with the next retention, after the grace period.

    ValueError when there is none, or when it is another pipeline's or was made by somebody else.
    """
    reference = existing(clients, name)
    if reference.type != kind.upper() or reference.name == MAIN:
        raise ValueError(f"{name} is not a {kind}")
    made = origin(clients.nessie, reference)
    if made is None or made.properties.get(PIPELINE) != contract.name:
        whose = made.properties.get(PIPELINE) if made else "made elsewhere"
        raise ValueError(f"{name} is not a {kind} of {contract.name} ({whose})")
    clients.nessie.delete_reference(reference)
    if made.properties.get(METADATA_ONLY) == "true":
        lake = [(path.database, path.table) for path in published(contract).values()]
        tagged = [key for key in lake if name in tags_of(clients, key)]
        delete_tags(clients, name, tagged)
    with suppress(EngineError):
        # A catalog without its reference answers nothing; retention drops it.
        drop_catalog(clients.trino, catalog_name(name))
    return reference


def existing(clients: Clients, name: str) -> Reference:
    """The branch or tag of that name; ValueError when there is none."""
    try:
        return clients.nessie.get_reference(name)
    except EngineError as error:
        if error.status in (400, 404):
            raise ValueError(f"there is no branch or tag {name}") from error
        raise
