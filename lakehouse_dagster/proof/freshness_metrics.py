"""The prober's figures as Prometheus metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from lakehouse_dagster.proof.freshness import BUCKETS


class Metrics:
    """What the prober tells, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("pipeline", "place")
        self._seconds = Histogram(
            "lakehouse_commit_to_readable_seconds",
            "Seconds from the commit of a probe's beat in the source until a place could be read with it",
            labels,
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._missed = Counter(
            "lakehouse_beats_missed",
            "Beats not readable at a place after 60 s",
            labels,
            registry=self.registry,
        )
        self._committed = Counter(
            "lakehouse_beats", "Beats committed in the source", ("pipeline",), registry=self.registry
        )
        self._behind = Gauge(
            "lakehouse_behind_seconds",
            "Age of the oldest beat that a place does not show yet; 0 when it shows all",
            labels,
            registry=self.registry,
        )
        self._age = Gauge(
            "lakehouse_newest_beat_age_seconds",
            "Age of the newest beat that a place shows",
            labels,
            registry=self.registry,
        )

    def serve(self, host: str, port: int) -> None:
        """Answer on ``http://host:port/metrics`` from a thread of its own; OSError when the port is taken."""
        start_http_server(port, addr=host, registry=self.registry)

    def committed(self, pipeline: str) -> None:
        """A beat was committed."""
        self._committed.labels(pipeline).inc()

    def readable(self, pipeline: str, place: str, seconds: float) -> None:
        """A beat became readable at a place."""
        self._seconds.labels(pipeline, place).observe(seconds)

    def missed(self, pipeline: str, place: str, beats: int) -> None:
        """Beats were not readable in time at a place."""
        self._missed.labels(pipeline, place).inc(beats)

    def state(self, pipeline: str, place: str, behind: float, age: float | None) -> None:
        """How old the oldest beat that is waited for is, and the newest readable one."""
        # Told from the beginning, so that a place without a single beat has its series too.
        self._missed.labels(pipeline, place)
        self._behind.labels(pipeline, place).set(behind)
        if age is not None:
            self._age.labels(pipeline, place).set(age)
