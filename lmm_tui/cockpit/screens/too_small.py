"""Covers all other screens while the terminal is too small, and says which size is needed."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.geometry import Size
from textual.screen import ModalScreen
from textual.widgets import Static

from lmm_tui.cockpit import style_sheets
from lmm_tui.i18n.language import tr

SMALLEST = Size(60, 15)


def too_small(size: Size) -> bool:
    return size.width < SMALLEST.width or size.height < SMALLEST.height


class TooSmallScreen(ModalScreen[None]):
    """Closed by the app once the terminal is large enough; the run is not affected."""

    CSS_PATH = style_sheets.SCREENS
    BINDINGS = [Binding("q", "app.request_quit", "leave", id="too_small.leave", show=False)]

    def compose(self) -> ComposeResult:
        yield Static(id="too-small")

    def on_mount(self) -> None:
        self._show(self.app.size)

    def on_resize(self) -> None:
        self._show(self.size)

    def _show(self, size: Size) -> None:
        need = f"{SMALLEST.width}x{SMALLEST.height}"
        self.query_one(Static).update(
            Content.assemble(
                (tr("{size} is too small", size=f"{size.width}x{size.height}"), "bold"),
                "\n" + tr("resize it to {size} or more", size=need),
                ("\n" + tr("training is not affected; q quits"), "$foreground 70%"),
            )
        )


if __name__ == "__main__":
    for columns, lines in ((60, 15), (59, 50), (200, 14)):
        print(columns, lines, too_small(Size(columns, lines)))
    assert too_small(Size(59, 50)) and not too_small(SMALLEST)
    print("=== 自测通过 ===")
