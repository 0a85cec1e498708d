"""The recorded spikes of a run: a list, and the text of one coloured by token loss.

Nothing is changed here: the screen is dismissed with the step to go back to before, or with None.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from lmm_tui.cockpit import style_sheets
from lmm_tui.cockpit.keys import bindings
from lmm_tui.cockpit.screens.dialogs import Choice, ChoiceDialog, pressed
from lmm_tui.cockpit.widgets.samples_panel import LOSS_STYLES
from lmm_tui.cockpit.widgets.table import Table, TableColumn, TableRow
from lmm_tui.engine.run.spike_files import SpikeError, list_spikes, read_spike
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.runs.spike_text import rule_name, spike_body, spike_heading
from lmm_tui.terminal.safe_text import clean

_EMPTY = mark(
    "No spikes.\nThe batch of a step with a spike or NaN in loss or gradient is kept here."
)


class SpikesScreen(ModalScreen[int | None]):
    """Dismissed with the spike to go back to before, or with None.

    A live run is rolled back; of one that has ended a new run is set up.
    """

    CSS_PATH = style_sheets.SCREENS
    DEFAULT_CSS = """
    SpikesScreen { align: center middle; }
    #spikes { width: 90%; height: 90%; border: round $accent; background: $surface;
              padding: 0 1; }
    #spikes Table { height: auto; min-height: 4; max-height: 30%; background: $surface; }
    #spikes VerticalScroll { height: 1fr; margin-top: 1; }
    """
    BINDINGS = bindings("spikes")
    AUTO_FOCUS = "Table"

    def __init__(self, folder: Path, *, live: bool) -> None:
        super().__init__()
        self._folder = folder
        self._live = live

    def compose(self) -> ComposeResult:
        with Vertical(id="spikes") as panel:
            panel.border_title = tr("spikes")
            live, ended = (
                tr("b: roll back to before it and skip it"),
                tr("b: new run from the checkpoint before it"),
            )
            back = pressed(live if self._live else ended, "go_back")
            leave = pressed("esc", "leave")
            some = list_spikes(self._folder)
            panel.border_subtitle = f"{back} · {leave}" if some else leave
            yield Table(
                (
                    TableColumn("step", tr("step"), 9, right=True),
                    TableColumn("rule", tr("rule"), 11),
                    TableColumn("what", tr("what"), 20, grows=True),
                ),
                tr(_EMPTY),
            )
            with VerticalScroll(can_focus=True):
                yield Static(id="spike")

    def on_mount(self) -> None:
        rows = []
        for step in reversed(list_spikes(self._folder)):
            try:
                spike = read_spike(self._folder, step)
            except SpikeError as error:
                cells = {
                    "step": f"{step:,}",
                    "rule": tr("unreadable"),
                    "what": translate_message(str(error)),
                }
            else:
                cells = {
                    "step": f"{step:,}",
                    "rule": rule_name(spike),
                    "what": translate_message(spike.what),
                }
            rows.append(TableRow(str(step), cells))
        table = self.query_one(Table)
        table.show(rows, empty=tr(_EMPTY))
        self._show()

    @on(Table.Moved)
    def _show(self) -> None:
        step = self._step()
        if step is None:
            return
        shown = self.query_one("#spike", Static)
        try:
            spike = read_spike(self._folder, step)
        except LmmError as error:
            shown.update(clean(translate_message(str(error))))
            return
        colours = self.app.theme_variables
        styles = [colours.get(style.removeprefix("$"), "") for style in LOSS_STYLES]
        shown.update(spike_heading(spike).append("\n\n").append_text(spike_body(spike, styles)))

    def action_leave(self) -> None:
        self.dismiss(None)

    def action_go_back(self) -> None:
        step = self._step()
        if step is None:
            return
        if not self._live:
            self.dismiss(step)
            return
        question = tr(
            "Restore the last checkpoint from before step {step:,} and continue with the next "
            "data? Steps since then are lost; the batch is skipped.",
            step=step,
        )
        self.app.push_screen(
            ChoiceDialog(
                tr("roll back"), question, [Choice("back", "y", mark("Roll back and skip it"))]
            ),
            partial(self._answered, step),
        )

    def _answered(self, step: int, answer: str | None) -> None:
        if answer == "back":
            self.dismiss(step)

    def _step(self) -> int | None:
        cursor = self.query_one(Table).cursor
        return None if cursor is None else int(cursor)


if __name__ == "__main__":
    print(tr(_EMPTY), *SpikesScreen.BINDINGS, sep="\n")
    print("=== 自测通过 ===")
