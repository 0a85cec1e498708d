"""A page of text about all ranks: their stacks grouped, or their logs folded."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from lmm_tui.cockpit import style_sheets
from lmm_tui.cockpit.keys import bindings
from lmm_tui.cockpit.screens.dialogs import pressed
from lmm_tui.engine.parallel.stacks import StackGroup
from lmm_tui.i18n.language import tr
from lmm_tui.runs.ranks.folded_logs import FoldedLine
from lmm_tui.runs.ranks.rank_list import short_list
from lmm_tui.runs.ranks.stack_dump import StackReport
from lmm_tui.terminal.safe_text import clean

_QUIET = "$foreground 70%"
_HEAD = "bold $accent"
_MOST_LINES = 2000


class RankTextScreen(ModalScreen[None]):
    """Scrolls; esc closes it."""

    CSS_PATH = style_sheets.SCREENS
    DEFAULT_CSS = """
    RankTextScreen { align: center middle; }
    #ranktext { width: 95%; height: 95%; border: round $accent; background: $surface;
                padding: 0 1; }
    """
    BINDINGS = bindings("rank_text")
    AUTO_FOCUS = "VerticalScroll"

    def __init__(self, title: str, lines: Sequence[Content]) -> None:
        super().__init__()
        self._title = title
        self._lines = lines

    def compose(self) -> ComposeResult:
        with Vertical(id="ranktext") as panel:
            panel.border_title = self._title
            panel.border_subtitle = pressed("esc", "leave")
            with VerticalScroll(can_focus=True):
                yield Static(Content("\n").join(self._lines))

    def action_leave(self) -> None:
        self.dismiss(None)


def stack_lines(report: StackReport) -> list[Content]:
    """`7 × rank 0-4, 6, 7` and the stack of their main threads, the smallest group first."""
    lines: list[Content] = []
    if report.silent:
        text = tr("no stacks from rank {ranks}", ranks=short_list(report.silent))
        lines += [Content.styled(text, "bold $warning"), Content()]
    for group in report.groups:
        lines += [_group_head(group), *_frames(group.main)]
        if len(report.groups) > 1 and group is report.groups[0]:
            # A thread of the odd one may be what it waits for, such as one that reads data.
            for number, stack in enumerate(group.others, start=1):
                head = tr("thread {number} of rank {rank}", number=number, rank=group.ranks[0])
                lines += [Content.styled(f"  {head}", _QUIET), *_frames(stack)]
        lines.append(Content())
    lines.append(Content.styled(tr("all threads: {folder}", folder=report.folder), _QUIET))
    return lines


def log_lines(folded: Sequence[FoldedLine]) -> list[Content]:
    """`×8` before a line that so many ranks have, `rank 3` before one of few."""
    if not folded:
        return [Content(tr("The ranks have printed nothing yet."))]
    most = max(len(line.ranks) for line in folded)
    lines = []
    for line in folded[:_MOST_LINES]:
        few = len(line.ranks) < most and len(line.ranks) <= 3
        ranks = tr("rank {rank}", rank=short_list(line.ranks)) if few else f"×{len(line.ranks)}"
        style = "bold $warning" if len(line.ranks) < most else _QUIET
        lines.append(Content.assemble((f"{ranks:>10}  ", style), clean(line.text)))
    return lines


def _group_head(group: StackGroup) -> Content:
    ranks = tr("rank {rank}", rank=short_list(group.ranks))
    return Content.styled(f"{len(group.ranks)} × {ranks}", _HEAD)


def _frames(stack: Sequence[object]) -> list[Content]:
    if not stack:
        return [Content.styled(f"    {tr('no Python code')}", _QUIET)]
    return [Content(f"    {clean(str(frame))}") for frame in stack]


if __name__ == "__main__":
    for line in log_lines([FoldedLine("CUDA error", (3,)), FoldedLine("step 1", (*range(8),))]):
        print(line)
    print("=== 自测通过 ===")
