"""The faults that need more than a signal or one request."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.drills import processes
from lakehouse_dagster.drills.faults import Injected, cancel_lake_job
from lakehouse_dagster.drills.model import Fault
from lakehouse_dagster.engines.dagster_api import DagsterApi
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.mysql import MySqlClient
from lakehouse_dagster.runtime.settings import Settings
from lakehouse_dagster.runtime.status import read_status
from lakehouse_dagster.streams.act import reconcile, upgrade
from lakehouse_dagster.streams.assets import SERVING, stream_of
from lakehouse_dagster.streams.checkpoints import CHECKPOINTS, SAVEPOINTS
from lakehouse_dagster.streams.memory import Event

GARBAGE = b"this is no checkpoint\n" * 64
POISON_INTERVAL_SECONDS = -1
"""Flink takes no negative interval between checkpoints: the job cannot be submitted."""
CIRCUIT_SECONDS = 1500.0
"""Five starts with growing pauses in between, and the time each of them takes to fail."""
REFUSED_RULES = frozenset({"must not run", "refused"})
REFUSED_SECONDS = 120.0
WRONG_ZONE = "+02:00"
FULL_SECONDS = 60.0
SMALL_VOLUME = 64 * 1024**3
"""A file system larger than this (bytes) is not taken for one of the test's own making."""
BACK_SECONDS = 600.0


class CorruptCheckpoint(Injected):
    """The JobManager is killed, and the lake job's newest checkpoint is spoilt while it is away."""

    def run(self) -> None:
        """Spoilt after the kill, because a living job would complete a newer one in between."""
        site = self.site
        store, job = site.watch.clients.store, site.contract.lake_job
        self.course.injected = time.time()
        site.log(f"killing {self.service}")
        pid, self.course.gone = processes.kill(site.supervisor, self.service)
        complete = [item for item in store.list(f"{CHECKPOINTS}/{job}/") if item.key.endswith("/_metadata")]
        if not complete:
            raise EngineError("minio", f"job {job} has no complete checkpoint")
        newest = max(complete, key=lambda item: (item.modified, _number(item.key)))
        store.put(newest.key, GARBAGE)
        site.log(f"overwrote {newest.key}")
        self.notes.append(f"spoilt {newest.key.removesuffix('/_metadata').removeprefix(f'{CHECKPOINTS}/')}")
        self.wait_for_another(self.service, pid)


class DeleteCheckpoints(Injected):
    """The lake job is cancelled, and everything it could start from is deleted."""

    def run(self) -> None:
        """Nothing is away that would have to come back, so the repair counts from here."""
        site = self.site
        self.course.injected = self.course.ended = time.time()
        cancel_lake_job(site)
        job, store = site.contract.lake_job, site.watch.clients.store
        count = sum(store.delete_prefix(f"{folder}/{job}/") for folder in (CHECKPOINTS, SAVEPOINTS))
        site.log(f"deleted {count} objects of checkpoints and savepoints of {job}")


class PoisonSpec(Injected):
    """The serving job is upgraded to a specification that cannot run.

    The sensor is switched off meanwhile, because it would put the good specification back at once; what it
    would do is done here, with the poisoned contract: ``reconcile`` again and again.
    """

    _sensor_off = False

    def run(self) -> None:
        """Upgrade, watch the starts fail until the circuit opens, and leave the rest to the sensor."""
        site = self.site
        stream, poisoned = stream_of(site.contract, SERVING), _poisoned(site.contract)
        after = site.watch.last_event()
        self._sensor(False)
        self.course.injected = time.time()
        self._try(lambda: upgrade(poisoned, stream, site.watch.clients, log=site.log, actor="drill"))
        opened: Event | None = None
        deadline = time.monotonic() + CIRCUIT_SECONDS
        while opened is None and time.monotonic() < deadline:
            time.sleep(3)
            self._try(lambda: reconcile(poisoned, stream, site.watch.clients, log=site.log, actor="drill"))
            rows = [event for event in site.watch.events(after) if event.stream == SERVING]
            opened = next((event for event in rows if "circuit open" in event.rule), None)
        starts = [event for event in site.watch.events(after) if event.kind in ("start", "upgrade")]
        pauses = [
            round((second.at - first.at).total_seconds())
            for first, second in pairwise(starts)
            if first.at and second.at
        ]
        self.notes.append(f"{len(starts)} starts, {', '.join(map(str, pauses))} s apart")
        if opened is None or opened.at is None:
            self.problems.append(f"the circuit did not open within {CIRCUIT_SECONDS:.0f} s")
        else:
            seconds = opened.at.timestamp() - self.course.injected
            self.notes.append(f"circuit open after {seconds:.0f} s: {opened.reason}")
        self.take_back()
        self.course.ended = time.time()

    def take_back(self) -> None:
        """Give the stream back to the sensor."""
        if self._sensor_off:
            self._sensor(True)

    def _sensor(self, on: bool) -> None:
        name = f"{self.site.contract.name}_streams"
        dagster = DagsterApi(self.site.watch.clients.endpoints.dagster)
        try:
            (dagster.start_sensor if on else dagster.stop_sensor)(name)
        finally:
            dagster.close()
        self._sensor_off = not on
        self.site.log(f"switched the sensor {name} {'on' if on else 'off'}")

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
        except EngineError as error:
            self.site.log(f"as expected: {str(error)[:300]}")


