"""Base of the charts over a run: a store, the part of it in view, a cursor and marks.

Mouse events become messages (`Pointed`, `Framed`, `Dragged`); their receiver decides what they do
and calls `apply` with a gesture. Subclasses draw.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from textual import events
from textual.message import Message

from lmm_tui.charts.canvas_view import CanvasView
from lmm_tui.charts.traces import Mark
from lmm_tui.charts.viewport import Gesture, Viewport, Whole, onto
from lmm_tui.metrics.series.series import Axis, SeriesStore, Store

_SHORTEST_DRAG = 2
"""Cells; a shorter drag is a click."""


@dataclass(frozen=True)
class _Press:
    """A pressed button: its position in cells and on the x axis, and whether a drag pans."""

    cell: int
    x: float
    pans: bool


class RunChart(CanvasView):
    """Subclasses draw the part of `store` in `view` and say which cells have data."""

    view = Viewport()
    cursor: float | None = None
    marks: Sequence[Mark] = ()

    AXIS_ROWS: ClassVar[int] = 2
    """Rows of the x axis at the bottom: a drag that starts there pans."""

    @dataclass
    class Pointed(Message):
        """The mouse was pressed or dragged at `x`, or its wheel turned there (`zoom` not 1)."""

        picture: RunChart
        x: float
        zoom: float = 1.0

    @dataclass
    class Framed(Message):
        """The mouse was dragged from `x0` to `x1`, to show that part."""

        picture: RunChart
        x0: float
        x1: float

    @dataclass
    class Dragged(Message):
        """The axis was dragged to the right by this share of the window."""

        picture: RunChart
        by: float

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.store: Store = SeriesStore()
        self.x_end: float | None = None
        self._pressed: _Press | None = None

    @abstractmethod
    def data_cells(self) -> tuple[int, int]:
        """The first column with data, and how many there are."""

    @property
    def whole(self) -> Whole | None:
        """The extent of the x axis, None while the store is empty."""
        return Whole.of(self.store, self.view.axis, self.x_end) if len(self.store) else None

    def apply(self, gesture: Gesture) -> None:
        if whole := self.whole:
            self.view = gesture(self.view, whole)
            self.update_canvas()

    def turn_to_axis(self, axis: Axis) -> None:
        """Show the same part of the run on another axis, the cursor included."""
        if len(self.store):
            if self.cursor is not None:
                self.cursor = self.store.translate(self.cursor, self.view.axis, axis)
            self.view = onto(axis, self.view, self.store)
            self.update_canvas()

    def move_cursor(self, cells: int) -> None:
        """Move the cursor by so many columns; without a cursor, start from the last value."""
        whole = self.whole
        if whole is None:
            return
        start, end = self.view.span(whole)
        at = min(whole.last, end) if self.cursor is None else self.cursor
        at += cells * (end - start) / max(self.data_cells()[1], 1)
        self.point_at(min(max(at, start), end))

    def point_at(self, x: float | None) -> None:
        self.cursor = x
        self.update_canvas()

    def depends_on(self) -> object:
        """Everything but the values of series, which subclasses add."""
        view = self.view, self.cursor, tuple(self.marks)
        return id(self.store), self.store.generation, self.x_end, *view

    def on_mouse_down(self, event: events.MouseDown) -> None:
        if (x := self._x_at(event)) is None:
            return
        pans = event.button != 1 or event.ctrl or event.y >= self.size.height - self.AXIS_ROWS
        self._pressed = _Press(event.x, x, pans)
        self.capture_mouse()
        if not pans:
            self.post_message(self.Pointed(self, x))

    def on_mouse_move(self, event: events.MouseMove) -> None:
        pressed = self._pressed
        if pressed is None:
            return
        if not pressed.pans:
            if (x := self._x_at(event)) is not None:
                self.post_message(self.Pointed(self, x))
        elif event.x != pressed.cell:
            by = (event.x - pressed.cell) / self.data_cells()[1]
            self._pressed = replace(pressed, cell=event.x)
            self.post_message(self.Dragged(self, by))

    def on_mouse_up(self, event: events.MouseUp) -> None:
        pressed, self._pressed = self._pressed, None
        if pressed is None:
            return
        self.release_mouse()
        if pressed.pans or abs(event.x - pressed.cell) < _SHORTEST_DRAG:
            return
        first, count = self.data_cells()
        cell = min(max(event.x - self.gutter.left - first, 0), count - 1)
        if (x := self._x_of(cell)) is not None:
            self.post_message(self.Framed(self, pressed.x, x))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._post_zoom(event, 1.25)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._post_zoom(event, 0.8)

    def _post_zoom(self, event: events.MouseEvent, zoom: float) -> None:
        if (x := self._x_at(event)) is not None:
            self.post_message(self.Pointed(self, x, zoom))

    def _x_at(self, event: events.MouseEvent) -> float | None:
        """The x under the mouse, None outside the data."""
        first, count = self.data_cells()
        cell = event.x - self.gutter.left - first
        return self._x_of(cell) if 0 <= cell < count else None

    def _x_of(self, cell: int) -> float | None:
        whole, count = self.whole, self.data_cells()[1]
        if whole is None:
            return None
        start, end = self.view.span(whole)
        return start + (cell + 0.5) / count * (end - start)


if __name__ == "__main__":
    demo = RunChart()  # type: ignore[abstract]
    demo.store = SeriesStore()
    for step in range(1, 101):
        demo.store.append({"step": step, "tokens": 64 * step})
    demo.turn_to_axis("tokens")
    print(demo.view.axis, demo.whole)
    print("=== 自测通过 ===")
