"""A session that is pinned to a commit reads one publication, whatever is published meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.engines.nessie import Reference
from lakehouse_dagster.engines.trino_catalogs import pinned
from lakehouse_dagster.governance.publisher import Publisher, PublisherState
from tests.engine.real_lake import GENERATIONS, RealLake

pytestmark = pytest.mark.engine


@pytest.fixture
def lake(clients: Clients) -> Iterator[RealLake]:
    found = RealLake(clients)
    try:
        found.set_up()
        yield found
    finally:
        found.tear_down()


class Publications:
    """Publishes one version after the other until told to stop."""

    def __init__(self, lake: RealLake, endpoints: Endpoints) -> None:
        self.hashes: list[str] = []
        self._lake, self._ended = lake, threading.Event()
        self._publisher, self._state = Publisher(endpoints, branch=lake.branch), PublisherState()
        self._thread = threading.Thread(target=self._run)

    def once(self) -> None:
        """Publish the next version."""
        self._lake.put(len(self.hashes) + 1)
        publication = self._publisher.publish_once(self._lake.contract, self._state)
        assert publication is not None
        self.hashes.append(publication.hash)

    def _run(self) -> None:
        while not self._ended.wait(0.1):
            self.once()

    def __enter__(self) -> Publications:
        self.once()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._publisher.close()


def test_a_pinned_session_sees_one_publication(lake: RealLake, endpoints: Endpoints) -> None:
    with Publications(lake, endpoints) as going_on:
        for session in range(2):
            reference = lake.head
            at = going_on.hashes.index(reference.hash) + 1
            with pinned(endpoints, f"{lake.catalog}_pinned", reference) as trino:
                before = len(going_on.hashes)
                seen = {lake.read(trino, trino.catalog) for _ in range(5)}
                # It went on meanwhile, so what was read could have been another.
                assert len(going_on.hashes) > before
            assert seen == {(at % GENERATIONS, at % GENERATIONS, 6)}, f"session {session}"
        moving = {lake.read()[0] for _ in range(8)}
        assert len(moving) > 1, "the branch itself stood still: this test has shown nothing"


def test_an_older_publication_can_still_be_read_by_its_hash(lake: RealLake, endpoints: Endpoints) -> None:
    with Publications(lake, endpoints) as going_on:
        while len(going_on.hashes) < 6:
            threading.Event().wait(0.1)
        reference = Reference(lake.branch, going_on.hashes[1])
        with pinned(endpoints, f"{lake.catalog}_pinned", reference) as trino:
            assert lake.read(trino, trino.catalog) == (2, 2, 6)
