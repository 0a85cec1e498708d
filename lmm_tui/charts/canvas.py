"""A grid of cells, each a character and an ink, any part of which can be turned into strips.

An ink is an index into a table of styles that is given when strips are made, so a new theme needs
no new drawing. Comparing two canvases yields the regions to repaint.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.cells import get_character_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip

from lmm_tui.charts.braille import Codes, text_of

BLANK, TITLE, LABEL, AXIS, REFERENCE, ALARM, NAME = range(7)
"""The inks that every canvas has; NAME is for its title, TITLE for values and notes beside it."""

FIRST_FREE_INK = 7

_SPACE = ord(" ")
_SECOND_HALF = 0
"""The code of the cell after a character that is two cells wide."""

_GAP = 12
"""Fewer unchanged cells than this are cheaper to send again than a cursor movement."""


Mask = NDArray[np.bool_]


class Canvas:
    """Row 0 is the top; text that does not fit is cut."""

    def __init__(self, width: int, height: int) -> None:
        self.codes: Codes = np.full((height, width), _SPACE, np.uint32)
        self.inks: NDArray[np.uint8] = np.full((height, width), BLANK, np.uint8)

    @property
    def width(self) -> int:
        return self.codes.shape[1]

    @property
    def height(self) -> int:
        return self.codes.shape[0]

    def copy(self) -> Canvas:
        copied = Canvas(0, 0)
        copied.codes, copied.inks = self.codes.copy(), self.inks.copy()
        return copied

    def put(self, x: int, y: int, text: str, ink: int) -> None:
        """Write text without control characters, starting at (x, y)."""
        cells: list[int] = []
        for char in text:
            size = 1 if char.isascii() else get_character_cell_size(char)
            cells += (ord(char), _SECOND_HALF)[:size]
        end = min(x + len(cells), self.width)
        if not (0 <= y < self.height and 0 <= x < end):
            return
        if end - x < len(cells) and cells[end - x] == _SECOND_HALF:
            cells[end - x - 1] = _SPACE
        self.codes[y, x:end] = cells[: end - x]
        self.inks[y, x:end] = ink

    def put_down(self, x: int, y: int, text: str, ink: int) -> None:
        """Write characters of one cell below each other, starting at (x, y)."""
        end = min(y + len(text), self.height)
        self.codes[y:end, x] = [ord(char) for char in text[: end - y]]
        self.inks[y:end, x] = ink

    def stamp(self, x: int, y: int, codes: Codes, where: Mask) -> None:
        """Write the characters of a block where its mask is set; its top left cell is (x, y)."""
        np.copyto(self.codes[y : y + len(codes), x : x + codes.shape[1]], codes, where=where)

    def tint(self, x: int, y: int, where: Mask, ink: int) -> None:
        """Set the ink of a block where its mask is set."""
        self.inks[y : y + len(where), x : x + where.shape[1]][where] = ink

    def changes(self, since: Canvas) -> Iterator[Region]:
        """The regions, one row high, that differ from a canvas of the same size."""
        different = (self.codes != since.codes) | (self.inks != since.inks)
        for y in np.flatnonzero(different.any(axis=1)).tolist():
            (columns,) = different[y].nonzero()
            # One region for each group of changed cells with gaps of at most _GAP between them.
            for part in np.split(columns, np.flatnonzero(np.diff(columns) > _GAP) + 1):
                start, end = int(part[0]), int(part[-1]) + 1
                if since.codes[y, start] == _SECOND_HALF or self.codes[y, start] == _SECOND_HALF:
                    start -= 1
                if end < self.width and self.codes[y, end] == _SECOND_HALF:
                    end += 1
                yield Region(start, y, end - start, 1)

    def strips(self, part: Region, styles: Sequence[Style]) -> list[Strip]:
        """A part of the canvas, a strip for each row; `styles[ink]` is the style of an ink."""
        columns = slice(part.x, part.right)
        codes = self.codes[part.y : part.bottom, columns].copy()
        inks = self.inks[part.y : part.bottom, columns]
        # A wide character that an edge cuts in half becomes a space.
        codes[codes[:, 0] == _SECOND_HALF, 0] = _SPACE
        if part.right < self.width:
            codes[self.codes[part.y : part.bottom, part.right] == _SECOND_HALF, -1] = _SPACE
        # A segment ends where the ink changes.
        borders = inks[:, 1:] != inks[:, :-1]
        strips = []
        for text, row_inks, border in zip(text_of(codes), inks, borders, strict=True):
            ends = [*(border.nonzero()[0] + 1).tolist(), part.width]
            start = 0
            segments = []
            for end, ink in zip(ends, row_inks[[at - 1 for at in ends]].tolist(), strict=True):
                piece = text[start:end]
                if "\0" in piece:  # The second cell of a wide character.
                    piece = piece.replace("\0", "")
                segments.append(Segment(piece, styles[ink]))
                start = end
            strips.append(Strip(segments, part.width))
        return strips


if __name__ == "__main__":
    canvas = Canvas(20, 2)
    canvas.put(2, 0, "loss 小兔子", 0)
    canvas.put(17, 1, "cut off", 0)
    for strip in canvas.strips(Region(0, 0, 20, 2), [Style()]):
        print(repr(strip.text))
    print(*canvas.changes(Canvas(20, 2)))
    print("=== 自测通过 ===")
