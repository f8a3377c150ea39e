"""What an installation consists of, written down when it is complete, so that damage is noticed later.

`MANIFEST` holds, per file: its size and SHA-256, or a symbolic link's target. Files that appear afterwards
(Python's byte code, for one) are no damage. The manifest is written last and the folder is renamed to its
final name after that: a folder under its final name is complete.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

MANIFEST: Final = ".manifest.json.gz"
_BLOCK = 1 << 20


def write_manifest(root: Path) -> int:
    """Record every file below `root`; return how many there are."""
    files = _walk(root)
    with ThreadPoolExecutor(max_workers=2) as pool:  # hashing releases the interpreter lock
        entries = dict(zip((str(f.relative_to(root)) for f in files), pool.map(_entry, files), strict=True))
    with gzip.open(root / MANIFEST, "wt", encoding="utf-8") as out:
        json.dump(entries, out, sort_keys=True, indent=0)
    return len(entries)


def check_manifest(root: Path, *, deep: bool = False) -> list[str]:
    """Compare `root` with its manifest and return the problems, one line each; none means intact.

    Sizes and link targets are always compared; `deep` also reads every file and compares its SHA-256.
    """
    try:
        with gzip.open(root / MANIFEST, "rt", encoding="utf-8") as source:
            entries: dict[str, dict[str, Any]] = json.load(source)
    except (OSError, EOFError, ValueError) as error:
        return [f"{root / MANIFEST} cannot be read: {error}"]
    problems: list[str] = []
    for name, entry in entries.items():
        path = root / name
        try:
            found = path.lstat()
        except FileNotFoundError:
            problems.append(f"{path} is missing")
            continue
        except OSError as error:
            problems.append(f"{path} cannot be read: {error.strerror}")
            continue
        if "link" in entry:
            if not path.is_symlink() or _link(path) != entry["link"]:
                problems.append(f"{path} is no longer a link to {entry['link']}")
            elif entry["leads"] and not path.exists():
                problems.append(f"{path} points at {entry['link']}, which is gone")
        elif found.st_size != entry["size"]:
            problems.append(f"{path} has {found.st_size} bytes instead of {entry['size']}")
        elif deep and _sha256(path) != entry["sha256"]:
            problems.append(f"{path} has changed (its SHA-256 differs)")
    return problems


def _walk(root: Path) -> list[Path]:
    found: list[Path] = []
    for folder, subfolders, files in os.walk(root):
        here = Path(folder)
        # Links to folders are recorded, not followed.
        found += [here / name for name in subfolders if (here / name).is_symlink()]
        subfolders[:] = [name for name in subfolders if name != "__pycache__"]
        found += [here / name for name in files if name != MANIFEST]
    return sorted(found)


def _entry(path: Path) -> dict[str, Any]:
    if path.is_symlink():
        # Some packages ship links that point nowhere; only a link that led somewhere can break.
        return {"link": _link(path), "leads": path.exists()}
    return {"size": path.stat().st_size, "sha256": _sha256(path)}


def _link(path: Path) -> str:
    return os.readlink(path)  # noqa: PTH115 - the text as it stands


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while block := source.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
