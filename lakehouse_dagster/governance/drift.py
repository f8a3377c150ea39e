"""Drift between the lake and what Nessie shows of it, looked for in the engines, whoever moved what.

For every table: whether the branch shows it at all, whether what it shows is what the publisher put there,
whether it is older than the table's policy allows, and whether every file that a reader needs is there.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from lakehouse_dagster.contract.contract import Contract, LakePath
from lakehouse_dagster.contract.names import QUARANTINE_TABLE
from lakehouse_dagster.engines.errors import EngineError, EngineUnavailable
from lakehouse_dagster.engines.nessie import IcebergTable, Reference
from lakehouse_dagster.engines.paimon import IcebergState, parse_iceberg
from lakehouse_dagster.governance.decision import PREFIX
from lakehouse_dagster.governance.publisher import BRANCH, published
from lakehouse_dagster.governance.versions.references import FOLDER

if TYPE_CHECKING:
    from lakehouse_dagster.engines.nessie import NessieClient
    from lakehouse_dagster.engines.paimon import PaimonTables

SLACK_SECONDS: Final = 60.0
"""How much older than its policy allows a table may be: a commit and a publication take a while."""
MOST_FILES: Final = 50
"""Data files of a table that are looked for; of more, so many at random."""
MOST_BACK: Final = 40
"""Versions before the newest that are looked at for one of which readers get all."""
HISTORY: Final = 200
"""Commits of the branch among which the pipeline's newest publication is looked for."""
READERS: Final = 8
ATTEMPTS: Final = 3


@dataclass(frozen=True)
class TableDrift:
    """One table: snapshots of the lake and of the branch, and what is wrong (nothing: ``problems`` is empty).

    ``behind_seconds`` is how long something has been in the lake that readers do not see (0: they see all),
    ``allowed_seconds`` how long it may be. ``files`` are the data files that a reader reads, ``looked_at``
    those of them that were looked for.
    """

    table: str
    lake: int | None = None
    shown: int | None = None
    behind_seconds: float = 0.0
    allowed_seconds: float = SLACK_SECONDS
    files: int = 0
    looked_at: int = 0
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Drift:
    """What was found of all tables of a pipeline on one commit of the branch."""

    pipeline: str
    reference: Reference
    tables: tuple[TableDrift, ...] = field(default_factory=tuple)

    @property
    def problems(self) -> list[str]:
        """One sentence per problem, with its table."""
        return [f"{found.table}: {said}" for found in self.tables for said in found.problems]

    def markdown(self) -> str:
        """The tables as a Markdown table."""
        columns = ("table", "lake snapshot", "shown", "behind", "allowed", "files", "problem")
        lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
        for found in self.tables:
            files = str(found.files)
            if found.looked_at != found.files:
                files = f"{found.looked_at} of {found.files}"
            cells = (
                found.table,
                "" if found.lake is None else str(found.lake),
                "" if found.shown is None else str(found.shown),
                f"{found.behind_seconds:.0f} s",
                f"{found.allowed_seconds:.0f} s",
                files,
                "; ".join(found.problems).replace("|", "\\|"),
            )
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines)


def look(
    contract: Contract,
    paimon: PaimonTables,
    nessie: NessieClient,
    *,
    branch: str = BRANCH,
    held: bool = False,
    slack: float = SLACK_SECONDS,
) -> Drift:
    """Compare every lake table with what the branch shows. ``held``: publication is held back, so nothing is
    too old. Raises EngineUnavailable or EngineError.
    """
    paths = published(contract)
    for attempt in range(1, ATTEMPTS + 1):
        reference = nessie.get_reference(branch)
        shown = nessie.get_tables([tuple(path) for path in paths.values()], reference)
        vouched = _vouched(contract, nessie, reference)

        def one(item: tuple[str, LakePath]) -> TableDrift:
            table, path = item
            allowed = slack
            if table != QUARANTINE_TABLE:
                allowed += contract.visible_seconds(table)
            told, folder = vouched  # noqa: B023
            look_at = _Look(paimon, path, shown.get(tuple(path)), told.get(table), folder, allowed, held)  # noqa: B023
            return look_at.run()

        with ThreadPoolExecutor(max_workers=READERS, thread_name_prefix="drift") as pool:
            drift = Drift(contract.name, reference, tuple(pool.map(one, paths.items())))
        # What a publication has just replaced may expire while it is looked at.
        if not drift.problems or attempt == ATTEMPTS or nessie.get_reference(branch) == reference:
            break
    return drift


def _vouched(contract: Contract, nessie: NessieClient, reference: Reference) -> tuple[dict[str, int], str]:
    """By table the snapshot that the pipeline's newest publication said readers see.

    Of a rollback also the address of the copies that it shows; else that is empty.
    """
    for entry in nessie.log(reference.pinned, limit=HISTORY):
        if entry.properties.get(f"{PREFIX}.pipeline") != contract.name:
            continue
        found = {}
        for name, value in entry.properties.items():
            if name.startswith(f"{PREFIX}.table.") and name.endswith(".iceberg-snapshot"):
                table = name.removeprefix(f"{PREFIX}.table.").removesuffix(".iceberg-snapshot")
                found[table] = int(value)
        return found, entry.properties.get(FOLDER, "")
    return {}, ""


