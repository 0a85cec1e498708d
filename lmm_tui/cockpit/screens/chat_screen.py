"""Chat with a model of the run: the reply is shown as it is generated and can be stopped.

Where the stage trains on chats the model answers in turns; after pretraining it continues the text
that both have written. The chat is kept as long as the screen is.
"""

from __future__ import annotations

from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Input

from lmm_tui.cockpit.chat_backend import (
    ChatBackend,
    LiveBackend,
    SamplingOptions,
    Turns,
    parse_sampling,
    reply_to,
)
from lmm_tui.cockpit.keys import bindings
from lmm_tui.cockpit.screens.backend_screen import BackendScreen
from lmm_tui.cockpit.screens.samples_screen import sampling_dialog
from lmm_tui.cockpit.widgets.prose import Prose, wrapped
from lmm_tui.cockpit.widgets.screen_tabs import ScreenTabs
from lmm_tui.cockpit.widgets.text_input import TextInput
from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.terminal.safe_text import clean, fit

_QUIET = "$foreground 60%"
_NAME = 7
"""Cells for the name of a speaker."""


@dataclass
class ReplyGrown(Message):
    """The reply of this number has grown, or was refused."""

    number: int
    reply: Reply


@dataclass
class ReplyEnded(Message):
    """The reply of this number has ended."""

    number: int


