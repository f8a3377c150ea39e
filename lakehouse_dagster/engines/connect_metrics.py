"""What Debezium counts, read from the worker's metrics.

They are JMX attributes; an agent in the worker's own process serves them as text in Prometheus' format
(``compose/connect/metrics.yaml`` says which). They begin at nought with every start of the connector's task.
"""

from __future__ import annotations

from dataclasses import dataclass

import httpx

from lakehouse_dagster.engines.errors import EngineError, EngineUnavailable

METRIC = "debezium_events"
"""Name of the metric; its labels tell connector (``server``) and ``attribute``."""
ERRONEOUS = "NumberOfErroneousEvents"
SKIPPED = "NumberOfSkippedEvents"
FILTERED = "NumberOfEventsFiltered"
_ENGINE = "connect"


@dataclass(frozen=True)
class ConnectorCounters:
    """Events of one connector since its task was started.

    ``erroneous`` were of a table whose columns it did not know, or could not be read from the binary log;
    ``skipped`` were passed over by the client of the binary log; ``filtered`` are of tables that are not
    captured.
    """

    erroneous: int = 0
    skipped: int = 0
    filtered: int = 0

    @property
    def lost(self) -> bool:
        """Whether changes may be missing."""
        return bool(self.erroneous or self.skipped)


def read_counters(url: str, *, timeout: float = 5.0) -> dict[str, ConnectorCounters]:
    """Return the counters by topic prefix of the connectors that are streaming; nothing for an empty ``url``.

    Raises ``EngineUnavailable`` when nobody answers, ``EngineError`` for an answer that is no metrics.
    """
    if not url:
        return {}
    try:
        # Loopback must not be reached through a proxy of the environment.
        with httpx.Client(timeout=timeout, trust_env=False) as client:
            answer = client.get(url)
    except httpx.TransportError as error:
        raise EngineUnavailable(_ENGINE, url, cause=str(error) or type(error).__name__) from error
    if answer.status_code != 200:
        raise EngineError(_ENGINE, f"GET {url} answered {answer.status_code}", status=answer.status_code)
    return parse_counters(answer.text)


def parse_counters(text: str) -> dict[str, ConnectorCounters]:
    """Return the counters in a text of Prometheus' format; raises ``EngineError`` for another text."""
    from prometheus_client.parser import text_string_to_metric_families

    values: dict[str, dict[str, int]] = {}
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == METRIC:
                    attribute, server = sample.labels["attribute"], sample.labels["server"]
                    values.setdefault(server, {})[attribute] = int(sample.value)
    except (ValueError, KeyError) as error:
        raise EngineError(_ENGINE, f"the worker's metrics cannot be read: {error}") from error
    return {
        server: ConnectorCounters(found.get(ERRONEOUS, 0), found.get(SKIPPED, 0), found.get(FILTERED, 0))
        for server, found in values.items()
    }
