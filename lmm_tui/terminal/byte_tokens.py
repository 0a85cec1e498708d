"""Joins byte tokens, written `<E5>`, to the characters that they encode.

A small vocabulary encodes a Chinese character as three tokens of one byte each.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

_BYTE = re.compile(r"<([89A-F][0-9A-F])>")
_FIRST_ESCAPE = 0xDC00
"""`surrogateescape` decodes an invalid byte to this code point plus the byte."""


@dataclass(frozen=True)
class ByteSpan:
    """The text of the tokens from `start` to `stop`, exclusive."""

    text: str
    start: int
    stop: int

    def worst(self, losses: Sequence[object]) -> float | None:
        """The highest loss of its tokens; NaN counts as highest, None if no token has a loss."""
        known = [loss for loss in losses[self.start : self.stop] if isinstance(loss, int | float)]
        return max(known, key=lambda loss: (math.isnan(loss), loss), default=None)


def spans(tokens: Sequence[str]) -> list[ByteSpan]:
    """One span per token, except that the tokens of one character form one span.

    Bytes that are not valid UTF-8 stay written as `<E5>`.
    """
    raw = [_raw(token) for token in tokens]
    offsets = list(accumulate(map(len, raw), initial=0))
    # A character belongs to the token that holds its first byte; None marks a token that only
    # continues a character.
    texts: list[str | None] = [None if part else "" for part in raw]
    at = 0
    for char in b"".join(raw).decode("utf-8", "surrogateescape"):
        escape = ord(char) - _FIRST_ESCAPE
        size = len(char.encode("utf-8", "surrogateescape"))
        token = bisect_right(offsets, at) - 1
        texts[token] = (texts[token] or "") + (
            f"<{escape:02X}>" if 0x80 <= escape < 0x100 else char
        )
        at += size
    starts = [index for index, text in enumerate(texts) if text is not None]
    # Not strict: without tokens there are no starts, but one stop.
    ends = zip(starts, [*starts[1:], len(tokens)], strict=False)
    return [ByteSpan(texts[start] or "", start, stop) for start, stop in ends]


def text_of(tokens: Sequence[str]) -> str:
    """The text of all tokens."""
    return "".join(span.text for span in spans(tokens))


def _raw(token: str) -> bytes:
    """The bytes of a token; only bytes above ASCII are written as `<E5>`."""
    parts = _BYTE.split(token)
    return b"".join(
        bytes.fromhex(part) if number % 2 else part.encode("utf-8", "replace")
        for number, part in enumerate(parts)
    )


if __name__ == "__main__":
    demo = ["a ", "小<E5>", "<88>", "<BA>", "!", "<E7>"]
    print(spans(demo))
    assert text_of(demo) == "a 小刺!<E7>"
    assert spans(demo)[1] == ByteSpan("小刺", 1, 4)
    print("=== 自测通过 ===")
