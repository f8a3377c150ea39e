"""Kafka: one node that is broker and controller (KRaft)."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
from functools import partial

from kafka.admin import KafkaAdminClient

from lakehouse_dagster.runtime.errors import RuntimeFailure
from lakehouse_dagster.runtime.services.base import (
    Instance,
    NotReady,
    Program,
    Rendering,
    Service,
    jvm,
    remove_tree,
    with_room,
)


class Kafka(Service):
    """The log between the source and the streams."""

    name = "kafka"
    title = "Kafka"
    ports = ("kafka", "kafka-controller")
    engines = ("kafka",)

    def program(self, rendering: Rendering) -> Program:
        """Format the log folder at first start; run the broker."""
        instance = rendering.instance
        data = instance.data("kafka")
        logs = data / "logs"
        log4j = rendering.file("kafka/log4j2.properties", "log4j2.properties")
        config = rendering.file(
            "kafka/server.properties",
            "server.properties",
            {
                "PORT": instance.settings.port("kafka"),
                "CONTROLLER_PORT": instance.settings.port("kafka-controller"),
                "LOG_DIR": logs,
            },
        )
        java = partial(
            jvm,
            instance.java17(),
            scratch=rendering.scratch(),
            options=(f"-Dlog4j2.configurationFile={log4j.as_uri()}",),
            classpath=f"{instance.engine('kafka')}/libs/*",
        )
        if not (logs / "meta.properties").exists():
            remove_tree(logs)  # of an interrupted first start: the format writes meta.properties last
            # 22 characters of URL-safe base64, as Kafka's own tool makes them.
            digest = hashlib.sha256(os.fsencode(instance.settings.data)).digest()[:16]
            cluster = base64.urlsafe_b64encode(digest).decode().rstrip("=").replace("-", "_")
            command = java(
                heap="128m",
                main="kafka.tools.StorageTool",
                arguments=("format", "--ignore-formatted", "-t", cluster, "-c", str(config)),
            )
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
            with instance.log("kafka").open("a", encoding="utf-8") as log:
                log.write(done.stdout + done.stderr)
            if done.returncode:
                raise RuntimeFailure(
                    f"Kafka could not format {logs} (exit code {done.returncode})",
                    f"read the end of {instance.log('kafka')}",
                )
        return Program(
            with_room(data, java(heap="256m", main="kafka.Kafka", arguments=(str(config),))),
            directory=data,
            stop_seconds=45,
        )

    def probe(self, instance: Instance, since: float) -> str:
        """A metadata request: the cluster must know its controller and this broker."""
        del since
        admin = KafkaAdminClient(
            bootstrap_servers=instance.endpoints.kafka.bootstrap,
            request_timeout_ms=5_000,
            bootstrap_timeout_ms=5_000,
        )
        try:
            cluster = admin.describe_cluster()
        finally:
            admin.close()
        brokers = cluster.get("brokers") or []
        if len(brokers) != 1:
            raise NotReady(f"{len(brokers)} brokers registered instead of 1")
        return f"cluster {cluster.get('cluster_id')}"
