"""A stream that heals: one small Flink job, really broken and really started again.

Its pipeline has one table whose topic is written here, so neither the source nor a connector is needed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.loader import load_contract
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.engines.endpoints import FLINK, Endpoints
from lakehouse_dagster.engines.flink import FlinkJob, script_environment
from lakehouse_dagster.engines.kafka import Partition
from lakehouse_dagster.engines.s3 import ObjectStore
from lakehouse_dagster.governance.hold import HoldStore
from lakehouse_dagster.runtime.submitter import flink_submitter
from lakehouse_dagster.streams import act, start
from lakehouse_dagster.streams.assets import Stream, stream_of
from lakehouse_dagster.streams.checkpoints import CHECKPOINTS, candidates, retained
from lakehouse_dagster.streams.decision import Desired, Verb
from lakehouse_dagster.streams.memory import EventKind, Memory
from lakehouse_dagster.streams.observation import Observation
from lakehouse_dagster.streams.observe import observe
from lakehouse_dagster.streams.plan import flink_script, placed, source_topics
from lakehouse_dagster.streams.store import StreamStore

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

COLUMNS = [
    {"name": "id", "position": 1, "mysql_type": "int", "nullable": False},
    {"name": "said", "position": 2, "mysql_type": "varchar(100)", "nullable": True},
]


def make_contract(folder: Path, name: str, tables: tuple[str, ...], interval: int = 1) -> Contract:
    folder.mkdir()
    listed = "".join(f"\n    - name: {table}" for table in tables)
    (folder / "defs.yaml").write_text(
        f"type: lakehouse_dagster.CdcPipeline\n\nattributes:\n  name: {name}\n  owner: tester@example.org\n"
        f"  source:\n    database: {name}_db\n  tables:{listed}\n  checkpoint_interval_seconds: {interval}\n"
    )
    lock = {
        "format": 1,
        "database": f"{name}_db",
        "tables": {table: {"name": table, "primary_key": ["id"], "columns": COLUMNS} for table in tables},
    }
    (folder / "schema.lock.json").write_text(json.dumps(lock))
    return load_contract(folder)


@dataclass
class Patient:
    """The job under test, with everything needed to break it."""

    contract: Contract
    clients: Clients
    folder: Path
    written: int = 0
    said: list[str] = field(default_factory=list)

    @property
    def stream(self) -> Stream:
        return stream_of(self.contract, "lake")

    @property
    def topic(self) -> str:
        return self.contract.topic("item")

    @property
    def partition(self) -> Partition:
        return Partition(self.topic, 0)

    @property
    def store(self) -> StreamStore:
        return StreamStore(self.clients.postgres)

    @property
    def memory(self) -> Memory:
        return self.store.memory(self.contract.name, ["lake"])["lake"]

    def log(self, line: str) -> None:
        self.said.append(line)
        print(f"{datetime.now(UTC):%H:%M:%S} {line}")

    def reconcile(self, contract: Contract | None = None, **options: object) -> act.Outcome:
        wanted = contract or self.contract
        stream = stream_of(wanted, "lake")
        return act.reconcile(wanted, stream, self.clients, log=self.log, actor="test", **options)  # type: ignore[arg-type]

    def see(self, contract: Contract | None = None) -> Observation:
        wanted = contract or self.contract
        return observe(wanted, stream_of(wanted, "lake"), self.clients, self.memory, fresh=True)

    def living(self) -> list[FlinkJob]:
        return self.clients.flink.alive(self.stream.engine_name)

    def runs(self) -> str:
        """Make sure that exactly one job of the wanted specification runs; return its id."""
        if self.memory.declared.desired == "paused":
            self.act(act.resume)
        self.reconcile()
        wait_until(lambda: self.see().facts.state == "running", "the job runs")
        [job] = self.living()
        return job.id

    def act(self, verb: Callable[..., act.Outcome], *arguments: object) -> act.Outcome:
        return verb(self.contract, self.stream, self.clients, *arguments, log=self.log, actor="test")

    def write(self, records: int) -> None:
        producer = KafkaProducer(bootstrap_servers=self.clients.kafka.bootstrap)
        for _ in range(records):
            self.written += 1
            row = {"id": self.written % 50, "said": f"record {self.written}"}
            event = {"__op": "c", "__deleted": False, "__source_row": 0, "__source_gtid": "g:1"}
            source = {"__source_file": "binlog.000001", "__source_pos": 100 * self.written}
            stamp = {"__source_ts_us": int(time.time() * 1_000_000)}
            producer.send(self.topic, json.dumps({**row, **event, **source, **stamp}).encode(), partition=0)
        producer.flush()
        producer.close()

    def committed(self) -> int:
        return self.clients.kafka.committed(self.stream.engine_name).get(self.partition, 0)

    def has_read_all(self) -> bool:
        return self.committed() == self.clients.kafka.end_offsets([self.topic])[self.partition]

    def checkpoints(self) -> tuple[str, ...]:
        """What is retained, newest first."""
        script = flink_script(self.contract, self.stream)
        return candidates(retained(self.clients.store, script.name, script.state_hash))

    def cancel(self) -> None:
        """End the job behind everybody's back, long after its start as far as the back-off is concerned."""
        for job in self.living():
            self.clients.flink.cancel(job.id)
        self.store.declare(self.contract.name, "lake", Desired.RUNNING, by="test")

    def held(self) -> bool:
        return HoldStore(self.clients.postgres).held(self.contract.name) is not None

    def kinds(self) -> list[str]:
        return [event.kind for event in self.store.history(self.contract.name, "lake", limit=200)]


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.5)
    pytest.fail(f"not within {seconds:.0f} s: {what}")


