"""Asking each place for the newest beat it shows, as cheaply as the truth allows.

* ``kafka``: the topic's tail is consumed; a beat counts when its record has been received (committed records
  only). The broker answers as soon as there is one, so this costs nothing while there is none.
* ``paimon``: the newest snapshot is committed and the data files it adds hold the beat, by the greatest value
  of the column in their statistics. Only the snapshot and two manifests are read; any Paimon reader that
  opens the table at this moment reads these files.
* ``nessie``: ``main`` names Iceberg metadata whose data files hold the beat, by the bounds in its manifests.
  What an Iceberg reader that plans at this moment reads. Asked again only when the branch has moved.
* ``trino``: the row itself, by a query.
* ``cassandra``: the row itself, by key. ``couchdb``: the document itself, by id.

Every ``look`` gives the number of the newest beat the place shows, None when it shows none that is known, and
raises ``EngineUnavailable`` or ``EngineError``.
"""

from __future__ import annotations

import json
from typing import Protocol

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.model import Probe
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.kafka import Partition
from lakehouse_dagster.engines.kafka_records import TopicReader
from lakehouse_dagster.engines.nessie import Key
from lakehouse_dagster.engines.paimon import parse_iceberg
from lakehouse_dagster.engines.trino import qualified
from lakehouse_dagster.proof.freshness import Place
from lakehouse_dagster.render import quoting

COLUMN = "beat"
KAFKA_WAIT_SECONDS = 0.5
"""So long a single question waits for a record; an answer comes at once."""
IDLE_LOOKS = 40
"""After so many looks at Paimon without a new snapshot the table is looked up anew: it may have been made
anew, and its numbers begin again then.
"""


class Look(Protocol):
    """Something that can be asked for the newest beat. ``waits`` says that a question waits for news
    itself.
    """

    waits: bool

    def look(self) -> int | None:
        """The newest beat the place shows."""

    def close(self) -> None:
        """Close what is held open; the next look opens it again."""


class InKafka:
    """Follows the topic of the probe's table from its end on, in no group."""

    waits = True

    def __init__(self, contract: Contract, probe: Probe, clients: Clients) -> None:
        self._topic = contract.topic(probe.table)
        self._clients = clients
        self._reader: TopicReader | None = None
        self._newest: int | None = None

    def look(self) -> int | None:
        """The newest beat received, after waiting for records for half a second at most."""
        if self._reader is None:
            ends = self._clients.kafka.end_offsets([self._topic])
            end = ends.get(Partition(self._topic, 0))
            if end is None:
                raise EngineError("kafka", f"there is no topic {self._topic} yet")
            # From the newest record on, which tells what is shown already.
            self._reader = TopicReader(self._clients.endpoints.kafka, self._topic, max(0, end - 1))
        try:
            records = self._reader.poll(KAFKA_WAIT_SECONDS)
        except EngineError:
            self.close()
            raise
        for record in records:
            number = beat_of(record.value)
            if number is not None:
                self._newest = max(number, self._newest or number)
        return self._newest

    def close(self) -> None:
        """Close the consumer."""
        if self._reader is not None:
            self._reader.close()
        self._reader = None


def beat_of(value: bytes | None) -> int | None:
    """The beat in a flattened record of the probe row; None for a delete or anything else."""
    try:
        record = json.loads(value) if value else None
    except ValueError:
        return None
    if not isinstance(record, dict) or record.get("__op") == "d":
        return None
    number = record.get(COLUMN)
    return number if isinstance(number, int) and not isinstance(number, bool) else None


class InPaimon:
    """Follows the snapshots of the probe's lake table."""

    waits = False

    def __init__(self, contract: Contract, probe: Probe, clients: Clients) -> None:
        self._path = contract.lake_path(probe.table)
        self._clients = clients
        self._seen: int | None = None
        self._newest: int | None = None
        self._idle = 0

    def look(self) -> int | None:
        """One small read while there is no new snapshot, three more for each that there is."""
        paimon, (database, table) = self._clients.paimon, self._path
        if self._seen is None or self._idle >= IDLE_LOOKS:
            latest = paimon.latest(database, table)
            if latest is None:
                raise EngineError("paimon", f"{database}.{table} has no snapshot yet")
            if self._seen is None or latest.id < self._seen:
                self._seen = latest.id - 1
            self._idle = 0
        while True:
            snapshot = paimon.snapshot(database, table, self._seen + 1)
            if snapshot is None:
                self._idle += 1
                return self._newest
            found = paimon.added_max(database, table, snapshot, COLUMN)
            if found is not None:
                self._newest = found if self._newest is None else max(found, self._newest)
            self._seen = snapshot.id
            self._idle = 0

    def close(self) -> None:
        """Forget which snapshots were seen."""
        self._seen = None


