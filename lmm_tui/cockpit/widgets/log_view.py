"""A view of a log file of any size, on a `LogWindow` that moves as it is scrolled.

At the last line it follows the growing file. Only visible lines are decoded and styled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.visual import Visual

from lmm_tui.cockpit.keys import bindings
from lmm_tui.cockpit.log_window import LONGEST_LINE, LogLine, LogWindow
from lmm_tui.terminal.safe_text import fit

_STYLES = (("Traceback", "$text-error"), ("ERROR", "$text-error"), ("WARNING", "$text-warning"))

_QUIET_LEVELS = ("DEBUG", "INFO")
_ROOM_FOR_DATE = 100
_TIME = slice(11, 19)
"""Of a line of our logger: hours, minutes and seconds."""


class LogView(ScrollView, can_focus=True):
    """Shows `path`; `show_only` filters its lines, `go_to` moves to one."""

    DEFAULT_CSS = """
    LogView { height: 1fr; width: 1fr; background: $background; scrollbar-size: 0 1; }
    """
    BINDINGS = bindings("list")

    @dataclass
    class Moved(Message):
        """Another part is shown, or the file has grown."""

    def __init__(self, path: Path, empty: str, id: str | None = None) -> None:
        super().__init__(id=id)
        self.window = LogWindow(path)
        self.following = True
        self.found: int | None = None
        """The offset of the last search result."""
        self._empty = empty
        self._wanted = ""
        self._only: Sequence[LogLine] | None = None
        self._opened = False

    @property
    def lines(self) -> Sequence[LogLine]:
        """The lines in memory, or the filtered ones."""
        if self._only is not None:
            return self._only
        unfinished = self.window.unfinished
        return [*self.window.lines, unfinished] if unfinished else self.window.lines

    @property
    def count(self) -> int:
        """The number of `lines`, without building them."""
        if self._only is not None:
            return len(self._only)
        return len(self.window.lines) + (self.window.unfinished is not None)

    def _line_at(self, index: int) -> LogLine | None:
        lines = self.window.lines if self._only is None else self._only
        if index < len(lines):
            return lines[index]
        return self.window.unfinished if self._only is None and index == len(lines) else None

    def look(self) -> None:
        """Open the file, or show what was appended since."""
        if not self._opened:
            self._opened = True
            self.window.open_end()
            self._show_growth()
        elif self.window.poll() or (self.following and not self.window.at_end):
            if self.following:
                self._catch_up()
            self._show_growth()

    def _catch_up(self) -> None:
        if self.window.size - self.window.end > 4 * self.size.height * LONGEST_LINE:
            self.window.open_end()
        else:
            self.window.after()

    def show_only(self, lines: Sequence[LogLine] | None) -> None:
        """Show only these lines of the file; None shows all."""
        self._only = lines
        self.following = True
        self._show_growth()

    def mark(self, wanted: str) -> None:
        """Highlight a text, ignoring case."""
        self._wanted = wanted.lower()
        self.refresh()

    def go_to(self, offset: int) -> None:
        """Put the line at `offset` in the middle of the screen."""
        self.found = offset
        self.following = False
        index = self._index_of(offset)
        if index is None:
            self.window.open_at(offset)
            index = self._index_of(offset)
        self._measure()
        if index is not None:
            self.scroll_to(y=max(index - self.size.height // 2, 0), animate=False, force=True)
        self.refresh()
        self.post_message(self.Moved())

    # Keys

    def action_move(self, by: int) -> None:
        self._scroll_by(by)

    def action_page(self, by: int) -> None:
        self._scroll_by(by * max(self.size.height - 1, 1))

    def action_first(self) -> None:
        self.following = False
        if self._only is None:
            self.window.open_at(0)
        self._measure()
        self.scroll_to(y=0, animate=False, force=True)
        self.post_message(self.Moved())

    def action_last(self) -> None:
        """Go to the last line and follow the file."""
        self.following = True
        if self._only is None:
            self.window.open_end()
        self._show_growth()

    def on_mouse_scroll_up(self) -> None:
        self.following = False

    def on_scroll_to(self) -> None:
        """The scrollbar was dragged."""
        self.following = False

    def stop_following(self) -> None:
        self.following = False
        self.post_message(self.Moved())

    def _scroll_by(self, lines: int) -> None:
        self.following &= lines > 0
        self.scroll_to(y=self.scroll_offset.y + lines, animate=False, force=True)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if round(new_value) == round(old_value):
            return
        last = max(self.count - self.size.height, 0)
        if self.following:
            pass
        elif new_value < old_value:
            if new_value < self.size.height and self._only is None and self.window.start:
                self.call_later(self._read_before)
        elif new_value >= last:
            if self._only is None and not self.window.at_end:
                self.call_later(self._read_after)
            else:
                self.following = True
        self.post_message(self.Moved())

    def _read_before(self) -> None:
        added = self.window.before()
        self._measure()
        self.scroll_to(y=self.scroll_offset.y + added, animate=False, force=True)

    def _read_after(self) -> None:
        gone = self.window.after()
        self._measure()
        if gone:
            self.scroll_to(y=self.scroll_offset.y - gone, animate=False, force=True)

    def _show_growth(self) -> None:
        self._measure()
        if self.following:
            self.scroll_to(y=max(self.count - self.size.height, 0), animate=False, force=True)
        self.refresh()
        self.post_message(self.Moved())

    def _measure(self) -> None:
        # A fixed width: measuring all lines would decode them.
        self.virtual_size = Size(max(self.size.width, 400), self.count)

    def on_resize(self) -> None:
        self._show_growth()

    def _index_of(self, offset: int) -> int | None:
        offsets = [line.offset for line in self.lines]
        return offsets.index(offset) if offset in offsets else None

    # Rendering

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        found = self._line_at(y + self.scroll_offset.y)
        if not self.count:
            texts = self._empty.split("\n")
            text = texts[y - 1] if 1 <= y <= len(texts) else ""
            line = Content.styled(f"  {text}", "$foreground" if y == 1 else "$foreground 60%")
        else:
            line = self._styled(found, width) if found else Content()
        return Visual.to_strips(self, line, width, 1, self.visual_style, pad=True)[0]

    def _styled(self, line: LogLine, width: int) -> Content:
        text, logged = line.text, line.logged
        if logged and width < _ROOM_FOR_DATE:
            # Half of a short line would be the date and a level that says nothing.
            length, level = logged
            start = text[_TIME] + (" " if level in _QUIET_LEVELS else f" {level} ")
            text, logged = start + text[length:], (len(start), level)
        style = next((style for keyword, style in _STYLES if keyword in text), "")
        left = int(self.scroll_offset.x)
        shown = fit(text[left:], width)
        content = Content.styled(shown, style) if style else Content(shown)
        if logged:
            # What was printed comes first to the eye: events stand on the dashboard, too.
            length, level = logged
            content = content.stylize(
                "dim", 0, len(shown) if level in _QUIET_LEVELS else max(length - left, 0)
            )
        if self._wanted:
            lowered = shown.lower()
            at = lowered.find(self._wanted)
            while at >= 0:
                content = content.stylize("reverse", at, at + len(self._wanted))
                at = lowered.find(self._wanted, at + len(self._wanted))
        if line.offset == self.found:
            content = content.stylize("on $accent 30%")
        return content


if __name__ == "__main__":
    view = LogView(Path("output.log"), "nothing")
    view._wanted = "nan"
    logged = LogLine(0, b"2026-11-30 09:34:53,153 INFO step 100: probe")
    assert view._styled(logged, 60).plain.startswith("09:34:53 step 100")
    print(repr(view._styled(LogLine(0, b"\x1b[31mERROR\x1b[0m: loss is NaN"), 40)))
    print("=== 自测通过 ===")
