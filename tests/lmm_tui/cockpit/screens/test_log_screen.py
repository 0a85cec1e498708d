"""The log opens at its end whatever its length, follows, finds and narrows; only text is shown."""

from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from looking import screen_text, toasts, until, until_read

from lmm_tui.cockpit import log_window
from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.keys import KEYS
from lmm_tui.cockpit.log_window import LogWindow
from lmm_tui.cockpit.screens.dashboard import DashboardScreen
from lmm_tui.cockpit.screens.log_screen import LogScreen
from lmm_tui.cockpit.widgets.log_view import LogView
from lmm_tui.engine.run.reader import Reader


@asynccontextmanager
async def reading(run, size=(80, 24)):
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=size, notifications=True) as pilot:
        await pilot.press("6")
        await until(pilot, lambda: isinstance(app.screen, LogScreen))
        await pilot.pause()
        yield app, pilot


def print_lines(run, first, last):
    with run.dir.output.open("a") as file:
        file.writelines(f"line {number} of many\n" for number in range(first, last + 1))


async def test_it_opens_at_the_end_and_follows_until_somebody_scrolls_up(run):
    print_lines(run, 1, 300)
    async with reading(run) as (app, pilot):
        await until_read(pilot, "line 300 of many")
        print_lines(run, 301, 350)
        app.screen.look()
        await until_read(pilot, "line 350 of many")
        assert "following" in screen_text(app)
        await pilot.press("pageup")
        await pilot.pause()
        assert "paused" in screen_text(app) and "line 350 of many" not in screen_text(app)
        print_lines(run, 351, 400)
        app.screen.look()
        await pilot.pause()
        assert "line 320 of many" in screen_text(app)
        await pilot.press("G")
        await until_read(pilot, "line 400 of many")


async def test_f_follows_or_stands(run):
    print_lines(run, 1, 300)
    async with reading(run) as (app, pilot):
        await pilot.press("F")
        await until_read(pilot, "paused")
        await pilot.press("F")
        await until_read(pilot, "following")
        assert app.screen.query_one(LogView).following


async def test_the_beginning_is_one_key_away_and_scrolling_down_leads_back_to_the_end(
    run, monkeypatch
):
    monkeypatch.setattr(log_window, "CHUNK", 4096)
    print_lines(run, 1, 300)
    async with reading(run) as (app, pilot):
        await pilot.press("g")
        await until_read(pilot, "line 1 of many")
        assert "line 300 of many" not in screen_text(app)
        for _ in range(16):
            await pilot.press("pagedown")
        await until_read(pilot, "line 300 of many")
        for _ in range(16):
            await pilot.press("pageup")
            await pilot.pause()
        await until_read(pilot, "line 1 of many")


async def test_search_goes_up_and_down_through_the_whole_file(run, monkeypatch):
    monkeypatch.setattr(log_window, "CHUNK", 4096)
    monkeypatch.setattr(log_window, "_BLOCK", 1000)
    print_lines(run, 1, 2000)
    async with reading(run) as (app, pilot):
        await pilot.press("n")
        assert "Press / to search" in toasts(app)[0]
        await pilot.press("slash", *"LINE 77", "enter")
        await until_read(pilot, "line 779 of many")
        await until_read(pilot, "/LINE 77  11 of 11")  # 77 and 770 to 779.
        await pilot.press("n")
        found = app.screen.query_one(LogView)
        await until(pilot, lambda: found.found == line_offset(run, "line 778 "))
        await until_read(pilot, "/LINE 77  10 of 11")
        await pilot.press("N")
        await until(pilot, lambda: found.found == line_offset(run, "line 779 "))
        await pilot.press("N")
        await until(pilot, lambda: any("No more matches" in said for said in toasts(app)))
        await pilot.press("escape")
        await pilot.pause()
        assert isinstance(app.screen, LogScreen)


def line_offset(run, text):
    return run.dir.output.read_text().index(text)


