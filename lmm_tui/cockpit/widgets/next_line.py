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
        """All of them, the last ones in short where that makes room; else as many as fit."""
        texts = [step.text for step in self._steps]
        for at in reversed(range(len(texts))):
            if self._line(texts).cell_length <= width:
                break
            texts[at] = self._steps[at].short or texts[at]
        while len(texts) > 1 and self._line(texts).cell_length > width:
            texts.pop()
        return self._line(texts).truncate(width, ellipsis=True)

    def _line(self, texts: Sequence[str]) -> Content:
        return Content.assemble(*map(_link, self._steps, texts))


def _link(step: NextStep, text: str) -> Content:
    key = _BY_ID[step.key]
    namespace = "" if key.action.startswith("app.") else "screen."
    return Content.from_markup(
        f"[@click={namespace}{key.action}] [bold $accent]$shown[/] $text  [/]",
        shown=shown_key(key),
        text=text,
    )


if __name__ == "__main__":
    line = NextLine()
    resume = NextStep("next.resume", "resume from step 94, steps lost: 6", "resume from step 94")
    line._steps = (resume, NextStep("next.fork", "use it"))
    for columns in (60, 40, 30):
        print(line.compose_line(columns))
        assert line.compose_line(columns).cell_length <= columns
    print("=== 自测通过 ===")
