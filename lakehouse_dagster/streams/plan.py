"""What a stream is to be: the rendered connector configuration or Flink script."""

from __future__ import annotations

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.render.flink_sql import FlinkScript, lake_script, serving_script
from lakehouse_dagster.streams.assets import LAKE, SERVING, Stream


def flink_script(contract: Contract, stream: Stream) -> FlinkScript:
    """Return the script of a Flink stream; raises ``KeyError`` for a stream that is none."""
    return {LAKE: lake_script, SERVING: serving_script}[stream.name](contract)
