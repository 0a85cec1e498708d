"""A widget whose size a layout sets is painted with that layout, and not once more after it.

Textual 8.2 asks for the second paint of every widget.
"""

from __future__ import annotations

from typing import Any, ClassVar

from textual.widget import Widget


class SinglePaint(Widget):
    """For widgets that draw all of themselves in `render_lines`."""

    painted_with_layout: ClassVar = False
    """Set by `install`."""
    unseen = True
    """Whether it has to be painted whole when it is shown next."""

    def _size_updated(self, *args: Any, **named: Any) -> bool:
        changed: bool = super()._size_updated(*args, **named)
        if self.painted_with_layout and (changed or self.unseen):
            self._exchange_repaint_regions()
            self.unseen = False
        return changed


def install() -> None:
    """For every widget of this kind from now on."""
    SinglePaint.painted_with_layout = True


if __name__ == "__main__":
    import asyncio

    from textual.app import App, ComposeResult
    from textual.geometry import Size

    class Demo(App[None]):
        def compose(self) -> ComposeResult:
            yield SinglePaint()

    async def asks_for_a_second_paint() -> bool:
        app, size = Demo(), Size(5, 1)
        async with app.run_test(size=(20, 2)):
            widget = app.query_one(SinglePaint)
            widget._size_updated(size, size, size)
            return bool(widget._exchange_repaint_regions())

    before = asyncio.run(asks_for_a_second_paint())
    install()
    after = asyncio.run(asks_for_a_second_paint())
    print(before, "->", after)
    assert before and not after
    print("=== 自测通过 ===")
