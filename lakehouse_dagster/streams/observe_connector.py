"""What is true of a connector now: asked of Connect, of the source and, before a start, of Kafka."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.errors import PositionOverflow
from lakehouse_dagster.contract.position import encode, file_number
from lakehouse_dagster.engines.binlog_rules import source_problem
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.connect import stored_offset
from lakehouse_dagster.engines.errors import EngineError, EngineUnavailable
from lakehouse_dagster.render.connector import epoch_of
from lakehouse_dagster.streams.decision import State
from lakehouse_dagster.streams.drift import source_drift
from lakehouse_dagster.streams.health import Health
from lakehouse_dagster.streams.observation import (
    EngineLook,
    FoundGap,
    Observation,
    asked,
    with_gaps,
    with_starts,
)
from lakehouse_dagster.streams.plan import config_hash, connector_config

if TYPE_CHECKING:
    from lakehouse_dagster.engines.connect import ConnectorStatus
    from lakehouse_dagster.engines.mysql import SourceCondition, SourcePosition


class ConnectorLook(EngineLook):
    """One look at a connector."""

    def take(self) -> Observation:
        """Ask Connect and the source; raises ``EngineError`` when Connect cannot be asked."""
        config = connector_config(self.contract, self.clients.endpoints)
        self.known = with_starts(replace(self.known, spec=config_hash(config)), self.memory)
        name = self.stream.engine_name
        status = self.clients.connect.status(name)
        state, detail = connector_state(status)
        stored = self.clients.connect.config(name) if status is not None else None
        running_spec = None if stored is None else config_hash(stored)
        no_connectors = status is None and self._none_known()
        self.known = replace(
            self.known,
            state=state,
            detail=detail,
            living=int(state.alive),
            running_spec=running_spec,
            no_connectors=no_connectors,
        )
        # A worker that has forgotten the connector still has its offsets.
        offset, _ = asked(lambda: _source_offset(self.clients.connect.offsets(name)))
        # The server is asked after the offsets, so what they hold it has executed.
        read = None if offset is None else offset.gtids
        source, away = asked(lambda: self.clients.source.condition(read))
        missing = refused = None
        found: list[FoundGap] = []
        if source is None:
            missing = str(away)
        else:
            epoch = None if stored is None else epoch_of(stored)
            refused = refused_source(self.contract, source) or refused_offset(
                self.contract, source, offset, epoch
            )
            refused = refused or self._unlogged()
            if source.purged_unread and not state.alive:
                found.append(_binlog_gap(self.contract, source))
        outdated = running_spec is not None and running_spec != self.known.spec
        if missing is None and (not state.alive or outdated):
            # Of a connector that it has forgotten Connect does not tell the offsets, though it has them.
            forgotten = status is None and self.known.seen_before
            missing = self._missing(first=offset is None and not forgotten)
        facts = with_gaps(replace(self.known, missing=missing, refused=refused), self.memory, found)
        return Observation(facts, self._health(running_spec, offset, source), tuple(found))

    def _unlogged(self) -> str | None:
        """Say why changes would be missing in the source's binary log, with the fix."""
        names = [table.name for table in self.contract.tables]
        problem, _ = asked(lambda: source_problem(self.clients.source, self.contract.database, names))
        return problem

    def _none_known(self) -> bool:
        """Whether Connect knows no connector at all."""
        try:
            return not self.clients.connect.connectors()
        except EngineError as error:
            if error.status != 404:
                raise
            # Its web server is up before its interface is: until then nothing is there, not even the list.
            raise EngineUnavailable(
                "connect", self.clients.connect.url, cause="it is still starting"
            ) from error

    def _missing(self, *, first: bool) -> str | None:
        """What is not there for a start, with the fix.

        The tables count only for the ``first`` one, whose snapshot reads them as they are. A connector that
        goes on reads them as they were at its place in the binary log, and what has changed since is followed
        there (``streams.evolve``).
        """
        if first:
            try:
                said = missing_tables(self.contract, self.clients) or drifted_source(
                    self.contract, self.clients
                )
            except EngineError as error:
                return str(error)
            if said is not None:
                return said
        _, away = asked(self.clients.kafka.topics)
        return None if away is None else str(away)

    def _health(
        self, running_spec: str | None, offset: _SourceOffset | None, source: SourceCondition | None
    ) -> Health:
        end = None if source is None else place(self.contract, source.position.file, source.position.pos)
        at = None
        if offset is not None and offset.file is not None:
            at = place(self.contract, offset.file, offset.pos)
            if source is not None and offset.gtids and not source.unread:
                # It has read all there is; a place further on is that of an event of no interest to it.
                at = end
        return Health(running_spec=running_spec, read=at, available=end)


@dataclass(frozen=True)
class _SourceOffset:
    """A connector's stored offset, as far as it tells."""

    gtids: str | None
    file: str | None
    pos: int


