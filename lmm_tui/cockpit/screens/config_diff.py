"""The settings that differ between two runs, side by side."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen

from lmm_tui.cockpit.screens.dialogs import pressed
from lmm_tui.cockpit.widgets.table import Table, TableColumn, TableRow
from lmm_tui.i18n.language import tr
from lmm_tui.runs.manage_runs import SettingDifference
from lmm_tui.terminal.safe_text import clean

NONE = "-"


class ConfigDiffScreen(ModalScreen[None]):
    """Closed by the key that opened it, by escape and by q."""

    BINDINGS = [Binding("escape,d,q", "dismiss", "close", id="difference.close", show=False)]
    AUTO_FOCUS = "Table"

    def __init__(self, first: str, second: str, differences: Sequence[SettingDifference]) -> None:
        super().__init__()
        self._names = clean(first), clean(second)
        self._differences = differences

    def compose(self) -> ComposeResult:
        first, second = self._names
        with Vertical(id="difference") as panel:
            panel.border_title = f"{tr('settings that differ')} · {len(self._differences)}"
            panel.border_subtitle = pressed(tr("esc closes"), "dismiss")
            yield Table(
                (
                    TableColumn("key", tr("setting"), 22),
                    TableColumn("first", first, 12, grows=True),
                    TableColumn("second", second, 12, grows=True),
                ),
                "",
            )

    def on_mount(self) -> None:
        rows = [
            TableRow(
                item.key,
                {
                    "key": item.key,
                    "first": NONE if item.first is None else item.first,
                    "second": (NONE if item.second is None else item.second, "$accent"),
                },
            )
            for item in self._differences
        ]
        empty = tr("The two runs have the same settings.\nThey differ only in data and randomness.")
        self.query_one(Table).show(rows, empty=empty)


if __name__ == "__main__":
    screen = ConfigDiffScreen("a", "b", [SettingDifference("optim.lr", "1e-3", None)])
    print(screen._names, screen._differences)
    print("=== 自测通过 ===")
