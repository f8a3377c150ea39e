"""The control plane's own processes: the publisher, Dagster's webserver and Dagster's daemon."""

from __future__ import annotations

import sys
import time
from importlib.metadata import version as package_version
from typing import Any

import httpx

from lakehouse_dagster.runtime.services.base import Instance, NotReady, Program, Rendering, Service
from lakehouse_dagster.runtime.settings import Settings


class _Control(Service):
    package: str

    def version(self, settings: Settings) -> str:
        """The version of the Python package."""
        del settings
        return package_version(self.package)


class Publisher(_Control):
    """Publishes what the streams have committed to Nessie."""

    name = "publisher"
    title = "Publisher"
    depends = ("nessie", "minio")
    package = "lakehouse-dagster"

    def program(self, rendering: Rendering) -> Program:
        """Run the publisher's module with this interpreter."""
        return Program(
            (sys.executable, "-m", "lakehouse_dagster.governance.publisher"),
            directory=rendering.instance.settings.project,
            stop_seconds=20,
        )

    def probe(self, instance: Instance, since: float) -> str:
        """It has no port: what can be asked is whether it has been running without a restart for a while."""
        del instance
        seconds = time.time() - since
        if seconds < 5:
            raise NotReady("started a moment ago")
        return "running"


class _Dagster(_Control):
    package = "dagster"
    depends: tuple[str, ...] = ("postgres",)

    def command(self, instance: Instance) -> tuple[str, ...]:
        raise NotImplementedError

    def program(self, rendering: Rendering) -> Program:
        instance = rendering.instance
        settings = instance.settings
        home = instance.data("dagster")
        config = rendering.file(
            "dagster/dagster.yaml",
            "dagster.yaml",
            {
                "HOST": settings.host,
                "POSTGRES_PORT": settings.port("postgres"),
                "POSTGRES_USER": instance.endpoints.postgres.user,
                "POSTGRES_DATABASE": instance.endpoints.postgres.database,
                "LOCAL_DIR": home,
            },
        )
        # DAGSTER_HOME is one folder for both processes, so that the `dagster` and `dg` programs find it too.
        target = home / "dagster.yaml"
        target.unlink(missing_ok=True)
        target.symlink_to(config)
        return Program(
            self.command(instance),
            directory=settings.project,
            environment={
                "LAKEHOUSE_POSTGRES_PASSWORD": instance.secrets.postgres_dagster.get_secret_value(),
                "DAGSTER_DISABLE_TELEMETRY": "1",
                "PYTHONUNBUFFERED": "1",
            },
            stop_seconds=30,
        )


class DagsterWebserver(_Dagster):
    """Dagster's UI and GraphQL API."""

    name = "dagster-webserver"
    title = "Dagster webserver"
    ports = ("dagster",)

    def command(self, instance: Instance) -> tuple[str, ...]:
        """The webserver, bound to loopback."""
        settings = instance.settings
        return (
            sys.executable,
            "-m",
            "dagster_webserver",
            "-h",
            settings.host,
            "-p",
            str(settings.port("dagster")),
            "-w",
            str(settings.project / "workspace.yaml"),
        )

    def probe(self, instance: Instance, since: float) -> str:
        """``GET /server_info``. A broken code location is told, but the server is ready all the same."""
        del since
        with httpx.Client(base_url=instance.endpoints.dagster.url, timeout=10, trust_env=False) as client:
            client.get("/server_info").raise_for_status()
            entries = _graphql(
                client,
                "{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus "
                "locationOrLoadError { __typename } } } } }",
            )["workspaceOrError"]["locationEntries"]
        broken = [
            item["name"] for item in entries if item["locationOrLoadError"]["__typename"] == "PythonError"
        ]
        if broken:
            return f"code location {', '.join(broken)} does not load: see the UI"
        loading = [item["name"] for item in entries if item["loadStatus"] == "LOADING"]
        return "code location loading" if loading else f"{len(entries)} code location(s)"


class DagsterDaemon(_Dagster):
    """Dagster's daemon: sensors, automation, queued runs, freshness."""

    name = "dagster-daemon"
    title = "Dagster daemon"
    depends = ("postgres", "dagster-webserver")

    def command(self, instance: Instance) -> tuple[str, ...]:
        """The daemon."""
        return (
            sys.executable,
            "-m",
            "dagster._daemon",
            "run",
            "-w",
            str(instance.settings.project / "workspace.yaml"),
        )

    def probe(self, instance: Instance, since: float) -> str:
        """Every required daemon must have sent a heartbeat since the process started."""
        with httpx.Client(base_url=instance.endpoints.dagster.url, timeout=10, trust_env=False) as client:
            statuses = _graphql(
                client,
                "{ instance { daemonHealth { allDaemonStatuses "
                "{ daemonType required healthy lastHeartbeatTime } } } }",
            )["instance"]["daemonHealth"]["allDaemonStatuses"]
        required = [item for item in statuses if item["required"]]
        late = [item["daemonType"] for item in required if (item["lastHeartbeatTime"] or 0) < since]
        sick = [item["daemonType"] for item in required if not item["healthy"]]
        if late or sick or not required:
            raise NotReady(
                f"no healthy heartbeat yet from {', '.join(sorted({*late, *sick})) or 'any daemon'}"
            )
        return f"{len(required)} daemons healthy"


def _graphql(client: httpx.Client, query: str) -> Any:
    answer = client.post("/graphql", json={"query": query}).raise_for_status().json()
    if answer.get("errors"):
        raise NotReady(str(answer["errors"][0].get("message")))
    return answer["data"]
