"""The shape that is in force: the lock that people have committed, continued by what was applied since.

``schema.lock.json`` in a pipeline's folder belongs to people and to git, and may be read-only: the platform
never writes it. What it has applied by itself, or with somebody's approval, is a file in the data folder,
``schemas/<pipeline>.json``: the whole lock of now, and the digests of the locks that it continues.

* The folder's lock is one of those that the file continues: the file is in force. People are told to commit
  it (``lakehouse lock`` writes the same into the folder).
* The folder's lock is the file's own: it was committed, and both say the same.
* The folder's lock is any other: somebody has changed it since, and what people say is in force; the file is
  left aside.

Nothing depends on clocks or on which file is newer.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.contract.errors import ContractError
from lakehouse_dagster.contract.schema import LOCK_FILE, SchemaLock

FORMAT: Final = 1

State = Literal["committed", "ahead", "set aside"]
"""How the folder and the file stand to one another."""


@dataclass(frozen=True)
class Applied:
    """What the platform has applied.

    Attributes:
        pipeline: The pipeline.
        version: Grows by one with every change.
        continues: Digests of the locks that it continues, the oldest first.
        lock: The lock as it is now.
        stopped: Tables that do not flow, with the reason.
    """

    pipeline: str
    version: int
    continues: tuple[str, ...]
    lock: SchemaLock
    stopped: Mapping[str, str] = field(default_factory=dict)

    def dump(self) -> str:
        """The file's text."""
        content = {
            "format": FORMAT,
            "pipeline": self.pipeline,
            "version": self.version,
            "continues": list(self.continues),
            "stopped": dict(sorted(self.stopped.items())),
            "lock": json.loads(self.lock.dump()),
        }
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def parse(cls, text: str, file: str) -> Applied:
        """Read a file's text; raises ``ContractError`` when it is none."""
        fix = "delete it to go back to the committed lock, then look at `lakehouse schema diff PIPELINE`"
        try:
            body: dict[str, Any] = json.loads(text)
            if body["format"] != FORMAT:
                raise ContractError(file, "format", f"{body['format']} is not {FORMAT}", fix)
            return cls(
                pipeline=str(body["pipeline"]),
                version=int(body["version"]),
                continues=tuple(map(str, body["continues"])),
                lock=SchemaLock.parse(json.dumps(body["lock"]), file),
                stopped={str(name): str(why) for name, why in body["stopped"].items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, ContractError):
                raise
            raise ContractError(file, "", f"is not what the platform has written: {error!r}", fix) from error


@dataclass(frozen=True)
class InForce:
    """The lock in force, the tables that do not flow, and where it comes from."""

    lock: SchemaLock
    stopped: Mapping[str, str]
    state: State


def digest(lock: SchemaLock) -> str:
    """16 hex digits that stand for a lock's whole content."""
    return hashlib.sha256(lock.dump().encode()).hexdigest()[:16]


def in_force(committed: SchemaLock, applied: Applied | None) -> InForce:
    """Decide between the folder's lock and what was applied."""
    if applied is None:
        return InForce(committed, {}, "committed")
    name = digest(committed)
    if name == digest(applied.lock):
        return InForce(committed, applied.stopped, "committed")
    if name in applied.continues:
        return InForce(applied.lock, applied.stopped, "ahead")
    return InForce(committed, {}, "set aside")


def advanced(
    pipeline: str,
    committed: SchemaLock,
    applied: Applied | None,
    lock: SchemaLock,
    stopped: Mapping[str, str],
) -> Applied:
    """What is to be stored once ``lock`` is applied on top of what is in force."""
    continues: Iterable[str] = (digest(committed),)
    if applied is not None and in_force(committed, applied).state != "set aside":
        continues = (*applied.continues, digest(applied.lock), digest(committed))
    new = digest(lock)
    return Applied(
        pipeline=pipeline,
        version=applied.version + 1 if applied is not None else 1,
        # A lock does not continue itself, as it would after a change that was taken back.
        continues=tuple(dict.fromkeys(name for name in continues if name != new)),
        lock=lock,
        stopped=dict(stopped),
    )


# --- the file -------------------------------------------------------------------------------------


def applied_path(pipeline: str, data: Path | None = None) -> Path:
    """Where the file of a pipeline is; ``data`` is the instance's data folder, by default that of
    ``LAKEHOUSE_DATA``.
    """
    if data is None:
        project = Path(__file__).resolve().parents[2]
        data = Path(os.environ.get("LAKEHOUSE_DATA") or project / ".lakehouse").expanduser()
    return data / "schemas" / f"{pipeline}.json"


def load(pipeline: str, data: Path | None = None) -> Applied | None:
    """Read what was applied; None when nothing was. Raises ``ContractError`` when the file is broken."""
    path = applied_path(pipeline, data)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    found = Applied.parse(text, str(path))
    if found.pipeline != pipeline:
        raise ContractError(
            str(path), "pipeline", f"is {found.pipeline!r}, not {pipeline!r}", "delete the file"
        )
    return found


def store(applied: Applied, data: Path | None = None) -> Path:
    """Write what was applied: afterwards it is there, or the one before still is."""
    path = applied_path(applied.pipeline, data)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    with draft.open("w", encoding="utf-8") as file:
        file.write(applied.dump())
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    return path


def look(folder: Path, pipeline: str, data: Path | None = None) -> InForce:
    """What is in force now; the files are read only when they have changed.

    Raises ``ContractError`` when either is broken, or the folder has no lock.
    """
    path = applied_path(pipeline, data)
    key = (folder, path)
    seen = (_mark(folder / LOCK_FILE), _mark(path))
    known = _KNOWN.get(key)
    if known is None or known[0] != seen:
        # Marked before they are read: a change in between is read once more.
        known = (seen, in_force(SchemaLock.load(folder), load(pipeline, data)))
        _KNOWN[key] = known
    return known[1]


_Mark = tuple[int, int, int] | None
_KNOWN: dict[tuple[Path, Path], tuple[tuple[_Mark, _Mark], InForce]] = {}


def _mark(path: Path) -> _Mark:
    """What changes whenever a file does; None when it is not there."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def current(contract: Contract, data: Path | None = None) -> Contract:
    """The contract with the lock in force now, and the tables that are stopped now.

    A long-lived process has a contract from when it was loaded. It is given back as it is when nothing was
    applied since, or when the folder no longer fits it: then only loading it anew helps.
    """
    found = look(contract.folder, contract.name, data)
    names = {table.name for table in contract.tables}
    stopped = {table: why for table, why in found.stopped.items() if table in names}
    if not names <= found.lock.tables.keys() or (found.lock, stopped) == (
        contract.lock,
        dict(contract.stopped),
    ):
        return contract
    return replace(contract, lock=found.lock, stopped=stopped)