@pytest.fixture(scope="module")
def patient(endpoints: Endpoints, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Patient]:
    folder = tmp_path_factory.mktemp("heal")
    name = f"heal{uuid.uuid4().hex[:6]}"
    contract = make_contract(folder / "one", name, ("item",))
    with Clients(endpoints, submitter=flink_submitter) as clients:
        found = Patient(contract, clients, folder)
        yield found
        found.cancel()
        clients.kafka.delete_topics([topic for topic in clients.kafka.topics() if name in topic])
        clients.kafka.delete_group(found.stream.engine_name)
        HoldStore(clients.postgres).release(name)
        for prefix in ("flink/checkpoints/", "flink/savepoints/"):
            clients.store.delete_prefix(f"{prefix}{found.stream.engine_name}/")
        ObjectStore(clients.endpoints.s3.acting(FLINK)).delete_prefix(
            f"{clients.paimon.warehouse}/{name}.db/"
        )


def test_it_starts_once_however_often_it_is_asked(patient: Patient) -> None:
    def ask(number: int) -> act.Outcome:
        with Clients(patient.clients.endpoints, submitter=flink_submitter) as clients:
            return act.reconcile(
                patient.contract, patient.stream, clients, log=patient.log, actor=f"test {number}"
            )

    with ThreadPoolExecutor(max_workers=3) as pool:
        outcomes = list(pool.map(ask, range(3)))
    # One starts it; the others find the stream taken, or, if they come late, running.
    assert sorted(outcome.action.rule for outcome in outcomes)[0] == "absent or failed"
    assert [outcome.action.verb for outcome in outcomes].count(Verb.START) == 1
    assert len(patient.living()) == 1
    assert patient.reconcile().action.rule == "running"
    seen = patient.see()
    assert seen.facts.running_spec == seen.facts.spec
    assert seen.running_state == flink_script(patient.contract, patient.stream).state_hash
    patient.write(200)
    wait_until(patient.has_read_all, "all records are read")


