"""Samples of the model, the newest on top; below them a text with each token coloured by its loss.

It shows records of samples.jsonl, cleaned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textual.content import Content

from lmm_tui.cockpit.widgets.feed import Feed
from lmm_tui.i18n.language import tr
from lmm_tui.runs.loss_levels import level
from lmm_tui.runs.run_history import is_abandoned
from lmm_tui.terminal.byte_tokens import spans
from lmm_tui.terminal.safe_text import clean

MOST_SHOWN = 40

LOSS_STYLES = ("$text-success", "", "$text-warning", "$text-error")
"""The style of each loss level, low to high."""


class SamplesPanel(Feed):
    """Prompts in the accent colour, generated text plain, tokens coloured by their loss."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(tr("samples"), tr("No samples yet. Press p to generate."), id)
        self._counts = 0, 0
        """All, and those that are not abandoned."""

    def show(self, samples: Sequence[Mapping[str, Any]]) -> None:
        """Show `samples`, oldest first; nothing is done if there are no new ones."""
        kept = [record for record in samples if not is_abandoned(record)]
        if (len(samples), len(kept)) == self._counts:
            return
        self._counts = len(samples), len(kept)
        paragraphs = _paragraphs(kept[-MOST_SHOWN:])
        if apart := [record for record in samples if is_abandoned(record)]:
            head = tr("── samples of abandoned steps ──")
            paragraphs.append(Content.styled(head, "$foreground 60%"))
            paragraphs += [each.stylize("dim") for each in _paragraphs(apart[-MOST_SHOWN:])]
        count = sum(record.get("kind") != "token_losses" for record in kept)
        self.set_text(Content("\n").join(paragraphs), f"{count:,}")


def _paragraphs(records: Sequence[Mapping[str, Any]]) -> list[Content]:
    """The newest samples first, under their steps; the newest losses of tokens come last."""
    paragraphs: list[Content] = []
    step = None
    losses = [record for record in records if record.get("kind") == "token_losses"]
    samples = [record for record in records if record.get("kind") != "token_losses"]
    # Prompts of one step stand in the order in which they were asked.
    samples.sort(key=lambda record: -_order(record.get("step")))
    for record in [*samples, *losses[-1:]]:
        if record.get("step") != step:
            step = record.get("step")
            head = tr("step {step}", step=_number(step))
            paragraphs.append(Content.styled(head, "$foreground 60%"))
        paragraphs.append(sample_paragraph(record))
    return paragraphs


def sample_paragraph(record: Mapping[str, Any]) -> Content:
    if record.get("kind") == "token_losses":
        return _token_losses(record)
    reward = record.get("reward")
    reward_note = ""
    if isinstance(reward, int | float):
        reward_note = "  " + tr("reward {value:.3g}", value=reward)
    return Content.assemble(
        ("▸ ", "$accent"),
        (clean(str(record.get("prompt", ""))), "$accent"),
        (" → " if record.get("answer") else "", "$foreground 60%"),
        (clean(str(record.get("text", ""))), ""),
        (reward_note, "$foreground 60%"),
    )


def _token_losses(record: Mapping[str, Any]) -> Content:
    tokens, losses = record.get("tokens"), record.get("losses")
    if not isinstance(tokens, list) or not isinstance(losses, list):
        return Content()
    parts = [
        (clean(span.text), loss_style(span.worst(losses))) for span in spans(list(map(str, tokens)))
    ]
    return Content.assemble((tr("per-token loss (validation)") + " ", "$foreground 60%"), *parts)


def loss_style(loss: object) -> str:
    """The style of a loss in nats; none if it is not a number."""
    return LOSS_STYLES[level(loss)] if isinstance(loss, int | float) else ""


def _order(step: object) -> float:
    return step if isinstance(step, int) else -1


def _number(step: object) -> str:
    return f"{step:,}" if isinstance(step, int) else "?"


if __name__ == "__main__":
    record = {"kind": "sample", "prompt": "小兔子", "text": "went\x1b[2J [b]home[/b]\n"}
    print(sample_paragraph(record))
    tokens = {"kind": "token_losses", "tokens": ["the", " cat"], "losses": [0.4, 6.1]}
    print(sample_paragraph(tokens))
    print("=== 自测通过 ===")
