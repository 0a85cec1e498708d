"""The samples of the open run as a grid of prompts and steps, and more of them on demand.

They are read from samples.jsonl; a live model generates new ones between two of its steps. Chat and
token view are reached from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message

from lmm_tui.cockpit.chat_backend import SamplingOptions, parse_sampling
from lmm_tui.cockpit.keys import bindings
from lmm_tui.cockpit.screens.base_screen import BaseScreen
from lmm_tui.cockpit.screens.dialogs import AskDialog
from lmm_tui.cockpit.widgets.prose import Prose
from lmm_tui.cockpit.widgets.sample_grid import SampleBook, SampleGrid
from lmm_tui.cockpit.widgets.screen_tabs import ScreenTabs
from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.engine.run.history import RunHistory
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.samples import RunSample
from lmm_tui.i18n.language import mark, tr
from lmm_tui.terminal.safe_text import clean

_EMPTY = mark(
    "No samples yet.\n"
    "p asks a live model for some; a asks it to go on from a prompt of yours.\n"
    "i talks with it, or with a checkpoint; w shows what surprises it in a text."
)
_QUIET = "$foreground 70%"


@dataclass
class SamplesRead(Message):
    """New records of the file, and whether some of the older ones were abandoned."""

    records: list[RunSample]
    resumed: bool


@dataclass
class Sampled(Message):
    """The run has answered a request for samples."""

    reply: Reply
    prompt: str | None


class SamplesScreen(BaseScreen):
    """The samples of `run`."""

    PLACE = "samples"
    BINDINGS = bindings("samples")
    AUTO_FOCUS = "SampleGrid"
    VERTICAL_BREAKPOINTS = [(0, "-short"), (20, "-tall")]

    def __init__(self, run: RunDir) -> None:
        super().__init__()
        self._run = run
        self._history = RunHistory(run)
        self._book = SampleBook()
        self._sampling = SamplingOptions()
        self._awaited: str | None = None

    def compose_body(self) -> ComposeResult:
        yield SampleGrid(tr(_EMPTY))
        with VerticalScroll(id="whole"):
            yield Prose(id="said")

    def look(self) -> None:
        self.in_background("samples", self._read)

    def _read(self) -> SamplesRead:
        resumes = self._history.resumes
        _, samples = self._history.poll()
        return SamplesRead(samples, resumed=self._history.resumes > resumes)

    def on_samples_read(self, message: SamplesRead) -> None:
        if self._book.add(message.records) or message.resumed:
            grid = self.query_one(SampleGrid)
            grid.show(self._book)
            if self._awaited is not None and self._awaited in self._book.prompts:
                grid.go_to_prompt(self._awaited)
                self._awaited = None
        self._show_facts()

    def _show_facts(self) -> None:
        prompts, steps = len(self._book.prompts), len(self._book.steps)
        sampling = str(self._sampling)
        facts = [
            tr("1 prompt") if prompts == 1 else tr("{count} prompts", count=prompts),
            tr("1 step") if steps == 1 else tr("{count} steps", count=steps),
            *([sampling] if sampling else []),
        ]
        self.query_one(ScreenTabs).show(" · ".join(facts), subject=self._run.name)

    @on(SampleGrid.Moved)
    def _moved(self) -> None:
        place = self.query_one(SampleGrid).under_cursor
        if place is None:
            return
        prompt, step = place
        parts: list[Content] = []
        for record in self._book.at(prompt, step)[-8:]:
            facts = [tr("step {step:,}", step=step)]
            facts += [
                f"{tr(word)} {value:g}"
                for word, key in (
                    (mark("temperature"), "temperature"),
                    ("top-p", "top_p"),
                    (mark("tokens"), "tokens"),
                    (mark("reward"), "reward"),
                )
                if isinstance(value := record.details.get(key), int | float)
            ]
            parts.append(Content.styled(" · ".join(facts), _QUIET))
            parts.append(
                Content.assemble(
                    (clean(prompt, newlines="keep"), "$accent"),
                    (" → " if record.details.get("answer") else "", _QUIET),
                    clean(record.text, newlines="keep"),
                )
            )
        parts = parts or [Content.styled(tr("nothing said here"), _QUIET)]
        self.query_one("#said", Prose).update(Content("\n").join(parts))
        self.query_one("#whole").scroll_home(animate=False)

    def action_move(self, by: int) -> None:
        if self.has_class("-whole"):
            self.query_one("#whole").scroll_relative(y=by, animate=False)
        else:
            self.query_one(SampleGrid).move(prompts=by)

    def action_aside(self, by: int) -> None:
        self.query_one(SampleGrid).move(steps=by)

    @on(SampleGrid.Opened)
    def action_whole(self) -> None:
        if self._book.prompts:
            self.toggle_class("-whole")

    async def action_back(self) -> None:
        if self.has_class("-whole"):
            self.remove_class("-whole")
        else:
            await super().action_back()

    # Requests to the live model

    def action_again(self) -> None:
        self._ask(None)

    def action_add(self) -> None:
        asked = AskDialog(
            tr("a prompt"),
            tr("The live model goes on from it, or answers, after the step in progress."),
            judge=lambda text: "" if text.strip() else tr("write something to go on from"),
        )
        self.app.push_screen(asked, self._prompted)

    def _prompted(self, prompt: str | None) -> None:
        if prompt is not None:
            self._ask(prompt)

    def _ask(self, prompt: str | None) -> None:
        args: dict[str, Any] = dict(self._sampling.for_sample)
        if prompt is not None:
            args["prompt"] = prompt

        if not self.in_background(
            "sample",
            lambda: Sampled(Reader(self._run.path).send("sample", args), prompt),
            refused=lambda why: Sampled(Reply(False, why), prompt),
        ):
            self.toast(tr("the last request is still under way"), mark("sample"), severe=True)

    def on_sampled(self, message: Sampled) -> None:
        self.toast(message.reply.message, "sample", severe=not message.reply.ok)
        if message.reply.ok:
            self._awaited = message.prompt
            self.look()

    def action_manner(self) -> None:
        self.app.push_screen(sampling_dialog(self._sampling), self._sampling_chosen)

    def _sampling_chosen(self, text: str | None) -> None:
        if text is not None:
            self._sampling = parse_sampling(text)
            self._show_facts()


def sampling_dialog(options: SamplingOptions) -> AskDialog:
    """Asks for sampling options; the answer can be parsed by `parse_sampling`."""

    def judge(text: str) -> str:
        try:
            parse_sampling(text)
        except ValueError as error:
            return str(error)
        return ""

    return AskDialog(
        tr("how it speaks"),
        tr(
            "temperature=0.8 top_p=0.95 max_tokens=200, any of them; what is left out is as in the "
            "settings of the run. Temperature 0 always takes the likeliest token."
        ),
        str(options),
        judge,
    )


if __name__ == "__main__":
    dialog = sampling_dialog(SamplingOptions())
    print(dialog._title, dialog._text, dialog._value, sep="\n")
    print("=== 自测通过 ===")
