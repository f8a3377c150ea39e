"""Emits lineage events: to a file always, to a backend if there is one. Nothing here ever breaks the work.

An owned run is wrapped in :meth:`Emitter.run`; what has happened already is told by :meth:`Emitter.emit`::

    with emitter().run(job, inputs=[...], outputs=[...], parent=parent) as run:
        ...
        run.outputs = [replace(output, version=hash)]
"""

from __future__ import annotations

import atexit
import logging
import traceback
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TypeVar

from lakehouse_dagster.lineage.event_file import EventFile
from lakehouse_dagster.lineage.event_post import EventPost
from lakehouse_dagster.lineage.model import DatasetFacts, Engine, Job, Parent, RunFacts, State
from lakehouse_dagster.lineage.settings import LineageSettings

logger = logging.getLogger("lakehouse.lineage")

T = TypeVar("T")

FLUSH_SECONDS = 5.0
"""How long the end of an owned run waits for the backend: its process may end with it."""

INTERRUPTIONS = ("DagsterExecutionInterruptedError",)
"""Errors by which Dagster ends a run that somebody has cancelled, by name."""


@dataclass
class OwnedRun:
    """A run that is going on. What is known only at its end is set here before it ends."""

    run_id: str
    inputs: Sequence[DatasetFacts] = ()
    outputs: Sequence[DatasetFacts] = ()


class Emitter:
    """Makes and delivers events. ``emitted`` counts events in the file, ``failed`` those that are not."""

    def __init__(self, settings: LineageSettings) -> None:
        self.settings = settings
        self.file = EventFile(settings.folder)
        self.emitted = 0
        self.failed = 0
        self._troubled = ""
        self.post: EventPost | None = None
        if settings.enabled and settings.url:
            self.post = EventPost(settings.url, api_key=self._api_key())

    def emit(self, facts: Iterable[RunFacts] | Callable[[], Iterable[RunFacts]]) -> None:
        """Emit events, or those that a function makes; raises nothing.

        A failure is logged when it is another one than the last, and counted.
        """
        if not self.settings.enabled:
            return
        try:
            for one in facts() if callable(facts) else facts:
                self._deliver(one)
        except Exception as error:  # whatever is wrong with an event, the work it tells of goes on
            self.failed += 1
            place = traceback.extract_tb(error.__traceback__)[-1]
            trouble = f"{type(error).__name__}: {error} ({place.name} in {place.filename}:{place.lineno})"
            if trouble != self._troubled:
                logger.warning("a lineage event was not written: %s", trouble)
            self._troubled = trouble

    def tried(self, make: Callable[[], T], otherwise: T) -> T:
        """What a function makes for an event, or ``otherwise`` when it cannot; raises nothing."""
        found = [otherwise]

        def facts() -> Iterable[RunFacts]:
            found[0] = make()
            return ()

        self.emit(facts)
        return found[0]

    def _deliver(self, facts: RunFacts) -> None:
        # Late: the client takes a second to import, and most processes never emit anything.
        from openlineage.client.serde import Serde

        from lakehouse_dagster.lineage.events import run_event

        event = run_event(facts, self.settings.namespace)
        if self.post is not None:
            self.post.put(event)
        self.file.write(Serde.to_json(event))
        self.emitted += 1
        self._troubled = ""

    @contextmanager
    def run(
        self,
        job: Job,
        *,
        inputs: Sequence[DatasetFacts] = (),
        outputs: Sequence[DatasetFacts] = (),
        engine: Engine | None = None,
        parent: Parent | None = None,
    ) -> Iterator[OwnedRun]:
        """Tell of a run: START at once, COMPLETE at the end, FAIL (ABORT when interrupted) on an error.

        The error goes on to the caller. The block sets the run's ``inputs`` and ``outputs`` to what they
        turned out to be.
        """
        owned = OwnedRun(new_run_id(), tuple(inputs), tuple(outputs))

        def told(state: State, error: str = "") -> None:
            self.emit(
                lambda: [
                    RunFacts(
                        state=state,
                        run_id=owned.run_id,
                        at=now(),
                        job=job,
                        inputs=tuple(owned.inputs),
                        outputs=tuple(owned.outputs),
                        engine=engine,
                        parent=parent,
                        error=error,
                    )
                ]
            )

        told(State.START)
        try:
            yield owned
        except BaseException as error:
            stopped = not isinstance(error, Exception) or type(error).__name__ in INTERRUPTIONS
            told(State.ABORT if stopped else State.FAIL, f"{type(error).__name__}: {error}"[:2000])
            self.flush()
            raise
        told(State.COMPLETE)
        self.flush()

    def flush(self, seconds: float = FLUSH_SECONDS) -> None:
        """Wait at most so long until the backend has everything; events are in the file anyway."""
        if self.post is not None:
            self.post.flush(seconds)

    def close(self) -> None:
        """End what runs beside."""
        if self.post is not None:
            self.post.close()

    def _api_key(self) -> str | None:
        if self.settings.api_key_file is None:
            return None
        try:
            return self.settings.api_key_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            logger.warning("the key for %s cannot be read: %s", self.settings.url, error)
            return None


def emitter() -> Emitter:
    """The emitter of this process, as its environment says now."""
    return _emitter(LineageSettings.load())


@lru_cache(maxsize=4)
def _emitter(settings: LineageSettings) -> Emitter:
    found = Emitter(settings)
    # A command may end right after what it tells of.
    atexit.register(found.flush)
    return found


def now() -> str:
    """This moment as events tell it."""
    return datetime.now(UTC).isoformat()


def new_run_id() -> str:
    """A new run's id, a UUID."""
    return str(uuid.uuid4())
