"""Zoom, pan, axis, smoothing and cursor of charts: keys act on the focused chart or on all of them,
the mouse on all charts with the same x axis.

What part of a run a chart then shows is computed in `charts.viewport`.
"""

from __future__ import annotations

from time import monotonic
from typing import ClassVar

from lmm_tui.charts import viewport
from lmm_tui.charts.chart import Chart
from lmm_tui.charts.run_chart import RunChart
from lmm_tui.charts.viewport import Gesture, fit, frame, pan, smoother, to_live_edge, to_start, zoom
from lmm_tui.cockpit.screens.polling_screen import PollingScreen
from lmm_tui.i18n.language import tr
from lmm_tui.metrics.series.series import Axis

_ZOOMS = {"in": 2.0, "out": 0.5}
_HINT_FOR_S = 2.0
_GESTURES = {
    "left": pan(-0.5),
    "right": pan(0.5),
    "fit": fit,
    "start": to_start,
    "live": to_live_edge,
    "smooth": smoother,
}


class ChartGestures(PollingScreen):
    """For screens with the bindings of `charts`."""

    AXES: ClassVar[tuple[Axis, ...]] = viewport.AXES

    _hint_until = 0.0
    """Until then a key that is held down does not repeat the hint."""

    @property
    def charts(self) -> list[RunChart]:
        """All charts, those of other pages too; one without a trace shows nothing yet."""
        found = [one for one in self.query(RunChart.__name__) if isinstance(one, RunChart)]
        return [chart for chart in found if not isinstance(chart, Chart) or chart.metrics]

    def action_gesture(self, name: str) -> None:
        if name in _ZOOMS:
            self._zoom(_ZOOMS[name])
            return
        for chart in self._targets():
            chart.apply(_GESTURES[name])

    def _zoom(self, factor: float) -> None:
        wholes = {chart: whole for chart in self._targets() if (whole := chart.whole)}
        moved = False
        for chart, whole in wholes.items():
            moved |= chart.view.can_zoom(factor, whole)
            chart.apply(zoom(factor, chart.cursor))
        if wholes and not moved and monotonic() > self._hint_until:
            self._hint_until = monotonic() + _HINT_FOR_S
            hint = tr("Already at the closest zoom." if factor > 1 else "The whole run is shown.")
            self.notify(hint, timeout=_HINT_FOR_S)

    def action_toggle_log(self) -> None:
        for chart in self._targets():
            if isinstance(chart, Chart):
                chart.toggle_log()

    def action_next_axis(self) -> None:
        """Only axes on which the run moves: a foreign log may have no time and no tokens."""
        for chart in self._targets():
            store = chart.store
            if len(store):
                axes = [axis for axis in self.AXES if axis == "step" or store.span(axis)[1] > 0]
                # A file that was replaced may have lost the axis that is shown.
                at = axes.index(chart.view.axis) if chart.view.axis in axes else -1
                chart.turn_to_axis(axes[(at + 1) % len(axes)])

    def action_move_cursor(self, cells: int) -> None:
        charts = [chart for chart in self._targets() if chart.is_on_screen]
        if charts:
            charts[0].move_cursor(cells)
            self._point_at(charts[0].cursor, charts[0].view.axis)

    def on_run_chart_pointed(self, message: RunChart.Pointed) -> None:
        axis = message.picture.view.axis
        if message.zoom == 1:
            self._point_at(message.x, axis)
        else:
            self._apply_to_all(axis, zoom(message.zoom, message.x))

    def on_run_chart_framed(self, message: RunChart.Framed) -> None:
        self._point_at(None)
        self._apply_to_all(message.picture.view.axis, frame(message.x0, message.x1))

    def on_run_chart_dragged(self, message: RunChart.Dragged) -> None:
        self._apply_to_all(message.picture.view.axis, pan(-message.by))

    def _apply_to_all(self, axis: Axis, gesture: Gesture) -> None:
        for chart in self.charts:
            if chart.view.axis == axis:
                chart.apply(gesture)

    def _targets(self) -> list[RunChart]:
        """The charts that a key acts on."""
        focused = self.focused
        return [focused] if isinstance(focused, RunChart) else self.charts

    def _point_at(self, x: float | None, axis: Axis = "step") -> None:
        """The cursor is the same in all charts that have this axis."""
        for chart in self.charts:
            if x is None or chart.view.axis == axis:
                chart.point_at(x)

    def drop_cursor(self) -> bool:
        """Take the cursor away; whether there was one."""
        had_one = any(chart.cursor is not None for chart in self.charts)
        self._point_at(None)
        return had_one


if __name__ == "__main__":
    whole = viewport.Whole(0, 1000, 900)
    close = zoom(_ZOOMS["in"])(viewport.Viewport(), whole)
    for name, gesture in _GESTURES.items():
        print(f"{name:12}", gesture(close, whole).span(whole))
    print("=== 自测通过 ===")
