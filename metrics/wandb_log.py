"""The history in a `.wandb` file of Weights & Biases, followed while it is written, without wandb.

The file is a LevelDB log (blocks of 32 KiB; a record is its CRC-32, its length, its type and data)
of protocol buffers. It knows of these only what leads to the numbers of a step.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from struct import Struct

import orjson

from metrics.log_lines import OURS
from metrics.rows import Row, add_rows
from metrics.series import INDEX_KEYS, SeriesStore

_BLOCK = 1 << 15
_CHUNK_BYTES = 32 * _BLOCK
_MAGIC = b":W&B\xe1\xbe\x00"
_HEADER = Struct("<IHB")
_FULL, _FIRST, _LAST = 1, 2, 4
# Record: 12 <History>; History: 0a <Item>; Item: [0a key] [12 nested_key]* 82 01 value_json.
_HISTORY, _ITEM, _KEY, _NESTED, _JSON = 2, 1, 1, 2, 16


def find_wandb_file(folder: Path) -> Path | None:
    """The log in the folder of a run of wandb's, or None."""
    return next((path for path in sorted(folder.glob("run-*.wandb")) if path.is_file()), None)


class WandbFollower:
    """Keeps a store up to date with one file.

    A damaged record is counted and costs what follows in its block, as its length is not to be
    trusted; a torn one at the end waits for the rest.
    """

    def __init__(self, path: Path, store: SeriesStore) -> None:
        self.bad_lines = 0
        """Records that could not be read."""
        self.behind = False
        """Whether the file holds more than has been read so far."""
        self._path = path
        self._store = store
        self._offset = len(_MAGIC)
        self._parts: list[bytes] = []
        self._seen: tuple[int, int, int] | None = None
        self._names: dict[bytes, str] = {}

    def poll(self, budget_s: float | None = None) -> bool:
        """Read what is new, for at most about `budget_s` seconds; True where that was anything."""
        deadline = None if budget_s is None else time.perf_counter() + budget_s
        before = self._store.version, self.bad_lines
        try:
            found = self._path.stat()
            seen = found.st_ino, found.st_size, found.st_mtime_ns
            if seen == self._seen and not self.behind:
                return False
            if self._seen and (seen[0] != self._seen[0] or seen[1] < self._seen[1]):
                self._start_over()
            self._seen = seen
            with self._path.open("rb", buffering=0) as file:
                self.behind = True
                while self.behind:
                    file.seek(self._offset)
                    data = file.read(_CHUNK_BYTES - self._offset % _BLOCK)
                    self.behind = self._offset + len(data) < seen[1]
                    rows = [row for record in self._records(data) if (row := self._row(record))]
                    self.bad_lines += add_rows(self._store, rows)
                    if deadline and time.perf_counter() >= deadline:
                        break
        except OSError:
            self.behind = False
        return (self._store.version, self.bad_lines) != before

    def _start_over(self) -> None:
        self._offset = len(_MAGIC)
        self._parts.clear()
        self._store.clear()
        self.bad_lines = 0

    def _records(self, data: bytes) -> Iterator[bytes]:
        """Whole records in `data`, which is at the offset; moves the offset behind them."""
        base, at = self._offset, 0
        while at < len(data):
            room = _BLOCK - (base + at) % _BLOCK
            if room < _HEADER.size:  # The end of a block that is too small for a header.
                at += room
                continue
            if at + _HEADER.size > len(data):
                break
            crc, length, kind = _HEADER.unpack_from(data, at)
            end = at + _HEADER.size + length
            fits = _HEADER.size + length <= room
            if fits and end > len(data):
                break
            if not fits or zlib.crc32(data[at + 6 : end]) != crc:
                self.bad_lines += 1
                self._parts.clear()
                at += room
                continue
            if kind in (_FULL, _FIRST):
                self._parts.clear()
            elif not self._parts:
                at = end  # The rest of a record whose beginning was damaged.
                continue
            self._parts.append(data[at + _HEADER.size : end])
            at = end
            if kind in (_FULL, _LAST):
                yield b"".join(self._parts)
                self._parts.clear()
        self._offset = base + at

    def _row(self, record: bytes) -> Row | None:
        """The numbers of a step, or None where the record holds none."""
        try:
            history = dict(_fields(record)).get(_HISTORY)
            if history is None:
                return None
            names, values = [], []
            for field, item in _fields(history):
                if field == _ITEM:
                    name, value = self._item(item)
                    names.append(name)
                    values.append(value)
            found = _values(b"[" + b",".join(values) + b"]")
            pairs = list(zip(names, found, strict=True))
        except (ValueError, IndexError, RecursionError):
            self.bad_lines += 1
            return None
        return dict(reversed(pairs)) or None  # Of two that mean the same, the first one counts.

    def _item(self, item: bytes) -> tuple[str, bytes]:
        """A name of ours, and a value as JSON."""
        if item[0] in (0x0A, 0x12) and item[1] < 0x80:
            end = 2 + item[1]
            if item[end : end + 2] == b"\x82\x01" and item[end + 2] < 0x80:
                key = item[2:end]
                name = self._names.get(key)
                if name is None:
                    name = self._names[key] = _our_name(key.decode("utf-8", "replace"))
                return name, item[end + 3 :]
        parts, value = [], b"null"
        for field, data in _fields(item):
            if field in (_KEY, _NESTED):
                parts.append(data.decode("utf-8", "replace"))
            elif field == _JSON:
                value = data
        return _our_name(".".join(parts)), value


def _our_name(key: str) -> str:
    known = {"_step": "step", "_timestamp": "time"}.get(key) or OURS.get(key.lower(), key)
    return f"wandb/{key}" if key in INDEX_KEYS else known


def _values(text: bytes) -> list[object]:
    """Of a JSON array; NaN and Infinity, which wandb writes bare, are values."""
    try:
        found = orjson.loads(text)
    except ValueError:
        found = json.loads(text.decode("utf-8"))
    return list(found)


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The fields of a message that hold bytes. Raises IndexError or ValueError where broken."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 2:
            length, at = _varint(data, at)
            if at + length > len(data):
                raise ValueError("a field is longer than its message")
            yield tag >> 3, data[at : at + length]
            at += length
        elif kind == 0:
            _, at = _varint(data, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError(f"no such kind of field: {kind}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number, and where it ends."""
    value, shift = data[at] & 0x7F, 7
    while data[at] >= 0x80:
        at += 1
        value |= (data[at] & 0x7F) << shift
        shift += 7
    return value, at + 1


if __name__ == "__main__":
    import tempfile

    def field(tag: bytes, data: bytes) -> bytes:
        return tag + bytes([len(data)]) + data

    items = [(b"_step", b"3"), (b"loss", b"2.5"), (b"val/acc", b"NaN")]
    history = b"".join(
        field(b"\x0a", field(b"\x12", key) + field(b"\x82\x01", value)) for key, value in items
    )
    body = b"\x01" + field(b"\x12", history)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "run-1.wandb"
        framed = _HEADER.pack(zlib.crc32(body), len(body) - 1, 1) + body[1:]
        log.write_bytes(_MAGIC + framed + framed[:20])
        series = SeriesStore()
        follower = WandbFollower(log, series)
        assert follower.poll() and not follower.poll()
        print(series.names(), series.last_step, "bad records:", follower.bad_lines)
        assert series.last_step == 3 and not follower.bad_lines
    print("=== 自测通过 ===")
