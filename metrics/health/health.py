"""Is this run healthy? Rules look at the rows of a run and say what is wrong, why, and what to do.

Works on numbers alone, so on live, finished and foreign runs alike. It knows no files, no model
and no screen; what each rule looks for stands in `metrics/health/conditions.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any, Literal

from lmm_tui.metrics import names
from lmm_tui.metrics.health.conditions import (
    BelowOwnMedian,
    Collapse,
    Condition,
    FirstLoss,
    HealthFinding,
    LoudLayer,
    NonFinite,
    Overfit,
    Risen,
    SpikeCondition,
    StuckAt,
    Threshold,
    TooGood,
    WorseThanGuessing,
    ZeroLayer,
)
from lmm_tui.metrics.values import strict

Severity = Literal["notice", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = ("notice", "warning", "error")

CALM_ROWS = 20


@dataclass(frozen=True)
class Rule:
    """A condition with what it suspects and what to do about it."""

    name: str
    condition: Condition
    severity: Severity
    suspect: str
    advice: str
    calm: int = CALM_ROWS
    """Judged rows without a finding that end an episode."""


@dataclass(frozen=True)
class Alert:
    """The begin of an episode of one rule, in one place of the model."""

    step: int
    rule: str
    severity: Severity
    what: str
    suspect: str
    advice: str
    values: dict[str, float]
    where: str = ""

    def record(self) -> dict[str, Any]:
        """For JSON: numbers that are not finite are spelt out."""
        spelt: dict[str, Any] = strict(asdict(self))
        return spelt


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
    Rule("loss_spike", SpikeCondition(names.TRAIN_LOSS, times=1.5), "warning", "a bad batch",
         "look at the text of the batch; go back and leave it out if the loss stays up"),
    Rule("grad_spike", SpikeCondition(names.GRAD_NORM, times=5.0, least=100), "warning",
         "a bad batch, or too high an LR",
         "look at the text of the batch; clip the gradient or lower the LR"),
    Rule("loss_risen", Risen(names.TRAIN_LOSS), "warning",
         "too high an LR, or data in another order or of another kind than before",
         "lower the LR and go back; look at what the batches hold now, and at their shuffling"),
    Rule("layer_zero", ZeroLayer(), "warning", "the layer is frozen, or detached from the loss",
         "unfreeze it, or look for a detach or no_grad in its path"),
    Rule("layer_loud", LoudLayer(), "warning",
         "too high an LR, or the layer's initialisation: gradients explode there",
         "lower the LR or warm up longer; check the layer's initialisation and norm"),
    Rule("overfit", Overfit(), "warning", "the model learns its training text by heart",
         "stop at the best held-out loss, or add data, dropout or weight decay"),
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
"""The rules of a run that is watched without further ado.

Where a number comes from is in docs/health.md; those without a source are ours. A clip rate of 1
is no rule: under Adam it is harmless.
"""


class Health:
    """Rules over the rows of one run: feed rows in order, read alerts and the verdict."""

    def __init__(
        self, rules: Iterable[Rule] = RULES, references: Mapping[str, float] | None = None
    ) -> None:
        """`references`: loss levels in nats (`ln V`, `unigram`, `bigram`) of a run that starts
        from fresh weights; leave them out for one that goes on from trained weights."""
        self.alerts: list[Alert] = []
        self.last_step: int | None = None
        self.rules = [(rule, deepcopy(rule.condition)) for rule in rules]
        """Each with a condition that remembers the rows so far."""
        self.references = dict(references or {})
        self._open: dict[tuple[str, str], tuple[Alert, int]] = {}

    def observe(self, step: int, row: Mapping[str, float]) -> list[Alert]:
        """The alerts that begin with a row; `row` maps metrics to what was measured at `step`."""
        self.last_step = step
        begun: list[Alert] = []
        for rule, condition in self.rules:
            found = condition.look(step, row, self.references)
            if found is not None and (found or self._open):
                begun += self.judge(rule, step, found)
        self.alerts += begun
        return begun

    def judge(self, rule: Rule, step: int, found: list[HealthFinding]) -> list[Alert]:
        """The alerts that begin with what a rule found in a row that it could judge."""
        begun: list[Alert] = []
        for finding in found:
            key = rule.name, finding.where
            if key not in self._open:
                begun.append(
                    Alert(step, rule.name, rule.severity, finding.what, rule.suspect,
                          rule.advice, finding.values, finding.where)
                )  # fmt: skip
                self._open[key] = begun[-1], 0
        if self._open:
            self._calm_down(rule, {finding.where for finding in found})
        return begun

    def is_open(self, rule: Rule) -> bool:
        """Whether an episode of a rule goes on."""
        return any(name == rule.name for name, _ in self._open)

    @property
    def open_alerts(self) -> list[Alert]:
        """Alerts whose episode goes on, the gravest first, then the oldest."""
        alerts = [alert for alert, _ in self._open.values()]
        return sorted(alerts, key=lambda it: (-SEVERITIES.index(it.severity), it.step))

    def verdict(self) -> str:
        """Is this run healthy? In one line."""
        if self.last_step is None:
            return "nothing measured yet"
        worst = self.open_alerts
        if worst:
            more = f" (and {len(worst) - 1} more)" if len(worst) > 1 else ""
            return f"{worst[0].severity}: {worst[0].what}; suspect {worst[0].suspect}{more}"
        if self.alerts:
            count = len(self.alerts)
            plural = "s" if count > 1 else ""
            return f"healthy now, {count} alert{plural} before (last: step {self.alerts[-1].step})"
        return f"healthy up to step {self.last_step}"

    def _calm_down(self, rule: Rule, found: set[str]) -> None:
        for key in [key for key in self._open if key[0] == rule.name]:
            alert, calm = self._open[key]
            calm = 0 if key[1] in found else calm + 1
            if calm >= rule.calm:
                del self._open[key]
            else:
                self._open[key] = alert, calm


if __name__ == "__main__":
    health = Health(references={"ln V": 6.9})
    for at in range(1, 200):
        loss = 6.9 * 0.99**at
        health.observe(at, {names.TRAIN_LOSS: 40.0 if at == 150 else loss, names.CLIP_RATE: 1.0})
    print(health.verdict())
    print(health.alerts[0])
    assert [alert.step for alert in health.alerts] == [150] and not health.open_alerts
    print("=== 自测通过 ===")
