"""What all pictures over the course of a run have in common: a store, a view of it, a cursor.

Gestures come from outside; the mouse is told on. What is drawn is the subclass's matter.
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
"""Cells; a hand that trembles on a click wants no other window."""


@dataclass(frozen=True)
class _Press:
    """A button is down: where it was, in cells and on the x axis, and whether it moves the axis."""

    cell: int
    x: float
    moves: bool


class RunChart(CanvasView):
    """Subclasses draw `store` as `view` has it and say which cells have data."""

    view = Viewport()
    cursor: float | None = None
    marks: Sequence[Mark] = ()

    AXIS_ROWS: ClassVar[int] = 2
    """Rows at the bottom with the x axis: dragged there, the picture moves."""

    @dataclass
    class Pointed(Message):
        """The mouse was pressed or dragged at `x`, or its wheel turned there (`zoom` not 1)."""

        picture: RunChart
        x: float
        zoom: float = 1.0

    @dataclass
    class Framed(Message):
        """The mouse was dragged from `x0` to `x1`: that part is wanted."""

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
        """The first of the columns with data, and how many there are."""

    @property
    def whole(self) -> Whole | None:
        """Its x axis, where there is something on it."""
        return Whole.of(self.store, self.view.axis, self.x_end) if len(self.store) else None

    def apply(self, gesture: Gesture) -> None:
        if whole := self.whole:
            self.view = gesture(self.view, whole)
            self.update_canvas()

    def turn_to_axis(self, axis: Axis) -> None:
        """The same part of the run, and the cursor, on another axis."""
        if len(self.store):
            if self.cursor is not None:
                self.cursor = self.store.translate(self.cursor, self.view.axis, axis)
            self.view = onto(axis, self.view, self.store)
            self.update_canvas()

    def move_cursor(self, cells: int) -> None:
        """By so many columns; the first time it appears at the last value."""
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

    def looked_at(self) -> object:
        """What a picture depends on, but for its series."""
        view = self.view, self.cursor, tuple(self.marks)
        return id(self.store), self.store.generation, self.x_end, *view

    def on_mouse_down(self, event: events.MouseDown) -> None:
        if (x := self._x_at(event)) is None:
            return
        moves = event.button != 1 or event.ctrl or event.y >= self.size.height - self.AXIS_ROWS
        self._pressed = _Press(event.x, x, moves)
        self.capture_mouse()
        if not moves:
            self.post_message(self.Pointed(self, x))

    def on_mouse_move(self, event: events.MouseMove) -> None:
        pressed = self._pressed
        if pressed is None:
            return
        if not pressed.moves:
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
        if pressed.moves or abs(event.x - pressed.cell) < _SHORTEST_DRAG:
            return
        first, count = self.data_cells()
        cell = min(max(event.x - self.gutter.left - first, 0), count - 1)
        if (x := self._x_of(cell)) is not None:
            self.post_message(self.Framed(self, pressed.x, x))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._tell(event, zoom=1.25)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._tell(event, zoom=0.8)

    def _tell(self, event: events.MouseEvent, zoom: float) -> None:
        if (x := self._x_at(event)) is not None:
            self.post_message(self.Pointed(self, x, zoom))

    def _x_at(self, event: events.MouseEvent) -> float | None:
        """The place on the x axis under the mouse, None beside the data."""
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
    from rich.style import Style

    from lmm_tui.charts.canvas import Canvas
    from lmm_tui.charts.viewport import zoom

    class Demo(RunChart):
        def depends_on(self) -> object:
            return self.looked_at()

        def draw(self, width: int, height: int) -> Canvas:
            return Canvas(width, height)

        def ink_styles(self, base: Style, *, dark: bool) -> list[Style]:
            return []

        def data_cells(self) -> tuple[int, int]:
            return 7, 50

    demo, run = Demo(), SeriesStore()
    for step in range(1, 101):
        run.append({"step": step, "tokens": 64 * step})
    demo.store = run
    demo.apply(zoom(4))
    demo.move_cursor(-5)
    demo.turn_to_axis("tokens")
    print(demo.view, demo.cursor)
    assert demo.view.axis == "tokens" and demo.view.window
    print("=== 自测通过 ===")
