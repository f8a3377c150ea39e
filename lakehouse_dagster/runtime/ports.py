"""The TCP ports of one instance. Everything binds 127.0.0.1; an offset moves a whole instance."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

HOST = "127.0.0.1"

DEFAULT_PORTS: Mapping[str, int] = MappingProxyType(
    {
        "mysql": 13306,
        "postgres": 15432,
        "kafka": 19092,
        "kafka-controller": 19093,
        "connect": 18083,
        "connect-metrics": 19201,
        "minio": 19000,
        "nessie": 19120,
        "nessie-management": 19121,
        "flink": 18081,
        "flink-jobmanager-rpc": 16123,
        "flink-blob": 16124,
        "flink-taskmanager-rpc": 16125,
        "flink-taskmanager-data": 16126,
        "cassandra": 19042,
        "cassandra-storage": 17000,
        "cassandra-jmx": 17199,
        "couchdb": 15984,
        "trino": 18080,
        "prober": 19200,
        "dagster": 13000,
        "dagster-code": 13001,
    }
)

MAX_PORT = 65_535
"""The highest TCP port."""

MAX_OFFSET = 40_000
"""The highest accepted offset: keeps every port at or under ``MAX_PORT``."""

assert max(DEFAULT_PORTS.values()) + MAX_OFFSET <= MAX_PORT
