"""A Doris that somebody else runs (Docker Compose), and how this instance is told of it.

By environment variables, or by ``doris.json`` in the data folder, which every process of the instance finds,
also those that were started earlier; a variable wins over the file:

==============================================  ==========================  ==================================
variable                                        field of ``doris.json``     meaning
==============================================  ==========================  ==================================
``LAKEHOUSE_DORIS_HOST``                        ``host``                    the frontend; needed
``LAKEHOUSE_DORIS_PORT``                        ``port``                    its MySQL port (9030)
``LAKEHOUSE_DORIS_USER``                        ``user``                    an administrator (root)
``LAKEHOUSE_DORIS_PASSWORD_FILE``               ``password_file``           holds its password (none)
``LAKEHOUSE_DORIS_REPORTER_PASSWORD_FILE``      ``reporter_password_file``  holds the read-only user's
``LAKEHOUSE_DORIS_REPLICAS``                    ``replicas``                of each view (1)
``LAKEHOUSE_DORIS_S3_ENDPOINT``                 ``s3_endpoint``             object store, as Doris reaches it
``LAKEHOUSE_DORIS_NESSIE_URL``                  ``nessie_url``              Nessie, as Doris reaches it
==============================================  ==========================  ==================================
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError

from lakehouse_dagster.engines.endpoints import DorisEndpoint
from lakehouse_dagster.runtime.errors import RuntimeFailure
from lakehouse_dagster.runtime.settings import Settings

PREFIX = "LAKEHOUSE_DORIS_"
FILE = "doris.json"
_FIELDS = (
    *("host", "port", "user", "password_file", "reporter_password_file"),
    *("replicas", "s3_endpoint", "nessie_url"),
)


def load_doris(settings: Settings, environ: Mapping[str, str] | None = None) -> DorisEndpoint | None:
    """Return the Doris that is configured, None when none is.

    Raises ``RuntimeFailure`` when what is configured cannot be one.
    """
    env = os.environ if environ is None else environ
    path = settings.data / FILE
    found: dict[str, Any] = {**_from_file(path), **_from_environment(env)}
    if not found:
        return None
    where = f"{path} and the variables {PREFIX}*"
    if not found.get("host"):
        raise RuntimeFailure(f"Doris is configured without a host ({where})", f"set {PREFIX}HOST")
    for field in ("password", "reporter_password"):
        file = found.pop(f"{field}_file", None)
        if file:
            found[field] = _secret(Path(str(file)).expanduser())
    try:
        return DorisEndpoint.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        name = ".".join(map(str, first["loc"]))
        raise RuntimeFailure(
            f"Doris is configured wrongly ({where}): {name}: {first['msg']}", f"correct {name}"
        ) from None


def _from_environment(env: Mapping[str, str]) -> dict[str, Any]:
    known = {f"{PREFIX}{field.upper()}": field for field in _FIELDS}
    unknown = sorted(name for name in env if name.startswith(PREFIX) and name not in known)
    if unknown:
        raise RuntimeFailure(f"{unknown[0]} is not a setting", f"use one of {', '.join(known)}")
    return {field: env[name] for name, field in known.items() if env.get(name)}


def _from_file(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise RuntimeFailure(f"cannot read {path}: {error}", "correct it, or remove it") from error
    if not isinstance(found, dict) or not set(found) <= set(_FIELDS):
        raise RuntimeFailure(
            f"{path} is not an object of {', '.join(_FIELDS)}",
            "correct it; passwords stand in files of their own",
        )
    return found


def _secret(path: Path) -> SecretStr:
    try:
        return SecretStr(path.read_text(encoding="utf-8").rstrip("\r\n"))
    except OSError as error:
        raise RuntimeFailure(
            f"cannot read the password file {path}: {error.strerror}", "name a file that this user may read"
        ) from error
