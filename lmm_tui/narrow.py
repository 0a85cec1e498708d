"""Paints and sends what changed on a screen and no more.

For one new dot Textual 8.2 renders every widget that the changes of a frame span, and sends the
line from the left edge of its widget on (`textual._compositor`): over ssh most of what a live run
costs. Here only the changed parts are rendered and sent. It knows nothing of what is shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.control import Control
from textual._compositor import Compositor, CompositorUpdate
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget


@dataclass(frozen=True)
class NarrowUpdate(CompositorUpdate):
    """Pieces of lines, each with where it starts."""

    pieces: tuple[tuple[int, int, Strip], ...]

    def render_segments(self, console: Console) -> str:
        return "".join(
            Control.move_to(x, y).segment.text + strip.render(console)
            for x, y, strip in self.pieces
        )


class NarrowCompositor(Compositor):
    """Textual's compositor, with partial updates made from the changed parts alone."""

    def render_partial_update(self) -> CompositorUpdate | None:  # type: ignore[override]
        changed: dict[Widget, list[Region]] = {}
        for region in self._dirty_regions:
            widget = self._owner(region)
            if widget is None:
                return super().render_partial_update()
            changed.setdefault(widget, []).append(region)
        self._dirty_regions.clear()
        pieces = tuple(
            piece for widget, regions in changed.items() for piece in self._cut(widget, regions)
        )
        return NarrowUpdate(pieces) if pieces else None

    def _owner(self, region: Region) -> Widget | None:
        """The widget that alone shows in a region of the screen."""
        for widget, (area, clip) in self.visible_widgets.items():  # The topmost first.
            shown = area.intersection(clip)
            if shown.contains_region(region):
                return widget
            if shown.overlaps(region):
                break
        return None

    def _cut(self, widget: Widget, regions: list[Region]) -> Iterator[tuple[int, int, Strip]]:
        area, _ = self.visible_widgets[widget]
        for region in regions:
            strips = widget.render_lines(region.translate(-area.offset))
            for y, strip in zip(region.line_range, strips, strict=True):
                yield region.x, y, strip


if __name__ == "__main__":
    import asyncio

    from textual.app import App, ComposeResult
    from textual.screen import Screen
    from textual.widgets import Static

    class Narrow(Screen[None]):
        def __init__(self) -> None:
            super().__init__()
            self._compositor = NarrowCompositor()

        def compose(self) -> ComposeResult:
            yield Static("loss 2.71")

    async def show() -> str:
        app: App[None] = App()
        async with app.run_test(size=(20, 2)) as pilot:
            await app.push_screen(Narrow())
            await pilot.pause()
            compositor = app.screen._compositor
            compositor._dirty_regions = {Region(5, 0, 4, 1)}
            update = compositor.render_partial_update()
            assert isinstance(update, NarrowUpdate)
            return update.render_segments(Console())

    sent = asyncio.run(show())
    print(repr(sent))
    assert "\x1b[1;6H" in sent and "2.71" in sent and "loss" not in sent
    print("=== 自测通过 ===")
