"""Rows of the lake as Flink reads them: the one reader that merges Paimon's files rightly at any time."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.names import AUDIT_COLUMNS
from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.flink import FlinkSubmitter, script_environment
from lakehouse_dagster.engines.s3 import ObjectStore
from lakehouse_dagster.proof.subject import PlaceName, PlaceRow, Subject
from lakehouse_dagster.render.proof import proof_path, proof_script


class PaimonPlace:
    """Lake tables, written out as JSON lines by one Flink batch job for all of them."""

    name: PlaceName = "paimon"

    def __init__(
        self,
        contract: Contract,
        endpoints: Endpoints,
        submitter: FlinkSubmitter,
        store: ObjectStore,
        *,
        timeout: float = 600.0,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._contract = contract
        self._endpoints = endpoints
        self._submitter = submitter
        self._store = store
        self._timeout = timeout
        self._report = report
        self._folder: str | None = None

    def prepare(self, subjects: list[Subject]) -> None:
        """Run the batch job for the subjects' tables; every call reads the tables anew."""
        self.close()
        self._folder = f"s3://{self._store.bucket}/proof/{uuid.uuid4()}"
        tables = list(dict.fromkeys(subject.table for subject in subjects))
        script = proof_script(self._contract, self._folder, tables)
        secrets = script_environment(self._endpoints)
        self._submitter.submit(script, secrets, log=self._report, timeout=self._timeout)

    def rows(self, subject: Subject) -> Iterator[PlaceRow]:
        """All rows of the table as of `prepare`."""
        if self._folder is None:
            raise EngineError("paimon", "the batch job has not read the lake yet")
        convert = subject.projection.canonicalizers()
        names = subject.projection.names
        prefix = proof_path(self._folder, subject.table) + "/"
        for item in self._store.list(prefix):
            # Hidden files and success marks carry no rows.
            if item.key.rpartition("/")[2].startswith((".", "_")):
                continue
            for line in self._store.lines(item.key):
                record = json.loads(line)
                values = tuple(f(record.get(name)) for f, name in zip(convert, names, strict=True))
                position = record.get(AUDIT_COLUMNS[0])
                yield PlaceRow(values, None if position is None else int(position))

    def close(self) -> None:
        """Delete the job's output."""
        if self._folder is not None:
            self._store.delete_prefix(self._folder + "/")
            self._folder = None
