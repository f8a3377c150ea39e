"""The publisher: makes new Paimon snapshots visible in Nessie, all tables of a pipeline in one commit.

Also the table of the records that could not be carried, so that they can be read with SQL.

A table's newest version is not always the one to publish: between two compactions a commit writes metadata
that shows readers nothing new, and of a table of several buckets or partitions some may be compacted before
others. So of each table the newest *complete* version is published, of which readers get all that the lake
had then; another one only to keep the published version from expiring.

A commit is made when its checks pass (`governance.gate`), and says which.

`python -m lakehouse_dagster.governance.publisher` is the long-running process; `publish_once` is one round of
it and can be called by hand or by a Dagster run at any time. Both are idempotent, and a crash at any point is
harmless: the only write is the one Nessie commit, which either happened or did not.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from lakehouse_dagster.contract.applied import current
from lakehouse_dagster.contract.contract import Contract, LakePath
from lakehouse_dagster.contract.errors import ContractError
from lakehouse_dagster.contract.loader import DEFS_ROOT, discover
from lakehouse_dagster.contract.names import QUARANTINE_TABLE
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.engines.errors import ConflictError, EngineError, EngineUnavailable
from lakehouse_dagster.engines.nessie import IcebergTable, Key, NessieClient
from lakehouse_dagster.engines.paimon import IcebergState, PaimonTables, parse_iceberg
from lakehouse_dagster.engines.postgres import PostgresClient
from lakehouse_dagster.governance import gate
from lakehouse_dagster.governance.decision import TableVersion, decide, message, properties
from lakehouse_dagster.governance.gate import Check, Failure, PublicationRefusedError
from lakehouse_dagster.governance.hold import HoldStore, PublicationHeldError, said
from lakehouse_dagster.lineage.publications import emit_publication

logger = logging.getLogger("lakehouse.publisher")

BRANCH = "main"
POLL_SECONDS = 0.6
#: How often the branch and the contracts' files are looked at although the lake has no news.
RECHECK_SECONDS = 10.0
MAX_BACKOFF_SECONDS = 10.0
#: A version that is not complete is published all the same once the published one is so many versions behind:
#: Paimon keeps the newest hundred (`metadata.iceberg.previous-versions-max`).
KEEP_ALIVE = 30
#: Up to so many tables with news are read one after the other; of more, so many at the same time.
FEW_TABLES = 4
READERS = 16
#: So many versions before an incomplete newest are looked at for a complete one.
LOOK_BACK = 8
#: Or once it has been the newest for so long, and the time that the table's policy allows.
STILL_SECONDS = 30.0


@dataclass(frozen=True)
class Publication:
    """One commit made by the publisher. `changed` names the tables it moved, `tables` all it vouches for."""

    pipeline: str
    hash: str
    changed: tuple[str, ...]
    tables: Mapping[str, TableVersion]
    seconds: float


@dataclass
class PublisherState:
    """What a publisher remembers of a pipeline between rounds; losing it costs one extra comparison.

    `metadata_versions` are the newest that were looked at, `versions` those that were chosen of them. `news`
    are tables whose choice changed and that are not known to be published yet; `held` while they must not be.
    `incomplete` tells since when the newest version of a table is one that is not complete.
    """

    versions: dict[str, TableVersion] = field(default_factory=dict)
    metadata_versions: dict[str, int] = field(default_factory=dict)
    news: set[str] = field(default_factory=set)
    incomplete: dict[str, float] = field(default_factory=dict)
    branch_hash: str | None = None
    next_recheck: float = 0.0
    reported_foreign: tuple[str, ...] = ()
    held: bool = False


class Publisher:
    """Publishes pipelines to one Nessie branch. Not thread-safe; several processes may run at once."""

    def __init__(
        self,
        endpoints: Endpoints,
        *,
        branch: str = BRANCH,
        requested_by: str = "publisher",
        run_id: str | None = None,
        clients: Clients | None = None,
    ) -> None:
        self.endpoints = endpoints
        # Clients that are given are the caller's, who closes them.
        self._own = clients is None
        self.paimon = clients.paimon if clients else PaimonTables(endpoints.paimon, endpoints.s3)
        self.nessie = clients.nessie if clients else NessieClient(endpoints.nessie)
        self.postgres = clients.postgres if clients else PostgresClient(endpoints.postgres)
        self.holds = HoldStore(self.postgres)
        self.branch = branch
        self.requested_by = requested_by
        self.run_id = run_id
        self._shown: dict[LakePath, TableVersion] = {}
        self.id = f"{socket.gethostname()}:{os.getpid()}:{int(time.time())}"

    def close(self) -> None:
        """Close the connections, unless they are the caller's."""
        if not self._own:
            return
        self.paimon.close()
        self.nessie.close()
        self.postgres.close()

    def publish_once(
        self,
        contract: Contract,
        state: PublisherState | None = None,
        *,
        attempts: int = 5,
        waive: Collection[Check] = (),
    ) -> Publication | None:
        """One round for one pipeline: commit what is new, or return None when there is nothing to do.

        With `state`, tables without news are not read and a quiet lake costs one small read per table.
        While publication is held back (`governance.hold`) nothing is committed: with `state` that is None
        and one line in the log, without it a PublicationHeldError. Raises EngineError; after `attempts` lost
        races it is a ConflictError, and a PublicationRefusedError when a check fails that is not among those
        to `waive`.
        """
        started = time.monotonic()
        known = state or PublisherState()
        full = state is None or started >= known.next_recheck
        known.news |= set(self._moved(contract, known))
        if not known.news and not full:
            return None
        for attempt in range(1, attempts + 1):
            # The branch is read before the lake: whoever published what we see here had read the lake
            # before, so what we read after it is never older, and nothing is ever moved back.
            reference = self.nessie.get_reference(self.branch)
            if state is not None and not known.news and known.branch_hash == reference.hash:
                known.next_recheck = started + RECHECK_SECONDS
                return None
            # Asked before the lake is read and again before the commit: a hold begins before the lake goes
            # back and ends when it has caught up, so what is read and committed without one is not behind.
            if self._held(contract, known, by_hand=state is None):
                return None
            keys = [tuple(path) for path in published(contract).values()]
            namespace = (contract.name,)
            contents = self.nessie.get_contents([namespace, *keys], reference)
            shown = {
                key: IcebergTable.from_json(content)
                for key, content in contents.items()
                if content["type"] == "ICEBERG_TABLE"
            }
            self._read(contract, known, shown)
            wanted = known.versions
            if not wanted:
                # Nothing is in the lake yet.
                known.next_recheck = started + RECHECK_SECONDS
                return None
            decision = decide(
                wanted,
                shown,
                namespace=contract.name,
                namespace_exists=namespace in contents,
                news=None if state is None else known.news,
            )
            if decision.foreign and decision.foreign != known.reported_foreign:
                logger.warning(
                    "%s: somebody else moved %s on %s; the next change of each table will publish it again",
                    contract.name,
                    ", ".join(decision.foreign),
                    self.branch,
                )
            known.reported_foreign = decision.foreign
            if not decision.operations:
                known.news.clear()
                known.branch_hash = reference.hash
                known.next_recheck = started + RECHECK_SECONDS
                return None
            failures = self.examine(contract, {t: wanted[t] for t in decision.changed}, shown)
            refused = [failure for failure in failures if failure.check not in waive]
            if refused:
                raise PublicationRefusedError(contract.name, refused)
            if self._held(contract, known, by_hand=state is None):
                return None
            try:
                target = self.nessie.commit(
                    decision.operations,
                    message(contract.name, decision, wanted),
                    reference=reference,
                    properties=properties(
                        contract.name,
                        self.id,
                        wanted,
                        self.requested_by,
                        run_id=self.run_id,
                        checks=gate.properties(failures),
                    ),
                    author="lakehouse-publisher",
                )
            except ConflictError:
                # Somebody else published one of these tables since we looked.
                if attempt == attempts:
                    raise
                continue
            known.news.clear()
            known.branch_hash = target.hash
            # What readers see now is known, and need not be read for the next publication's checks.
            self._shown |= {LakePath(*wanted[table].key): wanted[table] for table in decision.changed}
            known.next_recheck = started + RECHECK_SECONDS
            publication = Publication(
                pipeline=contract.name,
                hash=target.hash,
                changed=decision.changed,
                tables=dict(wanted),
                seconds=time.monotonic() - started,
            )
            emit_publication(contract, self.endpoints, publication, requested_by=self.requested_by)
            return publication
        raise AssertionError("unreachable")

    def _held(self, contract: Contract, known: PublisherState, *, by_hand: bool) -> bool:
        """Whether publication is held back; its beginning and its end are logged.

        An error of the database is raised, so nothing is published while it cannot be asked.
        """
        hold = self.holds.blocked(contract.name)
        if hold is None:
            if known.held:
                logger.info("%s: publication is no longer held back", contract.name)
            known.held = False
            return False
        if by_hand:
            raise PublicationHeldError(hold)
        if not known.held:
            logger.warning("%s", said(hold))
        known.held = True
        return True

    def refusals(self, contract: Contract) -> list[Failure]:
        """Every failed check of what would be published now; nothing is committed, and a hold does not count.

        Raises EngineUnavailable, and EngineError when Nessie cannot be asked.
        """
        known = PublisherState()
        reference = self.nessie.get_reference(self.branch)
        shown = self.nessie.get_tables([tuple(path) for path in published(contract).values()], reference)
        try:
            self._read(contract, known, shown)
        except EngineUnavailable:
            raise
        except EngineError as error:
            return [Failure("metadata", contract.name, error.message)]
        wanted = known.versions
        decision = decide(wanted, shown, namespace=contract.name, namespace_exists=True)
        return self.examine(contract, {table: wanted[table] for table in decision.changed}, shown)

    def examine(
        self, contract: Contract, wanted: Mapping[str, TableVersion], shown: Mapping[Key, IcebergTable]
    ) -> list[Failure]:
        """Every failed check of versions that are to be published over those that a branch shows."""
        before = {
            table: found
            for table, version in wanted.items()
            if (held := shown.get(version.key)) is not None
            and (found := self._version_at(LakePath(*version.key), held)) is not None
        }
        locations = {table: self.paimon.location(*version.key) for table, version in wanted.items()}
        return gate.examine(contract, wanted, before, locations)

    def _moved(self, contract: Contract, known: PublisherState) -> list[str]:
        """Tables whose metadata version differs from the one remembered, in the order of the contract: one
        small read per table.
        """
        moved = []
        for table, path in published(contract).items():
            version = self.paimon.iceberg_version(path.database, path.table)
            if version is None:
                continue
            if version != known.metadata_versions.get(table) or self._overdue(contract, table, known):
                moved.append(table)
        return moved

    def _overdue(self, contract: Contract, table: str, known: PublisherState) -> bool:
        """Whether a version that is not complete has been the newest for longer than is to be expected."""
        since = known.incomplete.get(table)
        allowed = 0 if table == QUARANTINE_TABLE else contract.visible_seconds(table)
        return since is not None and time.monotonic() - since > STILL_SECONDS + allowed

    def _read(self, contract: Contract, known: PublisherState, shown: Mapping[Key, IcebergTable]) -> None:
        """Choose again of every table that has a new version, and note the tables whose choice changed."""
        paths = published(contract)
        for gone in set(known.versions) - set(paths):
            del known.versions[gone]
            known.metadata_versions.pop(gone, None)
            known.incomplete.pop(gone, None)
        moved = self._moved(contract, known)
        for table, found in self._newest({table: paths[table] for table in moved}).items():
            if found is None:
                continue
            path, overdue = paths[table], self._overdue(contract, table, known)
            number, newest = found
            chosen = newest
            if not overdue:
                seen = known.metadata_versions.get(table, 0)
                chosen = self._complete(path, number, newest, shown.get(tuple(path)), seen)
            if chosen is newest:
                known.incomplete.pop(table, None)
            elif number != known.metadata_versions.get(table):
                known.incomplete[table] = time.monotonic()
            if chosen != known.versions.get(table):
                known.news.add(table)
            known.versions[table] = chosen
            known.metadata_versions[table] = number
        for table, chosen in known.versions.items():
            held = shown.get(chosen.key)
            at = None if held is None else self._number(paths[table], held)
            # Somebody has published a later one, which need not have been complete: never back from there.
            if held is not None and at and chosen.paimon_snapshot < at <= known.metadata_versions[table]:
                known.versions[table] = self._version_at(paths[table], held) or chosen

    def _newest(self, paths: Mapping[str, LakePath]) -> dict[str, tuple[int, TableVersion] | None]:
        """The newest version of each table; of many, some are read at the same time."""
        if len(paths) <= FEW_TABLES:
            return {table: self.read_version(path) for table, path in paths.items()}
        with ThreadPoolExecutor(max_workers=READERS, thread_name_prefix="publisher") as pool:
            return dict(zip(paths, pool.map(self.read_version, paths.values()), strict=True))

    def _complete(
        self, path: LakePath, number: int, newest: TableVersion, held: IcebergTable | None, seen: int
    ) -> TableVersion:
        """The newest complete version of a table that readers do not have, or the one that they have.

        The newest of all where the branch shows none that can be read, or one that would soon expire.
        `seen` is the version up to which was looked before.
        """
        at = None if held is None else self._number(path, held)
        if held is None or newest.complete or at is None or not number - KEEP_ALIVE < at < number:
            return newest
        for earlier in range(number - 1, max(at, seen, number - LOOK_BACK), -1):
            try:
                state = self.paimon.iceberg_at(path.database, path.table, earlier)
                found = None if state is None else self._version(path, state)
            except EngineUnavailable:
                raise
            except EngineError:
                break  # it has expired, and so have those before
            if found is None:
                break
            if found.complete:
                return found
        return self._version_at(path, held) or newest

    def _number(self, path: LakePath, held: IcebergTable) -> int | None:
        """Number of the version that a branch shows; None where it is not one of this lake table."""
        prefix = f"{self.paimon.location(path.database, path.table)}/metadata/v"
        text = held.metadata_location.removeprefix(prefix).removesuffix(".metadata.json")
        return int(text) if text.isdigit() else None

    def _version_at(self, path: LakePath, held: IcebergTable) -> TableVersion | None:
        """What a branch shows; None where it cannot be read any more. Remembered while it stays the same."""
        known = self._shown.get(path)
        if known is not None and known.content.metadata_location == held.metadata_location:
            return known
        raw = self.paimon.store.get(held.metadata_location)
        if raw is None:
            return None
        try:
            state = parse_iceberg(raw, self._number(path, held) or 0, held.metadata_location)
            found = self._version(path, state)
        except EngineUnavailable:
            raise
        except EngineError:
            return None  # its snapshot or its manifests have expired
        self._shown[path] = found
        return found

    def read_version(self, path: LakePath, *, attempts: int = 5) -> tuple[int, TableVersion] | None:
        """The newest version of a table with its metadata number; None when there is none yet.

        The metadata object, its list of manifests and its manifests have been read, so they exist. One that
        expires while it is read means that a newer version is there: it is read again, up to `attempts`
        times.
        """
        for attempt in range(1, attempts + 1):
            state = self.paimon.iceberg(path.database, path.table)
            if state is None:
                return None
            try:
                return state.version, self._version(path, state)
            except EngineError:
                if attempt == attempts:
                    raise
        return None

    def _version(self, path: LakePath, state: IcebergState) -> TableVersion:
        """What a version holds, by its manifests; EngineError when they have expired."""
        # The quarantine's rows have no position, and were recorded when their records came.
        committed_at = "recorded_at" if path.table == QUARANTINE_TABLE else "_committed_at"
        bounds = self.paimon.bounds(state, committed_at=committed_at)
        return TableVersion(
            table=path.table,
            key=(path.database, path.table),
            content=IcebergTable(
                metadata_location=state.location,
                snapshot_id=state.snapshot_id,
                schema_id=state.schema_id,
                spec_id=state.spec_id,
                sort_order_id=state.sort_order_id,
            ),
            paimon_snapshot=state.snapshot_id,
            position=bounds.position,
            committed_at=bounds.committed_at.isoformat() if bounds.committed_at else None,
            # Paimon's Iceberg metadata has no totals; the manifests have.
            rows=bounds.rows,
            bytes=bounds.bytes,
            complete=self.paimon.complete(path.database, path.table, state, bounds.rows),
            columns=state.columns,
            uuid=state.table_uuid,
            location=state.table_location,
        )


