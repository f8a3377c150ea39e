"""Events of publications: one run per Nessie commit, from lake tables to what readers see."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, Protocol

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.names import QUARANTINE_TABLE
from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.lineage.columns import Dataset, Layer
from lakehouse_dagster.lineage.emitter import Emitter, emitter
from lakehouse_dagster.lineage.facts import dataset_facts, published_facts
from lakehouse_dagster.lineage.model import Engine, Job, RunFacts, State

if TYPE_CHECKING:
    from lakehouse_dagster.governance.decision import TableVersion

PROBE_SECONDS = 60.0
"""Publications that move only the probe's table, which we write ourselves, are told so often at most."""


class Published(Protocol):
    """What a publication has done (``governance.publisher.Publication``)."""

    @property
    def hash(self) -> str:
        """The Nessie commit."""

    @property
    def changed(self) -> tuple[str, ...]:
        """Tables that it has moved."""

    @property
    def tables(self) -> Mapping[str, TableVersion]:
        """What readers now see of every table."""

    @property
    def seconds(self) -> float:
        """How long it took."""


def emit_publication(
    contract: Contract,
    endpoints: Endpoints,
    publication: Published,
    *,
    requested_by: str = "publisher",
    to: Emitter | None = None,
) -> None:
    """Tell of a publication that has just been made. Raises nothing."""
    if _only_probe(contract, publication):
        last = _probe_told.get(contract.name)
        if last is not None and time.monotonic() - last < PROBE_SECONDS:
            return
        _probe_told[contract.name] = time.monotonic()
    ended = datetime.now(UTC)
    (to or emitter()).emit(lambda: publication_facts(contract, endpoints, publication, ended, requested_by))


_probe_told: dict[str, float] = {}


def publication_facts(
    contract: Contract, endpoints: Endpoints, publication: Published, ended: datetime, requested_by: str
) -> Iterable[RunFacts]:
    """START and COMPLETE of a publication; its id follows from the commit's hash, so it is one run however
    often it is told.
    """
    job = Job(
        name=f"{contract.name}.publication",
        processing="BATCH",
        integration="NESSIE",
        type="COMMIT",
        description=f"Makes new snapshots of the lake tables of {contract.name} visible in Nessie.",
        owner=contract.owner,
    )
    read, written = [], []
    for table in publication.changed:
        known = publication.tables[table]
        if table != QUARANTINE_TABLE:
            facts = dataset_facts(contract, endpoints, Dataset(Layer.LAKE, table))
            # Its columns are told by the stream that writes it; a publication may come every second.
            read.append(replace(facts, fields=(), origins={}, version=str(known.paimon_snapshot)))
        written.append(
            replace(
                published_facts(contract, endpoints, table),
                version=publication.hash,
                rows=known.rows,
                bytes=known.bytes,
            )
        )
    begun = RunFacts(
        state=State.START,
        run_id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"nessie:{contract.name}/{publication.hash}")),
        at=(ended - timedelta(seconds=publication.seconds)).isoformat(),
        job=job,
        engine=Engine("lakehouse-publisher", version("lakehouse-dagster")),
        asked_by=requested_by,
    )
    yield begun
    yield replace(
        begun,
        state=State.COMPLETE,
        at=ended.isoformat(),
        inputs=tuple(read),
        outputs=tuple(written),
    )


def _only_probe(contract: Contract, publication: Published) -> bool:
    probe = contract.pipeline.probe
    return probe is not None and publication.changed == (probe.table,)
