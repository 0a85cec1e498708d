"""Colours of the app on a terminal of sixteen: mapped to those, but not in exported pictures."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import App
from textual.filter import LineFilter
from textual.widget import Widget

from lmm_tui.charts.ansi16 import Ansi16Filter, has_sixteen_colours
from lmm_tui.cockpit.messages import Departure


class ColourfulApp(App[Departure]):
    """An app whose screenshots have all colours whatever the terminal shows."""

    _in_full_colour = False

    def export_screenshot(self, *, title: str | None = None, simplify: bool = True) -> str:
        """The screen as SVG, in full colour."""
        from lmm_tui.cockpit.svg_cells import at_their_cells

        self._draw_in_full_colour(True)
        try:
            # Frames that are not simplified hold only what the terminal does not show yet.
            return at_their_cells(super().export_screenshot(title=title, simplify=simplify))
        finally:
            self._draw_in_full_colour(False)

    def _draw_in_full_colour(self, wanted: bool) -> None:
        """Draw again what is on the screen, where this changes its colours."""
        if not has_sixteen_colours(self):
            return
        self._in_full_colour = wanted
        for screen in self.screen_stack:
            for widget in screen.walk_children(Widget, with_self=True):
                widget.notify_style_update()
                widget.refresh()

    def get_line_filters(self) -> Sequence[LineFilter]:
        filters = super().get_line_filters()
        if self._in_full_colour or not has_sixteen_colours(self):
            return filters
        return [*filters, Ansi16Filter(dark=self.current_theme.dark)]


if __name__ == "__main__":
    app = ColourfulApp()
    app._in_full_colour = True
    print([type(line_filter).__name__ for line_filter in app.get_line_filters()])
    print("=== 自测通过 ===")
