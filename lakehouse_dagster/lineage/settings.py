"""Where lineage events go. Read from the environment, so that every process of an instance does the same.

``LAKEHOUSE_OPENLINEAGE_URL``
    Address of an OpenLineage backend, such as ``http://127.0.0.1:5000`` for Marquez. Unset: only the file.
``LAKEHOUSE_OPENLINEAGE_API_KEY_FILE``
    A file with the key that the backend wants as bearer token.
``LAKEHOUSE_OPENLINEAGE_NAMESPACE``
    Namespace of the jobs; ``lakehouse`` by default.
``LAKEHOUSE_OPENLINEAGE_DISABLED``
    ``true``: no event is made at all.

The file is ``lineage/events.jsonl`` below the instance's data folder (``LAKEHOUSE_DATA``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

URL: Final = "LAKEHOUSE_OPENLINEAGE_URL"
API_KEY_FILE: Final = "LAKEHOUSE_OPENLINEAGE_API_KEY_FILE"
NAMESPACE: Final = "LAKEHOUSE_OPENLINEAGE_NAMESPACE"
DISABLED: Final = "LAKEHOUSE_OPENLINEAGE_DISABLED"
VARIABLES: Final = (URL, API_KEY_FILE, NAMESPACE, DISABLED)
"""Variables that services get handed on from whoever starts them; none of them holds a secret."""


@dataclass(frozen=True)
class LineageSettings:
    """Where events go: always to files in ``folder``, and to ``url`` if there is one."""

    folder: Path
    url: str | None = None
    api_key_file: Path | None = None
    namespace: str = "lakehouse"
    enabled: bool = True

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> LineageSettings:
        """Read the settings from ``environ`` (default: this process's environment)."""
        env = os.environ if environ is None else environ
        project = Path(__file__).resolve().parents[2]
        data = Path(env.get("LAKEHOUSE_DATA") or project / ".lakehouse").expanduser()
        key_file = env.get(API_KEY_FILE)
        return cls(
            folder=data / "lineage",
            url=env.get(URL) or None,
            api_key_file=Path(key_file).expanduser() if key_file else None,
            namespace=env.get(NAMESPACE) or "lakehouse",
            enabled=env.get(DISABLED, "").strip().lower() not in ("true", "1", "yes"),
        )


def handed_on(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of this module that are set, for the services' environment."""
    env = os.environ if environ is None else environ
    return {name: env[name] for name in VARIABLES if env.get(name)}
