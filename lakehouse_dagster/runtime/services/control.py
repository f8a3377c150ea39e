"""The control plane's own processes: the publisher, and Dagster's code server, webserver and daemon."""

from __future__ import annotations

import hashlib
import sys
import time
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lakehouse_dagster.runtime.services.base import Instance, NotReady, Program, Rendering, Service
from lakehouse_dagster.runtime.settings import Settings

PACKAGE = Path(__file__).resolve().parents[2]
CODE_SUFFIXES = frozenset({".py", ".yaml", ".sql", ".json"})


def code_digest(folder: Path = PACKAGE) -> str:
    """Return a hash of all code and contracts below ``folder``.

    It stands in the environment of the processes that load them, so that `lakehouse up` restarts these after
    an upgrade: a sensor of the old code and a run of the new would disagree for ever about what should run.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in CODE_SUFFIXES and path.is_file():
            digest.update(f"{path.relative_to(folder)}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


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
    depends = ("nessie", "minio", "postgres")
    package = "lakehouse-dagster"

    def program(self, rendering: Rendering) -> Program:
        """Run the publisher's module with this interpreter."""
        return Program(
            (sys.executable, "-m", "lakehouse_dagster.governance.publisher"),
            directory=rendering.instance.settings.project,
            environment={"LAKEHOUSE_CODE": code_digest()},
            stop_seconds=20,
        )

    def probe(self, instance: Instance, since: float) -> str:
        """It has no port: what can be asked is whether it has been running without a restart for a while."""
        del instance
        seconds = time.time() - since
        if seconds < 5:
            raise NotReady("started a moment ago")
        return "running"


CODE_LOCATION = "lakehouse_dagster"


class _Dagster(_Control):
    package = "dagster"
    depends: tuple[str, ...] = ("postgres",)

    @property
    def loads(self) -> dict[str, str]:
        """What the process has to be restarted for besides its own configuration."""
        return {}

    def command(self, instance: Instance, workspace: Path) -> tuple[str, ...]:
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
        # Both Dagster programs ask the one code server. With the repository's own workspace.yaml (a Python
        # module) the daemon would start a fresh code server every minute, at several CPU seconds each.
        workspace = rendering.file(
            "dagster/workspace.yaml",
            "workspace.yaml",
            {"HOST": settings.host, "PORT": settings.port("dagster-code"), "LOCATION": CODE_LOCATION},
        )
        # DAGSTER_HOME is one folder for both processes, so that the `dagster` and `dg` programs find it too.
        target = home / "dagster.yaml"
        target.unlink(missing_ok=True)
        target.symlink_to(config)
        return Program(
            self.command(instance, workspace),
            directory=settings.project,
            environment={
                **self.loads,
                "LAKEHOUSE_POSTGRES_PASSWORD": instance.secrets.postgres_dagster.get_secret_value(),
                "DAGSTER_DISABLE_TELEMETRY": "1",
                "PYTHONUNBUFFERED": "1",
            },
            stop_seconds=30,
        )


class DagsterCode(_Dagster):
    """The code server: definitions and the processes of runs. The UI's "Reload" makes it load anew."""

    name = "dagster-code"
    title = "Dagster code server"
    ports = ("dagster-code",)

    @property
    def loads(self) -> dict[str, str]:
        """Definitions are loaded once."""
        return {"LAKEHOUSE_CODE": code_digest()}

    def command(self, instance: Instance, workspace: Path) -> tuple[str, ...]:
        """A code server of its own process, so that a reload in the UI takes effect."""
        del workspace
        settings = instance.settings
        return (
            sys.executable,
            "-m",
            "dagster",
            "code-server",
            "start",
            "--host",
            settings.host,
            "--port",
            str(settings.port("dagster-code")),
            "--module-name",
            "lakehouse_dagster.definitions",
            "--location-name",
            CODE_LOCATION,
            "--use-python-environment-entry-point",
        )

    def probe(self, instance: Instance, since: float) -> str:
        """Ask gRPC's standard health service. Broken definitions are served too: the UI shows their error."""
        del since
        settings = instance.settings
        address = f"{settings.host}:{settings.port('dagster-code')}"
        with grpc.insecure_channel(address) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            try:
                answer = stub.Check(health_pb2.HealthCheckRequest(service="DagsterApi"), timeout=10)
            except grpc.RpcError as error:
                raise NotReady(f"{error.code().name}: {error.details()}") from error
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise NotReady("not serving yet")
        return "serving"


class DagsterWebserver(_Dagster):
    """Dagster's UI and GraphQL API."""

    name = "dagster-webserver"
    title = "Dagster webserver"
    depends = ("postgres", "dagster-code")
    ports = ("dagster",)

    def command(self, instance: Instance, workspace: Path) -> tuple[str, ...]:
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
            str(workspace),
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

    def command(self, instance: Instance, workspace: Path) -> tuple[str, ...]:
        """The daemon."""
        del instance
        return (
            sys.executable,
            "-m",
            "dagster._daemon",
            "run",
            "-w",
            str(workspace),
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