class ChatScreen(BackendScreen):
    """A chat with a model of `run`."""

    PLACE = "chat"
    BINDINGS = bindings("chat")
    AUTO_FOCUS = "#saying"

    def __init__(self, run: RunDir) -> None:
        super().__init__(run)
        self._turns: Turns = []
        self._growing: str | None = None
        """The reply so far, while one is generated."""
        self._error = ""
        self._sampling = SamplingOptions()
        self._stopped = False
        self._number = 0
        """Of the current or last reply; messages about older ones are ignored."""
        self._step = 0

    def compose_body(self) -> ComposeResult:
        with VerticalScroll(id="talk"):
            yield Prose(id="turns")
        yield TextInput(id="saying")

    @property
    def turns(self) -> Turns:
        """What was said so far, without a reply that is still being generated."""
        return self._turns

    @property
    def replying(self) -> bool:
        """Whether a reply is being generated."""
        return self._growing is not None

    def on_mount(self) -> None:
        self._show()

    def backend_changed(self) -> None:
        self._error = ""
        self._show()

    def _in_turns(self) -> bool:
        try:
            return Reader(self.run_dir.path).view.info.stage != "pretrain"
        except LmmError:
            return True

    # Replies

    @on(Input.Submitted, "#saying")
    def _send(self, event: Input.Submitted) -> None:
        event.stop()
        if self.backend is None:
            self.toast(tr("No model chosen; m chooses one"), "chat")
        elif self._growing is not None:
            self.toast(tr("A reply is being generated; esc stops it"), "chat")
        elif event.value:
            event.input.value = ""
            self._turns.append(["user", event.value])
            self._begin(self.backend)

    def _begin(self, backend: ChatBackend) -> None:
        turns = [list(turn) for turn in self._turns]
        self._number += 1
        sampling, number = self._sampling, self._number
        self._growing, self._stopped, self._error = "", False, ""

        def stopped() -> bool:
            return self._stopped or number != self._number

        def ask() -> ReplyEnded:
            for reply in reply_to(backend, turns, sampling, seed=number, stopped=stopped):
                self.post_message(ReplyGrown(number, reply))
            return ReplyEnded(number)

        self.in_background(f"reply {number}", ask)
        self._show()

    def on_reply_grown(self, message: ReplyGrown) -> None:
        reply = message.reply
        if message.number != self._number:
            return
        if reply.ok:
            self._growing, self._step = str(reply.data["text"]), reply.step
        else:
            self._error = reply.message
        self._show()

    def on_reply_ended(self, message: ReplyEnded) -> None:
        if message.number != self._number:
            return
        if self._growing:
            self._turns.append(["assistant", self._growing])
        self._growing = None
        self._show()

    # Keys

    def action_write(self) -> None:
        self.query_one("#saying").focus()

    def action_stop(self) -> None:
        """Stop the reply; what has come of it is kept."""
        self._stopped = True

    def action_anew(self) -> None:
        self._number += 1
        self._turns, self._growing, self._error = [], None, ""
        self._show()

    def action_manner(self) -> None:
        self.app.push_screen(sampling_dialog(self._sampling), self._sampling_chosen)

    def _sampling_chosen(self, text: str | None) -> None:
        if text is not None:
            self._sampling = parse_sampling(text)
            self._show()

    async def action_back(self) -> None:
        """One thing at a time: stop the reply, leave the input, leave the screen."""
        if self._growing is not None and not self._stopped:
            self.action_stop()
        elif self.query_one("#saying").has_focus:
            self.query_one("#talk").focus()
        else:
            await super().action_back()

    # What is shown

    def _show(self) -> None:
        in_turns = self._in_turns()
        self.query_one("#turns", Prose).update(self._chat_text(in_turns))
        self.query_one("#talk").scroll_end(animate=False)
        who = tr("the live model") if isinstance(self.backend, LiveBackend) else self.backend_name
        self.query_one("#saying", TextInput).prompt = tr(
            "Message to {who}" if in_turns else "Prompt ({who})", who=who
        )
        sampling = f" · {self._sampling}" if str(self._sampling) else ""
        self.query_one(ScreenTabs).show(f"{self.backend_name}{sampling}", subject=self.run_dir.name)

    def _chat_text(self, in_turns: bool) -> Content:
        if self.backend is None:
            return self.no_backend_hint()
        if not self._turns:
            return self._greeting(in_turns)
        growing = [] if self._growing is None else [["assistant", self._growing]]
        parts: list[Content] = []
        for role, text in [*self._turns, *growing]:
            mine = role == "user"
            words = Content.styled(clean(text, newlines="keep"), "$accent" if mine else "")
            if in_turns:
                who = (tr("you"), "bold $accent") if mine else (tr("model"), "bold $success")
                parts.append(
                    _turn(*who, words, self.query_one("#talk").scrollable_content_region.width)
                )
                parts.append(Content("\n" if mine else "\n\n"))
            else:
                if mine and parts:
                    parts.append(Content("\n\n"))
                parts.append(words)
        if self._growing is not None:
            parts.append(Content.styled("▌", "$success"))
            step = "  " + tr("step {step:,}", step=self._step) if self._step else ""
            parts.append(Content.styled(step, _QUIET))
        if self._error:
            error = clean(translate_message(self._error), newlines="keep")
            parts.append(Content.styled(f"\n{error}", "$text-error"))
        return Content.assemble(*parts)

    def _greeting(self, in_turns: bool) -> Content:
        first = (
            tr("Type below and press enter.")
            if in_turns
            else tr("Base model: it continues your text (no chat template).")
        )
        aside = (
            tr("Training continues while the live model replies, a few tokens between steps.")
            if isinstance(self.backend, LiveBackend)
            else tr(
                "A checkpoint replies from a worker process; once it has, its name says on what "
                "device."
            )
        )
        return Content.assemble(
            f"{first}\n",
            (
                f"{aside}\n"
                + tr("esc stops the reply; esc again leaves the input, where m, T, d and S work."),
                _QUIET,
            ),
        )

    def on_resize(self) -> None:
        self.call_after_refresh(self._show)

    def on_unmount(self) -> None:
        self._stopped = True
        super().on_unmount()


def _turn(name: str, style: str, text: Content, width: int) -> Content:
    """The text in a column of its own, beside the name of the speaker."""
    lines = wrapped(text, max(width - _NAME, 10))
    names = [Content.styled(fit(name, _NAME), style)] + [Content(" " * _NAME)] * (len(lines) - 1)
    return Content("\n").join(map(Content.append, names, lines))


if __name__ == "__main__":
    alone = ChatScreen(RunDir("runs/demo"))
    print(alone._chat_text(in_turns=True))
    print(_turn("model", "", Content("one two three four five"), 20))
    print("=== 自测通过 ===")
