"""The error of `data`: text, a tokenizer or a cache that cannot be used."""

from __future__ import annotations

from lmm_tui.errors import LmmError


class DataError(LmmError):
    """One sentence: which file (and line), what is wrong with it, and what to do."""


if __name__ == "__main__":
    print(DataError("a.txt:3: not UTF-8 text (byte 120 of the file); convert it to UTF-8"))
    print("=== 自测通过 ===")
