"""Conditions on the loss: against the baselines of the data, and on validation against training."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lmm_tui.message import Message
from lmm_tui.metrics import names
from lmm_tui.metrics.health.condition import (
    NOT_JUDGED,
    Baselines,
    Condition,
    HealthFinding,
    Judged,
    either,
    judged,
    last,
    some,
)
from lmm_tui.metrics.health.rolling import Column, Lowest, Streak, Windows
from lmm_tui.metrics.health.rows import HealthRows, OneRow


@dataclass
class FirstLoss(Condition):
    """The loss of the first step is not ln V, the loss of a uniform guess among V tokens."""

    above: float = math.inf
    """Nats over ln V."""
    below: float = math.inf
    """Nats under ln V."""

    def needs(self) -> tuple[str, ...]:
        return (names.TRAIN_LOSS,)

    def check(self, rows: HealthRows, baselines: Baselines) -> Judged:
        level = baselines.get("ln V")
        if level is None or rows.first_step > 1 or not (given := rows.column(names.TRAIN_LOSS)):
            return NOT_JUDGED
        steps, loss = given
        far = (loss < level - self.below) | (loss > level + self.above)
        return judged(
            steps, far & (abs(loss) < math.inf), self._tell, loss, level, among=steps <= 1
        )

    def _tell(self, step: int, loss: float, level: float) -> HealthFinding:
        what = Message("the first loss is {loss:.2f}, ln V is {level:.2f}", loss=loss, level=level)
        return HealthFinding(what, {names.TRAIN_LOSS: loss, "ln V": level})


@dataclass
class TooGood(Condition):
    """A loss far below the bigram entropy of the data, earlier than a model can learn that much."""

    share: float = 0.5
    """Fraction of the bigram entropy below which a loss is too good."""
    until: int = 300
    """Last step at which it is judged."""

    def needs(self) -> tuple[str, ...]:
        return (names.TRAIN_LOSS,)

    def check(self, rows: HealthRows, baselines: Baselines) -> Judged:
        level = baselines.get("bigram")
        if level is None or rows.first_step > self.until:
            return NOT_JUDGED
        if (given := rows.column(names.TRAIN_LOSS)) is None:
            return NOT_JUDGED
        steps, loss = given
        low = loss < self.share * level
        return judged(steps, low, self._tell, loss, level, among=steps <= self.until)

    def _tell(self, step: int, loss: float, level: float) -> HealthFinding:
        what = Message(
            "loss {loss:.2f} at step {step}, the data's bigram entropy is {level:.2f}",
            loss=loss,
            step=step,
            level=level,
        )
        return HealthFinding(what, {names.TRAIN_LOSS: loss, "bigram": level})


@dataclass
class WorseThanGuessing(Condition):
    """The loss stays above ln V, the loss of a uniform guess among V tokens."""

    margin: float = 0.5
    """Nats over ln V."""
    rows: int = 16
    """In succession: a single bad batch is no divergence."""

    def __post_init__(self) -> None:
        self._above = Streak()

    def needs(self) -> tuple[str, ...]:
        return (names.TRAIN_LOSS,)

    def check(self, rows: HealthRows, baselines: Baselines) -> Judged:
        level, given = baselines.get("ln V"), rows.finite(names.TRAIN_LOSS)
        if level is None or given is None:
            return NOT_JUDGED
        steps, loss = given
        above = self._above.add(loss > level + self.margin)
        since = self._above.first_steps(steps, above)
        return judged(steps, above >= self.rows, self._tell, loss, level, since)

    def _tell(self, step: int, loss: float, level: float, since: int) -> HealthFinding:
        what = Message(
            "loss {loss:.3g} at step {step} is worse than random guessing: ln V is {level:.2f}",
            loss=loss,
            step=step,
            level=level,
        )
        return HealthFinding(what, {names.TRAIN_LOSS: loss, "ln V": level, "since": since})


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
        self._best = Lowest()
        self._known = math.nan, math.inf
        """Of training losses: the last mean, and the lowest of a full window."""
        self._last = math.inf
        self._risen = Streak()

    def check(self, rows: HealthRows, baselines: Baselines) -> Judged:
        del baselines
        train_steps: Column = ()
        mean: Column = ()
        best: Column = ()
        before = self._known
        if train := rows.recent(names.TRAIN_LOSS, self.window):
            train_steps, _, window = train
            mean = window.mean
            best = self._best.add(either(window.count == self.window, mean, math.inf))
            self._known = last(mean), last(best)
        validations = rows.finite(names.VAL_LOSS)
        if validations is None:
            return NOT_JUDGED
        # They are few: even that of one row is an array.
        steps, val = np.atleast_1d(*validations)
        at = np.searchsorted(np.atleast_1d(train_steps), steps, side="right")
        mean, best = np.append(before[0], mean)[at], np.append(before[1], best)[at]
        known = ~np.isnan(mean)
        steps, val, mean, best = steps[known], val[known], mean[known], best[known]
        if not len(steps):
            return NOT_JUDGED
        risen = self._risen.add(np.diff(val, prepend=self._last) > 0)
        self._last = float(val[-1])
        apart = val - mean > np.minimum(self.gap, self.share * np.maximum(val, 0.0))
        hits = apart & (risen >= self.rises) & (mean <= 1.1 * best + 0.1)
        return judged(steps, hits, self._tell, val, mean)

    def _tell(self, step: int, val: float, mean: float) -> HealthFinding:
        what = Message(
            "validation loss rises to {val:.3g} at step {step}, training loss is {mean:.3g}",
            val=val,
            step=step,
            mean=mean,
        )
        return HealthFinding(what, {names.VAL_LOSS: val, names.TRAIN_LOSS: mean})


@dataclass
class NearZero(Condition):
    """The loss is close to 0, in none of the last `window` rows below: no text is so sure.

    Not where rewards are logged: the loss of GRPO is about 0 by nature.
    """

    below: float = 0.01
    window: int = 64

    def __post_init__(self) -> None:
        self._positive = Streak()

    def needs(self) -> tuple[str, ...]:
        return (names.TRAIN_LOSS,)

    def check(self, rows: HealthRows, baselines: Baselines) -> Judged:
        del baselines
        recent = rows.recent(names.TRAIN_LOSS, self.window)
        if recent is None:
            return NOT_JUDGED
        steps, loss, window = recent
        mean = window.mean
        low = (self._positive.add(loss >= 0) >= self.window) & (mean < self.below)
        if some(low):
            low &= ~np.asarray(rows.has(names.REWARD, steps))
        return judged(steps, low, self._tell, mean)

    def _tell(self, step: int, mean: float) -> HealthFinding:
        what = Message(
            "the training loss is {mean:.2g} at step {step}, nearly 0", mean=mean, step=step
        )
        return HealthFinding(what, {names.TRAIN_LOSS: mean})


if __name__ == "__main__":
    first = FirstLoss(above=0.5).check(OneRow(1, {names.TRAIN_LOSS: 9.0}, Windows()), {"ln V": 6.9})
    print(first.found[0].finding(0))
    assert first.rows == 1
    print("=== 自测通过 ===")
