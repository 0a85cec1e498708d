"""A widget that shows a canvas and repaints only the cells that changed.

It redraws for a new size and restyles for a new theme. A subclass draws the canvas, and returns
from `depends_on` what the drawing depends on: while that is equal, nothing is drawn.
"""

from __future__ import annotations

from abc import abstractmethod

from rich.segment import Segment
from rich.style import Style
from textual.geometry import NULL_SIZE, Region
from textual.reactive import Reactive
from textual.strip import Strip

from lmm_tui.charts.canvas import Canvas
from lmm_tui.metrics.drawing.palette import chart_colors
from lmm_tui.textual_patches.single_paint import SinglePaint


class CanvasView(SinglePaint):
    """Subclasses implement `depends_on`, `draw` and `ink_styles`."""

    ALLOW_SELECT = False

    # Textual would lay out the whole screen again for a new size; no other widget depends on it.
    virtual_size = Reactive(NULL_SIZE, layout=False, repaint=False)

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._canvas = Canvas(0, 0)
        self._drawn: object = None
        self._styles: list[Style] = []
        self._all_strips: list[Strip] = []

    @abstractmethod
    def depends_on(self) -> object:
        """All inputs of the drawing but size and theme; equal values mean equal drawings."""

    @abstractmethod
    def draw(self, width: int, height: int) -> Canvas:
        """A canvas of this size."""

    @abstractmethod
    def ink_styles(self, base: Style, *, dark: bool) -> list[Style]:
        """The styles of the inks from FIRST_FREE_INK on; `base` has the background."""

    @property
    def canvas(self) -> Canvas:
        """The canvas as it was drawn last."""
        return self._canvas

    def update_canvas(self) -> None:
        """Draw again if `depends_on` changed, and repaint the cells that differ."""
        if not self.is_attached or self.depends_on() == self._drawn:
            return
        self.unseen = not self.is_on_screen
        if self.unseen or self._is_stale():
            # `render_lines` draws it once it is visible.
            if self._drawn is not None:
                self._drawn = None
                self.refresh()
            return
        before = self._canvas
        self._draw()
        if changes := list(self._canvas.changes(before)):
            self.refresh(*changes)

    def redraw(self) -> None:
        """Discard the drawing and its styles; both are made when it is painted next."""
        self._drawn, self._styles = None, []
        self.refresh()

    def render_lines(self, crop: Region) -> list[Strip]:
        """Only the cropped cells are rendered; Textual renders whole lines and crops them."""
        # `part` is in cells of the canvas: the crop without the padding.
        wanted = crop.translate((-self.gutter.left, -self.gutter.top))
        part = wanted.intersection(self.content_size.region)
        if part.height < wanted.height or self.styles.gutter != self.styles.padding:
            return super().render_lines(crop)
        strips = self._strips(part)
        if part == wanted:
            return strips
        left, right = part.x - wanted.x, wanted.right - part.right
        before, after = ([Segment(" " * gap, self._styles[0])] * bool(gap) for gap in (left, right))
        return [Strip([*before, *strip, *after], wanted.width) for strip in strips]

    def render_line(self, y: int) -> Strip:
        return self._strips(Region(0, y, self.size.width, 1))[0]

    def _strips(self, part: Region) -> list[Strip]:
        if self._drawn is None or self._is_stale():
            self._draw()
            self._styles = self._make_styles()
        if part.size != self.content_size:
            return self._canvas.strips(part, self._styles)
        if not self._all_strips:
            self._all_strips = self._canvas.strips(part, self._styles)
        return self._all_strips

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles = []

    def _is_stale(self) -> bool:
        return not self._styles or self.size != (self._canvas.width, self._canvas.height)

    def _draw(self) -> None:
        self._drawn = self.depends_on()
        self._canvas = self.draw(*self.size)
        self._all_strips = []

    def _make_styles(self) -> list[Style]:
        dark = self.app.current_theme.dark
        base, colors = self.rich_style, chart_colors(dark=dark)
        styles = [
            base,
            base + Style(bold=True),
            base + Style(color=colors.label),
            base + Style(color=colors.axis),
            base + Style(color=colors.reference),
            base + Style(color=colors.alarm, bold=True),
            # Reversed with the focus: the background of a focused widget differs too little.
            base + Style(bold=True, reverse=self.has_focus),
            *self.ink_styles(base, dark=dark),
        ]
        # Line filters (NO_COLOR, sixteen colours) are applied here once, not to every painted line.
        samples = [Segment(" ", style) for style in styles]
        for line_filter in self.get_line_filters():
            samples = line_filter.apply(samples, self.background_colors[1])
        return [sample.style or base for sample in samples]


if __name__ == "__main__":
    view = CanvasView()  # type: ignore[abstract]
    view._is_stale = lambda: False  # type: ignore[method-assign]
    view._canvas, view._styles, view._drawn = Canvas(8, 1), [Style()], "steps"
    view.canvas.put(1, 0, "steps", 0)
    print(view._strips(Region(0, 0, 8, 1)))
    print("=== 自测通过 ===")
