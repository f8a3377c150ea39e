"""What Debezium counts, out of the worker's metrics."""

from __future__ import annotations

import pytest

from lakehouse_dagster.engines.connect_metrics import ConnectorCounters, parse_counters, read_counters
from lakehouse_dagster.engines.errors import EngineError, EngineUnavailable

# As jmx_prometheus_javaagent 1.0.1 writes it with compose/connect/metrics.yaml.
TEXT = """\
# HELP debezium_events debezium.mysql:name=null,type=connector-metrics,attribute=NumberOfErroneousEvents
# TYPE debezium_events gauge
debezium_events{attribute="NumberOfErroneousEvents",server="flights"} 0.0
debezium_events{attribute="NumberOfEventsFiltered",server="flights"} 7.0
debezium_events{attribute="NumberOfSkippedEvents",server="flights"} 2.0
# HELP jvm_threads_current Current thread count of a JVM
# TYPE jvm_threads_current gauge
jvm_threads_current 12.0
"""


def test_counters_are_read_by_connector() -> None:
    pytest.importorskip("prometheus_client")
    found = parse_counters(TEXT)
    assert found == {"flights": ConnectorCounters(erroneous=0, skipped=2, filtered=7)}
    assert found["flights"].lost
    assert not ConnectorCounters(filtered=7).lost, "tables that nobody wants are not lost"


def test_a_connector_that_does_not_stream_has_none() -> None:
    pytest.importorskip("prometheus_client")
    assert parse_counters("# nothing\n") == {}


def test_what_is_no_metrics_is_said_to_be_so() -> None:
    pytest.importorskip("prometheus_client")
    with pytest.raises(EngineError, match="cannot be read"):
        parse_counters("<html>no</html>")


def test_nobody_is_asked_where_nothing_is_served() -> None:
    assert read_counters("") == {}
    with pytest.raises(EngineUnavailable):
        read_counters("http://127.0.0.1:1/metrics", timeout=1.0)
