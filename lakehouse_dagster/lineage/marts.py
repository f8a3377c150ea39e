"""Events of a mart's refresh: a run of its own below the Dagster run that has started it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.lineage.columns import Dataset, Layer
from lakehouse_dagster.lineage.emitter import Emitter, OwnedRun, emitter
from lakehouse_dagster.lineage.facts import input_facts, mart_facts
from lakehouse_dagster.lineage.model import DatasetFacts, Engine, Field, Job, Parent


@dataclass
class MartRun:
    """A refresh that is going on."""

    _run: OwnedRun

    def read(self, nessie_hash: str) -> None:
        """Say which commit its tables are read at."""
        self._run.inputs = [replace(facts, version=nessie_hash) for facts in self._run.inputs]

    def wrote(
        self,
        *,
        nessie_hash: str | None = None,
        rows: int | None = None,
        columns: Mapping[str, str] | None = None,
    ) -> None:
        """Say which commit shows the new rows, how many there are, and the columns' types by Trino."""
        self._run.outputs = [
            replace(
                facts,
                version=nessie_hash,
                rows=rows,
                fields=tuple(Field(name, kind) for name, kind in columns.items())
                if columns
                else facts.fields,
            )
            for facts in self._run.outputs
        ]


@contextmanager
def mart_run(
    contract: Contract,
    endpoints: Endpoints,
    mart: str,
    *,
    dagster_run: str | None = None,
    dagster_job: str = "",
    engine: Engine | None = None,
    to: Emitter | None = None,
) -> Iterator[MartRun]:
    """Tell of a mart's refresh: START at once, then COMPLETE, FAIL or ABORT; errors of the block go on.

    ``dagster_run`` is the id of the run that does it.
    """
    own = to or emitter()
    job = Job(
        name=f"{contract.name}.marts.{mart}",
        processing="BATCH",
        integration="TRINO",
        type="QUERY",
        description=contract.mart(mart).description,
        owner=contract.owner_of(contract.mart(mart)),
        sql=contract.mart_sql(mart),
        dialect="trino",
    )
    nothing: tuple[DatasetFacts, ...] = ()
    inputs = own.tried(lambda: input_facts(contract, endpoints, Dataset(Layer.MARTS, mart)), nothing)
    outputs = own.tried(lambda: (mart_facts(contract, endpoints, mart),), nothing)
    with own.run(
        job,
        inputs=inputs,
        outputs=outputs,
        engine=engine,
        parent=Parent(dagster_run, dagster_job or job.name) if dagster_run else None,
    ) as run:
        yield MartRun(run)
