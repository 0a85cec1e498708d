"""A framed notice above the panels: why a run failed and what to do about it.

It is there only while there is something to say.
"""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from lmm_tui.text import clean


class Notice(Static):
    """What happened, in a line, and the advice that fits."""

    DEFAULT_CSS = """
    Notice {
        display: none; height: auto; max-height: 7; padding: 0 1;
        border: round $error; color: $text-error;
    }
    """

    _said: tuple[str, str] = ("", "")

    def say(self, what: str, advice: str) -> None:
        """Show two sentences; an empty `what` takes the notice away."""
        if (what, advice) == self._said:
            return
        self._said = (what, advice)
        self.display = bool(what)
        self.update(
            Content.assemble((clean(what), "bold"), "\n", (clean(advice), "$foreground 90%"))
        )


if __name__ == "__main__":
    notice = Notice()
    notice.say("OutOfMemoryError: CUDA out of memory", "Lower train.batch_size.")
    print(notice.content)
    assert notice.display
    print("=== 自测通过 ===")
