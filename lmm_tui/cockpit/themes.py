"""The two themes of the cockpit, dark and light: greys, one accent, and colours for states.

All colours are entries of the xterm palette, as in `lmm_tui.metrics.drawing.palette`.
"""

from __future__ import annotations

import os
from collections.abc import Container

from textual.theme import Theme

DARK = Theme(
    name="lmm-dark",
    primary="#5fafff",
    secondary="#87afd7",
    accent="#5fafff",
    foreground="#d0d0d0",
    background="#121212",
    surface="#1c1c1c",
    panel="#303030",
    success="#87d787",
    warning="#ffd75f",
    error="#ff8787",
    dark=True,
)
LIGHT = Theme(
    name="lmm-light",
    primary="#005fd7",
    secondary="#5f5f87",
    accent="#005fd7",
    foreground="#303030",
    background="#eeeeee",
    surface="#e4e4e4",
    panel="#d0d0d0",
    success="#008700",
    warning="#af5f00",
    error="#d70000",
    dark=False,
)


def preferred(last: str, known: Container[str]) -> str:
    """The theme in TEXTUAL_THEME, else the `last` used, else one for the terminal's background.

    The dark one in place of a name that is not `known`.

    COLORFGBG (rxvt, konsole, iTerm2) ends with the background: 7 and 15 are the light ones.
    """
    if wanted := os.environ.get("TEXTUAL_THEME") or last:
        return wanted if wanted in known else DARK.name
    background = os.environ.get("COLORFGBG", "").rpartition(";")[2]
    return LIGHT.name if background in ("7", "15") else DARK.name


def other(name: str) -> str:
    """The light theme for the dark one, and the other way round."""
    return DARK.name if name == LIGHT.name else LIGHT.name


if __name__ == "__main__":
    print(preferred("", {DARK.name}), other(DARK.name))
    assert other(other(DARK.name)) == DARK.name
    print("=== 自测通过 ===")
