"""The source's schema changes while it is written: no value of a new column is lost, what is held waits.

Nothing here applies a change by itself: the sensor sees it and Dagster applies it, and what is held is
approved by the one job that the check offers. Each test leaves the source as it found it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from lakehouse_dagster.contract.applied import current
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.schema import TableSchema
from lakehouse_dagster.drills.writer import remove_rows, writing
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.proof.verify import Verifier, places
from lakehouse_dagster.streams.evolve_store import SchemaStore
from tests.conftest import lakehouse, wait_until
from tests.e2e.conftest import Flow

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]

SEEN_SECONDS = 120.0
"""A sensor's look, and a report of what it has found."""
APPLIED_SECONDS = 600.0
"""Two jobs are started anew, and perhaps a table is read again."""
APPROVE = "flights_approve_schema_change"
RATE = 60.0

CHECK = """
query ($key: AssetKeyInput!, $name: String!) {
  assetCheckExecutions(assetKey: $key, checkName: $name, limit: 1) {
    evaluation { success description metadataEntries { label ... on MarkdownMetadataEntry { mdStr } } } } }
"""


class Site:
    """The running sample pipeline, and its source as a user of it changes it."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.clients = flow.clients
        self.store = SchemaStore(flow.clients.postgres)

    @property
    def contract(self) -> Contract:
        """With the lock that is in force now."""
        return current(self.flow.contract)

    def sql(self, statement: str) -> None:
        """Run a statement in the source; again when the writer has been in its way."""
        for attempt in range(10):
            try:
                self.clients.mysql.execute(statement)
                return
            except EngineError:
                if attempt == 9:
                    raise
                time.sleep(0.5)

    def applied(self, table: str, reached: Callable[[TableSchema], bool]) -> None:
        """Wait until a table's shape is in force and every step that belongs to it is done."""

        def done() -> bool:
            return reached(self.contract.schema(table)) and self.store.under_way(self.contract.name) is None

        wait_until(done, f"the new shape of {table} is applied", APPLIED_SECONDS, pause=1.0)

    def check(self, table: str) -> Mapping[str, Any] | None:
        """The newest result of the check that compares a table with its lock."""
        return self._check(["flights", "source", table], "schema_matches")

    def unlisted(self) -> Mapping[str, Any] | None:
        """The newest result of the check about tables that are not copied."""
        return self._check(["flights", "streams", "connector"], "no_unlisted_table")

    def _check(self, path: list[str], name: str) -> Mapping[str, Any] | None:
        variables = {"key": {"path": path}, "name": name}
        rows = self.flow.dagster.graphql(CHECK, variables)["assetCheckExecutions"]
        found: Mapping[str, Any] | None = rows[0]["evaluation"] if rows else None
        return found

    def held(self, table: str, *words: str) -> str:
        """Wait until a table's check fails with these words; gives the difference that it shows."""

        def failing() -> bool:
            found = self.check(table)
            return (
                found is not None and not found["success"] and all(w in found["description"] for w in words)
            )

        wait_until(failing, f"the check of {table} says {', '.join(words)}", SEEN_SECONDS, pause=1.0)
        found = self.check(table)
        assert found is not None
        shown = {entry["label"]: entry.get("mdStr") for entry in found["metadataEntries"]}
        return str(shown.get("difference"))

    def approve(self) -> None:
        """Launch the job as it is: all that is held is meant."""
        run = self.flow.dagster.launch_job(APPROVE)
        self.flow.dagster.require_success(run, timeout=APPLIED_SECONDS + 600)

    def as_locked(self, table: str) -> None:
        """Wait until a table's check passes."""

        def passing() -> bool:
            found = self.check(table)
            return found is not None and found["success"]

        wait_until(passing, f"the check of {table} passes", SEEN_SECONDS, pause=1.0)

    def equal(self, *, left_out: Collection[str] = ()) -> None:
        """Every row and column, the new ones among them, in every place."""
        shape = self.contract
        verifier = Verifier(shape, self.clients, places(shape, self.clients), timeout=300.0, report=print)
        report = verifier.run()
        assert not report.differs, report
        assert set(report.left_out) == set(left_out), report.left_out
        assert not report.unsettled

    @contextmanager
    def written(self, seed: int) -> Iterator[None]:
        """Write flights and weather all the time; the rows stay until the test's end."""
        with writing(self.clients.endpoints.mysql, rate=RATE, seed=seed) as writer:
            yield
            assert writer.writes.changes > 0


@pytest.fixture
def site(flow: Flow) -> Iterator[Site]:
    found = Site(flow)
    before = found.contract.lock
    yield found
    remove_rows(flow.endpoints.mysql)
    after = found.contract
    assert after.lock == before, "the test has left the source in another shape"
    assert after.stopped == {}


def names(schema: TableSchema) -> tuple[str, ...]:
    return schema.column_names


