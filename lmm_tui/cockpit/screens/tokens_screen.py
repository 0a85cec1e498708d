"""The loss of each token of a text under a model of the run, and its likeliest alternatives.

The text is validation data, written, or pasted; a live model reads it between two steps, a
checkpoint in a worker process.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Container
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from lmm_tui.cockpit.chat_backend import LiveBackend
from lmm_tui.cockpit.keys import bindings
from lmm_tui.cockpit.screens.backend_screen import BackendScreen
from lmm_tui.cockpit.screens.dialogs import AskDialog
from lmm_tui.cockpit.widgets.samples_panel import LOSS_STYLES
from lmm_tui.cockpit.widgets.screen_tabs import ScreenTabs
from lmm_tui.cockpit.widgets.token_text import HIGH_LOSS_GROUND, TokenText
from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.engine.run.history import RunHistory
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.runs.loss_levels import HIGH_LOSS, LIMITS
from lmm_tui.terminal.byte_tokens import text_of
from lmm_tui.terminal.safe_text import clean, fit

_QUIET = "$foreground 60%"
_BAR = 12
_MOST_PASTED = 8_000
"""Characters, which is more than a context holds."""


@dataclass
class ReadDone(Message):
    """A model has read a text, or could not; `text` is None for validation data of the run."""

    reply: Reply
    text: str | None
    backend: str


class TokensScreen(BackendScreen):
    """Token losses of texts under a model of `run`."""

    PLACE = "tokens"
    BINDINGS = bindings("tokens")
    AUTO_FOCUS = "TokenText"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (20, "-tall")]

    def __init__(self, run: RunDir) -> None:
        super().__init__(run)
        self._text: str | None = None
        self._data: dict[str, Any] = {}
        self._facts = ("", "")

    def compose_body(self) -> ComposeResult:
        with Container(id="reading"):
            yield TokenText()
            yield Static(id="likeliest")

    def on_mount(self) -> None:
        self._explain()

    def backend_changed(self) -> None:
        self._read(self._text)

    def look(self) -> None:
        super().look()
        self._show_facts()

    # Reading

    def _read(self, text: str | None) -> None:
        backend = self.backend
        if backend is None:
            self._explain()
            return
        name = self.backend_name

        def ask() -> ReadDone:
            asked = text
            if asked is None and not isinstance(backend, LiveBackend):
                asked = _validation_text(self.run_dir)
                if asked is None:
                    why = tr("Validation text needs a live model; press i to enter a text")
                    reply = Reply(False, why)
                    return ReadDone(reply, None, name)
            return ReadDone(
                backend.ask("read", {} if asked is None else {"text": asked}), text, name
            )

        if self.in_background("read", ask):
            self._explain(reading=True)
        else:
            self.toast(tr("the previous text is still being scored"), "tokens", severe=True)

    def on_read_done(self, message: ReadDone) -> None:
        if not message.reply.ok:
            self.toast(message.reply.message, "tokens", severe=True)
            if not self._data:
                self._explain()
            return
        self._text, self._data = message.text, message.reply.data
        step = ""
        if message.backend == tr(LiveBackend.name):
            step = " · " + tr("step {step:,}", step=message.reply.step)
        self._facts = f"{message.backend}{step}", translate_message(message.reply.message)
        self.query_one(TokenText).show(self._data["tokens"], self._data["losses"])
        self._show_facts()

    def action_held_out(self) -> None:
        self._read(None)

    def action_write(self) -> None:
        asked = AskDialog(
            tr("Text to score"),
            tr(
                "The loss of each token is shown. Text of several lines can be pasted into the "
                "token view."
            ),
            judge=lambda text: "" if text.strip() else tr("type a text"),
        )
        self.app.push_screen(asked, self._written)

    def _written(self, text: str | None) -> None:
        if text is not None:
            self._read(text)

    def on_paste(self, event: events.Paste) -> None:
        if event.text.strip():
            self._read(event.text[:_MOST_PASTED])

    # The cursor

    def action_move(self, by: int) -> None:
        self.query_one(TokenText).move(by)

    def action_line(self, by: int) -> None:
        self.query_one(TokenText).move_lines(by)

    def action_surprise(self, by: int) -> None:
        if not self.query_one(TokenText).next_surprise(by):
            self.toast(tr("No token with a loss of 5 nats or more in this direction"), "tokens")

    @on(TokenText.Moved)
    def _moved(self, message: TokenText.Moved) -> None:
        if self._data:
            self.query_one("#likeliest", Static).update(self._likeliest(message.index))

    # What is shown

    def _show_facts(self) -> None:
        strip = self.query_one(ScreenTabs)
        model, loss = self._facts
        if loss:
            strip.show(loss, subject=model)
        else:
            strip.show(self.backend_name, subject=self.run_dir.name)

    def _explain(self, *, reading: bool = False) -> None:
        if self._data:
            return
        waiting = Content.assemble(
            tr("Scoring the text …") + "\n" if reading else "",
            (
                tr("Press i to enter or paste a text, v to score validation text."),
                _QUIET,
            ),
        )
        self.query_one(TokenText).explain(waiting if self.backend else self.no_backend_hint())

    def _likeliest(self, index: int) -> Content:
        """The token under the cursor and the tokens that the model found likeliest in its place."""
        token = str(self._data["tokens"][index])
        loss = self._data["losses"][index]
        place = tr("token {number}", number=index + 1)
        lines = [Content.assemble((_quoted(token), "bold"), (f"  {place}", _QUIET))]
        if loss is None:
            lines.append(Content.styled(tr("the first token has no loss"), _QUIET))
        else:
            lines.append(Content(f"{tr('loss')} {loss:.3f}   p {math.exp(-loss):.3g}"))
        for word, chance in self._data["top"][index]:
            bar = "━" * max(round(chance * _BAR), 1 if chance > 0.01 else 0)
            hit = word == token
            lines.append(
                Content.assemble(
                    ("▸ " if hit else "  ", "bold $success"),
                    f"{chance:6.3f} ",
                    (f"{bar:<{_BAR}} ", "$success" if hit else "$accent"),
                    (fit(_quoted(word), 18).rstrip(), "bold" if hit else ""),
                )
            )
        lines += [Content()] * (7 - len(lines)) + [_legend()]
        return Content("\n").join(lines)


def _legend() -> Content:
    parts: list[tuple[str, str]] = []
    for limit, style in zip(LIMITS, LOSS_STYLES, strict=False):
        parts += [(f"<{limit:g}", style), (" ", "")]
    return Content.assemble(
        (f"{tr('nats')} ", _QUIET),
        *parts,
        (f"≥{HIGH_LOSS:g}", f"{LOSS_STYLES[-1]} {HIGH_LOSS_GROUND}"),
    )


def _quoted(token: str) -> str:
    return f"“{clean(token)}”"


def _validation_text(run: RunDir) -> str | None:
    """The validation text whose losses the run recorded last, from its second token on."""
    records = [
        record
        for record in RunHistory(run).poll()[1]
        if record.kind == "token_losses" and isinstance(record.details.get("tokens"), list)
    ]
    return text_of(list(map(str, records[-1].details["tokens"]))) if records else None


if __name__ == "__main__":
    alone = TokensScreen(RunDir("runs/demo"))
    alone._data = {"tokens": ["the", " cat"], "losses": [None, 1.2], "top": [[], [[" dog", 0.1]]]}
    print(alone._likeliest(1))
    print("=== 自测通过 ===")