class MySqlTimezone(Injected):
    """MySQL is started in a time zone other than UTC, and later in UTC again."""

    _wrong = False

    def run(self) -> None:
        """Over when it is back in UTC; in between the connector must be refused, with the fix named."""
        site = self.site
        after = site.watch.last_event()
        self.course.injected = time.time()
        self._root(f"SET PERSIST time_zone = '{WRONG_ZONE}'")
        self._wrong = True
        self.kill_and_wait("mysql")
        site.log(f"MySQL runs in {WRONG_ZONE}; waiting for the connector to be refused")
        refused = self._refused(after)
        if refused is None or refused.at is None:
            self.problems.append(f"the connector was not refused within {REFUSED_SECONDS:.0f} s")
        else:
            seconds = refused.at.timestamp() - self.course.injected
            self.notes.append(f"refused after {seconds:.0f} s: {refused.reason}")
            if "time_zone" not in refused.reason and "time-zone" not in refused.reason:
                self.problems.append("the refusal does not name the fix")
        self.take_back()
        self.course.ended = None
        self.kill_and_wait("mysql")

    def take_back(self) -> None:
        """Choose UTC again, from the next start on and for new sessions at once."""
        deadline = time.monotonic() + BACK_SECONDS
        while self._wrong:
            try:
                self._root("RESET PERSIST IF EXISTS time_zone")
                self._root("SET GLOBAL time_zone = '+00:00'")
                self._wrong = False
            except EngineError:  # it may be coming up again
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)

    def _refused(self, after: int) -> Event | None:
        deadline = time.monotonic() + REFUSED_SECONDS
        while time.monotonic() < deadline:
            for event in self.site.watch.events(after):
                if event.stream == "connector" and event.rule in REFUSED_RULES:
                    return event
            time.sleep(1)
        return None

    def _root(self, sql: str) -> None:
        instance = self.site.instance
        root = instance.endpoints.mysql.model_copy(
            update={"user": "root", "password": instance.secrets.mysql_root}
        )
        with MySqlClient(root) as client:
            client.execute(sql)


class DiskFull(Injected):
    """The file system of the data folder is filled to its last block for a while."""

    def refusal(self) -> str | None:
        """Only on a small file system that holds nothing else."""
        return not_own_volume(self.site.instance.settings)

    def run(self) -> None:
        """Fill, keep it full, free it; over when every service answers again."""
        site = self.site
        self.course.injected = time.time()
        deadline = time.monotonic() + FULL_SECONDS
        taken = 0
        with self._ballast.open("ab") as file:
            while time.monotonic() < deadline:
                taken += fill(file.fileno(), taken)
                if not taken:
                    raise EngineError("disk", "no ballast could be written")
                time.sleep(0.5)
        free = shutil.disk_usage(self._ballast.parent).free
        down = [row.service for row in read_status(site.instance.settings).rows if not row.ready]
        site.log(
            f"{taken / 1024**2:.0f} MiB of ballast, {free} bytes free, down: {', '.join(down) or 'none'}"
        )
        self.notes.append(f"{free} bytes free; down when it ended: {', '.join(down) or 'none'}")
        self.take_back()
        site.log("freed")
        back = time.monotonic() + BACK_SECONDS
        while not read_status(site.instance.settings).ready:
            if time.monotonic() > back:
                return
            time.sleep(1)
        self.course.ended = time.time()

    def take_back(self) -> None:
        """Remove the ballast."""
        self._ballast.unlink(missing_ok=True)

    @property
    def _ballast(self) -> Path:
        return self.site.instance.settings.data / "ballast"


def not_own_volume(settings: Settings) -> str | None:
    """Say why the data folder's file system must not be filled; ``None`` when it may."""
    data = settings.data
    others = (settings.project, settings.home, Path.home(), Path("/"), Path("/tmp"))  # noqa: S108
    if any(path.exists() and path.stat().st_dev == data.stat().st_dev for path in others):
        return (
            f"{data} is not on a file system of its own; `make drill-disk` makes a small one, "
            "with an instance on it"
        )
    if (total := shutil.disk_usage(data).total) > SMALL_VOLUME:
        return f"the file system of {data} has {total / 1024**3:.0f} GiB: too large to be filled on purpose"
    return None


def fill(descriptor: int, size: int) -> int:
    """Let a file of ``size`` bytes grow until nothing is free; returns by how many bytes it grew."""
    grown, step = 0, 256 * 1024**2
    while step >= 4096:
        try:
            os.posix_fallocate(descriptor, size + grown, step)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            step //= 2
        else:
            grown += step
    return grown


def _poisoned(contract: Contract) -> Contract:
    # model_copy does not validate: the contract's own checks would refuse what is wanted here.
    pipeline = contract.pipeline.model_copy(update={"checkpoint_interval_seconds": POISON_INTERVAL_SECONDS})
    return replace(contract, pipeline=pipeline)


SPECIAL: Mapping[Fault, type[Injected]] = MappingProxyType(
    {
        Fault.CORRUPT_CHECKPOINT: CorruptCheckpoint,
        Fault.DELETE_CHECKPOINTS: DeleteCheckpoints,
        Fault.POISON_SPEC: PoisonSpec,
        Fault.TIMEZONE: MySqlTimezone,
        Fault.DISK_FULL: DiskFull,
    }
)
"""The faults of this module by their kind."""


def _number(key: str) -> int:
    digits = key.removesuffix("/_metadata").rpartition("chk-")[2]
    return int(digits) if digits.isdigit() else 0
