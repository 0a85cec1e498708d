"""A notice above the panels: why a run failed and what to do, or what a new run does first."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from lmm_tui.terminal.safe_text import clean


class Notice(Static):
    """A line on what happened, and one of advice; hidden without text."""

    DEFAULT_CSS = """
    Notice {
        display: none; height: auto; max-height: 7; padding: 0 1;
        border: round $error; color: $text-error;
    }
    Notice.-calm { border: none; padding: 0 2; color: $accent; }
    """

    _shown: tuple[str, str, bool] = ("", "", False)

    def say(self, what: str, advice: str, *, calm: bool = False) -> None:
        """Show two sentences, framed unless `calm`; an empty `what` hides the notice."""
        if (what, advice, calm) == self._shown:
            return
        self._shown = (what, advice, calm)
        self.display = bool(what)
        self.set_class(calm, "-calm")
        self.update(
            Content.assemble((clean(what), "bold"), "\n", (clean(advice), "$foreground 80%"))
        )


if __name__ == "__main__":
    notice = Notice()
    notice.say("OutOfMemoryError: CUDA out of memory", "Lower train.batch_size.")
    print(notice.content)
    assert notice.display
    print("=== 自测通过 ===")
