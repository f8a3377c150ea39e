"""The prober at work on the running sample pipeline: every place, and one that stands still."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from lakehouse_dagster.proof.freshness import probe_places
from lakehouse_dagster.runtime.settings import Settings
from tests.conftest import lakehouse
from tests.e2e.conftest import Flow

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

PLACES = ["kafka", "paimon", "nessie", "trino", "cassandra", "couchdb"]


def freshness(*options: str) -> dict[str, Any]:
    """`lakehouse freshness flights --json`; what is not fresh or not known is no failure of the command."""
    done = lakehouse("freshness", "flights", "--json", *options, check=False, timeout=300)
    assert done.returncode in (0, 1, 2), done.stderr
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def by_place(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entry["place"]: entry for entry in found["places"]}


def metric(name: str, place: str) -> float:
    """The value of a metric of the prober for one place."""
    url = Settings.load().url("prober")
    with httpx.Client(base_url=url, timeout=10, trust_env=False) as client:
        lines = client.get("/metrics").raise_for_status().text.splitlines()
    wanted = f'{name}{{pipeline="flights",place="{place}"}} '
    return next(float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted))


def readable(place: str) -> float:
    """Beats that were readable at a place so far."""
    try:
        return metric("lakehouse_commit_to_readable_seconds_count", place)
    except StopIteration:
        return 0.0


@contextmanager
def stopped(service: str) -> Iterator[None]:
    """SIGSTOP of a service's process, for the time of the block."""
    status = json.loads(lakehouse("status", "--json", check=False).stdout)
    (pid,) = [row["pid"] for row in status["services"] if row["service"] == service]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_after_a_minute_every_place_has_beats_with_finite_percentiles(flow: Flow) -> None:
    assert [place.name for place in probe_places(flow.contract)] == PLACES
    deadline = time.monotonic() + 180
    while True:
        found = freshness()
        places = by_place(found)
        assert list(places) == PLACES
        # A place that was asked before its stream had taken up again tells that problem for a minute.
        if all(e["beats"] >= 3 and e["p99"] is not None and not e["problem"] for e in places.values()):
            break
        assert time.monotonic() < deadline, found
        time.sleep(10)
    for entry in places.values():
        assert 0 < entry["p50"] <= entry["p95"] <= entry["p99"] <= entry["max"] < math.inf
        assert sum(entry["histogram"].values()) == entry["beats"]
    # The order of the way, with room for the pauses between two questions.
    assert places["kafka"]["p50"] < places["paimon"]["p50"] < places["nessie"]["p50"] + 0.5
    assert places["nessie"]["p50"] < places["trino"]["p50"] + 0.5


def test_the_json_has_the_agreed_shape(flow: Flow) -> None:
    found = freshness("--minutes", "5")
    assert set(found) == {"pipeline", "table", "every_seconds", "slo_seconds", "within_slo", "places"}
    assert (found["pipeline"], found["table"], found["slo_seconds"]) == ("flights", "freshness_probe", 30.0)
    for entry in found["places"]:
        assert set(entry) == {
            "place", "beats", "p50", "p95", "p99", "max", "missed", "waiting", "behind_seconds",
            "newest_beat", "newest_at", "age_seconds", "told_at", "problem", "histogram",
        }  # fmt: skip


def test_a_frozen_publisher_shows_in_what_reads_through_it_only(flow: Flow) -> None:
    before = {place: readable(place) for place in PLACES}
    with stopped("publisher"):
        time.sleep(45)
        during = {place: readable(place) for place in PLACES}
        behind = {place: metric("lakehouse_behind_seconds", place) for place in PLACES}
    for place in ("kafka", "paimon", "cassandra", "couchdb"):
        assert during[place] >= before[place] + 5, place
        assert behind[place] < 20, place
    # One beat may have been on its way through Nessie when the publisher stopped.
    assert during["nessie"] <= before["nessie"] + 1
    assert behind["nessie"] > 30
    assert during["trino"] <= before["trino"] + 1
    deadline = time.monotonic() + 120
    while metric("lakehouse_behind_seconds", "nessie") > 15 or readable("nessie") < during["nessie"] + 5:
        assert time.monotonic() < deadline, "Nessie does not catch up"
        time.sleep(2)


def test_the_probe_is_still_while_rows_are_compared(flow: Flow) -> None:
    """Verification finds no difference while the prober runs, and beats go on afterwards."""
    done = lakehouse("verify", "flights", "--json", timeout=600, check=False)
    report = json.loads(done.stdout)
    assert done.returncode == 0, report
    assert report["attempts"] == 1
    assert not report["source"]["written_during_comparison"]
    seen = readable("kafka")
    deadline = time.monotonic() + 60
    while readable("kafka") <= seen:
        assert time.monotonic() < deadline, "no beat after the comparison"
        time.sleep(1)


def test_it_is_measured_without_the_service_too(flow: Flow) -> None:
    lakehouse("down", "prober", timeout=120)
    try:
        places = by_place(freshness("--measure", "20"))
    finally:
        lakehouse("up", "prober", timeout=300)
    for name, entry in places.items():
        assert entry["beats"] >= 5, name
        assert entry["p95"] is not None, name
    assert "trino" in places


def test_dagster_judges_every_place(flow: Flow) -> None:
    """The sensor has reported figures as metadata of the probe's lake table."""
    deadline = time.monotonic() + 180
    key = ("flights", "lake", "freshness_probe")
    while not any(
        "paimon_p95_seconds" in event.metadata for event in flow.dagster.observations(key, limit=20)
    ):
        assert time.monotonic() < deadline, "no observation with figures"
        time.sleep(5)
