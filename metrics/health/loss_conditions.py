"""Conditions on the loss: against the baselines of the data, and on validation against training."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from lmm_tui.message import Message
from lmm_tui.metrics import names
from lmm_tui.metrics.health.condition import Condition, HealthFinding, Values
from lmm_tui.metrics.health.rolling_stats import Recent


@dataclass
class FirstLoss(Condition):
    """The loss of the first step is not ln V, the loss of a uniform guess among V tokens."""

    above: float = math.inf
    """Nats over ln V."""
    below: float = math.inf
    """Nats under ln V."""

    def check(self, step: int, row: Values, baselines: Values) -> list[HealthFinding] | None:
        loss, level = row.get(names.TRAIN_LOSS), baselines.get("ln V")
        if step > 1 or loss is None or level is None:
            return None
        if level - self.below <= loss <= level + self.above or not math.isfinite(loss):
            return []
        what = Message("the first loss is {loss:.2f}, ln V is {level:.2f}", loss=loss, level=level)
        return [HealthFinding(what, {names.TRAIN_LOSS: loss, "ln V": level})]


@dataclass
class TooGood(Condition):
    """A loss far below the bigram entropy of the data, earlier than a model can learn that much."""

    share: float = 0.5
    """Fraction of the bigram entropy below which a loss is too good."""
    until: int = 300
    """Last step at which it is judged."""

    def check(self, step: int, row: Values, baselines: Values) -> list[HealthFinding] | None:
        loss, level = row.get(names.TRAIN_LOSS), baselines.get("bigram")
        if step > self.until or loss is None or level is None:
            return None
        if not loss < self.share * level:
            return []
        what = Message(
            "loss {loss:.2f} at step {step}, the data's bigram entropy is {level:.2f}",
            loss=loss,
            step=step,
            level=level,
        )
        return [HealthFinding(what, {names.TRAIN_LOSS: loss, "bigram": level})]


@dataclass
class WorseThanGuessing(Condition):
    """The loss stays above ln V, the loss of a uniform guess among V tokens."""

    margin: float = 0.5
    """Nats over ln V."""
    rows: int = 16
    """In succession: a single bad batch is no divergence."""
    _above: int = field(default=0, init=False, repr=False)

    def check(self, step: int, row: Values, baselines: Values) -> list[HealthFinding] | None:
        loss, level = row.get(names.TRAIN_LOSS), baselines.get("ln V")
        if loss is None or level is None or not math.isfinite(loss):
            return None
        self._above = self._above + 1 if loss > level + self.margin else 0
        if self._above < self.rows:
            return []
        what = Message(
            "loss {loss:.3g} at step {step} is worse than guessing: ln V is {level:.2f}",
            loss=loss,
            step=step,
            level=level,
        )
        return [HealthFinding(what, {names.TRAIN_LOSS: loss, "ln V": level})]


@dataclass
class Overfit(Condition):
    """Validation loss rises while it is far above the training loss, which is at its lowest.

    Where the training loss has risen as well, as in a run that diverges, it is no overfitting.
    """

    gap: float = 0.5
    share: float = 0.5
    """Of the validation loss: that much is a wide gap where losses are small."""
    rises: int = 2
    """Successive validations that each were worse than the one before."""
    window: int = 32

    def __post_init__(self) -> None:
        self._train = Recent(self.window)
        self._last = math.inf
        self._risen = 0
        self.best = math.inf
        """The lowest mean of training losses so far."""

    def check(self, step: int, row: Values, baselines: Values) -> list[HealthFinding] | None:
        del baselines
        train, val = row.get(names.TRAIN_LOSS), row.get(names.VAL_LOSS)
        if train is not None and math.isfinite(train):
            self._train.add(train)
            if self._train.full:
                self.best = min(self.best, self._train.mean)
        if val is None or not math.isfinite(val) or not len(self._train):
            return None
        self._risen = self._risen + 1 if val > self._last else 0
        self._last = val
        mean = self._train.mean
        if val - mean <= self.least_gap(val) or self._risen < self.rises:
            return []
        if mean > 1.1 * self.best + 0.1:
            return []
        what = Message(
            "held-out loss rises to {val:.3g} at step {step}, training loss is {mean:.3g}",
            val=val,
            step=step,
            mean=mean,
        )
        return [HealthFinding(what, {names.VAL_LOSS: val, names.TRAIN_LOSS: mean})]

    def least_gap(self, val: float) -> float:
        """The gap between the losses that is wide at a validation loss."""
        return min(self.gap, self.share * max(val, 0.0))


@dataclass
class NearZero(Condition):
    """The loss is close to 0, in none of the last `window` rows below: no text is so sure.

    Not where rewards are logged: the loss of GRPO is about 0 by nature.
    """

    below: float = 0.01
    window: int = 64

    def __post_init__(self) -> None:
        self._recent = Recent(self.window)
        self._positive = 0
        """Values since the last one below 0."""

    def check(self, step: int, row: Values, baselines: Values) -> list[HealthFinding] | None:
        del baselines
        loss = row.get(names.TRAIN_LOSS)
        if loss is None or not math.isfinite(loss):
            return None
        self._recent.add(loss)
        self._positive = self._positive + 1 if loss >= 0 else 0
        mean = self._recent.mean
        if not self._recent.full or mean >= self.below or names.REWARD in row:
            return []
        if self._positive < self.window:
            return []
        what = Message(
            "the training loss is {mean:.2g} at step {step}, nearly 0", mean=mean, step=step
        )
        return [HealthFinding(what, {names.TRAIN_LOSS: mean})]


if __name__ == "__main__":
    first = FirstLoss(above=0.5).check(1, {names.TRAIN_LOSS: 9.0}, {"ln V": 6.9})
    print(first)
    assert first and "9.00" in first[0].what
    print("=== 自测通过 ===")
