"""A table with a cursor, marked rows and a clickable head.

On a narrow screen columns of the highest rank are left out first; growing columns share the rest.
Only visible rows are rendered, and cleaned, so thousands of rows cost nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.visual import Visual

from lmm_tui.cockpit.keys import bindings
from lmm_tui.cockpit.widgets.styled_line import Part
from lmm_tui.i18n.language import tr
from lmm_tui.terminal.safe_text import clean, fit, wrap

MARK = "●"
_GAP = 2
_MARGIN = 2
"""Cells at the left, for the mark."""


@dataclass(frozen=True)
class TableColumn:
    """`width` cells, or more if it `grows`; with `rank` 0 it is never left out."""

    id: str
    title: str
    width: int
    right: bool = False
    grows: bool = False
    rank: int = 0


@dataclass(frozen=True)
class TableRow:
    """A row: its permanent `key`, and `cells` by column id; missing ones are empty."""

    key: str
    cells: Mapping[str, str | Part]
    marked: bool = False


def titled(columns: Sequence[TableColumn]) -> tuple[TableColumn, ...]:
    """The columns with their titles in the language of the interface."""
    return tuple(replace(column, title=tr(column.title)) for column in columns)


class Table(ScrollView, can_focus=True):
    """Rows under a head; the cursor stays on its row when other rows are shown."""

    DEFAULT_CSS = """
    Table { height: 1fr; width: 1fr; background: $background; scrollbar-size-vertical: 1;
            overflow-x: hidden; }
    """
    BINDINGS = bindings("list")

    @dataclass
    class Moved(Message):
        """The cursor went to another row."""

        key: str

    @dataclass
    class Opened(Message):
        """The row under the cursor was double-clicked."""

        key: str

    @dataclass
    class HeadClicked(Message):
        """The head of a column was clicked, to sort by it."""

        column: str

    def __init__(self, columns: Sequence[TableColumn], empty: str, id: str | None = None) -> None:
        """`empty` is shown if there are no rows, and says what to do next."""
        super().__init__(id=id)
        self._columns = tuple(columns)
        self._empty = empty
        self._rows: tuple[TableRow, ...] = ()
        self._cursor = 0
        self._sorted = ("", False)

    def set_columns(self, columns: Sequence[TableColumn]) -> None:
        """Show other columns."""
        if tuple(columns) != self._columns:
            self._columns = tuple(columns)
            self.refresh()

    @property
    def cursor(self) -> str | None:
        """The key of the row under the cursor."""
        return self._rows[self._cursor].key if self._rows else None

    @property
    def rows(self) -> tuple[TableRow, ...]:
        return self._rows

    def show(
        self, rows: Sequence[TableRow], *, sorted_by: tuple[str, bool] = ("", False), empty: str
    ) -> None:
        """Show sorted `rows`; `sorted_by` is the column to mark and whether it is descending."""
        shown = tuple(rows)
        if (shown, sorted_by, empty) == (self._rows, self._sorted, self._empty):
            return
        key = self.cursor
        self._rows, self._sorted, self._empty = shown, sorted_by, empty
        keys = [row.key for row in shown]
        if key in keys:
            self._cursor = keys.index(key)
        self._cursor = max(min(self._cursor, len(shown) - 1), 0)
        self.virtual_size = Size(self.size.width, len(shown) + 1)
        self.refresh()
        if self.cursor is not None and self.cursor != key:
            self.post_message(self.Moved(self.cursor))

    def go_to(self, key: str) -> None:
        """Put the cursor on the row with this key, if there is one."""
        for index, row in enumerate(self._rows):
            if row.key == key:
                self._go(index)

    # Keys and mouse

    def action_move(self, by: int) -> None:
        self._go(self._cursor + by)

    def action_page(self, by: int) -> None:
        self._go(self._cursor + by * max(self.size.height - 2, 1))

    def action_first(self) -> None:
        self._go(0)

    def action_last(self) -> None:
        self._go(len(self._rows) - 1)

    def _go(self, index: int) -> None:
        index = max(min(index, len(self._rows) - 1), 0)
        if index == self._cursor or not self._rows:
            return
        self._cursor = index
        # The head covers the first line, so the row of an index is at index + 1.
        top = self.scroll_offset.y
        if index < top:
            self.scroll_to(y=index, animate=False, force=True)
        elif index + 2 > top + self.size.height:
            self.scroll_to(y=index + 2 - self.size.height, animate=False, force=True)
        self.refresh()
        self.post_message(self.Moved(self._rows[index].key))

    def on_click(self, event: events.Click) -> None:
        if event.y == 0:
            if column := self._column_at(event.x):
                self.post_message(self.HeadClicked(column))
            return
        index = event.y - 1 + self.scroll_offset.y
        if index < len(self._rows):
            again = index == self._cursor and event.chain > 1
            self._go(index)
            if again:
                self.post_message(self.Opened(self._rows[index].key))

    def on_resize(self) -> None:
        self.virtual_size = Size(self.size.width, len(self._rows) + 1)
        self.refresh()

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self.refresh(Region(0, 0, self.size.width, 1))

    # Rendering

    def layout_columns(self, width: int) -> list[tuple[TableColumn, int]]:
        """The columns that fit into `width` cells, each with its width."""
        kept = list(self._columns)

        def needed() -> int:
            return _MARGIN + sum(column.width + _GAP for column in kept) - 1

        for column in sorted(self._columns, key=lambda column: -column.rank):
            if needed() <= width or not column.rank:
                break
            kept.remove(column)
        growing = [column for column in kept if column.grows]
        left = width - needed()
        sizes = {column.id: column.width for column in kept}
        for index, column in enumerate(growing):
            share = left // (len(growing) - index)
            sizes[column.id] = max(column.width + share, 4)
            left -= share
        return [(column, sizes[column.id]) for column in kept]

    def shows_whole(self, key: str) -> bool:
        """Whether no cell of a row is cut or left out."""
        shown = self.layout_columns(self.size.width)
        row = next((row for row in self._rows if row.key == key), None)
        texts = [row.cells.get(column.id, "") for column, _ in shown] if row else []
        return len(shown) == len(self._columns) and all(
            cell_len(cell if isinstance(cell, str) else cell[0]) <= width
            for cell, (_, width) in zip(texts, shown, strict=True)
        )

    def _column_at(self, x: int) -> str | None:
        left = _MARGIN
        for column, width in self.layout_columns(self.size.width):
            if left <= x < left + width + _GAP:
                return column.id
            left += width + _GAP
        return None

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if y == 0:
            line = self._head(width)
        elif not self._rows:
            line = self._empty_line(y - 2, width)
        else:
            index = y - 1 + self.scroll_offset.y
            line = self._row(index, width) if index < len(self._rows) else Content(" " * width)
        return Visual.to_strips(self, line, width, 1, self.visual_style, pad=True)[0]

    def _empty_line(self, number: int, width: int) -> Content:
        """Of the text without rows: what it says, then what to do, each wrapped."""
        said, *hints = self._empty.split("\n")
        lines = [(row, "$foreground") for row in wrap(clean(said), width - 4)]
        lines += [
            (row, "$foreground 60%") for hint in hints for row in wrap(clean(hint), width - 4)
        ]
        text, style = lines[number] if 0 <= number < len(lines) else ("", "")
        return Content.styled(fit(f"  {text}", width), style)

    def _head(self, width: int) -> Content:
        by, descending = self._sorted
        cells: list[str | Part] = []
        for column, room in self.layout_columns(width):
            sign = ("↓" if descending else "↑") if column.id == by else ""
            gap = " " if sign and cell_len(column.title) + 1 < room else ""
            text = _aligned(f"{column.title}{gap}{sign}", room, right=column.right)
            cells.append((text, "bold $accent" if sign else "$foreground 60%"))
        return _joined("  ", cells, width)

    def _row(self, index: int, width: int) -> Content:
        row = self._rows[index]
        cells: list[str | Part] = []
        for column, room in self.layout_columns(width):
            cell = row.cells.get(column.id, "")
            text, style = (cell, "") if isinstance(cell, str) else cell
            cells.append((_aligned(clean(text), room, right=column.right), style))
        line = _joined((f"{MARK} " if row.marked else "  ", "$accent"), cells, width)
        if index == self._cursor:
            return line.stylize("on $accent 30%" if self.has_focus else "on $panel")
        return line


def _aligned(text: str, width: int, *, right: bool) -> str:
    fitted = fit(text, width)
    stripped = fitted.rstrip()
    return " " * (len(fitted) - len(stripped)) + stripped if right else fitted


def _joined(first: str | Part, cells: Sequence[str | Part], width: int) -> Content:
    parts: list[str | Part] = [first]
    for index, cell in enumerate(cells):
        parts += [" " * _GAP, cell] if index else [cell]
    line = Content.assemble(*parts)
    return line.pad_right(max(width - line.cell_length, 0))


if __name__ == "__main__":
    columns = TableColumn("name", "name", 8, grows=True), TableColumn("loss", "loss", 6, right=True)
    table = Table(columns, "")
    table._rows = (TableRow("a", {"name": "小兔\x1b子", "loss": ("2.71", "bold")}, marked=True),)
    print(table._head(40), table._row(0, 40), table._row(0, 14), sep="\n")
    print("=== 自测通过 ===")
