"""Renders and sends only what changed on a screen.

For one new dot Textual 8.2 renders every widget that the changes of a frame span, and sends the
line from the left edge of its widget on (`textual._compositor`); for one new size, or another page,
it paints the whole screen up to five times. Over ssh that is most of what watching a run costs.
Here only the changed parts are rendered and sent, and of a whole frame, such as the first of
another screen, only what the terminal does not show yet. It knows nothing of what is shown.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import textual.screen
from rich.console import Console, RenderableType
from textual._compositor import Compositor, CompositorUpdate, LayoutUpdate
from textual._context import active_app
from textual.app import App
from textual.geometry import Region, Size
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget

Line: TypeAlias = Mapping[int, Strip]
"""Strips by the column they start in."""
Piece: TypeAlias = tuple[int, int, Strip]
"""Column and line where it starts."""


class TerminalContents:
    """What the terminal shows, as far as that is known."""

    def __init__(self) -> None:
        self._lines: dict[int, Line] = {}
        self._size = Size()

    def forget(self) -> None:
        """Something else may have painted there."""
        self._lines.clear()

    def patch(self, piece: Piece) -> None:
        """Paint a piece over what was there."""
        left, y, strip = piece
        right = left + strip.cell_length
        patched: dict[int, Strip] = {}
        for x, old in self._lines.get(y, {}).items():
            before, after = old.crop(0, max(left - x, 0)), old.crop(max(right - x, 0))
            over = strip.crop(max(x - left, 0), x + old.cell_length - left)
            patched[x] = Strip.join([before, over, after]) if over else old
        self._lines[y] = patched

    def replace(self, lines: Mapping[int, Line], size: Size) -> Iterator[Piece]:
        """Show these lines; yields the pieces that were not there already."""
        if size != self._size:
            self.forget()
        self._size = size
        for y, line in lines.items():
            before = self._lines.get(y, {})
            self._lines[y] = line
            if before.keys() != line.keys():
                ends = [x + line[x].cell_length for x in sorted(line)]
                before = dict(zip(sorted(line), _join(before).divide(ends), strict=False))
            for x, strip in line.items():
                if not (x in before and _same_cells(before[x], strip)):
                    yield x, y, strip


_contents: WeakKeyDictionary[App[Any], TerminalContents] = WeakKeyDictionary()


def terminal_contents(app: App[Any]) -> TerminalContents:
    """What all screens of an app have painted."""
    return _contents.setdefault(app, TerminalContents())


def install() -> None:
    """For every screen that is made from now on."""
    textual.screen.Compositor = PartialCompositor  # type: ignore[misc]
    # A widget that gets or loses the focus paints itself; the rest of the screen has not changed.
    vars(Screen)["focused"]._repaint = False


class TrackedUpdate(CompositorUpdate, ABC):
    """Sent by Textual, which may drop it instead: only what was taken is shown."""

    @abstractmethod
    def take(self) -> Iterable[Piece]:
        """What has to be sent; it counts as shown from then on."""

    def render_segments(self, console: Console) -> str:
        return "".join(
            f"\x1b[{y + 1};{x + 1}H{strip.render(console)}" for x, y, strip in self.take()
        )


@dataclass(frozen=True)
class PartialUpdate(TrackedUpdate):
    """Pieces of lines."""

    pieces: tuple[Piece, ...]
    contents: TerminalContents

    def take(self) -> tuple[Piece, ...]:
        for piece in self.pieces:
            self.contents.patch(piece)
        return self.pieces


@dataclass(frozen=True)
class LinesUpdate(TrackedUpdate):
    """Whole lines, of which only what is new is sent."""

    lines: Mapping[int, Line]
    size: Size
    contents: TerminalContents

    def take(self) -> Iterator[Piece]:
        return self.contents.replace(self.lines, self.size)


class PartialCompositor(Compositor):
    """Textual's compositor, with updates made from the changed parts alone."""

    def render_update(
        self,
        full: bool = False,
        screen_stack: list[Screen[Any]] | None = None,
        simplify: bool = False,
    ) -> RenderableType | None:
        if active_app.get()._batch_count and not full:
            return None  # It would be dropped: what changed stays marked, and is painted after.
        return super().render_update(full, screen_stack, simplify)

    def render_full_update(self, simplify: bool = False) -> LayoutUpdate:
        if simplify:  # For a picture in a file.
            return super().render_full_update(simplify)
        return self._update_lines(set(range(self.size.height)))  # type: ignore[return-value]

    def render_partial_update(self) -> CompositorUpdate | None:  # type: ignore[override]
        if self.size != active_app.get().size:  # What is laid out for that comes next.
            self._dirty_regions.clear()
            return None
        changed: dict[Widget, list[Region]] = {}
        # Kept, since a widget that is rendered may ask where it is, which lays the screen out anew.
        visible = self.visible_widgets
        left = self.size.area // 2
        for region in self._dirty_regions:
            widget = self._owner(region)
            left -= region.area
            if widget is None or left < 0:  # After a layout one region lies within the other.
                lines = {y for each in self._dirty_regions for y in each.line_range}
                return self._update_lines(lines)
            changed.setdefault(widget, []).append(region)
        self._dirty_regions.clear()
        pieces = tuple(
            piece
            for widget, regions in changed.items()
            for piece in _render_regions(widget, visible[widget][0], regions)
        )
        return PartialUpdate(pieces, terminal_contents(active_app.get())) if pieces else None

    def whole_lines(self) -> list[Strip]:
        """All that the screen shows, from the top."""
        lines = self._lines(list(range(self.size.height)))
        return [_join(line) for line in lines.values()]

    def _update_lines(self, wanted: set[int]) -> LinesUpdate:
        self._dirty_regions.clear()
        there = sorted(wanted.intersection(range(self.size.height)))
        return LinesUpdate(self._lines(there), self.size, terminal_contents(active_app.get()))

    def _lines(self, wanted: list[int]) -> Mapping[int, Line]:
        """Lines from front to back: what nobody sees, such as containers, is not rendered."""
        lines: dict[int, dict[int, Strip]] = {y: {} for y in wanted}
        gaps = {y: [(0, self.size.width)] for y in wanted}
        for widget, (area, clip) in self.visible_widgets.items():  # The topmost first.
            shown = area.intersection(clip)
            left, right = shown.column_span
            rows = [y for y in shown.line_range if _overlap(gaps.get(y, ()), left, right)]
            if not rows:
                continue
            part = Region(left, rows[0], shown.width, rows[-1] + 1 - rows[0])
            strips = widget.render_lines(part.translate(-area.offset))
            for y in rows:
                strip, still = strips[y - part.y], []
                for start, end in gaps[y]:
                    first, last = max(start, left), min(end, right)
                    if first >= last:
                        still.append((start, end))
                        continue
                    whole = (first, last) == (left, right)
                    lines[y][first] = strip if whole else strip.crop(first - left, last - left)
                    still += [gap for gap in ((start, first), (last, end)) if gap[0] < gap[1]]
                gaps[y] = still
        return lines

    def _owner(self, region: Region) -> Widget | None:
        """The widget that alone shows in a region of the screen."""
        for widget, (area, clip) in self.visible_widgets.items():  # The topmost first.
            shown = area.intersection(clip)
            if shown.contains_region(region):
                return widget
            if shown.overlaps(region):
                break
        return None


def _render_regions(widget: Widget, area: Region, regions: list[Region]) -> Iterator[Piece]:
    for region in regions:
        strips = widget.render_lines(region.translate(-area.offset))
        for y, strip in zip(region.line_range, strips, strict=True):
            yield region.x, y, strip


def _join(line: Line) -> Strip:
    return Strip.join(line[x] for x in sorted(line))


def _same_cells(one: Strip, other: Strip) -> bool:
    """However they are cut into segments."""
    if one == other:
        return True
    starts = [segment.style for strip in (one, other) for segment in islice(strip, 1)]
    return (
        starts[:1] == starts[1:] and one.text == other.text and one.simplify() == other.simplify()
    )


def _overlap(gaps: Iterable[tuple[int, int]], left: int, right: int) -> bool:
    return any(start < right and left < end for start, end in gaps)


if __name__ == "__main__":
    from rich.segment import Segment

    contents, size = TerminalContents(), Size(9, 1)
    before, after = ({0: Strip([Segment(text)])} for text in ("loss 2.71", "loss 2.70"))
    for line in (before, after, after):
        print([(x, y, strip.text) for x, y, strip in contents.replace({0: line}, size)])
    print("=== 自测通过 ===")
