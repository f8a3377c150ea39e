"""A publisher that dies between any two of its steps, and two publishers at once.

The publisher runs in a process of its own, which really ends (``os._exit``) just before one of its calls to
an engine, or in the middle of the commit's HTTP exchange. After each death readers must see a complete
version, the next publisher must bring the new one, once, and the one after that must find nothing to do.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.http import HttpEngine
from lakehouse_dagster.engines.postgres import PostgresClient
from lakehouse_dagster.engines.s3 import ObjectStore
from lakehouse_dagster.governance.publisher import Publication, Publisher, PublisherState
from tests.engine.handmade_lake import Lake
from tests.engine.real_lake import GENERATIONS, RealLake

pytestmark = pytest.mark.engine

DIED = 77
"""How a publisher ends that was made to die; 0 is one that came to its end."""

CALLS = ((ObjectStore, "get"), (HttpEngine, "request"), (PostgresClient, "query"))
"""Everything a round asks of engines goes through one of these."""

EXCHANGE = (
    "http11.send_request_headers.complete",
    "http11.send_request_body.complete",
    "http11.receive_response_headers.complete",
    "http11.response_closed.complete",
)
"""Moments in the commit's HTTP exchange: half sent; sent, no answer read; its beginning read; all read."""


def in_a_process(work: Callable[[], object]) -> int:
    """Run ``work`` in a copy of this process and return how that ended."""
    process = os.fork()
    if process == 0:
        try:
            work()
        except BaseException as error:
            print(f"the publisher failed: {error!r}", flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def die_before(number: int) -> None:
    """Let this process die just before call ``number`` to an engine, from 0."""
    made: list[None] = []
    for owner, name in CALLS:
        real = getattr(owner, name)

        def called(self: Any, *args: Any, _real: Any = real, **kwargs: Any) -> Any:
            if len(made) == number:
                os._exit(DIED)
            made.append(None)
            return _real(self, *args, **kwargs)

        setattr(owner, name, called)


def die_at(moment: str) -> None:
    """Let this process die at a moment of the commit's exchange."""
    real = httpx.Client.request

    def request(self: httpx.Client, method: str, url: Any, **kwargs: Any) -> httpx.Response:
        def trace(event: str, _: object) -> None:
            if event == moment:
                os._exit(DIED)

        if str(url).endswith("/history/commit"):
            kwargs["extensions"] = {"trace": trace}
        return real(self, method, url, **kwargs)

    httpx.Client.request = request  # type: ignore[method-assign]


@pytest.fixture
def lake(clients: Clients) -> Iterator[Lake]:
    found = Lake(clients)
    yield found
    found.drop()


@pytest.fixture
def branch(clients: Clients) -> Iterator[str]:
    name = f"zz_publish_{os.urandom(4).hex()}"
    clients.nessie.create_reference(name, clients.nessie.get_reference("main"))
    yield name
    clients.nessie.delete_reference(clients.nessie.get_reference(name))


@pytest.fixture
def real(clients: Clients) -> Iterator[RealLake]:
    found = RealLake(clients)
    try:
        found.set_up()
        yield found
    finally:
        found.tear_down()


class Publishers:
    """A publisher that lives, and one that dies whenever it is used.

    The latter is never used in this process, so it has no connection that its copies could share.
    """

    def __init__(self, endpoints: Endpoints, lake: Lake, branch: str) -> None:
        self._lake = lake
        self._living = Publisher(endpoints, branch=branch)
        self._dying = Publisher(endpoints, branch=branch)

    def publish(self) -> Publication | None:
        """One round of a publisher that remembers nothing."""
        return self._living.publish_once(self._lake.contract, PublisherState())

    def die(self, prepare: Callable[[], object]) -> int:
        """One round in a process of its own, ``prepare``d to die; returns how it ended."""

        def work() -> None:
            prepare()
            self._dying.publish_once(self._lake.contract, PublisherState())

        return in_a_process(work)

    def close(self) -> None:
        """Close the connections."""
        self._living.close()
        self._dying.close()


@pytest.fixture
def publishers(endpoints: Endpoints, lake: Lake, branch: str) -> Iterator[Publishers]:
    found = Publishers(endpoints, lake, branch)
    yield found
    found.close()


def publications(lake: Lake, branch: str) -> list[str]:
    """What was published of the lake, the newest first."""
    prefix = f"publish {lake.name}: "
    history = lake.clients.nessie.log(branch, limit=200)
    return [e.message.removeprefix(prefix) for e in history if e.message.startswith(prefix)]


def test_a_publisher_that_dies_between_any_two_steps(lake: Lake, branch: str, publishers: Publishers) -> None:
    lake.write("a", 1)
    lake.write("b", 1)
    assert publishers.publish() is not None
    version, step, ended = 1, 0, DIED
    while ended == DIED:
        assert step < 60, "a round that makes so many calls to engines is not what this was written for"
        old, version = version, version + 1
        lake.write("a", version)
        lake.write("b", version)
        ended = publishers.die(lambda number=step: die_before(number))
        assert ended in (0, DIED), f"step {step}"
        # Nothing is asked after the commit: who has come that far has ended well.
        shown = dict.fromkeys("ab", version if ended == 0 else old)
        assert lake.shown(branch) == shown, f"step {step}"
        assert (publishers.publish() is None) == (ended == 0)
        assert lake.shown(branch) == dict.fromkeys("ab", version)
        assert publishers.publish() is None
        step += 1
    assert step > 12  # two holds, the branch, its contents, some objects of each table, the commit
    # Every version once, in order, and both tables together.
    assert publications(lake, branch) == [f"a@{n}, b@{n}" for n in range(version, 0, -1)]


def test_a_publisher_that_dies_while_it_commits(real: RealLake, endpoints: Endpoints) -> None:
    publishers = Publishers(endpoints, real, real.branch)
    real.put(1)
    assert publishers.publish() is not None
    assert real.read() == (1, 1, 6)
    version = 1
    for moment in EXCHANGE:
        old, version = version, version + 1
        real.put(version)
        assert publishers.die(lambda moment=moment: die_at(moment)) == DIED, moment
        seen = real.shown(real.branch)
        assert seen in (dict.fromkeys("ab", old), dict.fromkeys("ab", version)), moment
        first, second, rows = real.read()
        assert (first, rows) == (second, 6), moment
        if moment in EXCHANGE[2:]:  # an answer came, so it was done
            assert seen == dict.fromkeys("ab", version), moment
        publishers.publish()
        assert real.read() == (version % GENERATIONS, version % GENERATIONS, 6), moment
        assert publishers.publish() is None
    publishers.close()
    assert publications(real, real.branch) == [f"a@{n}, b@{n}" for n in range(version, 0, -1)]


def test_two_publishers_of_which_one_keeps_dying(
    lake: Lake, branch: str, endpoints: Endpoints, publishers: Publishers
) -> None:
    """One follows the lake, the other dies at another step each time: versions go only forward."""
    lake.write("a", 1)
    lake.write("b", 1)
    publishers.publish()
    ended, failures = threading.Event(), []

    def follow() -> None:
        publisher, state = Publisher(endpoints, branch=branch), PublisherState()
        try:
            while not ended.wait(0.05):
                publisher.publish_once(lake.contract, state, attempts=20)
        except EngineError as error:
            failures.append(error)
        finally:
            publisher.close()

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        for version in range(2, 10):
            lake.write("a", version)
            lake.write("b", version)
            assert publishers.die(lambda number=20 - version: die_before(number)) in (0, DIED)
    finally:
        ended.set()
        thread.join()
    assert not failures
    publishers.publish()
    assert lake.shown(branch) == {"a": 9, "b": 9}
    for table in ("a", "b"):
        moved = [
            int(part.partition("@")[2])
            for entry in reversed(publications(lake, branch))
            for part in entry.split(", ")
            if part.startswith(f"{table}@")
        ]
        assert moved == sorted(set(moved)), f"table {table} went {moved}"
