"""stderr without control characters, whoever writes there: our commands, the log and the warnings
of a library, the traceback of any thread.

Not what C code writes past Python, such as the message of a Rust panic.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

_PLAIN = re.compile(r"\r?[\n -~]*")
_COLOURS = re.compile(r"\x1b\[[\d;]*m")


class SafeStream:
    """A text stream that cleans what is written; a progress bar's `\\r` at the start stays."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        if _PLAIN.fullmatch(text):
            return self._stream.write(text)
        from lmm_tui.terminal.safe_text import clean  # Imports rich, which --help does without.

        start = "\r" if text.startswith("\r") and not text.startswith("\r\n") else ""
        shown = clean(_COLOURS.sub("", text[len(start) :]), newlines="keep")
        self._stream.write(start + shown)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def clean_errors() -> None:
    """From now on stderr is clean."""
    if sys.stderr is not None and not isinstance(sys.stderr, SafeStream):
        sys.stderr = cast(TextIO, SafeStream(sys.stderr))


@contextmanager
def cleaned_errors() -> Iterator[None]:
    """stderr is clean within the block."""
    before = sys.stderr
    clean_errors()
    try:
        yield
    finally:
        sys.stderr = before


if __name__ == "__main__":
    with cleaned_errors():
        print("\x1b[31mred\x1b[0m \x1b]52;c;aGk=\x07 \x9b2J \u202e", file=sys.stderr)
    print("=== 自测通过 ===")