def published(contract: Contract) -> dict[str, LakePath]:
    """Where the lake tables are that readers see, by name: all of the contract, and the quarantine's.

    The latter is there from its first record on: before, there is no version of it that could be published.
    """
    found = {table.name: contract.lake_path(table.name) for table in contract.tables}
    return {**found, contract.quarantine_path.table: contract.quarantine_path}


def publish_once(
    contract: Contract,
    endpoints: Endpoints,
    *,
    requested_by: str = "publisher",
    run_id: str | None = None,
    waive: Collection[Check] = (),
) -> Publication | None:
    """Publish everything of a pipeline that Nessie does not show yet; None when it shows all of it.

    This also takes back what somebody else put on the branch for these tables. `run_id` is that of the
    Dagster run that asks, `waive` names checks that need not pass. Raises EngineUnavailable or EngineError.
    """
    publisher = Publisher(endpoints, requested_by=requested_by, run_id=run_id)
    try:
        return publisher.publish_once(contract, waive=waive)
    finally:
        publisher.close()


def follow(
    endpoints: Callable[[], Endpoints],
    stop: threading.Event,
    *,
    defs_root: Path = DEFS_ROOT,
    poll_seconds: float = POLL_SECONDS,
) -> None:
    """Publish every pipeline below `defs_root` until `stop` is set.

    Unreachable engines are waited for with growing pauses and one log line; contracts are read again when
    their files change, and a wrong contract leaves the last good ones at work.
    """
    contracts: list[Contract] = []
    followed: dict[str, _Followed] = {}
    signature: object = None
    next_look = 0.0
    publisher: Publisher | None = None
    try:
        while not stop.is_set():
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + RECHECK_SECONDS
                seen = _signature(defs_root)
                if seen != signature:
                    signature = seen
                    contracts = _discover(defs_root, contracts)
            for contract in contracts:
                # One pipeline in trouble must not hold up the others.
                mine = followed.setdefault(contract.name, _Followed())
                if time.monotonic() < mine.not_before:
                    continue
                try:
                    publisher = publisher or Publisher(endpoints(), branch=BRANCH)
                    publication = publisher.publish_once(_in_force(contract), mine.state)
                except PublicationRefusedError as error:
                    if mine.failed(str(error), refused=True):
                        logger.error("%s; readers keep what they have, trying again", error.message)
                except EngineError as error:
                    if mine.failed(str(error)):
                        logger.warning("%s: %s; trying again", contract.name, error)
                except Exception as error:
                    # A mistake of ours; it is shown once, and staying alive keeps the others going.
                    if mine.failed(repr(error)):
                        logger.exception("%s: unexpected; trying again", contract.name)
                else:
                    refused = mine.refused
                    if mine.succeeded():
                        well = "its checks pass again" if refused else "engines answer again"
                        logger.info("%s: %s", contract.name, well)
                    if publication is not None:
                        _log(publication)
            stop.wait(poll_seconds)
    finally:
        if publisher is not None:
            publisher.close()


