"""Text with Chinese is wrapped inside words, and no line begins with a comma."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from looking import screen_text, until_read
from rich.cells import cell_len
from textual.app import App
from textual.content import Content

from lmm_tui.cockpit.widgets.prose import Prose, wrapped
from lmm_tui.terminal.safe_text import breaks

STORY = "a fox: 小兔子住在森林边上，每天去河边。"


@given(st.text("小兔子，。（） abc-/\n", max_size=60), st.integers(4, 20))
def test_lines_fit_and_lose_nothing_but_space(text, width):
    lines = [line.plain for line in wrapped(Content(text), width)]
    assert all(cell_len(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "").replace("\n", "")


def test_an_indented_line_stays_so():
    text = "    小兔子住在森林"
    assert [*breaks(text, 12)] == [8]
    assert wrapped(Content(text), 12)[0].plain == "    小兔子住"


def test_styles_stay_with_their_words():
    lines = wrapped(Content.assemble("a fox: ", ("小兔子住在森林", "bold")), 12)
    assert [(line.plain, line.spans[0].start) for line in lines] == [
        ("a fox: 小兔", 7),
        ("子住在森林", 0),
    ]


@pytest.mark.parametrize("width, first", [(20, "a fox: 小兔子住在森"), (12, "a fox: 小兔")])
async def test_text_is_laid_out_for_the_width_there_is(width, first):
    class Page(App[None]):
        def compose(self):
            yield Prose(Content(STORY))

    app = Page()
    async with app.run_test(size=(40, 8)) as pilot:
        await until_read(pilot, STORY)
        await pilot.resize_terminal(width, 8)
        await until_read(pilot, f"{first}\n")
        assert not any(line.startswith(("，", "。")) for line in screen_text(app).splitlines())
        app.query_one(Prose).update(Content("兔 " + STORY))
        await until_read(pilot, "兔 a fox: ")
