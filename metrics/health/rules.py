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
from lmm_tui.metrics.health.rank_conditions import RanksDiffer, SlowRank

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
    Rule("non_finite", NonFinite(), "error", "a bad batch, the loss scale, or LR too high",
         "roll back to the last checkpoint; lower the LR or skip the batch"),
    Rule("first_loss_high", FirstLoss(above=0.5), "warning", "the initialisation is too large",
         "lower the standard deviation of the initial weights"),
    Rule("first_loss_low", FirstLoss(below=0.5), "warning", "a leak, or unshifted labels",
         "check the shift of the labels and the causal mask"),
    Rule("diverged", WorseThanGuessing(), "error", "LR too high, or warm-up too short",
         "roll back to an earlier checkpoint, or restart, with a lower LR"),
    Rule("too_good", TooGood(), "error",
         "a causal leak, unshifted labels, unmasked padding, or duplicates",
         "check the mask, the label shift and the padding; look for repeated documents"),
    Rule("stuck_at_uniform", StuckAt(names.TRAIN_LOSS, "ln V", 0.1, 200), "warning",
         "random labels, LR far too low, or bf16 weights that round small updates away",
         "decode a batch with its labels; keep weights in fp32; try 10× the LR"),
    Rule("stuck_at_unigram", StuckAt(names.TRAIN_LOSS, "unigram", 0.05, 1000), "warning",
         "the context is ignored", "check the attention mask, positions and the order of tokens"),
    Rule("loss_spike", SpikeCondition(names.TRAIN_LOSS, times=1.5, rise=0.1), "warning",
         "a bad batch",
         "inspect the batch (i); roll back and skip it if the loss stays high"),
    Rule("grad_spike", SpikeCondition(names.GRAD_NORM, times=5.0, rise=0.01, least=100), "warning",
         "a bad batch, or LR too high",
         "inspect the batch (i); clip the gradient or lower the LR"),
    Rule("loss_risen", Risen(names.TRAIN_LOSS, rise=0.01), "warning",
         "LR too high, or a change in the data",
         "lower the LR and roll back; check the data of recent batches and their shuffling"),
    Rule("layer_zero", ZeroLayer(), "warning", "the layer is frozen, or detached from the loss",
         "unfreeze it, or look for a detach or no_grad in its path"),
    Rule("layer_loud", LoudLayer(), "warning",
         "LR too high, or the layer's initialisation: exploding gradients",
         "lower the LR or warm up longer; check the layer's initialisation and norm"),
    Rule("overfit", Overfit(), "warning", "overfitting: val loss rises while train loss falls",
         "stop at the best validation loss, or add data, dropout or weight decay"),
    Rule("near_zero", NearZero(), "notice", "the training data is memorised, or labels leak "
         "into the input", "compare the validation loss; stop earlier, or add data"),
    Rule("collapse", Collapse(), "warning", "the representations have collapsed",
         "lower the LR; check the norms and residual paths of the late layers"),
    Rule("slow", BelowOwnMedian(names.TOKENS_PER_S), "notice",
         "another process uses the machine, or data loading is slow",
         "check the load, the temperature and the data loader"),
    Rule("flat_groups", Threshold("grpo/flat_groups", above=0.8, rows=8), "warning",
         "most groups have equal rewards, so they give no gradient",
         "use easier or harder questions, or a finer reward"),
    Rule("slow_rank", SlowRank(), "warning",
         "its GPU is throttled or shared, or its data comes from a slower disk",
         "see the Ranks screen (9): temperature, clocks and data wait of that rank"),
    Rule("ranks_differ", RanksDiffer(), "error",
         "a rank has missed an update, or its GPU computes wrongly",
         "roll back to a checkpoint from before; test the memory of that GPU"),
    Rule("uneven_memory", Threshold(names.RANKS_MEMORY_SPREAD, above=0.2, rows=8), "notice",
         "another process is on one of the GPUs, or the rows are of uneven length",
         "see the Ranks screen (9); the fullest rank decides the batch size"),
    Rule("throttled", Threshold(names.RANKS_THROTTLED, above=0.5, rows=20), "warning",
         "heat, or a power limit",
         "check cooling and power limit of the GPUs that the Ranks screen (9) names"),
    Rule("dpo_stuck", StuckAt("dpo/accuracy", 0.5, 0.05, 200), "warning",
         "chosen and rejected answers are indistinguishable",
         "check for swapped or equal pairs; raise the LR"),
)  # fmt: skip
"""The default rules. There is none for a clip rate of 1, which is harmless under Adam."""


_IN_OUR_TRAINER: dict[str, tuple[Severity, str, str]] = {
    "first_loss_low": ("warning", "the weights are not random", "check what the run starts from"),
    "too_good": ("warning", "your data repeats itself, or is very small",
                 "check for repeated documents; add data, or train for fewer steps"),
    "stuck_at_uniform": ("warning", "LR far too low, or tokens in random order",
                         "try 10× the LR; check the text of the data"),
    "stuck_at_unigram": ("warning", "LR too low, or words in random order",
                         "raise the LR; check the text of the data"),
    "layer_zero": ("warning", "the layer is frozen", "check train.freeze"),
    "near_zero": ("notice", "the training data is memorised",
                  "compare the validation loss; stop earlier, or add data"),
    "dpo_stuck": ("warning", "chosen and rejected answers are indistinguishable",
                  "check for swapped or equal pairs; raise the LR"),
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