@dataclass
class _Look:
    """Looks at one table."""

    paimon: PaimonTables
    path: LakePath
    shown: IcebergTable | None
    vouched: int | None
    folder: str
    allowed: float
    held: bool

    def run(self) -> TableDrift:
        newest = self.paimon.iceberg(*self.path)
        found = TableDrift(self.path.table, allowed_seconds=self.allowed)
        if newest is not None:
            found = replace(found, lake=newest.snapshot_id)
        if self.shown is None:
            return found if newest is None else self._missing(found, newest)
        found = replace(found, shown=self.shown.snapshot_id)
        problems = [*self._foreign()]
        files, looked_at, gone = self._files()
        problems += gone
        if newest is None:
            problems.append("the lake has no metadata of it any more, and readers still see it")
        behind = 0.0 if newest is None else self._behind(newest)
        if behind > self.allowed and not self.held:
            problems.append(
                f"readers do not see what has been in the lake for {behind:.0f} s, and {self.allowed:.0f} s "
                "are allowed"
            )
        return replace(
            found, behind_seconds=behind, files=files, looked_at=looked_at, problems=tuple(problems)
        )

    def _missing(self, found: TableDrift, newest: IcebergState) -> TableDrift:
        age = max(0.0, time.time() - newest.last_updated_ms / 1000)
        said = f"it has been in the lake for {age:.0f} s, and the branch does not show it"
        wrong = age > self.allowed and not self.held
        return replace(found, behind_seconds=age, problems=(said,) if wrong else ())

    def _foreign(self) -> Iterable[str]:
        assert self.shown is not None
        own = f"{self.paimon.location(*self.path)}/metadata/"
        expected = (own, f"{self.folder}/") if self.folder else own
        if not self.shown.metadata_location.startswith(expected):
            yield f"somebody else put {self.shown.metadata_location} there, which is none of this lake table"
        elif self.vouched is not None and self.vouched != self.shown.snapshot_id:
            yield (
                f"somebody else moved it to snapshot {self.shown.snapshot_id}; the newest publication says "
                f"{self.vouched}"
            )

    def _files(self) -> tuple[int, int, list[str]]:
        """Number of the data files, how many were looked for, and what is not there."""
        assert self.shown is not None
        location = self.shown.metadata_location
        raw = self.paimon.store.get(location)
        if raw is None:
            return 0, 0, [f"its metadata {location} does not exist"]
        try:
            state = parse_iceberg(raw, 0, location)
            names = [file["file_path"] for file in self.paimon.data_files(state) if "file_path" in file]
        except EngineUnavailable:
            raise
        except EngineError as error:
            return 0, 0, [error.message]
        # Which ones does not matter, only that it is not always the same.
        chosen = names if len(names) <= MOST_FILES else random.sample(names, MOST_FILES)
        gone = [name for name in chosen if not self.paimon.store.exists(name)]
        said = [f"{len(gone)} of its data files do not exist, {gone[0]} among them"] if gone else []
        return len(names), len(chosen), said

    def _behind(self, newest: IcebergState) -> float:
        """For how long something has been in the lake that readers do not see."""
        assert self.shown is not None
        at = self.shown.snapshot_id
        if at > newest.snapshot_id or self.shown.metadata_location == newest.location:
            at = newest.snapshot_id  # the newest is shown; it may not be complete
        if at == newest.snapshot_id and self._complete(newest):
            return 0.0
        since = at if self._complete_at(at) else self._complete_before(newest.snapshot_id)
        first = self.paimon.snapshot(*self.path, since + 1)
        if first is None:
            return 0.0  # it has expired, and nobody can tell any more
        return max(0.0, time.time() - first.committed_at.timestamp())

    def _complete_before(self, newest: int) -> int:
        """The newest snapshot of which readers get all, or the one before the oldest that was looked at."""
        for number in range(newest - 1, max(0, newest - MOST_BACK), -1):
            if self._complete_at(number):
                return number
        return max(0, newest - MOST_BACK)

    def _complete_at(self, number: int) -> bool:
        state = self.paimon.iceberg_at(*self.path, number)
        return state is not None and self._complete(state)

    def _complete(self, state: IcebergState) -> bool:
        try:
            return self.paimon.complete(*self.path, state)
        except EngineUnavailable:
            raise
        except EngineError:
            return False  # its manifests have expired


def summary(drift: Drift) -> str:
    """What was found, in one line."""
    problems: Sequence[str] = drift.problems
    if not problems:
        return f"Nessie shows the newest version of {len(drift.tables)} table(s), or one that is new enough"
    return "; ".join(problems)


def by_table(drift: Drift) -> Mapping[str, TableDrift]:
    """What was found, by table."""
    return {found.table: found for found in drift.tables}
