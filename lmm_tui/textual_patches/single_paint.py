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
    print(SinglePaint.painted_with_layout)
    install()
    print(SinglePaint.painted_with_layout)
    print("=== 自测通过 ===")
