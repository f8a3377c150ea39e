"""Sets of rows kept as digests, so that tables larger than memory can be compared.

A row is 32 bytes here: a 16-byte digest of its key and one of all its values. Rows are spread over buckets by
the first byte of the key's digest; buckets live in memory up to a limit and in temporary files beyond. Two
sets are compared bucket by bucket, so memory holds the limit plus one bucket of each.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import IO, Literal

from lakehouse_dagster.engines.closing import Closing

_DIGEST = 16
_RECORD = 2 * _DIGEST
BUCKETS = 64

Kind = Literal["missing", "extra", "different"]


def packed(values: Sequence[str | None]) -> bytes:
    """Canonical texts as bytes; None and every text differ, and so do ("ab", "c") and ("a", "bc")."""
    parts = []
    for value in values:
        if value is None:
            parts.append(b"-")
        else:
            raw = value.encode("utf-8", "surrogatepass")
            parts.append(b"%d:" % len(raw))
            parts.append(raw)
    return b"".join(parts)


def unpacked(content: bytes) -> tuple[str | None, ...]:
    """The texts behind `packed`."""
    values: list[str | None] = []
    at = 0
    while at < len(content):
        if content[at : at + 1] == b"-":
            values.append(None)
            at += 1
            continue
        colon = content.index(b":", at)
        end = colon + 1 + int(content[at:colon])
        values.append(content[colon + 1 : end].decode("utf-8", "surrogatepass"))
        at = end
    return tuple(values)


def digest(values: Sequence[str | None]) -> bytes:
    """A 16-byte digest of canonical texts; what `packed` tells apart has another one."""
    return hashed(packed(values))


def hashed(content: bytes) -> bytes:
    """The digest of packed texts."""
    return blake2b(content, digest_size=_DIGEST).digest()


class RowSet(Closing):
    """Digests of the rows of one table in one place. Add all rows, then compare; close when done."""

    def __init__(self, *, memory_bytes: int = 64 << 20) -> None:
        self.rows = 0
        self._limit = max(_RECORD, memory_bytes // BUCKETS)
        self._memory = [bytearray() for _ in range(BUCKETS)]
        self._files: list[IO[bytes] | None] = [None] * BUCKETS

    def close(self) -> None:
        """Forget everything and delete the temporary files."""
        for file in self._files:
            if file is not None:
                file.close()
        self._files = [None] * BUCKETS
        self._memory = [bytearray() for _ in range(BUCKETS)]

    def add(self, key: Sequence[str | None], values: Sequence[str | None]) -> None:
        """Add a row by the canonical texts of its key and of all its values."""
        self.add_digests(digest(key), digest(values))

    def add_digests(self, key: bytes, values: bytes) -> None:
        """Add a row by its digests."""
        number = key[0] % BUCKETS
        memory = self._memory[number]
        memory += key
        memory += values
        self.rows += 1
        if len(memory) >= self._limit:
            file = self._files[number]
            if file is None:
                # Unnamed: gone with the process, whatever happens to it. Closed in `close`.
                file = self._files[number] = tempfile.TemporaryFile()  # noqa: SIM115
            file.write(memory)
            memory.clear()

    def bucket(self, number: int) -> Iterator[tuple[bytes, bytes]]:
        """The (key, values) digests of one bucket, in the order they were added."""
        file = self._files[number]
        if file is not None:
            file.seek(0)
            while chunk := file.read(_RECORD * 4096):
                yield from _records(chunk)
            file.seek(0, 2)
        yield from _records(bytes(self._memory[number]))


def _records(chunk: bytes) -> Iterator[tuple[bytes, bytes]]:
    for at in range(0, len(chunk), _RECORD):
        yield chunk[at : at + _DIGEST], chunk[at + _DIGEST : at + _RECORD]


@dataclass(frozen=True)
class Comparison:
    """How a place differs from the source.

    `missing` rows are in the source only, `extra` ones in the place only (a second row of the same key
    counts as extra), `different` ones have the same key and another value. `keys` holds the digests of the
    differing keys, at most `limit` of each kind.
    """

    source_rows: int
    rows: int
    missing: int = 0
    extra: int = 0
    different: int = 0
    keys: dict[bytes, Kind] = field(default_factory=dict)

    @property
    def equal(self) -> bool:
        """True when nothing differs."""
        return not (self.missing or self.extra or self.different)


def compare(source: RowSet, place: RowSet, *, limit: int = 10_000) -> Comparison:
    """Compare two complete row sets; `limit` bounds how many differing keys of each kind are remembered."""
    counts: dict[Kind, int] = {"missing": 0, "extra": 0, "different": 0}
    keys: dict[bytes, Kind] = {}

    def note(key: bytes, kind: Kind) -> None:
        counts[kind] += 1
        if counts[kind] <= limit:
            keys.setdefault(key, kind)

    for number in range(BUCKETS):
        left = dict(source.bucket(number))
        seen: set[bytes] = set()
        for key, values in place.bucket(number):
            if key in seen or key not in left:
                note(key, "extra")
            elif left[key] != values:
                note(key, "different")
            seen.add(key)
        for key in left.keys() - seen:
            note(key, "missing")
    return Comparison(
        source_rows=source.rows,
        rows=place.rows,
        missing=counts["missing"],
        extra=counts["extra"],
        different=counts["different"],
        keys=keys,
    )
