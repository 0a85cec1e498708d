"""The captured output of the open run: followed, searched, filtered.

Searching and filtering read the file in a thread, block by block; everything else reads only what
is shown.
"""

from __future__ import annotations

from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.message import Message

from lmm_tui.cockpit.keys import bindings
from lmm_tui.cockpit.log_window import LEVELS, MOST_COUNTED, Level, LogLine, LogMatches
from lmm_tui.cockpit.screens.base_screen import BaseScreen
from lmm_tui.cockpit.widgets.filter_input import FilterInput
from lmm_tui.cockpit.widgets.log_view import LogView
from lmm_tui.cockpit.widgets.screen_tabs import ScreenTabs
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.number_format import size
from lmm_tui.runs.fleets import has_mirrors

MOST_MATCHES = 5000
_LEVEL_NAMES: dict[Level, str] = {
    "all": mark("all lines"),
    "output": mark("printed output only"),
    "warnings": mark("warnings and errors only"),
}


@dataclass
class Found(Message):
    """Where the next match starts, or None."""

    wanted: str
    offset: int | None


@dataclass
class MatchesCounted(Message):
    """Which match the line at `offset` is, from 1, and how many there are."""

    wanted: str
    offset: int
    place: int
    count: int


@dataclass
class Matched(Message):
    """The last of the lines that contain `wanted`."""

    wanted: str
    level: Level
    lines: list[LogLine]


class LogScreen(BaseScreen):
    """The captured output of `run`."""

    PLACE = "log"
    LOOK_EVERY_S = 0.5
    BINDINGS = bindings("log")
    AUTO_FOCUS = "LogView"

    def __init__(self, run: RunDir) -> None:
        super().__init__()
        self._run = run
        self._shown = run.path if run.path.is_file() else run.output
        """A log of another program is itself what was put out."""
        self._wanted = ""
        self._filter = ""
        self._level: Level = "all"
        self._matches = LogMatches(self._shown, "")
        self._place = ""

    def compose_body(self) -> ComposeResult:
        empty = tr("No output yet.\nEverything that training prints or logs appears here.")
        if has_mirrors(self._run.path.parent):
            empty = tr("The output stays on the machine of the run.\nUse lmm-tui there.")
        yield LogView(self._shown, empty)
        yield FilterInput(tr("find"), id="find")
        yield FilterInput(tr("filter"), id="narrow")

    def look(self) -> None:
        self.query_one(LogView).look()
        if self._filtered:
            self._match()
        self._show_facts()

    @property
    def _filtered(self) -> bool:
        return bool(self._filter) or self._level != "all"

    def action_level(self) -> None:
        """All lines, then those that were printed, then warnings and errors."""
        self._level = LEVELS[(LEVELS.index(self._level) + 1) % len(LEVELS)]
        if self._filtered:
            self._match()
        else:
            self.query_one(LogView).show_only(None)
        self._show_facts()

    @on(LogView.Moved)
    def _show_facts(self) -> None:
        view = self.query_one(LogView)
        amount = size(view.window.size)
        facts = [amount]
        if self._level != "all":
            facts.append(tr(_LEVEL_NAMES[self._level]))
        if self._filter:
            facts.append(tr("{count:,} match “{words}”", count=view.count, words=self._filter))
        if self._place:
            facts.append(self._place)
        self.query_one(ScreenTabs).show(
            " · ".join(facts),
            (f" · {tr('following')}", "$success")
            if view.following
            else (f" · {tr('paused')}", "$warning"),
            subject=f"{self._run.name}/{self._run.output.name}",
        )

    # Finding

    def action_find(self) -> None:
        self.query_one("#find", FilterInput).open()

    def action_narrow(self) -> None:
        self.query_one("#narrow", FilterInput).open()

    @on(FilterInput.Left)
    def _asked(self, message: FilterInput.Left) -> None:
        view = self.query_one(LogView)
        view.focus()
        self._wanted, self._place = self.query_one("#find", FilterInput).value, ""
        pattern = self.query_one("#narrow", FilterInput).value
        view.mark(self._wanted or pattern)
        if pattern != self._filter:
            self._filter = pattern
            if self._filtered:
                self._match()
            else:
                view.show_only(None)
        elif self._wanted:
            self.action_find_up()
        self._show_facts()

    def action_find_up(self) -> None:
        self._find(up=True)

    def action_find_down(self) -> None:
        self._find(up=False)

    def _find(self, *, up: bool) -> None:
        """Go to the next line that matches the search."""
        view, wanted = self.query_one(LogView), self._wanted
        if not wanted:
            self.toast(tr("Press / to search"), "find")
            return
        start = view.found if view.found is not None else view.window.size
        lines = [line.offset for line in view.lines]
        after = next((offset for offset in lines if offset > start), view.window.size)

        def search() -> Found:
            offset = view.window.find(wanted, start if up else after, backwards=up)
            return Found(wanted, offset)

        self.in_background("find", search)

    def on_found(self, message: Found) -> None:
        if message.offset is not None:
            self.query_one(LogView).go_to(message.offset)
            self._count()
        else:
            self.toast(tr("No more matches for “{words}”", words=message.wanted), "find")

    def _count(self) -> None:
        """Say which of how many matches is shown, once all are counted."""
        view, wanted = self.query_one(LogView), self._wanted
        offset, size = view.found, view.window.size
        if offset is None or not wanted:
            return
        if self._matches.wanted != wanted:
            self._matches = LogMatches(self._shown, wanted)
        matches = self._matches
        self.in_background(
            "count", lambda: MatchesCounted(wanted, offset, *matches.place(offset, size))
        )

    def on_matches_counted(self, message: MatchesCounted) -> None:
        if (message.wanted, message.offset) != (self._wanted, self.query_one(LogView).found):
            self._count()
            return
        self._place = tr(
            "/{words}  {count:,} of {all:,}",
            words=message.wanted,
            count=message.place,
            all=message.count,
        ) + ("+" if message.count == MOST_COUNTED else "")
        self._show_facts()

    def _match(self) -> None:
        view, wanted, level = self.query_one(LogView), self._filter, self._level
        self.in_background(
            "narrow",
            lambda: Matched(wanted, level, view.window.matching(wanted, MOST_MATCHES, level)),
        )

    def on_matched(self, message: Matched) -> None:
        view = self.query_one(LogView)
        current = (self._filter, self._level) == (message.wanted, message.level)
        if current and self._filtered and list(view.lines) != message.lines:
            view.show_only(message.lines)
            self._show_facts()

    def action_follow(self) -> None:
        view = self.query_one(LogView)
        if view.following:
            view.stop_following()
        else:
            view.action_last()
        self._show_facts()

    async def action_back(self) -> None:
        """Clear the search and the filter first, then leave."""
        for line in self.query(FilterInput):
            if line.value:
                line.leave(drop=True)
                return
        await super().action_back()


if __name__ == "__main__":
    screen = LogScreen(RunDir("runs/demo"))
    print(screen.PLACE, screen.LOOK_EVERY_S, *LogScreen.BINDINGS, sep="\n")
    print("=== 自测通过 ===")
