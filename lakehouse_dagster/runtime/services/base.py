"""What a supervised service is: how its program is built, how it is asked, how it is set up."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.runtime import provision, room
from lakehouse_dagster.runtime.endpoints import build_endpoints
from lakehouse_dagster.runtime.errors import RuntimeFailure
from lakehouse_dagster.runtime.secrets import Secrets
from lakehouse_dagster.runtime.settings import Settings


class NotReady(Exception):  # noqa: N818 - a state, not a fault
    """The service does not answer as it should yet; the text says what is missing."""


@dataclass(frozen=True)
class Program:
    """One process for supervisord. Nothing secret may stand in ``command``: every user can read it."""

    command: tuple[str, ...]
    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = "TERM"
    stop_seconds: int = 30


@dataclass(frozen=True)
class Instance:
    """One installation at work: its settings, credentials and the engines it runs."""

    settings: Settings
    secrets: Secrets

    @property
    def endpoints(self) -> Endpoints:
        """Where this instance's engines answer."""
        return build_endpoints(self.settings, self.secrets)

    def engine(self, name: str) -> Path:
        """Return the folder where engine ``name`` is installed."""
        return provision.installation(self.settings.home, name).root

    def java17(self) -> str:
        """Return the ``java`` program of version 17."""
        return str(provision.java17(self.settings.home) / "bin" / "java")

    def java25(self) -> str:
        """Return the ``java`` program of version 25."""
        return str(provision.java25(self.settings.home) / "bin" / "java")

    def data(self, name: str) -> Path:
        """Return the data folder of service ``name``, made when missing (mode 0700)."""
        folder = self.settings.data / name
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def log(self, name: str) -> Path:
        """Return the file that collects what service ``name`` prints."""
        return self.settings.logs / f"{name}.log"


class Rendering:
    """Writes the configuration of one service from the templates in ``compose/``; remembers a digest of it.

    The digest becomes part of the program's environment, so a changed configuration is a changed program and
    ``up`` restarts exactly the services that it concerns.
    """

    def __init__(self, instance: Instance, service: str) -> None:
        self.instance = instance
        self.folder = instance.settings.run / service
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._digest = hashlib.sha256()

    def file(self, template: str, target: str, values: Mapping[str, object] | None = None) -> Path:
        """Render ``compose/<template>`` to ``<run>/<service>/<target>`` (mode 0600) and return the path.

        Raises ``RuntimeFailure`` naming the template when it asks for a value that is not given.
        """
        source = self.instance.settings.project / "compose" / template
        try:
            text = Template(source.read_text(encoding="utf-8")).substitute(
                {key: str(value) for key, value in (values or {}).items()}
            )
        except OSError as error:
            raise RuntimeFailure(f"cannot read {source}: {error.strerror}", "restore the file") from error
        except KeyError as error:
            raise RuntimeFailure(
                f"{source}: nothing is known for ${{{error.args[0]}}}", "write $$ for a literal dollar sign"
            ) from error
        except ValueError as error:
            raise RuntimeFailure(f"{source}: {error}", "write $$ for a literal dollar sign") from error
        return self.text(text, target)

    def text(self, text: str, target: str) -> Path:
        """Write ``text`` to ``<run>/<service>/<target>`` (mode 0600) and return the path."""
        self._digest.update(f"{target}\0{text}\0".encode())
        path = self.folder / target
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, text)
        return path

    def scratch(self) -> Path:
        """Return an empty folder for temporary files, so that killed JVMs leave nothing in the system's."""
        folder = self.folder / "tmp"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    @property
    def digest(self) -> str:
        """A short hash of everything rendered so far."""
        return self._digest.hexdigest()[:16]


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600 that appears whole or not at all."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)


def quoted(text: str) -> str:
    """Return ``text`` as a JSON (and so YAML) string, for templates of those formats."""
    return json.dumps(text)


def remove_tree(path: Path) -> None:
    """Delete a folder with all it holds; a missing one is fine."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


ROOM_MIB = 256
"""Mebibytes that must be free before an engine is started that a full disk would harm."""


def with_room(folder: Path, command: tuple[str, ...]) -> tuple[str, ...]:
    """Return the command line that starts ``command`` only once there is room on the disk of ``folder``."""
    return (sys.executable, "-I", "-S", room.__file__, str(folder), str(ROOM_MIB), *command)


class Service(ABC):
    """One supervised service of the native runtime."""

    name: str
    title: str
    depends: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    """Names in ``ports.DEFAULT_PORTS``; the first one is what clients use."""
    engines: tuple[str, ...] = ()
    """What must be installed in ``LAKEHOUSE_HOME``; the first one gives the version."""
    note: str = ""
    start_timeout: float = 600.0
    """Seconds until a start without an answer counts as failed; generous, for busy machines."""

    @abstractmethod
    def program(self, rendering: Rendering) -> Program:
        """Write the configuration, prepare the data folder at first start, and return the process to run."""

    @abstractmethod
    def probe(self, instance: Instance, since: float) -> str:
        """Ask the engine in its own protocol and return a few words about its answer.

        ``since`` is the start of the process (seconds of the Unix epoch). Raises ``NotReady``, or what the
        engine's client raises, when it does not answer as it should.
        """

    def initialise(self, instance: Instance) -> None:  # noqa: B027 - most services need nothing
        """Create what the platform expects inside the engine; called after every start, so idempotent."""

    def version(self, settings: Settings) -> str:
        """Return the engine's version, from what is installed."""
        return provision.installation(settings.home, self.engines[0]).version


def jvm(
    java: str,
    *,
    heap: str,
    scratch: Path,
    classpath: str,
    main: str,
    options: tuple[str, ...] = (),
    arguments: tuple[str, ...] = (),
) -> tuple[str, ...]:
    """Return a ``java`` command line for a small, foreground JVM.

    The serial collector has the smallest footprint on two cores; the heap starts small and grows to ``heap``.
    """
    return (
        java,
        f"-Xmx{heap}",
        "-Xms64m",
        "-XX:+UseSerialGC",
        "-XX:+ExitOnOutOfMemoryError",  # a broken JVM must die, so that the supervisor starts a sound one
        "-Djava.awt.headless=true",
        "-Duser.timezone=UTC",
        "-Dfile.encoding=UTF-8",
        f"-Djava.io.tmpdir={scratch}",
        *options,
        *(("-cp", classpath) if classpath else ()),
        *((main,) if main else ()),
        *arguments,
    )
