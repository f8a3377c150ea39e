"""Rows kept as digests by ranges of keys, with a hash of each range that does not depend on any order.

The keys' digests are cut into `RANGES` equal parts. The hash of a range is the sum of its rows' digests
modulo 2^128: whatever order two places hand out their rows in, the same rows have the same sum. So two sets
are compared by their sums first, and row by row only where those differ.

A row takes 44 bytes and its key's texts, which a difference has to be named by. Rows are spread over buckets
that live in memory up to a limit and beyond it in one unnamed temporary file, in pieces; memory holds the
limit plus one bucket of each set, whatever the number of rows.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Final, NamedTuple

from lakehouse_dagster.engines.closing import Closing
from lakehouse_dagster.proof.rowset import hashed, packed

RANGES: Final = 1024
BUCKETS: Final = 256
RANGES_IN_BUCKET: Final = RANGES // BUCKETS
_MODULUS: Final = 1 << 128
_HEAD: Final = struct.Struct("<16s16sqI")
_RANGE: Final = struct.Struct("<Q16s")
NO_POSITION: Final = -1
"""Stands for a row without a position: below every position there is."""


class Entry(NamedTuple):
    """One row: digests of its key and of all its values, its position (or `NO_POSITION`), its packed key."""

    key: bytes
    values: bytes
    position: int
    packed_key: bytes


def range_of(key: bytes) -> int:
    """The range that a key's digest lies in."""
    return key[0] << 2 | key[1] >> 6


@dataclass(frozen=True)
class RangeSums:
    """Rows, and sum of their digests modulo 2^128, of each of the `RANGES` ranges."""

    rows: tuple[int, ...]
    sums: tuple[int, ...]

    def dump(self) -> bytes:
        """As they are kept: 24 bytes per range."""
        return b"".join(
            _RANGE.pack(count, total.to_bytes(16, "little"))
            for count, total in zip(self.rows, self.sums, strict=True)
        )

    @classmethod
    def load(cls, content: bytes) -> RangeSums:
        """Read what `dump` wrote; ValueError when it is no such thing."""
        if len(content) != RANGES * _RANGE.size:
            raise ValueError(f"{len(content)} bytes are not the sums of {RANGES} ranges")
        pairs = list(_RANGE.iter_unpack(content))
        return cls(tuple(p[0] for p in pairs), tuple(int.from_bytes(p[1], "little") for p in pairs))

    def differing(self, other: RangeSums) -> list[int]:
        """The ranges whose rows are not the same."""
        return [
            number
            for number in range(RANGES)
            if self.sums[number] != other.sums[number] or self.rows[number] != other.rows[number]
        ]


class RangedRows(Closing):
    """The rows of one table in one place. Add all rows, then read bucket by bucket; close when done."""

    def __init__(self, *, memory_bytes: int = 64 << 20) -> None:
        self.rows = 0
        self._limit = max(_HEAD.size, memory_bytes // BUCKETS)
        self._memory = [bytearray() for _ in range(BUCKETS)]
        self._pieces: list[list[tuple[int, int]]] = [[] for _ in range(BUCKETS)]
        self._file: IO[bytes] | None = None
        self._end = 0
        self._counts = [0] * RANGES
        self._sums = [0] * RANGES
        self._newest = [NO_POSITION] * RANGES

    def close(self) -> None:
        """Forget the rows and delete the temporary file; the sums stay."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._memory = [bytearray() for _ in range(BUCKETS)]
        self._pieces = [[] for _ in range(BUCKETS)]

    @property
    def spilled(self) -> int:
        """Bytes in the temporary file."""
        return self._end

    @property
    def sums(self) -> RangeSums:
        """The hashes of all ranges."""
        return RangeSums(tuple(self._counts), tuple(total % _MODULUS for total in self._sums))

    def newest(self, number: int) -> int:
        """The greatest position in a range."""
        return self._newest[number]

    def add(
        self, key: Sequence[str | None], values: Sequence[str | None], position: int | None = None
    ) -> None:
        """Add a row by the canonical texts of its key and of all its values."""
        packed_key = packed(key)
        self.add_entry(
            hashed(packed_key),
            hashed(packed(values)),
            NO_POSITION if position is None else position,
            packed_key,
        )

    def add_entry(self, key: bytes, values: bytes, position: int, packed_key: bytes) -> None:
        """Add a row by its digests."""
        number = key[0] << 2 | key[1] >> 6
        self._counts[number] += 1
        self._sums[number] += int.from_bytes(values, "little")
        if position > self._newest[number]:
            self._newest[number] = position
        self.rows += 1
        memory = self._memory[key[0]]
        memory += _HEAD.pack(key, values, position, len(packed_key))
        memory += packed_key
        if len(memory) >= self._limit:
            self._spill(key[0])

    def bucket(self, number: int) -> Iterator[Entry]:
        """The rows of one bucket, which holds `RANGES_IN_BUCKET` ranges, in the order they were added."""
        if self._file is not None:
            for start, size in self._pieces[number]:
                self._file.seek(start)
                yield from _entries(self._file.read(size))
        yield from _entries(bytes(self._memory[number]))

    def _spill(self, number: int) -> None:
        if self._file is None:
            # Unnamed: gone with the process, whatever happens to it. Closed in `close`.
            self._file = tempfile.TemporaryFile()  # noqa: SIM115
        memory = self._memory[number]
        self._file.seek(self._end)
        self._file.write(memory)
        self._pieces[number].append((self._end, len(memory)))
        self._end += len(memory)
        memory.clear()


def _entries(content: bytes) -> Iterator[Entry]:
    at, head = 0, _HEAD.size
    while at < len(content):
        key, values, position, length = _HEAD.unpack_from(content, at)
        at += head
        yield Entry(key, values, position, content[at : at + length])
        at += length
