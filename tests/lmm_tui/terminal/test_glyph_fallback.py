"""Terminals that lack glyphs or colours: what reaches them, asked of the real program on a pty."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_runs import make_run
from processes import PROGRAM
from rich.cells import cell_len
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.color import Color as TextualColor

from lmm_tui.charts.ansi16 import Ansi16Filter
from lmm_tui.metrics.drawing.palette import SERIES_COLORS, chart_colors, ramp, shade
from lmm_tui.terminal import glyph_fallback

CODE_PAGE_437 = set(bytes(range(256)).decode("cp437")) | set("♥♦♣♠•◘○◙►◄↕▬↑↓→←↔▲▼")
SHOWN = ("FINISHED", "smoothed", "frequencies", "perplexity", "quit")
_COLOUR = re.compile(r"\x1b\[([\d;]*)m")


def first_screen(folder, *awaited, **environment):
    """What `monitor` sends until its first screen, 120 columns wide, has all that is awaited."""
    kept = {
        name: os.environ[name]
        for name in os.environ.keys() - {"COLORTERM", "NO_COLOR", "COLUMNS", "LINES"}
    }
    master, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 36, 120, 0, 0))
    process = subprocess.Popen(
        [*PROGRAM, "monitor", str(folder)],
        stdin=end,
        stdout=end,
        stderr=end,
        start_new_session=True,
        # Settings of its own: the screen of the last visit would be shown.
        env=kept
        | {"LC_ALL": "C.UTF-8", "TERM": "xterm-256color", "XDG_CONFIG_HOME": str(folder / "own")}
        | environment,
    )
    os.close(end)
    sent, deadline = b"", time.monotonic() + 120
    try:
        while not all(text in _COLOUR.sub("", sent.decode(errors="replace")) for text in awaited):
            assert time.monotonic() < deadline, sent
            if select.select([master], [], [], 0.1)[0]:
                sent += os.read(master, 65536)
    finally:
        process.kill()
        process.wait()
        os.close(master)
    return sent


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs"), rows=100).path


def test_a_terminal_that_is_not_utf_8_gets_nothing_but_ascii(folder):
    text = first_screen(folder, *SHOWN, LC_ALL="C").decode("ascii")
    assert "+--" in text and "|" in text


def test_the_linux_console_gets_what_its_font_has(folder):
    text = first_screen(folder, *SHOWN, TERM="linux").decode("utf-8")
    assert set(text) <= CODE_PAGE_437 and "▄" in text and "┌" in text


def test_no_color_sends_only_greys_and_tells_lines_apart_by_signs(folder):
    text = first_screen(folder, *SHOWN, NO_COLOR="1").decode("utf-8")
    numbers = {code for codes in _COLOUR.findall(text) for code in codes.split("8;5;")[1:]}
    palette = {Color.from_ansi(int(code.split(";")[0])).get_truecolor() for code in numbers}
    assert palette and all(max(color) - min(color) < 8 for color in palette)
    assert "FINISHED" in text and re.search(r"\+ .{0,40}smoothed", text) and "* " in text


def test_sixteen_colours_are_asked_for_by_their_numbers(folder):
    text = first_screen(folder, *SHOWN, TERM="xterm").decode("utf-8")
    used = {int(code) for codes in _COLOUR.findall(text) for code in codes.split(";") if code}
    assert not used & {38, 48}
    assert {92, 94, 93} <= used  # A run that went well is green; its curves are blue and yellow.


def as_sixteen(color, ground, *, dark):
    style = Style(color=color, bgcolor=ground)
    (segment,) = Ansi16Filter(dark=dark).apply([Segment("x", style)], TextualColor.parse("black"))
    return segment.style.color.number, segment.style.bgcolor.number


@pytest.mark.parametrize("dark", [True, False])
def test_in_sixteen_colours_curves_differ_from_their_ground_and_an_alarm_is_red(dark):
    ground = "#121212" if dark else "#eeeeee"
    inks = {}
    for name in SERIES_COLORS:
        inks[name], behind = as_sixteen(shade(name, dark=dark).line, ground, dark=dark)
        assert inks[name] != behind
    assert len({inks[name] for name in SERIES_COLORS[:5]}) == 5
    assert as_sixteen(chart_colors(dark=dark).alarm, ground, dark=dark)[0] in (1, 9)


def test_in_sixteen_colours_a_heat_map_has_six_levels_in_order():
    levels = [as_sixteen(color, "#ffffff", dark=True)[0] for color in ramp(dark=True)]
    in_order = list(dict.fromkeys(levels))
    assert len(in_order) >= 6
    assert levels == sorted(levels, key=in_order.index)


def test_writing_in_sixteen_colours_is_never_lost_in_its_ground():
    assert as_sixteen("#5fafff", "#26415c", dark=True) == (15, 4)


@pytest.mark.parametrize("rows", [glyph_fallback._ASCII, glyph_fallback._CONSOLE])
def test_what_a_bar_has_done_differs_from_what_is_left(rows):
    done, left = "━─".translate(glyph_fallback.GlyphFallback(rows, "ascii"))
    assert done != left


@given(st.text())
def test_whatever_is_spelt_otherwise_keeps_its_cells(text):
    for rows, encoding, allowed in (
        (glyph_fallback._ASCII, "ascii", None),
        (glyph_fallback._CONSOLE, "cp437", CODE_PAGE_437),
    ):
        spelt = text.translate(glyph_fallback.GlyphFallback(rows, encoding))
        assert cell_len(spelt) == cell_len(text)
        assert spelt.isascii() if allowed is None else set(spelt) <= allowed
