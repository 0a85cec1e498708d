"""Generated samples as a grid: a row for each prompt, a column for each step, newest at the right.

What a sample begins with as the one before it did is dim: the rest has changed.

It shows as many columns as are wide enough to read, and scrolls with the cursor. All texts are
cleaned.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os.path import commonprefix

from textual import events
from textual.content import Content
from textual.message import Message
from textual.strip import Strip
from textual.visual import Visual
from textual.widget import Widget

from lmm_tui.cockpit.widgets.prose import wrapped
from lmm_tui.engine.run.samples import RunSample
from lmm_tui.i18n.language import tr
from lmm_tui.terminal.safe_text import clean, fit

_WIDTH = 30
"""The least width of a column in cells, if there is room."""
_HEIGHT = 4
"""Lines of a row that are shown of a longer sample in any case."""
_QUIET = "$foreground 60%"


class SampleBook:
    """All samples of a run by prompt and step; prompts in order of appearance."""

    def __init__(self) -> None:
        self.prompts: list[str] = []
        self.steps: list[int] = []
        self._records: dict[tuple[str, int], list[RunSample]] = {}

    def add(self, records: Iterable[RunSample]) -> bool:
        """Add the samples among records of samples.jsonl; True if there are any."""
        added = False
        for record in records:
            if record.kind != "sample":
                continue
            added = True
            if record.prompt not in self.prompts:
                self.prompts.append(record.prompt)
            if record.step not in self.steps:
                self.steps.append(record.step)
                self.steps.sort()
            self._records.setdefault((record.prompt, record.step), []).append(record)
        return added

    def at(self, prompt: str, step: int) -> list[RunSample]:
        """The samples of a prompt at a step, the oldest first; those of an abandoned step only
        where there are no others."""
        records = self._records.get((prompt, step), [])
        return [record for record in records if not record.abandoned] or records

    def before(self, prompt: str, step: int) -> str:
        """What the prompt got at the last step before, as it is shown; empty where nothing."""
        for earlier in reversed([each for each in self.steps if each < step]):
            if samples := self.at(prompt, earlier):
                return clean(samples[-1].text)
        return ""

    def is_abandoned(self, step: int) -> bool:
        """Whether a resume has abandoned all that there is of a step."""
        there = [self.at(prompt, step) for prompt in self.prompts]
        return all(record.abandoned for records in there for record in records)


@dataclass(frozen=True)
class Layout:
    """The sizes of margin and columns, and how many columns fit."""

    margin: int
    width: int
    columns: int

    @classmethod
    def of(cls, width: int, steps: int) -> Layout:
        margin = max(10, min(24, width // 6))
        columns = max(1, min(steps, (width - margin) // _WIDTH))
        return cls(margin, (width - margin) // columns, columns)


@dataclass(frozen=True)
class VisibleRows:
    """Which prompts are visible, and how many lines each has, a blank one included."""

    first: int
    heights: tuple[int, ...]

    @classmethod
    def of(cls, wanted: Sequence[int], room: int, chosen: int) -> VisibleRows:
        """As many as fit around the chosen one; what one does not need is left to the others."""
        least = [min(lines, _HEIGHT) for lines in wanted]
        first = last = chosen
        while True:
            for more in (range(first, last + 2), range(first - 1, last + 1)):
                if more[0] >= 0 and more[-1] < len(least) and sum(least[at] for at in more) <= room:
                    first, last = more[0], more[-1]
                    break
            else:
                break
        shown = wanted[first : last + 1]
        most = max(shown, default=0)
        while most > _HEIGHT and sum(min(lines, most) for lines in shown) > room:
            most -= 1
        return cls(first, tuple(min(lines, most) for lines in shown))

    def at(self, y: int) -> tuple[int, int] | None:
        """The prompt at a line, and which of its lines that is; None below the last."""
        for number, height in enumerate(self.heights, start=self.first):
            if y < height:
                return number, y
            y -= height
        return None


class SampleGrid(Widget, can_focus=True):
    """A cursor on the newest step stays on the newest when samples are added."""

    DEFAULT_CSS = """
    SampleGrid { height: 1fr; width: 1fr; background: $background; }
    """

    @dataclass
    class Moved(Message):
        """The cursor moved, or the sample under it changed."""

    @dataclass
    class Opened(Message):
        """The sample under the cursor was double-clicked."""

    def __init__(self, empty: str, id: str | None = None) -> None:
        super().__init__(id=id)
        self._book = SampleBook()
        self._empty = empty
        self._prompt = 0
        self._step: int | None = None
        """None while the cursor is at the newest step."""
        self._laid_out: tuple[object, VisibleRows] | None = None

    def show(self, book: SampleBook) -> None:
        """Show samples; call it again after an `add`."""
        self._book = book
        self._laid_out = None
        self.refresh()
        self.post_message(self.Moved())

    @property
    def under_cursor(self) -> tuple[str, int] | None:
        """The prompt and step under the cursor."""
        if not self._book.prompts:
            return None
        return self._book.prompts[self._prompt], self._book.steps[self._at]

    @property
    def _at(self) -> int:
        """The index of the step under the cursor."""
        steps = self._book.steps
        return steps.index(self._step) if self._step in steps else len(steps) - 1

    def move(self, prompts: int = 0, steps: int = 0) -> None:
        """Move the cursor by so many prompts and steps, within the grid."""
        book = self._book
        if not book.prompts:
            return
        self._prompt = max(0, min(self._prompt + prompts, len(book.prompts) - 1))
        at = max(0, min(self._at + steps, len(book.steps) - 1))
        self._step = None if at == len(book.steps) - 1 else book.steps[at]
        self.refresh()
        self.post_message(self.Moved())

    def go_to_prompt(self, prompt: str) -> None:
        """Put the cursor on the newest sample of a prompt."""
        if prompt in self._book.prompts:
            self._step = None
            self._prompt = self._book.prompts.index(prompt)
            self.move()

    def on_click(self, event: events.Click) -> None:
        if not self._book.prompts or event.y == 0:
            return
        layout, first_column, rows = self._window()
        hit = rows.at(event.y - 1)
        if hit is None:
            return
        row = hit[0]
        column = first_column + max(event.x - layout.margin, 0) // layout.width
        before = self.under_cursor
        at = self._at if event.x < layout.margin else min(column, len(self._book.steps) - 1)
        self.move(row - self._prompt, at - self._at)
        if event.chain > 1 and before == self.under_cursor:
            self.post_message(self.Opened())

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.move(prompts=1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.move(prompts=-1)

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    # Rendering

    def _window(self) -> tuple[Layout, int, VisibleRows]:
        """The layout, the index of the first visible step, and the visible prompts."""
        book = self._book
        layout = Layout.of(self.size.width, max(len(book.steps), 1))
        last = max(len(book.steps) - layout.columns, 0)
        left = min(last, self._at)
        seen = self.size, left, self._prompt
        if self._laid_out is None or self._laid_out[0] != seen:
            steps = book.steps[left : left + layout.columns]
            wanted = [self._lines(prompt, steps, layout) for prompt in book.prompts]
            rows = VisibleRows.of(wanted, max(self.size.height - 1, 1), self._prompt)
            self._laid_out = seen, rows
        return layout, left, self._laid_out[1]

    def _lines(self, prompt: str, steps: list[int], layout: Layout) -> int:
        """What a prompt and its samples need, with a blank line below."""
        texts = [(Content(clean(prompt)), layout.margin - 3)]
        texts += [(self._text(prompt, step), layout.width - 2) for step in steps]
        return max(len(wrapped(text, max(width, 2))) for text, width in texts) + 1

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        line = self._line(y, width) if self._book.prompts else self._empty_line(y, width)
        line = line.truncate(width).pad_right(max(width - line.cell_length, 0))
        return Visual.to_strips(self, line, width, 1, self.visual_style, pad=True)[0]

    def _empty_line(self, y: int, width: int) -> Content:
        lines = self._empty.split("\n")
        text = lines[y - 1] if 1 <= y <= len(lines) else ""
        return Content.styled(fit(f"  {clean(text)}", width), "" if y == 1 else _QUIET)

    def _line(self, y: int, width: int) -> Content:
        layout, left, rows = self._window()
        steps = self._book.steps[left : left + layout.columns]
        if y == 0:
            return self._head(layout, steps, left, width)
        if (hit := rows.at(y - 1)) is None:
            return Content()
        row, line = hit
        most = rows.heights[row - rows.first] - 1
        if line == most:  # Between two prompts.
            return Content()
        prompt = self._book.prompts[row]
        chosen = row == self._prompt
        beginning = _wrapped(Content(clean(prompt)), layout.margin - 3, most, line)
        sign = "▌" if chosen and self.has_focus else " "
        parts = [
            Content.styled(sign, "$accent"),
            Content.styled(fit(beginning.plain, layout.margin - 2), "$accent" if chosen else ""),
            Content(" "),
        ]
        for step in steps:
            cell = _wrapped(self._text(prompt, step), layout.width - 2, most, line)
            cell = cell.pad_right(max(layout.width - cell.cell_length, 0))
            if chosen and step == self._book.steps[self._at]:
                cell = cell.stylize("on $accent 25%" if self.has_focus else "on $panel")
            parts.append(cell)
        return Content.assemble(*parts)

    def _head(self, layout: Layout, steps: list[int], left: int, width: int) -> Content:
        at = self._book.steps[self._at]
        before = f"‹ {left} " if left else ""
        after = len(self._book.steps) - left - len(steps)
        parts = [(fit(f"  {before}", layout.margin), _QUIET)]
        for step in steps:
            last = step == steps[-1] and after
            text = tr("step {step:,}", step=step) + (f"  {after} ›" if last else "")
            if self._book.is_abandoned(step):
                text = tr("{step}, abandoned", step=text)
            style = "bold $accent" if step == at else _QUIET
            parts.append((fit(text, layout.width), style))
        return Content.assemble(*parts)

    def _text(self, prompt: str, step: int) -> Content:
        """What a prompt got at a step; what it had got before is dim."""
        samples = self._book.at(prompt, step)
        if not samples:
            return Content.styled("·", _QUIET)
        text = clean(samples[-1].text)
        if len(samples) > 1:
            text = f"{tr('latest of {count}', count=len(samples))}: {text}"
        same = _same_beginning(text, self._book.before(prompt, step))
        content = Content(text).stylize("dim", 0, same) if same else Content(text)
        return content.stylize("dim") if samples[-1].abandoned else content


def _same_beginning(text: str, before: str) -> int:
    """How many characters of a text are those of the one before it, up to the end of a word."""
    if text == before:
        return len(text)
    same = len(commonprefix((text, before)))  # noqa: RUF071 (characters are meant)
    return text.rfind(" ", 0, same + 1) + 1 if same else 0


def _wrapped(text: Content, width: int, most: int, line: int) -> Content:
    """Line `line` of a text of at most `most` lines; `…` ends the last one if there are more."""
    lines = wrapped(text, max(width, 2))
    if line >= min(len(lines), max(most, 1)):
        return Content()
    shown = lines[line]
    if line == most - 1 and len(lines) > most:
        shown = Content(fit(shown.plain + " " * width + "…", width))
    return shown


if __name__ == "__main__":
    demo = SampleBook()
    demo.add([RunSample(100, prompt="小兔子", text="went home")])
    grid = SampleGrid("nothing yet")
    grid._book = demo
    print(grid._head(Layout.of(40, 1), demo.steps, 0, 40), grid._text("小兔子", 100))
    assert VisibleRows.of([2, 9, 3], 12, 0) == VisibleRows(0, (2, 7, 3))
    print("=== 自测通过 ===")
