"""Comparing the locked schema with the source's own."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from lakehouse_dagster.contract.errors import ContractError
from lakehouse_dagster.contract.loader import DEFS_FILE, is_pipeline, read_pipeline
from lakehouse_dagster.contract.schema import LOCK_FILE, SchemaLock


@dataclass(frozen=True)
class LockChange:
    """A new lock beside the one in the folder.

    Attributes:
        path: The lock file.
        new: The source's schema now.
        diff: Unified diff from the old to the new text; empty when nothing changed.
    """

    path: Path
    new: SchemaLock
    diff: str


def compare(folder: Path, new: SchemaLock) -> LockChange:
    """Compare the source's schema with a folder's lock, which may be missing or broken."""
    path = folder / LOCK_FILE
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    diff = "".join(
        difflib.unified_diff(
            old.splitlines(keepends=True),
            new.dump().splitlines(keepends=True),
            fromfile=f"{LOCK_FILE} (locked)",
            tofile=f"{LOCK_FILE} (source)",
        )
    )
    return LockChange(path=path, new=new, diff=diff)


def pipeline_folder(name: str, defs_root: Path) -> Path:
    """Folder of a pipeline by its name in ``defs.yaml``, or by the folder's own name.

    Its lock and marts need not be right yet: this is what ``lakehouse lock`` starts from.

    Raises:
        ContractError: There is no such pipeline; names the ones there are.
    """
    names: list[str] = []
    for defs in sorted(defs_root.rglob(DEFS_FILE)):
        if not is_pipeline(defs):
            continue
        if defs.parent.name == name or read_pipeline(defs).name == name:
            return defs.parent
        names.append(read_pipeline(defs).name)
    near = difflib.get_close_matches(name, names, n=1)
    raise ContractError(
        str(defs_root),
        "",
        f"there is no pipeline {name!r}",
        f"did you mean {near[0]!r}?" if near else f"name one of: {', '.join(names) or 'none yet'}",
    )
