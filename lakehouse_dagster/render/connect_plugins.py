"""Classes of ``connect_plugins/converters`` by the names under which Kafka Connect loads them."""

from __future__ import annotations

from typing import Final

_PACKAGE: Final = "io.lakehouse.debezium"

CONNECTOR: Final = f"{_PACKAGE}.ExactMySqlConnector"
"""Debezium's MySQL connector, whose rows are read and converted exactly."""

TEXT_CONVERTER: Final = f"{_PACKAGE}.ExactConverter"
"""Makes dates of chosen columns the text that MySQL prints."""

TRUNCATE_RECORD: Final = f"{_PACKAGE}.TruncateRecord"
"""Makes the event of a TRUNCATE a record, which Debezium's own flattening would drop."""
