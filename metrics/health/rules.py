"""The rules of a healthy run: each is a condition with its severity, likely cause and advice.

Where a threshold comes from is in docs/health.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from lmm_tui.metrics import names
from lmm_tui.metrics.health.alert import Severity
from lmm_tui.metrics.health.condition import Condition
from lmm_tui.metrics.health.layer_conditions import Collapse, LoudLayer, NonFinite, ZeroLayer
from lmm_tui.metrics.health.loss_conditions import (
    FirstLoss,
    NearZero,
    Overfit,
    TooGood,
    WorseThanGuessing,
)
from lmm_tui.metrics.health.metric_conditions import (
    BelowOwnMedian,
    Risen,
    SpikeCondition,
    StuckAt,
    Threshold,
)

CALM_ROWS = 20


@dataclass(frozen=True)
class Rule:
    """A condition with the likely cause of what it finds, and what to do about it."""

    name: str
    condition: Condition
    severity: Severity
    suspect: str
    advice: str
    calm: int = CALM_ROWS
    """Judged rows without a finding that close an episode."""


RULES: tuple[Rule, ...] = (
    Rule("non_finite", NonFinite(), "error", "a bad batch, the loss scale, or too high an LR",
         "go back to the last checkpoint; lower the LR or leave the batch out"),
    Rule("first_loss_high", FirstLoss(above=0.5), "warning", "the initialisation is too large",
         "lower the standard deviation of the initial weights"),
    Rule("first_loss_low", FirstLoss(below=0.5), "warning", "a leak, or labels that aren't shifted",
         "check the shift of the labels and the causal mask"),
    Rule("diverged", WorseThanGuessing(), "error", "too high an LR, or too short a warm-up",
         "go back to a checkpoint from before, or start anew, with a lower LR"),
    Rule("too_good", TooGood(), "error",
         "a causal leak, labels not shifted, pads that count, or duplicates",
         "check the mask, the shift and what is labelled; look for repeated documents"),
    Rule("stuck_at_uniform", StuckAt(names.TRAIN_LOSS, "ln V", 0.1, 200), "warning",
         "random labels, an LR far too low, or bf16 weights that small updates leave as they are",
         "decode a batch with its labels; keep weights in fp32; try ten times the LR"),
    Rule("stuck_at_unigram", StuckAt(names.TRAIN_LOSS, "unigram", 0.05, 1000), "warning",
         "the context is ignored", "check the attention mask, positions and the order of tokens"),
    Rule("loss_spike", SpikeCondition(names.TRAIN_LOSS, times=1.5, rise=0.1), "warning",
         "a bad batch",
         "look at the text of the batch; go back and leave it out if the loss stays up"),
    Rule("grad_spike", SpikeCondition(names.GRAD_NORM, times=5.0, rise=0.01, least=100), "warning",
         "a bad batch, or too high an LR",
         "look at the text of the batch; clip the gradient or lower the LR"),
    Rule("loss_risen", Risen(names.TRAIN_LOSS, rise=0.01), "warning",
         "too high an LR, or data in another order or of another kind than before",
         "lower the LR and go back; look at what the batches hold now, and at their shuffling"),
    Rule("layer_zero", ZeroLayer(), "warning", "the layer is frozen, or detached from the loss",
         "unfreeze it, or look for a detach or no_grad in its path"),
    Rule("layer_loud", LoudLayer(), "warning",
         "too high an LR, or the layer's initialisation: gradients explode there",
         "lower the LR or warm up longer; check the layer's initialisation and norm"),
    Rule("overfit", Overfit(), "warning", "the model learns its training text by heart",
         "stop at the best held-out loss, or add data, dropout or weight decay"),
    Rule("near_zero", NearZero(), "notice", "the model knows its training text by heart, or sees "
         "what it is to predict", "compare the validation loss; stop earlier, or add data"),
    Rule("collapse", Collapse(), "warning", "the representations have collapsed",
         "lower the LR; check the norms and residual paths of the late layers"),
    Rule("slow", BelowOwnMedian(names.TOKENS_PER_S), "notice",
         "something else uses the machine, or reading data holds up the step",
         "look at the load, the temperature and the data loader"),
    Rule("flat_groups", Threshold("grpo/flat_groups", above=0.8, rows=8), "warning",
         "most groups of answers are rewarded alike, so nothing is learnt from them",
         "take easier or harder questions, or a finer reward"),
    Rule("dpo_stuck", StuckAt("dpo/accuracy", 0.5, 0.05, 200), "warning",
         "chosen and rejected answers can't be told apart",
         "check the pairs for being swapped or alike; raise the LR"),
)  # fmt: skip
"""The default rules. There is none for a clip rate of 1, which is harmless under Adam."""


_IN_OUR_TRAINER: dict[str, tuple[Severity, str, str]] = {
    "first_loss_low": ("warning", "the weights are not random", "look at what the run starts from"),
    "too_good": ("warning", "your data repeats itself, or is very small",
                 "look for repeated documents; add data, or train for fewer steps"),
    "stuck_at_uniform": ("warning", "an LR far too low, or tokens in random order",
                         "try ten times the LR; look at the text of the data"),
    "stuck_at_unigram": ("warning", "an LR too low, or words in random order",
                         "raise the LR; look at the text of the data"),
    "layer_zero": ("warning", "the layer is frozen", "look at train.freeze"),
    "near_zero": ("notice", "the model knows its training text by heart",
                  "compare the validation loss; stop earlier, or add data"),
    "dpo_stuck": ("warning", "chosen and rejected answers can't be told apart",
                  "look at the pairs: are they swapped, or alike? Raise the LR"),
}  # fmt: skip
"""Causes that our own loop can have: it shifts labels and masks the future as it should."""


def in_our_trainer(rules: Iterable[Rule] = RULES) -> tuple[Rule, ...]:
    """The rules with the causes and advice that apply to a run of our own loop."""
    return tuple(
        replace(rule, severity=own[0], suspect=own[1], advice=own[2])
        if (own := _IN_OUR_TRAINER.get(rule.name))
        else rule
        for rule in rules
    )


if __name__ == "__main__":
    for rule in RULES:
        print(f"{rule.name:18} {rule.severity:8} {rule.condition}")
    assert len({rule.name for rule in RULES}) == len(RULES)
    print("=== 自测通过 ===")
