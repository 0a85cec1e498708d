"""A notice above the panels: why a run failed and what to do, or what a new run does first."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from lmm_tui.terminal.safe_text import clean


class Notice(Static):
    """What happened, and a line of advice if there is any; hidden without text."""

    DEFAULT_CSS = """
    Notice {
        display: none; height: auto; max-height: 5; padding: 0 1; color: $text-error;
    }
    Notice.-calm { color: $accent; }
    """

    _shown: tuple[str, str, bool] = ("", "", False)

    def say(self, what: str, advice: str, *, calm: bool = False) -> None:
        """Show two sentences, red unless `calm`; an empty `what` hides the notice."""
        if (what, advice, calm) == self._shown:
            return
        self._shown = (what, advice, calm)
        self.display = bool(what)
        self.set_class(calm, "-calm")
        lines = [Content.styled(clean(what), "bold")]
        if advice:
            lines.append(Content.styled(clean(advice), "$foreground 80%"))
        self.update(Content("\n").join(lines))


if __name__ == "__main__":
    notice = Notice()
    notice.say("OutOfMemoryError: CUDA out of memory", "Lower train.batch_size.")
    print(notice.content)
    assert notice.display
    print("=== 自测通过 ===")
