"""One TensorBoard event, read from its bytes: step, time, scalars, and whether a session starts.

Reads protocol buffers by their wire format, so that no tensorboard need be installed. Field numbers
are those of tensorboard's event.proto, summary.proto and tensor.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

_DTYPES: dict[int, tuple[str, int]] = {
    1: ("<f", 5),
    2: ("<d", 6),
    3: ("<i", 7),
    4: ("<B", 7),
    5: ("<h", 7),
    6: ("<b", 7),
    9: ("<q", 10),
    10: ("<?", 11),
    14: ("bfloat16", 13),
    17: ("<H", 7),
    19: ("<e", 13),
    22: ("<I", 16),
    23: ("<Q", 17),
}
"""DataType of a tensor: its layout for `struct`, and the field that holds values one by one."""


class MessageError(ValueError):
    """Bytes that are no protocol buffer."""


@dataclass(frozen=True)
class Event:
    """What counts of one event; `scalars` are (tag, value), in the order of the file."""

    step: int
    wall_time: float
    scalars: tuple[tuple[str, float], ...]
    starts_session: bool
    without_number: tuple[str, ...] = ()
    """The tags of pictures, histograms, texts and tensors of several values."""


def read_event(data: bytes) -> Event:
    """Raises MessageError for bytes that are no event."""
    step, wall_time, starts = 0, 0.0, False
    found: list[tuple[str, float | None]] = []
    for number, value in _fields(data):
        match number, value:
            case 1, bytes():
                wall_time = _number("<d", value)
            case 2, int():
                step = _signed(value)
            case 5, bytes():
                found += [_value(content) for n, content in _fields(value) if n == 1]
            case 7, _:
                starts = True
    scalars = tuple((tag, number) for tag, number in found if number is not None)
    others = tuple(tag for tag, number in found if number is None)
    return Event(step, wall_time, scalars, starts, others)


def _value(message: int | bytes) -> tuple[str, float | None]:
    """The tag of a summary value, and its number if it has one: as such, or as a tensor."""
    tag, number = "", None
    for field, value in _fields(message):
        match field, value:
            case 1, bytes():
                tag = value.decode("utf-8", "replace")
            case 2, bytes():
                number = _number("<f", value)
            case 8, bytes():
                number = _tensor_number(value)
    return tag, number


def _tensor_number(message: bytes) -> float | None:
    """The value of a tensor of one element; None for others, and for strings."""
    dtype, size, content = 0, 1, b""
    listed: dict[int, int | bytes] = {}
    for field, value in _fields(message):
        match field, value:
            case 1, int():
                dtype = value
            case 2, bytes():
                size = prod(_lengths(value))
            case 4, bytes():
                content = value
            case _:
                listed[field] = value
    if size != 1 or dtype not in _DTYPES:
        return None
    layout, field = _DTYPES[dtype]
    if content:
        return _number(layout, content)
    given = listed.get(field, b"")
    if layout in ("<f", "<d"):
        return _number(layout, given) if isinstance(given, bytes) and given else 0.0
    whole = given if isinstance(given, int) else _varint(given, 0)[0] if given else 0
    if layout in ("<e", "bfloat16"):  # Half precision travels as the integer of its bits.
        return _number(layout, struct.pack("<H", whole & 0xFFFF))
    return float(whole if layout in ("<I", "<Q", "<?") else _signed(whole))


def _lengths(shape: bytes) -> Iterator[int]:
    """Of each dimension; one whose length is not given has none."""
    for number, dimension in _fields(shape):
        if number == 2:
            given = dict(_fields(dimension)).get(1, 0)
            yield given if isinstance(given, int) else 0


def _number(layout: str, data: bytes) -> float:
    if layout == "bfloat16":  # The upper half of a float32.
        layout, data = "<f", b"\0\0" + data
    try:
        return float(struct.unpack(layout, data)[0])
    except struct.error as error:
        raise MessageError(str(error)) from None


def _fields(message: int | bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and values of a message: whole numbers as int, all else as bytes."""
    if isinstance(message, int):
        raise MessageError("a number where a message should be")
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            length, at = _varint(message, at)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise MessageError(f"wire type {kind}")
        if at + length > len(message):
            raise MessageError("ends inside a field")
        yield key >> 3, message[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A whole number of 64 bits at most, and where the next byte is."""
    value = 0
    for place in range(10):
        if at >= len(data):
            raise MessageError("ends inside a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
    raise MessageError("a number of more than 10 bytes")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


if __name__ == "__main__":
    loss = b"\x0a\x04loss\x15" + struct.pack("<f", 2.5)
    summary = b"\x0a" + bytes([len(loss)]) + loss
    data = b"\x09" + struct.pack("<d", 1e9) + b"\x10\x07\x2a" + bytes([len(summary)]) + summary
    print(read_event(data))
    assert read_event(data) == Event(7, 1e9, (("loss", 2.5),), False)
    print("=== 自测通过 ===")
