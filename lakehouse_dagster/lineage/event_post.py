"""Sends events to an OpenLineage backend from a thread of its own, so that nobody waits for it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from openlineage.client.event_v2 import RunEvent

logger = logging.getLogger("lakehouse.lineage")

MOST_WAITING: Final = 1_000
"""Events that wait while the backend does not answer; the oldest are given up for newer ones."""
TIMEOUT_SECONDS: Final = 5.0
"""How long one request may take."""
PAUSES: Final = (1.0, 60.0)
"""Seconds until the backend is tried again: at first, and at most."""


class EventPost:
    """A queue of events and the thread that posts them in order to ``URL/api/v1/lineage``.

    An event is posted again until the backend takes it, refuses it (a 4xx answer), or newer ones need the
    place. ``sent`` and ``lost`` count them.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout: float = TIMEOUT_SECONDS,
        most_waiting: int = MOST_WAITING,
        pauses: tuple[float, float] = PAUSES,
    ) -> None:
        self.url = url
        self.sent = 0
        self.lost = 0
        self._timeout = timeout
        self._api_key = api_key
        self._most_waiting = most_waiting
        self._pauses = pauses
        self._waiting: deque[RunEvent] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._ended = False

    def put(self, event: RunEvent) -> None:
        """Leave an event to the thread; never waits."""
        with self._changed:
            if len(self._waiting) >= self._most_waiting:
                self._waiting.popleft()
                self.lost += 1
            self._waiting.append(event)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="openlineage", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, seconds: float) -> bool:
        """Wait at most so long until nothing waits any more; whether that came true."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, timeout=seconds)

    def close(self) -> None:
        """End the thread; what still waits is lost."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _work(self) -> None:
        transport: Any = None
        pause, quiet = self._pauses[0], False
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ended)
                if self._ended:
                    return
                event = self._waiting[0]
            try:
                transport = transport or self._transport()
                transport.emit(event)
            except Exception as error:
                if not _refused(error):
                    if not quiet:
                        logger.warning(
                            "lineage events cannot be sent to %s: %s; trying again", self.url, error
                        )
                    quiet = True
                    self._rest(pause)
                    pause = min(self._pauses[1], pause * 2)
                    continue
                logger.warning("%s refuses a lineage event: %s", self.url, error)
                self._done(event, sent=False)
                continue
            if quiet:
                logger.info("lineage events are sent to %s again", self.url)
            pause, quiet = self._pauses[0], False
            self._done(event, sent=True)

    def _done(self, event: RunEvent, *, sent: bool) -> None:
        with self._changed:
            # Newer events may have pushed it out meanwhile; then it counts as lost already.
            if self._waiting and self._waiting[0] is event:
                self._waiting.popleft()
                self.sent += sent
                self.lost += not sent
            self._changed.notify_all()

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        with self._changed:
            self._changed.wait_for(lambda: self._ended or time.monotonic() >= until, timeout=seconds)

    def _transport(self) -> Any:
        from openlineage.client.transport.http import ApiKeyTokenProvider, HttpConfig, HttpTransport

        config = HttpConfig(url=self.url, timeout=self._timeout, retry={"total": 0})
        if self._api_key:
            config.auth = ApiKeyTokenProvider({"apiKey": self._api_key})
        return HttpTransport(config)


def _refused(error: Exception) -> bool:
    """Whether the backend has understood the request and will not take it (too many requests is no such)."""
    status = getattr(getattr(error, "response", None), "status_code", 0) or 0
    return 400 <= status < 500 and status not in (408, 429)
