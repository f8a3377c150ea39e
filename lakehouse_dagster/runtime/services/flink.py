"""Flink: a session cluster of one JobManager and one TaskManager, each one plain ``java`` process."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import httpx

from lakehouse_dagster.engines import flink_client
from lakehouse_dagster.runtime import provision
from lakehouse_dagster.runtime.endpoints import BUCKET, S3_FLINK
from lakehouse_dagster.runtime.services.base import (
    Instance,
    NotReady,
    Program,
    Rendering,
    Service,
    jvm,
    quoted,
)

TASK_SLOTS = 8

# The list of the shipped conf/config.yaml (env.java.opts.all) of Flink 1.20, for Java 17.
_EXPORTS = (
    "java.rmi/sun.rmi.registry",
    "java.security.jgss/sun.security.krb5",
    "jdk.compiler/com.sun.tools.javac.api",
    "jdk.compiler/com.sun.tools.javac.file",
    "jdk.compiler/com.sun.tools.javac.parser",
    "jdk.compiler/com.sun.tools.javac.tree",
    "jdk.compiler/com.sun.tools.javac.util",
)
_OPENS = (
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.lang.reflect",
    "java.base/java.net",
    "java.base/java.nio",
    "java.base/java.text",
    "java.base/java.time",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/java.util.concurrent.locks",
    "java.base/sun.net.util",
    "java.base/sun.nio.ch",
)

# Java's optimizing compiler takes ten times its usual evidence that code is hot (the defaults of Java 17).
# With the defaults compiling was half of all processor time in the first minute after a restart, just when
# everything waits for it. Code that carries bulk loads is hot within seconds all the same.
_COMPILER = (
    "-XX:Tier4InvocationThreshold=50000",
    "-XX:Tier4MinInvocationThreshold=6000",
    "-XX:Tier4CompileThreshold=150000",
    "-XX:Tier4BackEdgeThreshold=400000",
)


class _Flink(Service):
    engines = ("flink",)
    main: str
    heap: str
    metaspace: str
    options: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()

    def program(self, rendering: Rendering) -> Program:
        """Run the entry point itself, without Flink's shell scripts: the process is the engine's own."""
        instance = rendering.instance
        settings = instance.settings
        home = instance.engine("flink") / "home"
        scratch = rendering.scratch()
        log4j = rendering.file("flink/log4j.properties", "conf/log4j.properties")
        config = rendering.file(
            "flink/config.yaml",
            "conf/config.yaml",
            {
                "HOST": settings.host,
                "REST_PORT": settings.port("flink"),
                "JOBMANAGER_PORT": settings.port("flink-jobmanager-rpc"),
                "BLOB_PORT": settings.port("flink-blob"),
                "TASKMANAGER_PORT": settings.port("flink-taskmanager-rpc"),
                "TASKMANAGER_DATA_PORT": settings.port("flink-taskmanager-data"),
                "SLOTS": TASK_SLOTS,
                "TMP_DIR": quoted(str(scratch)),
                "CHECKPOINTS": f"s3://{BUCKET}/flink/checkpoints",
                "SAVEPOINTS": f"s3://{BUCKET}/flink/savepoints",
                "S3_ENDPOINT": instance.endpoints.s3.endpoint,
                "S3_ACCESS_KEY": quoted(S3_FLINK),
                "S3_SECRET_KEY": quoted(instance.secrets.s3_flink.get_secret_value()),
            },
        )
        return Program(
            jvm(
                instance.java17(),
                heap=self.heap,
                scratch=scratch,
                options=(
                    *(f"--add-exports={name}=ALL-UNNAMED" for name in _EXPORTS),
                    *(f"--add-opens={name}=ALL-UNNAMED" for name in _OPENS),
                    f"-XX:MaxMetaspaceSize={self.metaspace}",
                    *_COMPILER,
                    *self.options,
                    # The supervisor writes and rotates this file; Flink only shows it in its UI.
                    f"-Dlog.file={instance.log(self.name)}",
                    f"-Dlog4j.configurationFile={log4j.as_uri()}",
                ),
                classpath=_classpath(home / "lib"),
                main=self.main,
                arguments=("--configDir", str(config.parent), *self.arguments),
            ),
            directory=rendering.folder,
            environment={
                "FLINK_CONF_DIR": str(config.parent),
                "FLINK_HOME": str(home),
                "FLINK_LIB_DIR": str(home / "lib"),
                "FLINK_OPT_DIR": str(home / "opt"),
                "FLINK_PLUGINS_DIR": str(home / "plugins"),
            },
        )


class FlinkJobManager(_Flink):
    """The JobManager: REST, scheduling, checkpoints."""

    name = "flink-jobmanager"
    title = "Flink JobManager"
    depends = ("minio",)
    ports = ("flink", "flink-jobmanager-rpc", "flink-blob")
    main = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
    heap = "512m"
    metaspace = "256m"
    arguments = ("--executionMode", "cluster")

    def probe(self, instance: Instance, since: float) -> str:
        """``GET /overview``."""
        del since
        overview = _get(instance, "/overview")
        return f"{overview['jobs-running']} jobs running"


class FlinkTaskManager(_Flink):
    """The TaskManager: runs the streams."""

    name = "flink-taskmanager"
    title = "Flink TaskManager"
    depends = ("flink-jobmanager",)
    ports = ("flink-taskmanager-rpc", "flink-taskmanager-data")
    main = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
    # = framework.heap.size + task.heap.size of config.yaml
    heap = "1536m"
    metaspace = "320m"
    # = framework.off-heap.size + task.off-heap.size + network.max of config.yaml
    options = ("-XX:MaxDirectMemorySize=384m",)

    def probe(self, instance: Instance, since: float) -> str:
        """The JobManager must know this TaskManager and its slots."""
        # A TaskManager that was killed stays registered until its heartbeat times out, at the same address:
        # only one that was heard of since the start is ours. (The field holds a time, not a duration; the
        # supervisor tells the start in whole seconds.)
        managers = _get(instance, "/taskmanagers")["taskmanagers"]
        fresh = [item for item in managers if item["timeSinceLastHeartbeat"] / 1000 >= since + 1]
        slots = sum(int(item["slotsNumber"]) for item in fresh)
        free = sum(int(item["freeSlots"]) for item in fresh)
        if slots <= 0:
            raise NotReady("no TaskManager has registered its slots since the start")
        return f"{free} of {slots} slots free"


class FlinkClient(Service):
    """A warm client that submits the jobs' SQL: what a cold one does first takes longer than all the rest."""

    name = "flink-client"
    title = "Flink SQL client"
    engines = ("pyflink", "flink")

    def program(self, rendering: Rendering) -> Program:
        """Run ``flink_jobs/serve_sql.py`` in the Flink client environment."""
        instance = rendering.instance
        settings = instance.settings
        jobs = settings.project / "flink_jobs"
        code = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(jobs.glob("*.py"))))
        return Program(
            (
                str(instance.engine("pyflink") / "venv" / "bin" / "python"),
                str(jobs / "serve_sql.py"),
                "--socket",
                str(settings.flink_client_socket),
            ),
            directory=rendering.folder,
            environment={
                "FLINK_HOME": str(instance.engine("flink") / "home"),
                "FLINK_LOG_DIR": str(settings.logs),
                "FLINK_REST": f"{settings.host}:{settings.port('flink')}",
                "JAVA_HOME": str(provision.java17(settings.home)),
                "LAKEHOUSE_CODE": code.hexdigest()[:16],
                "PYTHONUNBUFFERED": "1",
            },
        )

    def probe(self, instance: Instance, since: float) -> str:
        """Ask over its socket how many scripts it has submitted."""
        del since
        with flink_client.connect(instance.settings.flink_client_socket, timeout=5) as connection:
            answer = flink_client.ask(connection, {"ping": True})
        if "submitted" not in answer:
            raise NotReady(f"unexpected answer {answer}")
        return f"{answer['submitted']} scripts submitted"


def _get(instance: Instance, path: str) -> Any:
    with httpx.Client(base_url=instance.endpoints.flink.url, timeout=5, trust_env=False) as client:
        return client.get(path).raise_for_status().json()


def _classpath(lib: Path) -> str:
    # Flink's own scripts put flink-dist last, so that a library in lib/ wins over a copy inside flink-dist.
    jars = sorted(lib.glob("*.jar"), key=lambda jar: (jar.name.startswith("flink-dist"), jar.name))
    return ":".join(map(str, jars))