class InNessie:
    """Follows the branch that readers use."""

    waits = False

    def __init__(self, contract: Contract, probe: Probe, clients: Clients) -> None:
        self._key: Key = tuple(contract.lake_path(probe.table))
        self._clients = clients
        self._hash: str | None = None
        self._location: str | None = None
        self._newest: int | None = None

    def look(self) -> int | None:
        """One small request while the branch stands still."""
        reference = self._clients.nessie.get_reference()
        if reference.hash == self._hash:
            return self._newest
        content = self._clients.nessie.get_tables([self._key], reference).get(self._key)
        if content is None:
            raise EngineError("nessie", f"{'.'.join(self._key)} is not published yet")
        if content.metadata_location != self._location:
            raw = self._clients.store.get(content.metadata_location)
            if raw is None:
                raise EngineError("nessie", f"{content.metadata_location} is published and does not exist")
            state = parse_iceberg(raw, content.snapshot_id, content.metadata_location)
            # The greatest value of whichever column is asked for in the place of the position.
            self._newest = self._clients.paimon.bounds(state, position=COLUMN).position
            self._location = content.metadata_location
        self._hash = reference.hash
        return self._newest

    def close(self) -> None:
        """Forget what was read."""
        self._hash = self._location = None


class InTrino:
    """Asks Trino for the row."""

    waits = False

    def __init__(self, contract: Contract, probe: Probe, clients: Clients) -> None:
        path = contract.lake_path(probe.table)
        self._clients = clients
        table = qualified(clients.trino.catalog, path.database, path.table)
        self._sql = f"SELECT {COLUMN} FROM {table} WHERE id = 1"  # noqa: S608 - quoted identifiers

    def look(self) -> int | None:
        """One query."""
        return _number(self._clients.trino.scalar(self._sql))

    def close(self) -> None:
        """Nothing is held open."""


class InCassandra:
    """Asks Cassandra for the row of a view."""

    waits = False

    def __init__(self, contract: Contract, view: str, clients: Clients) -> None:
        self._clients = clients
        table = quoting.double(contract.keyspace, view)
        self._cql = f"SELECT {COLUMN} FROM {table} WHERE id = 1"  # noqa: S608 - quoted identifiers

    def look(self) -> int | None:
        """One read by key."""
        rows = self._clients.cassandra.execute(self._cql)
        return _number(rows[0][0]) if rows else None

    def close(self) -> None:
        """Close the session."""
        self._clients.cassandra.close()


class InCouchDb:
    """Asks CouchDB for the document of a view."""

    waits = False

    def __init__(self, view: str, clients: Clients) -> None:
        self._clients = clients
        self._view = view

    def look(self) -> int | None:
        """One read by id."""
        document = self._clients.couchdb.doc(self._view, "1")
        return _number(document.get(COLUMN)) if document else None

    def close(self) -> None:
        """Nothing but pooled connections is held open."""


def _number(value: object) -> int | None:
    # CouchDB's stand-in keeps numbers above 2^53 as text.
    return None if value is None else int(str(value))


def look_for(contract: Contract, probe: Probe, place: Place, clients: Clients) -> Look:
    """What asks ``place``, with clients that nobody else uses."""
    match place.engine:
        case "kafka":
            return InKafka(contract, probe, clients)
        case "paimon":
            return InPaimon(contract, probe, clients)
        case "nessie":
            return InNessie(contract, probe, clients)
        case "trino":
            return InTrino(contract, probe, clients)
        case "cassandra":
            return InCassandra(contract, place.view or "", clients)
        case "couchdb":
            return InCouchDb(place.view or "", clients)
    raise ValueError(f"there is no place {place.engine!r}")
