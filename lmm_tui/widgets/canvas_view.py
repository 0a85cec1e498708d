"""A widget that shows a canvas as cached strips, and paints only what changed on it.

It follows size and theme; what is on the canvas, and when that changes, is its subclass's matter.
"""

from __future__ import annotations

from abc import abstractmethod

from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from lmm_tui.palette import chart_colors
from lmm_tui.widgets.canvas import Canvas


class CanvasView(Widget):
    """Subclasses say what the picture depends on, draw it, and give their inks a look."""

    ALLOW_SELECT = False

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._canvas = Canvas(0, 0)
        self._drawn: object = None
        self._strips: list[Strip] = []
        self._styles: list[Style] = []

    @abstractmethod
    def depends_on(self) -> object:
        """What the picture is made of but for size and theme; equal values, equal pictures."""

    @abstractmethod
    def draw(self, width: int, height: int) -> Canvas:
        """The picture at this size."""

    @abstractmethod
    def ink_styles(self, base: Style, *, dark: bool) -> list[Style]:
        """The looks of the inks from FIRST_FREE_INK on; `base` has the background."""

    def update_canvas(self) -> None:
        """Paint the changed parts of changed lines, at next to no cost where there are none."""
        if not self.is_attached or self.depends_on() == self._drawn:
            return
        if not self.is_on_screen or self._is_stale():
            # It is drawn when it is shown; until then nothing has to be computed.
            if self._drawn is not None:
                self._drawn = None
                self.refresh()
            return
        before = self._canvas
        self._draw()
        changes = list(self._canvas.changes(before))
        rows = sorted({change.y for change in changes})
        for y, strip in zip(rows, self._canvas.strips(rows, self._styles), strict=True):
            self._strips[y] = strip
        if changes:
            self.refresh(*changes)

    def render_line(self, y: int) -> Strip:
        if self._drawn is None or self._is_stale():
            self._draw()
            self._styles = self._make_styles()
            self._strips = self._canvas.strips(range(self._canvas.height), self._styles)
        return self._strips[y]

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles = []

    def _is_stale(self) -> bool:
        return not self._styles or self.size != (self._canvas.width, self._canvas.height)

    def _draw(self) -> None:
        self._drawn = self.depends_on()
        self._canvas = self.draw(*self.size)

    def _make_styles(self) -> list[Style]:
        dark = self.app.current_theme.dark
        base, colors = self.rich_style, chart_colors(dark=dark)
        return [
            base,
            base + Style(bold=True),
            base + Style(color=colors.label),
            base + Style(color=colors.axis),
            base + Style(color=colors.reference),
            base + Style(color=colors.alarm, bold=True),
            *self.ink_styles(base, dark=dark),
        ]


if __name__ == "__main__":
    import asyncio

    from textual.app import App, ComposeResult

    from lmm_tui.widgets.canvas import TITLE

    class Word(CanvasView):
        word = "steps"

        def depends_on(self) -> str:
            return self.word

        def draw(self, width: int, height: int) -> Canvas:
            canvas = Canvas(width, height)
            canvas.put(1, 0, self.word, TITLE)
            return canvas

        def ink_styles(self, base: Style, *, dark: bool) -> list[Style]:
            return []

    class Demo(App[None]):
        def compose(self) -> ComposeResult:
            yield Word()

    async def show() -> str:
        app = Demo()
        async with app.run_test(size=(10, 1)) as pilot:
            view = app.query_one(Word)
            view.word = "stops"
            view.update_canvas()
            await pilot.pause()
            return view.render_line(0).text

    text = asyncio.run(show())
    print(repr(text))
    assert text == " stops    "
    print("=== 自测通过 ===")
