"""Quoting of identifiers and literals, one function per engine. A NUL is refused everywhere.

In Flink scripts ``${NAME}`` stands for a value that is put in when the script is submitted, secrets among
them. It belongs into literals; an identifier that looks like one is refused.
"""

from __future__ import annotations

from collections.abc import Iterable


def _clean(text: str) -> str:
    if "\x00" in text:
        raise ValueError(f"{text!r} holds a NUL character, which no engine can quote")
    return text


def mysql(name: str) -> str:
    """A MySQL identifier."""
    return f"`{_clean(name).replace('`', '``')}`"


def flink(*names: str) -> str:
    """A Flink SQL identifier; several names are joined by dots."""
    for name in names:
        if "${" in name:
            raise ValueError(f"{name!r} would be taken for a placeholder, and a secret put into its place")
    return ".".join(f"`{_clean(name).replace('`', '``')}`" for name in names)


def double(*names: str) -> str:
    """An identifier in double quotes (Cassandra, Trino); several names are joined by dots."""
    return ".".join(f'"{_clean(name).replace(chr(34), chr(34) * 2)}"' for name in names)


def literal(text: str) -> str:
    """A string literal in single quotes, for every engine used here (none of them reads backslashes)."""
    return f"'{_clean(text).replace(chr(39), chr(39) * 2)}'"


def options(pairs: Iterable[tuple[str, str]]) -> str:
    """The inside of a Flink ``WITH (...)``, one option per line."""
    return ",\n".join(f"  {literal(key)} = {literal(value)}" for key, value in pairs)
