"""One line that offers what to do next with the run, each by a key that can be clicked."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from lmm_tui.cockpit.keys import KEYS
from lmm_tui.cockpit.widgets.key_bar import shown_key
from lmm_tui.cockpit.widgets.styled_line import StyledLine
from lmm_tui.runs.next_steps import NextStep

_BY_ID = {key.id: key for key in KEYS}


class NextLine(StyledLine):
    """` b back to step 40, LR / 3 `; hidden where nothing is offered."""

    DEFAULT_CSS = """
    NextLine { display: none; background: $panel; }
    NextLine.-trouble { background: $error 25%; }
    """

    _steps: tuple[NextStep, ...] = ()

    def show(self, steps: Sequence[NextStep], *, trouble: bool) -> None:
        self.set_class(trouble, "-trouble")
        if tuple(steps) != self._steps:
            self._steps = tuple(steps)
            self.display = bool(steps)
            self.reword()

    def compose_line(self, width: int) -> Content:
        """As many as fit."""
        line = Content()
        for step in self._steps:
            longer = line + _link(step)
            if line.cell_length and longer.cell_length > width:
                break
            line = longer
        return line.truncate(width, ellipsis=True)


def _link(step: NextStep) -> Content:
    key = _BY_ID[step.key]
    namespace = "" if key.action.startswith("app.") else "screen."
    return Content.from_markup(
        f"[@click={namespace}{key.action}] [bold $accent]$shown[/] $text  [/]",
        shown=shown_key(key),
        text=step.text,
    )


if __name__ == "__main__":
    line = NextLine()
    line._steps = (NextStep("next.resume", "resume from step 94"), NextStep("next.fork", "use it"))
    for columns in (60, 30):
        print(line.compose_line(columns))
        assert line.compose_line(columns).cell_length <= columns
    print("=== 自测通过 ===")
