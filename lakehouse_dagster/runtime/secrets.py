"""Credentials of one instance: generated once, kept in one file of mode 0600, never printed or logged.

One password per engine and identity. Names of users are constants in ``runtime.endpoints``.
"""

from __future__ import annotations

import json
import os
import secrets as random_source
import stat
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from lakehouse_dagster.runtime.errors import RuntimeFailure


def _password() -> SecretStr:
    # Hexadecimal on purpose: needs no quoting in SQL, YAML, INI, properties, shells or URLs.
    return SecretStr(random_source.token_hex(16))


class Secrets(BaseModel):
    """Every password of the instance. A later version may add some: ``create_secrets`` completes the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mysql_root: SecretStr = Field(default_factory=_password)
    mysql: SecretStr = Field(default_factory=_password)
    mysql_cdc: SecretStr = Field(default_factory=_password)
    mysql_reader: SecretStr = Field(default_factory=_password)
    mysql_prober: SecretStr = Field(default_factory=_password)
    postgres_superuser: SecretStr = Field(default_factory=_password)
    postgres_dagster: SecretStr = Field(default_factory=_password)
    postgres_nessie: SecretStr = Field(default_factory=_password)
    s3_access_key: SecretStr = Field(default_factory=lambda: SecretStr("lake" + random_source.token_hex(8)))
    """With ``s3_secret_key`` the root of the object store: makes the other identities, and nothing else."""
    s3_secret_key: SecretStr = Field(default_factory=_password)
    s3_platform: SecretStr = Field(default_factory=_password)
    s3_flink: SecretStr = Field(default_factory=_password)
    s3_nessie: SecretStr = Field(default_factory=_password)
    s3_trino: SecretStr = Field(default_factory=_password)
    s3_reader: SecretStr = Field(default_factory=_password)
    cassandra_superuser: SecretStr = Field(default_factory=_password)
    cassandra: SecretStr = Field(default_factory=_password)
    cassandra_writer: SecretStr = Field(default_factory=_password)
    cassandra_reader: SecretStr = Field(default_factory=_password)
    couchdb: SecretStr = Field(default_factory=_password)
    couchdb_writer: SecretStr = Field(default_factory=_password)
    couchdb_reader: SecretStr = Field(default_factory=_password)


def load_secrets(path: Path) -> Secrets:
    """Read the credentials in ``path``.

    Raises ``RuntimeFailure`` when the file is missing, readable by others, owned by someone else or damaged,
    and when an earlier version wrote it, which knew fewer identities: `lakehouse up` completes it and tells
    the engines.
    """
    secrets = _read(path)
    missing = Secrets.model_fields.keys() - secrets.model_fields_set
    if missing:
        raise RuntimeFailure(
            f"{path} was written by an earlier version and lacks {', '.join(sorted(missing))}",
            "run `lakehouse up`, which adds what is missing and makes the users",
        )
    return secrets


def _read(path: Path) -> Secrets:
    """Return what the file holds: ``model_fields_set``; the rest was generated just now."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise RuntimeFailure(
            f"{path} does not exist: this instance was never started", "run `lakehouse up` first"
        ) from None
    except OSError as error:
        raise RuntimeFailure(
            f"cannot read {path}: {error.strerror}", "run as the user who started the instance"
        ) from error
    with os.fdopen(descriptor, encoding="utf-8") as file:
        status = os.fstat(file.fileno())
        if stat.S_IMODE(status.st_mode) & 0o077 or status.st_uid != os.getuid():
            raise RuntimeFailure(
                f"{path} must belong to you and be readable by you alone "
                f"(owner {status.st_uid}, mode {stat.S_IMODE(status.st_mode):04o})",
                f"chown {os.getuid()} {path} && chmod 600 {path}",
            )
        text = file.read()
    try:
        return Secrets.model_validate_json(text)
    except ValidationError as error:
        # Never echo the input: it holds passwords.
        where = ", ".join(
            ".".join(map(str, item["loc"])) or "file" for item in error.errors(include_input=False)
        )
        raise RuntimeFailure(
            f"{path} is damaged ({where})",
            "restore it from a copy, or `lakehouse reset` to start from nothing",
        ) from None


def create_secrets(path: Path) -> Secrets:
    """Return the credentials in ``path``; generate and store them first when there are none.

    The file appears whole or not at all, of mode 0600 from its first byte. What an existing one holds is
    never changed; passwords that it lacks, because an earlier version wrote it, are generated and added. The
    caller holds the instance's lock: nobody else adds to the file meanwhile.
    """
    if path.exists():
        secrets = _read(path)
        if Secrets.model_fields.keys() - secrets.model_fields_set:
            _store(path, secrets, Path.replace)
        return load_secrets(path)
    secrets = Secrets()
    try:
        _store(path, secrets, os.link)  # fails when somebody was faster, unlike replacing
    except FileExistsError:
        return load_secrets(path)
    return secrets


def _store(path: Path, secrets: Secrets, put: Callable[[Path, Path], object]) -> None:
    """Write a file of mode 0600 beside ``path`` and ``put`` it there."""
    plain = {name: getattr(secrets, name).get_secret_value() for name in Secrets.model_fields}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{random_source.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(plain, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        put(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
