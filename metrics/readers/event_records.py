"""The records of TensorBoard event files, found and checked many at once.

A record is its length (8 bytes), the masked CRC-32C of that (4), the data, and the data's (4). It
knows nothing of what is in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import repeat
from struct import Struct
from typing import TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from lmm_tui.metrics.series.growing_array import Ints

Bytes: TypeAlias = NDArray[np.uint8]

_HEADER = Struct("<Q")
_BEFORE, _AFTER = 12, 4
_CHECKED_BYTES = 1 << 16
"""Longer data is no scalars but a picture or a graph, and its checksum costs what reading would."""

_LONGEST = 1 << 62
"""A longer record is a damaged length, as the checksum will say; sums stay below 2**63."""

_POLYNOMIAL = 0x82F63B78  # CRC-32C (Castagnoli), reflected: RFC 3720, appendix B.4


@dataclass(frozen=True)
class Records:
    """Whole records at the start of some bytes."""

    data: Bytes
    starts: Ints
    """Where each record's data begins."""
    lengths: Ints
    consumed: int
    """Bytes up to the end of the last whole record, damaged ones included."""
    damaged: int
    """Records that were left out since their checksum is wrong."""
    lost: bool
    """Whether a length is damaged: where the next record begins, nobody knows."""

    def of_length(self, length: int) -> tuple[Ints, Bytes]:
        """Which records have this length, and their data, (n, length)."""
        at = np.flatnonzero(self.lengths == length)
        return at, _rows(self.data, self.starts[at], length)


def split(data: bytes) -> Records:
    """The records in `data`; a torn one at its end waits for the rest."""
    array = np.frombuffer(data, np.uint8)
    offsets, lengths = _walk(data)
    headers = _rows(array, offsets, 8)
    good = _masked_crc(headers) == _numbers(array, offsets + 8)
    count = len(good) if good.all() else int(good.argmin())
    lost = count < len(good)
    ends = offsets[:count] + lengths[:count] + _BEFORE + _AFTER
    whole = ends <= len(data)
    count = int(whole.sum())  # Only the last one can be torn.
    offsets, lengths = offsets[:count], lengths[:count]
    intact = _intact(array, offsets + _BEFORE, lengths)
    return Records(
        array,
        offsets[intact] + _BEFORE,
        lengths[intact],
        int(ends[count - 1]) if count else 0,
        int((~intact).sum()),
        lost,
    )


def _walk(data: bytes) -> tuple[Ints, Ints]:
    """Offset and length of each record as its header has it."""
    offsets, lengths = [], []
    read = _HEADER.unpack_from
    at, last = 0, len(data) - _BEFORE
    while at <= last:
        length = min(read(data, at)[0], _LONGEST)
        offsets.append(at)
        lengths.append(length)
        at += length + 16
    return np.array(offsets, np.int64), np.array(lengths, np.int64)


def _intact(data: Bytes, starts: Ints, lengths: Ints) -> NDArray[np.bool]:
    intact = np.ones(len(starts), bool)
    for length in np.unique(lengths).tolist():
        if length <= _CHECKED_BYTES:
            at = np.flatnonzero(lengths == length)
            stored = _numbers(data, starts[at] + length)
            intact[at] = _masked_crc(_rows(data, starts[at], length)) == stored
    return intact


def _rows(data: Bytes, starts: Ints, length: int) -> Bytes:
    """`length` bytes from each start, (n, length)."""
    if not len(starts) or not length:
        return np.empty((len(starts), length), np.uint8)
    rows: Bytes = sliding_window_view(data, length)[starts]
    return rows


def _numbers(data: Bytes, starts: Ints) -> NDArray[np.uint32]:
    """The little-endian 32-bit number at each start."""
    return _rows(data, starts, 4).view("<u4").ravel()


def _table(steps: int) -> NDArray[np.uint32]:
    """What so many bits do to a CRC, for each value of them."""
    table = np.arange(1 << steps, dtype=np.uint32)
    for _ in repeat(None, steps):
        odd = (table & 1).astype(bool)
        table >>= 1
        table[odd] ^= np.uint32(_POLYNOMIAL)
    return table


_PAIRS, _SINGLES = _table(16), _table(8)


def _masked_crc(rows: Bytes) -> NDArray[np.uint32]:
    """Of each row; the masking is TensorFlow's (core/lib/hash/crc32c.h)."""
    count, length = rows.shape
    crc = np.full(count, 0xFFFFFFFF, np.uint32)
    even = length - length % 2
    if even:
        pairs = np.ascontiguousarray(np.ascontiguousarray(rows[:, :even]).view("<u2").T)
        for column in pairs:
            crc = _PAIRS[(crc ^ column) & 0xFFFF] ^ (crc >> 16)
    if length % 2:
        crc = _SINGLES[(crc ^ rows[:, -1]) & 0xFF] ^ (crc >> 8)
    crc = ~crc
    masked = ((crc >> 15) | (crc << 17)) + np.uint32(0xA282EAD8)
    return masked.astype(np.uint32)


if __name__ == "__main__":
    check = np.frombuffer(b"123456789", np.uint8)[None]
    bare = ((_masked_crc(check) - np.uint32(0xA282EAD8)) << 15 |
            (_masked_crc(check) - np.uint32(0xA282EAD8)) >> 17)  # fmt: skip
    print(hex(int(bare[0])))
    assert bare[0] == 0xE3069283  # The check value of CRC-32C.
    header = _HEADER.pack(4)
    crc_of = lambda text: _masked_crc(np.frombuffer(text, np.uint8)[None]).tobytes()  # noqa: E731
    record = header + crc_of(header) + b"data" + crc_of(b"data")
    found = split(record + record[:-1] + b"?" + record[:9])
    print(found.starts.tolist(), found.damaged, found.consumed)
    assert (found.starts.tolist(), found.damaged, found.consumed) == ([12], 1, 40)
    print("=== 自测通过 ===")
