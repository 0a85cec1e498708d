"""A saved spike as Rich text: what happened, and its sequences with tokens coloured by loss.

All text is cleaned of control characters, since a corrupt batch may contain any.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from lmm_tui.engine.run.spike_files import KeptSpike, SpikeText
from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.runs.loss_levels import level
from lmm_tui.terminal.byte_tokens import spans
from lmm_tui.terminal.safe_text import clean

STYLES = ("green", "", "yellow", "red")
"""By loss level, in the terminal's own colours."""
LEGEND = mark("loss (nats): green < 1, plain < 3, yellow < 5, red ≥ 5; grey is not counted")


def rule_name(spike: KeptSpike) -> str:
    """What was noticed, in words."""
    words = spike.rule.replace("_", " ")
    return clean(tr(words))


def spike_heading(spike: KeptSpike) -> Text:
    return Text.assemble(
        (f"{tr('step {step:,}', step=spike.step)}  {rule_name(spike)}", "bold"), "\n",
        clean(translate_message(spike.what)), "\n",
        (tr(LEGEND), "dim"),
    )  # fmt: skip


def spike_body(spike: KeptSpike, styles: Sequence[str] = STYLES) -> Text:
    """The saved sequences, the highest loss first; a style for each loss level."""
    parts = [_sequence(one, styles) for one in spike.sequences]
    return Text("\n\n").join(parts) if parts else Text(tr("no sequence was kept"), "dim")


def _sequence(one: SpikeText, styles: Sequence[str]) -> Text:
    tokens = [
        (clean(span.text), _style(span.worst(one.losses), styles)) for span in spans(one.tokens)
    ]
    heading = tr(
        "micro-batch {batch}, row {row}: {loss:.3f} nats a token",
        batch=one.micro_batch,
        row=one.row,
        loss=one.loss,
    )
    return Text.assemble((f"{heading}\n", "dim"), *tokens)


def _style(loss: float | None, styles: Sequence[str]) -> str:
    return "dim" if loss is None else styles[level(loss)]


if __name__ == "__main__":
    evil = SpikeText(0, 3, 7.25, "x", [1, 2], ["a\x1b[2J", " cat"], [None, 7.25])
    spike = KeptSpike(1044, 0.0, "loss_spike", "train/loss went to 7.2", [evil])
    print(spike_heading(spike).plain, spike_body(spike).plain, sep="\n")
    assert "\x1b" not in spike_body(spike).plain
    print("=== 自测通过 ===")
