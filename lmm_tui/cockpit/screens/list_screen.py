"""The base of the screens that are a table with a few lines about the row under its cursor.

What is done to a row runs in a thread, and ends with a toast that says what came of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from lmm_tui.cockpit.messages import OpenRun
from lmm_tui.cockpit.screens.base_screen import BaseScreen
from lmm_tui.cockpit.widgets.table import Table
from lmm_tui.i18n.language import mark

if TYPE_CHECKING:
    from lmm_tui.charts.plot import Plot
    from lmm_tui.engine.run.run_records import RunInfo

_TALL, _ROOMY = 20, 36
"""Lines of a screen from which on there is room for the detail, and for a preview at first."""


@dataclass
class WorkDone(Message):
    """Work on a row has ended; the run `opens` is to be shown next."""

    title: str
    text: str
    ok: bool = True
    opens: Path | None = None


class ChartsLoaded(Message):
    """The modules that draw a preview are imported."""


def _load_charts() -> Message:
    import lmm_tui.cockpit.screens.dashboard_panels
    import lmm_tui.cockpit.widgets.run_preview  # noqa: F401

    return ChartsLoaded()


class ListScreen(BaseScreen):
    """Subclasses compose a Table and then `super().compose_body()`."""

    AUTO_FOCUS = "Table"
    VERTICAL_BREAKPOINTS = [(0, "-short"), (_TALL, "-tall")]

    def preview(self) -> tuple[Path, RunInfo, tuple[int, ...]] | None:
        """The run whose curve is shown, and steps to mark."""
        return None

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self._plots: dict[str, Plot] = {}
        self._knows_charts = False
        self._wants_preview: bool | None = None
        """As a person chose; None is for a screen with room alone."""

    def compose_body(self) -> ComposeResult:
        yield Static(id="detail")

    def detail(self) -> Sequence[Content]:
        """The lines about the row under the cursor."""
        raise NotImplementedError

    def show_detail(self) -> None:
        width = max(self.size.width - 4, 1)
        lines = [line.truncate(width, ellipsis=True) for line in self.detail()]
        self.query_one("#detail", Static).update(Content("\n").join(lines))
        shows = self._shows_preview()
        self.set_class(shows, "-preview")
        if self.is_mounted and shows:
            if self._knows_charts:
                self.call_after_refresh(self._show_preview)
            else:
                # Half of a cold start, and a list does without: numpy is loaded behind its back.
                self.in_background("charts", _load_charts)

    def _shows_preview(self) -> bool:
        has_room = self.size.height >= _ROOMY
        return has_room if self._wants_preview is None else self._wants_preview

    def action_curve(self) -> None:
        """Show the curve of the run under the cursor, or hide it."""
        self._wants_preview = not self._shows_preview()
        self.show_detail()

    def on_charts_loaded(self) -> None:
        self._knows_charts = True
        self._show_preview()

    def _show_preview(self) -> None:
        from lmm_tui.cockpit.screens.dashboard_panels import main_plot
        from lmm_tui.cockpit.widgets.run_preview import RunPreview

        if not self.is_mounted or (shown := self.preview()) is None:
            return
        path, info, steps = shown
        if not self.query(RunPreview):
            self.mount(RunPreview(id="preview"), before="#detail")
        plot = self._plots.setdefault(info.stage, main_plot(info.about_stage))
        self.query_one(RunPreview).show(path, plot, steps)

    @on(Table.Moved)
    def _cursor_moved(self) -> None:
        self.show_detail()

    def on_resize(self) -> None:
        self.show_detail()

    def do(self, title: str, work: Callable[[], str], *, opens: Path | None = None) -> bool:
        """Do `work` in the background and toast its sentence, or that of its error.

        Then the run `opens` is opened. False, and nothing done, while the same is being done.
        """
        return self.in_background(
            title,
            lambda: WorkDone(title, work(), opens=opens),
            refused=lambda why: WorkDone(title, why, ok=False),
        )

    def on_work_done(self, message: WorkDone) -> None:
        self.toast(message.text, message.title, severe=not message.ok)
        if message.opens is not None:
            self.post_message(OpenRun(message.opens))
        else:
            self.look()

    def copy(self, command: str) -> None:
        """Put a command line on the clipboard."""
        self.app.copy_to_clipboard(command)
        self.toast(command, mark("copied"))


if __name__ == "__main__":
    from queue import Queue

    screen, inbox = ListScreen(), Queue[Message]()
    screen.post_message = inbox.put  # type: ignore[method-assign, assignment]
    screen.do("pin", lambda: "pinned")
    print(inbox.get(timeout=30))
    print("=== 自测通过 ===")
