"""The text picture of a loss: whatever a diverging run logs, it is drawn, quickly, in its place."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from lmm_tui.charts.text_plot import TextCanvas, loss_picture
from lmm_tui.metrics import names
from lmm_tui.metrics.series.series import SeriesStore

PLAIN = TextCanvas(60, 14, colour=False, braille=False)
BRAILLE = TextCanvas(60, 14, colour=False, braille=True)


def store_of(losses: list[float], *, every: int = 1) -> SeriesStore:
    store = SeriesStore()
    for index, loss in enumerate(losses):
        step = 1 + index * every
        store.append({"step": step, names.TRAIN_LOSS: loss, names.TRAIN_LOSS_EMA: loss})
    return store


def falling(count: int) -> list[float]:
    return [2 + 5 * 0.98**step for step in range(count)]


losses = st.floats(allow_nan=True, allow_infinity=True) | st.floats(0, 12)


@settings(deadline=2000, max_examples=60)
@given(
    st.lists(losses, max_size=40),
    st.sampled_from([PLAIN, BRAILLE]),
    st.dictionaries(st.sampled_from(["ln V", "unigram"]), losses),
)
def test_any_losses_are_drawn_inside_the_canvas(
    values: list[float], canvas: TextCanvas, references: dict[str, float]
) -> None:
    picture = loss_picture(store_of(values), references, canvas)
    assert bool(picture) == any(map(math.isfinite, values))
    lines = picture.splitlines()
    assert len(lines) <= canvas.height
    assert all(cell_len(line) <= canvas.width for line in lines)
    assert canvas.braille or picture.isascii()


def test_a_falling_loss_falls_from_left_to_right() -> None:
    rows = loss_picture(store_of(falling(200)), {}, PLAIN).splitlines()[1:]
    left = min(row for row, line in enumerate(rows) if "*" in line[:20])
    right = min(row for row, line in enumerate(rows) if "*" in line[-20:])
    assert left < 3 and right > 7


def test_a_spike_does_not_flatten_the_curve() -> None:
    values = falling(200)
    usual = loss_picture(store_of(values), {}, PLAIN).splitlines()
    values[120] = 1e9
    store = store_of(values)
    spiked = loss_picture(store, {}, PLAIN).splitlines()
    assert sum("*" in line for line in spiked) >= sum("*" in line for line in usual) - 3
    assert "9" not in spiked[1]


def test_nonfinite_values_are_counted_not_drawn() -> None:
    values = falling(50)
    values[7] = math.nan
    values[9] = -math.inf
    assert loss_picture(store_of(values), {}, PLAIN).splitlines()[0].endswith("2 not finite")


def test_references_stand_where_they_lie_inside() -> None:
    picture = loss_picture(store_of(falling(50)), {"unigram": 5.5, "ln V": 70.0}, PLAIN)
    assert "unigram 5.50" in picture and "ln V" not in picture


def test_ticks_are_round() -> None:
    last = loss_picture(store_of(falling(100), every=7), {}, PLAIN).splitlines()[-1]
    assert last.split() == ["0", "200", "400", "600"]


def test_validation_points_and_colours() -> None:
    store = store_of(falling(20))
    store.append({"step": 21, names.TRAIN_LOSS: 5.0, names.VAL_LOSS: 5.2})
    assert "o val" in loss_picture(store, {}, BRAILLE)
    coloured = loss_picture(store, {}, TextCanvas(60, 14, colour=True, braille=True))
    assert "\x1b[38;5;" in coloured


def test_pictures_drawn_at_once_do_not_mix() -> None:
    stores = [store_of([float(level)] * 9 + [level + 1.0]) for level in range(8)]
    alone = [loss_picture(store, {}, PLAIN) for store in stores]
    with ThreadPoolExecutor(4) as pool:
        together = pool.map(lambda store: loss_picture(store, {}, PLAIN), stores * 4)
    assert list(together) == alone * 4


@pytest.mark.parametrize("size", [(1, 1), (10, 3), (400, 100)])
def test_a_canvas_of_any_size_is_drawn(size: tuple[int, int]) -> None:
    assert "loss, nats" in loss_picture(store_of(falling(9)), {}, TextCanvas(*size, False, True))
