"""A grid of cells, each a character in an ink, any part of which becomes Textual strips.

Inks are small integers; what they look like is decided only when strips are made, so a change of
theme draws nothing anew. Comparing two canvases tells what has to be painted again.
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
"""Inks that all pictures share; a blank cell has none. What the picture is called is in NAME."""

FIRST_FREE_INK = 7

_SPACE = ord(" ")
_SECOND_HALF = 0
"""In the cell after a character that is two cells wide."""

_GAP = 12
"""Unchanged cells that are cheaper to send again than a jump and a change of style."""


Mask = NDArray[np.bool_]


class Canvas:
    """Row 0 is the top; what does not fit is cut."""

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
        twin = Canvas(0, 0)
        twin.codes, twin.inks = self.codes.copy(), self.inks.copy()
        return twin

    def put(self, x: int, y: int, text: str, ink: int) -> None:
        """Write clean text from cell x of row y on."""
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
        """Write characters one cell wide below each other, from row y on."""
        end = min(y + len(text), self.height)
        self.codes[y:end, x] = [ord(char) for char in text[: end - y]]
        self.inks[y:end, x] = ink

    def stamp(self, x: int, y: int, codes: Codes, where: Mask) -> None:
        """Put a block of characters, its top left cell at (x, y)."""
        np.copyto(self.codes[y : y + len(codes), x : x + codes.shape[1]], codes, where=where)

    def tint(self, x: int, y: int, where: Mask, ink: int) -> None:
        """Give the cells of a block an ink."""
        self.inks[y : y + len(where), x : x + where.shape[1]][where] = ink

    def changes(self, since: Canvas) -> Iterator[Region]:
        """The parts of rows that differ from a canvas of the same size."""
        different = (self.codes != since.codes) | (self.inks != since.inks)
        for y in np.flatnonzero(different.any(axis=1)).tolist():
            (columns,) = different[y].nonzero()
            for part in np.split(columns, np.flatnonzero(np.diff(columns) > _GAP) + 1):
                start, end = int(part[0]), int(part[-1]) + 1
                if since.codes[y, start] == _SECOND_HALF or self.codes[y, start] == _SECOND_HALF:
                    start -= 1
                if end < self.width and self.codes[y, end] == _SECOND_HALF:
                    end += 1
                yield Region(start, y, end - start, 1)

    def strips(self, part: Region, styles: Sequence[Style]) -> list[Strip]:
        """A part of the canvas, line by line; `styles[ink]` is the look of an ink."""
        columns = slice(part.x, part.right)
        codes = self.codes[part.y : part.bottom, columns].copy()
        inks = self.inks[part.y : part.bottom, columns]
        # Of a character that the edges cut through, half a space is left.
        codes[codes[:, 0] == _SECOND_HALF, 0] = _SPACE
        if part.right < self.width:
            codes[self.codes[part.y : part.bottom, part.right] == _SECOND_HALF, -1] = _SPACE
        turns = inks[:, 1:] != inks[:, :-1]
        made = []
        for text, ink, turn in zip(text_of(codes), inks, turns, strict=True):
            ends = [*(turn.nonzero()[0] + 1).tolist(), part.width]
            start = 0
            segments = []
            for end, look in zip(ends, ink[[at - 1 for at in ends]].tolist(), strict=True):
                piece = text[start:end]
                if "\0" in piece:
                    piece = piece.replace("\0", "")
                segments.append(Segment(piece, styles[look]))
                start = end
            made.append(Strip(segments, part.width))
        return made


if __name__ == "__main__":
    canvas = Canvas(20, 2)
    before = Canvas(20, 2)
    canvas.put(2, 0, "loss 小兔子", 1)
    canvas.put(17, 1, "cut off", 2)
    for strip in canvas.strips(Region(0, 0, 20, 2), [Style(), Style(bold=True), Style(dim=True)]):
        print(repr(strip.text))
    regions = list(canvas.changes(before))
    assert regions == [Region(2, 0, 11, 1), Region(17, 1, 3, 1)]
    print("=== 自测通过 ===")
