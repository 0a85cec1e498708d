"""The records of a `.wandb` file, found and checked: a LevelDB log with a header of wandb's.

Blocks of 32 KiB hold pieces of records; a piece is its CRC-32, its length, its kind and data. It
knows nothing of what is in the records.
"""

from __future__ import annotations

import zlib
from struct import Struct

MAGIC = b":W&B\xe1\xbe\x00"
BLOCK = 1 << 15
BEGIN = len(MAGIC)
HEADER = Struct("<IHB")
FULL, FIRST, LAST = 1, 2, 4


class Frames:
    """Takes the bytes of a file in order and gives the whole records in them.

    A damaged piece is counted and costs what follows in its block, as its length is not to be
    trusted; a torn one at the end waits for the rest.
    """

    def __init__(self) -> None:
        self.offset = BEGIN
        """Where in the file the next bytes are expected from."""
        self.damaged = 0
        self._parts: list[bytes] = []

    def take(self, data: bytes) -> list[bytes]:
        """The records that end in `data`, which is at the offset; moves the offset behind them."""
        records: list[bytes] = []
        view, size = memoryview(data), len(data)
        at = 0
        while at < size:
            block_end = at + BLOCK - (self.offset + at) % BLOCK
            while at + HEADER.size <= block_end:
                if at + HEADER.size > size:
                    self.offset += at
                    return records
                crc, length, kind = HEADER.unpack_from(data, at)
                begin = at + HEADER.size
                end = begin + length
                if size < end <= block_end:
                    self.offset += at
                    return records
                if end > block_end or zlib.crc32(view[begin - 1 : end]) != crc:
                    self.damaged += 1
                    self._parts.clear()
                    break
                if kind == FULL and not self._parts:
                    records.append(data[begin:end])
                else:
                    self._join(kind, data[begin:end], records)
                at = end
            at = block_end
        self.offset += at
        return records

    def _join(self, kind: int, piece: bytes, records: list[bytes]) -> None:
        if kind == FULL:
            self._parts.clear()
            records.append(piece)
        elif kind == FIRST:
            self._parts = [piece]
        elif self._parts:  # Else the rest of a record whose beginning was damaged.
            self._parts.append(piece)
            if kind == LAST:
                records.append(b"".join(self._parts))
                self._parts.clear()


if __name__ == "__main__":

    def piece(kind: int, data: bytes) -> bytes:
        return HEADER.pack(zlib.crc32(bytes([kind]) + data), len(data), kind) + data

    log = piece(FULL, b"one") + piece(FIRST, b"tw") + piece(LAST, b"o") + piece(FULL, b"torn")
    frames = Frames()
    found = frames.take(log[:-2])
    print(found, "damaged:", frames.damaged)
    assert found == [b"one", b"two"] and not frames.damaged
    assert frames.take(log[frames.offset - len(MAGIC) :]) == [b"torn"]
    print("=== 自测通过 ===")
