"""What a terminal has no glyph for, spelt with what it has, cell for cell.

Frames, blocks, arrows and marks have a plainer character that means the same; of other letters the
base is left, and of what is two cells wide two question marks. It knows no widget and no escape
code: those are ASCII, and stay.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import TextIO

from rich.cells import get_character_cell_size

from lmm_tui.terminal import capabilities

_CONSOLE = {
    "╭╮╰╯━┃╸╺╳": "┌┐└┘═│──x",
    "▁▂▃▅▆▇▔▊▋▍▎▏▖▗▘▝": "___▄▄█▀█▌▌││▄▄▀▀",
    "●◉◆◇▶◀▸▾✓✗×⏎…–—‹›⇧┊❙": "•◘•○►◄►▼+xx/.──<>^:│",
    "“”‘’": "\"\"''",
    # The codec takes the first 32 for control characters; the fonts have them.
    "♥♦♣♠•◘○◙►◄↕▬↑↓→←↔▲▼": "♥♦♣♠•◘○◙►◄↕▬↑↓→←↔▲▼",
}
"""For the fonts of the Linux console, which hold code page 437 at least."""

_ASCII = {
    "╭╮╰╯┌┐└┘├┤┬┴┼━─═│┃║╸╺╳": "+++++++++++++=-=|||--x",
    "▁▂▃▄▅▆▇█▀▔▌▐▊▋▍▎▏░▒▓■▪": "_.-=+*%#'~|||||||.:%##",
    "●◉◆◇○•·∙▶◀►◄▸▾▲▼△▽": "*@!*o*..><><>v^v^v",
    "→←↑↓⇧⏎↵✓✗×…–—‹›‖┊❙": "><^v^//+xx.--<>|:|",
    "“”‘’«»≤≥≈±µ°": "\"\"''<><>~~uo",
}


class GlyphFallback(dict[int, str]):
    """A table for `str.translate` that grows as characters come; all stay as wide as they are."""

    def __init__(self, plainer: Mapping[str, str], encoding: str) -> None:
        """`plainer` maps characters, in rows, to others; what else `encoding` has stays."""
        super().__init__()
        for those, these in plainer.items():
            self.update(zip(map(ord, those), these, strict=True))
        self._encoding = encoding

    def __missing__(self, code: int) -> str:
        self[code] = spelt = self._spell(chr(code))
        return spelt

    def _spell(self, char: str) -> str:
        try:
            char.encode(self._encoding)
        except UnicodeEncodeError:
            base = unicodedata.normalize("NFKD", char)[:1]
            width = get_character_cell_size(char)
            return base if base.isascii() and width == 1 else "?" * width
        return char


def fallback_for(stream: TextIO) -> GlyphFallback | None:
    """How to write for the terminal behind a stream; None where it shows everything."""
    if not capabilities.has_unicode(stream):
        encoding = stream.encoding or "ascii"
        # Python takes C for UTF-8; a terminal that was said to be C is not.
        return GlyphFallback(_ASCII, "ascii" if encoding.lower().startswith("utf") else encoding)
    return None if capabilities.has_braille(stream) else GlyphFallback(_CONSOLE, "cp437")


if __name__ == "__main__":
    shown = "╭─ loss ● é → 小兔 ▇▁ ⣿ \x1b[1m"
    for table in (GlyphFallback(_CONSOLE, "cp437"), GlyphFallback(_ASCII, "ascii")):
        print(repr(shown.translate(table)))
        assert len(shown.translate(table)) == len(shown) + len("小兔")
    print("=== 自测通过 ===")
