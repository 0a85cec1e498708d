"""Asks how to leave a live run: detach, stop with a checkpoint, or stay.

The dialog is dismissed with a Departure, or with None to stay.
"""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from lmm_tui.cockpit import style_sheets
from lmm_tui.cockpit.keys import bindings
from lmm_tui.cockpit.messages import Departure
from lmm_tui.i18n.language import tr


class QuitDialog(ModalScreen[Departure | None]):
    """An `owned` run trains in this process, others in one of their own."""

    CSS_PATH = style_sheets.SCREENS
    BINDINGS = bindings("dialog")
    AUTO_FOCUS = "#detach"

    def __init__(self, *, owned: bool) -> None:
        super().__init__()
        self._owned = owned

    def compose(self) -> ComposeResult:
        goes_on = (
            tr("training keeps running in this process")
            if self._owned
            else tr("training keeps running")
        )
        with Vertical(id="dialog") as dialog:
            dialog.border_title = tr("Quit")
            detach = tr("Detach ({goes_on})", goes_on=goes_on)
            yield Button(f"[b]d[/b]   {detach}", id="detach", compact=True)
            stop = tr("Stop after this step and save a checkpoint")
            yield Button(f"[b]s[/b]   {stop}", id="stop", compact=True)
            yield Button(f"[b]esc[/b] {tr('Cancel')}", id="cancel", compact=True)
            yield Static(tr("press q or ctrl+c again to detach"), classes="hint")
            closing = tr("closing the terminal detaches, too")
            if self._owned:
                closing = tr("training keeps this prompt; closing the terminal detaches, too")
            yield Static(closing, classes="hint")

    @on(Button.Pressed)
    def leave(self, event: Button.Pressed) -> None:
        event.stop()
        {"detach": self.action_detach, "stop": self.action_stop}.get(
            event.button.id or "", self.action_cancel
        )()

    def action_detach(self) -> None:
        self.dismiss(Departure.DETACH)

    def action_stop(self) -> None:
        self.dismiss(Departure.STOP)

    def action_cancel(self) -> None:
        self.dismiss(None)


if __name__ == "__main__":
    print(*QuitDialog.BINDINGS, sep="\n")
    print("=== 自测通过 ===")
