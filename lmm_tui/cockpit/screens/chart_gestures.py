"""What keys do to the focused picture of a run, or to all; and what the mouse does, to all.

A mixin of screens; which part of a run that shows is worked out in `widgets/viewport`.
"""

from __future__ import annotations

from time import monotonic
from typing import ClassVar

from textual.reactive import Reactive
from textual.screen import Screen
from textual.widget import Widget

from lmm_tui.charts import viewport
from lmm_tui.charts.chart import Chart
from lmm_tui.charts.run_chart import RunChart
from lmm_tui.charts.viewport import Gesture, fit, frame, pan, smoother, to_live_edge, to_start, zoom
from lmm_tui.i18n.language import tr
from lmm_tui.metrics.series.series import Axis

_ZOOMS = {"in": 2.0, "out": 0.5}
_SAID_FOR_S = 2.0
_GESTURES = {
    "left": pan(-0.5),
    "right": pan(0.5),
    "fit": fit,
    "start": to_start,
    "live": to_live_edge,
    "smooth": smoother,
}


class ChartGestures(Screen[None]):
    """For screens with the bindings of `charts`."""

    # What gets or loses the focus paints itself: Textual would paint the whole screen as well.
    focused = Reactive[Widget | None](None, repaint=False)

    AXES: ClassVar[tuple[Axis, ...]] = viewport.AXES

    _said_until = 0.0
    """When a key that is held down may have its answer said again."""

    def action_gesture(self, name: str) -> None:
        if name in _ZOOMS:
            self._zoom(_ZOOMS[name])
            return
        for picture in self._meant():
            picture.apply(_GESTURES[name])

    def _zoom(self, factor: float) -> None:
        wholes = {picture: whole for picture in self._meant() if (whole := picture.whole)}
        moved = False
        for picture, whole in wholes.items():
            moved |= picture.view.can_zoom(factor, whole)
            picture.apply(zoom(factor, picture.cursor))
        if wholes and not moved and monotonic() > self._said_until:
            self._said_until = monotonic() + _SAID_FOR_S
            said = tr("This is as near as it gets." if factor > 1 else "All of it is shown.")
            self.notify(said, timeout=_SAID_FOR_S)

    def action_toggle_log(self) -> None:
        for picture in self._meant():
            if isinstance(picture, Chart):
                picture.toggle_log()

    def action_next_axis(self) -> None:
        """Only axes on which the run moves: a foreign log may have no time and no tokens."""
        for picture in self._meant():
            store = picture.store
            if len(store):
                axes = [axis for axis in self.AXES if axis == "step" or store.span(axis)[1] > 0]
                # A file that was replaced may have lost the axis that is shown.
                at = axes.index(picture.view.axis) if picture.view.axis in axes else -1
                picture.turn_to_axis(axes[(at + 1) % len(axes)])

    def action_move_cursor(self, cells: int) -> None:
        pictures = [picture for picture in self._meant() if picture.is_on_screen]
        if pictures:
            pictures[0].move_cursor(cells)
            self._point_at(pictures[0].cursor, pictures[0].view.axis)

    def on_run_chart_pointed(self, message: RunChart.Pointed) -> None:
        picture = message.picture
        if message.zoom == 1:
            self._point_at(message.x, picture.view.axis)
            return
        self._apply_to_all(picture.view.axis, zoom(message.zoom, message.x))

    def on_run_chart_framed(self, message: RunChart.Framed) -> None:
        self._point_at(None)
        self._apply_to_all(message.picture.view.axis, frame(message.x0, message.x1))

    def on_run_chart_dragged(self, message: RunChart.Dragged) -> None:
        self._apply_to_all(message.picture.view.axis, pan(-message.by))

    def _apply_to_all(self, axis: Axis, gesture: Gesture) -> None:
        """What the mouse does in one picture holds for all on the same axis, as the cursor does."""
        for each in self._pictures:
            if each.view.axis == axis:
                each.apply(gesture)

    @property
    def _pictures(self) -> list[RunChart]:
        return [one for one in self.query("RunChart") if isinstance(one, RunChart)]

    def _meant(self) -> list[RunChart]:
        focused = self.focused
        return [focused] if isinstance(focused, RunChart) else self._pictures

    def _point_at(self, x: float | None, axis: Axis = "step") -> None:
        """The cursor is the same in all pictures that have this axis."""
        for picture in self._pictures:
            if x is None or picture.view.axis == axis:
                picture.point_at(x)

    def drop_cursor(self) -> bool:
        """Take the cursor away; whether there was one."""
        there = any(picture.cursor is not None for picture in self._pictures)
        self._point_at(None)
        return there


if __name__ == "__main__":
    import asyncio

    from textual.app import App, ComposeResult

    from lmm_tui.charts.chart import Trace
    from lmm_tui.cockpit.keys import bindings
    from lmm_tui.metrics.series.series import SeriesStore

    class Demo(ChartGestures):
        BINDINGS = bindings("charts")

        def compose(self) -> ComposeResult:
            yield Chart("m", [Trace("m", "m", "blue", "line")])

    async def zoom_in() -> bool:
        store = SeriesStore()
        for step in range(1, 101):
            store.append({"step": step, "m": step})
        app: App[None] = App()
        async with app.run_test(size=(60, 10)) as pilot:
            await app.push_screen(Demo())
            chart = app.screen.query_one(Chart)
            chart.update_from(store)
            await pilot.press("plus")
            return chart.view.follows

    zoomed = asyncio.run(zoom_in())
    print(zoomed)
    assert zoomed
    print("=== 自测通过 ===")