def test_a_new_column_loses_no_value_is_renamed_moved_and_dropped(site: Site) -> None:
    with site.written(seed=7):
        time.sleep(3)
        site.sql("ALTER TABLE flights ADD gate_change INT, ADD rank_now INT NOT NULL DEFAULT 7")
        # Values of the new columns flow before anybody has looked.
        site.sql("UPDATE flights SET gate_change = id % 97 WHERE id % 10 = 3 AND id < 1000000")
        site.applied("flights", lambda schema: names(schema)[-2:] == ("gate_change", "rank_now"))
        site.sql("UPDATE flights SET rank_now = 8 WHERE id % 10 = 5 AND id < 1000000")
        time.sleep(3)
    site.equal()

    # --- a rename is held: its table stops, the others go on
    with site.written(seed=8):
        site.sql("ALTER TABLE flights RENAME COLUMN gate_change TO gate_moves")
        shown = site.held("flights", "rename", APPROVE)
        assert "gate_change" in shown
        assert "RENAME COLUMN gate_change TO gate_moves" in shown
        wait_until(lambda: "flights" in site.contract.stopped, "the table is stopped", APPLIED_SECONDS)
        wait_until(lambda: site.store.under_way("flights") is None, "it is done", APPLIED_SECONDS)
        site.sql("UPDATE flights SET gate_moves = 5 WHERE id % 10 = 4 AND id < 1000000")
    site.equal(left_out={"flights"})
    code = lakehouse("verify", "flights", "--json", timeout=900, check=False).returncode
    assert code == 2, "a table that was left out is told by the exit code"
    with site.written(seed=9):
        site.approve()
        assert site.contract.stopped == {}
        assert "gate_moves" in names(site.contract.schema("flights"))
    site.equal()

    # --- another order is applied at once
    site.sql("ALTER TABLE flights MODIFY COLUMN rank_now INT NOT NULL DEFAULT 7 FIRST")
    site.applied("flights", lambda schema: names(schema)[0] == "rank_now")
    site.equal()

    # --- dropped columns are held; the old shape flows on meanwhile
    with site.written(seed=10):
        site.sql("ALTER TABLE flights DROP COLUMN rank_now, DROP COLUMN gate_moves")
        assert "drop rank_now" in site.held("flights", "drop", "its old shape flows on")
        assert site.contract.stopped == {}
        site.approve()
    site.equal()
    site.as_locked("flights")


@pytest.mark.slow
def test_a_wider_column_is_applied_and_a_narrower_one_is_held(site: Site) -> None:
    site.sql("ALTER TABLE planes ADD mark INT")
    site.applied("planes", lambda schema: "mark" in names(schema))
    site.sql("UPDATE planes SET mark = 2147483647 WHERE tailnum LIKE 'N1%'")
    site.sql("ALTER TABLE planes MODIFY mark BIGINT, MODIFY model VARCHAR(70) COMMENT 'Model'")
    site.sql("UPDATE planes SET mark = 1099511627776 WHERE tailnum LIKE 'N2%'")
    site.applied("planes", lambda schema: schema.column("mark").mysql_type.startswith("bigint"))
    site.equal()

    site.sql("ALTER TABLE planes MODIFY model VARCHAR(64) COMMENT 'Model'")
    assert "narrow model" in site.held("planes", "narrow")
    # What is held says so and loses nothing.
    site.sql("UPDATE planes SET mark = 3 WHERE tailnum LIKE 'N3%'")
    site.equal(left_out={"planes"})
    site.approve()
    site.equal()
    site.sql("ALTER TABLE planes DROP COLUMN mark")
    site.held("planes", "drop")
    site.approve()
    site.equal()
    site.as_locked("planes")


def test_a_new_table_is_not_copied_by_itself(site: Site) -> None:
    site.sql("CREATE TABLE notes (id INT PRIMARY KEY, note TEXT)")
    try:
        done = lakehouse("schema", "diff", "flights", check=False)
        assert "notes: new table" in done.stdout, done.stdout
        found = site.unlisted()
        assert found is None or found["success"]
        site.sql("INSERT INTO notes VALUES (1, 'not copied')")
        site.equal()
    finally:
        site.sql("DROP TABLE notes")


@pytest.mark.slow
def test_a_table_that_goes_and_comes_again(site: Site) -> None:
    site.sql("RENAME TABLE airlines TO airlines_away")
    try:
        site.held("airlines", "dropped table")
        site.sql("UPDATE planes SET seats = seats + 1 WHERE tailnum LIKE 'N4%'")
        site.equal(left_out={"airlines"})
        # Nobody tells of this change: the table is not copied under this name.
        site.sql("DELETE FROM airlines_away WHERE carrier = 'YV'")
    finally:
        site.sql("RENAME TABLE airlines_away TO airlines")
    site.held("airlines", "made anew")
    site.approve()
    site.equal()
    site.sql("INSERT INTO airlines VALUES ('YV', 'Mesa Airlines Inc.')")
    site.sql("UPDATE planes SET seats = seats - 1 WHERE tailnum LIKE 'N4%'")
    site.equal()
    site.as_locked("airlines")


def test_a_change_made_while_the_platform_is_down(site: Site) -> None:
    with site.written(seed=11):
        lakehouse("down", "dagster-code", "kafka", "flink-jobmanager")
        try:
            site.sql("ALTER TABLE weather ADD station VARCHAR(8), ADD seen_at DATETIME(3)")
            site.sql("UPDATE weather SET station = origin, seen_at = observed_at WHERE humid > 50")
        finally:
            lakehouse("up")
        site.applied("weather", lambda schema: names(schema)[-2:] == ("station", "seen_at"))
        site.sql("UPDATE weather SET station = 'late' WHERE humid < 30")
    site.equal()
    site.sql("ALTER TABLE weather DROP COLUMN station, DROP COLUMN seen_at")
    site.held("weather", "drop")
    site.approve()
    site.equal()
    site.as_locked("weather")
