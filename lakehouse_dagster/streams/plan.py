"""What a stream is to be: rendered from the contract, with the addresses of this installation."""

from __future__ import annotations

from dataclasses import replace

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.render.connector import connector
from lakehouse_dagster.render.flink_sql import FlinkScript, scripts
from lakehouse_dagster.streams.assets import Stream
from lakehouse_dagster.streams.checkpoints import checkpoint_folder, savepoint_folder

_PLACES = frozenset(
    {
        "state.checkpoints.dir",
        "state.savepoints.dir",
        "execution.checkpointing.dir",
        "execution.checkpointing.savepoint-dir",
    }
)
"""Both spellings of the settings that ``placed`` replaces."""


def flink_script(contract: Contract, stream: Stream) -> FlinkScript:
    """Return the script of a Flink stream; raises ``KeyError`` for a stream that is none."""
    return {script.name: script for script in scripts(contract)}[stream.engine_name]


def placed(script: FlinkScript, bucket: str) -> FlinkScript:
    """Return ``script`` with checkpoints and savepoints in the folder of its own specification.

    Done after hashing, because the folder's name holds the hash.
    """
    settings = {name: value for name, value in script.settings.items() if name not in _PLACES}
    settings["execution.checkpointing.dir"] = checkpoint_folder(bucket, script.name, script.spec_hash)
    settings["execution.checkpointing.savepoint-dir"] = savepoint_folder(
        bucket, script.name, script.spec_hash
    )
    return replace(script, settings=settings)


def connector_config(contract: Contract, endpoints: Endpoints) -> dict[str, str]:
    """Return the connector's configuration; passwords appear only as names of Connect's environment."""
    return connector(
        contract,
        mysql_host=endpoints.mysql.host,
        mysql_port=endpoints.mysql.port,
        kafka_bootstrap=endpoints.kafka.bootstrap,
    ).config
