"""Makes text safe to print, and fits and wraps it by terminal cells.

Output of models, logs, file names and foreign metric names may contain escape sequences, or
characters that reorder or overprint other text; `clean` makes them visible.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from typing import Literal

from rich.cells import cell_len, chop_cells, get_character_cell_size, set_cell_size

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
NEWLINE_MARK = "\N{RETURN SYMBOL}"

_TAB = " " * 4
_MAX_MARKS = 3
"""Combining marks kept per letter: Vietnamese needs 2, pointed Hebrew 3; "Zalgo" has dozens."""

_OPENING, _CLOSING = "（《「『“‘【", "，。、；：？！）》」』”’】…"
_HAN = "\u2e80-\u2fff\u3040-\u9fff\uf900-\ufaff"
_PIECE = (
    rf"\s+|\[[^\s\]]*\]?|[{_OPENING}]*(?:[{_HAN}]|[^\s{_HAN}{_OPENING}{_CLOSING}]+)?[{_CLOSING}]*"
)
"""A unit that is not broken: white space, a word, or a Chinese character with its punctuation.

Brackets without a space inside are one unit too."""
_PART = re.compile(r"[^-/]*[-/]|[^-/]+")


class _Visible(dict[int, str]):
    """A table for `str.translate`, filled as characters occur."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        category = unicodedata.category(char)
        if code < 0x20:
            shown = chr(0x2400 + code)
        elif code == 0x7F:
            shown = "\N{SYMBOL FOR DELETE}"
        elif category in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            shown = REPLACEMENT
        elif "VARIATION SELECTOR" in unicodedata.name(char, ""):
            # Terminals disagree on whether it widens the preceding character.
            shown = ""
        else:
            shown = char
        self[code] = shown
        return shown


_VISIBLE = _Visible({ord("\t"): _TAB})


def clean(text: str, *, newlines: Literal["keep", "mark"] = "mark") -> str:
    """`text` without control characters, and with every character in its own cells.

    C0 controls become their Unicode pictures (`␛`); C1 controls, bidirectional overrides, invisible
    format characters and lone surrogates become `�`; a tab becomes four spaces; of several
    combining marks three stay. Line ends are kept as `\\n` or marked as `⏎`. Idempotent.
    """
    for line_end in ("\r\n", "\N{LINE SEPARATOR}", "\N{PARAGRAPH SEPARATOR}"):
        text = text.replace(line_end, "\n")
    lines = [_cap_marks(line.translate(_VISIBLE)) for line in text.split("\n")]
    return ("\n" if newlines == "keep" else NEWLINE_MARK).join(lines)


def fit(text: str, width: int) -> str:
    """A line of exactly `width` terminal cells: padded, or cut with `…` at the end."""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, width - 1) + "…" if width > 0 else ""


def right(text: str, width: int) -> str:
    """As `fit`, with the padding at the start."""
    return " " * (width - cell_len(text)) + text if cell_len(text) < width else fit(text, width)


def wrap(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` cells; at least one line.

    Lines break at spaces and between Chinese characters, never before `，` or after `（`. A word
    longer than a line is broken, after a hyphen or a slash if possible.
    """
    text = text.lstrip()
    edges = [0, *breaks(text, width), len(text)]
    return [text[start:stop].rstrip() for start, stop in pairwise(edges)]


def breaks(text: str, width: int) -> Iterator[int]:
    """Offsets at which the lines of `wrap` begin, except the first; leading space is kept."""
    at = taken = 0
    for found in re.findall(_PIECE, text):
        pieces = [found]
        if cell_len(found) > width and not found.isspace():
            pieces = [part for word in _PART.findall(found) for part in chop_cells(word, width)]
        for piece in pieces:
            cells = cell_len(piece)
            if cells and taken and taken + cells > width and not piece.isspace():
                yield at
                taken = 0
            taken += cells
            at += len(piece)


def _cap_marks(line: str) -> str:
    if line.isascii():
        return line
    kept = []
    marks = 0
    for char in line:
        marks = 0 if get_character_cell_size(char) else marks + 1
        if marks <= _MAX_MARKS:
            kept.append(char)
    return "".join(kept)


if __name__ == "__main__":
    hostile = "\x1b[2Jloss\t\u202egnp.exe\x9b31m\r\nZa" + "\u0301" * 40 + "lgo 小兔子"
    print(clean(hostile), "|" + fit("小兔子 went home", 8) + "|", sep="\n")
    assert clean(clean(hostile)) == clean(hostile) and cell_len(fit("小兔子", 4)) == 4
    print(*wrap("小兔子 went home，（很远），天黑了。", 8), sep=" / ")
    print("=== 自测通过 ===")