def _source_offset(offsets: Sequence[Mapping[str, Mapping[str, object]]]) -> _SourceOffset | None:
    if not offsets:
        return None
    offset = stored_offset(offsets)
    gtids, file, pos = offset.get("gtids"), offset.get("file"), offset.get("pos")
    return _SourceOffset(
        gtids if isinstance(gtids, str) else None,
        file if isinstance(file, str) else None,
        pos if isinstance(pos, int) else 0,
    )


def place(contract: Contract, file: str, pos: int) -> int | None:
    """Return a place in the binary log as one number that grows along it; ``None`` when it has none."""
    try:
        return encode(contract.epoch, file_number(file), pos, 0)
    except (PositionOverflow, ValueError):
        return None


def refused_source(contract: Contract, source: SourceCondition) -> str | None:
    """Say why the source must not be read although it could be, with the fix; ``None`` when it may."""
    if not source.utc:
        return (
            f"the source's time zone is {source.time_zone}, not UTC: its TIMESTAMP columns would be carried "
            "wrongly; set `default-time-zone = '+00:00'` in the server's configuration, or run "
            "`SET PERSIST time_zone = '+00:00'`, and restart it"
        )
    return None


def refused_offset(
    contract: Contract, source: SourceCondition, offset: _SourceOffset | None, epoch: int | None
) -> str | None:
    """Say why a connector must not go on where it is, with the fix; ``None`` when it may.

    ``offset`` is how far it has read and ``epoch`` the one in which it has; ``None``: nothing, or not known.
    """
    if offset is None:
        return None
    name = contract.name
    if epoch is not None and epoch != contract.epoch:
        return (
            f"the contract says `source.epoch: {contract.epoch}`, and what the connector has read is of "
            f"epoch {epoch}; run `lakehouse streams repair {name}`, which reads the whole source anew in the "
            "new epoch and compares every row"
        )
    end = source.position
    if source.unknown_here:
        said = f"the connector has read transactions {source.unknown_here} that this server never executed"
    elif _beyond(offset, end):
        said = (
            f"the connector has read up to {offset.file}:{offset.pos}, and the binary log of this server "
            f"ends at {end.file}:{end.pos}"
        )
    else:
        return None
    return (
        f"the source was reset or replaced: {said}; if that was meant, raise `source.epoch` of {name} by one "
        f"and run `lakehouse streams repair {name}` (docs/operations.md, A source that was reset or replaced)"
    )


def _beyond(offset: _SourceOffset, end: SourcePosition) -> bool:
    """Whether a place lies behind the end of the binary log: positions would go back."""
    if offset.file is None:
        return False
    try:
        return (file_number(offset.file), offset.pos) > (file_number(end.file), end.pos)
    except ValueError:
        return False


def _binlog_gap(contract: Contract, source: SourceCondition) -> FoundGap:
    return FoundGap(
        tuple(table.name for table in contract.tables),
        f"transactions {source.purged_unread} of {contract.database} were purged from the binary log before "
        "the connector had read them",
    )


def connector_state(status: ConnectorStatus | None) -> tuple[State, str]:
    """Reduce Connect's words; a connector is only as well as its worst task."""
    if status is None:
        return State.ABSENT, ""
    if status.failed:
        return State.FAILED, status.error
    if status.running:
        return State.RUNNING, ""
    if status.state in {"PAUSED", "STOPPED"}:
        return State.PAUSED, status.state.lower()
    tasks = ", ".join(f"task {task.id} {task.state}" for task in status.tasks) or "no task yet"
    restarting = status.state == "RESTARTING" or any(task.state == "RESTARTING" for task in status.tasks)
    return (State.RESTARTING if restarting else State.STARTING), f"connector {status.state}, {tasks}"


def missing_tables(contract: Contract, clients: Clients) -> str | None:
    """Say which source tables do not exist yet, with the fix; ``None`` when all are there."""
    rows = clients.source.query(
        "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = %s",
        (contract.database,),
    )
    there = {str(row["name"]) for row in rows}
    absent = [table.name for table in contract.tables if table.name not in there]
    if not absent:
        return None
    listed = ", ".join(f"{contract.database}.{name}" for name in absent)
    return (
        f"source table(s) {listed} do not exist yet; create and fill them "
        "(for the samples: `lakehouse replay flights`, `lakehouse canary`)"
    )


def drifted_source(contract: Contract, clients: Clients) -> str | None:
    """Say where the source's schema differs from the locked one, with the fix; ``None`` when nowhere."""
    names = [table.name for table in contract.tables]
    said = source_drift(contract, clients.source.read_schema(contract.database, names))
    if not said:
        return None
    return (
        f"the source's schema is not the locked one: {'; '.join(said)}; run `lakehouse lock {contract.name}`"
    )