def _in_force(contract: Contract) -> Contract:
    """The contract with the lock in force now, or as it was read where that cannot be told."""
    try:
        return current(contract)
    except ContractError:
        return contract


@dataclass
class _Followed:
    """A pipeline being followed: what is known of it, its trouble if any, and when to try again."""

    state: PublisherState = field(default_factory=PublisherState)
    trouble: str = ""
    refused: bool = False
    pause: float = 0.0
    not_before: float = 0.0

    def failed(self, trouble: str, *, refused: bool = False) -> bool:
        """Wait longer before the next try; True when this is news to the log."""
        self.refused = refused
        self.pause = min(MAX_BACKOFF_SECONDS, max(1.0, self.pause * 2))
        self.not_before = time.monotonic() + self.pause
        news, self.trouble = trouble != self.trouble, trouble
        return news

    def succeeded(self) -> bool:
        """Try again at once; True when there was trouble before."""
        recovered = bool(self.trouble)
        self.trouble, self.refused, self.pause, self.not_before = "", False, 0.0, 0.0
        return recovered


def _log(publication: Publication) -> None:
    moved = ", ".join(f"{t}@{publication.tables[t].paimon_snapshot}" for t in publication.changed)
    logger.info(
        "%s: published %s as %s in %.2f s",
        publication.pipeline,
        moved,
        publication.hash[:12],
        publication.seconds,
    )


def _signature(defs_root: Path) -> tuple[tuple[str, int, int], ...]:
    """Names, times and sizes of the contracts' files: changes when any of them is edited."""
    files = [path for name in ("defs.yaml", "schema.lock.json") for path in defs_root.rglob(name)]
    found = []
    for path in sorted(files):
        try:
            stat = path.stat()
        except FileNotFoundError:
            continue
        found.append((str(path), stat.st_mtime_ns, stat.st_size))
    return tuple(found)


def _discover(defs_root: Path, last: list[Contract]) -> list[Contract]:
    try:
        contracts = discover(defs_root)
    except ContractError as error:
        logger.error("%s\nkeeping the contracts read before", error)
        return last
    names = ", ".join(contract.name for contract in contracts) or "none"
    logger.info("pipelines: %s", names)
    return contracts


def main() -> int:
    """Run until SIGTERM or SIGINT; the addresses come from the native instance's settings."""
    # Only this program knows about the native runtime; the rest of the module takes endpoints as given.
    from lakehouse_dagster.runtime.endpoints import load_endpoints

    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout, force=True
    )
    for noisy in ("botocore", "boto3", "urllib3", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    logger.info("publisher started")
    follow(load_endpoints, stop)
    logger.info("publisher stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
