"""The facts about one stream and the figures of its health, asked of its engines.

Every engine is asked once, with small requests; an engine that does not answer is a fact, not an error. What
is expensive (listing checkpoints, comparing schemas) is only asked when it can matter: when the stream is not
alive, loops, or runs another specification than it should.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.errors import EngineError, EngineUnavailable
from lakehouse_dagster.streams.assets import Stream
from lakehouse_dagster.streams.decision import Facts, Kind
from lakehouse_dagster.streams.memory import Memory
from lakehouse_dagster.streams.observation import EngineLook, FoundGap, Observation
from lakehouse_dagster.streams.observe_connector import ConnectorLook
from lakehouse_dagster.streams.observe_job import JobLook

__all__ = ["FoundGap", "Observation", "observe"]


def observe(
    contract: Contract,
    stream: Stream,
    clients: Clients,
    memory: Memory,
    *,
    busy: bool | None = None,
    fresh: bool = False,
    now: datetime | None = None,
) -> Observation:
    """Return what is true of ``stream`` now. An engine that cannot be asked is a fact too.

    ``busy`` is asked of the store unless it is given (whoever holds the stream's lock knows it). ``fresh``
    asks everything anew, where a sensor may believe what was true a minute ago. Raises ``EngineError`` only
    when the platform's own memory cannot be asked.
    """
    moment = now or datetime.now(UTC)
    if busy is None:
        from lakehouse_dagster.streams.store import StreamStore

        busy = StreamStore(clients.postgres).busy(contract.name, stream.name)
    known = Facts(
        stream.name,
        stream.kind,
        desired=memory.declared.desired,
        busy=busy,
        upgrade_by_hand=contract.pipeline.upgrades == "by_hand",
        seen_before=memory.seen_before,
        seconds_down=memory.seconds_down(moment),
        gap="; ".join(gap.description for gap in memory.gaps) or None,
    )
    kind: type[EngineLook] = ConnectorLook if stream.kind is Kind.CONNECTOR else JobLook
    look = kind(contract, stream, clients, memory, known, moment, fresh)
    try:
        return look.take()
    except EngineUnavailable as error:
        return Observation(replace(look.known, unreachable=str(error)))
    except EngineError as error:
        return Observation(replace(look.known, unreachable=f"{error}; see `lakehouse logs {error.engine}`"))
