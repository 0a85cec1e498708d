"""Wide characters of an SVG screenshot at their cells.

Rich gives a text the width of as many cells as it has characters: Chinese, which takes two cells a
character, would be squeezed to half, and stand beside what it belongs above.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape, unescape
from itertools import groupby

from rich.cells import cell_len

_TEXT = re.compile(
    r'<text (?P<before>[^>]*)x="(?P<x>[\d.]+)" y="(?P<y>[\d.]+)" textLength="(?P<length>[\d.]+)"'
    r"(?P<after>[^>]*)>(?P<text>[^<]*)</text>"
)


def at_their_cells(svg: str) -> str:
    """`svg` with each wide character placed for itself, whatever font draws it."""
    return _TEXT.sub(_placed, svg)


def _placed(found: re.Match[str]) -> str:
    text = unescape(found["text"])
    if cell_len(text) == len(text):
        return found[0]
    cell = float(found["length"]) / len(text)
    return "".join(
        f'<text {found["before"]}{place} y="{found["y"]}"{found["after"]}>{shown}</text>'
        for place, shown in _runs(text, float(found["x"]), cell)
    )


def _runs(text: str, x: float, cell: float) -> Iterator[tuple[str, str]]:
    """Where runs of wide and of other characters stand, and what they are; blanks draw nothing."""
    for wide, run in groupby(text, lambda char: cell_len(char) == 2):
        chars = "".join(run)
        width = cell_len(chars)
        if wide:
            places = " ".join(f"{x + 2 * at * cell:.5g}" for at in range(len(chars)))
            yield f'x="{places}"', chars
        elif chars.strip():
            shown = escape(chars).replace(" ", "&#160;").replace("\xa0", "&#160;")
            yield f'x="{x:.5g}" textLength="{width * cell:.5g}"', shown
        x += width * cell


if __name__ == "__main__":
    line = '<text class="r1" x="10" y="5" textLength="50" clip-path="url(#l)">训练 ab</text>'
    print(at_their_cells(line))
    assert 'x="10 30" y="5"' in at_their_cells(line) and 'x="50" textLength="30"' in (
        at_their_cells(line)
    )
    print("=== 自测通过 ===")
