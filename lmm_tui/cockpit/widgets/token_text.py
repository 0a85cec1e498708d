"""A text with each token coloured by its loss, and a cursor on a token.

A character that is split over several tokens is shown as one, in the colour of the highest loss.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.visual import Visual

from lmm_tui.cockpit.widgets.samples_panel import loss_style
from lmm_tui.runs.loss_levels import HIGH_LOSS
from lmm_tui.terminal.byte_tokens import ByteSpan, spans
from lmm_tui.terminal.safe_text import NEWLINE_MARK, clean, fit

HIGH_LOSS_GROUND = "on $error 20%"
"""The ground of tokens with a high loss: an underline would hide those of names."""


class TokenText(ScrollView, can_focus=True):
    """`show` tokens and losses; the cursor starts at the first token."""

    DEFAULT_CSS = """
    TokenText { height: 1fr; width: 1fr; background: $background; scrollbar-size-vertical: 1;
                overflow-x: hidden; padding: 0 1; }
    """

    @dataclass
    class Moved(Message):
        """The cursor moved to another token."""

        index: int

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._spans: list[ByteSpan] = []
        self._losses: list[float | None] = []
        self._lines: list[list[tuple[int, str]]] = []
        """For each line the indices of its spans, and the text of each."""
        self._notice = Content()
        self.cursor = 0

    def show(self, tokens: Sequence[str], losses: Sequence[float | None]) -> None:
        """Show another text, cleaned here."""
        self._spans = spans(tokens)
        self._losses = list(losses)
        self.cursor = 0
        self._lay_out()
        self.scroll_to(y=0, animate=False, force=True)
        self.post_message(self.Moved(0))

    def explain(self, notice: Content) -> None:
        """Show a notice instead of a text."""
        self._notice = notice
        self._spans = []
        self._lay_out()

    def move(self, by: int) -> None:
        """Move the cursor by so many tokens."""
        self._go(self.cursor + by)

    def move_lines(self, by: int) -> None:
        """Move the cursor by so many lines, to the token at about the same column."""
        number = self._line_of_cursor()
        if self._spans:
            target = self._lines[max(0, min(number + by, len(self._lines) - 1))]
            self._go_to_span(_at(target, _left_of(self._lines[number], self._span_at(self.cursor))))

    def next_surprise(self, by: int) -> bool:
        """Move to the next token with a loss of HIGH_LOSS or more (-1: previous); False: none."""
        index = self.cursor + by
        while 0 <= index < self._count:
            loss = self._losses[index]
            if loss is not None and not loss < HIGH_LOSS:
                self._go(index)
                return True
            index += by
        return False

    def _go(self, index: int) -> None:
        if not self._spans:
            return
        self.cursor = max(0, min(index, self._count - 1))
        number, top, height = self._line_of_cursor(), self.scroll_offset.y, self.size.height
        if number < top:
            self.scroll_to(y=number, animate=False, force=True)
        elif number >= top + height:
            self.scroll_to(y=number - height + 1, animate=False, force=True)
        self.refresh()
        self.post_message(self.Moved(self.cursor))

    def _go_to_span(self, number: int) -> None:
        self._go(self._spans[number].start)

    @property
    def _count(self) -> int:
        """The number of tokens."""
        return self._spans[-1].stop if self._spans else 0

    def _span_at(self, index: int) -> int:
        """The index of the span that contains a token."""
        return bisect_right(self._spans, index, key=lambda span: span.start) - 1

    def _line_of_cursor(self) -> int:
        span = self._span_at(self.cursor)
        found = (
            number
            for number, line in enumerate(self._lines)
            if line and line[0][0] <= span <= line[-1][0]
        )
        return next(found, 0)

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        number = -1 if offset is None else offset.y + self.scroll_offset.y
        if offset is not None and 0 <= number < len(self._lines) and self._lines[number]:
            self._go_to_span(_at(self._lines[number], offset.x))

    def on_resize(self) -> None:
        self._lay_out()

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def _lay_out(self) -> None:
        width = max(self.content_size.width, 4)
        self._lines = [[]]
        used = 0
        for number, span in enumerate(self._spans):
            text = clean(span.text) or "·"
            shown = text if cell_len(text) <= width else fit(text, width)
            if used + cell_len(shown) > width:
                self._lines.append([])
                used = 0
            self._lines[-1].append((number, shown))
            used += cell_len(shown)
            if text.endswith(NEWLINE_MARK):
                self._lines.append([])
                used = 0
        self.virtual_size = Size(width, len(self._lines))
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.content_size.width
        number = y + self.scroll_offset.y
        if not self._spans:
            lines = self._notice.wrap(max(width, 4))
            line = lines[y] if y < len(lines) else Content()
        elif number < len(self._lines):
            line = Content.assemble(*(self._styled(*part) for part in self._lines[number]))
        else:
            line = Content()
        line = line.pad_right(max(width - line.cell_length, 0))
        return Visual.to_strips(self, line, width, 1, self.visual_style, pad=True)[0]

    def _styled(self, number: int, shown: str) -> tuple[str, str]:
        span = self._spans[number]
        loss = span.worst(self._losses)
        style = loss_style(loss)
        if span.start <= self.cursor < span.stop:
            return shown, f"{style} reverse bold".strip() if self.has_focus else f"{style} reverse"
        if loss is not None and not loss < HIGH_LOSS:
            return shown, f"{style} {HIGH_LOSS_GROUND}".strip()
        return shown, style


def _left_of(line: Sequence[tuple[int, str]], span: int) -> int:
    return sum(cell_len(shown) for number, shown in line if number < span)


def _at(line: Sequence[tuple[int, str]], offset: int) -> int:
    """The span `offset` cells from the left, or the last one."""
    left = 0
    for number, shown in line:
        left += cell_len(shown)
        if offset < left:
            return number
    return line[-1][0] if line else 0


if __name__ == "__main__":
    view = TokenText()
    view._spans, view._losses = spans(["the", " cat", " sat\x1b"]), [None, 0.5, 6.0]
    print(*(view._styled(number, span.text) for number, span in enumerate(view._spans)))
    print("=== 自测通过 ===")
