"""Which instance we speak of: project, cache of installed engines, data folder and ports.

Three environment variables select it, all optional:

``LAKEHOUSE_HOME``
    Cache of installed engines, shared by checkouts and instances. Default ``~/.cache/lakehouse``.
``LAKEHOUSE_DATA``
    Data, logs, credentials and run files of this instance. Default ``<project>/.lakehouse``.
``LAKEHOUSE_PORT_OFFSET``
    Added to every port, so that several instances run side by side. Default 0.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lakehouse_dagster.runtime.errors import RuntimeFailure
from lakehouse_dagster.runtime.ports import DEFAULT_PORTS, HOST, MAX_OFFSET

PROJECT = Path(__file__).resolve().parents[2]
"""The repository's root: the parent of the package."""


@dataclass(frozen=True)
class Settings:
    """The paths and ports of one instance; immutable, cheap, and free of side effects."""

    project: Path
    home: Path
    data: Path
    port_offset: int = 0

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the settings from ``environ`` (default: this process's environment).

        Raises ``RuntimeFailure`` when ``LAKEHOUSE_PORT_OFFSET`` is no whole number from 0 to ``MAX_OFFSET``.
        """
        env = os.environ if environ is None else environ
        home = env.get("LAKEHOUSE_HOME") or "~/.cache/lakehouse"
        data = env.get("LAKEHOUSE_DATA") or str(PROJECT / ".lakehouse")
        text = env.get("LAKEHOUSE_PORT_OFFSET") or "0"
        try:
            offset = int(text)
        except ValueError:
            offset = -1
        if not 0 <= offset <= MAX_OFFSET:
            raise RuntimeFailure(
                f"LAKEHOUSE_PORT_OFFSET={text!r} is not a whole number from 0 to {MAX_OFFSET}",
                "unset it, or choose for example LAKEHOUSE_PORT_OFFSET=10000",
            )
        return cls(project=PROJECT, home=_absolute(home), data=_absolute(data), port_offset=offset)

    @property
    def host(self) -> str:
        """The only address any engine is bound to."""
        return HOST

    def port(self, service: str) -> int:
        """Return the port of ``service`` (a key of ``DEFAULT_PORTS``), moved by the offset."""
        return DEFAULT_PORTS[service] + self.port_offset

    def url(self, service: str) -> str:
        """Return the ``http://`` address of ``service``, without a trailing slash."""
        return f"http://{HOST}:{self.port(service)}"

    @property
    def logs(self) -> Path:
        """Folder of the services' logs."""
        return self.data / "logs"

    @property
    def run(self) -> Path:
        """Folder of rendered configuration; rewritten at every ``up``."""
        return self.data / "run"

    @property
    def secrets_file(self) -> Path:
        """The file of generated credentials (mode 0600)."""
        return self.data / "secrets.json"

    @property
    def sockets(self) -> Path:
        """Private folder of unix sockets.

        Not inside ``data``: a unix socket's path is limited to about 107 bytes and a checkout may lie deep.
        """
        digest = hashlib.sha256(os.fsencode(self.data)).hexdigest()[:12]
        return Path("/tmp") / f"lakehouse-{os.getuid()}-{digest}"  # noqa: S108 - created 0700, owner checked

    @property
    def flink_client_socket(self) -> Path:
        """Where the warm Flink client listens."""
        return self.sockets / "flink-client.sock"

    def environment(self) -> dict[str, str]:
        """Return the variables that make a child process find this same instance."""
        return {
            "LAKEHOUSE_HOME": str(self.home),
            "LAKEHOUSE_DATA": str(self.data),
            "LAKEHOUSE_PORT_OFFSET": str(self.port_offset),
            "DAGSTER_HOME": str(self.data / "dagster"),
        }


def _absolute(text: str) -> Path:
    return Path(text).expanduser().absolute()
