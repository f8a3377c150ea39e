"""One look at all streams of a pipeline at the same moment: what is remembered, what is seen, what is to be
done.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.clients import ClientSource
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.streams.assets import Stream, streams_of
from lakehouse_dagster.streams.decision import Action, Facts, State, decide
from lakehouse_dagster.streams.health import Health
from lakehouse_dagster.streams.memory import Memory
from lakehouse_dagster.streams.observation import Observation


@dataclass(frozen=True)
class Look:
    """One stream at one moment."""

    stream: Stream
    memory: Memory
    facts: Facts
    action: Action
    health: Health = field(default_factory=Health)
    seen: Observation | None = None
    """What was seen; ``None`` when nothing could be."""

    @property
    def unknown(self) -> bool:
        """Whether its engine could not be asked, or was not because another process acts on the stream."""
        return self.facts.busy or self.facts.unreachable is not None

    @property
    def down(self) -> bool:
        """Whether it should run and does not, as far as is known."""
        return self.facts.state is not State.RUNNING and self.action.rule != "paused"


def survey(
    contract: Contract,
    lakehouse: ClientSource,
    memories: Mapping[str, Memory],
    *,
    timeout: float,
    patience: float,
) -> list[Look]:
    """Look at all streams of ``contract`` at once and decide; nothing is raised.

    ``timeout`` (seconds) bounds each request. After ``patience`` seconds a stream that has not been seen
    counts as unreachable: its threads end by themselves when their requests do.
    """
    streams = streams_of(contract)
    answers: SimpleQueue[Look] = SimpleQueue()

    def ask(stream: Stream) -> None:
        answers.put(look(contract, stream, lakehouse, memories.get(stream.name, Memory()), timeout=timeout))

    for stream in streams:
        threading.Thread(target=ask, args=(stream,), name=f"look-{stream.name}", daemon=True).start()
    deadline = time.monotonic() + patience
    seen: dict[str, Look] = {}
    while len(seen) < len(streams):
        try:
            found = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            break
        seen[found.stream.name] = found
    return [
        seen.get(stream.name)
        or _unseen(
            contract,
            stream,
            memories.get(stream.name, Memory()),
            f"its engines did not answer within {patience:.0f} s; see `lakehouse status`",
        )
        for stream in streams
    ]


def look(
    contract: Contract, stream: Stream, lakehouse: ClientSource, memory: Memory, *, timeout: float
) -> Look:
    """Look at one stream and decide; nothing is raised."""
    # Late, because the clients of the engines come with it, which loading definitions must not need.
    from lakehouse_dagster.streams.observe import observe

    try:
        # Clients of its own, because they are not shared between threads.
        with lakehouse.clients(timeout=timeout) as clients:
            seen = observe(contract, stream, clients, memory)
    except EngineError as error:
        return _unseen(contract, stream, memory, str(error))
    except Exception as error:  # one stream that cannot be looked at must not hide the others
        place = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})"
        return _unseen(contract, stream, memory, said)
    return Look(stream, memory, seen.facts, decide(seen.facts), seen.health, seen)


def _unseen(contract: Contract, stream: Stream, memory: Memory, why: str) -> Look:
    facts = Facts(
        stream.name,
        stream.kind,
        memory.declared.desired,
        unreachable=why,
        upgrade_by_hand=contract.pipeline.upgrades == "by_hand",
        seen_before=memory.seen_before,
    )
    return Look(stream, memory, facts, decide(facts))
