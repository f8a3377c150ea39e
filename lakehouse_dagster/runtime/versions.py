"""The pin file `compose/versions.env`: which version of everything is installed.

The file is read by Docker Compose too, so its form is the common part of both: `KEY=VALUE` lines, `#`
comments, and double quotes around a value that holds spaces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from lakehouse_dagster.runtime.errors import RuntimeFailure
from lakehouse_dagster.runtime.settings import PROJECT

PIN_FILE = PROJECT / "compose" / "versions.env"
"""The only file that names versions of engines and jars."""

_LINE = re.compile(r'([A-Z][A-Z0-9_]*)=(?:"([^"]*)"|([^\s"#]+))\s*(?:#.*)?')


class Versions(Mapping[str, str]):
    """The pins, as a mapping from key to version; asking for an unknown key names the file to mend."""

    def __init__(self, pins: Mapping[str, str], path: Path) -> None:
        self._pins = dict(pins)
        self.path = path

    def __getitem__(self, key: str) -> str:
        try:
            return self._pins[key]
        except KeyError:
            raise RuntimeFailure(f"{self.path} does not pin {key}", f"add a line {key}=VERSION") from None

    def __contains__(self, key: object) -> bool:
        return key in self._pins

    def __iter__(self) -> Iterator[str]:
        return iter(self._pins)

    def __len__(self) -> int:
        return len(self._pins)


def parse_versions(text: str, path: Path = PIN_FILE) -> Versions:
    """Parse the text of a pin file; `path` is only for messages.

    Raises `RuntimeFailure` naming the line when a line is not `KEY=VALUE` or a key is there twice.
    """
    pins: dict[str, str] = {}
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise RuntimeFailure(f"{path}:{number}: {line[:60]!r} is not KEY=VALUE", "write KEY=VALUE")
        key = match[1]
        value = match[2] if match[2] is not None else match[3]
        if key in pins:
            raise RuntimeFailure(f"{path}:{number}: {key} is there twice", "remove one of the two lines")
        if not value.strip():
            raise RuntimeFailure(f"{path}:{number}: {key} is empty", "give it a version")
        pins[key] = value
    return Versions(pins, path)


def load_versions(path: Path | None = None) -> Versions:
    """Read the pin file (default: this checkout's).

    Raises `RuntimeFailure` when it cannot be read or a line is wrong.
    """
    file = path or PIN_FILE
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise RuntimeFailure(
            f"cannot read the pin file {file}: {error.strerror}", "restore it from git"
        ) from error
    return parse_versions(text, file)