async def test_f_shows_only_lines_with_a_text_also_those_that_come(run):
    print_lines(run, 1, 500)
    with run.dir.output.open("a") as file:
        file.write("WARNING: the disk is nearly full\n")
    print_lines(run, 501, 600)
    async with reading(run) as (app, pilot):
        await pilot.press("ampersand", *"warning", "enter")
        await until_read(pilot, "1 match “warning”")
        assert "line 600" not in screen_text(app)
        with run.dir.output.open("a") as file:
            file.write("Warning: full\n")
        app.screen.look()
        await until_read(pilot, "Warning: full")
        await pilot.press("escape")
        await until_read(pilot, "line 600 of many")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, DashboardScreen))


async def test_colours_bars_and_escapes_become_plain_text(run):
    run.dir.output.write_bytes(
        b"\x1b[31mred\x1b[0m alert\n10%|#\r55%|#####\r\n\x1b]0;owned\x07 \xff\xfe end\nunfinished"
    )
    async with reading(run) as (app, pilot):
        await until_read(pilot, "red alert")
        text = screen_text(app)
        assert "55%|#####" in text and "10%" not in text and "unfinished" in text
        assert not {"\x1b", "\x07"} & set(text)


@pytest.mark.parametrize(
    "content",
    [None, "", "x" * 600_000, "\n" * 5000, "\r" * 700_000 + "end"],
    ids=["none", "empty", "long", "blank", "bar"],
)
async def test_no_key_breaks_a_log_of_any_kind(run, content):
    if content is not None:
        run.dir.output.write_text(content)
    async with reading(run, (60, 15)) as (app, pilot):
        for row in KEYS:
            if row.where in ("log", "list"):
                for key in row.keys:
                    await pilot.press(key)
                    if key in ("slash", "ampersand"):
                        await pilot.press("escape")
        assert isinstance(app.screen, LogScreen)
        if not content:
            await until_read(pilot, "No output yet")


async def test_a_log_that_is_cut_replaced_or_gone_is_read_anew(run):
    print_lines(run, 1, 300)
    async with reading(run) as (app, pilot):
        run.dir.output.write_text("a new beginning\n")
        app.screen.look()
        await until_read(pilot, "a new beginning")
        run.dir.output.unlink()
        app.screen.look()
        await until_read(pilot, "No output yet")


def test_a_hundred_megabytes_open_at_once_and_are_never_held(tmp_path):
    log = tmp_path / "output.log"
    line = (
        b"step 1234 loss 2.71828 and some words to make it a line of ninety-nine characters or so\n"
    )
    with log.open("wb") as file:
        for _ in range(100):
            file.write(line * (1_000_000 // len(line)))
    window = LogWindow(log)
    window.open_end()
    assert 0 < window.end - window.start <= log_window.CHUNK
    for _ in range(100):
        window.before()
    assert len(window.lines) <= log_window.MOST_LINES


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.binary(max_size=30).map(lambda raw: raw.replace(b"\n", b"")), max_size=40),
    st.binary(max_size=10).map(lambda raw: raw.replace(b"\n", b"")),
    st.integers(8, 64),
)
def test_whichever_way_one_walks_every_line_is_seen_once(tmp_path_factory, lines, rest, chunk):
    log = tmp_path_factory.mktemp("log") / "output.log"
    log.write_bytes(b"".join(line + b"\n" for line in lines) + rest)
    before, log_window.CHUNK = log_window.CHUNK, chunk
    try:
        up, down = LogWindow(log), LogWindow(log)
        up.open_end()
        while up.start:
            up.before()
        assert [line.raw for line in up.lines] == lines
        assert (up.unfinished.raw if up.unfinished else b"") == rest
        down.open_at(0)
        for _ in range(200):
            if not down.at_end:
                down.after()
        assert [line.raw for line in down.lines] == lines
        assert (down.unfinished.raw if down.unfinished else b"") == rest
    finally:
        log_window.CHUNK = before
