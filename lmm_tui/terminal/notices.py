"""Escape sequences by which a terminal rings its bell and shows a notification.

BEL, OSC 9 (iTerm2, Windows Terminal, kitty) and OSC 777 (rxvt, foot, VTE, Ghostty); terminals
ignore those they do not know.
"""

from __future__ import annotations

from lmm_tui.terminal.safe_text import clean

_LONGEST = 200


def notice(text: str, title: str = "lmm-tui") -> str:
    """What to write to the terminal; the text is cleaned and cut."""
    shown = clean(text)[:_LONGEST].replace(";", ",")
    return f"\a\x1b]9;{shown}\x1b\\\x1b]777;notify;{title};{shown}\x1b\\"


if __name__ == "__main__":
    print(repr(notice("story: \x1b[31mfinished; step 200")))
    assert "\x1b[" not in notice("\x1b[31m")
    print("=== 自测通过 ===")
