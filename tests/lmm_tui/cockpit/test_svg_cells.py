"""In an exported picture every character stands at its cell, also beside Chinese."""

import re
from html import unescape

import pytest
from rich.cells import cell_len
from textual.app import App
from textual.widgets import Static

from lmm_tui.cockpit.svg_cells import at_their_cells


@pytest.mark.parametrize("line", ["ab 训练 step 1 <完成>", "小兔子。end", "plain & simple"])
async def test_each_character_stands_at_the_cell_that_the_terminal_gives_it(line):
    app = App()
    async with app.run_test(size=(40, 5)) as pilot:
        await app.mount(Static(line, markup=False))
        await pilot.pause()
        plain = app.export_screenshot(simplify=True)
    cell = 12.2  # Pixels, of Rich's own format.
    placed = {}
    for x, length, text in re.findall(
        r'<text [^>]*x="([\d. ]+)"(?: textLength="([\d.]+)")?[^>]*clip-path="url\(#[^"]*line-0\)"'
        r"[^>]*>([^<]*)<",
        _with_length_after_x(at_their_cells(plain)),
    ):
        chars, places = unescape(text), [float(place) for place in x.split()]
        if len(places) == 1 and len(chars) > 1:
            assert float(length) == pytest.approx(cell * len(chars), rel=1e-3)
            places = [places[0] + cell * at for at in range(len(chars))]
        placed |= {round(place / cell): char for place, char in zip(places, chars, strict=True)}
    expected = {cell_len(line[:at]): char for at, char in enumerate(line) if char != " "}
    assert {at: char for at, char in placed.items() if not char.isspace()} == expected


def _with_length_after_x(svg):
    return re.sub(r'(x="[\d.]+") (y="[\d.]+") (textLength="[\d.]+")', r"\1 \3 \2", svg)
