"""Kafka Connect with the Debezium MySQL connector."""

from __future__ import annotations

import httpx

from lakehouse_dagster.render.connect_plugins import CONNECTOR
from lakehouse_dagster.runtime.endpoints import MYSQL_CDC_USER
from lakehouse_dagster.runtime.ports import HOST
from lakehouse_dagster.runtime.services.base import Instance, NotReady, Program, Rendering, Service, jvm
from lakehouse_dagster.runtime.settings import Settings
from lakehouse_dagster.runtime.versions import load_versions

JMX_AGENT = "agents/jmx_prometheus_javaagent.jar"
"""Serves what Debezium counts; a file of the installation (``runtime.bundles``)."""


class Connect(Service):
    """The worker that runs the change data capture connectors."""

    name = "connect"
    title = "Kafka Connect + Debezium"
    depends = ("kafka",)
    ports = ("connect", "connect-metrics")
    engines = ("kafka",)

    def program(self, rendering: Rendering) -> Program:
        """Run a distributed worker; connectors read their credentials from its environment."""
        instance = rendering.instance
        root = instance.engine("kafka")
        log4j = rendering.file("connect/log4j2.properties", "log4j2.properties")
        metrics = rendering.file("connect/metrics.yaml", "metrics.yaml")
        metrics_port = instance.settings.port("connect-metrics")
        config = rendering.file(
            "connect/worker.properties",
            "worker.properties",
            {
                "BOOTSTRAP": instance.endpoints.kafka.bootstrap,
                "PORT": instance.settings.port("connect"),
                "PLUGIN_PATH": root / "plugins",
            },
        )
        return Program(
            jvm(
                instance.java17(),
                heap="512m",
                scratch=rendering.scratch(),
                options=(
                    f"-Dlog4j2.configurationFile={log4j.as_uri()}",
                    f"-javaagent:{root / JMX_AGENT}={HOST}:{metrics_port}:{metrics}",
                ),
                classpath=f"{root}/libs/*",
                main="org.apache.kafka.connect.cli.ConnectDistributed",
                arguments=(str(config),),
            ),
            directory=instance.data("connect"),
            environment={
                "MYSQL_CDC_USER": MYSQL_CDC_USER,
                "MYSQL_CDC_PASSWORD": instance.secrets.mysql_cdc.get_secret_value(),
            },
        )

    def probe(self, instance: Instance, since: float) -> str:
        """The worker must list its connectors (it can once it has read its own topics) and know our class."""
        del since
        url = instance.endpoints.connect.url
        with httpx.Client(base_url=url, timeout=5, trust_env=False) as client:
            client.get("/").raise_for_status()
            connectors = client.get("/connectors").raise_for_status().json()
            plugins = client.get("/connector-plugins").raise_for_status().json()
        if CONNECTOR not in {plugin["class"] for plugin in plugins}:
            raise NotReady(f"{CONNECTOR} was not found on the plugin path")
        return f"{len(connectors)} connector{'' if len(connectors) == 1 else 's'}"

    def version(self, settings: Settings) -> str:
        """Kafka's version and Debezium's."""
        versions = load_versions()
        del settings
        return f"{versions['KAFKA_VERSION']} + {versions['DEBEZIUM_VERSION']}"
