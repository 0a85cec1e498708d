"""The data of a run, or of the form before one is started, as the model sees them.

Three views: a row token by token, learnt tokens bright; how rows are packed into sequences; and
the rows that are left out, with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, groupby
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from lmm_tui.cockpit.keys import Where, bindings
from lmm_tui.cockpit.screens.background_thread import run_in_background
from lmm_tui.cockpit.screens.base_screen import BaseScreen
from lmm_tui.cockpit.widgets.screen_tabs import ScreenTabs
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.config.run_settings import settings_of
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.planning.data_preview import DataPreview, PackedRow, PreviewRow, preview
from lmm_tui.terminal.safe_text import clean

_QUIET = "$foreground 60%"
_LEARNT, _SHOWN, _CUT = "bold $success", "$foreground 75%", "strike $error"
_SHADES = ("$accent", "$success", "$warning")
_VIEWS = (mark("row"), mark("packing"), mark("left out"))


@dataclass
class PreviewMade(Message):
    """A thread has read the first rows, or could not."""

    found: DataPreview | None
    why: str = ""


class DataScreen(BaseScreen):
    """Of the run, or with `config` of a form, to which it returns."""

    PLACE: ClassVar[Where] = "data"
    TAB: ClassVar[Where | None] = "samples"
    BINDINGS = bindings("data")
    AUTO_FOCUS = "#rows"

    def __init__(self, run: RunDir | None, config: RunConfig | None = None) -> None:
        super().__init__()
        self._run, self._config = run, config
        self._found: DataPreview | None = None
        self._why = ""
        self._row = self._view = 0

    def compose_body(self) -> ComposeResult:
        yield Static(id="about")
        with VerticalScroll(id="rows"):
            yield Static(id="shown")

    def on_mount(self) -> None:
        self._show()
        run_in_background(self, "data", self._read, refused=lambda why: PreviewMade(None, why))

    def look(self) -> None:
        """Data that were read stay as they are."""

    def _read(self) -> PreviewMade:
        if self._config is not None:
            return PreviewMade(preview(self._config))
        assert self._run is not None
        own: Path = self._run.path / "tokenizer.json"
        return PreviewMade(preview(settings_of(self._run), own if own.is_file() else None))

    def on_preview_made(self, message: PreviewMade) -> None:
        self._found, self._why = message.found, message.why
        self._show()

    async def action_back(self) -> None:
        if self._config is not None:
            self.dismiss()
        else:
            await super().action_back()

    def action_row(self, by: int) -> None:
        if self._found and self._view == 0:
            self._row = min(max(self._row + by, 0), len(self._found.rows) - 1)
            self._show()
            self.query_one("#rows").scroll_home(animate=False)

    def action_turn_view(self, by: int) -> None:
        self._view = (self._view + by) % len(_VIEWS)
        self._show()
        self.query_one("#rows").scroll_home(animate=False)

    # What is shown

    def _show(self) -> None:
        about, shown = self._about(), self._shown()
        self.query_one("#about", Static).update(about)
        self.query_one("#shown", Static).update(shown)
        self.query_one(ScreenTabs).show(self._run.name if self._run else tr("new run"))

    def _about(self) -> Content:
        if self._found is None:
            return Content("")
        views = [
            (f" {tr(name)} ", "reverse" if at == self._view else _QUIET)
            for at, name in enumerate(_VIEWS)
        ]
        facts = " · ".join(map(clean, self._found.facts))
        return Content.assemble(*views, "  ", (facts, _QUIET))

    def _shown(self) -> Content:
        if self._found is None:
            if self._why:
                return Content.styled(clean(translate_message(self._why)), "$error")
            return Content.styled(tr("Reading the first rows …"), _QUIET)
        if self._view == 0:
            return self._row_text(self._found.rows[self._row], len(self._found.rows))
        if self._view == 1:
            return _packing(self._found.packed, max(self.size.width - 34, 20))
        if not self._found.left_out:
            return Content.styled(tr("Of the rows that were read none was left out."), _QUIET)
        return Content("\n".join(clean(translate_message(one)) for one in self._found.left_out))

    def _row_text(self, row: PreviewRow, count: int) -> Content:
        head = tr(
            "row {row} of the first {count} · {tokens:,} tokens, {learnt:,} learnt · {state}",
            row=self._row + 1,
            count=count,
            tokens=row.length,
            learnt=sum(row.learnt[: row.kept]),
            state=row.state,
        )
        if row.told:
            head += f" · {clean(row.told)}"
        legend = Content.assemble(
            (tr("learnt"), _LEARNT), "  ", (tr("read only"), _SHOWN), "  ", (tr("cut off"), _CUT)
        )
        return Content("\n").join(
            [Content.styled(head, "bold"), Content.styled(clean(row.source), _QUIET), legend,
             Content(), _tokens(row)]
        )  # fmt: skip


def _tokens(row: PreviewRow) -> Content:
    """Tokens of one kind in a row are one span, so that a long row paints fast."""
    styles = [
        _CUT if at >= row.kept else _LEARNT if learnt else _SHOWN
        for at, learnt in enumerate(row.learnt)
    ]
    parts = []
    for style, group in groupby(zip(styles, row.tokens, strict=True), key=lambda pair: pair[0]):
        text = "|".join(_visible(token) for _, token in group)
        parts.append((text, style))
    return Content.assemble(*(piece for part in parts for piece in (part, ("|", _QUIET))))


def _visible(token: str) -> str:
    return clean(token.replace("\n", "↵")) + ("\n" if "\n" in token else "")


def _packing(packed: tuple[PackedRow, ...], width: int) -> Content:
    """A bar for each sequence, a shade for each row in it."""
    if not packed:
        return Content.styled(tr("This stage does not pack rows: each is a sequence."), _QUIET)
    lines = []
    for number, row in enumerate(packed, start=1):
        bar: list[tuple[str, str]] = []
        at = 0
        for index, filled in enumerate(accumulate(row.lengths)):
            end = round(filled * width / row.places)
            bar.append(("█" * (end - at), _SHADES[index % len(_SHADES)]))
            at = end
        bar.append(("·" * (width - at), _QUIET))
        told = tr(
            "{rows} in it, {share:.0%} full",
            rows=len(row.lengths),
            share=sum(row.lengths) / row.places,
        )
        lines.append(Content.assemble(f"{number:>4} ", *bar, f"  {told}"))
    return Content("\n").join(lines)


if __name__ == "__main__":
    demo = PreviewRow(
        "a.jsonl", ("<|im_start|>", "2", " +", "\n", "4"), (False,) * 4 + (True,), 5, 5
    )
    print(_tokens(demo), _packing((PackedRow((3, 5), 10),), 20), sep="\n")
    print("=== 自测通过 ===")
