"""Tokens that hold only a part of a character, written `<E5>`, put together to what one can read.

Small vocabularies spell a Chinese character in three tokens of a byte each. It knows how the
tokenizer writes such bytes, and no model and no widget.
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
"""The code point by which `surrogateescape` stands for byte 0."""


@dataclass(frozen=True)
class ByteSpan:
    """What the tokens from `start` up to, not including, `stop` spell together."""

    text: str
    start: int
    stop: int

    def worst(self, losses: Sequence[object]) -> float | None:
        """The highest loss of its tokens, NaN above all; None where no number is among them."""
        known = [loss for loss in losses[self.start : self.stop] if isinstance(loss, int | float)]
        return max(known, key=lambda loss: (math.isnan(loss), loss), default=None)


def spans(tokens: Sequence[str]) -> list[ByteSpan]:
    """`tokens` one by one, but those that only go on with a character joined to where it begins.

    Bytes that make no character are written as before.
    """
    raw = [_raw(token) for token in tokens]
    begins = list(accumulate(map(len, raw), initial=0))
    texts: list[str | None] = [None if part else "" for part in raw]
    at = 0
    for char in b"".join(raw).decode("utf-8", "surrogateescape"):
        escape = ord(char) - _FIRST_ESCAPE
        size = len(char.encode("utf-8", "surrogateescape"))
        token = bisect_right(begins, at) - 1
        texts[token] = (texts[token] or "") + (
            f"<{escape:02X}>" if 0x80 <= escape < 0x100 else char
        )
        at += size
    starts = [index for index, text in enumerate(texts) if text is not None]
    ends = zip(starts, [*starts[1:], len(tokens)], strict=False)  # No tokens have an end, too.
    return [ByteSpan(texts[start] or "", start, stop) for start, stop in ends]


def text_of(tokens: Sequence[str]) -> str:
    """What the tokens spell."""
    return "".join(span.text for span in spans(tokens))


def _raw(token: str) -> bytes:
    """The bytes that a token stands for; only bytes above ASCII are ever written one by one."""
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
    assert spans(demo)[1].worst([None, 1.0, 3.0, 2.0]) == 3.0
    print("=== 自测通过 ===")
