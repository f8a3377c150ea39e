"""The services of the native runtime, in the order in which ``status`` shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import TopologicalSorter
from types import MappingProxyType

from lakehouse_dagster.runtime.errors import RuntimeFailure
from lakehouse_dagster.runtime.services.base import Instance, NotReady, Program, Rendering, Service
from lakehouse_dagster.runtime.services.cassandra import Cassandra
from lakehouse_dagster.runtime.services.connect import Connect
from lakehouse_dagster.runtime.services.control import DagsterCode, DagsterDaemon, DagsterWebserver, Publisher
from lakehouse_dagster.runtime.services.couchdb import CouchDb
from lakehouse_dagster.runtime.services.flink import FlinkClient, FlinkJobManager, FlinkTaskManager
from lakehouse_dagster.runtime.services.kafka import Kafka
from lakehouse_dagster.runtime.services.minio import Minio
from lakehouse_dagster.runtime.services.mysql import MySql
from lakehouse_dagster.runtime.services.nessie import Nessie
from lakehouse_dagster.runtime.services.postgres import Postgres
from lakehouse_dagster.runtime.services.prober import Prober
from lakehouse_dagster.runtime.services.trino import Trino

__all__ = [
    "ABSENT",
    "SERVICES",
    "Instance",
    "NotReady",
    "Program",
    "Rendering",
    "Service",
    "closure",
    "dependants",
    "graph",
]

SERVICES: Mapping[str, Service] = MappingProxyType(
    {
        service.name: service
        for service in (
            MySql(),
            Postgres(),
            Kafka(),
            Connect(),
            Minio(),
            Nessie(),
            FlinkJobManager(),
            FlinkTaskManager(),
            FlinkClient(),
            Cassandra(),
            CouchDb(),
            Trino(),
            Publisher(),
            Prober(),
            DagsterCode(),
            DagsterWebserver(),
            DagsterDaemon(),
        )
    }
)

ABSENT: Mapping[str, str] = MappingProxyType(
    {
        "doris": "not in the native runtime: no package exists, it needs Docker Compose; "
        "set LAKEHOUSE_DORIS_HOST to use one that runs (docs/doris.md)"
    }
)
"""Engines of the design that this runtime cannot run, with the reason."""


def closure(names: Iterable[str]) -> tuple[str, ...]:
    """Return ``names`` (all services when empty) with everything they depend on, dependencies first.

    Raises ``RuntimeFailure`` for a name that is no service.
    """
    wanted = tuple(names) or tuple(SERVICES)
    seen: set[str] = set()

    def visit(name: str) -> None:
        if name not in SERVICES:
            reason = f" ({ABSENT[name]})" if name in ABSENT else ""
            raise RuntimeFailure(
                f"there is no service {name!r}{reason}", f"choose from: {', '.join(SERVICES)}"
            )
        if name not in seen:
            for dependency in SERVICES[name].depends:
                visit(dependency)
            seen.add(name)

    for name in wanted:
        visit(name)
    chosen = {
        name: [item for item in SERVICES[name].depends if item in seen] for name in SERVICES if name in seen
    }
    return tuple(TopologicalSorter(chosen).static_order())


def dependants(names: Iterable[str]) -> tuple[str, ...]:
    """Return ``names`` (all services when empty) with everything that depends on them, dependants first."""
    wanted = set(names)
    for name in wanted:
        closure([name])  # refuses unknown names
    if not wanted:
        wanted = set(SERVICES)
    order = closure(())
    for name in order:
        if wanted.intersection(SERVICES[name].depends):
            wanted.add(name)
    return tuple(name for name in reversed(order) if name in wanted)


def graph(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return for each of ``names`` those it depends on, as ``graphlib`` takes it."""
    chosen = tuple(names)
    return {name: tuple(item for item in SERVICES[name].depends if item in chosen) for name in chosen}
