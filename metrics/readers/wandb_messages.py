"""The wire format of wandb's records: fields of protocol buffers, and values as JSON.

It knows how messages are written, not what they mean.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import orjson

_KEY, _NESTED, _JSON = 1, 2, 16


def fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The fields of a message that hold bytes. Raises IndexError or ValueError where broken."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        kind = tag & 7
        if kind == 2:
            length, at = varint(data, at)
            if at + length > len(data):
                raise ValueError("a field is longer than its message")
            yield tag >> 3, data[at : at + length]
            at += length
        elif kind == 0:
            _, at = varint(data, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError(f"no such kind of field: {kind}")


def whole_field(data: bytes, wanted: int) -> int:
    """The whole number in a field of a message; 0, which is not written, where it is not there."""
    at, found = 0, 0
    while at < len(data):
        tag, at = varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = varint(data, at)
            found = value if tag >> 3 == wanted else found
        elif kind == 2:
            length, at = varint(data, at)
            at += length
        else:
            at += 8 if kind == 1 else 4
    return found


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A number, and where it ends."""
    value, shift = data[at] & 0x7F, 7
    while data[at] >= 0x80:
        at += 1
        value |= (data[at] & 0x7F) << shift
        shift += 7
    return value, at + 1


def key_and_value(item: bytes) -> tuple[str, bytes]:
    """The name of a value, nested ones joined by a dot, and the value as JSON."""
    parts, value = [], b"null"
    for field, data in fields(item):
        if field in (_KEY, _NESTED):
            parts.append(data.decode("utf-8", "replace"))
        elif field == _JSON:
            value = data
    return ".".join(parts), value


def json_values(text: bytes) -> list[object]:
    """Of a JSON array; NaN and Infinity, which wandb writes bare, are values."""
    try:
        found = orjson.loads(text)
    except ValueError:
        found = json.loads(text.decode("utf-8"))
    return list(found)


if __name__ == "__main__":
    message = bytes.fromhex("0803 0a04 6c6f7373 8201 03 322e35")
    print(list(fields(message)), whole_field(message, 1), key_and_value(message))
    assert whole_field(message, 1) == 3 and key_and_value(message) == ("loss", b"2.5")
    print("=== 自测通过 ===")
