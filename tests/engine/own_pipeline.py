"""A small pipeline of a test's own on the instance's engines, from its contract to its last copy.

What Dagster and the publisher do for a pipeline of the product is done here: streams are brought up by the
same decisions, and two threads publish and end a hold of the publication. Dagster knows nothing of it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bench.event_results import EventResult, EventResults, compared
from lakehouse_dagster.contract.applied import applied_path, current
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.loader import COMPONENT, DEFS_FILE, load_contract
from lakehouse_dagster.contract.names import QUARANTINE_TABLE
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.endpoints import FLINK, Endpoints
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.kafka_records import Record, TopicReader
from lakehouse_dagster.engines.nessie import Delete
from lakehouse_dagster.engines.s3 import ObjectStore
from lakehouse_dagster.governance.hold import HoldStore
from lakehouse_dagster.governance.publisher import follow
from lakehouse_dagster.proof.settle import settle
from lakehouse_dagster.proof.verify import Report, Verifier, places
from lakehouse_dagster.runtime.submitter import flink_submitter
from lakehouse_dagster.streams import act
from lakehouse_dagster.streams.assets import LAKE, Stream, stream_of, streams_of
from lakehouse_dagster.streams.checks import Outcome, outcomes
from lakehouse_dagster.streams.decision import Kind, State, decide
from lakehouse_dagster.streams.notes import advance_hold
from lakehouse_dagster.streams.observe import observe
from lakehouse_dagster.streams.operations import Operator
from lakehouse_dagster.streams.store import StreamStore
from lakehouse_dagster.streams.survey import Look

ACTOR = "test"
UP_SECONDS = 180.0
"""How long all streams may take to come up."""


@dataclass
class OwnPipeline:
    """A pipeline with its contract in a folder below ``root``; ``attributes`` are those of its ``defs.yaml``.

    Its source's tables have to be there before it is made: they are locked then.
    """

    root: Path
    endpoints: Endpoints
    attributes: dict[str, Any]
    settle_seconds: float = 180.0
    full: bool = False
    """Whether events are of full size, for the figures."""
    results: EventResults = field(default_factory=EventResults)

    def __post_init__(self) -> None:
        self.clients = Clients(self.endpoints, submitter=flink_submitter)
        self._began = time.monotonic()
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self.folder.mkdir(parents=True)
        self._write()
        database = self.attributes["source"]["database"]
        tables = [table["name"] for table in self.attributes["tables"]]
        self.clients.mysql.read_schema(database, tables).write(self.folder)
        self._loaded = load_contract(self.folder)

    # --- what it is ---

    @property
    def name(self) -> str:
        """Of the pipeline."""
        return str(self.attributes["name"])

    @property
    def folder(self) -> Path:
        """Where its ``defs.yaml`` is."""
        return self.root / self.name

    @property
    def contract(self) -> Contract:
        """The contract with the lock in force now."""
        return current(self._loaded)

    @property
    def store(self) -> StreamStore:
        """What is remembered of its streams."""
        return StreamStore(self.clients.postgres)

    @property
    def operator(self) -> Operator:
        """Who asks for re-snapshots and repairs."""
        return Operator(self.contract, self.clients, ACTOR, self.log)

    def change_source(self, **changes: Any) -> None:
        """Change ``source`` in the contract, as a person would."""
        self.attributes["source"] = {**self.attributes["source"], **changes}
        self._write()
        self._loaded = load_contract(self.folder)

    def _write(self) -> None:
        text = yaml.safe_dump({"type": COMPONENT, "attributes": self.attributes}, sort_keys=False)
        (self.folder / DEFS_FILE).write_text(text)

    def log(self, line: str) -> None:
        """Show a line with the seconds since the beginning; pytest shows all of them when a test fails."""
        print(f"{time.monotonic() - self._began:7.1f}  {line}", flush=True)

    # --- its source ---

    def execute(self, *statements: str) -> int:
        """Run statements as the application, each a transaction; returns the rows that they have changed."""
        return sum(self.clients.mysql.execute(statement) for statement in statements)

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Rows of the source."""
        return self.clients.mysql.query(sql)

    def count(self, table: str) -> int:
        """Rows that the source's table has."""
        return int(self.rows(f"SELECT COUNT(*) AS n FROM {table}")[0]["n"])

    # --- its streams ---

    def stream(self, name: str) -> Stream:
        """One of its streams."""
        return stream_of(self.contract, name)

    def reconcile(self, name: str) -> act.Outcome:
        """What the sensor has done about a stream."""
        return act.reconcile(self.contract, self.stream(name), self.clients, log=self.log, actor=ACTOR)

    def start(self) -> None:
        """Bring up all streams, and keep publishing from now on."""
        for work in (self._publish, self._release):
            thread = threading.Thread(target=work, name=f"{self.name}{work.__name__}", daemon=True)
            thread.start()
            self._threads.append(thread)
        self.up()

    def up(self) -> None:
        """Act as the sensor does until every stream runs."""
        deadline = time.monotonic() + UP_SECONDS
        while True:
            down = [said for stream in streams_of(self.contract) if (said := self._brought_up(stream))]
            if not down:
                return
            assert time.monotonic() < deadline, f"not up within {UP_SECONDS:.0f} s: {'; '.join(down)}"
            time.sleep(1)

    def _brought_up(self, stream: Stream) -> str:
        """Look and act once; returns what keeps the stream from running."""
        try:
            outcome = self.reconcile(stream.name)
        except EngineError as error:
            return f"{stream.name}: {error}"
        running = outcome.state == State.RUNNING
        return "" if running else f"{stream.name} is {outcome.state}: {outcome.action.reason}"

    def checks(self, name: str) -> dict[str, Outcome]:
        """The checks of a stream as they are now, by name."""
        stream = self.stream(name)
        memory = self.store.memory(self.contract.name, [name])[name]
        seen = observe(self.contract, stream, self.clients, memory, busy=False, fresh=True)
        look = Look(stream, memory, seen.facts, decide(seen.facts), seen.health, seen)
        return {outcome.check: outcome for outcome in outcomes(self.contract, look, None)}

    def _publish(self) -> None:
        follow(lambda: self.endpoints, self._ended, defs_root=self.root)

    def _release(self) -> None:
        """End a hold once the lake has come as far again, as the sensor of the streams does."""
        with Clients(self.endpoints, submitter=flink_submitter) as clients:
            holds, store = HoldStore(clients.postgres), StreamStore(clients.postgres)
            while not self._ended.wait(1.5):
                with suppress(EngineError):
                    if holds.held(self.name) is None:
                        continue
                    contract = self.contract
                    memory = store.memory(contract.name, [LAKE])[LAKE]
                    seen = observe(contract, stream_of(contract, LAKE), clients, memory, busy=False)
                    advance_hold(contract, seen, holds)

    # --- its copies ---

    def settled(self) -> None:
        """Wait until all that is committed now is everywhere."""
        gtids = self.clients.mysql.executed_gtids()
        left = settle(self.contract, self.clients, gtids, timeout=self.settle_seconds, report=self.log)
        assert left == (), left

    def report(self) -> Report:
        """Every row and column of every place, once all that is committed now has arrived."""
        self.up()
        all_places = places(self.contract, self.clients)
        verifier = Verifier(
            self.contract, self.clients, all_places, timeout=self.settle_seconds, report=self.log
        )
        return verifier.run()

    def compare(self, test: str, events: Mapping[str, str] | Iterable[str]) -> Report:
        """Compare everything and note it for each event (with its size, where it has any); the test fails
        unless everything had arrived and no row differs.
        """
        sizes = dict(events) if isinstance(events, Mapping) else dict.fromkeys(events, "")
        report = self.report()
        for event, size in sizes.items():
            self.results.add(compared(event, test, report, size=size, full=self.full))
        assert report.unsettled == ()
        assert not report.written, "the source was being written"
        wrong = [result.to_json() for result in report.results if not result.comparison.equal]
        assert wrong == []
        assert {result.subject.table for result in report.results} == {
            table.name for table in self.contract.tables
        }
        return report

    def note_refusal(self, event: str, test: str, said: str, size: str = "") -> None:
        """Note an event that the platform has refused in these words."""
        self.results.add(EventResult(event, test, size, self.full, refused=said))

    def records(self, table: str) -> list[Record]:
        """All records of a table's topic."""
        with TopicReader(self.endpoints.kafka, self.contract.topic(table), 0) as reader:
            return list(reader.to_end())

    # --- its end ---

    def discard(self) -> None:
        """Stop it and delete all that it has made outside of its source."""
        self._ended.set()
        for thread in self._threads:
            thread.join(30)
        for part in (
            self._discard_streams,
            self._discard_topics,
            self._discard_publication,
            self._discard_views,
            self._discard_objects,
        ):
            try:
                part()
            except EngineError as error:
                # The next part is another engine's.
                self.log(f"left behind: {error}")
        applied_path(self.name).unlink(missing_ok=True)
        self.clients.close()

    def _discard_streams(self) -> None:
        for stream in streams_of(self.contract):
            if stream.kind is Kind.FLINK_JOB:
                for job in self.clients.flink.alive(stream.engine_name):
                    self.clients.flink.cancel(job.id)
                continue
            if self.clients.connect.config(stream.engine_name) is not None:
                self.clients.connect.stop_and_wait(stream.engine_name)
                self.clients.connect.delete_offsets(stream.engine_name)
                self.clients.connect.delete(stream.engine_name)

    def _discard_topics(self) -> None:
        kafka, contract = self.clients.kafka, self.contract
        mine = (f"{self.name}.", f"{contract.heartbeat_topic}")
        kafka.delete_topics([t for t in kafka.topics() if t == self.name or t.startswith(mine)])
        for group in (contract.lake_job, contract.serving_job):
            kafka.delete_group(group)

    def _discard_publication(self) -> None:
        HoldStore(self.clients.postgres).release(self.name)
        nessie = self.clients.nessie
        tables = [*(table.name for table in self.contract.tables), QUARANTINE_TABLE]
        for key in (*((self.name, table) for table in tables), (self.name,)):
            reference = nessie.get_reference()
            if key in nessie.get_contents([key], reference):
                nessie.commit([Delete(key)], "clean up", reference=reference)

    def _discard_views(self) -> None:
        self.clients.cassandra.execute(f"DROP KEYSPACE IF EXISTS {self.name}")
        for view in self.contract.views:
            if view.engine == "couchdb":
                self.clients.couchdb.delete_database(view.name)

    def _discard_objects(self) -> None:
        # Only the streams' own identity may touch their tables.
        store = ObjectStore(self.endpoints.s3.acting(FLINK))
        for job in (self.contract.lake_job, self.contract.serving_job):
            for kind in ("checkpoints", "savepoints"):
                store.delete_prefix(f"flink/{kind}/{job}/")
        store.delete_prefix(f"{self.clients.paimon.warehouse}/{self.name}.db/")


@contextmanager
def own_pipeline(pipeline: OwnPipeline) -> Iterator[OwnPipeline]:
    """The pipeline, discarded at the end of the block."""
    try:
        yield pipeline
    finally:
        pipeline.discard()
