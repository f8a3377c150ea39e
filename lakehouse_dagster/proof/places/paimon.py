"""Rows of the lake as Flink reads them: the one reader that merges Paimon's files rightly at any time."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.names import AUDIT_COLUMNS
from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.engines.flink import FlinkSubmitter, script_environment
from lakehouse_dagster.engines.s3 import ObjectStore
from lakehouse_dagster.proof.subject import Key, PlaceName, PlaceRow, Subject
from lakehouse_dagster.render.proof import comparable, keys_path, proof_path, proof_script


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
        self._run([subject.table for subject in subjects], {})

    def look_up(self, wanted: Mapping[Subject, Collection[Key]]) -> Iterator[tuple[Subject, PlaceRow]]:
        """The rows of the wanted keys, by one batch job for all tables, which joins them with the keys.

        It compares those columns of the key whose texts are the same in Flink, so it may give more rows; a
        table without any such column is read whole.
        """
        self._run([subject.table for subject in wanted], wanted)
        for subject in wanted:
            for row in self.rows(subject):
                yield subject, row

    def _run(self, tables: Sequence[str], wanted: Mapping[Subject, Collection[Key]]) -> None:
        self.close()
        self._folder = f"s3://{self._store.bucket}/proof/{uuid.uuid4()}"
        joined: dict[str, tuple[str, ...]] = {}
        for subject, keys in wanted.items():
            columns = comparable(self._contract, subject.table)
            if not columns:
                continue
            joined[subject.table] = columns
            places = [subject.projection.key.index(name) for name in columns]
            # Every key once, or a join would give its row several times.
            texts = dict.fromkeys(tuple(key[at] for at in places) for key in keys)
            lines = [json.dumps(dict(zip(columns, row, strict=True))) for row in texts]
            # One object however long: a few megabytes for the most keys that are followed.
            content = "".join(f"{line}\n" for line in lines).encode()
            self._store.put(f"{keys_path(self._folder, subject.table)}/keys.json", content)
        script = proof_script(self._contract, self._folder, list(dict.fromkeys(tables)), joined)
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
            self._store.delete_prefix(keys_path(self._folder) + "/")
            self._folder = None
