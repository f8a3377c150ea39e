"""Lines of a YAML file's fields, for error messages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

import yaml

_PART: Final = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def field_path(parts: Sequence[str | int]) -> str:
    """``("views", 1, "columns", 3)`` -> ``views[1].columns[3]``."""
    path = ""
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def split_path(path: str) -> Iterator[str | int]:
    """The reverse of :func:`field_path`."""
    for name, index in _PART.findall(path):
        yield int(index) if index else name


def line_of(text: str, path: str) -> int | None:
    """1-based line of a field in a YAML document, or of its nearest parent; None if the text is not YAML.

    Args:
        text: The YAML text; its first document is meant.
        path: Field path such as ``attributes.views[1].columns[3]``.
    """
    try:
        node = next(iter(yaml.compose_all(text, Loader=yaml.SafeLoader)), None)
    except yaml.YAMLError:
        return None
    line: int | None = None
    for part in split_path(path):
        found: yaml.Node | None = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(part):
                    found, line = value, key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            found = node.value[part]
            line = found.start_mark.line + 1
        if found is None:
            break
        node = found
    return line
