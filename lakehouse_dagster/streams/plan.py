"""What a stream is to be: rendered from the contract, with the addresses of this installation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.render.connector import connector
from lakehouse_dagster.render.flink_sql import FlinkScript, scripts
from lakehouse_dagster.streams.assets import LAKE, Stream
from lakehouse_dagster.streams.checkpoints import checkpoint_folder, savepoint_folder
from lakehouse_dagster.streams.decision import Kind

SPEC_PARAMETER = "lakehouse.spec"
"""Global job parameter by which a running job tells the specification that it was started from."""
STATE_PARAMETER = "lakehouse.state"
"""And the one that tells which state its checkpoints hold (``FlinkScript.state_hash``)."""
UNKNOWN_SPEC = "unknown"
"""Stands for the specification of a running job that does not tell any."""

_PLACES = frozenset(
    {
        "state.checkpoints.dir",
        "state.savepoints.dir",
        "execution.checkpointing.dir",
        "execution.checkpointing.savepoint-dir",
    }
)
"""Both spellings of the settings that ``placed`` replaces."""


def spec_hash(contract: Contract, stream: Stream, endpoints: Endpoints) -> str:
    """Return the hash of what ``stream`` should run; it changes whenever anything in it does."""
    if stream.kind is Kind.CONNECTOR:
        return config_hash(connector_config(contract, endpoints))
    return flink_script(contract, stream).spec_hash


def flink_script(contract: Contract, stream: Stream) -> FlinkScript:
    """Return the script of a Flink stream; raises ``KeyError`` for a stream that is none."""
    return {script.name: script for script in scripts(contract)}[stream.engine_name]


def source_topics(contract: Contract, stream: Stream) -> tuple[str, ...]:
    """Return the topics that a Flink stream reads, in the order of the contract; none for the connector, and
    none of tables that are stopped.
    """
    if stream.kind is Kind.CONNECTOR:
        return ()
    flowing = contract.flowing
    if stream.name == LAKE:
        return tuple(contract.topic(table.name) for table in flowing)
    return tuple(contract.topic(table.name) for table in flowing if contract.views_of(table.name))


def placed(script: FlinkScript, bucket: str) -> FlinkScript:
    """Return ``script`` with its checkpoints and savepoints in the folder of its state, and its hashes as
    parameters of the job.

    Done after hashing, because the settings then hold the hashes.
    """
    settings = {name: value for name, value in script.settings.items() if name not in _PLACES}
    settings["execution.checkpointing.dir"] = checkpoint_folder(bucket, script.name, script.state_hash)
    settings["execution.checkpointing.savepoint-dir"] = savepoint_folder(
        bucket, script.name, script.state_hash
    )
    settings["pipeline.global-job-parameters"] = (
        f"{SPEC_PARAMETER}:{script.spec_hash},{STATE_PARAMETER}:{script.state_hash}"
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


def config_hash(config: Mapping[str, str]) -> str:
    """Return the hash of a connector's configuration, as it is rendered or as Connect has stored it.

    Connect adds the connector's name to what it stores; that is no part of the specification.
    """
    content = {name: value for name, value in config.items() if name != "name"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
