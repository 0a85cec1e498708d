"""Heat maps show every layer, dead ones and diverged ones too, at any size."""

from __future__ import annotations

import numpy as np
import pytest
from looking import until
from textual.app import App, ComposeResult

from lmm_tui.charts.canvas import ALARM, FIRST_FREE_INK, LABEL
from lmm_tui.charts.heatmap import HeatMap, short_names
from lmm_tui.metrics.series.series import SeriesStore


def layers(count: int, steps: int = 200) -> SeriesStore:
    store = SeriesStore()
    at = np.arange(1, steps + 1)
    store.extend(
        at,
        {
            f"grad/layers.{layer}": (None, np.full(steps, 10.0 ** (layer / count * 3 - 2)))
            for layer in range(count)
        },
    )
    return store


class OneMap(App[None]):
    def compose(self) -> ComposeResult:
        yield HeatMap("layer norms")


def shown(heat_map: HeatMap) -> list[str]:
    return [heat_map.render_line(y).text for y in range(heat_map.size.height)]


async def test_each_layer_has_a_row_and_its_colour() -> None:
    app = OneMap()
    async with app.run_test(size=(60, 8)):
        heat_map = app.query_one(HeatMap)
        store = layers(5)
        heat_map.update_from(store, store.names(), 400)
        rows = shown(heat_map)
        assert rows[0].startswith("layer norms") and rows[0].rstrip().endswith("5")
        assert [row[:1] for row in rows[1:6]] == list("01234")
        assert rows[6].split() == ["0", "100", "200", "300", "400"]
        colours = [int(heat_map.canvas.inks[y, 10]) for y in range(1, 6)]
        assert colours == sorted(set(colours))
        # The half of the steps that is still to come is empty.
        empty = heat_map.canvas.inks[1:6, 40:58]
        assert len(np.unique(empty)) == 1


@pytest.mark.parametrize("count", [1, 3, 12, 24, 61])
async def test_any_number_of_layers_fits(count: int) -> None:
    app = OneMap()
    async with app.run_test(size=(60, 10)) as pilot:
        heat_map = app.query_one(HeatMap)
        store = layers(count)
        heat_map.update_from(store, store.names(), 200)
        for size in ((60, 10), (20, 4), (7, 2), (120, 40)):
            await pilot.resize_terminal(*size)
            await until(pilot, lambda: heat_map.size == size)  # noqa: B023
            rows = shown(heat_map)
            assert len(rows) == size[1] and {len(row) for row in rows} == {size[0]}
        painted = heat_map.canvas.inks[1:-1, 20] >= FIRST_FREE_INK
        assert np.count_nonzero(painted) >= min(count, 38) // 2


async def test_a_dead_and_a_diverged_layer_are_marked() -> None:
    app = OneMap()
    async with app.run_test(size=(60, 8)):
        store = SeriesStore()
        for step in range(100):
            alive: dict[str, object] = {"step": step, "grad/a": 0.1 + step, "grad/dead": 0.0}
            store.append(alive | {"grad/wild": "NaN" if step == 50 else 1.0})
        heat_map = app.query_one(HeatMap)
        heat_map.update_from(store, store.names(), 100)
        rows = shown(heat_map)
        # Three rows on six lines: two lines each.
        assert rows[3].count("·") == 52 and rows[5].count("╳") == 1
        assert LABEL in heat_map.canvas.inks[3, 8:] and ALARM in heat_map.canvas.inks[5, 8:]


async def test_one_wild_value_does_not_bleach_the_rest() -> None:
    app = OneMap()
    async with app.run_test(size=(60, 8)):
        store = layers(4)
        store.append({"step": 201, "grad/layers.0": 1e30})
        heat_map = app.query_one(HeatMap)
        heat_map.update_from(store, store.names(), 400)
        assert len({int(heat_map.canvas.inks[y, 12]) for y in range(1, 5)}) == 4


async def test_nothing_measured_says_so() -> None:
    app = OneMap()
    async with app.run_test(size=(60, 8)):
        heat_map = app.query_one(HeatMap)
        heat_map.update_from(SeriesStore(), ["grad/none"])
        assert any("no values yet" in row for row in shown(heat_map))


def test_names_lose_what_they_share() -> None:
    assert short_names(["grad/layers.0", "grad/layers.1"]) == ["0", "1"]
    assert short_names(["grad/embed", "grad/layers.1"]) == ["embed", "layers.1"]
    assert short_names(["grad/only"]) == ["only"]
    assert short_names(["a\x1b[2J", "b"]) == ["a␛[2J", "b"]
