"""Text that is safe and measurable on a terminal, whoever wrote it.

Models, logs, file names and other people's metric names may hold escape sequences or text that
reorders or overprints its neighbours; here they become something visible. It knows no widget and
no stream.
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
"""Combining marks kept on one letter: Vietnamese needs 2, pointed Hebrew 3, 'Zalgo' dozens."""

_OPENING, _CLOSING = "（《「『“‘【", "，。、；：？！）》」』”’】…"
_HAN = "\u2e80-\u2fff\u3040-\u9fff\uf900-\ufaff"
_PIECE = re.compile(
    rf"\s+|\[[^\s\]]*\]?|[{_OPENING}]*(?:[{_HAN}]|[^\s{_HAN}{_OPENING}{_CLOSING}]+)?[{_CLOSING}]*"
)
"""What stays on one line: space, a word, or a character, with the punctuation that clings to it.

So does what stands in brackets, where it holds no space."""
_PART = re.compile(r"[^-/]*[-/]|[^-/]+")


class _Visible(dict[int, str]):
    """A `str.translate` table that is filled as characters are met."""

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
            # Terminals disagree on whether it widens the character before it.
            shown = ""
        else:
            shown = char
        self[code] = shown
        return shown


_VISIBLE = _Visible({ord("\t"): _TAB})


def clean(text: str, *, newlines: Literal["keep", "mark"] = "mark") -> str:
    """`text` without anything a terminal would obey or that would leave its own cells.

    C0 controls become their Unicode pictures (`␛`), C1 controls, bidirectional overrides, invisible
    format characters and lone surrogates become `�`, a tab four spaces; of a pile of combining
    marks three stay. Line ends are kept as `\\n` or marked as `⏎`. Idempotent.
    """
    for line_end in ("\r\n", "\N{LINE SEPARATOR}", "\N{PARAGRAPH SEPARATOR}"):
        text = text.replace(line_end, "\n")
    lines = [_cap_marks(line.translate(_VISIBLE)) for line in text.split("\n")]
    return ("\n" if newlines == "keep" else NEWLINE_MARK).join(lines)


def fit(text: str, width: int) -> str:
    """One clean line in exactly `width` terminal cells: padded, or cut with `…` at its end."""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, width - 1) + "…" if width > 0 else ""


def right(text: str, width: int) -> str:
    """As `fit`, with the padding at its start."""
    return " " * (width - cell_len(text)) + text if cell_len(text) < width else fit(text, width)


def wrap(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` cells, one at least.

    They break at spaces and between Chinese characters, but never before a `，` or after a `（`;
    within a word only where a whole line is too short for it, after a hyphen or a slash if it can
    be.
    """
    text = text.lstrip()
    edges = [0, *breaks(text, width), len(text)]
    return [text[start:stop].rstrip() for start, stop in pairwise(edges)]


def breaks(text: str, width: int) -> Iterator[int]:
    """Where the lines of `wrap` begin, but for the first; space at the beginning stays."""
    at = taken = 0
    for found in _PIECE.findall(text):
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
    print(clean(hostile))
    print(clean(hostile, newlines="keep"))
    print("|" + fit(clean("小兔子 went home"), 8) + "|")
    assert clean(clean(hostile)) == clean(hostile)
    assert cell_len(fit("小兔子", 4)) == 4
    print(*wrap("小兔子 went home，（很远），天黑了。", 8), sep=" / ")
    print("=== 自测通过 ===")
