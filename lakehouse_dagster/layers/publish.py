"""The job ``<pipeline>_publish``: publication by hand, as the publisher does it by itself."""

import dagster as dg

from lakehouse_dagster.contract.applied import current
from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.clients import ClientSource
from lakehouse_dagster.governance.gate import PublicationRefusedError
from lakehouse_dagster.governance.hold import PublicationHeldError


def publish_job(contract: Contract) -> dg.JobDefinition:
    """Return the job that publishes the newest readable state of all lake tables in one Nessie commit."""

    @dg.op(
        name=f"{contract.name}_publish_op",
        description="Publishes the newest readable state of all lake tables in one Nessie commit.",
        tags={"pipeline": contract.name},
    )
    def publish(context: dg.OpExecutionContext, lakehouse: dg.ResourceParam[ClientSource]) -> None:
        # Late: the publisher's module brings its engines' clients, which loading the definitions does not
        # need.
        from lakehouse_dagster.governance.publisher import publish_once

        with lakehouse.clients() as clients:
            try:
                done = publish_once(
                    current(contract),
                    clients.endpoints,
                    requested_by=f"dagster run {context.run_id}",
                    run_id=context.run_id,
                )
            except (PublicationHeldError, PublicationRefusedError) as error:
                # An answer, not an accident: trying again now would get the same one.
                raise dg.Failure(str(error), allow_retries=False) from error
        if done is None:
            context.log.info("Nessie shows the newest state of every table already; nothing to publish")
            return
        context.log.info(f"published {', '.join(done.changed)} as {done.hash} in {done.seconds:.2f} s")
        context.add_output_metadata({"nessie_hash": done.hash, "tables": ", ".join(done.changed)})

    @dg.job(
        name=f"{contract.name}_publish",
        description=(
            f"Publishes the lake tables of `{contract.name}` by hand. The publisher does so all the time; "
            "the asset "
            "shows either's commits."
        ),
        tags={"pipeline": contract.name, "owner": contract.owner},
    )
    def job() -> None:
        publish()

    return job
