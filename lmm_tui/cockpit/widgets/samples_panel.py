"""Samples of the model, the newest on top, and texts with each token coloured by its loss.

It shows records of samples.jsonl, cleaned.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from lmm_tui.cockpit.widgets.feed import Feed
from lmm_tui.engine.run.samples import RunSample
from lmm_tui.i18n.language import tr
from lmm_tui.runs.loss_levels import level
from lmm_tui.terminal.byte_tokens import spans
from lmm_tui.terminal.safe_text import clean

MOST_SHOWN = 40

LOSS_STYLES = ("$text-success", "", "$text-warning", "$text-error")
"""The style of each loss level, low to high."""


class SamplesPanel(Feed):
    """Prompts in the accent colour, generated text plain, tokens coloured by their loss."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(tr("samples"), tr("p asks the model for text, at any time."), id)
        self._counts = 0, 0
        """All, and those that are not abandoned."""

    def show(self, samples: Sequence[RunSample]) -> None:
        """Show `samples`, oldest first; nothing is done if there are no new ones."""
        kept = [record for record in samples if not record.abandoned]
        if (len(samples), len(kept)) == self._counts:
            return
        self._counts = len(samples), len(kept)
        paragraphs = _paragraphs(kept[-MOST_SHOWN:])
        if apart := [record for record in samples if record.abandoned]:
            head = tr("── samples of abandoned steps ──")
            paragraphs.append(Content.styled(head, "$foreground 60%"))
            paragraphs += [each.stylize("dim") for each in _paragraphs(apart[-MOST_SHOWN:])]
        count = sum(record.kind != "token_losses" for record in kept)
        self.set_text(Content("\n").join(paragraphs), f"{count:,}")


def _paragraphs(records: Sequence[RunSample]) -> list[Content]:
    """The newest first, under their steps."""
    paragraphs: list[Content] = []
    step = None
    for record in reversed(records):
        if record.step != step:
            step = record.step
            head = tr("step {step}", step=f"{step:,}")
            paragraphs.append(Content.styled(head, "$foreground 60%"))
        paragraphs.append(sample_paragraph(record))
    return paragraphs


def sample_paragraph(record: RunSample) -> Content:
    if record.kind == "token_losses":
        return _token_losses(record)
    reward = record.details.get("reward")
    reward_note = ""
    if isinstance(reward, int | float):
        reward_note = "  " + tr("reward {value:.3g}", value=reward)
    return Content.assemble(
        ("▸ ", "$accent"),
        (clean(record.prompt), "$accent"),
        (" → " if record.details.get("answer") else "", "$foreground 60%"),
        (clean(record.text), ""),
        (reward_note, "$foreground 60%"),
    )


def _token_losses(record: RunSample) -> Content:
    tokens, losses = record.details.get("tokens"), record.details.get("losses")
    if not isinstance(tokens, list) or not isinstance(losses, list):
        return Content()
    parts = [
        (clean(span.text), loss_style(span.worst(losses))) for span in spans(list(map(str, tokens)))
    ]
    return Content.assemble((tr("loss by token") + " ", "$foreground 60%"), *parts)


def loss_style(loss: object) -> str:
    """The style of a loss in nats; none if it is not a number."""
    return LOSS_STYLES[level(loss)] if isinstance(loss, int | float) else ""


if __name__ == "__main__":
    print(sample_paragraph(RunSample(9, prompt="小兔子", text="went\x1b[2J [b]home[/b]\n")))
    tokens = {"tokens": ["the", " cat"], "losses": [0.4, 6.1]}
    print(sample_paragraph(RunSample(9, "token_losses", details=tokens)))
    print("=== 自测通过 ===")
