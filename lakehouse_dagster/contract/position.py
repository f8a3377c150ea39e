"""The source position: one totally ordered int64 for each change of a MySQL server.

Paimon compares it (``sequence.field``), Cassandra takes it as write timestamp and CouchDB's writer decides by
it. The layout, from the most significant bit of 63 (the sign bit stays 0):

======  ====  =================================================================================
part    bits  meaning
======  ====  =================================================================================
epoch      4  raised on purpose when the source is reset or fails over (0..15)
file      19  number of the binlog file, the digits after its last dot (0..524287)
pos       28  byte position of the event in that file, in units of 16 bytes (up to 4 GiB)
row       12  index of the row inside a multi-row event (0..4095)
======  ====  =================================================================================

Units of 16 bytes lose nothing: the header alone of a binlog event takes 19 bytes, so two events of one file
never share a unit and their order is kept. The same layout is in Java
(``io.lakehouse.flink.SourcePosition``).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from lakehouse_dagster.contract.errors import PositionOverflow

EPOCH_BITS: Final = 4
FILE_BITS: Final = 19
POS_BITS: Final = 28
ROW_BITS: Final = 12
POS_UNIT: Final = 16
"""Bytes in one unit of the ``pos`` part."""

_ROW_SHIFT: Final = 0
_POS_SHIFT: Final = ROW_BITS
_FILE_SHIFT: Final = _POS_SHIFT + POS_BITS
_EPOCH_SHIFT: Final = _FILE_SHIFT + FILE_BITS

MAX_POSITION: Final = (1 << (EPOCH_BITS + FILE_BITS + POS_BITS + ROW_BITS)) - 1


class Position(NamedTuple):
    """A decoded source position; ``pos`` is rounded down to a multiple of 16 bytes."""

    epoch: int
    file_number: int
    pos: int
    row: int


def _checked(name: str, value: int, bits: int, shown: int | None = None) -> int:
    if not 0 <= value < (1 << bits):
        raise PositionOverflow(
            f"source position: {name} {value if shown is None else shown} does not fit {bits} bits"
            f"{f' of {POS_UNIT}-byte units' if name == 'pos' else ''}; "
            "start a new epoch after resetting the source's binary log, or split the transaction"
        )
    return value


def encode(epoch: int, file_number: int, pos: int, row: int) -> int:
    """Encode a position into one non-negative int64.

    Args:
        epoch: 0..15, from the contract's ``source.epoch``.
        file_number: Number of the binlog file, see :func:`file_number`.
        pos: Byte position of the event in the file, 0..2^32-1.
        row: Row index inside the event, 0..4095.

    Raises:
        PositionOverflow: A part is negative or does not fit.
    """
    return (
        _checked("epoch", epoch, EPOCH_BITS) << _EPOCH_SHIFT
        | _checked("file", file_number, FILE_BITS) << _FILE_SHIFT
        | _checked("pos", pos // POS_UNIT, POS_BITS, pos) << _POS_SHIFT
        | _checked("row", row, ROW_BITS) << _ROW_SHIFT
    )


def decode(position: int) -> Position:
    """Decode an encoded position.

    Raises:
        PositionOverflow: The number is negative or uses the sign bit.
    """
    if not 0 <= position <= MAX_POSITION:
        raise PositionOverflow(f"{position} is not an encoded source position")
    return Position(
        epoch=position >> _EPOCH_SHIFT,
        file_number=(position >> _FILE_SHIFT) & ((1 << FILE_BITS) - 1),
        pos=((position >> _POS_SHIFT) & ((1 << POS_BITS) - 1)) * POS_UNIT,
        row=position & ((1 << ROW_BITS) - 1),
    )


def file_number(file: str) -> int:
    """Number of a binlog file: ``binlog.000012`` -> 12.

    Raises:
        ValueError: The name does not end in a dot and digits.
    """
    _, dot, digits = file.rpartition(".")
    if not dot or not (digits.isascii() and digits.isdigit()):
        raise ValueError(f"{file!r} is not the name of a binary log file (expected name.000001)")
    return int(digits)
