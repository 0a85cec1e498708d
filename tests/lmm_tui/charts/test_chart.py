"""Charts show every spike, every gap and no noise, and paint only what changed."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from looking import until
from rich.color import Color, ColorSystem
from textual.app import App, ComposeResult
from textual.geometry import Region

from lmm_tui.charts.braille import ASCII, BRAILLE, HALVES, GlyphSet, text_of
from lmm_tui.charts.canvas import ALARM, REFERENCE, Canvas
from lmm_tui.charts.chart import Chart, Trace
from lmm_tui.charts.plot import Plot
from lmm_tui.charts.plot_area import GUTTER
from lmm_tui.charts.traces import band_ink, line_ink
from lmm_tui.charts.viewport import Viewport
from lmm_tui.metrics.drawing import palette
from lmm_tui.metrics.series.run_overlay import Overlay
from lmm_tui.metrics.series.series import SeriesStore

LOSS = [
    Trace("train/loss", "train", "blue", "band"),
    Trace("train/loss_ema", "EMA", "blue", "line"),
    Trace("val/loss", "val", "orange", "marks"),
]
ONE = [Trace("m", "m", "green", "line")]


def run_of(size: int) -> SeriesStore:
    store = SeriesStore()
    steps = np.arange(1, size + 1)
    smooth = 2.5 + 4.4 * np.exp(-steps / 200)
    noise = np.random.default_rng(0).normal(0, 0.2, size)
    at = np.arange(49, size, 50)
    store.extend(
        steps,
        {
            "train/loss": (None, smooth + noise),
            "train/loss_ema": (None, smooth),
            "val/loss": (at, smooth[at] + 0.3),
        },
    )
    return store


def one(values: list[object]) -> SeriesStore:
    store = SeriesStore()
    for step, value in enumerate(values, start=1):
        store.append({"step": step, "m": value})
    return store


def lines(canvas: Canvas) -> list[str]:
    return text_of(canvas.codes)


def dots(text: str) -> int:
    return sum(0x2800 < ord(char) < 0x2900 for char in text)


# What is drawn


def test_the_title_line_says_what_is_drawn_and_where_it_stands() -> None:
    title = lines(Plot("loss", LOSS).draw(run_of(1000), 100, 12))[0]
    assert title.startswith("loss  ━ train 2.")
    assert "━ EMA 2.530" in title and "━ val 2.830" in title
    assert title.rstrip().endswith("best val 2.830 at step 1,000")


def test_a_narrow_title_keeps_lines_before_bands() -> None:
    titles = [lines(Plot("loss", LOSS).draw(run_of(1000), width, 8))[0] for width in (42, 24, 20)]
    assert ["train" in title for title in titles] == [False, False, False]
    assert "EMA" in titles[0] and "val" in titles[0]
    assert "EMA" not in titles[1] and "val 2.830" in titles[1]
    assert titles[2].startswith("loss")


def test_a_title_with_room_for_one_trace_keeps_the_one_that_counts() -> None:
    store = SeriesStore()
    for step in range(1, 101):
        store.append({"step": step, "train/grad_norm": 1 / step, "train/clip_rate": 0.0588})
    traces = [
        Trace("train/grad_norm", "norm", "magenta", "line"),
        Trace("train/clip_rate", "clipped", "red", "line"),
    ]
    title = lines(Plot("gradients", traces).draw(store, 34, 8))[0]
    assert "norm 0.0100" in title and "clipped" not in title


def test_the_unit_goes_before_the_last_value() -> None:
    rate = [Trace("train/clip_rate", "clip rate", "blue", "line")]
    store = SeriesStore()
    for step in (1, 2):
        store.append({"step": step, "train/clip_rate": 0.25})
    wide, narrow, least = (
        lines(Plot("clip rate", rate, unit="share").draw(store, width, 8))[0].strip()
        for width in (40, 20, 12)
    )
    assert (wide, narrow, least) == ("clip rate (share)  25.0 %", "clip rate  25.0 %", "clip rate")


def test_of_several_runs_the_title_names_the_best() -> None:
    stores = {"calm": SeriesStore(), "wild": SeriesStore()}
    for loss, store in enumerate(stores.values(), start=2):
        store.append({"step": 9, "val/loss": float(6 - loss)})
    traces = [Trace(Overlay.name(key, "val/loss"), key, "blue", "marks") for key in stores]
    assert (
        "best wild 3.000 at step 9"
        in lines(Plot("val loss", traces).draw(Overlay(stores), 90, 8))[0]
    )


def test_an_empty_chart_says_so() -> None:
    rows = lines(Plot("PPL", ONE).draw(SeriesStore(), 40, 9))
    assert rows[0].startswith("PPL") and "no values yet" in rows[4]


def test_noise_is_a_quiet_band_behind_its_mean() -> None:
    store = one(np.random.default_rng(1).normal(5, 1, 20_000).tolist())
    canvas = Plot("m", ONE).draw(store, 80, 20)
    inks = canvas.inks[1:-2, GUTTER:-1]
    bright, quiet = (np.count_nonzero(inks == ink) for ink in (line_ink(0), band_ink(0)))
    assert quiet > 2 * bright > 0
    # The mean of a stationary series is a thin line: about one cell a column.
    assert bright <= 1.6 * inks.shape[1]


def test_a_single_spike_among_a_million_points_is_seen() -> None:
    values = np.full(1_000_000, 2.0) + np.arange(1_000_000) % 7 / 50
    store = SeriesStore()
    values[654_321] = 2.4
    store.extend(np.arange(1_000_000), {"m": (None, values)})
    canvas = Plot("m", ONE).draw(store, 100, 20)
    tall = (canvas.inks[1:-2, GUTTER:-1] > 0).sum(axis=0)
    cell = 654_321 * 92 // 1_000_000
    assert tall[cell] > 2 * np.median(tall[tall > 0])


def test_what_is_cut_off_is_marked_and_counted() -> None:
    values: list[object] = [1.0 + step % 5 / 10 for step in range(400)]
    values[100], values[300] = 1e9, 50.0
    canvas = Plot("m", ONE).draw(one(values), 80, 12)
    rows = lines(canvas)
    assert rows[0].rstrip().endswith("▲2") or " ▲2 " in rows[0]
    assert rows[1].count("▲") == 2
    assert dots("".join(rows)) > 70


def test_dips_that_are_cut_off_are_marked_too() -> None:
    values: list[object] = [50_000.0 + step % 7 * 100 for step in range(400)]
    values[200] = 12.0
    rows = lines(Plot("m", ONE).draw(one(values), 80, 12))
    assert "▼1" in rows[0] and rows[-3].count("▼") == 1


@pytest.mark.parametrize("log", [False, True])
def test_a_diverged_run_is_red_ticks_on_an_axis_that_is_still_there(log: bool) -> None:
    values: list[object] = [3.0 - step / 200 for step in range(200)]
    values[50:60] = ["NaN"] * 10
    values[120] = "Infinity"
    canvas = Plot("m", ONE, log=log).draw(one(values), 80, 12)
    rows = lines(canvas)
    assert "11 NaN/Inf" in rows[0]
    assert rows[-2].count("╳") >= 3
    assert (canvas.inks[-2][canvas.codes[-2] == ord("╳")] == ALARM).all()
    assert dots("".join(rows)) > 70


def test_a_run_of_nothing_but_nan_has_axes_and_ticks() -> None:
    rows = lines(Plot("m", ONE).draw(one(["NaN"] * 10), 60, 10))
    assert "m  NaN" in rows[0] and "╳" in rows[-2] and "┤" in "".join(rows)


def test_references_are_drawn_near_the_data_and_labelled() -> None:
    references = {"ln V": 6.93, "bigram": 4.1, "far": 400.0}
    canvas = Plot("loss", LOSS).draw(run_of(1000), 100, 20, 2000, references)
    text = "\n".join(lines(canvas))
    assert "ln V" in text and "bigram" in text and "far" not in text
    assert np.count_nonzero(canvas.inks == REFERENCE) > 100


def test_labels_of_references_that_are_close_do_not_cover_each_other() -> None:
    references = {"unigram": 4.10, "bigram": 4.11}
    text = "\n".join(lines(Plot("loss", LOSS).draw(run_of(1000), 100, 20, 2000, references)))
    assert "unigram" in text and "bigram" in text


def test_lines_in_the_same_cells_both_stay_visible() -> None:
    store = SeriesStore()
    for step in range(500):
        store.append({"step": step, "a": 1.0 + step / 500, "b": 1.001 + step / 500})
    traces = [Trace("a", "a", "blue", "line"), Trace("b", "b", "orange", "line")]
    inks = Plot("ab", traces).draw(store, 80, 12).inks
    counts = [np.count_nonzero(inks[1:] == line_ink(trace)) for trace in (0, 1)]
    assert min(counts) > 0.3 * max(counts)


def test_a_log_axis_is_ticked_by_decades() -> None:
    store = one([math.exp(9 - step / 60) for step in range(500)])
    rows = lines(Plot("PPL", ONE, log=True).draw(store, 80, 20))
    labels = [row[: GUTTER - 1].strip() for row in rows if row[GUTTER - 1] == "┤"]
    assert labels == ["10k", "1k", "100", "10", "1"]


def test_values_a_log_axis_cannot_show_leave_the_others() -> None:
    rows = lines(Plot("m", ONE, log=True).draw(one([1.0, 10.0, 0.0, -5.0, 100.0]), 60, 12))
    assert dots("".join(rows)) > 3


@pytest.mark.parametrize("axis", ["tokens", "time"])
def test_other_axes(axis: str) -> None:
    store = SeriesStore()
    for step in range(1, 101):
        store.append({"step": step, "time": 1e9 + 36 * step, "tokens": 1e5 * step, "m": step})
    view = Viewport(axis=axis)  # type: ignore[arg-type]
    last = lines(Plot("m", ONE).draw(store, 80, 12, view=view))[-1]
    assert last.split()[:2] == [{"tokens": "tok"}.get(axis, axis), "0"]
    assert ("10M" if axis == "tokens" else "1h") in last.split()


def test_charts_of_a_column_share_their_ticks() -> None:
    store = run_of(700)
    for step in range(701, 710):
        store.append({"step": step, "m": 3e-4})
    below = [lines(Plot("x", traces).draw(store, 70, 10, 1000))[-2:] for traces in (LOSS, ONE)]
    assert below[0] == below[1]
    assert below[0][1].split() == ["step", "0", "250", "500", "750", "1k"]


def test_data_beyond_the_given_end_is_not_lost() -> None:
    assert "600" in lines(Plot("m", ONE).draw(one([1.0, 2.0] * 350), 70, 10, 100))[-1]


def test_the_y_range_stays_while_it_fits() -> None:
    plot = Plot("m", ONE)
    store = one([float(step % 10) for step in range(500)])
    before = lines(plot.draw(store, 80, 12, 1000))
    for step in range(501, 600):
        store.append({"step": step, "m": 8.5})
    after = lines(plot.draw(store, 80, 12, 1000))
    assert [row[:GUTTER] for row in before[1:]] == [row[:GUTTER] for row in after[1:]]
    # What was drawn stays where it is: only columns of new points change.
    assert [row[:40] for row in before[1:]] == [row[:40] for row in after[1:]]


@pytest.mark.parametrize("glyphs", [BRAILLE, HALVES, ASCII], ids=lambda glyphs: glyphs.name)
def test_every_glyph_set_draws_the_whole_chart(glyphs: GlyphSet) -> None:
    store = run_of(1000)
    store.append({"step": 1001, "train/loss": "NaN"})
    rows = lines(Plot("loss", LOSS, glyphs=glyphs).draw(store, 70, 14))
    text = "\n".join(rows)
    assert text.isascii() == (glyphs is ASCII)
    assert glyphs.nonfinite in rows[-2]
    drawn = [row[GUTTER:].strip() for row in rows[1:-2]]
    assert sum(map(bool, drawn)) >= 8


ROW_VALUES = st.lists(
    st.floats(-1e6, 1e6)
    | st.sampled_from([math.nan, math.inf, -math.inf, 1e308, -1e308, 1e-300, 0.0]),
    max_size=40,
)


@settings(deadline=None)
@given(
    ROW_VALUES,
    st.integers(1, 60),
    st.integers(1, 20),
    st.booleans(),
    st.sampled_from([BRAILLE, HALVES, ASCII]),
    st.sampled_from([None, 1.0, 30.0, 1e9]),
    st.sampled_from(["line", "band", "marks"]),
)
def test_no_data_and_no_size_breaks_a_chart(
    values: list[float],
    width: int,
    height: int,
    log: bool,
    glyphs: GlyphSet,
    x_end: float | None,
    kind: str,
) -> None:
    store = SeriesStore()
    for step, value in enumerate(values):
        store.append({"step": step, "m": value})
    traces = [Trace("m", "小兔子\x1b[2J", "red", kind)]  # type: ignore[arg-type]
    canvas = Plot("值\x1b", traces, log=log, glyphs=glyphs).draw(
        store, width, height, x_end, {"one": 1.0, "nothing": math.nan}
    )
    assert (canvas.width, canvas.height) == (width, height)
    assert not (canvas.codes == 0x1B).any()


# What is painted


class OneChart(App[None]):
    def __init__(self, chart: Chart) -> None:
        super().__init__()
        self.chart = chart

    def compose(self) -> ComposeResult:
        yield self.chart


@pytest.fixture
def painted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Region, ...]]]:
    """The regions of each refresh of a chart."""
    refreshed: list[tuple[Region, ...]] = []
    real = Chart.refresh

    def refresh(self: Chart, *regions: Region, **options: bool) -> Chart:
        refreshed.append(regions)
        return real(self, *regions, **options)

    monkeypatch.setattr(Chart, "refresh", refresh)
    yield refreshed


def shown(chart: Chart) -> list[str]:
    return [chart.render_line(y).text for y in range(chart.size.height)]


async def test_nothing_is_painted_where_nothing_changed(
    painted: list[tuple[Region, ...]],
) -> None:
    store, chart = run_of(1000), Chart("loss", LOSS)
    async with OneChart(chart).run_test(size=(80, 20)) as pilot:
        chart.update_from(store, 2000)
        await pilot.pause()
        painted.clear()
        chart.references = {}
        chart.update_from(store, 2000)
        store.append({"step": 1001, "other": 1.0})
        chart.update_from(store, 2000)
        assert painted == []


async def test_a_new_point_paints_a_few_cells(painted: list[tuple[Region, ...]]) -> None:
    store, chart = run_of(1000), Chart("loss", LOSS)
    async with OneChart(chart).run_test(size=(80, 20)) as pilot:
        chart.update_from(store, 2000)
        await pilot.pause()
        painted.clear()
        store.append({"step": 1016, "train/loss": 2.9, "train/loss_ema": 2.52})
        chart.update_from(store, 2000)
        (regions,) = painted
        in_plot = [region for region in regions if region.y > 0]
        assert in_plot and all(region.width <= 4 for region in in_plot)


async def test_partial_paints_add_up_to_a_whole_one() -> None:
    store, live, fresh = run_of(60), Chart("loss", LOSS), Chart("loss", LOSS)
    app = OneChart(live)
    async with app.run_test(size=(80, 20)) as pilot:
        for step in range(61, 400):
            store.append({"step": step, "train/loss": 9.0 / step**0.2, "train/loss_ema": 3.0})
            live.update_from(store, 500)
        store.append({"step": 200, "train/loss": "NaN"})
        live.update_from(store, 500)
        live_rows = shown(live)
        # The y range depends on what was drawn before; it belongs to the plot.
        fresh.plot = live.plot
        await live.remove()
        await app.mount(fresh)
        fresh.update_from(store, 500)
        await pilot.pause()
        assert shown(fresh) == live_rows
        assert not list(fresh.canvas.changes(live.canvas))


async def test_a_chart_follows_its_size() -> None:
    chart = Chart("loss", LOSS)
    async with OneChart(chart).run_test(size=(80, 20)) as pilot:
        chart.update_from(run_of(1000))
        for size in ((40, 10), (20, 5), (120, 40), (3, 1)):
            await pilot.resize_terminal(*size)
            await until(pilot, lambda: chart.size == size)  # noqa: B023
            rows = shown(chart)
            assert len(rows) == size[1] and {len(row) for row in rows} == {size[0]}


async def test_a_hidden_chart_is_up_to_date_when_it_is_shown(
    painted: list[tuple[Region, ...]],
) -> None:
    chart = Chart("m", ONE)
    async with OneChart(chart).run_test(size=(60, 12)) as pilot:
        chart.update_from(one([1.0, 2.0]))
        chart.display = False
        await pilot.pause()
        painted.clear()
        for size in (50, 60, 70):
            chart.update_from(one([1.0] * size))
        assert len(painted) <= 1
        chart.display = True
        await pilot.pause()
        assert "70" in shown(chart)[-1] or "80" in shown(chart)[-1]


async def test_a_theme_recolours_what_is_drawn() -> None:
    chart = Chart("m", ONE)
    app = OneChart(chart)
    async with app.run_test(size=(60, 12)) as pilot:
        chart.update_from(one([1.0, 2.0, 3.0]))
        for theme, dark in (("textual-dark", True), ("textual-light", False)):
            app.theme = theme
            await pilot.pause()
            used = {
                segment.style.color.triplet.hex
                for y in range(12)
                for segment in chart.render_line(y)
                if segment.style and segment.style.color and segment.style.color.triplet
            }
            assert palette.shade("green", dark=dark).line in used
            assert palette.shade("green", dark=not dark).line not in used


@pytest.mark.parametrize("dark", [True, False])
def test_colours_are_the_same_on_256_colour_terminals(dark: bool) -> None:
    colors = [
        *palette.ramp(dark=dark),
        *vars(palette.chart_colors(dark=dark)).values(),
        *(
            color
            for name in palette.SERIES_COLORS
            for color in vars(palette.shade(name, dark=dark)).values()
        ),
    ]
    for color in colors:
        parsed = Color.parse(color)
        shown = parsed.downgrade(ColorSystem.EIGHT_BIT).get_truecolor()
        # Rich rounds light greys to the next entry of the ramp, ten levels away.
        assert max(abs(a - b) for a, b in zip(shown, parsed.get_truecolor(), strict=True)) <= 10


def test_lines_carry_the_signs_of_the_legend_where_colours_do_not_tell_them_apart() -> None:
    store = SeriesStore()
    for step in range(1, 101):
        store.append({"step": step, "low": 1.0, "high": 9.0})
    traces = [Trace("low", "low", "blue", "line"), Trace("high", "high", "orange", "line")]
    plot = Plot("both", traces)
    plot.signed = True
    title, *rows = text_of(plot.draw(store, 60, 12).codes)
    assert "o low 1.0" in title and "+ high 9.0" in title
    (above,) = [row for row in rows if row.count("+") > 2]
    (below,) = [row for row in rows if row.count("o") > 2]
    assert rows.index(above) < rows.index(below)
    plot = Plot("one", traces[:1])
    plot.signed = True
    assert not any("o" in row for row in text_of(plot.draw(store, 60, 12).codes)[1:])


async def test_without_colours_no_line_is_too_dark_to_be_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    store = SeriesStore()
    names = palette.SERIES_COLORS
    levels = {name: (None, np.full(100, float(level))) for level, name in enumerate(names)}
    store.extend(np.arange(1, 101), levels)
    chart = Chart("all", [Trace(name, name, name, "line") for name in names])

    async with OneChart(chart).run_test(size=(60, 40)):
        chart.update_from(store)
        rows = [chart.render_line(y) for y in range(40)]
        for number, name in enumerate(names):
            y, x = np.argwhere(chart.canvas.inks == line_ink(number))[0]
            (cell,) = rows[y].crop(x, x + 1)
            assert cell.style and cell.style.color, name
            assert min(cell.style.color.get_truecolor()) > 0xA0, name
