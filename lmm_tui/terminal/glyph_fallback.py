"""Replaces characters that a terminal has no glyphs for by others of the same width.

Frames, blocks, arrows and marks have simpler equivalents; accented letters lose their accent;
everything else becomes one question mark per cell. Escape codes are ASCII and stay as they are.
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
    # The codec maps these to control characters, but the fonts have glyphs for them.
    "♥♦♣♠•◘○◙►◄↕▬↑↓→←↔▲▼": "♥♦♣♠•◘○◙►◄↕▬↑↓→←↔▲▼",
}
"""For the Linux console, whose fonts cover at least code page 437."""

_ASCII = {
    "╭╮╰╯┌┐└┘├┤┬┴┼━─═│┃║╸╺╳": "+++++++++++++=-=|||--x",
    "▁▂▃▄▅▆▇█▀▔▌▐▊▋▍▎▏░▒▓■▪": "_.-=+*%#'~|||||||.:%##",
    "●◉◆◇○•·∙▶◀►◄▸▾▲▼△▽": "*@!*o*..><><>v^v^v",
    "→←↑↓⇧⏎↵✓✗×…–—‹›‖┊❙": "><^v^//+xx.--<>|:|",
    "“”‘’«»≤≥≈±µ°": "\"\"''<><>~~uo",
}


class GlyphFallback(dict[int, str]):
    """A table for `str.translate`, filled as characters occur; widths do not change."""

    def __init__(self, simpler: Mapping[str, str], encoding: str) -> None:
        """`simpler` maps strings of characters to their replacements, one for one.

        Other characters stay if `encoding` has them.
        """
        super().__init__()
        for characters, replacements in simpler.items():
            self.update(zip(map(ord, characters), replacements, strict=True))
        self._encoding = encoding

    def __missing__(self, code: int) -> str:
        self[code] = replacement = self._replacement(chr(code))
        return replacement

    def _replacement(self, char: str) -> str:
        try:
            char.encode(self._encoding)
        except UnicodeEncodeError:
            base = unicodedata.normalize("NFKD", char)[:1]
            width = get_character_cell_size(char)
            return base if base.isascii() and width == 1 else "?" * width
        return char


def fallback_for(stream: TextIO) -> GlyphFallback | None:
    """The table for the terminal of a stream; None if it shows everything."""
    if not capabilities.has_unicode(stream):
        encoding = stream.encoding or "ascii"
        # Python treats the C locale as UTF-8; its terminal is ASCII.
        return GlyphFallback(_ASCII, "ascii" if encoding.lower().startswith("utf") else encoding)
    return None if capabilities.has_braille(stream) else GlyphFallback(_CONSOLE, "cp437")


if __name__ == "__main__":
    demo = "╭─ loss ● é → 小兔 ▇▁ ⣿ \x1b[1m"
    for table in (GlyphFallback(_CONSOLE, "cp437"), GlyphFallback(_ASCII, "ascii")):
        print(repr(demo.translate(table)))
        assert len(demo.translate(table)) == len(demo) + len("小兔")
    print("=== 自测通过 ===")