def test_a_corrupt_checkpoint_is_passed_over_for_good(patient: Patient) -> None:
    patient.runs()
    patient.write(100)
    wait_until(patient.has_read_all, "all records are read")
    wait_until(lambda: len(patient.checkpoints()) >= 2, "two checkpoints are retained")
    patient.cancel()
    newest, before, *_ = patient.checkpoints()
    whole = patient.clients.store.get(f"{newest}/_metadata")
    assert whole is not None
    patient.clients.store.put(f"{newest}/_metadata", whole[: len(whole) // 2])
    reached = patient.committed()
    outcome = patient.reconcile()
    assert outcome.checkpoint == before
    assert outcome.action.checkpoints[0] == newest
    assert patient.memory.bad_checkpoints == {newest}
    # It may show older rows for a moment: nothing is published until it is where it was.
    hold = HoldStore(patient.clients.postgres).held(patient.contract.name)
    assert hold is not None
    assert hold.targets == {str(patient.partition): reached}
    wait_until(lambda: patient.reconcile() is not None and not patient.held(), "publication goes on")
    assert EventKind.RELEASED in patient.kinds()


def test_without_any_checkpoint_it_goes_on_from_the_groups_offsets(patient: Patient) -> None:
    patient.runs()
    patient.write(100)
    wait_until(patient.has_read_all, "all records are read")
    patient.cancel()
    name = patient.stream.engine_name
    for kind in ("checkpoints", "savepoints"):
        patient.clients.store.delete_prefix(f"flink/{kind}/{name}/")
    outcome = patient.reconcile()
    assert outcome.checkpoint is None
    assert outcome.state == "running"
    assert any("instead of" in line for line in patient.said), "it reads a little again"
    start = patient.store.history(patient.contract.name, "lake", limit=1)[0]
    assert (start.kind, start.ok, start.checkpoint) == (EventKind.START, True, None)
    wait_until(patient.has_read_all, "all records are read again")
    wait_until(lambda: patient.reconcile() is not None and not patient.held(), "publication goes on")


def test_a_changed_setting_is_taken_up_from_a_savepoint(patient: Patient) -> None:
    patient.runs()
    changed = make_contract(patient.folder / "slower", patient.contract.name, ("item",), interval=2)
    outcome = patient.reconcile(changed)
    assert outcome.action.verb is Verb.UPGRADE
    assert "/savepoint-" in (outcome.checkpoint or "")
    seen = patient.see(changed)
    assert seen.facts.running_spec == seen.facts.spec != patient.see().facts.spec
    # From its own savepoint nothing is read again, so publication need not wait.
    assert not patient.held()
    patient.contract = changed


def test_another_shape_starts_from_the_offsets(patient: Patient) -> None:
    patient.runs()
    wider = make_contract(patient.folder / "wider", patient.contract.name, ("item", "other"))
    outcome = patient.reconcile(wider)
    assert outcome.action.verb is Verb.UPGRADE
    assert outcome.checkpoint is None
    assert patient.see(wider).facts.running_spec == outcome.spec_hash
    assert patient.held()
    assert len(patient.living()) == 1
    patient.contract = wider


def test_of_two_jobs_the_wanted_one_stays(patient: Patient) -> None:
    patient.runs()
    other = make_contract(patient.folder / "double", patient.contract.name, ("item",), interval=3)
    script = placed(flink_script(other, patient.stream), patient.clients.endpoints.s3.bucket)
    patient.clients.submitter.submit(script, script_environment(patient.clients.endpoints))
    assert len(patient.living()) == 2
    wanted = patient.see().facts.spec
    outcome = patient.reconcile()
    assert outcome.action.verb is Verb.CANCEL_EXTRA
    [left] = patient.living()
    assert left.id == outcome.job_id
    wait_until(lambda: patient.see().facts.running_spec == wanted, "the wanted one is left")


def test_it_pauses_with_a_savepoint_and_goes_on_from_there(patient: Patient) -> None:
    patient.runs()
    paused = patient.act(act.pause)
    assert paused.action.verb is Verb.STOP
    assert "/savepoint-" in (paused.checkpoint or "")
    assert patient.living() == []
    assert patient.reconcile().action.rule == "paused"
    patient.write(10)
    resumed = patient.act(act.resume)
    assert resumed.checkpoint == paused.checkpoint
    wait_until(patient.has_read_all, "what was written meanwhile is read")


def test_it_can_be_set_back(patient: Patient) -> None:
    patient.runs()
    patient.write(30)
    wait_until(patient.has_read_all, "what lies before the moment is read")
    before = datetime.now(UTC)
    end = patient.clients.kafka.end_offsets([patient.topic])[patient.partition]
    time.sleep(1)
    patient.write(20)
    wait_until(patient.has_read_all, "all records are read")
    patient.act(act.pause)
    savepoint, *_ = patient.checkpoints()
    patient.act(act.rewind, act.AtTime(before))
    assert patient.committed() == end
    patient.act(act.rewind, act.AtOffsets({str(patient.partition): 7}))
    assert patient.committed() == 7
    with pytest.raises(ValueError, match="leave out changes"):
        patient.act(act.rewind, act.AtOffsets({str(patient.partition): end}))
    # What it was stopped with would undo all of this.
    assert savepoint in patient.checkpoints()
    assert patient.see().facts.checkpoints == ()
    patient.act(act.rewind, act.Earliest())
    assert patient.committed() == 0
    outcome = patient.act(act.resume)
    assert outcome.checkpoint is None
    assert patient.held()
    wait_until(patient.has_read_all, "everything is read again")


def test_lost_records_stop_it_until_the_gap_is_accepted(patient: Patient) -> None:
    patient.runs()
    wait_until(patient.has_read_all, "all records are read")
    patient.cancel()
    reached = patient.committed()
    patient.write(10)
    admin = KafkaAdminClient(bootstrap_servers=patient.clients.kafka.bootstrap)
    admin.delete_records({TopicPartition(patient.topic, 0): reached + 5})
    admin.close()
    outcome = patient.reconcile()
    assert outcome.action.verb is Verb.HALT
    assert "item" in outcome.action.reason
    assert patient.living() == []
    [gap] = patient.memory.gaps
    assert gap.tables == ("item",)
    patient.reconcile()
    assert len(patient.memory.gaps) == 1
    accepted = patient.reconcile(accept_gap=True)
    assert accepted.state == "running"
    assert accepted.checkpoint is None
    wait_until(patient.has_read_all, "what is left is read")
    assert patient.see().found_gaps == ()
    patient.store.close_gaps(patient.contract.name, "lake", by="test")
    assert patient.reconcile().action.reason == "running"


RECONCILE = """
import sys
from dataclasses import replace
from pathlib import Path
from lakehouse_dagster.contract.loader import load_contract
from lakehouse_dagster.engines.clients import Clients
from lakehouse_dagster.runtime.endpoints import load_endpoints
from lakehouse_dagster.runtime.submitter import flink_submitter
from lakehouse_dagster.streams import act
from lakehouse_dagster.streams.assets import stream_of
contract = load_contract(Path(sys.argv[1]))
# The cold client: what the warm one does for a caller that has gone has a test of its own (test_flink_sinks).
cold = lambda: replace(flink_submitter(), socket=None)
with Clients(load_endpoints(), submitter=cold) as clients:
    log = lambda line: print(line, flush=True)
    act.reconcile(contract, stream_of(contract, "lake"), clients, log=log, actor="killed")
"""


def test_a_starter_that_is_killed_leaves_nothing_behind(patient: Patient) -> None:
    patient.runs()
    patient.cancel()
    starter = subprocess.Popen(
        [sys.executable, "-c", RECONCILE, str(patient.contract.folder)], stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None
    for line in starter.stdout:
        if line.startswith("submitting"):
            break
    wait_until(lambda: bool(psutil.Process(starter.pid).children()), "the client runs")
    children = psutil.Process(starter.pid).children(recursive=True)
    os.kill(starter.pid, signal.SIGKILL)
    starter.wait()
    wait_until(lambda: not any(child.is_running() for child in children), "the client has gone", 30)
    assert patient.living() == []
    # The lock went with its process.
    outcome = patient.reconcile()
    assert outcome.action.verb is Verb.START
    assert outcome.state == "running"
    assert len(patient.living()) == 1


def test_what_ended_jobs_left_is_deleted_but_for_what_can_be_used(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient.runs()
    wait_until(lambda: len(patient.checkpoints()) >= 2, "two checkpoints are retained")
    store, name = patient.clients.store, patient.stream.engine_name
    abandoned = f"{CHECKPOINTS}/{name}/another-shape/{uuid.uuid4().hex}/"
    for key in ("chk-1/_metadata", "shared/state"):
        store.put(f"{abandoned}{key}", b"x")
    patient.cancel()
    # What is young stays.
    assert patient.reconcile().state == "running"
    assert store.exists(f"{abandoned}shared/state")
    patient.cancel()
    usable = patient.checkpoints()
    monkeypatch.setattr(start, "ABANDONED_AGE", timedelta(0))
    outcome = patient.reconcile()
    assert outcome.checkpoint == usable[0]
    assert list(store.list(abandoned)) == []
    # The job's own folder was written to, and what it was started from can still be.
    [job] = patient.living()
    assert job.id == outcome.job_id
    wait_until(lambda: any(f"/{job.id}/" in address for address in patient.checkpoints()), "its checkpoints")
    assert store.exists(f"{usable[0]}/_metadata")


def test_the_topics_of_a_stream_are_those_it_reads(patient: Patient) -> None:
    assert source_topics(patient.contract, patient.stream)[0] == patient.topic
