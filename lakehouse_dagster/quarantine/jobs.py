"""The jobs of the quarantine: what the command line does, with a form in the UI."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
from pydantic import Field, field_validator, model_validator

from lakehouse_dagster.contract.applied import current
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.clients import ClientSource
from lakehouse_dagster.engines.errors import EngineError
from lakehouse_dagster.layers.one_op_job import one_op_job
from lakehouse_dagster.quarantine.model import Place
from lakehouse_dagster.quarantine.offer import drop_job_name, replay_job_name
from lakehouse_dagster.quarantine.operations import NotReplayed, Quarantine, Wanted
from lakehouse_dagster.streams.events import RUN_ACTOR

TIMEOUT_SECONDS = 30.0
LONGEST_SECONDS = 24 * 3600
"""A replay by repair reads whole tables."""

Context = dg.OpExecutionContext
Lakehouse = dg.ResourceParam[ClientSource]


class ReplayConfig(dg.Config):
    """Replay records: exactly one of ``records``, ``tables`` and ``everything``."""

    records: list[str] = Field(default=[], description="Records, as topic:partition:offset.")
    tables: list[str] = Field(default=[], description="All open records of these tables.")
    everything: bool = Field(default=False, description="All open records of the pipeline.")
    repair: bool = Field(
        default=False,
        description="With `tables`: read the whole tables again and compare every row of every place. For "
        "records that do not tell which row they are about.",
    )

    @model_validator(mode="after")
    def _fits(self) -> "ReplayConfig":
        if bool(self.records) + bool(self.tables) + self.everything != 1:
            raise ValueError("give exactly one of `records`, `tables` and `everything`")
        if self.repair and not self.tables:
            raise ValueError("a repair is of whole tables: name them in `tables`")
        for text in self.records:
            Place.parse(text)
        return self


class DropConfig(dg.Config):
    """Leave records out for good."""

    records: list[str] = Field(description="Records, as topic:partition:offset.")
    why: str = Field(description="The reason, kept with the records.")

    @field_validator("why")
    @classmethod
    def _not_blank(cls, why: str) -> str:
        if not why.strip():
            raise ValueError("say why: a record that is dropped is missing in the lake for good")
        return why

    @field_validator("records")
    @classmethod
    def _places(cls, records: list[str]) -> list[str]:
        if not records:
            raise ValueError("name at least one record")
        for text in records:
            Place.parse(text)
        return records


def quarantine_jobs(contract: Contract) -> list[dg.JobDefinition]:
    """Return the jobs of the quarantine of ``contract``."""
    return [replay_job(contract), drop_job(contract)]


def replay_job(contract: Contract) -> dg.JobDefinition:
    """Return the job that replays records."""
    name = replay_job_name(contract)

    @dg.op(
        name=f"{name}_op", description="Writes what the source says of the records' rows, and waits for it."
    )
    def replay(context: Context, config: ReplayConfig, lakehouse: Lakehouse) -> None:
        with _quarantine(contract, context, lakehouse) as quarantine:
            wanted = Wanted.parse(contract, config.records, config.tables, config.everything)
            done = quarantine.replay(wanted, repair=config.repair)
            context.log.info(str(done))
            if done.failed:
                raise NotReplayed(done)
        context.add_output_metadata({"replayed": done.replayed, "written": done.written})

    return _job(
        contract,
        name,
        "Replays records that could not be carried. The old record is never written again, for a later "
        "delete would be undone: its row is read from the source at an exact position and written as the "
        "connector would, and the record is marked only when the lake has it. Fails naming the column when "
        "what the source has now cannot be carried either. Safe at any time.",
        replay,
    )


def drop_job(contract: Contract) -> dg.JobDefinition:
    """Return the job that drops records."""
    name = drop_job_name(contract)

    @dg.op(name=f"{name}_op", description="Marks records as left out for good.")
    def drop(context: Context, config: DropConfig, lakehouse: Lakehouse) -> None:
        with _quarantine(contract, context, lakehouse) as quarantine:
            places = Wanted.parse(contract, config.records).places
            count = quarantine.drop(places, config.why)
        context.log.info(f"{count:,} record(s) dropped: {config.why}")
        context.add_output_metadata({"dropped": count})

    return _job(
        contract,
        name,
        "Leaves quarantined records out for good, for a reason that is kept. Their bytes stay in the "
        "dead-letter topic and in the lake's quarantine table.",
        drop,
    )


def _job(contract: Contract, name: str, description: str, op: dg.OpDefinition) -> dg.JobDefinition:
    return one_op_job(contract, name, description, op, longest_seconds=LONGEST_SECONDS)


@contextmanager
def _quarantine(contract: Contract, context: Context, lakehouse: Any) -> Iterator[Quarantine]:
    """Give one who acts in the name of the run; its failures become the run's, in plain words."""
    try:
        with lakehouse.clients(timeout=TIMEOUT_SECONDS) as clients:
            yield Quarantine(current(contract), clients, f"{RUN_ACTOR}{context.run_id}", context.log.info)
    except (EngineError, ValueError) as error:
        raise dg.Failure(str(error), allow_retries=False) from error
